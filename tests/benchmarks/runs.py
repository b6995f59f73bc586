"""Runs of `manage.py refresh_tokens` in processes of their own."""

import json
import os
import subprocess
import sys
from typing import Any

from .rounds import DidLess


def start(url: str, *, workers: int, limit: int | None = None, **environment: str) -> subprocess.Popen[str]:
    """A run over what is due, at the network of that URL."""
    from django.db import connection

    named = {
        "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
        "STORM_DATABASE": str(connection.settings_dict["NAME"]),
        "STORM_NETWORK": url,
        **environment,
    }
    command = [sys.executable, "-m", "django", "refresh_tokens", "--json", "--workers", str(workers)]
    command += ["--limit", str(limit)] if limit else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **named})


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode not in (0, 1):
        raise DidLess(f"refresh_tokens ended with {process.returncode}: {output}")
    report: dict[str, Any] = json.loads(output)
    return report


def rate(url: str, expected: int, *, processes: int = 1, **options: Any) -> float:
    """Tokens a second of runs that share the work, by their own clocks.

    Raises DidLess unless they refreshed as many as are `expected`.
    """
    reports = [finish(process) for process in [start(url, **options) for _ in range(processes)]]
    if sum(report["refreshed"] for report in reports) != expected:
        raise DidLess(f"of {expected} tokens were refreshed: {[report['refreshed'] for report in reports]}")
    return sum(report["refreshed"] / report["seconds"] for report in reports)
