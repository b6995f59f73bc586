"""The applications that SOCIALGRANTS_CREDENTIALS declares, read strictly.

What comes from the environment is often a string where something else belongs, or missing, or cut: better told
here than by a network or a database.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import clean_text
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Secret
from django_socialgrants.registry import provider_choices

SECRETS = ("client_secret", "client_key")
FIELDS = ("provider", "client_id", *SECRETS, "scope", "implicit_enabled")

_LONGEST = {field.name: field.max_length or 4096 for field in ProviderCredentials._meta.concrete_fields}
"""Characters; what is encrypted is stored without a limit, and no network gives out secrets of that length."""


class Mistake(NamedTuple):
    """What is wrong with one field of one application; a text without the field's value."""

    name: str
    field: str
    text: str

    def __str__(self) -> str:
        place = ".".join(filter(None, [self.name, self.field]))
        return f"{place}: {self.text}" if place else self.text


def declared() -> tuple[dict[str, dict[str, Any]], list[Mistake]]:
    """Fields by name of the applications that are declared well, and the mistakes in the others.

    `provider` is filled in; whatever else is not named in the setting is not in the result either.
    """
    applications: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []
    if not isinstance(conf.CREDENTIALS, Mapping):
        return {}, [Mistake("", "", _("it must be a dict, of a dict for each application"))]
    for name, fields in conf.CREDENTIALS.items():
        found = _mistakes(name, fields)
        if found:
            mistakes.extend(found)
        else:
            secrets = {field: Secret(fields[field]) for field in SECRETS if field in fields}
            applications[name] = {"provider": name, **fields, **secrets}
    return applications, mistakes


def _mistakes(name: Any, fields: Any) -> list[Mistake]:
    shown = clean_text(name, limit=50) or type(name).__name__
    if problem := _wrong_name(name):
        return [Mistake(shown, "", problem)]
    if not isinstance(fields, Mapping):
        return [Mistake(shown, "", _("it must be a dict of fields"))]
    given = {"provider": name, "client_id": "", **fields}
    found = ((field, _wrong(field, value)) for field, value in given.items())
    return [Mistake(shown, clean_text(field) or repr(field), problem) for field, problem in found if problem]


def _wrong_name(name: Any) -> str:
    """Why `name` is none for an application; "" if it is one."""
    try:
        if isinstance(name, str):
            validate_slug(name)
    except ValidationError:
        name = None
    if not isinstance(name, str):
        return _("its name must consist of letters, digits, hyphens and underscores")
    return _too_long("name", name)


def _wrong(field: Any, value: Any) -> str:
    """Why `value` can't be that of `field`; "" if it can."""
    if field not in FIELDS:
        return _("there is no such field; there are %(fields)s") % {"fields": ", ".join(FIELDS)}
    if field == "implicit_enabled":
        return "" if isinstance(value, bool) else _("must be True or False")
    text = value.reveal() if field in SECRETS and isinstance(value, Secret) else value
    if not isinstance(text, str):
        return _("must be a string, not %(type)s") % {"type": type(text).__name__}
    if not text and field == "client_id":
        return _("is missing")
    if not text.isprintable():
        return _("holds a line break or another character that can't be printed")
    if field == "provider":
        known = [provider for provider, title in provider_choices()]
        unknown = _("must be one of the networks: %(known)s") % {"known": ", ".join(known) or "-"}
        return "" if text in known else unknown
    return _too_long(field, text)


def _too_long(field: str, text: str) -> str:
    limit = _LONGEST[field]
    return "" if len(text) <= limit else _("is longer than %(limit)d characters") % {"limit": limit}
