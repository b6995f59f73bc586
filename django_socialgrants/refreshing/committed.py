"""Statements that are committed whatever becomes of the caller's transaction.

A refreshed token must not be undone by a view that fails after the refresh: the network has forgotten the old one.
So where the caller is in a transaction (`ATOMIC_REQUESTS`, `atomic()`, `AUTOCOMMIT: False`) the few statements
around a refresh are sent over a second connection. What `committed()` promises of it:

* It is opened for one block and closed behind it. It never comes out of a pool, and nothing that is set on it
  outlives the block, not even behind PgBouncer.
* The block is one transaction, READ COMMITTED, whatever the server's default is.
* It sees the rows that the caller sees: the same `search_path` on PostgreSQL, the same database on MySQL.
* It waits for a lock for LOCK_WAIT seconds only, as the lock may be the caller's own.
* The caller's connection is left alone; its transaction is neither committed nor rolled back.

What can't be promised is refused with UnsafeTransaction. SQLite has one writer at a time, and a transaction that
has read before can't write after another has: without write-ahead log nothing can be promised there.

Inside Django's `TestCase`, whose transaction hides its rows from every other connection and is always rolled
back, the caller's connection is used.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import UnsafeTransaction
from django_socialgrants.models import UserToken

LOCK_WAIT = 3
"""Seconds for which a second connection waits for a lock."""
PERSIST_FOR = 30
"""Seconds for which a write is repeated."""

T = TypeVar("T")


_nesting = threading.local()


@contextmanager
def committed() -> Iterator[None]:
    """What is written to tokens in this block is committed at its end, whatever transaction the caller is in.

    A block inside of another is part of it. Raises UnsafeTransaction on SQLite without write-ahead log.
    """
    alias = router.db_for_write(UserToken)
    callers = connections[alias]
    if _is_nested() or not in_transaction(callers):
        yield
        return
    if callers.vendor == "sqlite" and not _has_write_ahead_log(callers):
        raise UnsafeTransaction(
            "a token has to be refreshed inside a transaction, which SQLite can't do safely without write-ahead "
            "log: PRAGMA journal_mode=wal, or call outside of atomic()"
        )
    place = _place(callers)
    connections[alias] = own = _second(callers)
    try:
        _prepare(own, place)
        with _nested(), transaction.atomic(using=alias):
            _begin(own, place)
            yield
    finally:
        connections[alias] = callers
        own.close()


def persistently(work: Callable[[], T], *, ends: float | None = None, patient: bool = True) -> T:
    """What `work` returns, committed; repeated until `ends` (as `time.monotonic()`) while the database fails.

    By default that is for PERSIST_FOR seconds. `work` may be carried out twice: a confirmation can get lost. Work
    inside of other work is part of it. Raises the database's last error; or at once what repeating can't mend, and
    any error inside a `TestCase`, whose transaction is broken by it.

    What can be given up, as nothing depends on it yet, is not `patient`: by default it is repeated for LOCK_WAIT
    seconds, and a second connection that fails, or finds a lock in its way, is an UnsafeTransaction.
    """
    if _is_nested():
        return work()
    if ends is None:
        ends = time.monotonic() + (PERSIST_FOR if patient else LOCK_WAIT)
    pause = 0.1
    while True:
        callers = connections[router.db_for_write(UserToken)]
        try:
            with committed(), _nested():
                return work()
        except (DatabaseError, InterfaceError) as error:
            if not _may_pass(error) or _in_test_case(callers):
                raise
            is_separate = in_transaction(callers)
            is_over = time.monotonic() + pause > ends
            if is_separate and not patient and (_is_lock(error) or is_over):
                raise _unsafe(error) from error
            if is_over:
                raise
            problem = type(error).__name__
            log(Event.DATABASE, "the database failed (%s); trying again", problem, reason=problem)
            if not is_separate:
                callers.close()
        time.sleep(pause)
        pause = min(2 * pause, 2)


def _is_nested() -> bool:
    return getattr(_nesting, "depth", 0) > 0


@contextmanager
def _nested() -> Iterator[None]:
    _nesting.depth = getattr(_nesting, "depth", 0) + 1
    try:
        yield
    finally:
        _nesting.depth -= 1


def _unsafe(error: Exception) -> UnsafeTransaction:
    if _is_lock(error):
        return UnsafeTransaction(
            "a token can't be refreshed: the transaction around the call has locked its row, or the database"
        )
    return UnsafeTransaction(
        "a token has to be refreshed inside a transaction, and a second connection to the database failed "
        f"({type(error).__name__})"
    )


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether what is written by `connection` waits for its owner to commit. Asks nothing of the database."""
    if _in_test_case(connection):
        return False
    is_open = connection.connection is not None
    autocommit = connection.autocommit if is_open else connection.settings_dict["AUTOCOMMIT"]
    return connection.in_atomic_block or not autocommit


def _in_test_case(connection: BaseDatabaseWrapper) -> bool:
    return any(
        block._from_testcase  # type: ignore[attr-defined]  # as Django asks itself for durable blocks
        for block in connection.atomic_blocks
    )


def _may_pass(error: Exception) -> bool:
    """Whether an error may be gone the next time: PostgreSQL reports even a failover as InternalError."""
    return not isinstance(error, IntegrityError | DataError | ProgrammingError)


def _is_lock(error: Exception) -> bool:
    """Whether somebody's lock was waited for too long, or for ever."""
    cause = error.__cause__
    return (
        getattr(cause, "sqlstate", getattr(cause, "pgcode", None)) in ("55P03", "40P01")  # PostgreSQL
        or (error.args and error.args[0] in (1205, 1213))  # MySQL and MariaDB
        or getattr(cause, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    )


def _has_write_ahead_log(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        return bool(cursor.fetchone() == ("wal",))


def _second(callers: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """A connection like the caller's, not yet open."""
    own = callers.copy()
    own.settings_dict["AUTOCOMMIT"] = True  # as Django's atomic() expects
    options = own.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.pop("isolation_level", None)
    if own.vendor == "sqlite":
        options["transaction_mode"] = "IMMEDIATE"  # else a transaction that has read first may not write
    return own


_PLACES = {"postgresql": "SELECT current_setting('search_path')", "mysql": "SELECT DATABASE()"}
"""By vendor: how to ask where a connection finds its tables."""
_known_places: WeakKeyDictionary[BaseDatabaseWrapper, str] = WeakKeyDictionary()


def _place(callers: BaseDatabaseWrapper) -> str:
    """Where the caller's connection finds its tables; by the last answer if it has broken since then."""
    if callers.vendor in _PLACES:
        with suppress(DatabaseError, InterfaceError), callers.cursor() as cursor:
            cursor.execute(_PLACES[callers.vendor])
            (_known_places[callers],) = cursor.fetchone()
    return _known_places.get(callers, "")


def _prepare(own: BaseDatabaseWrapper, place: str) -> None:
    """What has to be set before a transaction begins, on a connection that only we use."""
    statements = {
        "sqlite": [f"PRAGMA busy_timeout = {round(LOCK_WAIT * 1000)}"],
        "mysql": [
            f"SET innodb_lock_wait_timeout = {round(LOCK_WAIT)}",
            *([f"USE {own.ops.quote_name(place)}"] if place else []),
        ],
    }
    with own.cursor() as cursor:
        for statement in statements.get(own.vendor, ()):
            cursor.execute(statement)


def _begin(own: BaseDatabaseWrapper, place: str) -> None:
    """What has to be set in a transaction, and ends with it: behind PgBouncer the session is somebody else's."""
    if own.vendor != "postgresql":
        return
    with own.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute(f"SET LOCAL lock_timeout = '{max(round(LOCK_WAIT * 1000), 1)}ms'")  # 0 is for ever

    def placed(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        with own.wrap_database_errors:
            context["cursor"].cursor.execute("SELECT set_config('search_path', %s, true)", [place])
        return execute(sql, params, many, context)

    if place:  # again for each statement, as django-tenants sets its own for each cursor
        own.execute_wrappers.append(placed)
