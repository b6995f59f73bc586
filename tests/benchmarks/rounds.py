"""Contestants that take turns, and what their rounds come to."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from .environments import python_of


class DidLess(SystemExit):
    """A contestant did less than the work: whatever it took for that is no figure."""


class Contestant:
    """A process that does tasks when told to: a module of `contestants` in an environment of its own."""

    def __init__(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        self.name = name
        command = [python_of(name), "-m", f"tests.benchmarks.contestants.{module}"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
        )

    def do(self, task: str, count: int, **options: Any) -> dict[str, float]:
        """Have it do `count` pieces of a task: {"cpu", "wall"} in seconds for one piece. Raises DidLess."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps({"task": task, "count": count, **options}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise DidLess(f"{self.name}: ended with {self._process.wait()} in the middle of {task}")
        told = json.loads(line)
        if told["done"] != count:
            raise DidLess(f"{self.name}: {told['done']} of {count} pieces of {task} were done")
        return {kind: told[kind] / count for kind in ("cpu", "wall")}

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def contestants(
    modules: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[dict[str, Contestant]]:
    """By name; `modules` names the module of each."""
    with ExitStack() as stack:
        ready = {}
        for name, module in modules.items():
            ready[name] = Contestant(name, module, environment)
            stack.callback(ready[name].close)
        yield ready


@dataclass(frozen=True)
class Row:
    """A line of the table: what we took, as a ratio of what the others took, and what it may be at most."""

    work: str
    against: str
    ratios: Sequence[float]
    limit: float
    at_least: bool = False
    """Whether the limit is one from below."""
    note: str = ""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_kept(self) -> bool:
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit

    def __str__(self) -> str:
        spread = f"{min(self.ratios):.2f}-{max(self.ratios):.2f}"
        limit = f"{'>=' if self.at_least else '<='} {self.limit:g}"
        mark = "" if self.is_kept else "  MISSED"
        return f"{self.work:<58}{self.against:<34}{self.ratio:>7.2f}  {spread:<13}{limit:<9}{self.note}{mark}"


def interleaved(
    contestants: Mapping[str, Contestant],
    task: str,
    count: int,
    rounds: int,
    *,
    kind: str = "cpu",
    **options: Any,
) -> dict[str, list[float]]:
    """Seconds for one piece of the task, by contestant, for every round; the first one warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            took = contestant.do(task, count, round=number, **options)[kind]
            if number:
                seconds[name].append(took)
        print(".", end="", file=sys.stderr, flush=True)
    return seconds


def alternating(ways: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """What each of `ways` comes to, round by round; the first round warms up."""
    found: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for results, way in zip(found, ways, strict=True):
            result = way()
            if number:
                results.append(result)
        print(".", end="", file=sys.stderr, flush=True)
    return found


def ratios(ours: Sequence[float], *others: Sequence[float]) -> list[float]:
    """Round by round: ours to the better of the others'."""
    return [mine / min(theirs) for mine, theirs in zip(ours, zip(*others, strict=True), strict=True)]
