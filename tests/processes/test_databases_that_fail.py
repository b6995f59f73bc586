"""The database goes away between the network's answer and our commit: what was given is stored when it is back."""

import sqlite3
from contextlib import closing, contextmanager

import pytest
from django.db import connection

from django_socialgrants.models import UserToken

from .conftest import assert_kept, make_due, until
from .proxy import proxy_to

pytestmark = pytest.mark.django_db(transaction=True)

VENDORS_PORTS = {"postgresql": 5432, "mysql": 3306}
TOKENS, THREADS = 60, 10


def settles_all(ledger, worker):
    """Whether in the end nothing was lost, and nothing done twice."""
    report = worker.report()
    assert (report["due"], report["refreshed"], report["failed"]) == (TOKENS, TOKENS, 0)
    assert not ledger.presented_twice
    assert_kept(ledger)
    return True


def kill_other_connections(killed):
    """End what others do in this database; how many connections there were besides those in `killed`.

    Those are listed there, as they take their time to die.
    """
    statements = {
        "postgresql": (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'",  # others tidy up
            "SELECT pg_terminate_backend(%s)",
        ),
        "mysql": (
            "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
            "KILL %s",
        ),
    }
    look, kill = statements[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(look)
        others = {pid for (pid,) in cursor.fetchall()} - killed
        for other in others:
            cursor.execute(kill, [other])
    killed |= others
    return len(others)


def address():
    """Where the database listens."""
    database = connection.settings_dict
    return database["HOST"] or "127.0.0.1", int(database["PORT"] or VENDORS_PORTS[connection.vendor])


@contextmanager
def locked(path):
    """While the block runs nobody else can read or write a SQLite file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_connections_that_are_killed_between_answer_and_commit_lose_nothing(
    ledger, mailru_app, refresh_tokens
):
    make_due(mailru_app, TOKENS)
    ledger.hold()
    worker = refresh_tokens("--workers", THREADS, STORM_BUSY_TIMEOUT=0.3)
    killed = set()
    for number in range(1, 4):
        until(lambda number=number: sum(ledger.presented.values()) == number * THREADS, worker)
        if connection.vendor == "sqlite":  # has no connections to kill, but can keep everybody out
            with locked(connection.settings_dict["NAME"]):
                ledger.release(THREADS)
                until(lambda number=number: worker.complained("trying again", times=2 * number), worker)
        else:
            until(lambda: kill_other_connections(killed))
            ledger.release(THREADS)
            until(lambda number=number: worker.complained("trying again", times=number), worker)
    ledger.release()
    assert settles_all(ledger, worker)
    assert worker.complained("trying again", times=3)


def test_a_database_that_is_unreachable_for_a_while_loses_nothing(ledger, mailru_app, refresh_tokens):
    make_due(mailru_app, TOKENS)
    ledger.hold()
    if connection.vendor == "sqlite":
        worker = refresh_tokens("--workers", THREADS, STORM_BUSY_TIMEOUT=0.1)
        until(lambda: ledger.waiting == THREADS, worker)
        with locked(connection.settings_dict["NAME"]):
            ledger.release()
            until(lambda: worker.complained("trying again", times=5), worker)
        assert settles_all(ledger, worker)
        return
    with proxy_to(*address()) as proxy:
        worker = refresh_tokens("--workers", THREADS, STORM_DATABASE_PORT=proxy.port)
        until(lambda: ledger.waiting == THREADS, worker)
        proxy.cut()
        ledger.release()
        until(lambda: proxy.turned_away >= 4, worker)
        proxy.restore()
        assert settles_all(ledger, worker)


def test_a_commit_whose_confirmation_gets_lost_is_seen_to_have_happened(ledger, mailru_app, refresh_tokens):
    if connection.vendor == "sqlite":
        return  # there a commit is a function that returns, not a message
    make_due(mailru_app, TOKENS)
    ledger.hold()
    with proxy_to(*address()) as proxy:
        worker = refresh_tokens("--workers", THREADS, STORM_DATABASE_PORT=proxy.port)
        until(lambda: ledger.waiting == THREADS, worker)
        proxy.fatal = b"COMMIT"
        ledger.release()
        assert settles_all(ledger, worker)
        assert not proxy.fatal
    assert worker.complained("trying again")
    assert set(UserToken.objects.values_list("generation", flat=True)) == {1}


def test_a_claim_whose_confirmation_gets_lost_is_no_lost_claim(ledger, mailru_app, refresh_tokens):
    if connection.vendor == "sqlite":
        return
    make_due(mailru_app, TOKENS)
    with proxy_to(*address()) as proxy:
        proxy.fatal = b"outcome_unknown"  # as every claim says of leases that have ended
        worker = refresh_tokens("--workers", THREADS, STORM_DATABASE_PORT=proxy.port)
        assert settles_all(ledger, worker)
        assert not proxy.fatal
