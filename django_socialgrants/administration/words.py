"""What people read for the networks' names of things."""

from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from django_socialgrants.oauth.provider import Provider

_LABELS = (
    gettext_noop("application id"),
    gettext_noop("application secret key"),
    gettext_noop("application public key"),
)
"""The labels of our networks that are plain words, named for the catalogues."""


def label(provider: Provider, field: str) -> Any:
    """The network's own name of a field, as it stands on the page to copy from; "" when it has none."""
    named = provider.labels.get(field, "")
    if " " not in named:
        return named  # an identifier, like secret_key
    return capfirst(_(named))
