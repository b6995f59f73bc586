"""What people read for the words that the flows keep as a reason, and for the networks' names of things."""

from typing import Any

from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from django_socialgrants.oauth.provider import Provider

MARKED_BY_ADMIN = "marked_by_admin"

TOKEN_REASONS: dict[str, str | Promise] = {
    "invalid_grant": _("the network refused the refresh token"),
    "session_expired": _("the network ended the session"),
    "expired": _("expired, and can't be refreshed"),
    "refresh_expired": _("the refresh token expired"),
    "ambiguous_rotation": _("a refresh was cut off, and its new refresh token is lost"),
    "identity_changed": _("the network answered with somebody else's token"),
    "outcome_unknown": _("the last refresh was cut off"),
    "undecipherable": _("the stored token can't be decrypted"),
    MARKED_BY_ADMIN: _("marked in the admin"),
}
"""By `UserToken.reason`."""

HEALTH_REASONS: dict[str, str | Promise] = {
    "outage": _("the network is out of order"),
    "rate_limited": _("the network asked for fewer requests"),
    "mass_revocation": _("many tokens at once were refused, so only single ones are tried"),
    "invalid_client": _("the network refused the application's own credentials"),
}
"""By `ApplicationHealth.reason`."""

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
