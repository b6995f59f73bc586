"""OK.ru (Odnoklassniki): https://apiok.ru/en/ext/oauth/ and https://apiok.ru/en/dev/methods/."""

import re
from collections.abc import Mapping
from typing import Any

from django_socialgrants import exceptions
from django_socialgrants.oauth.grants import Grant, PasswordGrant
from django_socialgrants.oauth.parameters import check_method
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Request, Secret, Token, reveal

from .signing import md5_hex, signature

_API = "https://api.ok.ru"


class OK(Provider):
    """Scopes are joined with `;`, token answers name no user, the access token is never signed."""

    id = "ok"
    title = "OK"
    authorization_endpoint = "https://connect.ok.ru/oauth/authorize"
    token_endpoints = {
        "authorization_code": f"{_API}/oauth/token.do",
        "refresh_token": f"{_API}/oauth/token.do",
        "password": f"{_API}/fb.do",
    }
    api_endpoint = f"{_API}/fb.do"
    scope_separator = ";"
    labels = {
        "client_id": "application id",
        "client_secret": "application secret key",
        "client_key": "application public key",
    }
    required_credentials = ("client_id", "client_secret", "client_key")
    client_id_pattern = re.compile(r"[0-9]+")
    client_key_pattern = re.compile(r"[0-9A-Z]+ABABA")
    default_expires_in = 30 * 60
    refresh_lifetime = keep_alive_lifetime = 30 * 24 * 3600
    token_names = {
        "access_token": ("access_token", "session_key"),
        "session_secret": ("session_secret_key",),
        "scope": ("permissions_granted", "permission_granted", "scope"),
    }
    invalid_grant_errors = frozenset({"invalid_grant", "invalid_token", "access_denied"})
    invalid_grant_codes = frozenset({102, 103, 107, 401, 453, 2002, 2004})
    api_errors = {
        exceptions.SessionExpired: (102, 103, 107, 453),
        exceptions.InvalidSignature: (101, 104, 105, 210, 900),
        exceptions.PermissionDenied: (7, 9, 10, 22, 24, 25, 50, 200, 455, 456, 457, 458, 511, 2002, 2004),
        exceptions.RateLimited: (8, 11, 26),
        exceptions.ServiceUnavailable: (1, 2, 30, 31, 9999),
    }
    password_errors = {
        "10": "unauthorized_client",
        "402": "captcha",
        "403": "browser",
        "2002": "blocked",
        "2004": "deleted",
    }

    def token_request(self, credentials: Credentials, grant: Grant) -> Request:
        """The password grant is a REST method here, known from its clients only: auth.login, unsigned."""
        if not isinstance(grant, PasswordGrant):
            return super().token_request(credentials, grant)
        url = self.token_endpoints.get("password") or self._unsupported("password grant")
        params = {"method": "auth.login", "format": "json"}
        params |= {"verification_supported": "1", "verification_supported_v": "1"}
        person: dict[str, str | Secret] = {"user_name": grant.username, "password": grant.password}
        return Request("POST", url, {**params, "application_key": credentials.client_key, **person})

    def api_request(
        self, credentials: Credentials, token: Token, method: str, params: Mapping[str, Any], circuit: Circuit
    ) -> Request:
        signed = self.encoded(params)
        access_token = Secret(token.access_token)  # in clear: a stored secret is decrypted by every reveal()
        signed |= {"application_key": Secret(credentials.client_key), "format": "json"}
        signed["method"] = check_method(method)
        secret = token.session_secret
        if Circuit(circuit) is Circuit.SERVER_SERVER:
            secret = credentials.client_secret
            if secret and access_token:
                secret = Secret(md5_hex(access_token.reveal() + reveal(secret)))
        if access_token:
            signed["access_token"] = access_token  # sent, but never part of the signature
        sig = signature(signed, secret, skip=("access_token", "session_key", "resig"))
        return Request("POST", self.api_endpoint, signed | {"sig": sig})

    def identity_call(self) -> tuple[str, Mapping[str, Any]]:
        return "users.getCurrentUser", {}

    def parse_identity(self, result: Any) -> Identity:
        return self.identity_from(result)

    def keep_alive_call(self, token: Token) -> tuple[str, Mapping[str, Any]] | None:
        """A long token lives 30 days from its last use (https://apiok.ru/en/ext/oauth/permissions)."""
        return ("auth.touchSession", {}) if "LONG_ACCESS_TOKEN" in token.scope.split() else None
