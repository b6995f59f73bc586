"""How quick `refresh_tokens` is: beside the ideal, bare HTTP, itself over plain HTTP, and a second process."""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from tests.benchmarks.certificates import bundle_with, self_signed
from tests.benchmarks.database import database
from tests.benchmarks.options import Options
from tests.benchmarks.rounds import DidLess, Row, alternating, ratios
from tests.benchmarks.runs import finish, rate, start
from tests.benchmarks.store import fill, make_due_again
from tests.processes.quick_network import quick_network

_THREADS = 16


def rows(options: Options) -> Iterator[Row]:
    with database():
        fill(options.tokens)
        yield from _beside_the_ideal(options)
        yield _beside_bare_http(options)
        yield from _over_tls(options)
        yield _in_two_processes(options)
        yield _in_little_memory(options)


def _beside_the_ideal(options: Options) -> Iterator[Row]:
    for milliseconds in (20, 100):
        with quick_network(milliseconds / 1000) as url:
            (rates,) = alternating([lambda url=url: _rate(url, options.tokens, 32)], options.rounds)
        ideal = 32 / milliseconds * 1000
        shares = [each / ideal for each in rates]
        work = f"refresh of {options.tokens}, 32 workers, {milliseconds} ms"
        yield Row(work, "workers / latency", shares, 0.9, at_least=True, note=f"of {ideal:.0f}/s")


def _beside_bare_http(options: Options) -> Row:
    with quick_network() as url:
        ways = [lambda: _refreshes(url, options.tokens), lambda: _posts(url, options.tokens)]
        ours, bare = alternating(ways, options.rounds)
    against = f"{_THREADS} threads of a requests.Session"
    note = f"{max(ours):.0f}/s at best"
    return Row(
        f"refresh, 0 ms, {_THREADS} workers", against, ratios(ours, bare), 1.2, at_least=True, note=note
    )


def _over_tls(options: Options) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder))
        trusting = {"REQUESTS_CA_BUNDLE": str(bundle_with(certificate))}
        with quick_network(0.02) as plain, quick_network(0.02, certificate) as tls:
            ways = [
                lambda workers=workers, url=url: _rate(url, options.tokens, workers, **trusting)
                for workers in (64, 128)
                for url in (plain, tls)
            ]
            plain_64, tls_64, plain_128, tls_128 = alternating(ways, options.rounds)
    for workers, over_tls, over_plain in ((64, tls_64, plain_64), (128, tls_128, plain_128)):
        note = f"{max(over_tls):.0f}/s at best"
        work = f"refresh over TLS, {workers} workers, 20 ms"
        yield Row(
            work, "itself over plain HTTP", ratios(over_tls, over_plain), 0.85, at_least=True, note=note
        )
    many = ratios(plain_128, plain_64)
    yield Row("refresh, 128 workers, 20 ms", "itself with 64", many, 1, at_least=True)


def _in_two_processes(options: Options) -> Row:
    with quick_network(0.1) as url:
        ways = [
            lambda processes=processes: _rate(url, options.tokens, 32, processes=processes)
            for processes in (1, 2)
        ]
        one, two = alternating(ways, options.rounds)
    return Row("refresh, 32 workers, 100 ms, two processes", "one", ratios(two, one), 1.9, at_least=True)


def _in_little_memory(options: Options) -> Row:
    """The highest resident memory of a run over few tokens and of one over many; once, as it takes its time."""
    peaks = []
    with quick_network() as url, tempfile.TemporaryDirectory() as folder:
        for count in (1000, options.many):
            fill(count)
            path = Path(folder) / "peak"
            if finish(start(url, workers=16, STORM_PEAK=str(path)))["refreshed"] != count:
                raise DidLess(f"not all of {count} tokens were refreshed")
            peaks.append(int(path.read_text()) / 1024)
    growth = [peaks[1] - peaks[0]]
    return Row(
        f"MiB more for a run over {options.many}", "one over 1000", growth, 20, note=f"{peaks[1]:.0f} MiB"
    )


def _rate(url: str, tokens: int, workers: int, **options: Any) -> float:
    make_due_again()
    return rate(url, tokens, workers=workers, **options)


def _refreshes(url: str, count: int) -> float:
    """Tokens a second, in this process."""
    from django.conf import settings

    from django_socialgrants.flows.refresh_due import Bounds, refresh_due
    from tests.fakes import FakeMailRu

    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    FakeMailRu.token_endpoints = {"refresh_token": f"{url}/token"}
    make_due_again()
    began = time.perf_counter()
    if refresh_due(bounds=Bounds(_THREADS)).to_json()["refreshed"] != count:
        raise DidLess("not all were refreshed")
    return count / (time.perf_counter() - began)


def _posts(url: str, count: int) -> float:
    """POSTs a second of what a refresh sends, whose answers are read."""
    secrets = {"refresh_token": "r" * 32, "client_secret": "s" * 32}
    data = {"grant_type": "refresh_token", "client_id": "1", **secrets}
    with requests.Session() as pooled:
        pooled.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=_THREADS))

        def post(number: int) -> None:
            pooled.post(f"{url}/token", data=data, timeout=15).json()

        with ThreadPoolExecutor(_THREADS) as pool:
            began = time.perf_counter()
            for _ in pool.map(post, range(count)):
                pass
            return count / (time.perf_counter() - began)
