"""One refresh in three steps, for a token whose lease is held: `prepare` decrypts, `carry_out` is nothing but
HTTP, and `store` writes down what came of it before anybody is told.

The steps are apart because a run over many tokens lets threads carry out what one thread prepares and stores.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db.models import F

from django_socialgrants import signals
from django_socialgrants.clock import DatabaseNow
from django_socialgrants.exceptions import (
    DecryptionError,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    MalformedResponse,
    ProviderUnavailable,
    RateLimited,
    SessionExpired,
    SocialGrantsError,
    UnsupportedGrant,
)
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import RefreshTokenGrant
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Request, Response, Secret, Token, reveal
from django_socialgrants.transport import exchange

from . import health
from .autocommit import persistently
from .health import Health, back_off
from .lease import OUTCOME_UNKNOWN, held, stored

logger = logging.getLogger("django_socialgrants")

REFRESH_EXPIRED = "refresh_expired"
UNDECIPHERABLE = "undecipherable"

_DAY = 24 * 3600


class Verdict(StrEnum):
    """What an answer means for a token and, in the latter cases, for its whole application."""

    REFRESHED = "refreshed"
    NEEDS_LOGIN = "needs_login"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """Somebody else changed or deleted the token meanwhile; what they did stands."""
    PAUSED = "paused"
    """Too many requests: the token is as good as before."""
    STOPPED = "stopped"
    """The application itself was refused."""
    HELD_BACK = "held_back"
    """Refused like so many others that the network's word is not taken for it; tried again later."""


@dataclass(frozen=True)
class Renewal:
    """A refresh that is ready to be sent."""

    token: UserToken
    request: Request
    parse: Callable[[Response], Token]


@dataclass(frozen=True)
class Answer:
    """What came of sending it: a token or an error; `doubtful` if an earlier try may have been carried out."""

    token: Token | None = None
    error: Exception | None = None
    doubtful: bool = False


def unsealed(credentials: Credentials) -> Credentials:
    """The same with its secrets decrypted. Raises DecryptionError."""
    return replace(
        credentials,
        client_secret=Secret(reveal(credentials.client_secret)),
        client_key=Secret(reveal(credentials.client_key)),
    )


def prepare(token: UserToken, credentials: Credentials) -> Renewal | Answer:
    """The refresh of `token`, or what there is to say without sending anything."""
    if token.refresh_expires_at is not None and token.refresh_expires_at <= token.now:
        return Answer(error=InvalidGrant(REFRESH_EXPIRED))
    if not credentials.client_secret:
        return Answer(error=InvalidClient("invalid_client", "no client_secret is stored"))
    provider = token.credentials.get_provider()
    try:
        if "refresh_token" in provider.token_endpoints and token.refresh_token:
            grant = RefreshTokenGrant(token.refresh_token.reveal())
            request = provider.token_request(credentials, grant)
            return Renewal(token, request, provider.parse_token_response)
        return _keep_alive(token, credentials, provider)
    except (DecryptionError, UnsupportedGrant, ValueError) as error:
        return Answer(error=error)


def _keep_alive(token: UserToken, credentials: Credentials, provider: Provider) -> Renewal:
    """The call that prolongs a token without refresh token; afterwards it is the same token, with a new life."""
    prolonged = Token(token.access_token.reveal(), expires_in=provider.keep_alive_lifetime)
    call = provider.keep_alive_call(token.to_value())
    if call is None:
        raise UnsupportedGrant(f"{provider.title} can't prolong this token")
    request = provider.api_request(credentials, prolonged, *call, Circuit.SERVER_SERVER)

    def parse(response: Response) -> Token:
        provider.parse_api(response)
        return prolonged

    return Renewal(token, request, parse)


def carry_out(renewal: Renewal, *, may_repeat: bool = True) -> Answer:
    """Send it; a request whose outcome is unknown is repeated once. Raises nothing, touches no database."""
    answer = _send(renewal)
    if not _is_unknown(answer.error):
        return answer
    return replace(_send(renewal) if may_repeat else answer, doubtful=True)


def _send(renewal: Renewal) -> Answer:
    try:
        return Answer(token=exchange(renewal.request, renewal.parse))
    except Exception as error:
        return Answer(error=error)


def _is_unknown(error: Exception | None) -> bool:
    """Whether the network may have done what was asked without our hearing of it."""
    if isinstance(error, ProviderUnavailable):
        return error.sent and error.status is None
    return isinstance(error, MalformedResponse)


def judge(token: UserToken, answer: Answer) -> tuple[Verdict, str]:
    """What `answer` means for `token`, and the reason in one word."""
    match answer.error:
        case None:
            uid = answer.token.uid if answer.token else ""
            same = uid in ("", token.uid)
            return (Verdict.REFRESHED, "") if same else (Verdict.NEEDS_LOGIN, "identity_changed")
        case InvalidGrant(error="refresh_expired"):
            return Verdict.NEEDS_LOGIN, REFRESH_EXPIRED
        case InvalidGrant():
            doubtful = answer.doubtful or token.reason == OUTCOME_UNKNOWN
            return Verdict.NEEDS_LOGIN, "ambiguous_rotation" if doubtful else "invalid_grant"
        case SessionExpired():
            return Verdict.NEEDS_LOGIN, "session_expired"
        case InvalidClient() | InvalidSignature():
            return Verdict.STOPPED, "invalid_client"
        case DecryptionError(key_known=False, fingerprint=fingerprint) if fingerprint:
            return Verdict.STOPPED, "lost_key"
        case DecryptionError():
            return Verdict.FAILED, UNDECIPHERABLE
        case RateLimited() | ProviderUnavailable(status=429):
            return Verdict.PAUSED, "rate_limited"
        case error:
            return Verdict.FAILED, type(error).__name__


def store(token: UserToken, verdict: Verdict, reason: str, answer: Answer) -> Verdict:
    """Write down what came of the refresh of a claimed `token`, in one UPDATE, and give its lease back.

    Afterwards `token` is as its row is, signals are sent and a log record is written. When the database fails
    the UPDATE is tried again for half a minute. Returns SUPERSEDED when the lease was lost or the token changed:
    then nothing is written, and `token` is worth nothing any more.
    """
    row = held(token)
    changes: dict[str, Any] = {}
    if verdict is Verdict.REFRESHED and answer.token is not None:
        changes = token.columns(token.renew(answer.token))
        token.generation += 1
        changes["generation"] = F("generation") + 1
    elif verdict is Verdict.NEEDS_LOGIN:
        changes = {"state": UserToken.State.NEEDS_LOGIN, "reason": reason, "next_refresh_at": None}
    elif verdict is Verdict.HELD_BACK:
        changes = {"next_refresh_at": DatabaseNow(back_off(0))}
    elif verdict is Verdict.FAILED:
        delay = _DAY if reason == UNDECIPHERABLE else back_off(token.failures)
        known = answer.doubtful or token.reason == OUTCOME_UNKNOWN
        token.next_refresh_at = token.now + timedelta(seconds=delay)
        changes = {
            "failures": token.failures + 1,
            "reason": UNDECIPHERABLE if reason == UNDECIPHERABLE else OUTCOME_UNKNOWN if known else "",
            "next_refresh_at": DatabaseNow(delay),
        }
    changes |= {"lease_owner": "", "lease_until": None}
    for name in changes.keys() - {"generation", "next_refresh_at"}:
        setattr(token, name, changes[name])
    if not persistently(lambda: row.update(**changes)) and not _is_ours(token, verdict):
        return Verdict.SUPERSEDED
    _tell(token, verdict, reason, answer)
    return verdict


def _is_ours(token: UserToken, verdict: Verdict) -> bool:
    """Whether the row was written after all, by a try whose success the database could not report."""
    if verdict is not Verdict.REFRESHED:
        return False
    now = stored().filter(pk=token.pk, generation=token.generation).first()
    return now is not None and bool(now.access_token == token.access_token)


def _tell(token: UserToken, verdict: Verdict, reason: str, answer: Answer) -> None:
    level = logging.INFO if verdict is Verdict.REFRESHED else logging.WARNING
    why = f": {reason}" if reason else ""
    detail = f" ({answer.error})" if isinstance(answer.error, SocialGrantsError) else ""
    logger.log(level, "token %s of %s: %s%s%s", token.pk, token.credentials.name, verdict.value, why, detail)
    if verdict is Verdict.REFRESHED:
        signals.send(signals.refreshed, token)
    elif verdict is Verdict.NEEDS_LOGIN:
        signals.send(signals.needs_login, token)


def learn(credentials: ProviderCredentials, verdict: Verdict, answer: Answer, known: Health) -> bool:
    """Remember what an answer says about its application; True if it is to be left alone from now on."""
    error = answer.error
    if verdict is Verdict.REFRESHED and known.troubled:
        persistently(lambda: health.succeeded(credentials))
    elif verdict is Verdict.PAUSED:
        seconds = getattr(error, "retry_after", None)
        persistently(lambda: health.pause(credentials, seconds))
        return True
    elif verdict is Verdict.FAILED and not isinstance(error, DecryptionError):
        return persistently(lambda: health.failed(credentials))
    return False
