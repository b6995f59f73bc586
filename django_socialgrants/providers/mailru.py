"""Platform@Mail.Ru (My World): https://api.mail.ru/docs/guides/oauth/ and .../guides/restapi/."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django_socialgrants import exceptions
from django_socialgrants.oauth.grants import Grant
from django_socialgrants.oauth.parameters import check_method
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Request, Secret, Token

from .signing import signature


class MailRu(Provider):
    """RFC 6749 nearly to the letter; refresh tokens rotate; the session key is part of every signature."""

    id = "mailru"
    title = "Mail.Ru"
    authorization_endpoint = "https://connect.mail.ru/oauth/authorize"
    token_endpoints = {
        "authorization_code": "https://connect.mail.ru/oauth/token",
        "refresh_token": "https://appsmail.ru/oauth/token",
        "password": "https://appsmail.ru/oauth/token",
    }
    api_endpoint = "https://www.appsmail.ru/platform/api"
    labels = {"client_id": "app_id", "client_secret": "secret_key", "client_key": "private_key"}
    booleans = ("0", "1")
    default_expires_in = 24 * 3600
    token_names = {"uid": ("x_mailru_vid",)}
    invalid_grant_codes = frozenset({102, 105})
    api_errors = {
        exceptions.SessionExpired: (102, 105),
        exceptions.InvalidSignature: (103, 104),
        exceptions.PermissionDenied: (200, 202),
        exceptions.ServiceUnavailable: (1,),
    }
    client_secret_from: Mapping[str, str] = {}
    """Which of the credentials is sent as `client_secret`, by grant_type; else that of the same name, secret_key.
    For the password grant sources differ: some native clients send their private_key. A site whose application
    is one of those says {"password": "client_key"} in a subclass."""

    def token_request(self, credentials: Credentials, grant: Grant) -> Request:
        """The password grant has to be enabled by Mail.Ru's moderators, for each application.

        https://api.mail.ru/docs/guides/oauth/client-credentials/
        """
        field = self.client_secret_from.get(grant.grant_type, "client_secret")
        return super().token_request(replace(credentials, client_secret=getattr(credentials, field)), grant)

    def api_request(
        self, credentials: Credentials, token: Token, method: str, params: Mapping[str, Any], circuit: Circuit
    ) -> Request:
        signed = self.encoded(params)
        signed |= {"app_id": credentials.client_id, "method": check_method(method)}
        if token.access_token:
            signed["session_key"] = Secret(token.access_token)  # decrypted now, once
        elif token.uid:
            signed.setdefault("uid", token.uid)  # without a session the call must say whose data it means
        if Circuit(circuit) is Circuit.SERVER_SERVER:
            signed["secure"] = "1"
            sig = signature(signed, credentials.client_secret)
        else:
            if not token.uid:
                raise ValueError("a client-server signature begins with the user's id, which is empty")
            sig = signature(signed, credentials.client_key, prefix=token.uid)
        return Request("POST", self.api_endpoint, signed | {"sig": sig})

    def identity_call(self) -> tuple[str, Mapping[str, Any]]:
        return "users.getInfo", {}

    def parse_identity(self, result: Any) -> Identity:
        """users.getInfo answers a list; without `uids` it holds the current user alone."""
        if not isinstance(result, list) or len(result) != 1:
            raise exceptions.MalformedResponse(f"{self.title}: users.getInfo did not answer with one user")
        return self.identity_from(result[0])
