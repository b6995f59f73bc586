"""How the databases find what is due among many rows: by the index and in its order."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_socialgrants.models import ProviderCredentials, UserToken
from tests.due import NOW, TokenEndpoint, counts, run, store_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]  # ANALYZE TABLE ends a transaction

ROWS = 4000
INDEX = "socialgrants_due"


@pytest.fixture
def queries(network, ok_app):
    """The queries of a run over 100 due tokens, among many that are not, and many of others."""
    network.on("/ok/token", TokenEndpoint())
    others = [
        ProviderCredentials.objects.create(name=f"more-{number}", provider="ok", client_id=f"5{number}")
        for number in range(3)
    ]
    user = User.objects.create(username="boris")
    UserToken.objects.bulk_create(
        UserToken(
            user=user,
            credentials=application,
            uid=f"{number}",
            expires_at=NOW() + timedelta(days=1),
            next_refresh_at=NOW() + timedelta(seconds=60 + number - (application != ok_app) * 160),
        )
        for application in (ok_app, *others)
        for number in range(ROWS // 4)
    )
    store_due(ok_app, 100, prefix="9")
    with connection.cursor() as cursor:
        table = UserToken._meta.db_table
        cursor.execute({"mysql": f"ANALYZE TABLE {table}"}.get(connection.vendor, f"ANALYZE {table}"))
        if connection.vendor == "mysql":
            cursor.fetchall()
    with CaptureQueriesContext(connection) as captured:
        assert counts(run("ok", workers=4)) == (100, 100, 0, 0, 0)
    return [query["sql"] for query in captured]


def explain(sql):
    """The plan: text of SQLite, JSON of the others."""
    prefix = {
        "sqlite": "EXPLAIN QUERY PLAN",
        "postgresql": "EXPLAIN (FORMAT JSON)",
        "mysql": "EXPLAIN FORMAT=JSON",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        rows = cursor.fetchall()
    if connection.vendor == "sqlite":
        return [row[-1] for row in rows]
    return rows[0][0] if isinstance(rows[0][0], (list, dict)) else json.loads(rows[0][0])


def parts(plan, name):
    """All values of that name in a plan."""
    if isinstance(plan, dict):
        for key, value in plan.items():
            if key == name:
                yield value
            yield from parts(value, name)
    elif isinstance(plan, list):
        for value in plan:
            yield from parts(value, name)


def test_due_tokens_are_counted_and_claimed_by_a_range_of_the_index_and_never_sorted(queries):
    [counting] = [sql for sql in queries if "COUNT(" in sql]
    check_counting(explain(counting))
    claiming = [sql for sql in queries if re.match(r"SELECT .*next_refresh_at.* LIMIT \d+$", sql, re.DOTALL)]
    assert len(claiming) > 5
    check = {"sqlite": check_sqlite, "postgresql": check_postgresql, "mysql": check_mysql}
    for sql in (claiming[0], claiming[1], claiming[-1]):
        check[connection.vendor](explain(sql))


def check_sqlite(plan):
    assert len(plan) == 1, plan  # nothing like USE TEMP B-TREE FOR ORDER BY
    assert INDEX in plan[0]
    assert re.search(r"\(credentials_id=\? AND next_refresh_at[<>]", plan[0]), plan


def check_postgresql(plan):
    """Rows of one moment may still be put in order of their primary keys."""
    assert set(parts(plan, "Node Type")) <= {"Limit", "Index Scan", "Incremental Sort"}, plan
    assert list(parts(plan, "Index Name")) == [INDEX]
    [condition] = parts(plan, "Index Cond")
    assert "credentials_id" in condition
    assert "next_refresh_at" in condition


def check_mysql(plan):
    assert list(parts(plan, "access_type")) == ["range"], plan
    assert list(parts(plan, "key")) == [INDEX]
    [used] = parts(plan, "used_key_parts")
    assert used[:2] == ["credentials_id", "next_refresh_at"]
    assert not list(parts(plan, "filesort")), plan


def check_counting(plan):
    if connection.vendor == "sqlite":
        [line] = plan
        assert INDEX in line
        assert re.search(r"\(credentials_id=\? AND next_refresh_at[<>]", line)
    elif connection.vendor == "mysql":
        assert list(parts(plan, "access_type")) == ["range"]
        assert list(parts(plan, "key")) == [INDEX]
    else:
        assert INDEX in list(parts(plan, "Index Name"))
        assert "Seq Scan" not in set(parts(plan, "Node Type"))


@pytest.mark.only_on("postgresql")
def test_tokens_of_one_instant_are_found_behind_each_other_in_the_index(network, ok_app):
    """As after an import: a page begins in the index where the last one ended, and reads none of those before."""
    network.on("/ok/token", TokenEndpoint())
    store_due(ok_app, 500, next_refresh_at=NOW() - timedelta(seconds=60))
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {UserToken._meta.db_table}")
    with CaptureQueriesContext(connection) as captured:
        assert counts(run(workers=16)) == (500, 500, 0, 0, 0)
    [*_, sql] = [
        query["sql"] for query in captured if re.search(r" > .* LIMIT \d+$", query["sql"], re.DOTALL)
    ]
    plan = explain(sql)
    [condition] = parts(plan, "Index Cond")
    assert "ROW(" in condition
    assert "Sort" not in " ".join(parts(plan, "Node Type"))
