"""What came of a refresh: judged, then written down before anybody is told."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django_socialgrants import signals
from django_socialgrants.exceptions import (
    DecryptionError,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    SessionExpired,
    SocialGrantsError,
    UnsupportedGrant,
)
from django_socialgrants.models import UserToken

from . import health
from .committed import persistently
from .health import Health, back_off
from .lease import OUTCOME_UNKNOWN, Held, stored, write
from .request import REFRESH_EXPIRED, Answer

logger = logging.getLogger("django_socialgrants")

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
    """The application itself was refused, or a key is lost: the token is as good as before."""
    HELD_BACK = "held_back"
    """Refused like so many others that the network's word is not taken for it; tried again later."""


@dataclass
class Settlement:
    """A claimed token, what came of its refresh, and what that means: to be stored."""

    token: UserToken
    verdict: Verdict
    reason: str
    answer: Answer


def judge(token: UserToken, answer: Answer) -> Settlement:
    """What `answer` means for `token`."""
    return Settlement(token, *_verdict(token, answer), answer)


def _verdict(token: UserToken, answer: Answer) -> tuple[Verdict, str]:
    """The verdict, and its reason in one word."""
    match answer.error:
        case None:
            uid = answer.token.uid if answer.token else ""
            same = uid in ("", token.uid)
            return (Verdict.REFRESHED, "") if same else (Verdict.NEEDS_LOGIN, "identity_changed")
        case InvalidGrant(error=error) if error == REFRESH_EXPIRED:
            return Verdict.NEEDS_LOGIN, REFRESH_EXPIRED
        case InvalidGrant():
            doubtful = answer.doubtful or token.reason == OUTCOME_UNKNOWN
            return Verdict.NEEDS_LOGIN, "ambiguous_rotation" if doubtful else "invalid_grant"
        case SessionExpired():
            return Verdict.NEEDS_LOGIN, "session_expired"
        case InvalidClient() | InvalidSignature():
            return Verdict.STOPPED, health.INVALID_CLIENT
        case DecryptionError(key_known=False, fingerprint=fingerprint) if fingerprint:
            return Verdict.STOPPED, "lost_key"
        case DecryptionError():
            return Verdict.FAILED, UNDECIPHERABLE
        case RateLimited() | ProviderUnavailable(status=429):
            return Verdict.PAUSED, health.RATE_LIMITED
        case error:
            return Verdict.FAILED, type(error).__name__


def store(settlements: Sequence[Settlement], known: Health) -> bool:
    """Write down what came of the refreshes of claimed tokens, and give their leases back.

    A new token comes first, before anything else is written or anybody told; but an application is paused before
    leases are given back, as somebody may be waiting for them. When the database fails all is tried again for half
    a minute. Then every token is as its row is; but where the lease was lost or the token changed nothing is
    written, the verdict becomes SUPERSEDED, and the token is worth nothing any more.

    True if the application, of which `known` was known, is to be left alone from now on.
    """
    new = [settlement for settlement in settlements if settlement.verdict is Verdict.REFRESHED]
    others = [settlement for settlement in settlements if settlement.verdict is not Verdict.REFRESHED]
    if new:
        _write(new)
        if known.troubled:
            persistently(lambda: health.succeeded(new[0].token.credentials, known))
    is_paused = [_learn(settlement) for settlement in others]
    if others:
        _write(others)
    return any(is_paused)


def _write(settlements: Sequence[Settlement]) -> None:
    held = [Held.of(settlement.token) for settlement in settlements]
    changes = [_changes(settlement) for settlement in settlements]
    written = persistently(lambda: write(held, changes))
    for settlement, is_written in zip(settlements, written, strict=True):
        if is_written or _is_ours(settlement):
            _tell(settlement)
        else:
            settlement.verdict = Verdict.SUPERSEDED


def _changes(settlement: Settlement) -> dict[str, Any]:
    """Values for the token's row, which the token itself gets, too."""
    token, answer = settlement.token, settlement.answer
    names = ["lease_owner", "lease_until"]
    token.lease_owner, token.lease_until = "", None
    match settlement.verdict:
        case Verdict.REFRESHED if answer.token is not None:
            names += [*token.renew(answer.token), "generation"]
            token.generation += 1
        case Verdict.NEEDS_LOGIN:
            token.state, token.reason, token.next_refresh_at = (
                UserToken.State.NEEDS_LOGIN,
                settlement.reason,
                None,
            )
            names += ["state", "reason", "next_refresh_at"]
        case Verdict.HELD_BACK:
            token.next_refresh_at = token.now + timedelta(seconds=back_off(0))
            names += ["next_refresh_at"]
        case Verdict.FAILED:
            _put_off(token, settlement)
            names += ["failures", "reason", "next_refresh_at"]
    return token.columns(dict.fromkeys(names))


def _put_off(token: UserToken, settlement: Settlement) -> None:
    """Try again later, or never, if nothing was asked of the network and never could be."""
    error = settlement.answer.error
    undecipherable = settlement.reason == UNDECIPHERABLE
    delay = _DAY if undecipherable else back_off(token.failures)  # the former is hardly going to mend
    doubtful = settlement.answer.doubtful or token.reason == OUTCOME_UNKNOWN
    token.reason = UNDECIPHERABLE if undecipherable else OUTCOME_UNKNOWN if doubtful else ""
    never = isinstance(error, UnsupportedGrant)
    token.next_refresh_at = None if never else token.now + timedelta(seconds=delay)
    token.failures += 1


def _is_ours(settlement: Settlement) -> bool:
    """Whether the row was written after all, by a try whose success the database could not report."""
    token = settlement.token
    if settlement.verdict is not Verdict.REFRESHED:
        return False
    now = persistently(stored().filter(pk=token.pk, generation=token.generation).first)
    return now is not None and bool(now.access_token == token.access_token)


def _tell(settlement: Settlement) -> None:
    token, verdict, error = settlement.token, settlement.verdict, settlement.answer.error
    level = logging.INFO if verdict is Verdict.REFRESHED else logging.WARNING
    why = f": {settlement.reason}" if settlement.reason else ""
    detail = f" ({error})" if isinstance(error, SocialGrantsError) else ""
    logger.log(level, "token %s of %s: %s%s%s", token.pk, token.credentials.name, verdict.value, why, detail)
    if verdict is Verdict.REFRESHED:
        signals.send(signals.refreshed, token)
    elif verdict is Verdict.NEEDS_LOGIN:
        signals.send(signals.needs_login, token)


def _learn(settlement: Settlement) -> bool:
    """Remember what an answer says about the application; True if it is paused from now on."""
    credentials, error = settlement.token.credentials, settlement.answer.error
    match settlement.verdict:
        case Verdict.PAUSED:
            seconds = getattr(error, "retry_after", None)
            persistently(lambda: health.pause(credentials, seconds, reason=health.RATE_LIMITED))
            return True
        case Verdict.STOPPED if isinstance(error, ProviderError):
            persistently(lambda: health.pause(credentials, reason=health.INVALID_CLIENT))
            return True
        case Verdict.FAILED if isinstance(error, ProviderError):
            return persistently(lambda: health.failed(credentials))
    return False


def halts(answer: Answer) -> bool:
    """Whether an answer alone tells that no further request of the application makes sense now."""
    match answer.error:
        case InvalidClient() | InvalidSignature() | RateLimited() | ProviderUnavailable(status=429):
            return True
    return False
