"""What a call raises: one type for each thing that a site may want to do about it, and never a secret."""

import logging
import pickle

import pytest
from django.contrib.auth.models import User
from django.db import connections

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import (
    APIError,
    DeadlineExceeded,
    DecryptionError,
    InvalidClient,
    InvalidSignature,
    MalformedResponse,
    NeedsLogin,
    OAuthError,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    ServiceUnavailable,
    SessionExpired,
    SocialGrantsError,
)
from tests.network import answer
from tests.test_secrets import BAD_PROFILES, BAD_TOKENS, planted
from tests.test_transport import told_by
from tests.tokens import call, change, cut, expired, fails, granted, hexdigest

pytestmark = pytest.mark.django_db

NAMES = ["ok", "mailru"]


@pytest.fixture
def user(db):
    return User.objects.create_user("maria")


@pytest.fixture
def apps(network, ok_app, mailru_app):
    return {"ok": ok_app, "mailru": mailru_app}


def error_of(name, code, message="Ой: no way"):
    data = {"error_code": code, "error_msg": message, "error_data": None}
    return data if name == "ok" else {"error": data}


CODES = [
    ("ok", SessionExpired, 102),
    ("ok", InvalidSignature, "104"),
    ("ok", PermissionDenied, 10),
    ("ok", RateLimited, "11"),
    ("ok", ServiceUnavailable, 9999),
    ("ok", APIError, 77777),
    ("mailru", SessionExpired, "102"),
    ("mailru", InvalidSignature, 104),
    ("mailru", PermissionDenied, 200),
    ("mailru", ServiceUnavailable, 1),
    ("mailru", APIError, "100"),
]
"""One of each class; every code is in the tests of its network."""


@pytest.mark.parametrize(("name", "kind", "code"), CODES)
def test_a_networks_code_makes_the_type(user, apps, network, name, kind, code):
    granted(user, apps[name])
    network.on(f"/{name}/api", answer(error_of(name, code)))
    error = fails(user, APIError, name)
    assert type(error) is kind
    assert (error.code, error.message, error.method) == (int(code), "Ой: no way", "friends.get")
    assert all(said in str(error) for said in (str(code), "friends.get", "Ой: no way"))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.method, str(again)) == (kind, int(code), "friends.get", str(error))


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("name", NAMES)
def test_the_http_status_around_it_does_not_matter(user, apps, network, name, status):
    granted(user, apps[name])
    network.on(f"/{name}/api", answer(error_of(name, 200), status=status, content_type="text/plain"))
    fails(user, PermissionDenied, name)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [(None, ""), ({"a": 1}, ""), (17, ""), ("a\r\n\x00b\u202ec", "a b c"), ("x" * 500, "x" * 199 + "…")],
    ids=["null", "object", "number", "control characters", "long"],
)
def test_a_networks_text_is_cleaned(user, apps, network, text, cleaned):
    granted(user, apps["ok"])
    network.on("/ok/api", answer(error_of("ok", 10, text)))
    assert fails(user, PermissionDenied).message == cleaned


ANSWERS = {
    "500": (answer({}, status=500), ProviderUnavailable),
    "503": (answer({}, status=503), ProviderUnavailable),
    "429": (answer({}, status=429, headers={"Retry-After": "9"}), ProviderUnavailable),
    "cut": (cut, ProviderUnavailable),
    "html": (answer(b"<p>", content_type="text/html"), MalformedResponse),
    "empty": (answer(b""), MalformedResponse),
    "redirect": (answer({}, status=302, headers={"Location": "/ok/api"}), MalformedResponse),
    "404": (answer([], status=404), MalformedResponse),
    "code": (answer({"error_code": "much"}), MalformedResponse),
    "list of errors": (answer({"error": ["no"]}), MalformedResponse),
    "oauth": (answer({"error": "invalid_request"}, status=400), OAuthError),
    "slow": (lambda sent: sent.hang(), DeadlineExceeded),
}


@pytest.mark.parametrize("said", ANSWERS)
def test_an_answer_that_is_none_is_a_providers_error_and_nothing_is_repeated(
    user, apps, network, settings, said
):
    settings.SOCIALGRANTS_TIMEOUT = 0.5 if said == "slow" else 15
    granted(user, apps["ok"])
    behaviour, kind = ANSWERS[said]
    network.on("/ok/api", behaviour)
    error = fails(user, kind)
    assert isinstance(error, ProviderError)
    assert len(network.calls) == 1
    if said == "429":
        assert (error.status, error.retry_after) == (429, 9)


def test_one_except_clause_catches_whatever_can_happen(user, apps, network):
    for kind in (
        NeedsLogin,
        APIError,
        ProviderUnavailable,
        MalformedResponse,
        DecryptionError,
        InvalidClient,
    ):
        assert issubclass(kind, SocialGrantsError)
    assert issubclass(ServiceUnavailable, ProviderUnavailable)  # "try later" has one name
    granted(user, apps["ok"])
    network.on("/ok/api", answer(error_of("ok", 9999)))
    assert fails(user, ProviderUnavailable).retry_after is None


def test_a_repeated_call_does_not_drag_the_first_error_along(user, apps, network):
    granted(user, apps["ok"])
    network.on("/ok/api", answer(error_of("ok", 102)))
    error = fails(user, SessionExpired)
    assert (error.__cause__, error.__context__) == (None, None)
    network.on("/ok/token", answer({}, status=503))
    error = fails(user, ProviderUnavailable)
    assert (error.__cause__, error.__context__) == (None, None)


# --- secrets ---------------------------------------------------------------------------------------------------

KINDS = ["access_token", "refresh_token", "session_secret", "client_secret", "client_key"]


@pytest.fixture
def full_of_secrets(user, apps, caplog, monkeypatch):
    """Applications and tokens of planted secrets, and everything that anybody logs."""
    for app in apps.values():
        app.client_secret, app.client_key = planted("client_secret"), planted("client_key")
        app.save()
        secrets = {kind: planted(kind) for kind in KINDS[:3]}
        granted(user, app, **secrets)
    monkeypatch.setattr(connections["default"], "force_debug_cursor", True)
    for logger in (None, "django"):
        caplog.set_level(logging.DEBUG, logger)
    derived = hexdigest(planted("access_token") + planted("client_secret"))
    return [*(planted(kind) for kind in KINDS), derived]


def assert_silent(error, caplog, secrets):
    """Neither the error, what it is made of and where it came from, nor any log tells a secret."""
    while error.__traceback__ and "/tests/" in error.__traceback__.tb_frame.f_code.co_filename:
        error.__traceback__ = error.__traceback__.tb_next  # our own frames know all of them
    texts = [*told_by(error), pickle.dumps(error).decode("latin1"), caplog.text]
    texts += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert [secret for secret in secrets if any(secret in text for text in texts)] == []


@pytest.mark.parametrize("circuit", ["server-server", "client-server"])
@pytest.mark.parametrize("trouble", BAD_PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_a_call_gives_nothing_away(
    user, apps, network, caplog, full_of_secrets, name, trouble, circuit
):
    network.on(f"/{name}/api", BAD_PROFILES[trouble])
    network.on(f"/{name}/token", BAD_TOKENS["object"])
    try:
        SocialAPI(user, name, circuit=circuit).friends.get(text="hello")
    except SocialGrantsError as error:
        assert_silent(error, caplog, full_of_secrets)
    else:
        assert trouble in ("no uid", "token as uid", "nothing")  # whatever the JSON holds
    assert "django.db.backends" in {record.name for record in caplog.records}


@pytest.mark.parametrize("trouble", BAD_TOKENS)
@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_a_refresh_gives_nothing_away(
    user, apps, network, caplog, full_of_secrets, name, trouble
):
    token = user.social_tokens.get(credentials=apps[name])
    change(token, expires_at=token.created_at)
    network.on(f"/{name}/token", BAD_TOKENS[trouble])
    with pytest.raises(Exception) as caught:  # noqa: B017  # a KeyError where the quoting answer has no code
        call(user, name)
    assert isinstance(caught.value, SocialGrantsError)
    assert_silent(caught.value, caplog, full_of_secrets)


def test_an_error_of_a_key_gives_nothing_away(user, apps, network, caplog, full_of_secrets, settings):
    settings.SECRET_KEY = "another-secret-key-that-nobody-knows"
    assert_silent(fails(user, DecryptionError), caplog, full_of_secrets)


def test_the_good_case_gives_nothing_away_either(user, apps, network, caplog, full_of_secrets):
    token = user.social_tokens.get(credentials=apps["ok"])
    change(token, expires_at=token.created_at)
    api = SocialAPI(user, "ok")
    api.friends.get()
    shown = [repr(api), repr(api.friends), repr(vars(api)), caplog.text]
    shown += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    secrets = [*full_of_secrets, "ok-access-token-1", "ok-refresh-token-1"]
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []


def test_an_expired_token_of_a_user_who_is_gone_says_little(user, apps, network):
    expired(user, apps["ok"], refresh_token="")
    error = fails(user, NeedsLogin)
    assert str(error) == "the user must grant access to 'ok' again: expired"
    assert pickle.loads(pickle.dumps(error)).reason == "expired"
