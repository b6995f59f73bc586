"""The providers of this site: SOCIALGRANTS_PROVIDERS, loaded when first asked for."""

import re
from functools import lru_cache

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .conf import conf
from .exceptions import UnknownProvider
from .oauth.provider import Provider


def get_provider(provider_id: str) -> Provider:
    """The provider of that id. Raises UnknownProvider, or ImproperlyConfigured for a path that fails."""
    known = providers()
    try:
        return known[provider_id]
    except KeyError:
        listed = ", ".join(known) or "none"
        raise UnknownProvider(f"unknown provider {provider_id!r}; known: {listed}") from None


def providers() -> dict[str, Provider]:
    """All providers by id, in the order of the setting."""
    return {provider.id: provider for provider in map(load, conf.PROVIDERS)}


@lru_cache(maxsize=64)
def load(path: str) -> Provider:
    """The provider at a dotted path; one instance serves all. Raises ImproperlyConfigured."""
    try:
        provider_class = import_string(path)
    except Exception as error:  # whatever the code of a site may raise
        raise ImproperlyConfigured(f"SOCIALGRANTS_PROVIDERS: {path!r} can't be imported: {error}") from error
    if not (isinstance(provider_class, type) and issubclass(provider_class, Provider)):
        raise ImproperlyConfigured(f"SOCIALGRANTS_PROVIDERS: {path!r} is not a Provider class")
    named = getattr(provider_class, "id", ""), getattr(provider_class, "title", "")
    if not all(named) or not re.fullmatch(r"[-a-zA-Z0-9_]{1,32}", named[0]):
        raise ImproperlyConfigured(f"SOCIALGRANTS_PROVIDERS: {path!r} has no id, a slug, or no title")
    return provider_class()


def provider_choices() -> list[tuple[str, str]]:
    """(id, title) of every provider that can be loaded; the others are reported by the system checks."""
    choices = []
    for path in conf.PROVIDERS:
        try:
            provider = load(path)
        except ImproperlyConfigured:
            continue
        choices.append((provider.id, provider.title))
    return choices
