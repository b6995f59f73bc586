"""A token that can be used now: refreshed on demand, by one of the many who may want it at the same time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import OperationalError
from django.db.models import BooleanField, ExpressionWrapper

from django_socialgrants import signals
from django_socialgrants.conf import conf
from django_socialgrants.exceptions import (
    DecryptionError,
    MalformedResponse,
    NeedsLogin,
    ProviderError,
    ProviderUnavailable,
    UnsafeTransaction,
)
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Credentials
from django_socialgrants.refreshing import health
from django_socialgrants.refreshing.committed import autocommit
from django_socialgrants.refreshing.lease import claim, free, new_owner, release, row_of
from django_socialgrants.refreshing.request import Renewal, carry_out, prepare, unsealed
from django_socialgrants.refreshing.settlement import Settlement, Verdict, judge, settle

_FIRST_POLL, _LAST_POLL = 0.02, 0.25  # seconds


def usable(token: UserToken) -> UserToken:
    """`token` itself or its successor, with an access token that can be used now.

    `token` was read `with_time()`. Raises NeedsLogin when only its user can help, UnsafeTransaction where a
    refresh could be undone, and ProviderError or DecryptionError when one fails and the token has expired.
    """
    _require_active(token)
    if not token.is_stale():
        return token
    if not token.is_refreshable():
        return token if token.is_valid() else _give_up(token, UserToken.Reason.EXPIRED)
    if token.is_valid() and _is_backing_off(token):
        return token
    try:
        return _successor(token)
    except (ProviderError, DecryptionError):
        if token.is_valid():
            return token
        raise


def renewed(token: UserToken) -> UserToken:
    """The successor of `token`, which the network does not accept any more, whatever its expiry says.

    Raises NeedsLogin, UnsafeTransaction, ProviderError, DecryptionError.
    """
    _require_active(token)
    if not token.is_refreshable():
        return _give_up(token, UserToken.Reason.SESSION_EXPIRED)
    return _successor(token, works=False)


def _successor(token: UserToken, *, works: bool | None = None) -> UserToken:
    """What this or another process makes of `token`; `works` as for `prepare`."""
    ends = time.monotonic() + conf.TIMEOUT
    credentials = unsealed(token.credentials.to_value())
    seen = False
    while True:
        current, known = _claim_or_wait(token, ends, seen=seen)
        if known is None:
            return current
        seen = True
        settlement = _refresh(current, credentials, known, works=works)
        if settlement.verdict is Verdict.REFRESHED:
            return current
        if settlement.verdict is Verdict.NEEDS_LOGIN:
            raise _needs_login(current, current.reason)
        if settlement.verdict is not Verdict.SUPERSEDED:  # then the next round finds somebody else's work
            raise settlement.reply.error or MalformedResponse("the network's answer can't be used")


def _claim_or_wait(token: UserToken, ends: float, *, seen: bool) -> tuple[UserToken, health.Health | None]:
    """The row of `token`, claimed, and how its application fares; or with None the row that somebody refreshed.

    Waits while somebody else holds the lease. `seen` says that the row was there before. Raises NeedsLogin,
    ProviderUnavailable, UnsafeTransaction.
    """
    rows = row_of(token)
    pause = _FIRST_POLL
    with autocommit() as separate, _telling_locks(separate):
        while True:
            current = rows.with_time().annotate(is_free=ExpressionWrapper(free(), BooleanField())).first()
            if current is None and separate and not seen:
                raise UnsafeTransaction("a token can't be refreshed in the transaction that has stored it")
            if current is None:
                raise _needs_login(token, "no_token")
            _require_active(current)
            if current.generation != token.generation:
                return current, None
            if current.failures > token.failures and _is_backing_off(current):
                raise ProviderUnavailable("somebody else has just tried in vain to refresh this token")
            if current.is_free:  # type: ignore[attr-defined]  # the annotation
                _fit(token.credentials)
                owner = new_owner()
                unchanged = rows.filter(generation=token.generation, failures=current.failures)
                if claim(unchanged, owner):  # of all who wait for a refresh that fails one may try again
                    claimed = rows.with_time().filter(lease_owner=owner).first()
                    if claimed is not None:
                        return claimed, _fit_still(claimed)
            if time.monotonic() + pause > ends:
                raise ProviderUnavailable("somebody else has been refreshing this token for too long")
            time.sleep(pause)
            pause = min(2 * pause, _LAST_POLL)


@contextmanager
def _telling_locks(separate: bool) -> Iterator[None]:
    """On a connection of our own it is the caller's transaction that makes us wait in vain."""
    try:
        yield
    except OperationalError as error:
        if not separate:
            raise
        raise UnsafeTransaction(
            "a token can't be refreshed: the transaction around the call has locked its row, or the database"
        ) from error


def _fit_still(claimed: UserToken) -> health.Health:
    """`_fit` once more: whoever had the lease before may have been asked to pause."""
    try:
        return _fit(claimed.credentials)
    except ProviderUnavailable:
        release([claimed])
        raise


def _fit(credentials: ProviderCredentials) -> health.Health:
    """How an application fares that may be asked now."""
    known = health.look(credentials)
    if known.pause:
        raise ProviderUnavailable(
            f"refreshes for {credentials.name!r} are paused", retry_after=int(known.pause) + 1
        )
    return known.health


def _refresh(
    token: UserToken, credentials: Credentials, known: health.Health, *, works: bool | None
) -> Settlement:
    """Refresh a claimed token and write down what came of it, for itself and for its application."""
    prepared = prepare(token, credentials, works=works)
    reply = carry_out(prepared) if isinstance(prepared, Renewal) else prepared
    settlement = judge(token, reply)
    settle([settlement], known)
    return settlement


def _is_backing_off(token: UserToken) -> bool:
    """Whether refreshes have failed, and the time for the next try has not come."""
    return token.failures > 0 and token.next_refresh_at is not None and token.now < token.next_refresh_at


def _require_active(token: UserToken) -> None:
    if token.state != UserToken.State.ACTIVE:
        raise _needs_login(token, token.reason)


def mark_needs_login(token: UserToken, reason: str) -> bool:
    """Have the user of an active token grant again: True if the row was as `token` says, and is marked now.

    Whoever is refreshing it at the moment comes too late. Sends the signal. Raises UnsafeTransaction.
    """
    rows = row_of(token).filter(state=UserToken.State.ACTIVE, generation=token.generation)
    marks: dict[str, Any] = {
        "state": UserToken.State.NEEDS_LOGIN,
        "reason": reason,
        "next_refresh_at": None,
        "lease_owner": "",
        "lease_until": None,
    }
    with autocommit() as separate, _telling_locks(separate):
        is_marked = rows.update(**marks)
    if is_marked:
        for name, value in marks.items():
            setattr(token, name, value)
        signals.send(signals.needs_login, token)
    return bool(is_marked)


def _give_up(token: UserToken, reason: str) -> UserToken:
    """Mark a token that nothing can prolong, and raise NeedsLogin; or its successor, if its user was faster."""
    with suppress(UnsafeTransaction):  # then the next call marks it, in a better place
        if not mark_needs_login(token, reason):
            with autocommit():
                others = row_of(token).filter(state=UserToken.State.ACTIVE)
                successor = others.exclude(generation=token.generation).with_time().first()
            if successor is not None:
                return successor
    raise _needs_login(token, reason)


def _needs_login(token: UserToken, reason: str) -> NeedsLogin:
    name = token.credentials.name
    return NeedsLogin(f"the user must grant access to {name!r} again: {reason}", reason=reason)
