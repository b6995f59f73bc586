"""How an application fares at its network's token endpoint, and when it had better be left alone.

Kept in the database, so that the next run and every web process know it too:

* a network that says "too many requests" is not asked again before the time it names;
* after 10 failures in a row an application is paused, and probed with a single token ever more rarely;
* when half of the tokens are suddenly refused (the valve of `flows.refresh_due`), single tokens are tried
  until one is accepted again.
"""

import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, router, transaction
from django.db.models import F, Q, QuerySet

from django_socialgrants.models import ApplicationHealth, ProviderCredentials
from django_socialgrants.storage.clock import DatabaseNow

OUTAGE = "outage"
RATE_LIMITED = "rate_limited"
MASS_REVOCATION = "mass_revocation"
INVALID_CLIENT = "invalid_client"

_MANY_FAILURES = 10  # in a row
_LONGEST_PAUSE = 3600
_PAUSE = 30  # seconds, where the network names none


@dataclass(frozen=True)
class Health:
    """`pause` is in seconds, 0 = none.

    `refused` says that it is because of the application's own secret, which an operator may have mended meanwhile;
    `probing` that a single token is to be tried first; `revoked` that tokens were refused in masses; `recent` has
    a "1" for each of the last refreshes that was refused, and a "0" for the others; `troubled` says that there is
    anything to be forgotten.
    """

    pause: float = 0
    refused: bool = False
    probing: bool = False
    revoked: bool = False
    recent: str = ""
    troubled: bool = False


def back_off(failures: int) -> float:
    """Seconds until the next try after so many earlier failures in a row: doubled each time, an hour at most."""
    jitter: float = random.uniform(0.8, 1)  # noqa: S311  # spreads load, guards no secret
    return jitter * min(30 << min(failures, 10), _LONGEST_PAUSE)


def health(credentials: ProviderCredentials) -> Health:
    """What is known about an application; one query."""
    row = _rows(credentials).annotate(database_now=DatabaseNow()).first()
    if row is None:
        return Health()
    if _is_mended(row, credentials):
        return Health(recent=row.recent, troubled=True)
    pause = (row.paused_until - row.database_now).total_seconds() if row.paused_until else 0
    revoked = row.reason == MASS_REVOCATION
    return Health(
        pause=max(pause, 0),
        refused=row.reason == INVALID_CLIENT,
        probing=revoked or row.failures >= _MANY_FAILURES,
        revoked=revoked,
        recent=row.recent,
        troubled=bool(row.failures or row.paused_until or row.reason),
    )


def _is_mended(row: ApplicationHealth, credentials: ProviderCredentials) -> bool:
    """Whether an application that was refused has been saved since: somebody will have corrected its secret."""
    if row.reason != INVALID_CLIENT or row.paused_until is None:
        return False
    return credentials.updated_at > row.paused_until - timedelta(seconds=_PAUSE)


def succeeded(credentials: ProviderCredentials, known: Health) -> None:
    """The network gave a token: whatever was `known` to be wrong before it was asked is over.

    A pause that it has asked for meanwhile stands, and so does a valve that somebody has closed meanwhile.
    """
    rows = _rows(credentials)
    if known.revoked:
        rows.filter(reason=MASS_REVOCATION).update(reason="", recent="")
    rows.exclude(Q(reason=MASS_REVOCATION) | _asked_for_pause()).update(paused_until=None, reason="")
    rows.update(failures=0)


def failed(credentials: ProviderCredentials) -> bool:
    """Count a failure; True if the application is paused from now on.

    In a pause none is counted: those are requests that were on their way when it began.
    """
    _create(credentials)
    awake = _rows(credentials).exclude(paused_until__gt=DatabaseNow())
    if not awake.update(failures=F("failures") + 1):
        return True
    failures = awake.values_list("failures", flat=True).first() or 0
    if failures < _MANY_FAILURES:
        return False
    seconds = back_off(failures - _MANY_FAILURES)
    awake.exclude(reason=MASS_REVOCATION).update(reason=OUTAGE)
    awake.update(paused_until=DatabaseNow(seconds))
    return True


def pause(credentials: ProviderCredentials, seconds: float | None = None, *, reason: str) -> None:
    """Leave the application alone for so many seconds (1 s to 1 h), if it is not paused for longer anyway."""
    _create(credentials)
    until = DatabaseNow(_PAUSE if seconds is None else min(max(seconds, 1), _LONGEST_PAUSE))
    shorter = _rows(credentials).exclude(paused_until__gt=until)
    shorter.exclude(reason=MASS_REVOCATION).update(reason=reason)
    shorter.update(paused_until=until)


def close_valve(credentials: ProviderCredentials) -> None:
    """From now on only single tokens are tried, until one is accepted or an operator decides."""
    _create(credentials)
    _rows(credentials).update(reason=MASS_REVOCATION)


def resume(credentials: ProviderCredentials) -> None:
    """An operator says that all is well: the application is asked again at once, whatever was remembered."""
    _rows(credentials).update(failures=0, paused_until=None, reason="", recent="")


def remember(credentials: ProviderCredentials, recent: str) -> None:
    """Keep which of the last refreshes were refused, for the next run to go on counting."""
    _create(credentials)
    _rows(credentials).update(recent=recent)


def _asked_for_pause() -> Q:
    return Q(reason=RATE_LIMITED, paused_until__gt=DatabaseNow())


def _rows(credentials: ProviderCredentials) -> QuerySet[ApplicationHealth]:
    alias = router.db_for_write(ApplicationHealth)
    return ApplicationHealth.objects.using(alias).filter(credentials=credentials.pk)


def _create(credentials: ProviderCredentials) -> None:
    """Have a row; without one when the application was deleted meanwhile."""
    rows = _rows(credentials)
    with suppress(IntegrityError), transaction.atomic(using=rows.db):
        rows.get_or_create(credentials_id=credentials.pk)
