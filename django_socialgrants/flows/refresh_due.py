"""Refresh every token whose time has come: what cron runs, and what any number of hosts may run at once.

One thread claims, decrypts, stores and counts; a bounded pool of others does nothing but HTTP. So a run holds one
database connection, and its memory does not grow with the number of tokens. Applications take turns.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from django.db import Error as DatabaseFailure
from django.db import router
from django.utils.translation import gettext as _

from django_socialgrants.events import Event, log
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.refreshing.committed import PERSIST_FOR
from django_socialgrants.refreshing.due import Due
from django_socialgrants.refreshing.lane import Lane
from django_socialgrants.refreshing.lease import is_late
from django_socialgrants.refreshing.report import RETRY, Problem, Report, Tally
from django_socialgrants.refreshing.request import Renewal, Reply, carry_out
from django_socialgrants.refreshing.settlement import halts
from django_socialgrants.refreshing.workers import Workers
from django_socialgrants.storage.clock import database_time


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
    """Refresh the due tokens of the applications `names` (empty = all), and report what came of it.

    `within` adds tokens without failures that come due in so many seconds. `dry_run` only counts. Once `stop`
    says so no more tokens are claimed, those on their way are settled, and all leases given back. `watch` is
    called with the growing report after counting, and whenever more is settled.

    Raises UnknownCredentials, and TypeError where `names` is a string. Whatever else is raised in between, such as
    a task's time limit: answers on their way are stored first, and the other leases given back.
    """
    began = time.monotonic()
    report = Report()
    believe = accept_mass_revocation and not dry_run
    started = database_time(router.db_for_write(UserToken))
    lanes = [
        Lane(
            application,
            report.applications.setdefault(application.name, Tally()),
            Due(application, started, within),
            believe=believe,
        )
        for application in ProviderCredentials.objects.chosen(names)
    ]
    watch(report)
    if not dry_run:
        for lane in lanes:
            lane.open_up()
        _Run(lanes, bounds, stop, began, lambda: watch(report)).work()
    report.seconds = time.monotonic() - began
    return report


_Job = tuple[Lane, Renewal]
_Result = tuple[Lane, UserToken, Reply | None, float]
"""What came of a token's refresh, and when, by the monotonic clock."""


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
        self._is_over = False
        self._failure: BaseException | None = None
        self._workers: Workers[_Job, _Result] = Workers(bounds.workers, self._carry_out)

    def work(self) -> None:
        """Refresh until nothing is left, a bound or `stop` says so; then settle what is on its way.

        So it does when it is interrupted by whatever exception, in this thread or in a worker, and raises it then.
        """
        try:
            self._fill()
            while any(lane.in_flight for lane in self._lanes):
                self._workers.wait()
                self._settle()
                self._fill()
        finally:
            self._wind_up()

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
            lane.close(Problem.STOPPED, _("time was up"))
            return 0
        if self._bounds.limit is not None:
            room = min(room, self._bounds.limit - self._claimed)
        if not room:
            lane.close(Problem.STOPPED, _("the limit was reached"))
            return 0
        tokens: list[UserToken] = []
        with self._surviving(lane):
            tokens = lane.claim(room)
        lane.is_open = lane.is_open and bool(tokens)
        self._claimed += len(tokens)
        for token in tokens:
            renewal = lane.prepare(token)
            if isinstance(renewal, Reply):
                lane.receive(token, renewal, time.monotonic())
            else:
                self._workers.put(lane, (lane, renewal))
        self._settle()
        return len(tokens)

    def _carry_out(self, job: _Job) -> _Result:
        """What the threads do. They touch no database."""
        lane, renewal = job
        if self._stops() or lane.is_halted or is_late(renewal.token):
            return lane, renewal.token, None, time.monotonic()
        try:
            reply = carry_out(renewal, may_repeat=lambda: not self._stops())
        except BaseException as error:  # a thread that ends without a result would be waited for
            self._failure = error
            reply = Reply(error=error, doubtful=True)
        if halts(reply):
            lane.is_halted = True  # at once: the thread that judges may be busy
        return lane, renewal.token, reply, time.monotonic()

    def _stops(self) -> bool:
        return self._is_over or self._failure is not None or self._stop()

    def _settle(self) -> None:
        """Store what has come by now."""
        self._receive()
        for lane in self._lanes:
            with self._surviving(lane):
                if lane.settle():
                    lane.tally.seconds = time.monotonic() - self._began
                    self._settled()
        if self._failure is not None:
            raise self._failure

    def _receive(self) -> None:
        """Results are taken out only when their lanes have them: an exception may come between any two lines."""
        results = self._workers.results
        while results:
            lane, token, reply, at = results[0]
            lane.receive(token, reply, at)
            results.popleft()

    def _wind_up(self) -> None:
        """Store what is on its way, and give the other leases back, whatever happens to one of the lanes."""
        self._is_over = True
        ends = time.monotonic() + PERSIST_FOR
        self._workers.end()
        self._receive()
        for lane in self._lanes:
            for step in (lane.settle, partial(lane.give_up, ends)):
                try:
                    with self._surviving(lane):
                        step()
                except Exception:
                    name, text = lane.application.name, "%s: the end of a run was disturbed"
                    reason = "disturbed"
                    log(
                        Event.RUN,
                        text,
                        name,
                        level=logging.ERROR,
                        application=name,
                        reason=reason,
                        trace=True,
                    )

    @contextmanager
    def _surviving(self, lane: Lane) -> Iterator[None]:
        """Claim no more when the database stayed away for too long; what is on its way may still be stored."""
        try:
            yield
        except DatabaseFailure as error:
            name, reason = lane.application.name, type(error).__name__
            text = "%s: the database failed for too long: %s"
            log(Event.DATABASE, text, name, reason, level=logging.ERROR, application=name, reason=reason)
            note = _("the database failed: %(error)s") % {"error": type(error).__name__}
            lane.tally.worsen(RETRY, Problem.DATABASE, note)
            for other in self._lanes:
                other.close(Problem.DATABASE, note)
