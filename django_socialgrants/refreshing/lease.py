"""The right to refresh one token: who holds its lease may present its refresh token, and nobody else.

A lease is taken by one conditional UPDATE, ends by itself on the database's clock, and is given back by its
owner alone. One that ended by itself belonged to a process that died or froze: nobody knows what became of its
request, and the token's `reason` says so from then on.

Statements name whose token a row is, or the owner of its lease: a connection that sees other tables than the
caller's (another schema, another tenant) finds nothing there. Several rows are locked in the order of their keys,
as everybody does who changes several tokens in one transaction.
"""

import os
import platform
import secrets
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Case, CharField, F, Field, IntegerField, Q, Value, When

from django_socialgrants.conf import conf
from django_socialgrants.models import UserToken, UserTokenQuerySet
from django_socialgrants.storage.clock import DatabaseNow

from .committed import persistently

Changes = Mapping[str, Any]
"""Values by field, secrets sealed."""

_AS_CLAIMED = ("id", "generation", "lease_owner", "credentials", "uid", "user")

if TYPE_CHECKING:
    _Field = Field[Any, Any]
    _Fields = list[tuple[_Field, bool]]


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
    abandoned = When(lease_owner__gt="", then=Value(UserToken.Reason.OUTCOME_UNKNOWN))
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


def claim_many(tokens: UserTokenQuerySet, owner: str) -> None:
    """The same for a batch. Rows that somebody else has locked are left to them, where the database can."""

    def attempt() -> None:
        with transaction.atomic(using=tokens.db):
            claim(_locked(tokens, skip_locked=True), owner)

    persistently(attempt)


def _locked(tokens: UserTokenQuerySet, *, skip_locked: bool = False) -> UserTokenQuerySet:
    """The same rows, locked one by one in the order of their keys."""
    features = connections[tokens.db].features
    if not features.has_select_for_update:
        return tokens
    skip_locked = skip_locked and features.has_select_for_update_skip_locked
    in_order = tokens.order_by("pk").select_for_update(skip_locked=skip_locked)
    return stored().filter(pk__in=list(in_order.values_list("pk", flat=True)))


def write(
    tokens: Sequence[UserToken],
    changes: Sequence[Changes],
    *,
    was_tried: bool = False,
    ends: float | None = None,
) -> list[bool]:
    """Change claimed rows; for each whether it still was as claimed, and so was changed.

    Several rows go in one transaction, as a commit costs more than everything else about a refresh; and as plain
    SQL, which the ORM would build anew for every row at twice the cost of sending it. When the database fails all
    is tried again, until `ends` as `persistently` says. A row that a try has changed whose success the database
    could not report counts as changed; `was_tried` says that there was such a try before.
    """
    statements = [_statement(token, values) for token, values in zip(tokens, changes, strict=True)]

    def attempt() -> list[bool]:
        nonlocal was_tried
        is_retry, was_tried = was_tried, True
        written = _execute_all(statements)
        if is_retry and not all(written):
            return list(map(_holds, tokens, changes, written))
        return written

    return persistently(attempt, ends=ends)


_Statement = tuple[str, list[Any]]


def _execute_all(statements: Sequence[_Statement]) -> list[bool]:
    alias = router.db_for_write(UserToken)
    in_order = sorted(range(len(statements)), key=lambda number: statements[number][1][-len(_AS_CLAIMED)])
    if len(statements) > 1:
        with suppress(_Changed), transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            for sql, group in groupby((statements[number] for number in in_order), key=itemgetter(0)):
                rows = [params for _, params in group]
                cursor.executemany(sql, rows)
                if cursor.rowcount != len(rows):
                    raise _Changed
            return [True] * len(statements)
    with connections[alias].cursor() as cursor:  # one by one, to learn which
        return [_execute(cursor, *statement) for statement in statements]


class _Changed(Exception):
    """Not all rows were as they were claimed."""


def _statement(token: UserToken, values: Changes) -> _Statement:
    connection = connections[router.db_for_write(UserToken)]
    sql, changed, same = _update(connection.alias, tuple(values))
    params = [
        field.get_db_prep_save(values[field.name], connection) if is_prepared else values[field.name]
        for field, is_prepared in changed
    ]
    params += [
        field.get_db_prep_save(getattr(token, field.attname), connection)
        if is_prepared
        else getattr(token, field.attname)
        for field, is_prepared in same
    ]
    return sql, params


@lru_cache(maxsize=32)
def _update(alias: str, names: tuple[str, ...]) -> tuple[str, "_Fields", "_Fields"]:
    """The UPDATE of a claimed row that sets the fields `names`; these fields, and those in its WHERE.

    With each field whether its values have another form in the database than in Python.
    """
    meta, quote = UserToken._meta, connections[alias].ops.quote_name
    changed = [_field(name) for name in names]
    same = [_field(name) for name in _AS_CLAIMED]
    columns = ", ".join(f"{quote(str(field.column))} = %s" for field, _ in changed)
    where = " AND ".join(f"{quote(str(field.column))} = %s" for field, _ in same)
    return f"UPDATE {quote(meta.db_table)} SET {columns} WHERE {where}", changed, same  # noqa: S608  # names only


def _field(name: str) -> "tuple[_Field, bool]":
    field = cast("_Field", UserToken._meta.get_field(name))
    return field, not isinstance(field, CharField | IntegerField)


def _execute(cursor: CursorWrapper, sql: str, params: list[Any]) -> bool:
    cursor.execute(sql, params)
    return bool(cursor.rowcount)


def _holds(token: UserToken, values: Changes, is_written: bool) -> bool:
    """Whether the row has been written, now or by an earlier try: it holds the very same values."""
    if is_written:
        return True
    now = row_of(token).first()
    return now is not None and all(_is_same(getattr(now, name), value) for name, value in values.items())


def _is_same(stored: Any, value: Any) -> bool:
    """Secrets by their ciphertexts, which are never alike for two encryptions of one text."""
    return bool(getattr(stored, "ciphertext", stored) == getattr(value, "ciphertext", value))


def keep_rotated(token: UserToken, changes: Changes) -> bool:
    """Put the refresh token in `changes` in place of the one that was presented, if a new grant has kept that.

    The grant came while the network rotated the refresh token, and brought none; its row would hold a dead one.
    Returns True if it was so.
    """
    granted = row_of(token).filter(
        created_at__gt=token.created_at, state=UserToken.State.ACTIVE, refresh_token=token.refresh_token
    )
    kept = {name: changes[name] for name in ("refresh_token", "refresh_expires_at")}
    return bool(persistently(partial(granted.update, **kept, generation=F("generation") + 1)))


def release(tokens: Sequence[UserToken], *, ends: float | None = None) -> None:
    """Give one's own leases back, nothing else."""
    by_owner: dict[str, list[int]] = defaultdict(list)
    for token in tokens:
        by_owner[token.lease_owner].append(token.pk)
    ours = Q()
    for owner, pks in by_owner.items():
        ours |= Q(lease_owner=owner, pk__in=pks)

    def attempt() -> None:
        rows = stored().filter(ours)
        with transaction.atomic(using=rows.db):
            _locked(rows).update(lease_owner="", lease_until=None)

    if tokens:
        persistently(attempt, ends=ends)
