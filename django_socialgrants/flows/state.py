"""The `state` parameter (RFC 6749, section 10.12): made per start, bound to what it was made for, used once.

What belongs to a state is kept in the visitor's session under the state's SHA-256, so that not even a session
store shows one. That it is used only once is decided in the database, by inserting a row: sessions that live in
signed cookies can be replayed, and those in a database can be read by two requests at once.
"""

import secrets
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from django_socialgrants.conf import conf
from django_socialgrants.models import ProviderCredentials, UsedState
from django_socialgrants.oauth.grants import base64url
from django_socialgrants.oauth.values import Secret

from .refusal import Refusal

MAX_PENDING = 10
"""States that one session can have on their way."""

_SESSION_KEY = "socialgrants_states"
_SCOPES_KEY = "socialgrants_scopes"
_CLOCK_SKEW = 30  # seconds by which the clocks of a site's hosts may differ


@dataclass(frozen=True)
class Attempt:
    """What a state belongs to."""

    application: str
    provider: str
    flow: str
    """"code" or "implicit"."""
    user: str | None
    """Primary key of who may finish it; None = anonymous."""
    login: bool
    """Whether it was started to log in, not to connect a further account."""
    redirect_uri: str
    next_url: str
    issued_at: float
    scope: str = ""
    """What is asked for, separated by spaces."""


def want(request: HttpRequest, name: str, scope: str) -> None:
    """Let the next grant for the application `name` ask for `scope`, too.

    Kept in the session: what a request says about scope is never believed.
    """
    if scope:
        wanted = request.session.get(_SCOPES_KEY) or {}
        request.session[_SCOPES_KEY] = {**wanted, name: scope}


def wanted_scope(request: HttpRequest, credentials: ProviderCredentials) -> str:
    """The application's own scope, and what a view wanted besides."""
    wanted = (request.session.get(_SCOPES_KEY) or {}).get(credentials.name, "")
    return " ".join(dict.fromkeys([*credentials.scope.split(), *wanted.split()]))


def issue(
    request: HttpRequest,
    credentials: ProviderCredentials,
    *,
    flow: str,
    redirect_uri: str,
    next_url: str,
    scope: str = "",
) -> Secret:
    """A new state of 256 random bits for what the arguments say."""
    _forget_used()
    user = _user_pk(request)
    attempt = Attempt(
        application=credentials.name,
        provider=credentials.provider,
        flow=flow,
        user=user,
        login=user is None,
        redirect_uri=redirect_uri,
        next_url=next_url,
        issued_at=time.time(),
        scope=scope,
    )
    state = Secret(secrets.token_urlsafe(32))
    pending = {**_pending(request), _digest(state): asdict(attempt)}
    request.session[_SESSION_KEY] = dict(list(pending.items())[-MAX_PENDING:])
    return state


def accept(
    request: HttpRequest, states: list[Secret], credentials: ProviderCredentials, *, flow: str
) -> Attempt:
    """What the one state in `states` belongs to; from now on it is used. Raises Refusal.

    Any state of this session that is among them is used up, too. One that the session does not know costs no
    write: nobody can burn another's.
    """
    pending = _pending(request)
    own = {digest: pending.pop(digest) for digest in map(_digest, states) if digest in pending}
    if own:
        request.session[_SESSION_KEY] = pending
    for digest in own:
        _claim(digest)
    if len(states) != 1:
        raise Refusal("malformed_callback")
    if not own:
        raise Refusal("unknown_state")
    attempt = Attempt(**own.popitem()[1])
    if not -_CLOCK_SKEW <= time.time() - attempt.issued_at <= conf.STATE_AGE:
        raise Refusal("stale_state")
    meant = (attempt.application, attempt.provider, attempt.flow)
    if meant != (credentials.name, credentials.provider, flow):
        raise Refusal("foreign_state")
    if attempt.user != _user_pk(request):
        raise Refusal("user_changed")
    return attempt


def adopt(request: HttpRequest) -> None:
    """Let the logins that this session has under way in other tabs be finished by who has just logged in.

    They stay logins: they can't connect an account, only end in the same user.
    """
    user = _user_pk(request)
    pending = {
        digest: {**attempt, "user": user} if attempt["user"] is None else attempt
        for digest, attempt in _pending(request).items()
    }
    if pending:
        request.session[_SESSION_KEY] = pending


def code_verifier(state: Secret) -> Secret:
    """The PKCE code verifier (RFC 7636, 4.1) that goes with `state`: derived, so that it need not be stored."""
    return Secret(
        base64url(salted_hmac("django_socialgrants.pkce", state.reveal(), algorithm="sha256").digest())
    )


def _pending(request: HttpRequest) -> dict[str, Any]:
    return dict(request.session.get(_SESSION_KEY) or {})


def _user_pk(request: HttpRequest) -> str | None:
    return str(request.user.pk) if request.user.is_authenticated else None


def _digest(state: Secret) -> str:
    return sha256(state.reveal().encode("utf-8", "replace")).hexdigest()


def _claim(digest: str) -> None:
    try:
        with transaction.atomic():
            UsedState.objects.create(digest=digest)
    except IntegrityError:
        raise Refusal("used_state") from None


def _forget_used() -> None:
    """Drop claims of states that are too old to be accepted anyway; a day more, should STATE_AGE be raised."""
    limit = timezone.now() - timedelta(seconds=conf.STATE_AGE, days=1)
    UsedState.objects.filter(used_at__lt=limit).delete()
