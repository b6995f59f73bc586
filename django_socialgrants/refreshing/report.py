"""What a run over the due tokens did: counted by application, and as an exit code."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SETTLED, RETRY, MISCONFIGURED, VALVE_CLOSED = 0, 1, 2, 3
"""Exit codes, the worst one of a run's applications counts."""

_COUNTS = ("due", "refreshed", "needs_login", "failed", "skipped")


class Problem(StrEnum):
    """Why tokens of an application were left out, for a program to read."""

    NOTHING = ""
    FAILURES = "failures"
    """Some refreshes failed, each for a reason of its own."""
    OUTAGE = "outage"
    PAUSED = "paused"
    """The network asked for that, or it was paused before this run."""
    STOPPED = "stopped"
    """The run was stopped, or a bound of it reached."""
    DATABASE = "database"
    INVALID_CLIENT = "invalid_client"
    LOST_KEY = "lost_key"
    UNKNOWN_NETWORK = "unknown_network"
    SETTINGS = "settings"
    VALVE = "valve"


@dataclass
class Tally:
    """One application's part. `failed` must be retried later, `skipped` was not tried."""

    due: int = 0
    refreshed: int = 0
    needs_login: int = 0
    failed: int = 0
    seconds: float = 0
    """From the beginning of the run until the last of its tokens."""
    reasons: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    """For an operator: why tokens were left out. May name a key's fingerprint, never a secret."""
    exit_code: int = SETTLED
    problem: Problem = Problem.NOTHING
    """That of the exit code; the first one of equally bad ones, but `FAILURES` only if there is no other."""
    paused_for: int = 0
    """Seconds for which the application is left alone."""

    @property
    def tried(self) -> int:
        return self.refreshed + self.needs_login + self.failed

    @property
    def skipped(self) -> int:
        return max(self.due - self.tried, 0)

    def worsen(self, exit_code: int, problem: Problem, note: str = "") -> None:
        """What happened is at least as bad as `exit_code`; a note is kept once."""
        if exit_code > self.exit_code or self.problem in (Problem.NOTHING, Problem.FAILURES):
            self.problem = problem
        self.exit_code = max(self.exit_code, exit_code)
        if note and note not in self.notes:
            self.notes.append(note)

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in _COUNTS}
        problem = {"problem": str(self.problem), "paused_for": self.paused_for}
        return {**counts, "seconds": round(self.seconds, 3), **problem}


@dataclass
class Report:
    """A whole run: a tally per application, by name, and how long it took in seconds."""

    applications: dict[str, Tally] = field(default_factory=dict)
    seconds: float = 0

    @property
    def exit_code(self) -> int:
        return max((tally.exit_code for tally in self.applications.values()), default=SETTLED)

    @property
    def due(self) -> int:
        return sum(tally.due for tally in self.applications.values())

    @property
    def tried(self) -> int:
        return sum(tally.tried for tally in self.applications.values())

    def to_json(self) -> dict[str, Any]:
        """The document of `refresh_tokens --json`."""
        tallies = {name: tally.to_json() for name, tally in self.applications.items()}
        totals = {name: sum(tally[name] for tally in tallies.values()) for name in _COUNTS}
        times = {"seconds": round(self.seconds, 3), "exit": self.exit_code}
        return {**totals, **times, "applications": tallies}
