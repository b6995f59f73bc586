"""Stored tokens in every condition, and whether the network was sent what it has to be sent."""

from contextlib import contextmanager
from datetime import timedelta
from hashlib import md5

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_socialgrants import signals
from django_socialgrants.api import SocialAPI
from django_socialgrants.models import UserToken
from tests.conftest import MAILRU_UID, OK_UID
from tests.journey import token_of
from tests.network import answer

UID = {"ok": OK_UID, "mailru": MAILRU_UID}

EXPIRED = {"error_code": 102, "error_msg": "PARAM_SESSION_EXPIRED : Session expired", "error_data": None}
"""OK's words for a token that is not good any more."""


def granted(user, app, *, expires_in=1800, **fields):
    """A token of an hour ago; `expires_in` seconds from now, None = the network never said."""
    values = {
        "uid": UID[app.provider],
        "access_token": f"{app.provider}-access-token-0",
        "refresh_token": f"{app.provider}-refresh-token-0",
        "expires_at": None if expires_in is None else timezone.now() + timedelta(seconds=expires_in),
        "created_at": timezone.now() - timedelta(hours=1),
    }
    return token_of(user, app, **values | fields)


def expired(user, app, **fields):
    return granted(user, app, **{"expires_in": -10} | fields)


def stale(user, app, **fields):
    """A token that is still valid, but stale."""
    return granted(user, app, **{"expires_in": 60} | fields)


def change(token, **fields):
    """Change the row, as another process would: the object in hand knows nothing of it."""
    UserToken.objects.filter(pk=token.pk).update(**fields)


def stored(token):
    return UserToken.objects.get(pk=token.pk)


def row(token):
    """Every column of the row, ciphertexts included."""
    return UserToken.objects.filter(pk=token.pk).values().get()


def assert_free(token):
    now = stored(token)
    assert (now.lease_owner, now.lease_until) == ("", None)


def requests_of(network, name):
    """What the network was asked for, in order: "api" or "token"."""
    return [
        call.path.removeprefix(f"/{name}/") for call in network.calls if call.path.startswith(f"/{name}/")
    ]


def refresh_tokens_sent(network, name):
    return [call.params["refresh_token"] for call in network.calls_to(f"/{name}/token")]


def in_turn(*behaviours):
    """Each time the next one; the last one from then on."""
    waiting = list(behaviours)

    def behave(call):
        (waiting.pop(0) if len(waiting) > 1 else waiting[0])(call)

    return behave


def cut(call):
    """The connection is cut after the request."""
    call.handler.close_connection = True


FAILURES = {
    "500": answer({}, status=500),
    "503": answer({}, status=503),
    "html": answer(b"<html>nonsense</html>", content_type="text/html"),
    "cut": cut,
    "empty": answer(b""),
    "no token": answer({"token_type": "session"}),
    "unknown error": answer({"error": "invalid_request"}, status=400),
    "out of order": answer({"error_code": 2, "error_msg": "SERVICE"}),
}
UNKNOWN = {"html", "cut", "empty", "no token"}
"""After these nobody knows what became of the old token, and the request is repeated once, quickly."""


def call(user, name="ok"):
    """One call by an object that knows nothing yet, as in a new request."""
    return SocialAPI(user, name).friends.get()


def fails(user, error, name="ok"):
    with pytest.raises(error) as caught:
        call(user, name)
    return caught.value


@contextmanager
def signals_sent():
    """Names and tokens of all our signals, in order."""
    sent = []
    names = ("granted", "refreshed", "needs_login", "disconnected")

    def receiver_of(name):
        return lambda sender, token, **kwargs: sent.append((name, token))

    receivers = {name: receiver_of(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    try:
        yield sent
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)


@contextmanager
def queries(count):
    with CaptureQueriesContext(connection) as captured:
        yield
    assert len(captured) == count, [query["sql"] for query in captured]


# --- signatures, computed from the networks' documentation ------------------------------------------------


def hexdigest(text):
    return md5(text.encode()).hexdigest()


def joined(params, *skipped):
    return "".join(f"{name}={params[name]}" for name in sorted(params) if name not in ("sig", *skipped))


def ok_sig(params, secret):
    """https://apiok.ru/en/dev/methods/: the token is not part of it."""
    return hexdigest(joined(params, "access_token", "session_key") + secret)


def ok_server_sig(params, client_secret):
    return ok_sig(params, hexdigest(params["access_token"] + client_secret))


def mailru_server_sig(params, secret_key):
    """https://api.mail.ru/docs/guides/restapi/: `secure` and the session key are parts of it."""
    return hexdigest(joined(params) + secret_key)


def mailru_client_sig(params, uid, private_key):
    return hexdigest(uid + joined(params) + private_key)
