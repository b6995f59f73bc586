"""What other parts of a site are told: once, after the fact is committed, whatever the other listeners do."""

import json
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client

from django_socialgrants import signals
from django_socialgrants.exceptions import NeedsLogin
from django_socialgrants.models import UserToken
from tests.conftest import mailru_token
from tests.journey import SECRETS, disconnect_url, log_in, warnings_logged
from tests.network import answer
from tests.tokens import EXPIRED, call, expired, fails, granted, in_turn, signals_sent, stored

NAMES = ["granted", "refreshed", "needs_login", "disconnected"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria", password="password")


@pytest.fixture
def member(user, client):
    client.force_login(user)
    return client


def only(sent, name):
    """The token of the one signal that was sent."""
    assert [signal for signal, _ in sent] == [name]
    token = sent[0][1]
    assert isinstance(token, UserToken)
    return token


def assert_as_stored(token):
    """What a receiver is given is the row as it now is."""
    now = stored(token)
    for field in UserToken._meta.concrete_fields:
        mine, theirs = getattr(token, field.attname), getattr(now, field.attname)
        if field.name in (
            "expires_at",
            "refresh_expires_at",
            "next_refresh_at",
            "created_at",
            "refreshed_at",
        ):
            assert (mine is None) == (theirs is None), field.name
            assert mine is None or abs((mine - theirs).total_seconds()) < 1, field.name
        else:
            assert mine == theirs, field.name


# --- granted ---------------------------------------------------------------------------------------------------


def test_a_first_login_grants(client, network, ok_app):
    with signals_sent() as sent:
        log_in(client)
    token = only(sent, "granted")
    assert (token.user, token.credentials) == (User.objects.get(), ok_app)
    assert_as_stored(token)


def test_a_later_login_grants_again(network, ok_app):
    log_in(Client())
    with signals_sent() as sent:
        log_in(Client())
    token = only(sent, "granted")
    assert token.generation == 1
    assert_as_stored(token)


def test_connecting_an_account_grants(member, user, network, ok_app):
    with signals_sent() as sent:
        log_in(member)
    assert only(sent, "granted").user == user


def test_a_new_grant_for_a_dead_token_grants(member, user, network, ok_app):
    granted(user, ok_app, state="needs_login", reason="invalid_grant")
    with signals_sent() as sent:
        log_in(member)
    token = only(sent, "granted")
    assert (token.state, token.reason) == ("active", "")
    assert_as_stored(token)


def test_a_login_that_is_refused_grants_nothing(client, network, ok_app):
    network.on("/ok/api", answer({"error_code": 104, "error_msg": "no"}))
    with signals_sent() as sent, pytest.raises(AssertionError):
        log_in(client)
    assert sent == []


# --- refreshed, needs_login --------------------------------------------------------------------------------------


@pytest.mark.parametrize("occasion", ["expired", "session expired"])
def test_a_refresh_is_told_once(user, network, ok_app, occasion):
    (expired if occasion == "expired" else granted)(user, ok_app)
    if occasion != "expired":
        network.on("/ok/api", in_turn(answer(EXPIRED), answer([])))
    with signals_sent() as sent:
        for _ in range(3):
            call(user)
    token = only(sent, "refreshed")
    assert (token.generation, token.access_token) == (1, "ok-access-token-1")
    assert_as_stored(token)


DEATHS = {
    "invalid_grant": {"condition": expired},
    "identity_changed": {"condition": expired},
    "expired": {"condition": expired, "refresh_token": ""},
    "session_expired": {"condition": granted, "refresh_token": ""},
}


@pytest.mark.parametrize("reason", DEATHS)
def test_the_end_of_a_token_is_told_once(user, network, mailru_app, reason):
    fields = dict(DEATHS[reason])
    fields.pop("condition")(user, mailru_app, **fields)
    network.on("/mailru/api", answer({"error": EXPIRED}))
    said = {"identity_changed": mailru_token(x_mailru_vid="1")}.get(reason, {"error": "invalid_grant"})
    network.on("/mailru/token", answer(said))
    with signals_sent() as sent:
        for _ in range(3):
            assert fails(user, NeedsLogin, "mailru").reason == reason
    token = only(sent, "needs_login")
    assert (token.state, token.reason) == ("needs_login", reason)
    assert_as_stored(token)


def test_a_refresh_that_fails_is_no_news(user, network, ok_app):
    expired(user, ok_app)
    network.on("/ok/token", answer({}, status=503))
    with signals_sent() as sent:
        fails(user, Exception)
    assert sent == []


# --- disconnected ------------------------------------------------------------------------------------------------


def test_disconnecting_is_told_with_the_row_as_it_was(member, user, network, ok_app):
    token = granted(user, ok_app)
    with signals_sent() as sent:
        assert member.post(disconnect_url(token)).status_code == 302
    told = only(sent, "disconnected")
    assert (told.pk, told.user, told.uid) == (token.pk, user, token.uid)
    assert not UserToken.objects.exists()


def test_a_disconnecting_that_is_refused_is_no_news(member, user, network, ok_app):
    token = granted(User.objects.create_user("ivan"), ok_app)
    user.set_unusable_password()
    user.save()
    member.force_login(user)
    own = granted(user, ok_app, uid="2")
    with signals_sent() as sent:
        assert member.post(disconnect_url(token)).status_code == 404
        assert member.post(disconnect_url(own)).status_code == 409
    assert sent == []


# --- when and to whom --------------------------------------------------------------------------------------------


class Undone(Exception):
    pass


@contextmanager
def undone():
    """A transaction of the site around everything, which fails in the end."""
    with pytest.raises(Undone), transaction.atomic():
        yield
        raise Undone


def test_what_is_rolled_back_is_no_news(member, user, network, ok_app, other_ok_app):
    token = granted(user, other_ok_app)
    with signals_sent() as sent, undone():
        log_in(member)
        assert member.post(disconnect_url(token)).status_code == 302
        assert sent == []
    assert sent == []
    assert UserToken.objects.get() == token


def test_what_is_committed_later_is_told_then(member, network, ok_app):
    with signals_sent() as sent:
        with transaction.atomic():
            log_in(member)
            assert sent == []
        only(sent, "granted")


@contextmanager
def receivers(name, *functions):
    signal = getattr(signals, name)
    for function in functions:
        signal.connect(function)
    try:
        yield
    finally:
        for function in functions:
            signal.disconnect(function)


def causes(name, client, user, app, network):
    """Let it happen."""
    if name == "granted":
        log_in(client)
    elif name == "refreshed":
        expired(user, app)
        call(user)
    elif name == "needs_login":
        expired(user, app, refresh_token="")
        fails(user, NeedsLogin)
    else:
        client.post(disconnect_url(granted(user, app)))


@pytest.mark.parametrize("name", NAMES)
def test_a_receiver_that_fails_disturbs_nobody(member, user, network, ok_app, name):
    heard = []

    def fail(sender, token, **kwargs):
        raise RuntimeError(f"broken by {token!r} {token.access_token}")

    def hear(sender, token, **kwargs):
        heard.append((sender, token.uid))

    with warnings_logged() as records, receivers(name, fail, hear):
        causes(name, member, user, ok_app, network)
    assert heard == [(UserToken, "561234567890")]
    logged = [record for record in records if record.levelname == "ERROR"]
    assert {record.name for record in logged} <= {
        "django.dispatch",
        "django_socialgrants",
    }  # Django has a say, too
    told = " ".join(f"{record.getMessage()} {record.__dict__}" for record in logged)
    assert "RuntimeError" in told
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize("name", NAMES)
def test_receivers_are_told_outside_of_any_transaction_of_ours(member, user, network, ok_app, name):
    seen = []

    def look(sender, token, **kwargs):
        seen.append((connection.in_atomic_block, UserToken.objects.filter(pk=token.pk).exists()))

    with receivers(name, look):
        causes(name, member, user, ok_app, network)
    assert seen == [(False, name != "disconnected")]


@pytest.mark.parametrize("name", NAMES)
def test_what_receivers_are_given_shows_no_secret(member, user, network, ok_app, name):
    with signals_sent() as sent:
        causes(name, member, user, ok_app, network)
    token = only(sent, name)
    shown = json.dumps([str(token), repr(token), repr(token.__dict__)])
    assert [secret for secret in SECRETS if secret in shown] == []


# --- transactions of the site --------------------------------------------------------------------------------


def break_the_database(sender, token, **kwargs):
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


async def break_it_asynchronously(sender, token, **kwargs):
    await sync_to_async(break_the_database)(sender, token)


def write(sender, token, **kwargs):
    User.objects.create_user(f"made-for-{token.uid}")


@contextmanager
def manual_transaction():
    transaction.set_autocommit(False)
    try:
        yield
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


@pytest.mark.only_on("postgresql", "mysql")
@pytest.mark.parametrize("surroundings", [transaction.atomic, manual_transaction])
@pytest.mark.parametrize("breaking", [break_the_database, break_it_asynchronously])
@pytest.mark.parametrize("name", ["refreshed", "needs_login"])
def test_a_receiver_that_fails_in_the_database_disturbs_neither_the_caller_nor_the_others(
    user, network, ok_app, name, breaking, surroundings
):
    if name == "needs_login":
        network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
    expired(user, ok_app)
    with warnings_logged() as records, receivers(name, breaking, write), surroundings():
        User.objects.create_user("ivan")
        if name == "refreshed":
            call(user)
        else:
            fails(user, NeedsLogin)
    assert "django.dispatch" in {record.name for record in records}
    names = set(User.objects.values_list("username", flat=True))
    assert names == {"maria", "ivan", "made-for-561234567890"}


def test_a_receiver_that_fails_on_commit_does_not_disturb_the_others(member, network, ok_app):
    with receivers("granted", break_the_database, write), transaction.atomic():
        log_in(member)
    assert User.objects.filter(username="made-for-561234567890").exists()


# --- recovered -------------------------------------------------------------------------------------------------


def test_a_grant_says_whether_it_brought_a_dead_token_back(member, user, network, ok_app):
    told = []

    def hear(sender, token, recovered, **kwargs):
        told.append(recovered)

    with receivers("granted", hear):
        log_in(member)
        log_in(member)
        UserToken.objects.update(state="needs_login", reason="invalid_grant")
        log_in(member)
        log_in(member)
    assert told == [False, False, True, False]
