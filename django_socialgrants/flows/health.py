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

from django.db import IntegrityError, router
from django.db.models import F, QuerySet

from django_socialgrants.clock import DatabaseNow
from django_socialgrants.models import ApplicationHealth, ProviderCredentials

MASS_REVOCATION = "mass_revocation"

_OUTAGE = 10  # failures in a row
_LONGEST_PAUSE = 3600
_PAUSE = 30  # seconds, where the network names none


@dataclass(frozen=True)
class Health:
    """`pause` is in seconds, 0 = none; `probing` means that a single token is to be tried first; `revoked` that
    tokens were refused in masses; `troubled` that anything at all is remembered."""

    pause: float = 0
    probing: bool = False
    revoked: bool = False
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
    pause = (row.paused_until - row.database_now).total_seconds() if row.paused_until else 0
    revoked = row.reason == MASS_REVOCATION
    return Health(
        pause=max(pause, 0), probing=revoked or row.failures >= _OUTAGE, revoked=revoked, troubled=True
    )


def succeeded(credentials: ProviderCredentials) -> None:
    """The network gave a token: whatever was wrong is over."""
    _rows(credentials).exclude(failures=0, reason="").update(failures=0, paused_until=None, reason="")


def failed(credentials: ProviderCredentials) -> bool:
    """Count a failure; True if the application is paused from now on."""
    _write(credentials, failures=F("failures") + 1)
    failures = _rows(credentials).values_list("failures", flat=True).first() or 0
    if failures < _OUTAGE:
        return False
    _write(credentials, paused_until=DatabaseNow(back_off(failures - _OUTAGE)))
    return True


def pause(credentials: ProviderCredentials, seconds: float | None) -> None:
    """Leave the application alone for so many seconds, as its network asked for (1 s to 1 h)."""
    wanted = _PAUSE if seconds is None else min(max(seconds, 1), _LONGEST_PAUSE)
    _write(credentials, paused_until=DatabaseNow(wanted))


def close_valve(credentials: ProviderCredentials) -> None:
    """From now on only single tokens are tried, until one is accepted or an operator decides."""
    _write(credentials, reason=MASS_REVOCATION)


def _rows(credentials: ProviderCredentials) -> QuerySet[ApplicationHealth]:
    alias = router.db_for_write(ApplicationHealth)
    return ApplicationHealth.objects.using(alias).filter(credentials=credentials.pk)


def _write(credentials: ProviderCredentials, **changes: object) -> None:
    rows = _rows(credentials)
    if rows.update(**changes):
        return
    with suppress(IntegrityError):  # somebody else made the row, or the application was deleted
        ApplicationHealth.objects.using(rows.db).create(credentials_id=credentials.pk)
    rows.update(**changes)
