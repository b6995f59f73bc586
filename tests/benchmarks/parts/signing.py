"""Building and signing one call, beside the asynchronous clients of the two networks."""

from collections.abc import Iterator

from tests.benchmarks.options import Options
from tests.benchmarks.rounds import Row, contestants, interleaved, ratios


def rows(options: Options) -> Iterator[Row]:
    for network, package in (("ok", "aiookru"), ("mailru", "aiomailru")):
        with contestants({"django_socialgrants": "ours", package: package}, {}) as those:
            took = interleaved(those, "sign", 20 * options.calls, options.rounds, network=network)
        ours = took["django_socialgrants"]
        note = f"{min(ours) * 1e6:.1f} us"
        yield Row(
            f"building and signing a call, {network}, CPU",
            package,
            ratios(ours, took[package]),
            1.5,
            note=note,
        )
