"""System checks: wrong settings are told by `manage.py check`, each mistake with an id of its own."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from . import crypto
from .conf import conf
from .registry import load


@register("socialgrants")
def check_providers(**kwargs: Any) -> Sequence[CheckMessage]:
    """Every path of SOCIALGRANTS_PROVIDERS leads to a Provider, and no two have the same id."""
    messages: list[CheckMessage] = []
    seen: dict[str, str] = {}
    for path in conf.PROVIDERS:
        try:
            provider = load(path)
        except ImproperlyConfigured as error:
            hint = "List dotted paths of classes derived from django_socialgrants.oauth.provider.Provider."
            messages.append(Error(str(error), hint=hint, id="socialgrants.E001"))
            continue
        if provider.id in seen:
            text = f"SOCIALGRANTS_PROVIDERS: {path!r} and {seen[provider.id]!r} have the id {provider.id!r}"
            messages.append(Error(text, hint="Remove one of them.", id="socialgrants.E002"))
        seen[provider.id] = path
    return messages


@register("socialgrants")
def check_encryption_keys(**kwargs: Any) -> Sequence[CheckMessage]:
    """The keys can be read."""
    try:
        crypto.keys()
    except ImproperlyConfigured as error:
        make = "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"
        hint = f'A key is what this prints: python -c "{make}"'
        return [Error(str(error), hint=hint, id="socialgrants.E003")]
    return []


@register("socialgrants")
def check_times(**kwargs: Any) -> Sequence[CheckMessage]:
    """A lease outlives everything that is done under it: two exchanges and the storing of their result."""
    if conf.LEASE >= 3 * conf.TIMEOUT > 0:
        return []
    text = f"SOCIALGRANTS_LEASE is {conf.LEASE} s, less than 3 x SOCIALGRANTS_TIMEOUT ({conf.TIMEOUT} s)"
    hint = "Raise SOCIALGRANTS_LEASE, or leave it out: then it is 4 x SOCIALGRANTS_TIMEOUT."
    return [Error(text, hint=hint, id="socialgrants.E004")]
