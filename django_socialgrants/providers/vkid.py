"""VK ID: https://id.vk.ru/about/business/go/docs/ru/vkid/latest/vk-id/connection/api-description."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django_socialgrants import exceptions
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, Grant
from django_socialgrants.oauth.parameters import check_method
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Request, Response, Token

_ID = "https://id.vk.ru"
# With these descriptions an invalid_request is an invalid_grant; any other is a mistake in the configuration.
_DEAD = re.compile(r"(refresh_token|code|(code_)?verifier|device_id) is |session is compromised")


class VKID(Provider):
    """One account, into which people may come through OK or Mail.Ru as well. Clients are public, tokens bound to
    a device and, in calls of VK's API (https://dev.vk.ru/reference), to an IP address."""

    id = "vkid"
    title = "VK ID"
    authorization_endpoint = f"{_ID}/authorize"
    token_endpoints = dict.fromkeys(("authorization_code", "refresh_token"), f"{_ID}/oauth2/auth")
    identity_endpoint = f"{_ID}/oauth2/user_info"
    revocation_endpoint = f"{_ID}/oauth2/revoke"
    api_endpoint = "https://api.vk.ru/method"
    api_version = "5.199"
    result_name = "response"
    response_types = ("code",)
    client_authentication = "none"
    labels = {"client_id": "application id", "client_secret": "service token"}
    required_credentials = ("client_id",)
    client_id_pattern = re.compile(r"[0-9]+")
    booleans = ("0", "1")
    pkce = True
    ways = {"vkid": "VK ID", "ok_ru": "OK", "mail_ru": "Mail.Ru"}
    callback_fields = ("device_id",)
    echoes_state = True
    reuse_is_fatal = True
    refresh_lifetime = 180 * 24 * 3600
    token_names = {"uid": ("user_id",)}
    api_errors = {
        exceptions.SessionExpired: (5, 1116),
        exceptions.InvalidSignature: (101,),
        exceptions.PermissionDenied: (7, 14, 15, 17, 203),
        exceptions.RateLimited: (6, 9, 29),
        exceptions.ServiceUnavailable: (1, 10),
    }

    def authorization_params(self, *, scope: str, way: str) -> Mapping[str, str]:
        return {"provider": way, "prompt": "login"} if way not in ("", "vkid") else {}  # as VK's SDKs do

    def token_request(self, credentials: Credentials, grant: Grant) -> Request:
        """What a confidential application has is a service token, for the exchange of a code alone."""
        request = super().token_request(credentials, grant)
        secret = credentials.client_secret if isinstance(grant, AuthorizationCodeGrant) else ""
        return replace(request, params={**request.params, "service_token": secret}) if secret else request

    def parse_token(self, data: Any) -> Token:
        token = super().parse_token(data)
        return replace(token, expires_in=token.expires_in or None)  # 0 says nothing

    def identity_request(self, credentials: Credentials, token: Token) -> Request:
        params = {"client_id": credentials.client_id, "access_token": token.access_token}
        return Request(
            "POST", self.identity_endpoint, params, {"Accept-Language": "ru"}
        )  # not transliterated

    def parse_identity(self, result: Any) -> Identity:
        return self.identity_from(result.get("user") if isinstance(result, Mapping) else None, uid="user_id")

    def revocation_request(self, credentials: Credentials, token: Token) -> Request:
        return replace(self.identity_request(credentials, token), url=self.revocation_endpoint)

    def api_request(
        self, credentials: Credentials, token: Token, method: str, params: Mapping[str, Any], circuit: Circuit
    ) -> Request:
        sent = {"v": self.api_version, **self.encoded(params), "access_token": token.access_token}
        return Request("POST", f"{self.api_endpoint}/{check_method(method)}", sent)

    def error_in(self, data: Any) -> exceptions.ProviderError | None:
        error = super().error_in(data)
        said = getattr(error, "description", "") or getattr(error, "message", "")
        if "another ip address" in said:  # no refresh helps
            return exceptions.PermissionDenied(5, "the token is bound to the IP address it was given to")
        if getattr(error, "error", "") != "invalid_request":
            return error
        kind = exceptions.InvalidGrant if _DEAD.match(said) else exceptions.InvalidClient
        return kind("invalid_request", said)

    def json_in(self, response: Response) -> Any:
        if not response.body.lstrip().startswith(b"<"):
            return super().json_in(response)
        if response.status == 404:  # the answer to parameters that are wrong
            raise exceptions.InvalidClient("invalid_request", "HTTP 404")
        raise exceptions.ProviderUnavailable("a page, as for a captcha", sent=True, status=response.status)
