"""Tokens whose time has come, networks that refresh them, and what one run over them does."""

from collections import Counter
from datetime import timedelta
from threading import Lock

from django.contrib.auth.models import User
from django.utils import timezone

from django_socialgrants.flows.refresh_due import Bounds, refresh_due
from django_socialgrants.models import ApplicationHealth, UserToken
from tests.network import answer

NOW = timezone.now
"""Not affected by a test that patches the host's clock later."""


def store_due(application, number=1, *, prefix="4", age=600, **fields):
    """New rows that came due one after the other, the first `age` seconds ago; in that order."""
    user, _ = User.objects.get_or_create(username="anna")
    due = NOW() - timedelta(seconds=age)
    uids = [f"{prefix}{position:06}" for position in range(number)]
    UserToken.objects.bulk_create(
        UserToken(
            **{
                "user": user,
                "credentials": application,
                "uid": uid,
                "grant_type": "authorization_code",
                "access_token": f"access-{uid}-0",
                "refresh_token": f"refresh-{uid}-0",
                "expires_at": NOW() + timedelta(hours=1),
                "next_refresh_at": due + timedelta(milliseconds=position),
                **fields,
            }
        )
        for position, uid in enumerate(uids)
    )
    return list(UserToken.objects.filter(credentials=application, uid__in=uids).order_by("next_refresh_at"))


def run(*names, workers=16, limit=None, max_time=None, **options):
    """One run; the report."""
    return refresh_due(names, bounds=Bounds(workers, limit, max_time), **options)


def counts(report, name=None):
    """due, refreshed, needs_login, failed, skipped: of all applications or the named one."""
    found = report.to_json()
    if name is not None:
        found = found["applications"][name]
    return tuple(found[key] for key in ("due", "refreshed", "needs_login", "failed", "skipped"))


def row(token):
    """The row as it now is."""
    return UserToken.objects.get(pk=token.pk)


def columns(*tokens):
    """Everything in the rows of `tokens`, as the database has it; without any, of all rows."""
    rows = UserToken.objects.order_by("pk")
    if tokens:
        rows = rows.filter(pk__in=[token.pk for token in tokens])
    return [
        {name: str(getattr(value, "ciphertext", value)) for name, value in found.items()}
        for found in rows.values()
    ]


def make_due_again(*tokens):
    """As if the time of their next refresh had come."""
    rows = UserToken.objects.filter(pk__in=[token.pk for token in tokens])
    rows.update(next_refresh_at=NOW() - timedelta(seconds=1))


def end_pauses():
    """As if the time of every pause was over; how many seconds they would have lasted, by application."""
    paused = ApplicationHealth.objects.exclude(paused_until=None).select_related("credentials")
    left = {health.credentials.name: (health.paused_until - NOW()).total_seconds() for health in paused}
    ApplicationHealth.objects.exclude(paused_until=None).update(paused_until=NOW() - timedelta(seconds=1))
    return left


class TokenEndpoint:
    """A network's token endpoint that knows the tokens of `store_due`.

    `rotates`: every answer brings a new refresh token, and one that was used is refused. Otherwise the same one
    stays good for ever. `presented` counts each refresh token that was sent.
    """

    def __init__(self, *, rotates=False, expires_in=1800):
        self.rotates = rotates
        self.expires_in = expires_in
        self.presented = Counter()
        self.order = []
        self._lock = Lock()

    def __call__(self, call):
        token = call.params["refresh_token"]
        with self._lock:
            self.presented[token] += 1
            self.order.append(token)
            used = self.presented[token]
        _, uid, generation = token.split("-")
        if self.rotates and used > 1:
            return answer({"error": "invalid_grant"}, status=400)(call)
        body = {"access_token": f"access-{uid}-{int(generation) + used}", "expires_in": self.expires_in}
        if self.rotates:
            body["refresh_token"] = f"refresh-{uid}-{int(generation) + 1}"
        return answer(body)(call)
