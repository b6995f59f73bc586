"""Refreshing as a task of whatever queue a site has.

Where Celery is installed (the extra `[celery]`), `refresh_tokens` is its task, by the name
"django_socialgrants.refresh_tokens". Elsewhere it is a plain function, to be wrapped by Huey, Dramatiq, RQ and the
like, whose autodiscovery imports this module. For `django.tasks` see `background`.
"""

from collections.abc import Sequence
from typing import Any

from .exceptions import RunFailed
from .flows.refresh_due import Bounds, refresh_due
from .refreshing.report import MISCONFIGURED


def run(
    names: Sequence[str] = (),
    *,
    within: float = 0,
    workers: int = 16,
    limit: int | None = None,
    max_time: float | None = None,
) -> dict[str, Any]:
    """What `manage.py refresh_tokens` does; the document that it prints with `--json`.

    Any number of workers may run it at once: tokens are shared out by leases in the database. Messages and
    results hold names and numbers only. Raises RunFailed where the command exits with 2 or 3, once everything else
    is refreshed; UnknownCredentials; and TypeError where `names` is a string.
    """
    bounds = Bounds(workers=workers, limit=limit, max_time=max_time)
    report = refresh_due(names, within=within, bounds=bounds)
    document = report.to_json()
    if report.exit_code >= MISCONFIGURED:
        raise RunFailed(document)
    return document


try:
    from celery import shared_task
except ImportError:
    refresh_tokens = run
else:
    refresh_tokens = shared_task(name="django_socialgrants.refresh_tokens")(run)
