"""What a run finds: many tokens that came due in the same instant, and few that are due among a million."""

import re
import sys
from collections.abc import Iterable, Iterator

from tests.benchmarks.database import database
from tests.benchmarks.options import Options
from tests.benchmarks.rounds import Row, alternating, ratios
from tests.benchmarks.runs import rate
from tests.benchmarks.store import fill, make_due_again, surround
from tests.processes.quick_network import quick_network

_SOME = 5000
"""So many tokens at the head of a backlog are refreshed in a round."""


def rows(options: Options) -> Iterator[Row]:
    with database(), quick_network() as url:
        for many in (options.many // 4, options.many):
            yield _in_one_instant(url, many, options)
        yield _among_others(url, options)


def _in_one_instant(url: str, many: int, options: Options) -> Row:
    def run(apart: float) -> float:
        make_due_again(apart=apart)
        return rate(url, expected, workers=16, limit=expected)

    expected = min(_SOME, many)
    fill(many)
    ties, apart = alternating([lambda: run(0), lambda: run(0.001)], options.rounds)
    work = f"the first {expected} of {many} due in one instant"
    return Row(
        work, "1 ms apart", ratios(ties, apart), 0.95, at_least=True, note=f"{max(ties):.0f}/s at best"
    )


def _among_others(url: str, options: Options) -> Row:
    """The two tables can't be there at once, so these rounds do not alternate."""
    due, seconds = options.tokens, {}
    application = fill(due)
    for size in (10_000, options.rows):
        surround(application, size - due)
        rates = alternating([lambda: (make_due_again(), rate(url, due, workers=16))[1]], options.rounds)
        seconds[size] = [due / each for each in rates[0]]
    _explain()
    small, big = seconds.values()
    return Row(f"{due} due of {options.rows}", f"{due} of 10000", ratios(big, small), 1.5)


def _explain() -> None:
    """Show how the database finds what is due."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from django_socialgrants.flows.refresh_due import Bounds, refresh_due

    make_due_again()
    with CaptureQueriesContext(connection) as context:
        refresh_due(bounds=Bounds(1, max_time=0))
    how = {"sqlite": "EXPLAIN QUERY PLAN"}.get(connection.vendor, "EXPLAIN")
    for sql in _distinct(query["sql"] for query in context):
        print(f"\n{sql[:300]} ... {sql[-250:]}", file=sys.stderr)
        with connection.cursor() as cursor:
            cursor.execute(f"{how} {sql}")
            for row in cursor.fetchall():
                print("    " + "  ".join(map(str, row)), file=sys.stderr)


def _distinct(statements: Iterable[str]) -> list[str]:
    """One statement of each kind that reads or claims tokens."""
    kinds: dict[str, str] = {}
    for sql in statements:
        if "usertoken" in sql and re.match("SELECT|UPDATE", sql) and "%s" not in sql:
            kinds.setdefault(re.sub(r"\d+|'[^']*'|, ", "", sql), sql)
    return list(kinds.values())
