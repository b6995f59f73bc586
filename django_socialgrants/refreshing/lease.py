"""The right to refresh one token: who holds its lease may present its refresh token, and nobody else.

A lease is taken by one conditional UPDATE, ends by itself on the database's clock, and is given back by its
owner alone. One that ended by itself belonged to a process that died or froze: nobody knows what became of its
request, and the token's `reason` says so from then on.
"""

import os
import platform
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, Self

from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Case, F, Q, Value, When

from django_socialgrants.conf import conf
from django_socialgrants.models import UserToken, UserTokenQuerySet
from django_socialgrants.storage.clock import DatabaseNow

OUTCOME_UNKNOWN = "outcome_unknown"
"""The reason of an active token whose refresh may have been carried out without our hearing of it."""


def stored() -> UserTokenQuerySet:
    """All tokens in the database that is written to: a replica may lag behind."""
    return UserToken.objects.using(router.db_for_write(UserToken))


def row_of(token: UserToken) -> UserTokenQuerySet:
    """Its row and no other: where a connection looks into another schema the same key is somebody else's."""
    return stored().filter(pk=token.pk, credentials=token.credentials_id, uid=token.uid, user=token.user_id)


def free() -> Q:
    """Tokens that nobody is refreshing now."""
    return Q(lease_until=None) | Q(lease_until__lt=DatabaseNow())


def new_owner() -> str:
    """A name for one claim; it tells an operator which process of which host has it."""
    return f"{platform.node()[:30]}:{os.getpid()}:{secrets.token_hex(8)}"


def claim(tokens: UserTokenQuerySet, owner: str) -> int:
    """Take the lease of those of `tokens` that are active and free; how many they are."""
    abandoned = When(lease_owner__gt="", then=Value(OUTCOME_UNKNOWN))
    return tokens.filter(free(), state=UserToken.State.ACTIVE).update(
        reason=Case(abandoned, default=F("reason")),  # first: MariaDB sees what stands left of an expression
        lease_owner=owner,
        lease_until=DatabaseNow(conf.LEASE),
    )


def is_late(token: UserToken) -> bool:
    """Whether a claimed token's lease may end before a request, its repetition and the storing of its answer.

    Somebody whose process was frozen after the claim learns here that the refresh token may no longer be theirs.
    """
    return time.monotonic() - token.read_at > conf.LEASE - 2.5 * conf.TIMEOUT


class Held(NamedTuple):
    """A token's row as it was claimed."""

    pk: int
    generation: int
    owner: str

    @classmethod
    def of(cls, token: UserToken) -> Self:
        return cls(token.pk, token.generation, token.lease_owner)


def write(held: Sequence[Held], changes: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Change claimed rows; for each whether it still was as claimed, and so was changed.

    `changes` has values by field for each row; secrets are sealed. Several rows go in one transaction, as a
    commit costs more than everything else about a refresh; and as plain SQL, which the ORM would build anew for
    every row at twice the cost of sending it.
    """
    statements = [_statement(row, values) for row, values in zip(held, changes, strict=True)]
    by_sql: dict[str, list[list[Any]]] = {}
    for sql, params in statements:
        by_sql.setdefault(sql, []).append(params)
    alias = router.db_for_write(UserToken)
    if len(held) > 1:
        with suppress(_Changed), transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            for sql, rows in by_sql.items():
                cursor.executemany(sql, rows)
                if cursor.rowcount != len(rows):
                    raise _Changed
            return [True] * len(held)
    with connections[alias].cursor() as cursor:  # one by one, to learn which
        return [_execute(cursor, sql, params) for sql, params in statements]


class _Changed(Exception):
    """Not all rows were as they were claimed."""


def _statement(row: Held, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    connection = connections[router.db_for_write(UserToken)]
    sql, fields = _update(connection.alias, tuple(values))
    return sql, [*(field.get_db_prep_save(values[field.name], connection) for field in fields), *row]


@lru_cache(maxsize=32)
def _update(alias: str, names: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The UPDATE of a held row that sets the fields `names`, and these fields."""
    meta, quote = UserToken._meta, connections[alias].ops.quote_name
    by_name = {field.name: field for field in meta.concrete_fields}
    fields = [by_name[name] for name in names]
    columns = ", ".join(f"{quote(str(field.column))} = %s" for field in fields)
    where = " AND ".join(f"{quote(name)} = %s" for name in ("id", "generation", "lease_owner"))
    return f"UPDATE {quote(meta.db_table)} SET {columns} WHERE {where}", fields  # noqa: S608  # names only


def _execute(cursor: CursorWrapper, sql: str, params: list[Any]) -> bool:
    cursor.execute(sql, params)
    return bool(cursor.rowcount)


def release(token: UserToken) -> None:
    """Give one's own lease back, nothing else."""
    row_of(token).filter(lease_owner=token.lease_owner).update(lease_owner="", lease_until=None)
