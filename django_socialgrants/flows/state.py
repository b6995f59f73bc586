"""The `state` parameter (RFC 6749, section 10.12): made per start, bound to what it was made for, used once.

What belongs to a state is kept in the browser that started it, signed, in a cookie of its own. A session would be
read and written as a whole, so that of two tabs which start at the same moment one could lose its state; and every
anonymous visitor who starts would get one. That a state is used only once is decided in the database, by
inserting a row: cookies can be replayed.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from hashlib import sha256

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import IntegrityError, OperationalError, router, transaction
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from django_socialgrants.conf import conf
from django_socialgrants.models import ProviderCredentials, UsedState
from django_socialgrants.oauth.grants import base64url
from django_socialgrants.oauth.values import Secret

from .refusal import Refusal

MAX_PENDING = 10
"""States that one browser can have on their way."""

_MAX_BYTES = 3 * 1024
"""Of all its cookies. Servers take 8 KiB of them, of which a session that is kept in a cookie may need half."""

_PREFIX = "socialgrants_state_"
_SCOPES_KEY = "socialgrants_scopes"
_LOGGED_IN_KEY = "socialgrants_logged_in"
_CLOCK_SKEW = 30  # seconds by which the clocks of a site's hosts may differ
_TIDY_BELOW = 16  # first bytes of claims, out of 256, that forget old ones: one in sixteen
_FORGOTTEN_AT_ONCE = 300


@dataclass(frozen=True)
class Attempt:
    """What a state belongs to."""

    application: str
    provider: str
    flow: str
    """"code" or "implicit"."""
    user: str | None
    """Primary key of who started it; None = anonymous."""
    redirect_uri: str
    next_url: str
    """Where to go on afterwards; "" = wherever this site sends people."""
    issued_at: float
    age: float
    """SOCIALGRANTS_STATE_AGE when it was issued: a greater one does not revive what has been forgotten since."""
    scope: str = ""
    """What is asked for, separated by spaces."""
    way: str = ""
    """Way in, one of those of the network; "" where it has none."""

    @property
    def login(self) -> bool:
        """Whether it was started to log in, not to connect a further account."""
        return self.user is None


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
    way: str = "",
) -> Secret:
    """A new state of 256 random bits for what the arguments say; `set_cookies` has to follow."""
    attempt = Attempt(
        application=credentials.name,
        provider=credentials.provider,
        flow=flow,
        user=_user_pk(request),
        redirect_uri=redirect_uri,
        next_url=next_url,
        issued_at=time.time(),
        age=conf.STATE_AGE,
        scope=scope,
        way=way,
    )
    state = Secret(secrets.token_urlsafe(32))
    name = _cookie_name(_digest(state))
    value = _sign(name, attempt)
    if len(name) + len(value) > _MAX_BYTES:
        value = _sign(name, replace(attempt, next_url=""))
    _drop_the_oldest(request, len(name) + len(value))
    _cookies(request)[name] = value
    return state


def accept(
    request: HttpRequest, states: list[Secret], credentials: ProviderCredentials, *, flow: str
) -> Attempt:
    """The attempt that the one state in `states` belongs to. Raises Refusal.

    A state of one's own is used up by every use, also by a wrong one; nobody else can use it up, and forged ones
    leave no trace. `set_cookies` has to follow.
    """
    own = {}
    for digest in map(_digest, states):
        name = _cookie_name(digest)
        if (attempt := _read(name, request.COOKIES.get(name))) is not None:
            own[digest] = attempt
            _cookies(request)[name] = ""
    for digest in own:
        _claim(digest)
    if len(states) != 1:
        raise Refusal("malformed_callback")
    if not own:
        raise Refusal("unknown_state")
    _, attempt = own.popitem()
    if not -_CLOCK_SKEW <= time.time() - attempt.issued_at <= min(conf.STATE_AGE, attempt.age):
        raise Refusal("stale_state")
    meant = (attempt.application, attempt.provider, attempt.flow)
    if meant != (credentials.name, credentials.provider, flow):
        raise Refusal("foreign_state")
    user = _user_pk(request)
    faster_tab = attempt.login and user == request.session.get(_LOGGED_IN_KEY)
    if attempt.user != user and not faster_tab:
        raise Refusal("user_changed")
    return attempt


def logged_in(request: HttpRequest) -> None:
    """Let the logins that other tabs have under way be finished by who has just logged in.

    They stay logins: they can't connect an account, only end in the same user.
    """
    request.session[_LOGGED_IN_KEY] = _user_pk(request)


def code_verifier(state: Secret) -> Secret:
    """The PKCE code verifier (RFC 7636, 4.1) that goes with `state`: derived, so that it need not be stored."""
    return Secret(
        base64url(salted_hmac("django_socialgrants.pkce", state.reveal(), algorithm="sha256").digest())
    )


def set_cookies(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let the browser know of the states that were issued and used up during the request.

    The cookies are sent to our own URLs only, and otherwise under the rules of the session's.
    """
    path = reverse("socialgrants:connections").removesuffix("connections/")
    domain, samesite = settings.SESSION_COOKIE_DOMAIN, settings.SESSION_COOKIE_SAMESITE or None
    secure = settings.SESSION_COOKIE_SECURE or request.is_secure()
    for name, value in _cookies(request).items():
        response.set_cookie(
            name,
            value,
            max_age=round(conf.STATE_AGE) if value else 0,
            path=path,
            domain=domain,
            secure=secure,
            httponly=True,
            samesite=samesite,
        )


def may_be_withheld(request: HttpRequest) -> bool:
    """Whether the browser brought neither a state nor a session, and may have some that are SameSite=Strict."""
    strict = (settings.SESSION_COOKIE_SAMESITE or "").lower() == "strict"
    ours = (name == settings.SESSION_COOKIE_NAME or name.startswith(_PREFIX) for name in request.COOKIES)
    return strict and not any(ours)


def _cookies(request: HttpRequest) -> dict[str, str]:
    """Name and value of what `set_cookies` is going to set; an empty value removes the cookie."""
    cookies: dict[str, str] = vars(request).setdefault("_socialgrants_cookies", {})
    return cookies


def _drop_the_oldest(request: HttpRequest, room: int) -> None:
    """Remove the browser's oldest states until one more, of `room` bytes, is within the limits."""
    newest_first = sorted(_pending(request), reverse=True)
    for count, (_, name) in enumerate(newest_first, start=2):
        room += len(name) + len(request.COOKIES[name])
        if count > MAX_PENDING or room > _MAX_BYTES:
            _cookies(request)[name] = ""


def _pending(request: HttpRequest) -> Iterator[tuple[float, str]]:
    for name, value in request.COOKIES.items():
        if name.startswith(_PREFIX) and value:
            attempt = _read(name, value)
            yield (attempt.issued_at if attempt else 0), name


def _cookie_name(digest: bytes) -> str:
    """128 bits of the state's hash: nothing in a browser shows a state, and each has a cookie of its own."""
    return _PREFIX + base64url(digest[:16])


def _sign(name: str, attempt: Attempt) -> str:
    return _signer(name).sign_object(astuple(attempt), compress=True)


def _read(name: str, value: str | None) -> Attempt | None:
    """What was signed under that name; None for anything else, also of another version of this package."""
    try:
        return Attempt(*_signer(name).unsign_object(value)) if value else None
    except (BadSignature, TypeError):
        return None


def _signer(name: str) -> Signer:
    return Signer(salt=f"django_socialgrants.state.{name}")


def _user_pk(request: HttpRequest) -> str | None:
    return str(request.user.pk) if request.user.is_authenticated else None


def _digest(state: Secret) -> bytes:
    return sha256(state.reveal().encode("utf-8", "replace")).digest()


def _claim(digest: bytes) -> None:
    try:
        with transaction.atomic(using=router.db_for_write(UsedState)):
            UsedState.objects.create(digest=digest.hex())
    except IntegrityError:
        raise Refusal("used_state") from None
    if digest[0] < _TIDY_BELOW:
        _forget_used()


def _forget_used() -> None:
    """Drop some claims of states that are too old to be accepted anyway, whichever host's clock is right."""
    limit = timezone.now() - timedelta(seconds=conf.STATE_AGE + 2 * _CLOCK_SKEW)
    states = UsedState.objects.using(router.db_for_write(UsedState))
    old = states.filter(used_at__lt=limit).order_by("used_at").values_list("pk", flat=True)
    with suppress(OperationalError):  # somebody else is just forgetting the same ones
        states.filter(pk__in=list(old[:_FORGOTTEN_AT_ONCE])).delete()
