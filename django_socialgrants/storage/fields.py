"""Encrypted columns: they read as `Secret` and are decrypted only when it is revealed."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models import Case
from django.db.models.functions import Cast
from django.utils.translation import gettext as _

from django_socialgrants import crypto
from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.oauth.values import Secret

_Model = TypeVar("_Model", bound=models.Model)

if TYPE_CHECKING:
    _TextField = models.TextField[str | Secret, Secret]
else:
    _TextField = models.TextField


Place = tuple[str, ...]
"""Table, column, and what identifies the row: the only place where a ciphertext can be read."""


def _associated_data(place: Place) -> bytes:
    return json.dumps(place).encode()


class Ciphertext(str):
    """A text as the database (or a fixture) holds it."""

    __slots__ = ()


class StoredSecret(Secret):
    """A secret that was encrypted for its place, and is readable only there.

    Unlike a `Secret` in clear it may be pickled, as a model instance in a cache is.
    """

    __slots__ = ("ciphertext", "place")

    def __init__(self, ciphertext: str, place: "Place") -> None:
        self.ciphertext = ciphertext
        self.place = place

    def reveal(self) -> str:
        """The clear text. Raises DecryptionError."""
        return crypto.decrypt(self.ciphertext, _associated_data(self.place))

    def __bool__(self) -> bool:
        return True

    def __reduce_ex__(self, protocol: object) -> Any:
        return StoredSecret, (str(self.ciphertext), self.place)


class EncryptedField(_TextField):
    """A text that is encrypted in the database and bound to its row.

    `bound_to` names the attributes of the row that make up its place, together with table and column: a
    ciphertext that is copied elsewhere can't be read there. They must be declared before this field.

    `save()`, `create()` and `bulk_create()` take a `str` or a `Secret`, and encrypt again when an attribute in
    `bound_to` changed; `QuerySet.update()` knows no row and takes only what `seal()` made for it.
    """

    def __init__(self, *args: Any, bound_to: Iterable[str] = (), **kwargs: Any) -> None:
        self.bound_to = tuple(bound_to)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "bound_to": self.bound_to}

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only)
        setattr(cls, self.attname, _SecretAttribute(self))

    def place(self, instance: models.Model) -> Place:
        """Where `instance` keeps this secret."""
        return self._column + tuple(str(getattr(instance, name)) for name in self.bound_to)

    @property
    def _column(self) -> Place:
        return self.model._meta.db_table, str(self.column)

    def seal(self, instance: models.Model, value: str | Secret) -> Secret:
        """`value` encrypted for `instance`: what `QuerySet.update()` of that row takes."""
        secret, place = Secret(value), self.place(instance)
        return StoredSecret(crypto.encrypt(secret, _associated_data(place)), place) if secret else secret

    def has_moved(self, instance: models.Model) -> bool:
        """Whether the secret was encrypted for another place than where `instance` is going to keep it."""
        secret = getattr(instance, self.attname)
        return isinstance(secret, StoredSecret) and secret.place != self.place(instance)

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Only what is new is validated. A stored secret has to be readable if it is to follow its row."""
        if not isinstance(value, StoredSecret):
            return super().clean(value, model_instance)
        if model_instance and self.has_moved(model_instance):
            try:
                value.reveal()
            except (DecryptionError, ImproperlyConfigured):
                text = _("The stored value can't be decrypted, so it can't be kept here: enter it again.")
                raise ValidationError(text, code="undecipherable") from None
        return value

    def pre_save(self, model_instance: models.Model, add: bool) -> Secret:
        secret: Secret = getattr(model_instance, self.attname)
        if not isinstance(secret, StoredSecret) or self.has_moved(model_instance):
            secret = self.seal(model_instance, secret)
            setattr(model_instance, self.attname, secret)
        return secret

    def from_db_value(self, value: str | None, *args: Any) -> Ciphertext | None:
        return value if value is None else Ciphertext(value)

    def to_python(self, value: Any) -> Any:
        """Recognises the ciphertexts in a fixture; everything else is left to the attribute."""
        if isinstance(value, str) and re.match(r"v[0-9]+\.[0-9a-f]{8}\.", value):
            return Ciphertext(value)
        return value

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, StoredSecret) and value.place[:2] == self._column:
            return str(value.ciphertext)
        if value is None or isinstance(value, Ciphertext):
            return value
        if isinstance(value, (str, Secret)) and not value:
            return ""
        raise self.not_sealed()

    def not_sealed(self) -> ValueError:
        return ValueError(
            f"{self.name} is an encrypted column: assign to the attribute and save(), or give update() "
            "what the field's seal() made for that row"
        )

    def get_lookup(self, lookup_name: str) -> Any:
        """Only emptiness can be queried: the same text is never encrypted to the same value twice."""
        return super().get_lookup(lookup_name) if lookup_name in ("exact", "isnull") else None

    def value_to_string(self, obj: models.Model) -> str:
        """The ciphertext: `dumpdata` shows no secret, and `loaddata` brings it back to its row."""
        secret = getattr(obj, self.attname)
        stored = secret if isinstance(secret, StoredSecret) else self.seal(obj, secret)
        return str(stored.ciphertext) if isinstance(stored, StoredSecret) else ""


class _SecretAttribute:
    """The attribute of a model that has an `EncryptedField`: whatever is assigned, a `Secret` is read."""

    def __init__(self, field: EncryptedField) -> None:
        self.field = field

    def __get__(self, instance: models.Model | None, owner: type[models.Model]) -> Any:
        if instance is None:
            return self
        name = self.field.attname
        if name not in instance.__dict__:  # left out by only() or defer()
            # Not refresh_from_db(): what the secret is bound to may have changed in this instance.
            stored = type(instance)._base_manager.using(instance._state.db).get(pk=instance.pk)
            instance.__dict__[name] = getattr(stored, name)
        value = instance.__dict__[name]
        if isinstance(value, Ciphertext):
            value = instance.__dict__[name] = StoredSecret(value, self.field.place(instance))
        return value

    def __set__(self, instance: models.Model, value: str | Secret | None) -> None:
        """Ciphertexts are bound at once, before anybody changes the attributes that make up their place."""
        if isinstance(value, Ciphertext) and value:
            if all(name in instance.__dict__ for name in self.field.bound_to):
                value = StoredSecret(value, self.field.place(instance))
        elif not isinstance(value, Secret):
            value = Secret(value or "")
        instance.__dict__[self.field.attname] = value


class SealedQuerySet(models.QuerySet[_Model]):
    """For models with encrypted fields: refuses an `update()` after which a secret could not be read any more.

    That is one with an expression, which the database would write as it is, and one that changes what a secret
    is bound to without the secret: `save()` does that.
    """

    def update(self, **kwargs: Any) -> int:
        for field in encrypted_fields(self.model):
            value = kwargs.get(field.name)
            bound = {name for name in kwargs if name in field.bound_to or f"{name}_id" in field.bound_to}
            if bound and field.name not in kwargs:
                raise ValueError(
                    f"{field.name} is bound to {', '.join(sorted(bound))}: change it with save()"
                )
            # Those two are bulk_update()'s, and ask the field about every value in them.
            if hasattr(value, "resolve_expression") and not isinstance(value, (Case, Cast)):
                raise field.not_sealed()
        return super().update(**kwargs)


def encrypted_fields(model: type[models.Model]) -> list[EncryptedField]:
    return [field for field in model._meta.concrete_fields if isinstance(field, EncryptedField)]


class SealedModel(models.Model):
    """A model with encrypted fields: they follow when `save()` changes what they are bound to."""

    class Meta:
        abstract = True

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        encrypted = encrypted_fields(type(self))
        if update_fields is None:
            for field in encrypted:
                getattr(self, field.attname)  # if it was not loaded, it is now, and is saved
        else:
            written = {
                *update_fields,
                *(f.attname for f in self._meta.concrete_fields if f.name in update_fields),
            }
            bound = [field for field in encrypted if written.intersection(field.bound_to)]
            update_fields = {*update_fields, *(field.name for field in bound if field.has_moved(self))}
        super().save(*args, update_fields=update_fields, **kwargs)

    def sealed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """`changes` as `QuerySet.update()` of this very row takes them: secrets encrypted for their place."""
        secrets = {field.name: field for field in encrypted_fields(type(self)) if field.name in changes}
        return {**changes, **{name: field.seal(self, changes[name]) for name, field in secrets.items()}}

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Make this object hold `changes`, values by field."""
        for name, value in changes.items():
            setattr(self, name, value)
