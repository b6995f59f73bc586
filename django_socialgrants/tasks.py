"""Celery tasks, for sites that have Celery: the extra `[celery]`."""

from collections.abc import Sequence
from typing import Any

from celery import shared_task

from .flows.refresh_due import Bounds, refresh_due


@shared_task(name="django_socialgrants.refresh_tokens")
def refresh_tokens(
    names: Sequence[str] = (),
    *,
    within: float = 0,
    workers: int = 16,
    limit: int | None = None,
    max_time: float | None = None,
) -> dict[str, Any]:
    """What `manage.py refresh_tokens` does; the document that it prints with `--json`.

    Any number of workers may run it at once: tokens are shared out by leases in the database. Messages and
    results hold names and numbers only.
    """
    bounds = Bounds(workers=workers, limit=limit, max_time=max_time)
    return refresh_due(names, within=within, bounds=bounds).to_json()
