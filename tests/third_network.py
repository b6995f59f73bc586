"""A made-up network, as a site would add one: PKCE, signatures with HMAC-SHA256, user ids that are words."""

import hmac
import re
from collections.abc import Mapping
from typing import Any

from django_socialgrants import exceptions
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Request, Response, Token, reveal


class Meadow(Provider):
    """Answers of its REST API are wrapped: {"result": ...} or {"failure": {"code": 7, "text": "..."}}."""

    id = "meadow"
    title = "Meadow"
    authorization_endpoint = "https://meadow.example/oauth/authorize?prompt=consent"
    token_endpoints = dict.fromkeys(
        ("authorization_code", "refresh_token"), "https://meadow.example/oauth/token"
    )
    api_endpoint = "https://meadow.example/api"
    response_types = ("code",)
    scope_separator = ","
    pkce = True
    booleans = ("no", "yes")
    default_expires_in = 900
    uid_pattern = re.compile(r"[a-z]+(-[a-z]+)*")
    token_names = {"uid": ("who",)}
    api_errors = {exceptions.SessionExpired: (7,), exceptions.RateLimited: (8,)}

    def api_request(
        self, credentials: Credentials, token: Token, method: str, params: Mapping[str, Any], circuit: Circuit
    ) -> Request:
        server = Circuit(circuit) is Circuit.SERVER_SERVER
        secret = reveal(credentials.client_secret if server else credentials.client_key)
        if not secret:
            raise ValueError("the secret that has to sign this call is empty")
        signed = self.encoded(params) | {
            "client_id": credentials.client_id,
            "method": method,
            "access_token": token.access_token,
        }
        text = "\n".join(f"{name}={reveal(signed[name])}" for name in sorted(signed))
        sig = hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()
        return Request("POST", self.api_endpoint, signed | {"sig": sig})

    def error_in(self, data: Any) -> exceptions.ProviderError | None:
        failure = data.get("failure") if isinstance(data, Mapping) else None
        if isinstance(failure, Mapping):
            return self.api_error(failure.get("code"), failure.get("text"))
        return super().error_in(data)

    def parse_api(self, response: Response) -> Any:
        data = super().parse_api(response)
        if not isinstance(data, Mapping) or "result" not in data:
            raise exceptions.MalformedResponse(f"{self.title}: no result")
        return data["result"]

    def identity_call(self) -> tuple[str, Mapping[str, Any]]:
        return "me", {}

    def parse_identity(self, result: Any) -> Identity:
        return self.identity_from(result)


class Clumsy(Meadow):
    """Written for good days: it looks where things should be, and nowhere else."""

    id = "clumsy"
    title = "Clumsy"

    def parse_token(self, data: Any) -> Token:
        return Token(access_token=data["token"]["value"], expires_in=int(data["token"]["seconds"]))

    def parse_identity(self, result: Any) -> Identity:
        return Identity(uid=result["user"]["id"], name=result["user"]["names"][0])
