"""Threads that do nothing but HTTP, and that no application can keep to itself."""

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers(Generic[Job, Result]):
    """`work(job)` is done by at most `workers` threads, which the keys of the jobs share.

    Jobs of one key are begun in order. `results` has what `work` returned, in the order of completion; `work` must
    not raise.
    """

    def __init__(self, workers: int, work: Callable[[Job], Result]) -> None:
        self.share = workers
        """How many threads may work for one key."""
        self.results: SimpleQueue[Result] = SimpleQueue()
        self._workers = workers
        self._work = work
        self._waiting: dict[object, deque[Job]] = {}
        self._busy: dict[object, int] = {}
        self._changed = threading.Condition()
        self._threads = 0
        self._is_over = False

    def divide(self, keys: int) -> None:
        """Let so many keys have equal shares of the threads, of one thread at least."""
        with self._changed:
            self.share = max(1, self._workers // max(1, keys))
            self._changed.notify_all()

    def put(self, key: object, job: Job) -> None:
        with self._changed:
            self._waiting.setdefault(key, deque()).append(job)
            self._busy.setdefault(key, 0)
            if self._threads < self._workers:
                self._threads += 1
                threading.Thread(target=self._run, daemon=True).start()
            self._changed.notify()

    def end(self) -> None:
        """Let the threads end; no more jobs are taken."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            key, job = taken
            self.results.put(self._work(job))
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
