"""Mail ID (OAuth Mail): https://id.vk.ru/about/business/go/docs/ru/vkid/latest/oauth/oauth-mail/index.

For sites that hold a client id already: it serves no new login buttons since July 2025.
"""

from collections.abc import Mapping
from typing import Any

from django_socialgrants import exceptions
from django_socialgrants.oauth.parameters import check_method
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Request, Response, Token

_HOST = "https://oauth.mail.ru"


class MailID(Provider):
    """Errors have words of its own, and a number that decides; its only call is `userinfo`, which is not signed.

    A refresh token is kept for good. It is given to who asks for `offline_access` (and `openid`), and consents.
    """

    id = "mailid"
    title = "Mail ID"
    authorization_endpoint = f"{_HOST}/login"
    token_endpoints = dict.fromkeys(("authorization_code", "refresh_token"), f"{_HOST}/token")
    api_endpoint = _HOST
    response_types = ("code",)
    pkce = True
    api_errors = {exceptions.SessionExpired: (6,)}
    invalid_grant_codes = frozenset({3, 6})
    invalid_client_code = 1

    def authorization_params(self, *, scope: str, way: str) -> Mapping[str, str]:
        return {"prompt": "consent"} if "offline_access" in scope.split() else {}

    def api_request(
        self, credentials: Credentials, token: Token, method: str, params: Mapping[str, Any], circuit: Circuit
    ) -> Request:
        """The token goes into the body: a header is not looked at, a URL ends up in logs."""
        sent = {**self.encoded(params), "access_token": token.access_token}
        return Request("POST", f"{self.api_endpoint}/{check_method(method)}", sent)

    def identity_call(self) -> tuple[str, Mapping[str, Any]]:
        return "userinfo", {}

    def parse_identity(self, result: Any) -> Identity:
        """By `id` alone: an e-mail address may change hands."""
        return self.identity_from(result, uid="id")

    def parse_identity_response(self, response: Response, credentials: Credentials) -> Identity:
        """Raises InvalidGrant as well, for a token that was given to another application."""
        identity = super().parse_identity_response(response, credentials)
        if identity.profile.get("client_id", credentials.client_id) != credentials.client_id:
            raise exceptions.InvalidGrant("invalid_grant", "the token belongs to another application")
        return identity

    def error_in(self, data: Any) -> exceptions.ProviderError | None:
        """The number decides: `error` is a phrase like "token not found"."""
        if not isinstance(data, Mapping) or data.get("error_code") is None:
            return super().error_in(data)
        error = self.api_error(data["error_code"], data.get("error_description") or data.get("error"))
        if isinstance(error, exceptions.APIError) and error.code == self.invalid_client_code:
            return exceptions.InvalidClient("invalid_client", error.message)
        return error
