"""Threads that do nothing but HTTP, and that no application can keep to itself."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from django_socialgrants.events import Event, log

Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers(Generic[Job, Result]):
    """`work(job)` is done by at most `workers` threads, which the keys of the jobs share.

    Jobs of one key are begun in order. `results` has what `work` returned, in the order of completion; they are
    left there until the caller takes them out. `work` must not raise.
    """

    def __init__(self, workers: int, work: Callable[[Job], Result]) -> None:
        self.share = workers
        """How many threads may work for one key."""
        self.results: deque[Result] = deque()
        self._workers = workers
        self._work = work
        self._waiting: dict[object, deque[Job]] = {}
        self._busy: dict[object, int] = {}
        self._changed = threading.Condition()
        self._has_results = threading.Event()
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def divide(self, keys: int) -> None:
        """Let so many keys have equal shares of the threads, of one thread at least."""
        with self._changed:
            self.share = max(1, self._workers // max(1, keys))
            self._changed.notify_all()

    def put(self, key: object, job: Job) -> None:
        """Have a job done, by fewer threads where the system allows no more; RuntimeError where it allows none."""
        with self._changed:
            if len(self._threads) < self._workers:
                self._add_thread()
            self._waiting.setdefault(key, deque()).append(job)
            self._busy.setdefault(key, 0)
            self._changed.notify()

    def wait(self) -> None:
        """Until there is a result."""
        self._has_results.wait()
        self._has_results.clear()

    def end(self) -> None:
        """Begin with no job any more, and wait for those that are being done: all results are there then."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._run, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            text = "only %d of %d threads could be started"
            log(Event.RUN, text, len(self._threads), self._workers, reason="threads")
            self._workers = len(self._threads)
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            key, job = taken
            self.results.append(self._work(job))
            self._has_results.set()
            with self._changed:
                self._busy[key] -= 1
                self._changed.notify()

    def _take(self) -> tuple[object, Job] | None:
        with self._changed:
            while not self._is_over:
                for key, jobs in self._waiting.items():
                    if jobs and self._busy[key] < self.share:
                        self._busy[key] += 1
                        self._waiting[key] = self._waiting.pop(key)  # to the end: now it is another's turn
                        return key, jobs.popleft()
                self._changed.wait()
            return None
