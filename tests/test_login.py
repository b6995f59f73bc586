"""Who somebody is and what is stored: identities, users, connected accounts."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import gettext_lazy

from django_socialgrants.exceptions import LoginRefused
from django_socialgrants.flows import state as state_module
from django_socialgrants.flows.newcomers import create_user
from django_socialgrants.models import ProviderCredentials, UserToken
from tests.conftest import MAILRU_UID, OK_UID, mailru_profile, ok_profile, ok_token
from tests.fakes import FakeOK
from tests.journey import (
    SECRETS,
    assert_headers,
    disconnect_url,
    finish,
    log_in,
    refused,
    session_of,
    start,
    token_of,
    user_of,
    warnings_logged,
    with_cookie_of,
)
from tests.network import answer

pytestmark = pytest.mark.database

CONNECTIONS = "/social/connections/"
THIS = "tests.test_login"


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", email="ivan@example.com", password="x")


def refuses(client, network, status, reason, name="ok"):
    """A login that gets as far as the networks' answers, and no further."""
    state = start(client, name)
    return refused(client, network, status, reason, lambda: finish(client, state, name), calls=2)


# --- identities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "uid"), [("ok", OK_UID), ("mailru", MAILRU_UID)])
def test_a_first_login_makes_a_user_and_keeps_the_token(client, network, ok_app, mailru_app, name, uid):
    log_in(client, name)
    user, token = User.objects.get(), UserToken.objects.get()
    assert user_of(client) == str(user.pk)
    assert (token.user, token.credentials.name, token.uid) == (user, name, uid)
    assert (token.grant_type, token.state) == ("authorization_code", "active")
    assert token.access_token == f"{name}-access-token-1"
    assert token.refresh_token == f"{name}-refresh-token-1"


def test_whoever_comes_again_is_the_same_user(network, ok_app):
    first, second = Client(), Client()
    log_in(first)
    log_in(second)
    assert user_of(first) == user_of(second) == str(User.objects.get().pk)
    assert UserToken.objects.count() == 1


def make_user_of_another_application(identity, credentials):
    """As if somebody had changed the client id while the network was asked."""
    application = ProviderCredentials.objects.get(pk=credentials.pk)
    application.client_id = "512000000099"
    application.save()
    return create_user(identity, credentials)


def test_nothing_is_stored_for_an_application_that_has_become_another_one(client, network, ok_app, settings):
    """Its user ids are those of other people now."""
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.make_user_of_another_application"
    response = finish(client, start(client))
    assert response.status_code == 400
    assert not User.objects.exists()
    assert not UserToken.objects.exists()


def test_one_uid_under_two_applications_is_two_people(network, ok_app, other_ok_app, client):
    log_in(client, "ok")
    other = Client()
    log_in(other, "ok-2")
    assert user_of(client) != user_of(other)
    assert set(UserToken.objects.values_list("credentials__name", "uid")) == {
        ("ok", OK_UID),
        ("ok-2", OK_UID),
    }


def test_two_uids_are_two_people_however_alike(network, ok_app):
    users = set()
    for uid in ("100", "0100", "1000", "100000000000000000000000000000", "100000000000000000000000000001"):
        network.on("/ok/api", answer(ok_profile(uid=uid)))
        client = Client()
        log_in(client)
        users.add(user_of(client))
    assert len(users) == 5


@pytest.mark.parametrize(("one", "other"), [("straße", "strasse"), ("Ivan", "ivan"), ("ёж", "еж")])
def test_a_database_that_equates_two_uids_logs_nobody_in_as_the_other(
    network, ok_app, monkeypatch, one, other
):
    monkeypatch.setattr(FakeOK, "uid_pattern", re.compile(r"\w+"))
    first, second = Client(), Client()
    network.on("/ok/api", answer(ok_profile(uid=one)))
    log_in(first)
    network.on("/ok/api", answer(ok_profile(uid=other)))
    assert finish(second, start(second)).status_code in (302, 409)
    assert user_of(second) != user_of(first)
    assert UserToken.objects.get(user_id=user_of(first)).uid == one


def test_an_email_address_links_nobody(client, network, ok_app, anna):
    network.on("/ok/api", answer(ok_profile(email=anna.email, has_email=True)))
    log_in(client)
    made = User.objects.get(pk=user_of(client))
    assert made != anna
    assert made.email == ""
    assert not anna.social_tokens.exists()


@pytest.mark.parametrize("profile", [{"nick": "anna"}, {"name": "anna"}, {"first_name": "anna"}])
def test_a_name_links_nobody(client, network, mailru_app, anna, profile):
    network.on("/mailru/api", answer([mailru_profile(**profile)]))
    log_in(client, "mailru")
    assert user_of(client) != str(anna.pk)


# --- new users --------------------------------------------------------------------------------------------


def test_a_new_user_has_a_random_name_no_password_and_no_rights(client, network, ok_app, other_ok_app):
    log_in(client, "ok-2")
    user = User.objects.get()
    assert re.fullmatch(r"ok-2_[a-z0-9]{12}", user.username)
    assert not user.has_usable_password()
    assert (user.is_active, user.is_staff, user.is_superuser) == (True, False, False)
    assert user.get_all_permissions() == set()
    assert (user.first_name, user.last_name) == ("Иван", "Петров")


def test_a_profile_cannot_choose_more_than_first_and_last_name(client, network, ok_app):
    forged = {"username": "root", "is_staff": True, "is_superuser": True, "password": "x", "id": 1, "pk": 1}
    network.on("/ok/api", answer(ok_profile(first_name="<b>" + "x" * 190, last_name="a\nb\0c", **forged)))
    log_in(client)
    user = User.objects.get()
    assert user.username.startswith("ok_")
    assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (False, False, False)
    assert (len(user.first_name), user.last_name) == (150, "a b c")


def test_a_profile_of_nothing_but_a_uid_is_enough(client, network, ok_app):
    network.on("/ok/api", answer({"uid": OK_UID}))
    log_in(client)
    assert (User.objects.get().first_name, User.objects.get().last_name) == ("", "")


def test_a_site_may_refuse_whom_it_does_not_know(client, network, ok_app, settings):
    settings.SOCIALGRANTS_CREATE_USERS = False
    refuses(client, network, 403, "unknown_identity")


def test_who_is_known_logs_in_where_nobody_new_is_let_in(client, network, ok_app, settings, anna):
    settings.SOCIALGRANTS_CREATE_USERS = False
    token_of(anna, ok_app, uid=OK_UID)
    log_in(client)
    assert user_of(client) == str(anna.pk)


def test_who_is_logged_in_connects_accounts_where_nobody_new_is_let_in(
    client, network, ok_app, settings, anna
):
    settings.SOCIALGRANTS_CREATE_USERS = False
    client.force_login(anna)
    log_in(client)
    assert UserToken.objects.get().user == anna


def make_one(identity, credentials):
    made = {"email": identity.email, "first_name": credentials.name, "last_name": identity.uid}
    return User.objects.create(username=f"made-for-{identity.name}", **made)


def refuse_all(identity, credentials):
    User.objects.create(username="half-made")


def return_the_inactive(identity, credentials):
    return User.objects.create(username="sleeping", is_active=False)


def make_anna_again(identity, credentials):
    return User.objects.create(username="anna")


def return_anna(identity, credentials):
    return User.objects.get(username="anna")


def test_a_site_may_make_its_users_itself(client, network, ok_app, settings):
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.make_one"
    network.on("/ok/api", answer(ok_profile(email="ivan@example.com")))
    log_in(client)
    user = User.objects.get()
    assert (user.username, user.email) == ("made-for-Иван Петров", "ivan@example.com")
    assert (user.first_name, user.last_name) == ("ok", OK_UID)
    assert user_of(client) == str(user.pk)


def test_a_site_may_choose_an_existing_user_for_somebody_unknown(client, network, ok_app, settings, anna):
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.return_anna"
    log_in(client)
    assert user_of(client) == str(anna.pk)
    assert UserToken.objects.get().user == anna


@pytest.mark.parametrize(
    ("factory", "reason"), [("refuse_all", "unknown_identity"), ("return_the_inactive", "inactive_user")]
)
def test_when_the_factory_refuses_nothing_of_its_work_stays(
    client, network, ok_app, settings, factory, reason
):
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.{factory}"
    refuses(client, network, 403, reason)


def test_a_factory_that_collides_with_existing_users_is_no_error_page(
    client, network, ok_app, settings, anna
):
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.make_anna_again"
    refuses(client, network, 503, "conflict")


def test_who_is_known_never_meets_the_factory(client, network, ok_app, settings, anna):
    token_of(anna, ok_app, uid=OK_UID)
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.refuse_all"
    log_in(client)


def refuse_with_a_sentence(identity, credentials):
    User.objects.create(username="half-made")
    raise LoginRefused(gettext_lazy("Log in with your password, then <connect>."))


def test_a_factory_may_refuse_with_a_sentence_of_its_own(client, network, ok_app, settings):
    settings.SOCIALGRANTS_USER_FACTORY = f"{THIS}.refuse_with_a_sentence"
    state = start(client)
    with warnings_logged() as records:
        response = finish(client, state)
    assert response.status_code == 403
    assert "Log in with your password, then &lt;connect&gt;." in response.content.decode()
    assert_headers(response)
    [record] = records
    assert record.reason == "refused_by_site"
    assert "Log in with your password" in record.getMessage()
    assert not User.objects.exists()


# --- logging in -------------------------------------------------------------------------------------------


def test_an_inactive_user_is_refused_and_nothing_is_stored(client, network, ok_app, anna):
    User.objects.update(is_active=False)
    token_of(anna, ok_app, uid=OK_UID)
    refuses(client, network, 403, "inactive_user")


def test_a_user_who_becomes_inactive_is_logged_out(client, network, ok_app):
    log_in(client)
    User.objects.update(is_active=False)
    assert "AnonymousUser" in client.get("/").content.decode()


def test_the_session_key_cycles_and_what_the_session_held_is_kept(client, network, ok_app):
    session = client.session
    session["basket"] = ["apples"]
    session.save()
    fixed, key = with_cookie_of(client), session.session_key
    log_in(client)
    assert session_of(client).session_key != key
    assert session_of(client)["basket"] == ["apples"]
    assert user_of(client) is not None
    assert user_of(fixed) is None


def test_django_is_told_who_logged_in(client, network, ok_app):
    told = []

    def listen(sender, request, user, **kwargs):
        told.append((user, request.user, request.session["_auth_user_backend"]))

    user_logged_in.connect(listen)
    try:
        log_in(client)
    finally:
        user_logged_in.disconnect(listen)
    user = User.objects.get()
    assert told == [(user, user, "django_socialgrants.backends.SocialGrantsBackend")]
    assert user.last_login is not None


class Veto(BaseBackend):
    def authenticate(self, request, **credentials):
        raise PermissionDenied


class Indifferent(BaseBackend):
    def authenticate(self, request, **credentials):
        return None


BACKENDS = ["django.contrib.auth.backends.ModelBackend", "django_socialgrants.backends.SocialGrantsBackend"]


def test_an_earlier_backend_can_forbid_a_login(client, network, ok_app, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{THIS}.Veto", *BACKENDS]
    refuses(client, network, 403, "not_authenticated")


def test_an_earlier_backend_that_does_not_care_changes_nothing(client, network, ok_app, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{THIS}.Indifferent", *BACKENDS]
    log_in(client)
    assert session_of(client)["_auth_user_backend"] == BACKENDS[1]


def test_without_our_backend_nobody_logs_in(client, network, ok_app, settings):
    settings.AUTHENTICATION_BACKENDS = BACKENDS[:1]
    refuses(client, network, 403, "not_authenticated")


def test_our_backend_knows_nobody_by_password(anna):
    assert authenticate(None, username="anna", password="x").backend == BACKENDS[0]
    assert authenticate(None, username="anna", password="wrong") is None


# --- connecting -------------------------------------------------------------------------------------------


def test_who_is_logged_in_connects_a_further_account(client, network, ok_app, mailru_app, anna):
    client.force_login(anna)
    log_in(client, "ok")
    log_in(client, "mailru")
    assert user_of(client) == str(anna.pk)
    assert User.objects.get() == anna
    assert set(anna.social_tokens.values_list("uid", flat=True)) == {OK_UID, MAILRU_UID}


def test_a_connected_account_logs_in(client, network, ok_app, anna):
    client.force_login(anna)
    log_in(client)
    other = Client()
    log_in(other)
    assert user_of(other) == str(anna.pk)


def test_one_user_may_hold_several_accounts_of_one_network(client, network, ok_app, anna):
    client.force_login(anna)
    log_in(client)
    network.on("/ok/api", answer(ok_profile(uid="200")))
    log_in(client)
    assert set(anna.social_tokens.values_list("uid", flat=True)) == {OK_UID, "200"}


def test_an_account_of_somebody_else_cannot_be_connected(client, network, ok_app, anna):
    token_of(User.objects.create_user("boris"), ok_app, uid=OK_UID)
    client.force_login(anna)
    refuses(client, network, 409, "identity_taken")


# --- a grant over an existing row -------------------------------------------------------------------------


def test_a_new_grant_replaces_what_was_there(client, network, ok_app, anna):
    hour = timedelta(hours=1)
    past = timezone.now() - hour
    row = token_of(
        anna,
        ok_app,
        uid=OK_UID,
        refresh_token="refresh-before",
        session_secret="secret-before",
        state="needs_login",
        reason="invalid_grant",
        failures=7,
        generation=41,
        lease_owner="somebody",
        lease_until=timezone.now() + hour,
        expires_at=past,
        created_at=past,
        refreshed_at=past,
        profile={"name": "Before"},
    )
    log_in(client)
    row.refresh_from_db()
    assert row.access_token == "ok-access-token-1"
    assert row.refresh_token == "ok-refresh-token-1"
    assert not row.session_secret
    assert (row.state, row.reason, row.failures) == ("active", "", 0)
    assert row.generation == 42
    assert (row.lease_owner, row.lease_until) == ("", None)
    assert row.created_at > past
    assert row.refreshed_at is None
    assert timezone.now() < row.next_refresh_at < row.expires_at < timezone.now() + hour
    assert row.profile["name"] == "Иван Петров"
    assert row.user == anna


@pytest.mark.parametrize("brought", [..., None, ""], ids=["absent", "null", "empty"])
def test_a_grant_without_refresh_token_keeps_the_stored_one(client, network, ok_app, anna, brought):
    until = timezone.now().replace(microsecond=0) + timedelta(days=3)
    token_of(anna, ok_app, uid=OK_UID, refresh_token="refresh-before", refresh_expires_at=until)
    body = {name: value for name, value in ok_token(refresh_token=brought).items() if value is not ...}
    network.on("/ok/token", answer(body))
    log_in(client)
    row = UserToken.objects.get()
    assert row.access_token == "ok-access-token-1"
    assert row.refresh_token == "refresh-before"
    assert row.refresh_expires_at == until


def test_connecting_ones_own_account_again_replaces_its_token(client, network, ok_app, anna):
    row = token_of(anna, ok_app, uid=OK_UID)
    client.force_login(anna)
    log_in(client)
    row.refresh_from_db()
    assert row.access_token == "ok-access-token-1"
    assert row.generation == 1


def test_a_row_that_is_deleted_at_the_last_moment_is_made_again(client, network, ok_app, anna, monkeypatch):
    token_of(anna, ok_app, uid=OK_UID)
    client.force_login(anna)
    take = UserToken.changes_by_grant

    def delete_and_take(row, *args, **kwargs):
        UserToken.objects.filter(pk=row.pk).delete()
        return take(row, *args, **kwargs)

    monkeypatch.setattr(UserToken, "changes_by_grant", delete_and_take)
    log_in(client)
    assert UserToken.objects.get().user == anna


# --- my accounts ------------------------------------------------------------------------------------------


def test_the_page_shows_ones_own_accounts_and_no_token(client, network, ok_app, mailru_app, anna):
    token_of(User.objects.create_user("boris"), ok_app, uid="999", profile={"name": "Boris Somebody"})
    client.force_login(anna)
    log_in(client, "ok")
    token_of(anna, mailru_app, uid="777", state="needs_login", refresh_token="mailru-refresh-token-0")
    body = client.get(CONNECTIONS).content.decode()
    assert "Иван Петров" in body
    assert "777" in body
    assert "must be connected again" in body
    assert "Boris Somebody" not in body
    assert [secret for secret in (*SECRETS, "token-before") if secret in body] == []
    assert "v1." not in body


def test_the_page_shows_names_as_text(client, network, ok_app, anna):
    token_of(anna, ok_app, profile={"name": "<script>alert(1)</script>"})
    client.force_login(anna)
    body = client.get(CONNECTIONS).content.decode()
    assert "<script" not in body
    assert "&lt;script&gt;alert(1)" in body


def test_an_account_of_a_network_that_is_no_longer_listed_is_shown(client, network, ok_app, anna, settings):
    row = token_of(anna, ok_app, uid="777")
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    client.force_login(anna)
    response = client.get(CONNECTIONS)
    assert response.status_code == 200
    assert "777" in response.content.decode()
    assert client.post(disconnect_url(row)).status_code == 302
    assert not UserToken.objects.exists()


def test_who_is_not_logged_in_sees_no_accounts(client, network, ok_app):
    response = client.get(CONNECTIONS)
    assert (response.status_code, response["Location"]) == (302, f"/login/?next={CONNECTIONS}")


# --- disconnecting ----------------------------------------------------------------------------------------


def test_ones_own_account_can_be_disconnected(client, network, ok_app, mailru_app, anna):
    gone, kept = token_of(anna, ok_app), token_of(anna, mailru_app)
    client.force_login(anna)
    response = client.post(disconnect_url(gone))
    assert (response.status_code, response["Location"]) == (302, CONNECTIONS)
    assert list(UserToken.objects.all()) == [kept]
    assert network.calls == []


def test_an_account_of_somebody_else_is_not_there(client, network, ok_app, anna):
    row = token_of(User.objects.create_user("boris", password="x"), ok_app)
    client.force_login(anna)
    refused(client, network, 404, "not_found", lambda: client.post(disconnect_url(row)))


def test_an_account_that_never_was_is_not_there(client, network, ok_app, anna):
    client.force_login(anna)
    for pk in (0, 2**31, 2**63 - 1, 2**63, 10**30):
        url = f"/social/connections/{pk}/disconnect/"
        refused(client, network, 404, "not_found", lambda url=url: client.post(url))


def test_who_is_not_logged_in_disconnects_nothing(client, network, ok_app, anna):
    row = token_of(anna, ok_app)
    response = client.post(disconnect_url(row))
    assert (response.status_code, response["Location"]) == (302, f"/login/?next={CONNECTIONS}")
    assert UserToken.objects.exists()


def test_the_last_way_to_log_in_stays(client, network, ok_app, mailru_app):
    log_in(client, "ok")
    log_in(client, "mailru")
    ok, mailru = UserToken.objects.order_by("credentials__pk")
    assert client.post(disconnect_url(ok)).status_code == 302
    refused(client, network, 409, "last_login", lambda: client.post(disconnect_url(mailru)))


def test_the_button_of_the_only_way_to_log_in_is_disabled_and_says_why(client, network, ok_app, mailru_app):
    def disabled():
        page = client.get(CONNECTIONS).content.decode()
        described = re.findall(r'disabled aria-describedby="([^"]*)"', page)
        assert all(f'<small id="{place}">This is your only way to log in' in page for place in described)
        return described

    log_in(client, "ok")
    ok = UserToken.objects.get()
    assert disabled() == [f"only-way-{ok.pk}"]
    log_in(client, "mailru")
    assert disabled() == []
    UserToken.objects.exclude(pk=ok.pk).delete()
    ok.user.set_password("a password")
    ok.user.save()
    client.force_login(ok.user)
    assert disabled() == []


def test_an_account_at_a_network_that_this_site_has_left_is_no_way_to_log_in(
    client, network, ok_app, mailru_app, settings
):
    log_in(client)
    log_in(client, "mailru")
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK"]
    ok = UserToken.objects.get(credentials=ok_app)
    refused(client, network, 409, "last_login", lambda: client.post(disconnect_url(ok)))


def test_the_accounts_are_shown_also_of_a_network_that_this_site_has_left(
    client, network, ok_app, mailru_app, settings
):
    log_in(client)
    log_in(client, "mailru")
    UserToken.objects.update(state="needs_login")
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK"]
    page = client.get(CONNECTIONS)
    assert page.status_code == 200
    assert page.content.decode().count("Connect again") == 1


def test_who_has_a_password_may_disconnect_the_last_account(client, network, ok_app, anna):
    row = token_of(anna, ok_app)
    client.force_login(anna)
    assert client.post(disconnect_url(row)).status_code == 302
    assert not UserToken.objects.exists()


def test_a_disconnected_account_is_somebody_unknown(client, network, ok_app, anna):
    row = token_of(anna, ok_app, uid=OK_UID)
    client.force_login(anna)
    client.post(disconnect_url(row))
    other = Client()
    log_in(other)
    assert user_of(other) != str(anna.pk)


# --- what it costs ----------------------------------------------------------------------------------------


@pytest.fixture
def untidy(monkeypatch):
    """No claim removes old ones, as one in sixteen does."""
    monkeypatch.setattr(state_module, "_TIDY_BELOW", 0)


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_a_login_asks_the_database_little(network, ok_app, mailru_app, name, untidy):
    assert _statements(name) == (
        1,
        11,
    )  # two of them: the time, and is it still the application that was asked?
    assert _statements(name) == (1, 8)


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_connecting_an_account_asks_the_database_little(network, ok_app, mailru_app, anna, name, untidy):
    client = Client()
    client.force_login(anna)
    assert _statements(name, client) in [(3, 7), (3, 8)]
    assert _statements(name, client) in [(3, 6), (3, 7)]  # the second time there is a row to tell the time


def _statements(name, client=None):
    """How many statements a start and a callback have, but for those of transactions."""
    client = client or Client()
    with CaptureQueriesContext(connection) as of_start:
        state = start(client, name)
    with CaptureQueriesContext(connection) as of_callback:
        assert finish(client, state, name).status_code == 302
    frames = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return tuple(
        len([query for query in captured if not query["sql"].lstrip().upper().startswith(frames)])
        for captured in (of_start, of_callback)
    )
