"""Changing keys: whatever another key encrypted is encrypted again with the first one.

Each value names its key, so progress needs no record of its own: a run that was killed is continued by the next.
Rows are read in small pages by primary key. Each is written by an UPDATE of its own, and only if it still holds
what was read: a token that is refreshed meanwhile is not overwritten.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models, router
from django.db.models import Count, Q
from django.db.models.functions import Substr

from django_socialgrants import crypto
from django_socialgrants.exceptions import DecryptionError

from .fields import EncryptedField, StoredSecret, encrypted_fields

PAGE = 200
"""Rows that are read at once."""

_ATTEMPTS = 5


class Outcome(Enum):
    """What became of a row that held a value of another key."""

    ROTATED = "rotated"
    CURRENT = "current"  # somebody else did it, or the row is gone
    UNREADABLE = "unreadable"
    BUSY = "busy"  # it held something else at every attempt


class Settled(NamedTuple):
    """A row that was dealt with; `error` says why it is unreadable."""

    row: models.Model
    outcome: Outcome
    error: DecryptionError | None = None


@dataclass
class Survey:
    """One table: its rows, those of them that are to be rotated, and how many each key is needed for.

    Keys are named by fingerprint; "" stands for values that are not our ciphertexts.
    """

    table: str
    rows: int = 0
    outdated: int = 0
    by_key: Counter[str] = field(default_factory=Counter)


def encrypted_models() -> list[type[models.Model]]:
    """All models with encrypted columns: ours, and any that the site has."""
    return [model for model in apps.get_models() if encrypted_fields(model) and not model._meta.proxy]


def survey() -> list[Survey]:
    """Every table with encrypted columns, counted by its database; nothing is decrypted."""
    return [_survey(model) for model in encrypted_models()]


def rotate() -> Iterator[Settled]:
    """Rotate every table, and give each row that was not current when it has been dealt with.

    The caller stops the rotation by not iterating further. A row that can't be decrypted raises nothing and
    stays as it is.
    """
    for model in encrypted_models():
        outdated = _outdated_rows(model)
        page = list(outdated[:PAGE])
        while page:
            yield from map(_settle, page)
            page = list(outdated.filter(pk__gt=page[-1].pk)[:PAGE])


def unused_keys(surveys: Iterable[Survey]) -> list[str]:
    """Fingerprints of the configured keys that do not encrypt and that no value needs any more."""
    first, *others = configured_keys()
    return [key for key in others if not any(key in table.by_key for table in surveys)]


def lost_keys(surveys: Iterable[Survey]) -> list[str]:
    """Fingerprints of the keys that would be needed, and are not configured."""
    known = {"", *configured_keys()}
    return sorted({key for table in surveys for key in table.by_key if key not in known})


def configured_keys() -> list[str]:
    """Fingerprints of all keys, that of the one which encrypts first."""
    return list(dict.fromkeys(key.fingerprint for key in crypto.keys()))  # noqa: SIM118 - a function


def _survey(model: type[models.Model]) -> Survey:
    heads, first = _heads(model), crypto.keys()[0].fingerprint
    groups = _rows(model).annotate(**heads).values_list(*heads).annotate(rows=Count("pk"))
    result = Survey(model._meta.db_table)
    for *found, rows in groups.order_by().iterator():
        named = {crypto.named_key(head) for head in found if head}
        result.rows += rows
        result.outdated += rows if named - {first} else 0
        result.by_key.update(dict.fromkeys(named, rows))
    return result


def _settle(row: models.Model) -> Settled:
    stored = _rows(type(row)).filter(pk=row.pk)
    for _ in range(_ATTEMPTS):
        old = _outdated_secrets(row)
        if not old:
            return Settled(row, Outcome.CURRENT)
        try:
            new = {field.name: field.seal(row, secret) for field, secret in old.items()}
        except DecryptionError as error:
            return Settled(row, Outcome.UNREADABLE, error)
        if stored.filter(**{field.name: secret for field, secret in old.items()}).update(**new):
            return Settled(row, Outcome.ROTATED)
        found = stored.first()
        if found is None:
            return Settled(row, Outcome.CURRENT)
        row = found
    return Settled(row, Outcome.BUSY)


def _outdated_secrets(row: models.Model) -> dict[EncryptedField, StoredSecret]:
    first = crypto.keys()[0].fingerprint
    secrets = {field: getattr(row, field.attname) for field in encrypted_fields(type(row))}
    return {
        field: secret
        for field, secret in secrets.items()
        if isinstance(secret, StoredSecret) and crypto.named_key(secret.ciphertext) != first
    }


def _rows(model: type[models.Model]) -> models.QuerySet[Any]:
    """All rows, with no more of them than what it takes to read their secrets; never from a replica."""
    fields = encrypted_fields(model)
    needed = {name for field in fields for name in (field.name, *field.bound_to)}
    rows: models.QuerySet[Any] = model._base_manager.using(router.db_for_write(model))
    return rows.only(*needed)


def _outdated_rows(model: type[models.Model]) -> models.QuerySet[Any]:
    """Those that hold something which is not of the first key, told by how it begins."""
    heads = _heads(model)
    current = ["", crypto.keys()[0].head]
    outdated = Q(*(~Q(**{f"{head}__in": current}) for head in heads), _connector=Q.OR)
    rows: models.QuerySet[Any] = _rows(model).alias(**heads).filter(outdated)
    return rows.order_by("pk")


def _heads(model: type[models.Model]) -> dict[str, Substr]:
    """The part of every encrypted column that names its key, as an expression that can be compared."""
    return {
        f"{field.name}_head": Substr(field.name, 1, crypto.HEAD_LENGTH) for field in encrypted_fields(model)
    }
