"""What a signed call costs in CPU, beside a plain pooled `requests` session that posts the same bytes.

    python -m tests.benchmarks.signed_call [--calls 2000] [--rounds 7] [--tls]

The server has a process of its own; measured is the CPU time of this one. DATABASE_URL chooses the database.
Rounds of all ways are interleaved and each way's median counts, as the machine has other things to do.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import django
import requests
from django.utils import timezone
from requests import certs

from tests.benchmarks.server import self_signed, serving

PARAMS = {"fields": "uid,first_name,last_name,name", "count": 10}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--calls", type=int, default=2000, help="calls of each way in a round")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--tls", action="store_true", help="over TLS, and beside a connection for each call")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder)) if args.tls else None
        with serving(certificate) as url, database():
            show(measured(ways(url, certificate and bundle_with(certificate)), args.calls, args.rounds))


def bundle_with(certificate: Path) -> str:
    """The authorities of `requests`, which take their time to be read, and the server's own."""
    bundle = certificate.with_name("bundle.pem")
    bundle.write_bytes(Path(certs.where()).read_bytes() + certificate.read_bytes())
    return str(bundle)


def ways(url: str, bundle: str | None) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name -> how many calls it makes at once, and how. The first is what the others are compared with."""
    from django.conf import settings
    from django.contrib.auth import get_user_model

    from django_socialgrants.api import SocialAPI
    from django_socialgrants.flows.call import call
    from django_socialgrants.flows.kept_query import latest_token
    from django_socialgrants.models import ProviderCredentials, UserToken
    from django_socialgrants.oauth.values import Circuit, reveal
    from django_socialgrants.transport.exchange import exchange
    from tests.fakes import FakeOK

    FakeOK.api_endpoint = url
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK"]
    settings.SOCIALGRANTS_CA_BUNDLE = bundle

    user = get_user_model().objects.create_user("somebody")
    application = ProviderCredentials.objects.create(
        name="ok", provider="ok", client_id="512", client_secret="a" * 24, client_key="CGEXAMPLEKEYBABABA"
    )
    UserToken.objects.create(
        user=user,
        credentials=application,
        uid="1",
        access_token="t" * 60,
        refresh_token="r" * 60,
        expires_at=timezone.now() + timedelta(days=1),
    )
    tokens = UserToken.objects.with_time().filter(user=user, credentials__name="ok").order_by("-created_at")

    def bound(calls: int) -> None:
        api = SocialAPI(user, "ok")
        for _ in range(calls):
            api.call("users.getCurrentUser", **PARAMS)

    values = application.to_value(), tokens.get().to_value()
    request = FakeOK().api_request(*values, "users.getCurrentUser", PARAMS, Circuit.SERVER_SERVER)
    data = urlencode({name: reveal(value) for name, value in request.params.items()})
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "django-socialgrants",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    posted = {"data": data, "headers": headers, "verify": bundle or True}
    session = requests.Session()
    chosen: dict[str, tuple[int, Callable[[], object]]] = {
        "session.post": (1, lambda: session.post(url, **posted).json()),
        "transport.exchange": (1, lambda: exchange(request, lambda response: response.json())),
        "flows.call, values in hand": (
            1,
            lambda: call(application, values[1], "users.getCurrentUser", PARAMS),
        ),
        "SocialAPI, one call": (1, lambda: bound(1)),
        "SocialAPI, ten calls": (10, lambda: bound(10)),
        "the query of Django alone": (1, tokens.all().first),
        "the query kept alone": (1, lambda: latest_token(user.pk, "ok")),
    }
    if bundle:
        chosen["requests.post, no pool"] = (1, lambda: requests.post(url, **posted).json())
    return chosen


def measured(
    chosen: dict[str, tuple[int, Callable[[], object]]], calls: int, rounds: int
) -> dict[str, float]:
    """Microseconds of CPU for one call of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(rounds + 1):
        for name, (at_once, way) in chosen.items():
            began = time.process_time()
            for _ in range(calls // at_once):
                way()
            seconds[name].append((time.process_time() - began) / (calls // at_once * at_once))
    return {name: statistics.median(found[1:]) * 1e6 for name, found in seconds.items()}  # the first warms up


def show(costs: dict[str, float]) -> None:
    baseline = next(iter(costs.values()))
    for name, cost in costs.items():
        print(f"{name:<30}{cost:>8.0f} us{cost / baseline:>8.2f}")


@contextmanager
def database() -> Iterator[None]:
    """An empty database, removed afterwards."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
