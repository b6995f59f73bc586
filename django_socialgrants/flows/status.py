"""How the store of tokens is: for monitoring, and for people who ask."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import router
from django.db.models import Count, Min

from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from django_socialgrants.storage.clock import database_time


def status(names: Collection[str] = ()) -> dict[str, Any]:
    """The document of `token_status --json`, about the applications `names`; without names, about all of them.

    Times are those of the database, in ISO 8601; None stands for "never" and "not". The number of queries does not
    depend on what is stored, and those that count tokens read nothing but indexes. Raises UnknownCredentials, and
    TypeError where `names` is a string.
    """
    applications = ProviderCredentials.objects.chosen(names)
    alias = router.db_for_write(UserToken)
    now = database_time(alias)
    found = {application.pk: _unused(application) for application in applications}
    tokens = UserToken.objects.using(alias).order_by().filter(credentials__in=found)

    by_reason = tokens.values_list("credentials", "state", "reason")
    for pk, state, reason, count, oldest in by_reason.annotate(rows=Count("*"), oldest=Min("refreshed_at")):
        facts = found[pk]
        if state != UserToken.State.ACTIVE:
            facts["needs_login"] += count
            facts["reasons"][reason] = count
            continue
        facts["active"] += count
        if reason == UserToken.Reason.UNDECIPHERABLE:
            facts["undecipherable"] = count
        times = [time for time in (facts["oldest_refresh"], oldest) if time]
        facts["oldest_refresh"] = min(times, default=None)

    # No other token than an active one has a time for its next refresh; the state is in another index.
    due = tokens.filter(next_refresh_at__lte=now).values_list("credentials")
    for pk, count, since in due.annotate(rows=Count("*"), since=Min("next_refresh_at")):
        found[pk] |= {"due": count, "overdue": int((now - since).total_seconds()), "overdue_since": since}

    for health in ApplicationHealth.objects.using(alias).filter(credentials__in=found):
        found[health.credentials_id]["failures"] = health.failures
        found[health.credentials_id]["problem"] = health.reason
        if health.paused_until is not None and health.paused_until > now:
            found[health.credentials_id]["paused_until"] = health.paused_until
    return {
        "time": now.isoformat(),
        "applications": {application.name: _plain(found[application.pk]) for application in applications},
    }


def _unused(application: ProviderCredentials) -> dict[str, Any]:
    """The facts about an application without tokens."""
    return {
        "network": application.provider,
        "active": 0,
        "due": 0,
        "overdue": 0,
        "overdue_since": None,
        "needs_login": 0,
        "reasons": {},
        "undecipherable": 0,
        "oldest_refresh": None,
        "failures": 0,
        "problem": "",
        "paused_until": None,
    }


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in facts.items()
    }
