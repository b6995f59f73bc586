"""Statements that are committed at once, whatever transaction the caller is in.

A refreshed token must not be undone by a view that fails after the refresh: the network has forgotten the old
one. So where the caller is in a transaction (`ATOMIC_REQUESTS`, `atomic()`), a second connection is opened for
the few statements around a refresh, and closed before the network is talked to. That costs two connections per
refresh inside a transaction, and nothing anywhere else. (SQLite has one writer at a time, and a transaction that
has read before can't write after another has: there, refresh before the transaction begins.)

Inside Django's `TestCase`, whose transaction hides its rows from every other connection and is always rolled
back, the caller's connection is used.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from django_socialgrants.exceptions import UnsafeTransaction
from django_socialgrants.models import UserToken

logger = logging.getLogger("django_socialgrants")

PERSIST_FOR = 30  # seconds
_LOCK_TIMEOUT = 3  # seconds: the caller's own transaction may hold the lock that is waited for, and never end

T = TypeVar("T")


@contextmanager
def autocommit() -> Iterator[bool]:
    """Queries of tokens inside of this block are committed one by one; True if they have their own connection.

    Raises UnsafeTransaction where that is impossible: on SQLite without write-ahead log.
    """
    alias = router.db_for_write(UserToken)
    callers = connections[alias]
    if not _in_transaction(callers):
        yield False
        return
    if callers.vendor == "sqlite" and not _has_write_ahead_log(callers):
        raise UnsafeTransaction(
            "a token has to be refreshed inside a transaction, which SQLite can't do safely without write-ahead "
            "log: PRAGMA journal_mode=wal, or call outside of atomic()"
        )
    own = connections.create_connection(alias)
    connections[alias] = own
    try:
        with _short_waits(own):
            yield True
    finally:
        connections[alias] = callers
        own.close()


def persistently(write: Callable[[], T], *, ends: float | None = None) -> T:
    """What `write` returns, with its statements committed; tried again when the database fails.

    Until `ends` on the monotonic clock, by default for 30 s; once in any case.

    Raises the database's error after that, or at once inside a `TestCase`, whose transaction is broken by it.
    """
    ends = time.monotonic() + PERSIST_FOR if ends is None else ends
    pause = 0.1
    while True:
        try:
            with autocommit():
                return write()
        except (OperationalError, InterfaceError) as error:
            connection = connections[router.db_for_write(UserToken)]
            in_test_case = connection.in_atomic_block and not _in_transaction(connection)
            if in_test_case or time.monotonic() + pause > ends:
                raise
            logger.warning("the database failed (%s); trying again", type(error).__name__)
            if not connection.in_atomic_block:
                connection.close()
        time.sleep(pause)
        pause = min(2 * pause, 2)


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    in_test_case = any(
        block._from_testcase  # type: ignore[attr-defined]  # as Django asks itself for durable blocks
        for block in connection.atomic_blocks
    )
    return not in_test_case and (connection.in_atomic_block or not connection.get_autocommit())


def _has_write_ahead_log(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        return bool(cursor.fetchone() == ("wal",))


_SHORT_WAITS = {
    "postgresql": (f"SET lock_timeout = '{_LOCK_TIMEOUT}s'", "RESET lock_timeout"),
    "mysql": (
        f"SET innodb_lock_wait_timeout = {_LOCK_TIMEOUT}",
        "SET innodb_lock_wait_timeout = DEFAULT",
    ),
    "sqlite": (f"PRAGMA busy_timeout = {_LOCK_TIMEOUT * 1000}", ""),
}
"""By vendor; what was set is set back, as a pool may give the connection to somebody else."""


@contextmanager
def _short_waits(connection: BaseDatabaseWrapper) -> Iterator[None]:
    shorten, restore = _SHORT_WAITS.get(connection.vendor, ("", ""))
    if shorten:
        with connection.cursor() as cursor:
            cursor.execute(shorten)
    try:
        yield
    finally:
        if restore and connection.connection is not None and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute(restore)
