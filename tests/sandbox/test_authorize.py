import re
from datetime import timedelta

import pytest
from django.test import Client

from django_socialgrants.sandbox.models import Code
from django_socialgrants.sandbox.networks import NETWORKS
from django_socialgrants.sandbox.people import PEOPLE

from .driver import BACK, FIRST, counts, decide, dialog_url, fragment_of, query_of


@pytest.fixture(params=["ok", "mailru"])
def app(request):
    return request.getfixturevalue(f"{request.param}_app")


def page(client, app, **changes):
    return client.get(dialog_url(app, **changes))


def test_the_dialog_shows_the_application_its_wishes_and_everybody(client, app):
    scopes = list(app.rules.scopes)[:2]
    response = page(client, app, scope=app.rules.scope_separator.join(scopes))
    text = response.content.decode()
    assert response.status_code == 200
    assert "Example site" in text
    assert all(str(app.rules.scopes[scope]) in text for scope in scopes)
    for uid in PEOPLE[app.network]:
        assert re.search(f'<input type="radio" name="person" value="{uid}"', text)
    assert 'form id="consent"' in text
    assert re.search('<button name="decision" value="allow"', text)
    assert re.search('<button name="decision" value="deny"', text)


def test_the_first_person_is_chosen_already(client, app):
    checked = re.findall(r'value="(\d+)" required checked', page(client, app).content.decode())
    assert checked == [FIRST[app.network]]


def test_names_are_escaped(client, app):
    app.name = "<script>alert(1)</script>"
    app.save()
    assert b"<script" not in page(client, app).content


def test_the_dialog_may_load_nothing_but_the_stylesheet_and_send_the_browser_back_only(client, app):
    policy = page(client, app)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("form-action 'self' https://site.example")
    assert "style=" not in page(client, app).content.decode()


def test_looking_at_the_dialog_grants_nothing(client, app):
    client.get(dialog_url(app))
    client.head(dialog_url(app))
    assert counts() == (0, 0, 0)


def test_a_form_without_csrf_token_is_refused(app):
    client = Client(enforce_csrf_checks=True)
    response = client.post(dialog_url(app), {"decision": "allow", "person": FIRST[app.network]})
    assert response.status_code == 403
    assert counts() == (0, 0, 0)


def test_a_form_with_csrf_token_is_accepted(app):
    client = Client(enforce_csrf_checks=True)
    token = re.search('name="csrfmiddlewaretoken" value="(.*?)"', page(client, app).content.decode())[1]
    form = {"decision": "allow", "person": FIRST[app.network], "csrfmiddlewaretoken": token}
    assert client.post(dialog_url(app), form).status_code == 302


def test_other_methods_are_not_allowed(client, app):
    assert client.put(dialog_url(app)).status_code == 405


def test_allowing_sends_a_code_and_the_state_back(client, app):
    address = decide(client, app, state="a b&c=d/ё")
    assert address.startswith(f"{BACK}?code=")
    assert query_of(address)["state"] == "a b&c=d/ё"
    code = Code.objects.get(value=query_of(address)["code"])
    assert (code.application, code.uid, code.redirect_uri) == (app, FIRST[app.network], BACK)


def test_the_code_is_for_the_person_that_was_chosen(client, app):
    last = list(PEOPLE[app.network])[-1]
    decide(client, app, person=last)
    assert Code.objects.get().uid == last


def test_a_code_lives_for_two_minutes(client, app):
    assert NETWORKS[app.network].code_lifetime == timedelta(minutes=2)


def test_no_state_is_sent_back_when_none_came(client, app):
    assert "state" not in query_of(decide(client, app, state=None))
    assert query_of(decide(client, app, state=""))["state"] == ""


def test_denying_says_so_and_grants_nothing(client, app):
    assert query_of(decide(client, app, "deny")) == {"error": "access_denied", "state": "s1"}
    assert counts() == (0, 0, 0)


def test_denying_says_so_in_the_fragment_in_the_implicit_flow(client, app):
    address = decide(client, app, "deny", response_type="token")
    assert query_of(address) == {}
    assert fragment_of(address) == {"error": "access_denied", "state": "s1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "999"},
        {"client_id": "abc"},
        {"client_id": "a\0b"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/back/"},
        {"redirect_uri": "https://site.example/back"},
        {"redirect_uri": "https://site.example/back/x"},
        {"redirect_uri": "https://SITE.example/back/"},
        {"redirect_uri": "https://site.example/back/#x"},
        {"redirect_uri": "https://site.example/back/?a#x"},
        {"response_type": None},
        {"response_type": "code_and_token"},
        {"scope": "EVERYTHING"},
        {"client_id": ["512000000000", "512000000000"]},
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_request_that_can_not_be_trusted_ends_on_the_networks_own_page(client, app, method, changes):
    form = {"decision": "allow", "person": FIRST[app.network]} if method == "post" else None
    response = getattr(client, method)(dialog_url(app, **changes), form)
    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/html")
    assert "Location" not in response
    assert counts() == (0, 0, 0)


def test_the_ids_of_the_other_network_are_unknown(client, ok_app, mailru_app):
    assert page(client, ok_app, client_id=mailru_app.client_id).status_code == 400


def test_a_redirect_uri_that_is_not_registered_is_named(client, app):
    response = page(client, app, redirect_uri="http://127.0.0.1:8001/social/<b>/")
    assert response.status_code == 400
    text = response.content.decode()
    assert "http://127.0.0.1:8001/social/&lt;b&gt;/ is not one of the redirect URIs" in text
    assert "run load_sandbox again" in text


def test_the_query_of_the_redirect_uri_is_not_compared(client, app):
    address = decide(client, app, redirect_uri=f"{BACK}?from=footer")
    assert address.startswith(f"{BACK}?from=footer&code=")


def test_permissions_are_separated_the_networks_way(client, ok_app, mailru_app):
    assert page(client, ok_app, scope="VALUABLE_ACCESS;GET_EMAIL").status_code == 200
    assert page(client, ok_app, scope="VALUABLE_ACCESS GET_EMAIL").status_code == 400
    assert page(client, mailru_app, scope="stream photos").status_code == 200
    assert page(client, mailru_app, scope="stream;photos").status_code == 400


@pytest.mark.parametrize("form", [{}, {"decision": "allow", "person": "1"}, {"decision": "maybe"}])
def test_an_answer_that_makes_no_sense_is_refused(client, app, form):
    assert client.post(dialog_url(app), form).status_code == 400
    assert counts() == (0, 0, 0)


def test_the_implicit_flow_has_to_be_switched_on(client, app):
    app.implicit_enabled = False
    app.save()
    response = page(client, app, response_type="token")
    assert query_of(response["Location"]) == {"error": "invalid_client", "state": "s1"}


def test_oks_fragment_has_a_secret_to_sign_with_and_no_refresh_token(client, ok_app):
    address = decide(client, ok_app, response_type="token", scope="VALUABLE_ACCESS;GET_EMAIL")
    fragment = fragment_of(address)
    assert query_of(address) == {}
    assert list(fragment) == [
        "access_token",
        "session_secret_key",
        "permissions_granted",
        "expires_in",
        "state",
    ]
    assert fragment["session_secret_key"]
    assert fragment["permissions_granted"] == "VALUABLE_ACCESS;GET_EMAIL"
    assert fragment["expires_in"] == "1800"
    assert counts() == (0, 1, 0)


def test_mailrus_fragment_has_a_refresh_token_and_the_user_id(client, mailru_app):
    fragment = fragment_of(decide(client, mailru_app, response_type="token"))
    assert set(fragment) == {
        "access_token",
        "refresh_token",
        "token_type",
        "expires_in",
        "x_mailru_vid",
        "state",
    }
    assert fragment["x_mailru_vid"] == FIRST["mailru"]
    assert (fragment["token_type"], fragment["expires_in"]) == ("bearer", "86400")
