"""What looks wrong with the credentials of one application, for the checks and for forms alike."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.provider import Provider

_PLACEHOLDER = re.compile(
    r"\.+|…|\*+|x{3,}|<.*>|change[-_ ]?me|your[-_ ].*|client[-_ ](id|secret|key)|secret|key|none|null|todo",
    re.IGNORECASE,
)

_LABELS = (
    gettext_noop("application id"),
    gettext_noop("application secret key"),
    gettext_noop("application public key"),
    gettext_noop("service token"),
)
"""The labels of our networks that are words, named for the catalogues."""

_Values = dict[str, str]


class Problem(NamedTuple):
    """`field` is one of the model; `message` and `hint` are in the active language and hold no secret."""

    field: str
    message: str
    hint: str
    id: str


def problems(credentials: ProviderCredentials) -> list[Problem]:
    """Everything that looks wrong with one application, stored or not. Asks no database and no network.

    Empty for an application of a network that this site has left: there is nothing to measure it by.
    """
    provider = credentials.known_provider()
    if provider is None:
        return []
    values: _Values = {"client_id": credentials.client_id}
    found: list[Problem] = []
    for field in credentials.SECRETS:
        try:
            values[field] = getattr(credentials, field).reveal()
        except DecryptionError as error:
            found.append(_undecipherable(field, error))
        except ImproperlyConfigured:
            pass  # a malformed key, which has a check of its own
    for field, value in values.items():
        found.extend(_alone(provider, field, value))
    found.extend(_together(provider, values))
    found.extend(_beyond(provider, credentials))
    return found


def _undecipherable(field: str, error: DecryptionError) -> Problem:
    return Problem(
        field,
        _("%(field)s can't be decrypted (key %(fingerprint)s)")
        % {"field": field, "fingerprint": error.fingerprint or "-"},
        _("Put the key that it was encrypted with back into the settings, or enter the value again."),
        id="socialgrants.W001",
    )


def _alone(provider: Provider, field: str, value: str) -> Iterator[Problem]:
    """What can be said of a value without the others. The first that applies explains it."""
    names = {"field": _named(provider, field), "network": provider.title}
    if not value:
        if field in provider.required_credentials:
            yield Problem(
                field,
                _("%(field)s is missing") % names,
                _("No login with %(network)s works without it: copy it from the application's page there.")
                % names,
                id="socialgrants.W002",
            )
    elif _PLACEHOLDER.fullmatch(value.strip()):
        yield Problem(
            field,
            _("%(field)s is a placeholder") % names,
            _("Copy the value from the application's page at %(network)s.") % names,
            id="socialgrants.W004",
        )
    elif value.split() != [value]:
        yield Problem(
            field,
            _("%(field)s holds white space") % names,
            _("Copy it again, without blanks and line breaks around it."),
            id="socialgrants.W003",
        )
    elif field == "client_id" and not provider.client_id_pattern.fullmatch(value):
        yield Problem(
            field,
            _("%(field)s does not look like one of %(network)s") % names,
            _("Take care not to mix it up with the application's keys."),
            id="socialgrants.W005",
        )


def _together(provider: Provider, values: _Values) -> Iterator[Problem]:
    """Values that stand in each other's place."""
    secret, key = values.get("client_secret", ""), values.get("client_key", "")
    names = {
        "secret": _named(provider, "client_secret"),
        "key": _named(provider, "client_key"),
        "network": provider.title,
    }
    looks_like_key = provider.client_key_pattern
    if secret and secret == key:
        yield Problem(
            "client_secret",
            _("%(secret)s and %(key)s are the same") % names,
            _("%(network)s gives out two: copy both again.") % names,
            id="socialgrants.W006",
        )
    elif looks_like_key and looks_like_key.fullmatch(secret):
        yield Problem(
            "client_secret",
            _("%(secret)s looks like the %(key)s") % names,
            _("Each belongs into its own field: if both are mixed up, exchange them."),
            id="socialgrants.W007",
        )
    elif looks_like_key and key.strip() and not looks_like_key.fullmatch(key.strip()):
        yield Problem(
            "client_key",
            _("%(key)s does not look like one of %(network)s") % names,
            _("Make sure that it is not the %(secret)s.") % names,
            id="socialgrants.W008",
        )


def _beyond(provider: Provider, credentials: ProviderCredentials) -> Iterator[Problem]:
    """What this network has no use for."""
    names = {"network": provider.title, "secret": _named(provider, "client_secret")}
    if unknown := credentials.unknown_ways():
        yield Problem(
            "ways",
            _("%(network)s has no way in %(ways)s") % {**names, "ways": ", ".join(unknown)},
            _("It has: %(known)s. Blank is its default one.") % {"known": ", ".join(provider.ways) or "-"},
            id="socialgrants.W015",
        )
    if credentials.native_redirect_uris and not provider.pkce:
        yield Problem(
            "native_redirect_uris",
            _("%(network)s has no PKCE, so native apps can't log in with it") % names,
            _("Leave them out: the exchange for native apps answers 404 for this application."),
            id="socialgrants.W016",
        )
    if credentials.client_secret and "client_secret" not in provider.required_credentials:
        yield Problem(
            "client_secret",
            _("%(secret)s is set, and public clients of %(network)s need none") % names,
            _("Leave it out, or silence this check where the application is a confidential client."),
            id="socialgrants.W017",
        )


def label(provider: Provider, field: str) -> str:
    """What the network calls a field, on the page to copy it from: "secret_key"; "" when it calls it as we do."""
    named = provider.labels.get(field, "")
    return named and _(named)


def _named(provider: Provider, field: str) -> str:
    theirs = label(provider, field)
    return f"{field} ({theirs})" if theirs else field
