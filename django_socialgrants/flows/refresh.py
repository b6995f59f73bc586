"""A token that can be used now: refreshed on demand, by one of the many who may want it at the same time."""

from contextlib import suppress
from typing import Any

from django_socialgrants import signals
from django_socialgrants.exceptions import (
    DecryptionError,
    MalformedResponse,
    ProviderError,
    ProviderUnavailable,
    UnsafeTransaction,
)
from django_socialgrants.models import UserToken
from django_socialgrants.refreshing.committed import persistently
from django_socialgrants.refreshing.health import Health
from django_socialgrants.refreshing.lease import is_late, row_of
from django_socialgrants.refreshing.request import Renewal, Reply, carry_out, prepare, unsealed
from django_socialgrants.refreshing.settlement import Settlement, Verdict, judge, settle
from django_socialgrants.refreshing.turn import Turn, needs_login, require_active


def usable(token: UserToken) -> UserToken:
    """`token` itself or its successor, with an access token that can be used now.

    `token` was read `with_time()`. Raises NeedsLogin when only its user can help; and for a token that has expired
    ProviderError or DecryptionError when its refresh fails, UnsafeTransaction where that could be undone.
    """
    require_active(token)
    if not token.is_stale():
        return token
    if not token.is_refreshable():
        return token if token.is_valid() else _give_up(token, UserToken.Reason.EXPIRED)
    if token.is_valid() and token.is_backing_off():
        return token
    try:
        return _successor(token)
    except (ProviderError, DecryptionError, UnsafeTransaction):
        if token.is_valid():
            return token
        raise


def renewed(token: UserToken) -> UserToken:
    """The successor of `token`, which the network does not accept any more, whatever its expiry says.

    Raises NeedsLogin, UnsafeTransaction, ProviderError, DecryptionError.
    """
    require_active(token)
    if not token.is_refreshable():
        return _give_up(token, UserToken.Reason.SESSION_EXPIRED)
    return _successor(token, works=False)


def _successor(token: UserToken, *, works: bool | None = None) -> UserToken:
    """What this or another process makes of `token`; `works` as for `prepare`.

    Takes at most 2 * SOCIALGRANTS_TIMEOUT, not counting a database that fails: whoever has waited does not repeat
    a request that was not answered in time. The token is claimed once, whatever becomes of the lease.
    """
    credentials = unsealed(token.credentials.to_value())
    turn = Turn(token)
    try:
        current, known = turn.take()
        if known is None:
            return current
        prepared = prepare(current, credentials, works=works)
        if is_late(current):
            raise ProviderUnavailable("this process was stopped for too long to refresh the token")
    except BaseException:
        turn.give_back()
        raise
    settlement = _refresh(current, prepared, known, turn)
    match settlement.verdict:
        case Verdict.REFRESHED:
            return current
        case Verdict.NEEDS_LOGIN:
            raise needs_login(current, current.reason)
        case Verdict.SUPERSEDED:
            return turn.await_others()
    raise settlement.reply.error or MalformedResponse("the network's answer can't be used")


def _refresh(token: UserToken, prepared: Renewal | Reply, known: Health, turn: Turn) -> Settlement:
    """Refresh a claimed token and write down what came of it, for itself and for its application."""
    reply = (
        carry_out(prepared, may_repeat=lambda: not (turn.has_waited and turn.is_over()))
        if isinstance(prepared, Renewal)
        else prepared
    )
    settlement = judge(token, reply)
    settle([settlement], known)
    return settlement


def mark_needs_login(token: UserToken, reason: str) -> bool:
    """Have the user of an active token grant again: True if the row was as `token` says, and is marked now.

    Whoever is refreshing it at the moment comes too late. Sends the signal. Raises UnsafeTransaction.
    """
    row = row_of(token)
    active = row.filter(state=UserToken.State.ACTIVE, generation=token.generation)
    marks: dict[str, Any] = {
        "state": UserToken.State.NEEDS_LOGIN,
        "reason": reason,
        "next_refresh_at": None,
        "lease_owner": "",
        "lease_until": None,
    }
    tries = 0

    def mark() -> bool:
        nonlocal tries
        tries += 1
        is_confirmed = active.update(**marks) > 0
        return is_confirmed or (tries > 1 and row.filter(generation=token.generation, **marks).exists())

    is_marked = persistently(mark, patient=False)
    if is_marked:
        for name, value in marks.items():
            setattr(token, name, value)
        signals.send(signals.needs_login, token)
    return is_marked


def _give_up(token: UserToken, reason: str) -> UserToken:
    """Mark a token that nothing can prolong, and raise NeedsLogin; or its successor, if its user was faster."""
    with suppress(UnsafeTransaction):  # then the next call marks it, in a better place
        if not mark_needs_login(token, reason):
            others = row_of(token).filter(state=UserToken.State.ACTIVE).exclude(generation=token.generation)
            successor = persistently(others.with_time().first, patient=False)
            if successor is not None:
                return successor
    raise needs_login(token, reason)
