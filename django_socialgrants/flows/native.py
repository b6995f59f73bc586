"""Logins of native apps (RFC 8252): the app had the code sent to itself, and its server part redeems it here.

An app keeps no secret, so that anybody can send what it sends. What protects is what the network checks, the code
against the redirect URI and the PKCE challenge it was made for, and that only redirect URIs of the list are taken:
a code that was sent to a page of somebody else is worth nothing here. Cookies and sessions play no part.
"""

import json
import re
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import UnsupportedGrant
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import AuthorizationCodeGrant
from django_socialgrants.oauth.values import Secret

from .login import admit, ask
from .refusal import Refusal

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636, section 4.1
_CODE = re.compile(r"[\x21-\x7e]{1,2048}")
_SCOPE = re.compile(r"[\x20-\x7e]{0,1000}")


def application_for_apps(name: str) -> ProviderCredentials:
    """The application of that name. Raises SocialGrantsError where native apps have no business."""
    credentials = ProviderCredentials.objects.named(name)
    pkce = credentials.get_provider().pkce and credentials.offers("code")
    if not (credentials.native_redirect_uris.split() and pkce and conf.EXCHANGE_RESPONSE):
        raise UnsupportedGrant(f"{name!r} has no native apps")
    return credentials


def log_in_app(request: HttpRequest, credentials: ProviderCredentials) -> tuple[User, UserToken]:
    """Who has logged in with an app, by the JSON that it sent. Raises Refusal, SocialGrantsError.

    Who is logged in in a browser plays no part, and nobody is by this.
    """
    sent = _take_fields(request)
    grant = _grant(credentials, sent)
    return admit(request, ask(credentials, grant, scope=sent["scope"].reveal()))


def _take_fields(request: HttpRequest) -> dict[str, Secret]:
    """What was sent, "" for what was not; it is taken off the request, as its code is nothing for a debug page."""
    body, request._body = request.body, b""
    try:
        sent: Any = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        sent = None
    names = ("code", "redirect_uri", "code_verifier", "device_id", "scope")
    if not isinstance(sent, dict) or not all(isinstance(sent.get(name, ""), str) for name in names):
        raise Refusal("malformed_request")
    return {name: Secret(sent.get(name, "")) for name in names}


def _grant(credentials: ProviderCredentials, sent: Mapping[str, Secret]) -> AuthorizationCodeGrant:
    needed = {"code": _CODE, "code_verifier": _VERIFIER, "scope": _SCOPE}
    needed |= dict.fromkeys(credentials.get_provider().callback_fields, _CODE)
    if wrong := [name for name, pattern in needed.items() if not pattern.fullmatch(sent[name].reveal())]:
        raise Refusal("malformed_request", detail=", ".join(wrong))
    redirect_uri = sent["redirect_uri"].reveal()
    if redirect_uri not in credentials.native_redirect_uris.split():
        raise Refusal("foreign_redirect_uri")
    state = token_urlsafe(32)
    return AuthorizationCodeGrant(
        sent["code"], redirect_uri, sent["code_verifier"], device_id=sent["device_id"], state=state
    )
