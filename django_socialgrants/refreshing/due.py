"""Which of an application's tokens are due: found in order, a page at a time, each at most once in a run."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import BooleanField, DateTimeField, F, Func, Q, Value

from django_socialgrants.models import ProviderCredentials, UserToken, UserTokenQuerySet
from django_socialgrants.storage.clock import DatabaseNow

from .committed import persistently
from .lease import claim_many, free, new_owner, stored

Candidate = tuple[datetime, int, str, str]
"""When a token is due, its key, and the ciphertexts of access and refresh token."""


class Due:
    """Active tokens of `application` whose time had come at `started`, by the database's clock.

    `within` adds those without failures whose time comes in so many seconds. Those that were refreshed since are
    left out: a short-lived one would come round again and again.
    """

    def __init__(self, application: ProviderCredentials, started: datetime, within: float = 0) -> None:
        self._application = application
        self._started = started
        times = Q(next_refresh_at__lte=started + timedelta(seconds=within))
        times &= Q(refreshed_at=None) | Q(refreshed_at__lt=started)
        if within:
            times &= Q(failures=0) | Q(next_refresh_at__lte=started)
        self._tokens: UserTokenQuerySet = stored().filter(
            times, credentials=application.pk, state=UserToken.State.ACTIVE
        )
        self._behind: tuple[datetime, int] | None = None

    def count(self) -> int:
        return persistently(self._tokens.count)

    def include_held_back(self) -> None:
        """Have the time come of all that have failed before, as the tokens did whose refusal was not believed."""
        failed = stored().filter(
            credentials=self._application.pk, state=UserToken.State.ACTIVE, failures__gt=0
        )
        waiting = failed.exclude(reason=UserToken.Reason.UNDECIPHERABLE)
        persistently(
            partial(waiting.filter(next_refresh_at__gt=self._started).update, next_refresh_at=self._started)
        )

    def next_page(self, size: int) -> list[Candidate]:
        """The next free tokens, those that have waited longest first."""
        tokens = self._in_order()
        if self._behind is not None:
            tokens = tokens.filter(_Behind(*self._behind))
        page = _page(tokens, size)
        if page:
            self._behind = page[-1][:2]
        return page

    def probes(self, size: int, *, untried: bool) -> list[Candidate]:
        """Free tokens of which one is to be tried alone; they may turn up in a page once more.

        `untried` prefers the newest without failures: those at the head may be what is wrong.
        """
        tokens = self._in_order()
        newest = _page(tokens.filter(failures=0).reverse(), size) if untried else []
        return newest or _page(tokens, size)

    def claim(self, pks: Sequence[int]) -> list[UserToken]:
        """Those of the tokens whose leases are ours now: nobody else was faster."""
        owner = new_owner()
        claim_many(self._tokens.filter(pk__in=pks), owner)
        rows = stored().filter(pk__in=pks, lease_owner=owner).annotate(database_now=DatabaseNow())  # type: ignore[no-redef]
        claimed: list[UserToken] = persistently(lambda: list(rows))
        for token in claimed:
            token.credentials = self._application
        return claimed

    def _in_order(self) -> UserTokenQuerySet:
        return self._tokens.filter(free()).order_by("next_refresh_at", "pk")


class _Behind(Func):
    """Rows after the given one in the order of the index, for as many as may be due in the same instant.

    As one comparison of rows, which makes a range of the index in PostgreSQL and SQLite. MariaDB and MySQL see a
    range only in what it means.
    """

    output_field = BooleanField()

    def __init__(self, time: datetime, pk: int) -> None:
        super().__init__(F("next_refresh_at"), F("pk"), Value(time, DateTimeField()), Value(pk))

    def as_sql(self, compiler: Any, connection: Any, **extra: Any) -> Any:  # type: ignore[override]
        (due, _), (key, _), (time, times), (pk, pks) = map(compiler.compile, self.source_expressions)
        return f"({due}, {key}) > ({time}, {pk})", [*times, *pks]

    def as_mysql(self, compiler: Any, connection: Any) -> Any:
        (due, _), (key, _), (time, times), (pk, pks) = map(compiler.compile, self.source_expressions)
        return f"({due} > {time} OR ({due} = {time} AND {key} > {pk}))", [*times, *times, *pks]


def _page(tokens: UserTokenQuerySet, size: int) -> list[Candidate]:
    columns: Any = tokens.values_list("next_refresh_at", "pk", "access_token", "refresh_token")
    return persistently(lambda: list(columns[:size]))
