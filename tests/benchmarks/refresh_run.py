"""What `refresh_tokens` does to a big table, how fast it is beside bare HTTP, and how much memory it takes.

    python -m tests.benchmarks.refresh_run [scale] [latency] [session] [processes] [memory]

The network and the processes that are compared have processes of their own. DATABASE_URL chooses the database; its
test database is made for this and removed afterwards. Rounds are interleaved, and medians count.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import requests

from tests.processes.quick_network import quick_network

WORKERS = 16


def main() -> None:
    parts = {
        "scale": scale,
        "latency": latency,
        "session": session,
        "processes": processes,
        "memory": memory,
    }
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("parts", nargs="*", help="all")
    options.add_argument("--rows", type=int, default=1_000_000, help="of the big table")
    options.add_argument("--due", type=int, default=1000, help="of the big table's rows")
    options.add_argument("--tokens", type=int, default=3000, help="refreshed in a round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--many", type=int, default=200_000, help="tokens in the bigger run of `memory`")
    args = options.parse_args()
    for name in args.parts or parts:
        with database():
            print(f"--- {name}", flush=True)
            parts[name](args)


# --- what is measured -------------------------------------------------------------------------------------


def scale(args: argparse.Namespace) -> None:
    """A table of which little is due."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    application = fill(args.due)
    began = time.perf_counter()
    multiply(application, args.rows - args.due)
    print(f"{args.rows} rows in {time.perf_counter() - began:.0f} s, {args.due} due")
    with quick_network() as url:
        with CaptureQueriesContext(connection) as context:
            began = time.perf_counter()
            report = refresh(url)
        seconds = time.perf_counter() - began
        print(
            f"{args.due} due: {report.to_json()['refreshed']} refreshed in {seconds:.2f} s, {len(context)} queries"
        )
        for sql in distinct(query["sql"] for query in context):
            explain(sql)
        with CaptureQueriesContext(connection) as context:
            report = refresh(url)
        print(f"nothing due ({report.due}): {report.seconds * 1000:.1f} ms, {len(context)} queries")
        for query in context:
            print(f"    {query['time']} s  {query['sql'][:100]}")
        began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run(url)
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu
        print(f"nothing due, the whole command: {time.perf_counter() - began:.2f} s, {cpu:.2f} s of CPU")


def latency(args: argparse.Namespace) -> None:
    """Tokens a second beside the ideal, which is workers / latency."""
    fill(args.tokens)
    for milliseconds in (0, 20, 100):
        with quick_network(milliseconds / 1000) as url:
            rates = []
            for _ in range(max(3, args.rounds) if milliseconds < 100 else 3):
                make_due_again()
                report = run(url)
                rates.append(report["refreshed"] / report["seconds"])
        rate, ideal = statistics.median(rates), WORKERS * 1000 / milliseconds if milliseconds else None
        beside = f"{rate / ideal:.2f} of {ideal:.0f}" if ideal else ""
        print(f"{milliseconds:>4} ms {rate:>8.0f} tokens/s  {beside}", flush=True)


def session(args: argparse.Namespace) -> None:
    """The same number of threads that do only the POST, with an ordinary pooled session."""
    fill(args.tokens)
    with quick_network() as url:
        ways = {
            "requests.Session": lambda: posts(url, args.tokens, trust_env=True),
            "requests.Session without environment": lambda: posts(url, args.tokens, trust_env=False),
            "refresh_due": lambda: refreshes(url, args.tokens),
        }
        show_rates(ways, args.tokens, args.rounds)


def processes(args: argparse.Namespace) -> None:
    """One process beside two."""
    fill(args.tokens)
    for milliseconds in (20, 100):
        with quick_network(milliseconds / 1000) as url:
            rates: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(args.rounds if milliseconds < 100 else 3):
                for count, found in rates.items():
                    make_due_again()
                    reports = [finish(each) for each in [start(url) for _ in range(count)]]
                    found.append(sum(report["refreshed"] / report["seconds"] for report in reports))
        one, two = (statistics.median(found) for found in rates.values())
        print(f"{milliseconds:>4} ms: one {one:.0f}, two {two:.0f} tokens/s, {two / one:.2f}", flush=True)


def memory(args: argparse.Namespace) -> None:
    """The highest resident memory of a run over few tokens and of one over many."""
    peaks = []
    with quick_network() as url, tempfile.TemporaryDirectory() as folder:
        for count in (1000, args.many):
            fill(count)
            path = Path(folder) / "peak"
            report = run(url, STORM_PEAK=str(path))
            peaks.append(int(path.read_text()) / 1024)
            rate = report["refreshed"] / report["seconds"]
            print(f"{report['refreshed']:>8} tokens: {peaks[-1]:.1f} MiB, {rate:.0f} tokens/s", flush=True)
    print(f"growth {peaks[1] - peaks[0]:.1f} MiB")


# --- rows -------------------------------------------------------------------------------------------------


def fill(count: int) -> Any:
    """The one application, which has nothing but `count` due tokens."""
    from django.contrib.auth.models import User

    from django_socialgrants.models import ProviderCredentials
    from tests.processes.conftest import make_due

    User.objects.all().delete()
    ProviderCredentials.objects.all().delete()
    application = ProviderCredentials.objects.create(
        name="mailru", provider="mailru", client_id="1", client_secret="s" * 32, client_key="k" * 32
    )
    make_due(application, count)
    return application


def multiply(application: Any, count: int) -> None:
    """Add `count` tokens that are not due."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.db.models import F, Value
    from django.db.models.functions import Concat
    from django.utils import timezone

    from django_socialgrants.models import UserToken

    owner, now = User.objects.get(), timezone.now()
    base = 1000
    UserToken.objects.bulk_create(
        UserToken(
            user=owner,
            credentials=application,
            uid=f"9{number:06}",
            access_token="a" * 32,
            refresh_token="r" * 32,
            expires_at=now + timedelta(seconds=1000 + 80 * number),
        )
        for number in range(base)
    )
    table = connection.ops.quote_name(UserToken._meta.db_table)
    names = [field.attname for field in UserToken._meta.concrete_fields if field.attname not in ("id", "uid")]
    columns = ", ".join(connection.ops.quote_name(name) for name in (*names, "uid"))
    have = base
    while have < count:
        copied = UserToken.objects.filter(next_refresh_at__gt=now)
        copied = copied.annotate(copy=Concat(Value(f"{have}-"), F("uid")))
        several = copied.order_by("-pk").values_list(*names, "copy")[: min(have, count - have)]
        select, params = several.query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({columns}) {select}", params)
        have *= 2
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")


def make_due_again() -> None:
    from django.utils import timezone

    from django_socialgrants.models import UserToken

    now = timezone.now()
    UserToken.objects.update(
        next_refresh_at=now - timedelta(seconds=20),
        expires_at=now + timedelta(seconds=100),
        refreshed_at=None,
    )


# --- ways to refresh, and to do less ----------------------------------------------------------------------


def start(url: str, **environment: str) -> subprocess.Popen[str]:
    from django.db import connection

    named = {
        "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
        "STORM_DATABASE": str(connection.settings_dict["NAME"]),
        "STORM_NETWORK": url,
        **environment,
    }
    command = [sys.executable, "-m", "django", "refresh_tokens", "--json", "--workers", str(WORKERS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **named})


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"refresh_tokens ended with {process.returncode}: {output}")
    report: dict[str, Any] = json.loads(output)
    return report


def run(url: str, **environment: str) -> dict[str, Any]:
    return finish(start(url, **environment))


def refresh(url: str) -> Any:
    from django_socialgrants.flows.refresh_due import Bounds, refresh_due
    from tests.fakes import FakeMailRu

    FakeMailRu.token_endpoints = {"refresh_token": f"{url}/token"}
    return refresh_due(bounds=Bounds(workers=WORKERS))


def refreshes(url: str, count: int) -> float:
    """Seconds for all tokens."""
    began = time.perf_counter()
    if refresh(url).to_json()["refreshed"] != count:
        raise SystemExit("not all were refreshed")
    return time.perf_counter() - began


def posts(url: str, count: int, *, trust_env: bool) -> float:
    """Seconds for as many POSTs of what a refresh sends, whose answers are read."""
    data = {
        "grant_type": "refresh_token",
        "refresh_token": "r" * 32,
        "client_id": "1",
        "client_secret": "s" * 32,
    }
    with requests.Session() as pooled:
        pooled.trust_env = trust_env
        pooled.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=WORKERS))

        def post(number: int) -> None:
            pooled.post(f"{url}/token", data=data, timeout=15).json()

        with ThreadPoolExecutor(WORKERS) as pool:
            began = time.perf_counter()
            for _ in pool.map(post, range(count)):
                pass
            return time.perf_counter() - began


def show_rates(ways: dict[str, Callable[[], float]], count: int, rounds: int) -> None:
    """By the clock, and by the CPU time of this process, which other programs disturb less."""
    clock: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            make_due_again()
            began = time.process_time()
            took = way()
            if number:  # the first warms up
                clock[name].append(took)
                cpu[name].append(time.process_time() - began)
    baseline = {id(found): statistics.median(next(iter(found.values()))) for found in (clock, cpu)}
    for name in ways:
        columns = []
        for found, unit in ((clock, "a second"), (cpu, "a CPU second")):
            median = statistics.median(found[name])
            columns.append(f"{count / median:>8.0f} {unit}{baseline[id(found)] / median:>6.2f}")
        print(f"{name:<38}{''.join(columns)}")


# --- the database -----------------------------------------------------------------------------------------


def distinct(statements: Iterator[str]) -> list[str]:
    """One statement of each kind that reads or claims tokens."""
    kinds: dict[str, str] = {}
    for sql in statements:
        if "usertoken" in sql and re.match("SELECT|UPDATE", sql) and "%s" not in sql:
            kinds.setdefault(re.sub(r"\d+|'[^']*'|, ", "", sql), sql)
    return list(kinds.values())


def explain(sql: str) -> None:
    from django.db import connection

    how = {"sqlite": "EXPLAIN QUERY PLAN"}.get(connection.vendor, "EXPLAIN")
    print(f"  {sql if len(sql) < 600 else sql[:300] + ' ... ' + sql[-250:]}")
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}")
        for row in cursor.fetchall():
            print("      " + "  ".join(map(str, row)))


@contextmanager
def database() -> Iterator[None]:
    """An empty database, removed afterwards."""
    from django.conf import settings
    from django.db import connection

    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
