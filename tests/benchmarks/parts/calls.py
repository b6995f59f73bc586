"""What a signed call costs in CPU, beside a plain pooled `requests` session that posts the same bytes."""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import requests
from django.utils import timezone

from tests.benchmarks.database import database
from tests.benchmarks.options import Options
from tests.benchmarks.rounds import Row, ratios
from tests.processes.quick_network import quick_network

PARAMS = {"fields": "uid,first_name,last_name,name", "count": 10}
_AGAINST = "pooled requests.Session().post"


def rows(options: Options) -> Iterator[Row]:
    from django.db import connection

    with quick_network() as url, database():
        seconds = _measured(_ways(f"{url}/fb.do"), options)
        limit = 1.1 if connection.vendor == "sqlite" else 1.3
        session = seconds.pop("session.post")
        for name, took in seconds.items():
            note = f"{statistics.median(took) * 1e6:.0f} us, {connection.vendor}"
            yield Row(f"signed call, CPU: {name}", _AGAINST, ratios(took, session), limit, note=note)


def _ways(url: str) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name -> how many calls it makes at once, and how."""
    from django.conf import settings

    from django_socialgrants.api import SocialAPI
    from django_socialgrants.oauth.values import Circuit, reveal
    from django_socialgrants.transport.exchange import exchange
    from tests.fakes import FakeOK

    FakeOK.api_endpoint = url
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK"]
    token = _granted()

    def bound(calls: int) -> None:
        api = SocialAPI(token.user, "ok")
        for _ in range(calls):
            api.call("users.getCurrentUser", **PARAMS)

    values = token.credentials.to_value(), token.to_value()
    request = FakeOK().api_request(*values, "users.getCurrentUser", PARAMS, Circuit.SERVER_SERVER)
    data = urlencode({name: reveal(value) for name, value in request.params.items()})
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "django-socialgrants",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    session = requests.Session()
    return {
        "session.post": (1, lambda: session.post(url, data=data, headers=headers, timeout=15).json()),
        "the first of a request": (1, lambda: bound(1)),
        "each of ten": (10, lambda: bound(10)),
        "transport alone": (1, lambda: exchange(request, lambda response: response.json())),
    }


def _granted() -> Any:
    from django.contrib.auth import get_user_model

    from django_socialgrants.models import ProviderCredentials, UserToken

    application = ProviderCredentials.objects.create(
        name="ok", provider="ok", client_id="512", client_secret="a" * 24, client_key="CGEXAMPLEKEYBABABA"
    )
    return UserToken.objects.create(
        user=get_user_model().objects.create_user("somebody"),
        credentials=application,
        uid="1",
        access_token="t" * 60,
        refresh_token="r" * 60,
        expires_at=timezone.now() + timedelta(days=1),
    )


def _measured(ways: dict[str, tuple[int, Callable[[], object]]], options: Options) -> dict[str, list[float]]:
    """Seconds of CPU for one call of each way, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, (at_once, way) in ways.items():
            began = time.process_time()
            for _ in range(options.calls // at_once):
                way()
            if number:  # the first warms up
                seconds[name].append((time.process_time() - began) / (options.calls // at_once * at_once))
    return seconds
