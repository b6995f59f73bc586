"""The grants, as both networks do them: RFC 6749, sections 4.1.3, 4.2 and 6.

How a network words its answers and refusals is not here but in `ok_oauth` and `mailru_oauth`.
"""

import secrets
from dataclasses import dataclass
from enum import Enum, auto

from django.db import transaction
from django.http import HttpRequest

from .models import AccessToken, Application, Code, RefreshToken
from .networks import Network
from .wire import Repeated, single_values

_PARAMETERS = {
    "authorization_code": ("client_id", "client_secret", "code", "redirect_uri"),
    "refresh_token": ("client_id", "client_secret", "refresh_token"),
}


class Reason(Enum):
    """Why a token request is refused."""

    MALFORMED = auto()
    CLIENT = auto()
    GRANT_TYPE = auto()
    CODE = auto()
    REDIRECT_URI = auto()
    REFRESH_TOKEN = auto()
    REFRESH_TOKEN_EXPIRED = auto()


class Refused(Exception):
    """A token request is refused; nothing was used up."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Tokens:
    """What a grant brought. `refresh` is None where the answer names none: the client keeps what it has."""

    access: AccessToken
    refresh: RefreshToken | None

    @property
    def expires_in(self) -> int:
        return int(self.access.lifetime.total_seconds())


def exchange(network: Network, request: HttpRequest) -> Tokens:
    """Carry out a token request. Raises Refused."""
    form = _form(request)
    grant_type = form.get("grant_type", "")
    if grant_type and grant_type not in _PARAMETERS:
        raise Refused(Reason.GRANT_TYPE)
    if not grant_type or not all(form.get(name) for name in _PARAMETERS[grant_type]):
        raise Refused(Reason.MALFORMED)
    application = Application.find(network, client_id=form["client_id"])
    if application is None or not application.has_secret(form["client_secret"]):
        raise Refused(Reason.CLIENT)
    if grant_type == "authorization_code":
        return _redeem(application, form["code"], form["redirect_uri"])
    return _refresh(application, form["refresh_token"])


def grant_implicitly(application: Application, uid: str, scope: str) -> Tokens:
    """What the implicit grant gives: the only session here with a secret of its own to sign with."""
    access = _access_token(application, uid, scope, session_secret=secrets.token_hex(16))
    refresh = _refresh_token(application, uid, scope) if application.rules.implicit_refresh_token else None
    return Tokens(access, refresh)


def _form(request: HttpRequest) -> dict[str, str]:
    """The parameters, from the body alone (RFC 6749, section 2.3.1): a URL ends up in logs."""
    if request.GET:
        raise Refused(Reason.MALFORMED)
    try:
        return single_values(request.POST)
    except Repeated:
        raise Refused(Reason.MALFORMED) from None


def _redeem(application: Application, value: str, redirect_uri: str) -> Tokens:
    code = Code.find(application, value)
    if code is None or not code.alive:
        raise Refused(Reason.CODE)
    if code.redirect_uri != redirect_uri:
        raise Refused(Reason.REDIRECT_URI)
    with transaction.atomic():
        if not code.retire():
            raise Refused(Reason.CODE)
        return Tokens(
            _access_token(application, code.uid, code.scope),
            _refresh_token(application, code.uid, code.scope),
        )


def _refresh(application: Application, value: str) -> Tokens:
    token = RefreshToken.find(application, value)
    if token is None or token.retired_at:
        raise Refused(Reason.REFRESH_TOKEN)
    if not token.alive:
        raise Refused(Reason.REFRESH_TOKEN_EXPIRED)
    if not application.rules.rotates_refresh_tokens:
        return Tokens(_access_token(application, token.uid, token.scope), None)
    with transaction.atomic():
        if not token.retire():
            raise Refused(Reason.REFRESH_TOKEN)
        return Tokens(
            _access_token(application, token.uid, token.scope),
            _refresh_token(application, token.uid, token.scope),
        )


def _access_token(application: Application, uid: str, scope: str, *, session_secret: str = "") -> AccessToken:
    lifetime = application.rules.access_lifetime_of(frozenset(scope.split()))
    return AccessToken.issue(application, uid, scope, lifetime, session_secret=session_secret)


def _refresh_token(application: Application, uid: str, scope: str) -> RefreshToken:
    return RefreshToken.issue(application, uid, scope, application.rules.refresh_lifetime)
