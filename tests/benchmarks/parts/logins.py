"""Logging in: a start and its callback, with users, sessions and tokens written."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.certificates import bundle_with, self_signed
from tests.benchmarks.options import Options
from tests.benchmarks.rounds import Row, contestants, interleaved, ratios
from tests.processes.quick_network import quick_network

_OURS = "django_socialgrants"
_ALL = {_OURS: "ours", "django-allauth": "allauth", "social-auth": "social", "by hand": "by_hand"}
_BOTH = "better of allauth, social-auth"


def rows(options: Options) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _over_tls(options, Path(folder))
    yield from _plain(options)


def _over_tls(options: Options, folder: Path) -> Iterator[Row]:
    certificate = self_signed(folder)
    with quick_network(certificate=certificate) as url:
        environment = {"BENCHMARK_NETWORK": url, "REQUESTS_CA_BUNDLE": str(bundle_with(certificate))}
        with contestants(_ALL, environment) as those:
            took = interleaved(those, "login", options.logins, options.rounds, repeat=False)
            yield _beside_packages("code login, TLS, CPU", took, 0.14)
            del those["by hand"]
            calls = interleaved(those, "call", options.calls // 5, options.rounds)
            yield _beside_packages("signed call of a user, TLS, CPU", calls, 0.04)


def _plain(options: Options) -> Iterator[Row]:
    with quick_network() as url, contestants(_ALL, {"BENCHMARK_NETWORK": url}) as those:
        for repeat, what in ((False, "first"), (True, "repeated")):
            took = interleaved(those, "login", options.logins, options.rounds, repeat=repeat)
            yield _beside_packages(f"code login, plain HTTP, {what}, CPU", took, 0.6)
            by_hand = ratios(took[_OURS], took["by hand"])
            yield Row(f"code login, plain HTTP, {what}, CPU", "a minimum by hand", by_hand, 1.3)
        wall = interleaved(those, "login", options.logins, options.rounds, kind="wall", repeat=True)
        print(f"\n{min(map(min, wall.values())) * 1000:.1f} ms for the quickest login", file=sys.stderr)


def _beside_packages(work: str, took: dict[str, list[float]], limit: float) -> Row:
    ours = took[_OURS]
    milliseconds = sorted(ours)[len(ours) // 2] * 1000
    better = ratios(ours, took["django-allauth"], took["social-auth"])
    return Row(work, _BOTH, better, limit, note=f"{milliseconds:.2f} ms")
