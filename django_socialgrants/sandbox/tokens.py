"""What grants bring, and why they are refused.

Which request brings what is in `exchange` and `refreshing`; how a network words it, in
the module named after it.
"""

import secrets
from dataclasses import dataclass
from enum import Enum, auto

from .models import AccessToken, Application, RefreshToken


class Reason(Enum):
    """Why a request is refused."""

    MALFORMED = auto()
    CLIENT = auto()
    PARAMETER = auto()
    """There is one that the network does not know."""
    GRANT_TYPE = auto()
    GRANT_NOT_ALLOWED = auto()
    """The grant exists, but not for this application."""
    SCOPE = auto()
    CODE = auto()
    CODE_VERIFIER = auto()
    DEVICE = auto()
    REDIRECT_URI = auto()
    PASSWORD = auto()
    REFRESH_TOKEN = auto()
    REFRESH_TOKEN_EXPIRED = auto()
    ADDRESS = auto()
    """The token was given to somebody at another IP address."""
    SLOW_DOWN = auto()
    """There were too many requests; networks that say so with a status are not asked for words."""
    REFRESH_TOKEN_REUSED = auto()
    """It was replaced, and is presented again: now all that came of it has ended."""
    SESSION_EXPIRED = auto()


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


def issue_both(
    application: Application,
    uid: str,
    scope: str,
    *,
    predecessor: RefreshToken | None = None,
    device_id: str = "",
) -> Tokens:
    """An access token and its refresh token; `predecessor` is the one that it replaces."""
    access = issue_access(application, uid, scope)
    return Tokens(access, _issue_refresh(access, predecessor, device_id))


def issue_access(application: Application, uid: str, scope: str, *, session_secret: str = "") -> AccessToken:
    """An access token alone; with a `session_secret` it can sign calls in OK's client circuit."""
    lifetime = application.rules.access_lifetime_of(frozenset(scope.split()))
    return AccessToken.issue(application, uid, scope, lifetime, session_secret=session_secret)


def grant_implicitly(application: Application, uid: str, scope: str) -> Tokens:
    """What the implicit grant gives: a session with a secret of its own to sign with."""
    access = issue_access(application, uid, scope, session_secret=secrets.token_hex(16))
    return Tokens(access, _issue_refresh(access) if application.rules.implicit_refresh_token else None)


def _issue_refresh(
    access: AccessToken, predecessor: RefreshToken | None = None, device_id: str = ""
) -> RefreshToken:
    return RefreshToken.issue(
        access.application,
        access.uid,
        access.scope,
        access.application.rules.refresh_lifetime,
        access=access,
        predecessor=predecessor,
        device_id=predecessor.device_id if predecessor else device_id,
    )
