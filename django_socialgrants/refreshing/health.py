"""When an application had better be left alone: the one policy for runs and for refreshes on demand.

Every answer of a token endpoint is `News` about its application, and `Health.after()` says what it means:

* a network that says "too many requests" is not asked again before the time it names;
* after 10 failures in a row an application is paused, and probed with a single token ever more rarely;
* when half of the last 100 tokens were refused, and 50 at least, no more are believed to be dead (the valve):
  single tokens are tried until one is accepted.

What is known is kept in the database, so that the next run and every web process know it too. `learn()` counts the
answers before the tokens that they are about are marked, in the order in which they came. A row is replaced only
if nobody has changed it meanwhile, so that answers which others hear at the same time are counted as well.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple, Self

from django.db import IntegrityError, router, transaction
from django.db.models import F, QuerySet

from django_socialgrants.models import ApplicationHealth, ProviderCredentials
from django_socialgrants.storage.clock import DatabaseNow

from .committed import persistently

Reason = ApplicationHealth.Reason

_WINDOW, _MASS = 100, 50
_MANY_FAILURES = 10  # in a row
_LONGEST_PAUSE = 3600
_PAUSE = 30  # seconds, where the network names none


class Sign(Enum):
    """What one answer says about the application that asked."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """The token was refused."""
    FAILED = "failed"
    THROTTLED = "throttled"
    """Too many requests."""
    CLIENT_REFUSED = "client_refused"
    """That is, its own secret."""


class News(NamedTuple):
    """A sign, and how long the network asked to be left alone."""

    sign: Sign
    seconds: float | None = None


def back_off(failures: int) -> float:
    """Seconds until the next try after so many earlier failures in a row: doubled each time, an hour at most."""
    jitter: float = random.uniform(0.8, 1)  # noqa: S311  # spreads load, guards no secret
    return jitter * min(30 << min(failures, 10), _LONGEST_PAUSE)


@dataclass(frozen=True)
class Health:
    """What is known about an application. `recent` has a "1" for each of the last refreshes that was refused, and
    a "0" for the others; it is empty when all were accepted.
    """

    failures: int = 0
    paused_until: datetime | None = None
    reason: str = ""
    recent: str = ""

    def pause(self, now: datetime | None) -> float:
        """Seconds for which the application is to be left alone; 0 = it may be asked."""
        if self.paused_until is None or now is None:
            return 0
        return max((self.paused_until - now).total_seconds(), 0)

    @property
    def is_refused(self) -> bool:
        """Whether the network refused the application's own secret."""
        return self.reason == Reason.INVALID_CLIENT

    @property
    def is_revoked(self) -> bool:
        """Whether the valve is closed."""
        return self.reason == Reason.MASS_REVOCATION

    @property
    def is_probing(self) -> bool:
        """Whether a single token is to be tried first."""
        return self.is_refused or self.is_revoked or self.failures >= _MANY_FAILURES

    def after(self, news: News, known: Self, now: datetime) -> "Health":
        """What is known once an answer has come to a request that was begun when all that was `known`."""
        match news.sign:
            case Sign.ACCEPTED:
                return self._accepted(known)
            case Sign.REFUSED:
                return self._refused()
            case Sign.FAILED:
                return self._failed(now)
            case Sign.THROTTLED:
                return self._paused(news.seconds, Reason.RATE_LIMITED, now)
            case Sign.CLIENT_REFUSED:
                return self._paused(None, Reason.INVALID_CLIENT, now)

    def _accepted(self, known: "Health") -> "Health":
        """What was wrong before the network was asked is over; a pause or a valve that came meanwhile stands."""
        recent = (self.recent + "0")[-_WINDOW:]
        after = replace(self, failures=0, recent=recent if "1" in recent else "")
        if self.reason == Reason.OUTAGE:
            return replace(after, paused_until=None, reason="")
        if self.paused_until == known.paused_until:
            after = replace(after, paused_until=None)
        if self.reason == known.reason and (self.is_revoked or after.paused_until is None):
            after = replace(after, reason="", recent="" if self.is_revoked else after.recent)
        return after

    def _refused(self) -> "Health":
        recent = (self.recent + "1")[-_WINDOW:]
        count = recent.count("1")
        is_mass = self.is_revoked or (count >= _MASS and 2 * count >= len(recent))
        return replace(self, recent=recent, reason=Reason.MASS_REVOCATION if is_mass else self.reason)

    def _failed(self, now: datetime) -> "Health":
        """In a pause none is counted: those are requests that were on their way when it began."""
        if self.pause(now):
            return self
        after = replace(self, failures=self.failures + 1)
        if after.failures < _MANY_FAILURES:
            return after
        return after._paused(back_off(after.failures - _MANY_FAILURES), Reason.OUTAGE, now)

    def _paused(self, seconds: float | None, reason: Reason, now: datetime) -> "Health":
        """Paused for so many seconds (1 s to 1 h), if it is not paused for longer anyway."""
        until = now + timedelta(seconds=_PAUSE if seconds is None else min(max(seconds, 1), _LONGEST_PAUSE))
        if self.paused_until is not None and self.paused_until > until:
            return self
        return replace(self, paused_until=until, reason=self.reason if self.is_revoked else reason)


class Known(NamedTuple):
    """What is known about an application, and the database's time when it was read."""

    health: Health
    now: datetime | None = None

    @property
    def pause(self) -> float:
        return self.health.pause(self.now)


def look(credentials: ProviderCredentials) -> Known:
    """What is known about an application; one query."""
    return persistently(lambda: _known(_row(credentials.pk)))


def learn(
    credentials: ProviderCredentials, news: Sequence[News], known: Health, *, ends: float | None = None
) -> Known:
    """Count what the network said, oldest first; what is known afterwards.

    `known` is what was known when those requests were begun. Nothing is read or written where all is well.
    """
    if known == Health() and all(item.sign is Sign.ACCEPTED for item in news):
        return Known(known)
    return persistently(lambda: _learn(credentials, news, known), ends=ends)


def _learn(credentials: ProviderCredentials, news: Sequence[News], known: Health) -> Known:
    while True:
        row = _row(credentials.pk)
        if row is None:
            row = _create(credentials.pk)
        if row is None:  # the application was deleted meanwhile
            return Known(known)
        before, now = _known(row)
        after = before
        for item in news:
            after = after.after(item, known, row.database_now)  # type: ignore[attr-defined]  # annotated
        if after == before or _replace(row, after):
            return Known(after, now)


def lift_valve(credentials: ProviderCredentials) -> None:
    """An operator believes the network: refused tokens are dead, and counted anew."""
    persistently(
        lambda: (
            _rows(credentials.pk)
            .filter(reason=Reason.MASS_REVOCATION)
            .update(reason="", recent="", version=F("version") + 1)
        )
    )


def resume(credentials: ProviderCredentials) -> None:
    """An operator says that all is well: the application is asked again at once, whatever was remembered."""
    _rows(credentials.pk).update(**asdict(Health()), version=F("version") + 1)


def _known(row: ApplicationHealth | None) -> Known:
    if row is None:
        return Known(Health())
    health = Health(row.failures, row.paused_until, row.reason, row.recent)
    return Known(health, row.database_now)  # type: ignore[attr-defined]  # annotated


def _row(pk: int) -> ApplicationHealth | None:
    return _rows(pk).annotate(database_now=DatabaseNow()).first()


def _rows(pk: int) -> QuerySet[ApplicationHealth]:
    alias = router.db_for_write(ApplicationHealth)
    return ApplicationHealth.objects.using(alias).filter(credentials=pk)


def _create(pk: int) -> ApplicationHealth | None:
    """A row, whoever makes it; None when the application was deleted meanwhile."""
    rows = _rows(pk)
    try:
        with transaction.atomic(using=rows.db):
            rows.create(credentials_id=pk)
    except IntegrityError:
        pass
    return _row(pk)


def _replace(row: ApplicationHealth, health: Health) -> bool:
    """Whether the row still was as it was read, and now holds `health`."""
    same = _rows(row.credentials_id).filter(version=row.version)
    return bool(same.update(**asdict(health), version=row.version + 1))
