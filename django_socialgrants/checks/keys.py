"""The encryption keys: readable always, and the site's own on a server."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from django_socialgrants import crypto
from django_socialgrants.conf import conf

_MAKE = "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"
_MIXED_ENOUGH = 8
"""Distinct values among 32 bytes: random ones have 24 and more, all but never."""


@register("socialgrants")
def check_encryption_keys(**kwargs: Any) -> Sequence[CheckMessage]:
    """The keys can be read."""
    try:
        if isinstance(conf.ENCRYPTION_KEYS, str):
            raise ImproperlyConfigured(_("SOCIALGRANTS_ENCRYPTION_KEYS is one string, not a list of keys"))
        crypto.keys()
    except ImproperlyConfigured as error:
        text = str(error)
    except TypeError:
        text = _("SOCIALGRANTS_ENCRYPTION_KEYS is no list of strings")
    else:
        return []
    return [Error(text, hint=_hint(), id="socialgrants.E003")]


@register("socialgrants", deploy=True)
def check_own_keys(**kwargs: Any) -> Sequence[CheckMessage]:
    """There is a key that does not change with SECRET_KEY, and it was drawn, not made up."""
    if not conf.ENCRYPTION_KEYS:
        text = _(
            "SOCIALGRANTS_ENCRYPTION_KEYS is empty: tokens are encrypted with a key derived from SECRET_KEY, "
            "and whoever changes that loses them"
        )
        keep = _(
            "Keep what is encrypted already readable: [NEW_KEY, crypto.derived_key(SECRET_KEY)], and run "
            "rotate_encryption_keys."
        )
        return [Warning(text, hint=f"{_hint()}\n{keep}", id="socialgrants.W010")]
    try:
        weak = [place for place, key in enumerate(conf.ENCRYPTION_KEYS) if _is_made_up(key)]
    except (TypeError, ValueError):
        return []  # told by check_encryption_keys
    text = _("SOCIALGRANTS_ENCRYPTION_KEYS[%(place)d] can be guessed: its bytes repeat or follow a rule")
    return [Warning(text % {"place": place}, hint=_hint(), id="socialgrants.W011") for place in weak]


def _is_made_up(encoded: str) -> bool:
    key = urlsafe_b64decode(encoded)
    half = len(key) // 2
    steps = {(after - before) % 256 for before, after in zip(key, key[1:], strict=False)}
    ruled = len(set(key)) < _MIXED_ENOUGH or len(steps) < _MIXED_ENOUGH or key[:half] == key[half:]
    return ruled and len(key) == 32


def _hint() -> str:
    return _("A key is what this prints: %(command)s") % {"command": f'python -c "{_MAKE}"'}
