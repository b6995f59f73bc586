from django_socialgrants.sandbox.models import AccessToken, Application, RefreshToken
from django_socialgrants.sandbox.networks import MAILRU, NETWORKS, OK
from django_socialgrants.sandbox.people import PEOPLE

from .driver import access_token


def test_retiring_succeeds_once_even_for_somebody_who_read_it_before(ok_app):
    first = access_token(ok_app)
    second = AccessToken.objects.get()
    assert (first.retire(), second.retire()) == (True, False)


def test_every_value_is_new(ok_app):
    values = {access_token(ok_app).value for _number in range(50)}
    assert len(values) == 50
    assert min(map(len, values)) == 32


def test_letter_case_matters_whatever_the_database_thinks(ok_app):
    session = access_token(ok_app)
    AccessToken.objects.update(value="abcdef")
    assert AccessToken.find(ok_app, "abcdef") == session
    assert AccessToken.find(ok_app, "ABCDEF") is None
    assert Application.find(OK, client_key=ok_app.client_key.lower()) is None


def test_an_application_is_found_in_its_network_only(ok_app):
    assert Application.find(OK, client_id=ok_app.client_id) == ok_app
    assert Application.find(MAILRU, client_id=ok_app.client_id) is None
    assert Application.find(OK) is None


def test_every_row_fits_its_columns():
    for network in NETWORKS.values():
        assert len(" ".join(network.scopes)) <= 255
        for uid in PEOPLE[network.id]:
            assert len(uid) <= AccessToken._meta.get_field("uid").max_length


def test_rows_say_what_they_are(ok_app):
    token = RefreshToken.issue(ok_app, "999000000101", "", OK.refresh_lifetime)
    assert str(token) == "refresh token of 999000000101 for Example site (ok 512000000000)"
