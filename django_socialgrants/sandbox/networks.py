"""The rules by which the networks differ, as values.

What they send is not here: see the modules named after each network.
"""

import re
import secrets
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


class PKCE(StrEnum):
    """What a network makes of a code challenge (RFC 7636)."""

    IGNORED = "ignored"
    OPTIONAL = "optional"
    REQUIRED = "required"


_CODE = ("client_id", "client_secret", "code", "redirect_uri")
_PASSWORD = ("client_id", "client_secret", "username", "password")
_REFRESH = ("client_id", "client_secret", "refresh_token")


@dataclass(frozen=True, kw_only=True)
class Network:
    """How one network grants. The comments say where a rule is a guess: the real one is not published."""

    id: str
    title: str
    scopes: Mapping[str, Promise]
    """Every permission that exists, with what the dialog calls it. Asking for another one is an error."""
    scope_separator: str = " "
    default_scope: str = ""
    """What is granted to who asks for nothing."""
    response_types: frozenset[str] = frozenset({"code", "token"})
    ignores_redirect_query: bool = False
    """Whether the part of a redirect_uri after "?" may differ from the registered one."""
    implicit_refresh_token: bool = False
    """Whether the implicit grant brings a refresh token (RFC 6749, section 4.2.2, says never)."""
    token_parameters: Mapping[str, tuple[str, ...]]
    """What a token request must name, by the grants of its token endpoint."""
    optional_parameters: Mapping[str, frozenset[str]] | None = None
    """What it may name besides, by grant; None = anything."""
    secret_parameter: str = "client_secret"  # noqa: S105  # a name
    """What an application's secret is called in a token request; where it is given it must be right."""
    rotation: Rotation
    """How it refreshes for an application that does not say otherwise."""
    signs_calls: bool = False
    """Whether calls are signed, for which an application has a third credential, its key."""
    pkce: PKCE = PKCE.IGNORED
    state_pattern: re.Pattern[str] | None = None
    """What the `state` of an authorization request must look like; None = anything, or nothing."""
    ways: Mapping[str, str] = field(default_factory=dict)
    """Which account to come in with, as the parameter `provider` names it, the default one first."""
    binds_device: bool = False
    """Whether a grant belongs to a device, whose id comes with the code."""
    offline_scope: str = ""
    """The permission without which there is no refresh token; "" = there always is one."""
    value_prefix: str = ""
    value_bytes: int = 16
    """How codes and tokens begin, and how many random bytes follow."""

    code_lifetime: timedelta = timedelta(minutes=2)
    access_lifetime: timedelta
    long_access_lifetimes: Mapping[str, timedelta] = field(default_factory=dict)
    """Permissions which make the access token live longer."""
    refresh_lifetime: timedelta = timedelta(days=30)

    @property
    def grant_types(self) -> frozenset[str]:
        """The grants of its token endpoint."""
        return frozenset(self.token_parameters)

    def parameters_allowed(self, grant_type: str) -> frozenset[str] | None:
        """Everything that a token request may name; None = anything."""
        if self.optional_parameters is None:
            return None
        return self.optional_parameters[grant_type] | {"grant_type", *self.token_parameters[grant_type]}

    def new_value(self) -> str:
        """A code or token that nobody can guess."""
        return self.value_prefix + secrets.token_hex(self.value_bytes)

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
    token_parameters={
        "authorization_code": _CODE,
        "refresh_token": _REFRESH,
    },  # a password is for the REST API
    rotation=Rotation.FIXED,
    signs_calls=True,
    access_lifetime=timedelta(minutes=30),
    long_access_lifetimes={"LONG_ACCESS_TOKEN": timedelta(days=30)},
)

# Guesses: the lifetimes of the code and of the refresh token, that all of the redirect_uri but its query is
# compared (the network is said to compare the domain only, and python-social-auth adds a parameter), and that a
# used refresh token is dead at once (it is known to rotate, not how). Who passes here passes there.
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
    ignores_redirect_query=True,
    implicit_refresh_token=True,
    token_parameters={"authorization_code": _CODE, "password": _PASSWORD, "refresh_token": _REFRESH},
    rotation=Rotation.STRICT,
    signs_calls=True,
    access_lifetime=timedelta(days=1),
)

# Guesses: that a parameter too many is an error in every request (it is known to be one in some), and that the
# service token is one in a refresh (nobody is known to send it there).
VKID = Network(
    id="vkid",
    title="VK ID",
    scopes={
        "vkid.personal_info": _("See your name, picture, sex and birthday"),
        "email": _("See your e-mail address"),
        "phone": _("See your phone number"),
        "friends": _("See your friends"),
    },
    default_scope="vkid.personal_info",
    response_types=frozenset({"code"}),
    token_parameters={
        "authorization_code": ("client_id", "code", "redirect_uri", "code_verifier", "device_id", "state"),
        "refresh_token": ("client_id", "refresh_token", "device_id", "state"),
    },
    optional_parameters={
        "authorization_code": frozenset({"service_token"}),
        "refresh_token": frozenset({"ip", "scope"}),
    },
    secret_parameter="service_token",  # noqa: S106  # a name
    rotation=Rotation.STRICT,
    pkce=PKCE.REQUIRED,
    state_pattern=re.compile(r"[A-Za-z0-9_-]{32,}"),
    ways={"vkid": "VK ID", "ok_ru": "OK", "mail_ru": "Mail.Ru"},
    binds_device=True,
    value_prefix="vk2.a.",
    value_bytes=120,
    code_lifetime=timedelta(minutes=10),
    access_lifetime=timedelta(hours=1),
    refresh_lifetime=timedelta(days=180),
)

# Guesses: the lifetimes of the code and of the refresh token.
MAILID = Network(
    id="mailid",
    title="Mail ID",
    scopes={
        "userinfo": _("See your name, picture and e-mail address"),
        "openid": _("Know who you are"),
        "profile": _("See your profile"),
        "email": _("See your e-mail address"),
        "mail.imap": _("Read your mail"),
        "offline_access": _("Stay connected while you are away"),
    },
    default_scope="userinfo",
    response_types=frozenset({"code"}),
    token_parameters={
        "authorization_code": _CODE,
        "refresh_token": ("client_id", "refresh_token"),
    },
    rotation=Rotation.FIXED,
    pkce=PKCE.OPTIONAL,
    offline_scope="offline_access",
    access_lifetime=timedelta(hours=1),
)

NETWORKS: Mapping[str, Network] = {network.id: network for network in (OK, MAILRU, VKID, MAILID)}
