"""The rules in which the two networks differ, as values.

What they say on the wire is not here: see `ok_oauth`, `mailru_oauth`, `ok_rest` and `mailru_rest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Rotation(StrEnum):
    """What becomes of a refresh token that was used."""

    FIXED = "fixed"
    """It stays; the answer names none."""
    GRACE = "grace"
    """The answer names a new one; for a while the old one brings the same answer again."""
    STRICT = "strict"
    """The answer names a new one; using the old one again ends all that came of it (RFC 9700, 4.14.2)."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """How one network grants. The comments say where a rule is a guess: the real one is not published."""

    id: str
    title: str
    scopes: Mapping[str, Promise]
    """Every permission that exists, with what the dialog calls it. Asking for another one is an error."""
    scope_separator: str
    ignores_redirect_query: bool
    """Whether the part of a redirect_uri after "?" may differ from the registered one."""
    implicit_refresh_token: bool
    """Whether the implicit grant brings a refresh token (RFC 6749, section 4.2.2, says never)."""
    grant_types: frozenset[str]
    """The grants of its token endpoint."""
    rotation: Rotation
    """How it refreshes for an application that does not say otherwise."""

    code_lifetime: timedelta = timedelta(minutes=2)
    access_lifetime: timedelta
    long_access_lifetimes: Mapping[str, timedelta] = field(default_factory=dict)
    """Permissions which make the access token live longer."""
    refresh_lifetime: timedelta = timedelta(days=30)

    def access_lifetime_of(self, scopes: frozenset[str]) -> timedelta:
        """How long an access token with these permissions lives."""
        longer = [life for scope, life in self.long_access_lifetimes.items() if scope in scopes]
        return max([self.access_lifetime, *longer])


OK = Network(
    id="ok",
    title="OK",
    scopes={
        "VALUABLE_ACCESS": _("See your profile and friends and act in your name"),
        "LONG_ACCESS_TOKEN": _("Stay connected for 30 days"),
        "GET_EMAIL": _("See your e-mail address"),
        "PHOTO_CONTENT": _("See and add photos"),
        "VIDEO_CONTENT": _("See and add videos"),
        "GROUP_CONTENT": _("Manage your groups"),
        "APP_INVITE": _("Invite your friends to the application"),
        "SET_STATUS": _("Change your status"),
        "MESSAGING": _("Send messages in your name"),
    },
    scope_separator=";",
    ignores_redirect_query=True,
    implicit_refresh_token=False,
    grant_types=frozenset({"authorization_code", "refresh_token"}),  # a password is for the REST API
    rotation=Rotation.FIXED,
    access_lifetime=timedelta(minutes=30),
    long_access_lifetimes={"LONG_ACCESS_TOKEN": timedelta(days=30)},
)

# Guesses: the lifetimes of the code and of the refresh token, that the whole redirect_uri is compared (the
# network is said to compare the domain only), and that a used refresh token is dead at once (it is known to
# rotate, not how). Who passes here passes there.
MAILRU = Network(
    id="mailru",
    title="Mail.Ru",
    scopes={
        "photos": _("See and add photos"),
        "guestbook": _("Write into guest books"),
        "stream": _("Post to your stream"),
        "messages": _("Send messages in your name"),
        "events": _("Send events to your friends"),
        "widget": _("Add a widget to your page"),
    },
    scope_separator=" ",
    ignores_redirect_query=False,
    implicit_refresh_token=True,
    grant_types=frozenset({"authorization_code", "password", "refresh_token"}),
    rotation=Rotation.STRICT,
    access_lifetime=timedelta(days=1),
)

NETWORKS: Mapping[str, Network] = {network.id: network for network in (OK, MAILRU)}
