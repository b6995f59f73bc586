"""Refreshing as a task of `django.tasks` (Django 6.0, or the package django-tasks before that).

    from django_socialgrants.background import refresh_tokens

    refresh_tokens.enqueue(["ok"], within=60)

It takes what `tasks.run` takes, and returns and raises the same. A task runs once: have something enqueue it every
minute, as a scheduler or a cron job.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from . import tasks

if find_spec("django.tasks"):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]


@task()
def refresh_tokens(names: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """As `tasks.run`."""
    return tasks.run(names, **options)
