"""token_status and api.status(): how the store is, told by indexes alone."""

import json
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_socialgrants import api
from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.flows.refresh import mark_needs_login
from django_socialgrants.models import ApplicationHealth, UserToken
from tests.due import NOW, store_due

pytestmark = pytest.mark.django_db

NEVER = {"overdue": 0, "overdue_since": None, "oldest_refresh": None, "paused_until": None}


def facts(name="ok"):
    return api.status([name])["applications"][name]


def run(*options):
    """Exit code, stdout and stderr of the command."""
    out, err = StringIO(), StringIO()
    try:
        call_command("token_status", *options, stdout=out, stderr=err)
    except SystemExit as stop:
        return stop.code, out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_an_application_without_tokens_is_listed(ok_app):
    assert api.status()["applications"] == {
        "ok": {
            "network": "ok",
            "active": 0,
            "due": 0,
            "needs_login": 0,
            "reasons": {},
            "undecipherable": 0,
            "failures": 0,
            "problem": "",
            **NEVER,
        }
    }


def test_due_tokens_are_counted_with_the_time_since_the_first_one_waits(ok_app):
    first = store_due(ok_app, 3, age=600)[0]
    store_due(ok_app, 2, prefix="5", age=-600)
    found = facts()
    assert (found["active"], found["due"]) == (5, 3)
    assert 600 <= found["overdue"] < 660
    assert datetime.fromisoformat(found["overdue_since"]) == first.next_refresh_at


def test_tokens_that_need_a_login_are_counted_by_reason_and_are_not_due(ok_app):
    tokens = store_due(ok_app, 4)
    for token, reason in zip(tokens, ("invalid_grant", "invalid_grant", "expired"), strict=False):
        mark_needs_login(token, reason)
    found = facts()
    assert (found["active"], found["needs_login"], found["due"]) == (1, 3, 1)
    assert found["reasons"] == {"invalid_grant": 2, "expired": 1}


def test_undecipherable_tokens_are_active_ones(ok_app):
    store_due(ok_app, 2, reason=UserToken.Reason.UNDECIPHERABLE)
    store_due(ok_app, 1, prefix="5", reason=UserToken.Reason.OUTCOME_UNKNOWN)
    assert (facts()["active"], facts()["undecipherable"]) == (3, 2)


def test_the_oldest_refresh_is_that_of_an_active_token(ok_app):
    moments = [NOW() - timedelta(hours=hours) for hours in (1, 3, 9)]
    for number, moment in enumerate(moments):
        store_due(ok_app, prefix=str(number), refreshed_at=moment)
    store_due(ok_app, prefix="7", refreshed_at=moments[1], reason=UserToken.Reason.OUTCOME_UNKNOWN)
    UserToken.objects.filter(refreshed_at=moments[2]).update(state="needs_login", next_refresh_at=None)
    assert datetime.fromisoformat(facts()["oldest_refresh"]) == moments[1]


def test_a_pause_is_told_with_its_reason_until_it_is_over(ok_app):
    until = NOW() + timedelta(minutes=5)
    health = ApplicationHealth.objects.create(
        credentials=ok_app, failures=10, reason="outage", paused_until=until
    )
    found = facts()
    assert (found["failures"], found["problem"]) == (10, "outage")
    assert datetime.fromisoformat(found["paused_until"]) == until
    health.paused_until = NOW() - timedelta(seconds=1)
    health.save()
    assert (facts()["paused_until"], facts()["problem"]) == (None, "outage")


def test_names_choose_and_each_application_is_told_apart(ok_app, mailru_app):
    store_due(ok_app, 2)
    store_due(mailru_app, 1)
    assert {name: each["due"] for name, each in api.status()["applications"].items()} == {
        "ok": 2,
        "mailru": 1,
    }
    assert list(api.status(["mailru"])["applications"]) == ["mailru"]
    with pytest.raises(UnknownCredentials, match="'nobody'"):
        api.status(["ok", "nobody"])
    with pytest.raises(TypeError, match=r"\['ok'\]"):
        api.status("ok")


def test_json_is_the_same_document(ok_app):
    store_due(ok_app, 2)
    code, out, err = run("--json")
    document = json.loads(out)
    again = api.status()
    assert (code, err) == (0, "")
    for found in (document, again):
        del found["time"], found["applications"]["ok"]["overdue"]
    assert document == again


def test_people_read_a_table(ok_app, mailru_app):
    store_due(ok_app, 12)
    mark_needs_login(store_due(ok_app, prefix="5")[0], "invalid_grant")
    ApplicationHealth.objects.create(credentials=mailru_app, reason="mass_revocation")
    lines = run()[1].splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [["ok", "12", "12", "1"], ["mailru", "-", "-", "-"]]
    assert lines[4:] == [
        "ok: needs login, invalid_grant: 1",
        "mailru: single tokens are tried: mass_revocation",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), ""),
        (("--fail-overdue", "700"), ""),
        (("--fail-overdue", "500"), "ok: due for 60"),
        (("--fail-overdue", "0"), "ok: due for 60"),
        (("--fail-needs-login", "25"), ""),
        (("--fail-needs-login", "24"), "ok: 25.0 % of the tokens need a login"),
    ],
)
def test_monitoring_fails_above_its_limits(ok_app, mailru_app, options, said):
    tokens = store_due(ok_app, 4, age=600)
    mark_needs_login(tokens[0], "invalid_grant")
    code, out, err = run(*options)
    assert (code, bool(err)) == (1 if said else 0, bool(said))
    assert said in err
    assert "ok" in out


@pytest.mark.parametrize("options", [["nobody"], ["--fail-overdue", "-1"], ["--fail-needs-login", "x"]])
def test_what_makes_no_sense_is_refused(ok_app, options):
    with pytest.raises(CommandError) as error:
        run(*options)
    assert "nobody" not in options or error.value.returncode == 2


@pytest.mark.django_db(transaction=True)  # statistics are gathered outside of transactions
def test_tokens_are_counted_by_indexes_alone(ok_app, mailru_app):
    user = User.objects.create(username="boris")
    UserToken.objects.bulk_create(
        UserToken(
            user=user,
            credentials=application,
            uid=str(number),
            access_token="a",
            refresh_token="r",
            state="needs_login" if number % 10 == 0 else "active",
            next_refresh_at=None if number % 10 == 0 else NOW() + timedelta(seconds=number - 100),
            expires_at=NOW() + timedelta(hours=1),
        )
        for application in (ok_app, mailru_app)
        for number in range(2000)
    )
    table = UserToken._meta.db_table
    gather = {"postgresql": f"VACUUM ANALYZE {table}", "mysql": f"ANALYZE TABLE {table}", "sqlite": "ANALYZE"}
    with connection.cursor() as cursor:
        cursor.execute(gather[connection.vendor])
        if connection.vendor == "mysql":
            cursor.fetchall()
    with CaptureQueriesContext(connection) as captured:
        api.status()
    assert len(captured) <= 5  # on SQLite the time costs none
    counting = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counting) == 2
    for sql, index in zip(counting, ("socialgrants_status", "socialgrants_due"), strict=True):
        plan = explained(sql)
        assert index in plan, plan
        assert {"sqlite": "COVERING INDEX", "postgresql": "Index Only Scan", "mysql": "Using index"}[
            connection.vendor
        ] in plan, plan


def explained(sql):
    prefix = {"sqlite": "EXPLAIN QUERY PLAN"}.get(connection.vendor, "EXPLAIN")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # which reads so few rows as fast without any
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        cursor.execute(f"{prefix} {sql}")
        plan = "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan; RESET enable_bitmapscan")
        return plan
