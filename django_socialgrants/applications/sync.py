"""SOCIALGRANTS_CREDENTIALS -> database: all of it or, when anything is wrong with it, nothing.

A field that the setting does not name stays as it is in the database, where the admin may have set it; an
application that the setting does not name goes only on request, for its users' tokens go with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router, transaction
from django.utils.translation import gettext as _

from django_socialgrants import crypto
from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.models import ProviderCredentials, UserToken

from .declared import declared, mistakes_in

_ATTEMPTS = 3
"""Another server that is deployed at the same time may be writing the same rows: it has written them then."""


class SyncRefused(Exception):
    """Nothing was written; each of `reasons` is a sentence without a secret."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = list(reasons)
        super().__init__("\n".join(self.reasons))


@dataclass(frozen=True)
class Change:
    """What becomes of one application: `action` is "create", "update" or "delete".

    `fields` tells by name what changes, without secrets; `tokens` is how many tokens of users are deleted.
    """

    action: str
    credentials: ProviderCredentials
    fields: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0

    def apply(self) -> None:
        if self.action == "delete":
            self.credentials.delete()
        elif self.action == "create":
            self.credentials.save(force_insert=True)
        else:
            self.credentials.save(update_fields=[*self.fields, "updated_at"])


def sync(*, prune: bool = False, dry_run: bool = False) -> list[Change]:
    """Make the database hold what the setting declares; the changes, made or (with `dry_run`) due.

    With `prune` applications that the setting does not name are deleted. Raises SyncRefused.
    """
    applications, mistakes = declared()
    if mistakes:
        raise SyncRefused(f"SOCIALGRANTS_CREDENTIALS: {mistake}" for mistake in mistakes)
    if prune and not applications:
        raise SyncRefused([_("SOCIALGRANTS_CREDENTIALS is empty: refused to delete every application.")])
    try:
        crypto.keys()
    except ImproperlyConfigured as error:
        raise SyncRefused([str(error)]) from None
    for _attempt in range(_ATTEMPTS):
        try:
            return _sync_together(applications, prune, dry_run)
        except DatabaseError as error:
            problem = error
    reason = _(
        "The database refused (%(error)s): are all migrations applied, and do no two names differ only in case?"
    )
    raise SyncRefused([reason % {"error": type(problem).__name__}]) from problem


def _sync_together(applications: Mapping[str, dict[str, Any]], prune: bool, dry_run: bool) -> list[Change]:
    table = ProviderCredentials.objects.using(router.db_for_write(ProviderCredentials))
    with transaction.atomic(using=table.db):
        if not dry_run:  # SQLite waits for another writer only if the first statement is a write
            table.filter(pk=0).update(scope="")
        stored = {row.name: row for row in table.select_for_update().order_by("pk")}
        gone = [row for name, row in stored.items() if name not in applications] if prune else []
        declared = [_declare(stored.get(name), name, fields) for name, fields in applications.items()]
        changes = list(filter(None, declared))
        if mistakes := [mistake for change in changes for mistake in mistakes_in(change.credentials)]:
            raise SyncRefused(map(str, mistakes))
        due = [*map(_delete, gone), *changes]
        if not dry_run:
            for change in due:
                change.apply()
    return due


def _declare(row: ProviderCredentials | None, name: str, fields: Mapping[str, Any]) -> Change | None:
    """The change that gives the application of that name these fields; None when it has them."""
    if row is None:
        made = ProviderCredentials(name=name, **fields)
        return Change("create", made, {key: _shown(key, value) for key, value in fields.items() if value})
    differing = {key: value for key, value in fields.items() if not _holds(row, key, value)}
    if not differing:
        return None
    shown = {key: _difference(row, key, value) for key, value in differing.items()}
    for key, value in differing.items():
        setattr(row, key, value)
    return Change("update", row, shown)


def _holds(row: ProviderCredentials, key: str, value: Any) -> bool:
    try:
        return bool(getattr(row, key) == value)
    except DecryptionError:  # the key is lost or the value damaged: what the setting says takes its place
        return False


def _delete(row: ProviderCredentials) -> Change:
    tokens = UserToken.objects.using(row._state.db).filter(credentials=row).count()
    return Change("delete", row, tokens=tokens)


def _difference(row: ProviderCredentials, key: str, value: Any) -> str:
    if key not in ProviderCredentials.SECRETS:
        return f"{getattr(row, key)!r} -> {value!r}"
    if value:
        return "changed" if getattr(row, key) else "set"
    return "removed"


def _shown(key: str, value: Any) -> str:
    return "set" if key in ProviderCredentials.SECRETS else repr(value)
