"""How a grant ends at its user's wish: the row goes first, then the network is told, if it wants to know."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.urls import include, path, reverse

from django_socialgrants import api, signals
from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.models import UserToken
from tests.databases import elsewhere
from tests.fakes import FakeOK
from tests.journey import SECRETS, disconnect_url, warnings_logged
from tests.network import answer
from tests.tokens import expired, granted

pytestmark = pytest.mark.django_db(transaction=True)

REVOKED = answer(b"")

urlpatterns = [path("admin/", admin.site.urls), path("social/", include("django_socialgrants.urls"))]


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria", password="password", is_staff=True, is_superuser=True)


@pytest.fixture(autouse=True)
def app(network, ok_app, monkeypatch):
    monkeypatch.setattr(FakeOK, "revocation_endpoint", f"{network.url}/ok/revoke")
    network.on("/ok/revoke", REVOKED)
    return ok_app


@pytest.fixture
def told():
    """What receivers of `disconnected` are told: the uid, and what became of the revocation."""
    heard = []

    def hear(sender, token, revoked, **kwargs):
        heard.append((token.uid, revoked))

    signals.disconnected.connect(hear)
    yield heard
    signals.disconnected.disconnect(hear)


def by_view(client, token):
    assert client.post(disconnect_url(token)).status_code == 302


def by_admin(client, token):
    place = reverse("admin:socialgrants_usertoken_delete", args=[token.pk])
    assert client.post(place, {"post": "yes"}).status_code == 302


def by_action(client, token):
    data = {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"}
    assert client.post(reverse("admin:socialgrants_usertoken_changelist"), data).status_code == 302


def by_api(client, token):
    assert api.disconnect(token.user) == 1


DOORS = [by_view, by_admin, by_action, by_api]


@pytest.fixture
def client(client, user, settings):
    settings.ROOT_URLCONF = __name__
    client.force_login(user)
    return client


@pytest.mark.parametrize("condition", [granted, expired])
@pytest.mark.parametrize("disconnect", DOORS)
def test_the_network_is_told_once_when_the_row_is_gone(
    client, user, app, network, told, disconnect, condition
):
    token = condition(user, app)
    rows = []

    def look(sent):
        rows.append(elsewhere(UserToken.objects.count))
        REVOKED(sent)

    network.on("/ok/revoke", look)
    disconnect(client, token)
    assert rows == [0]
    (sent,) = network.calls  # an expired token is not refreshed for that
    assert (sent.path, sent.params["token"]) == ("/ok/revoke", "ok-refresh-token-0")
    assert told == [(token.uid, True)]


@pytest.mark.parametrize("disconnect", DOORS)
def test_a_network_that_does_not_want_to_know_is_not_told(
    client, user, app, network, told, disconnect, monkeypatch
):
    monkeypatch.setattr(FakeOK, "revocation_endpoint", "")
    disconnect(client, granted(user, app))
    assert network.calls == []
    assert told == [("561234567890", None)]


FAILURES = {
    "503": answer({}, status=503),
    "cut": lambda sent: setattr(sent.handler, "close_connection", True),
    "refused": answer({"error": "invalid_client"}, status=401),
    "nonsense": answer(b"<html>", content_type="text/html"),
    "slow": lambda sent: sent.hang(),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("disconnect", DOORS)
def test_its_failure_is_nobodys_problem(client, user, app, network, told, settings, disconnect, failure):
    settings.SOCIALGRANTS_TIMEOUT = 0.3 if failure == "slow" else 15
    token = granted(user, app)
    network.on("/ok/revoke", FAILURES[failure])
    with warnings_logged() as records:
        disconnect(client, token)
    assert not UserToken.objects.exists()
    assert len(network.calls) == 1
    assert told == [(token.uid, False)]
    text = " ".join(record.getMessage() for record in records)
    assert f"token {token.pk} of ok was not revoked" in text
    assert [secret for secret in SECRETS if secret in text] == []


def test_nor_is_a_token_that_nobody_can_read(client, user, app, network, told, settings):
    granted(user, app)
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]
    assert api.disconnect(user) == 1
    assert (network.calls, told) == ([], [("561234567890", False)])


def test_a_network_that_is_no_longer_configured_is_not_told(user, app, network, told, settings):
    granted(user, app)
    settings.SOCIALGRANTS_PROVIDERS = []
    assert api.disconnect(user) == 1
    assert (network.calls, told) == ([], [("561234567890", None)])


def test_of_many_none_is_begun_when_time_is_up(user, app, network, told, settings):
    settings.SOCIALGRANTS_TIMEOUT = 0.3
    for uid in ("1", "2", "3"):
        granted(user, app, uid=uid)
    network.on("/ok/revoke", lambda sent: sent.hang())
    assert api.disconnect(user) == 3
    assert len(network.calls) == 1
    assert told == [("1", False), ("2", False), ("3", False)]


class Undone(Exception):
    pass


def test_a_transaction_of_the_site_is_waited_for(user, app, network, told):
    granted(user, app)
    with pytest.raises(Undone), transaction.atomic():
        assert api.disconnect(user) == 1
        raise Undone
    assert (network.calls, told, UserToken.objects.count()) == ([], [], 1)
    with transaction.atomic():
        assert api.disconnect(user) == 1
        assert (network.calls, told) == ([], [])
    assert told == [("561234567890", True)]


# --- api.disconnect ------------------------------------------------------------------------------------------


def test_all_of_a_users_tokens_are_forgotten_and_nobody_elses(user, app, mailru_app, network):
    user.set_unusable_password()  # the account is going to be deleted: no way back is needed
    user.save()
    ivan = User.objects.create_user("ivan")
    kept = granted(ivan, app, uid="7")
    granted(user, app, uid="1")
    granted(user, app, uid="2")
    granted(user, mailru_app)
    assert api.disconnect(user, "mailru") == 1
    assert api.disconnect(user, "mailru") == 0
    assert api.disconnect(user) == 2
    assert UserToken.objects.get() == kept


def test_an_application_that_nobody_knows_is_a_mistake(user, app):
    granted(user, app)
    with pytest.raises(UnknownCredentials):
        api.disconnect(user, "okru")
    assert UserToken.objects.count() == 1


def test_nobody_has_nothing(app):
    assert api.disconnect(AnonymousUser()) == 0
