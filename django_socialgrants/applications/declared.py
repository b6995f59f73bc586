"""The applications that SOCIALGRANTS_CREDENTIALS declares, read strictly.

What comes from the environment is often a string where something else belongs, or missing, or empty: better told
here than by a network. What a value has to look like says the model.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import BooleanField
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import clean_text
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Secret
from django_socialgrants.registry import provider_choices

FIELDS = {
    field.name: field
    for field in ProviderCredentials._meta.concrete_fields
    if field.name not in ("id", "name", "created_at", "updated_at")
}


class Mistake(NamedTuple):
    """What is wrong with one field of one application; a text without a secret."""

    name: str
    field: str
    text: str

    def __str__(self) -> str:
        place = ".".join(filter(None, [self.name, self.field]))
        return f"{place}: {self.text}" if place else self.text


def declared() -> tuple[dict[str, dict[str, Any]], list[Mistake]]:
    """Fields by name of the applications that are declared well, and the mistakes in the others.

    `provider` is filled in, and None has become what an empty field holds; what else the setting does not name
    is not in the result. Asks no database.
    """
    applications: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []
    if not isinstance(conf.CREDENTIALS, Mapping):
        return {}, [Mistake("", "", _("it must be a dict, of a dict for each application"))]
    for name, fields in conf.CREDENTIALS.items():
        shown = clean_text(name, limit=50) or type(name).__name__
        if not isinstance(name, str):
            mistakes.append(Mistake(shown, "", _("its name must be a string")))
            continue
        if not isinstance(fields, Mapping):
            mistakes.append(Mistake(shown, "", _("it must be a dict of fields")))
            continue
        given = {"provider": name, "client_id": "", **fields}
        found = [Mistake(shown, clean_text(field) or repr(field), text) for field, text in _misread(given)]
        if not found:
            values = {field: "" if value is None else value for field, value in given.items()}
            application = ProviderCredentials(name=name, **values)
            found = mistakes_in(application)
            applications |= {} if found else {name: {field: getattr(application, field) for field in given}}
        mistakes += found
    return applications, mistakes


def mistakes_in(application: ProviderCredentials) -> list[Mistake]:
    """What the model has against an application; one that is stored is compared with its row."""
    try:
        application.full_clean(validate_unique=False)  # of names, which the database says
    except ValidationError as error:
        found = {field: " ".join(texts) for field, texts in error.message_dict.items()}
        if "provider" in found:
            known = ", ".join(provider for provider, title in provider_choices()) or "-"
            found["provider"] += " " + _("Known: %(known)s.") % {"known": known}
        shown = clean_text(application.name, limit=50)
        return [Mistake(shown, field, text) for field, text in found.items()]
    return []


def _misread(given: Mapping[Any, Any]) -> Iterator[tuple[Any, str]]:
    """What no field takes for its value: a thing of another kind, or what an unset variable leaves."""
    provider = (
        isinstance(given["provider"], str)
        and ProviderCredentials(provider=given["provider"]).known_provider()
    )
    required = provider.required_credentials if provider else ("client_id",)
    for name, value in given.items():
        field = FIELDS.get(name)
        if field is None:
            yield name, _("there is no such field; there are %(fields)s") % {"fields": ", ".join(FIELDS)}
        elif isinstance(field, BooleanField):
            if not isinstance(value, bool):
                yield name, _("must be True or False")
        elif value is None and field.blank:
            pass  # removes what is stored
        elif not isinstance(value, (str, Secret) if name in ProviderCredentials.SECRETS else str):
            yield name, _("must be a string, not %(type)s") % {"type": type(value).__name__}
        elif name in required and not value:
            yield name, _("is empty; to remove what is stored, say None") if field.blank else _("is missing")
