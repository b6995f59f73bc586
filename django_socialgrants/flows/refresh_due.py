"""Refresh every token whose time has come: what cron runs, and what any number of hosts may run at once.

One thread claims, decrypts, stores and counts; a bounded pool of others does nothing but HTTP. So a run holds one
database connection, and its memory does not grow with the number of tokens. Applications take turns.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue

from django.db import DatabaseError
from django.db.models import Q

from django_socialgrants.clock import DatabaseNow
from django_socialgrants.conf import conf
from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.models import ProviderCredentials, UserToken

from .autocommit import autocommit, persistently
from .lane import Lane
from .renewal import Answer, Renewal, carry_out
from .report import RETRY, Report, Tally

logger = logging.getLogger("django_socialgrants")


@dataclass(frozen=True)
class Bounds:
    """How far a run may go."""

    workers: int = 16
    """Requests on their way at once."""
    limit: int | None = None
    """Tokens."""
    max_time: float | None = None
    """Seconds after which no more tokens are claimed."""


def refresh_due(
    names: Sequence[str] = (),
    *,
    within: float = 0,
    bounds: Bounds = Bounds(),  # noqa: B008  # frozen
    dry_run: bool = False,
    accept_mass_revocation: bool = False,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Refresh the due tokens of the applications `names` (none = all); of each what it came to.

    `within` adds tokens without failures that come due in so many seconds. `dry_run` only counts. Once `stop`
    says so no more tokens are claimed, those on their way are settled, and all leases given back. `watch` is
    called with the growing report after counting and after every token.

    Raises UnknownCredentials.
    """
    began = time.monotonic()
    report = Report()
    with autocommit():
        lanes = [
            Lane(
                application,
                report.applications.setdefault(application.name, Tally()),
                started=started,
                within=within,
                accept_mass_revocation=accept_mass_revocation,
            )
            for application, started in _applications(names)
        ]
        watch(report)
        if not dry_run:
            for lane in lanes:
                lane.open_up()
            _Run(lanes, bounds, stop, began, lambda: watch(report)).work()
    report.seconds = time.monotonic() - began
    return report


def _applications(names: Sequence[str]) -> list[tuple[ProviderCredentials, datetime]]:
    """The applications, each with the database's time."""
    wanted = Q(name__in=names) if names else Q()
    applications = ProviderCredentials.objects.filter(wanted).annotate(database_now=DatabaseNow())
    found = [
        (application, application.database_now)  # type: ignore[attr-defined]  # the annotation
        for application in applications.order_by("pk")
    ]
    unknown = sorted(set(names) - {application.name for application, _ in found})
    if unknown:
        raise UnknownCredentials(f"no application is named {', '.join(map(repr, unknown))}")
    return found


class _Run:
    """The thread that claims and stores, and what passes between it and the threads that do HTTP."""

    def __init__(
        self,
        lanes: list[Lane],
        bounds: Bounds,
        stop: Callable[[], bool],
        began: float,
        settled: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._bounds = bounds
        self._stop = stop
        self._began = began
        self._settled = settled
        self._claimed = 0
        self._threads = 0
        self._ready: SimpleQueue[tuple[Lane, Renewal] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Lane, UserToken, Answer | None]] = SimpleQueue()

    def work(self) -> None:
        """Refresh until nothing is left, a bound or `stop` says so; then settle what is on its way."""
        try:
            self._fill()
            while any(lane.in_flight for lane in self._lanes):
                self._settle(*self._done.get())
                self._fill()
        finally:
            for _ in range(self._threads):
                self._ready.put(None)

    def _fill(self) -> None:
        """Claim as many tokens as there is room for; every application gets its share."""
        claimed = 1
        while claimed and not self._stop():
            lanes = [lane for lane in self._lanes if lane.is_open]
            share = max(1, self._bounds.workers // max(1, len(lanes)))
            claimed = sum(self._claim(lane, lane.room(share)) for lane in lanes)

    def _claim(self, lane: Lane, room: int) -> int:
        """How many tokens were claimed and are on their way."""
        if self._is_over(room):
            lane.is_open = False
            lane.tally.worsen(RETRY, "the limit was reached")
            return 0
        if self._bounds.limit is not None:
            room = min(room, self._bounds.limit - self._claimed)
        if room <= 0:
            return 0
        try:
            tokens = persistently(lambda: lane.claim(room))
        except DatabaseError as error:
            lane.is_open = False
            lane.tally.worsen(RETRY, f"the database failed: {type(error).__name__}")
            return 0
        self._claimed += len(tokens)
        for token in tokens:
            renewal = lane.prepare(token)
            if isinstance(renewal, Answer):
                self._settle(lane, token, renewal)
            else:
                self._submit(lane, renewal)
        return len(tokens)

    def _is_over(self, room: int) -> bool:
        """Whether the bounds forbid to claim what there is room for."""
        bounds = self._bounds
        if bounds.limit is not None and self._claimed >= bounds.limit:
            return room > 0
        return bounds.max_time is not None and time.monotonic() - self._began > bounds.max_time

    def _submit(self, lane: Lane, renewal: Renewal) -> None:
        if self._threads < self._bounds.workers:
            threading.Thread(target=self._carry_out, daemon=True).start()
            self._threads += 1
        self._ready.put((lane, renewal))

    def _carry_out(self) -> None:
        """What the other threads do. They touch no database."""
        while (job := self._ready.get()) is not None:
            lane, renewal = job
            answer = None
            if not self._stop() and not _is_late(renewal.token):
                answer = carry_out(renewal, may_repeat=not self._stop())
            self._done.put((lane, renewal.token, answer))

    def _settle(self, lane: Lane, token: UserToken, answer: Answer | None) -> None:
        """Store one result; should the database stay away it is lost, and the lease tells the next run."""
        try:
            if answer is None:
                lane.give_back(token)
            else:
                lane.settle(token, answer)
        except DatabaseError as error:
            logger.error("token %s: its refresh could not be stored: %s", token.pk, type(error).__name__)
            lane.tally.worsen(RETRY, f"the database failed: {type(error).__name__}")
        lane.tally.seconds = time.monotonic() - self._began
        self._settled()


def _is_late(token: UserToken) -> bool:
    """Whether the lease may end before a request, its repetition and the storing of its answer are over."""
    return time.monotonic() - token.read_at > conf.LEASE - 2.5 * conf.TIMEOUT
