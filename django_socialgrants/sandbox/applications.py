"""The applications that a site logs in with: registered at the sandbox and stored as the site's credentials."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db import transaction
from django.urls import NoReverseMatch, reverse

from django_socialgrants.models import ProviderCredentials
from django_socialgrants.registry import providers

from .models import Application
from .networks import MAILID, MAILRU, NETWORKS, OK, VKID, Network, Rotation


@dataclass(frozen=True)
class _Registration:
    client_id: str
    scope: str
    is_public: bool = False
    """Whether the site is given no secret: such an application proves itself with PKCE alone."""


# The ids are fixed, so that loading again finds what it loaded before; secrets are drawn for each database.
_REGISTRATIONS: Mapping[str, _Registration] = {
    OK.id: _Registration("512000000000", "VALUABLE_ACCESS GET_EMAIL"),
    MAILRU.id: _Registration("700000", "stream"),
    VKID.id: _Registration("51000001", "vkid.personal_info email", is_public=True),
    MAILID.id: _Registration("00000000000000000000000000000001", "userinfo offline_access"),
}


class CredentialsInUse(Exception):
    """The site has credentials of that name for another application: probably a real one."""


def load(origins: Iterable[str], rotations: Mapping[str, Rotation] | None = None) -> list[Application]:
    """Register an application of each network that the site knows, and store its credentials there.

    `origins` are those of the site.

    Loading again replaces the redirect URIs by those of `origins` and corrects secrets that differ. Everything
    else stays, such as a scope that was changed in the site's credentials; how refresh tokens rotate changes only
    where `rotations` (by network) says so.

    Raises CredentialsInUse, and then has changed nothing at all.
    """
    origins = list(origins)
    with transaction.atomic():
        known = [network for network in NETWORKS.values() if network.id in providers()]
        return [_load(network, origins, (rotations or {}).get(network.id)) for network in known]


def default_origins(sandbox_url: str) -> list[str]:
    """The origin of the sandbox, and the same under the other name of this machine: visitors type either."""
    parts = urlsplit(sandbox_url)
    twins = {"localhost": "127.0.0.1", "127.0.0.1": "localhost"}
    hosts = [parts.netloc]
    if parts.hostname in twins:
        hosts.append(parts.netloc.replace(parts.hostname, twins[parts.hostname]))
    return [f"{parts.scheme}://{host}" for host in hosts]


def _load(network: Network, origins: list[str], rotation: Rotation | None) -> Application:
    registration = _REGISTRATIONS[network.id]
    name = network.id
    theirs = ProviderCredentials.objects.filter(name=name).first()
    if theirs and (theirs.provider, theirs.client_id) != (network.id, registration.client_id):
        raise CredentialsInUse(name)
    application, _created = Application.objects.get_or_create(
        network=network.id,
        client_id=registration.client_id,
        defaults={"client_secret": secrets.token_hex(12).upper(), "client_key": _new_client_key(network)},
    )
    application.name = "Your site"
    application.redirect_uris = [f"{origin}{path}" for origin in origins for path in _callback_paths(name)]
    application.implicit_enabled = "token" in network.response_types
    application.password_enabled = True
    application.rotation = rotation or application.rotation
    application.save()
    shared = {
        "client_secret": "" if registration.is_public else application.client_secret,
        "client_key": application.client_key if network.signs_calls else "",
    }
    ProviderCredentials.objects.update_or_create(
        name=name,
        defaults=shared,
        create_defaults={
            **shared,
            "provider": network.id,
            "client_id": application.client_id,
            "scope": registration.scope,
            "implicit_enabled": application.implicit_enabled,
            "ways": " ".join(network.ways),
        },
    )
    return application


def _new_client_key(network: Network) -> str:
    """OK's public keys are recognised by how they end."""
    return f"C{secrets.token_hex(5).upper()}ABABA" if network is OK else secrets.token_hex(16)


def _callback_paths(name: str) -> list[str]:
    """Where the site's flows come back to; a site may have left one out."""
    paths = []
    for view in ("socialgrants:code_callback", "socialgrants:implicit_callback"):
        try:
            paths.append(reverse(view, args=[name]))
        except NoReverseMatch:
            continue
    return paths
