"""One call's turn at refreshing a token that others may want at the same time: claimed, waited for, given back."""

import time
from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import BooleanField, ExpressionWrapper

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import NeedsLogin, ProviderUnavailable, UnsafeTransaction
from django_socialgrants.models import ProviderCredentials, UserToken, UserTokenQuerySet

from . import health
from .committed import in_transaction, persistently
from .lease import claim, free, new_owner, release, row_of

_FIRST_POLL, _LAST_POLL = 0.02, 0.25  # seconds

Claimed = tuple[UserToken, health.Health | None]
"""A claimed row and its application's health; or with None the row that somebody else has refreshed."""


class Turn:
    """At refreshing `token`, within SOCIALGRANTS_TIMEOUT seconds from now. Nothing is asked of the network.

    All methods raise NeedsLogin, ProviderUnavailable and UnsafeTransaction.
    """

    def __init__(self, token: UserToken) -> None:
        self.has_waited = False
        self._token = token
        self._owner = new_owner()
        self._ends = time.monotonic() + conf.TIMEOUT
        self._may_be_ours = False

    def take(self) -> Claimed:
        """Claim the token, as soon as nobody else is refreshing it; or what they made of it."""
        return self._wait(self._claim)

    def await_others(self) -> UserToken:
        """What those made of the token who have refreshed it in our place."""
        return self._wait(self._look_at_others)[0]

    def give_back(self) -> None:
        """Let others have the token at once, if it may be ours: nothing was sent."""
        if self._may_be_ours:
            self._token.lease_owner = self._owner
            with suppress(DatabaseError, InterfaceError, UnsafeTransaction):
                persistently(lambda: release([self._token]), patient=False)

    def is_over(self) -> bool:
        return time.monotonic() > self._ends

    def _wait(self, look: Callable[[], Claimed | None]) -> Claimed:
        """What `look` sees in the end. Between two looks no connection but the caller's is held."""
        pause = _FIRST_POLL
        while True:
            try:
                seen = persistently(look, patient=False)
            except _Unseen:
                raise self._absence() from None
            if seen is not None:
                return seen
            if time.monotonic() + pause > self._ends:
                raise ProviderUnavailable("somebody else has been refreshing this token for too long")
            self.has_waited = True
            time.sleep(pause)
            pause = min(2 * pause, _LAST_POLL)

    def _claim(self) -> Claimed | None:
        """One look; None while somebody else holds the lease."""
        current = self._current()
        if current.generation != self._token.generation:
            return current, None
        is_ours = current.lease_owner == self._owner  # by an earlier look whose confirmation got lost
        if not is_ours:
            if current.failures > self._token.failures and current.is_backing_off():
                raise ProviderUnavailable("somebody else has just failed to refresh this token")
            if not current.is_free:  # type: ignore[attr-defined]  # the annotation
                return None
            fit(current.credentials)
            self._may_be_ours = True
            # Of all who wait for a refresh that fails one may try again.
            unchanged = row_of(self._token).filter(generation=current.generation, failures=current.failures)
            if not claim(unchanged, self._owner):
                return None
            current = self._current()
            if current.lease_owner != self._owner:  # its user was faster, and granted anew
                return None
        return current, fit(current.credentials)  # once more: who had the lease may have been asked to pause

    def _look_at_others(self) -> Claimed | None:
        current = self._current()
        if current.generation != self._token.generation:
            return current, None
        if current.is_free:  # type: ignore[attr-defined]  # the annotation
            raise ProviderUnavailable("the token was changed while it was being refreshed")
        return None

    def _current(self) -> UserToken:
        rows = row_of(self._token).with_time().annotate(is_free=ExpressionWrapper(free(), BooleanField()))
        current = rows.first()
        if current is None:
            raise _Unseen
        require_active(current)
        return current

    def _absence(self) -> NeedsLogin | UnsafeTransaction:
        """What it means that the row can't be seen from outside of the caller's transaction."""
        rows = row_of(self._token)
        callers = connections[rows.db]
        if in_transaction(callers) and _sees(rows):
            return UnsafeTransaction("a token can't be refreshed in the transaction that has stored it")
        return needs_login(self._token, "no_token")


class _Unseen(Exception):
    """The row is not there, or not for us."""


def _sees(rows: UserTokenQuerySet) -> bool:
    """Whether the caller's transaction sees any of `rows` as they are now, and not only as they once were.

    That takes a lock, but nobody else can hold it: they don't see the row. PostgreSQL reports a row that only
    the snapshot of the transaction still has as a serialization failure.
    """
    if not connections[rows.db].features.has_select_for_update:
        return False  # SQLite: whoever has written would have kept us from looking
    try:
        with transaction.atomic(using=rows.db):
            return bool(rows.select_for_update().values_list("pk"))
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", getattr(error.__cause__, "pgcode", "")) == "40001":
            return False
        raise


def fit(credentials: ProviderCredentials) -> health.Health:
    """The health of an application that may be asked now. Raises ProviderUnavailable in a pause."""
    known = health.look(credentials)
    if known.pause:
        raise ProviderUnavailable(
            f"refreshes for {credentials.name!r} are paused", retry_after=int(known.pause) + 1
        )
    return known.health


def require_active(token: UserToken) -> None:
    """Raises NeedsLogin for a token that is known to be dead."""
    if token.state != UserToken.State.ACTIVE:
        raise needs_login(token, token.reason)


def needs_login(token: UserToken, reason: str) -> NeedsLogin:
    name = token.credentials.name
    message = f"the user must grant access to {name!r} again: {reason}"
    return NeedsLogin(message, reason=reason, application=name)
