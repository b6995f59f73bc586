"""What metrics are told about requests to the networks: one signal for each, whoever makes it, however it goes."""

import threading

import pytest
from django.contrib.auth.models import User

from django_socialgrants import signals
from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import ProviderError
from django_socialgrants.flows.login import prove, redeem
from django_socialgrants.models import UserToken
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, ImplicitGrant
from tests.due import run, store_due
from tests.fakes import FakeMailRu, FakeOK
from tests.journey import SECRETS, log_in
from tests.network import answer
from tests.tokens import call, expired, granted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria")


@pytest.fixture
def told():
    """What a receiver was told so far, the thread it was told in included."""
    heard = []

    def receiver(signal, **facts):
        heard.append(facts | {"thread": threading.current_thread()})

    signals.exchanged.connect(receiver)
    yield heard
    signals.exchanged.disconnect(receiver)


def in_short(told):
    names = ("provider", "purpose", "method", "status", "error")
    return [tuple(facts[name] for name in names) for facts in told]


def test_a_login_is_a_token_and_an_identity(client, network, ok_app, told):
    log_in(client)
    assert in_short(told) == [
        ("ok", "token", "", 200, ""),
        ("ok", "identity", "users.getCurrentUser", 200, ""),
    ]
    assert [facts["sender"] for facts in told] == [FakeOK, FakeOK]


def test_a_call_is_told_with_its_method(network, mailru_app, user, told):
    granted(user, mailru_app)
    call(user, "mailru")
    assert in_short(told) == [("mailru", "call", "friends.get", 200, "")]
    assert told[0]["sender"] is FakeMailRu
    assert told[0]["thread"] is threading.current_thread()
    assert 0 < told[0]["seconds"] < 15


def test_a_refresh_on_demand_is_told_apart_from_the_call_that_needed_it(network, ok_app, user, told):
    expired(user, ok_app)
    call(user)
    assert [facts["purpose"] for facts in told] == ["refresh", "call"]


def test_a_fragments_refresh_token_is_a_refresh(network, ok_app, told):
    prove(ok_app, ImplicitGrant("a" * 20, others={"refresh_token": "r" * 20}))
    assert [facts["purpose"] for facts in told] == ["identity", "refresh", "identity"]


def test_what_the_threads_of_a_run_ask_is_told(network, mailru_app, told):
    store_due(mailru_app, 20)
    run()
    assert in_short(told) == [("mailru", "refresh", "", 200, "")] * 20
    assert threading.current_thread() not in [facts["thread"] for facts in told]


def test_keeping_a_token_alive_is_told_as_such(network, ok_app, told):
    store_due(ok_app, refresh_token="", scope="LONG_ACCESS_TOKEN")
    run()
    assert in_short(told) == [("ok", "keep_alive", "auth.touchSession", 200, "")]


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (answer(b"", status=503), 503, "ProviderUnavailable"),
        (answer(b"", status=302, headers={"Location": "/"}), 302, "MalformedResponse"),
        (answer(b"<html>"), 200, "MalformedResponse"),
        (answer(b"x" * 300_000), 200, "MalformedResponse"),
        (answer({"error": "invalid_grant"}, status=400), 400, "InvalidGrant"),
        (lambda call: setattr(call.handler, "close_connection", True), None, "ProviderUnavailable"),
        (lambda call: call.hang(), None, "DeadlineExceeded"),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, int)) else "",
)
def test_a_failure_is_told_with_its_class_and_status(
    network, ok_app, told, settings, behaviour, status, error
):
    settings.SOCIALGRANTS_TIMEOUT = 0.3 if error == "DeadlineExceeded" else 15
    network.on("/ok/token", behaviour)
    with pytest.raises(ProviderError) as caught:
        redeem(ok_app, AuthorizationCodeGrant("code", "http://testserver/"))
    assert in_short(told) == [("ok", "token", "", status, error)]
    assert "response" not in {name for entry in caught.traceback for name in entry.locals}


def test_what_was_never_sent_is_not_told(network, ok_app, user, told):
    granted(user, ok_app)
    with pytest.raises(ValueError):
        SocialAPI(user, "ok").call("users.getCurrentUser", sig="x")
    assert told == []


def test_no_secret_is_told(client, network, ok_app, told):
    log_in(client)
    assert [secret for secret in SECRETS if secret in repr(told)] == []


def test_a_receiver_that_fails_disturbs_nobody(client, network, ok_app, told, caplog):
    def failing(**facts):
        raise RuntimeError("metrics are down")

    signals.exchanged.connect(failing)
    try:
        log_in(client)
    finally:
        signals.exchanged.disconnect(failing)
    assert UserToken.objects.count() == 1
    assert len(told) == 2
    assert "metrics are down" in caplog.text
