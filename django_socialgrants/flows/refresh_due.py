"""Refresh every token whose time has come: what cron runs, and what any number of hosts may run at once.

One thread claims, decrypts, stores and counts; a bounded pool of others does nothing but HTTP. So a run holds one
database connection, and its memory does not grow with the number of tokens. Applications take turns.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError
from django.db.models import Q
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.refreshing.lane import Lane
from django_socialgrants.refreshing.lease import is_late
from django_socialgrants.refreshing.report import RETRY, Report, Tally
from django_socialgrants.refreshing.request import Answer, Renewal, carry_out
from django_socialgrants.refreshing.settlement import halts
from django_socialgrants.refreshing.workers import Workers
from django_socialgrants.storage.clock import DatabaseNow

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
    called with the growing report after counting, and whenever more is settled.

    Raises UnknownCredentials.
    """
    began = time.monotonic()
    report = Report()
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


_Job = tuple[Lane, Renewal]
_Result = tuple[Lane, UserToken, Answer | None]


class _Run:
    """The thread that claims and stores."""

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
        self._workers: Workers[_Job, _Result] = Workers(bounds.workers, self._carry_out)

    def work(self) -> None:
        """Refresh until nothing is left, a bound or `stop` says so; then settle what is on its way."""
        try:
            self._fill()
            while any(lane.in_flight for lane in self._lanes):
                self._settle_waiting()
                self._fill()
        finally:
            self._workers.end()
        for lane in self._lanes:
            with _surviving(lane):
                lane.finish()

    def _fill(self) -> None:
        """Claim as many tokens as there is room for; every application gets its share."""
        claimed = 1
        while claimed and not self._stop():
            self._workers.divide(sum(lane.is_open or lane.in_flight > 0 for lane in self._lanes))
            rooms = [(lane, lane.room(self._workers.share)) for lane in self._lanes]
            claimed = sum(self._claim(lane, room) for lane, room in rooms if room > 0)

    def _claim(self, lane: Lane, room: int) -> int:
        """How many tokens were claimed; they are on their way."""
        if self._bounds.max_time is not None and time.monotonic() - self._began > self._bounds.max_time:
            lane.close(_("time was up"))
            return 0
        if self._bounds.limit is not None:
            room = min(room, self._bounds.limit - self._claimed)
        if not room:
            lane.close(_("the limit was reached"))
            return 0
        tokens: list[UserToken] = []
        with _surviving(lane):
            tokens = lane.claim(room)
        lane.is_open = lane.is_open and bool(tokens)
        self._claimed += len(tokens)
        for token in tokens:
            renewal = lane.prepare(token)
            if isinstance(renewal, Answer):
                self._settle(lane, [(token, renewal)])
            else:
                self._workers.put(lane, (lane, renewal))
        return len(tokens)

    def _carry_out(self, job: _Job) -> _Result:
        """What the threads do. They touch no database."""
        lane, renewal = job
        if self._stop() or lane.is_halted or is_late(renewal.token):
            return lane, renewal.token, None
        answer = carry_out(renewal, may_repeat=lambda: not self._stop())
        if halts(answer):
            lane.is_halted = True  # at once: the thread that judges may be busy
        return lane, renewal.token, answer

    def _settle_waiting(self) -> None:
        """Wait for a result; store it, and whatever else has come by then."""
        results = [self._workers.results.get()]
        while not self._workers.results.empty():
            results.append(self._workers.results.get())
        for lane in self._lanes:
            mine = [(token, answer) for owner, token, answer in results if owner is lane]
            self._settle(lane, [(token, answer) for token, answer in mine if answer is not None])
            self._give_back(lane, [token for token, answer in mine if answer is None])

    def _settle(self, lane: Lane, answers: list[tuple[UserToken, Answer]]) -> None:
        if answers:
            with _surviving(lane):
                lane.settle(answers)
            lane.tally.seconds = time.monotonic() - self._began
            self._settled()

    def _give_back(self, lane: Lane, tokens: list[UserToken]) -> None:
        for token in tokens:
            with _surviving(lane):
                lane.give_back(token)


@contextmanager
def _surviving(lane: Lane) -> Iterator[None]:
    """Go on when the database stayed away for too long: what could not be stored is told by its lease."""
    try:
        yield
    except DatabaseError as error:
        logger.error("%s: the database failed for too long: %s", lane.application.name, type(error).__name__)
        lane.tally.worsen(RETRY, _("the database failed: %(error)s") % {"error": type(error).__name__})
