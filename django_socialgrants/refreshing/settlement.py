"""What came of a refresh: judged, then written down before anybody is told."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django_socialgrants import signals
from django_socialgrants.events import Event, log
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
from django_socialgrants.models import ApplicationHealth, UserToken

from . import health
from .health import Health, Known, News, Sign, back_off
from .lease import keep_rotated, write
from .request import Reply, TooEarly

Reason = UserToken.Reason

LOST_KEY = "lost_key"

_DAY = 24 * 3600


class Verdict(StrEnum):
    """What a reply means for a token and, in the latter cases, for its whole application."""

    REFRESHED = "refreshed"
    NEEDS_LOGIN = "needs_login"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """Somebody else changed or deleted the token meanwhile; what they did stands."""
    POSTPONED = "postponed"
    """Nothing was sent: the token is tried when it has expired."""
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
    reply: Reply
    verdict: Verdict
    reason: str
    changes: dict[str, Any] = field(default_factory=dict)
    """Values for the token's row, secrets sealed; empty before the first try to write them."""
    is_over: bool = False
    """Written, or found to be superseded."""


def judge(token: UserToken, reply: Reply) -> Settlement:
    """What `reply` means for `token`."""
    return Settlement(token, reply, *_verdict(token, reply))


def _verdict(token: UserToken, reply: Reply) -> tuple[Verdict, str]:
    """The verdict, and its reason in one word."""
    match reply.error:
        case None:
            uid = reply.token.uid if reply.token else ""
            same = uid in ("", token.uid)
            return (Verdict.REFRESHED, "") if same else (Verdict.NEEDS_LOGIN, Reason.IDENTITY_CHANGED)
        case InvalidGrant():
            return Verdict.NEEDS_LOGIN, _why_refused(token, reply)
        case SessionExpired():
            return Verdict.NEEDS_LOGIN, Reason.SESSION_EXPIRED
        case InvalidClient() | InvalidSignature():
            return Verdict.STOPPED, ApplicationHealth.Reason.INVALID_CLIENT
        case DecryptionError(key_known=False, fingerprint=fingerprint) if fingerprint:
            return Verdict.STOPPED, LOST_KEY
        case DecryptionError():
            return Verdict.FAILED, Reason.UNDECIPHERABLE
        case RateLimited() | ProviderUnavailable(status=429):
            return Verdict.PAUSED, ApplicationHealth.Reason.RATE_LIMITED
        case TooEarly():
            return Verdict.POSTPONED, Reason.OUTCOME_UNKNOWN
        case error:
            if _is_lost_for_good(token, reply):
                return Verdict.NEEDS_LOGIN, Reason.AMBIGUOUS_ROTATION
            return Verdict.FAILED, type(error).__name__


def _why_refused(token: UserToken, reply: Reply) -> Reason:
    if _is_doubtful(token, reply):
        return Reason.AMBIGUOUS_ROTATION
    if token.refresh_expires_at is not None and token.refresh_expires_at <= token.now:
        return Reason.REFRESH_EXPIRED
    return Reason.INVALID_GRANT


def _is_doubtful(token: UserToken, reply: Reply) -> bool:
    """Whether the network may have refreshed the token without our hearing of it."""
    return reply.doubtful or token.reason == Reason.OUTCOME_UNKNOWN


def _is_lost_for_good(token: UserToken, reply: Reply) -> bool:
    """Whether the refresh token must not be presented again: two answers to it were lost already."""
    is_fatal = bool(token.refresh_token) and token.credentials.get_provider().reuse_is_fatal
    return is_fatal and reply.doubtful and token.reason == Reason.OUTCOME_UNKNOWN


def settle(
    settlements: Sequence[Settlement], known: Health, *, believe: bool = False, ends: float | None = None
) -> Known:
    """Write down what came of the refreshes of one application's tokens, oldest first, and give their leases back.

    New tokens are written before anything else, and everything before anybody is told; what the replies say about
    the application, of which `known` was known, is counted before tokens are marked. `believe` counts no refusals:
    an operator says that refused tokens are dead. When the database fails all is tried again, until `ends` on the
    monotonic clock, by default for half a minute.

    Afterwards each token object matches its row. If a lease was lost or the row changed in the meantime, nothing
    is written, the verdict is SUPERSEDED and the object must not be used. May be called again when interrupted.
    Returns what is known about the application now.
    """
    open_ones = [settlement for settlement in settlements if not settlement.is_over]
    news = [item for settlement in open_ones if (item := _news(settlement, believe=believe))]
    _write([one for one in open_ones if one.verdict is Verdict.REFRESHED], ends)
    after = Known(known)
    if news:
        after = health.learn(open_ones[0].token.credentials, news, known, ends=ends)
    others = [one for one in open_ones if not one.is_over]
    for settlement in others:
        if after.health.is_revoked and not believe and _is_refusal(settlement):
            settlement.verdict = Verdict.HELD_BACK
    _write(others, ends)
    return after


def _is_refusal(settlement: Settlement) -> bool:
    """Whether the network refused the token; that it sent somebody else's, or nothing, is another matter."""
    return settlement.verdict is Verdict.NEEDS_LOGIN and isinstance(
        settlement.reply.error, (InvalidGrant, SessionExpired)
    )


def _news(settlement: Settlement, *, believe: bool) -> News | None:
    """What a reply says about the application."""
    error = settlement.reply.error
    if _is_refusal(settlement):
        return None if believe else News(Sign.REFUSED)
    match settlement.verdict:
        case Verdict.REFRESHED:
            return News(Sign.ACCEPTED)
        case Verdict.PAUSED:
            return News(Sign.THROTTLED, getattr(error, "retry_after", None))
        case Verdict.STOPPED if isinstance(error, ProviderError):
            return News(Sign.CLIENT_REFUSED)
        case Verdict.FAILED | Verdict.NEEDS_LOGIN if isinstance(error, ProviderError):
            return News(Sign.FAILED)
    return None


def _write(settlements: Sequence[Settlement], ends: float | None) -> None:
    if not settlements:
        return
    was_tried = any(settlement.changes for settlement in settlements)
    for settlement in settlements:
        settlement.changes = settlement.changes or settlement.token.sealed(_changes(settlement))
    written = write(
        [settlement.token for settlement in settlements],
        [settlement.changes for settlement in settlements],
        was_tried=was_tried,
        ends=ends,
    )
    for settlement, is_written in zip(settlements, written, strict=True):
        settlement.is_over = True
        if is_written:
            settlement.token.apply(settlement.changes)
            _tell(settlement)
            continue
        if settlement.verdict is Verdict.REFRESHED and settlement.changes.get("refresh_token"):
            keep_rotated(settlement.token, settlement.changes)
        settlement.verdict = Verdict.SUPERSEDED


def _changes(settlement: Settlement) -> dict[str, Any]:
    """Values for the token's row."""
    token, reply = settlement.token, settlement.reply
    changes: dict[str, Any] = {"lease_owner": "", "lease_until": None}
    match settlement.verdict:
        case Verdict.REFRESHED if reply.token is not None:
            changes |= token.changes_by_refresh(reply.token)
            changes |= {"generation": token.generation + 1}
        case Verdict.NEEDS_LOGIN:
            changes |= {"state": UserToken.State.NEEDS_LOGIN, "reason": settlement.reason}
            changes |= {"next_refresh_at": None}
        case Verdict.POSTPONED:
            changes |= {"next_refresh_at": token.expires_at}
        case Verdict.HELD_BACK | Verdict.FAILED:
            changes |= _put_off(settlement)
    return changes


def _put_off(settlement: Settlement) -> dict[str, Any]:
    """Try again later, or never, if nothing was asked of the network and never could be."""
    token, reply = settlement.token, settlement.reply
    reason, delay = "", back_off(token.failures)
    if settlement.reason == Reason.UNDECIPHERABLE:
        reason, delay = Reason.UNDECIPHERABLE, _DAY  # hardly going to mend
    elif _is_doubtful(token, reply):
        reason = Reason.OUTCOME_UNKNOWN
    again = token.now + timedelta(seconds=delay)
    if token.credentials.get_provider().reuse_is_fatal and reply.doubtful and token.expires_at:
        again = max(again, token.expires_at)
    never = isinstance(reply.error, UnsupportedGrant)
    return {
        "reason": reason,
        "failures": token.failures + 1,
        "next_refresh_at": None if never else again,
    }


_EVENTS = {Verdict.REFRESHED: Event.REFRESHED, Verdict.NEEDS_LOGIN: Event.NEEDS_LOGIN}


def _tell(settlement: Settlement) -> None:
    token, verdict, error = settlement.token, settlement.verdict, settlement.reply.error
    level = logging.INFO if verdict is Verdict.REFRESHED else logging.WARNING
    why = f": {settlement.reason}" if settlement.reason else ""
    detail = f" ({error})" if isinstance(error, SocialGrantsError) else ""
    log(
        _EVENTS.get(verdict, Event.NOT_REFRESHED),
        "token %s of %s: %s%s%s",
        *(token.pk, token.credentials.name, verdict.value, why, detail),
        level=level,
        application=token.credentials.name,
        token=token.pk,
        reason=settlement.reason or ("" if verdict is Verdict.REFRESHED else verdict.value),
    )
    if verdict is Verdict.REFRESHED:
        signals.send(signals.refreshed, token)
    elif verdict is Verdict.NEEDS_LOGIN:
        signals.send(signals.needs_login, token)


def halts(reply: Reply) -> bool:
    """Whether a reply alone tells that no further request of the application makes sense now."""
    match reply.error:
        case InvalidClient() | InvalidSignature() | RateLimited() | ProviderUnavailable(status=429):
            return True
    return False
