"""RFC 6749 as pure methods: values in, values out, no network and no clock.

A network is a subclass of `Provider`. It does *not* send anything, store anything or decide who anybody is:
that is done by `transport`, `models` and `flows`.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote, urlencode

from django_socialgrants.exceptions import (
    APIError,
    InvalidClient,
    InvalidGrant,
    MalformedResponse,
    OAuthError,
    ProviderError,
    UnsupportedGrant,
    clean_text,
)

from .grants import Grant, PasswordGrant
from .values import Circuit, Credentials, Identity, Request, Response, Secret, Token, reveal

# RFC 6749, appendix A: tokens are made of VSCHAR. The length is ours.
_VSCHARS = re.compile(r"[\x20-\x7e]{1,4096}")
_CENTURY = 100 * 365 * 24 * 3600


class Provider:
    """One network.

    A subclass has to say: `id`, `title`, the endpoints, `api_request`, `identity_call`, `parse_identity`. It
    may change the attributes below them. The methods under "RFC 6749" seldom need to be overridden.
    """

    # --- what every network says -------------------------------------------------------------------------

    id: str
    """A slug, kept in the database: "ok"."""
    title: str
    """What people call it: "OK"."""
    authorization_endpoint: str = ""
    token_endpoints: Mapping[str, str] = {}
    """Token endpoint by grant_type; a grant that is absent is not supported."""
    api_endpoint: str = ""

    # --- what a network may say --------------------------------------------------------------------------

    response_types: tuple[str, ...] = ("code", "token")
    """Those of the authorization endpoint: "code" and "token" (the implicit grant)."""
    scope_separator: str = " "
    pkce: bool = False
    """Whether it takes part in PKCE (RFC 7636) with S256."""
    ways: Mapping[str, str] = {}
    """Ways in that one application offers, by the network's word for each, with a title; the default one first."""
    labels: Mapping[str, str] = {}
    """Its own names for client_id, client_secret and client_key."""
    required_credentials: tuple[str, ...] = ("client_id", "client_secret")
    """Those without which no login works."""
    client_id_pattern: ClassVar[re.Pattern[str]] = re.compile(r"[\x20-\x7e]+")
    client_key_pattern: ClassVar[re.Pattern[str] | None] = None
    """What a whole client_id looks like, and a client_key where it can be told from a client_secret."""
    default_expires_in: int = 3600
    """Life of an access token in seconds, where the answer does not say."""
    refresh_lifetime: int | None = None
    """Life of a refresh token in seconds; None when unknown."""
    keep_alive_lifetime: int = 3600
    """Life of an access token in seconds after its `keep_alive_call`."""
    uid_pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{1,32}", re.ASCII)
    """What a whole user id looks like."""
    token_names: Mapping[str, tuple[str, ...]] = {}
    """Names of `Token` fields in its answers, the first one present wins; absent = the field's own name."""
    invalid_grant_errors: frozenset[str] = frozenset({"invalid_grant"})
    invalid_grant_codes: frozenset[int] = frozenset()
    """Its dialects of invalid_grant at a token endpoint: values of `error`, and codes of its REST errors."""
    api_errors: Mapping[type[APIError], tuple[int, ...]] = {}
    """Codes of its REST errors by what they mean; any other code is a plain APIError."""
    password_errors: Mapping[str, str] = {}
    """Its own words (codes, values of `error`) for no to a password: an `error` of RFC 6749, or what stands in
    the way: "captcha", "browser" (the user has to log in there first), "blocked", "deleted"."""

    # --- RFC 6749 ----------------------------------------------------------------------------------------

    def authorization_url(
        self,
        credentials: Credentials,
        *,
        response_type: str,
        redirect_uri: str,
        state: str,
        scope: str = "",
        code_challenge: str = "",
    ) -> str:
        """Where to send the browser (RFC 6749, sections 4.1.1 and 4.2.1); `scope` is separated by spaces.

        Raises UnsupportedGrant when the network does not know the response type.
        """
        if response_type not in self.response_types:
            self._unsupported(f"response_type {response_type!r}")
        params = {
            "response_type": response_type,
            "client_id": credentials.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.scope_separator.join(scope.split()),
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256" if code_challenge else "",
        }
        query = urlencode({name: value for name, value in params.items() if value}, quote_via=quote)
        return f"{self.authorization_endpoint}{'&' if '?' in self.authorization_endpoint else '?'}{query}"

    def token_request(self, credentials: Credentials, grant: Grant) -> Request:
        """The access token request (RFC 6749, sections 4.1.3, 4.3.2 and 6), the client named in its body.

        Raises UnsupportedGrant when the network does not offer the grant.
        """
        url = self.token_endpoints.get(grant.grant_type) or self._unsupported(f"{grant.grant_type} grant")
        params = grant.params() | {
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
        }
        if isinstance(grant, PasswordGrant) and grant.scope:
            params["scope"] = self.scope_separator.join(grant.scope.split())
        return Request("POST", url, params)

    def parse_token(self, data: Any) -> Token:
        """The token in an answer: the JSON body of a token endpoint or the parameters of a fragment alike.

        Raises OAuthError (InvalidGrant, InvalidClient) or APIError for an error answer, MalformedResponse for
        anything else without a well-formed access token.
        """
        if not isinstance(data, Mapping):
            raise MalformedResponse(f"{self.title}: the token answer is no object")
        error = self.error_in(data)
        if isinstance(error, APIError) and error.code in self.invalid_grant_codes:
            raise InvalidGrant(str(error.code), error.message)
        if error:
            raise error

        def text(name: str) -> str:
            value = self._token_value(data, name)
            if not isinstance(value, str) or not _VSCHARS.fullmatch(value):
                self._malformed(name)
            return value

        def text_or_empty(name: str) -> str:
            return "" if self._token_value(data, name) in (None, "") else text(name)

        uid = self._token_value(data, "uid")
        return Token(
            access_token=text("access_token"),
            refresh_token=text_or_empty("refresh_token"),
            expires_in=seconds(data.get("expires_in")),
            uid="" if uid in (None, "") else self.parse_uid(uid),
            session_secret=text_or_empty("session_secret"),
            scope=" ".join(filter(None, re.split(r"[;,\s]", text_or_empty("scope")))),
            token_type=text_or_empty("token_type"),
        )

    def parse_token_response(self, response: Response) -> Token:
        """The token in the answer of a token endpoint; raises what `parse_token` raises."""
        token = self.parse_token(response.json())
        if not 200 <= response.status < 300:
            raise MalformedResponse(f"{self.title}: HTTP {response.status} with a token")
        return token

    def error_in(self, data: Any) -> ProviderError | None:
        """The error that an answer of any endpoint holds, whatever its HTTP status, or None.

        Known are that of RFC 6749, section 5.2, and those of REST APIs: {"error_code": 104, "error_msg": ...},
        alone or as value of "error".
        """
        if not isinstance(data, Mapping):
            return None
        error = data.get("error")
        if isinstance(error, Mapping):
            return self.api_error(error.get("error_code"), error.get("error_msg"))
        if error is None or error == "":
            code = data.get("error_code")
            return None if code is None else self.api_error(code, data.get("error_msg"))
        if not isinstance(error, str):
            return MalformedResponse(f"{self.title}: an error that is no string")
        kinds = {"invalid_client": InvalidClient, "unauthorized_client": InvalidClient}
        kind = InvalidGrant if error in self.invalid_grant_errors else kinds.get(error, OAuthError)
        return kind(error, data.get("error_description"))

    # --- signed calls ------------------------------------------------------------------------------------

    def api_request(
        self,
        credentials: Credentials,
        token: Token,
        method: str,
        params: Mapping[str, Any],
        circuit: Circuit,
    ) -> Request:
        """A signed call of the network's `method`; `params` are plain Python values.

        Raises ValueError for a reserved parameter name, a value that has no form on the wire, or when the
        secret of the circuit is empty. `providers.signing` helps with all of it.
        """
        raise NotImplementedError

    def parse_api(self, response: Response) -> Any:
        """The result of a call. Raises APIError, or MalformedResponse for anything that is no result."""
        data = response.json()
        if error := self.error_in(data):
            raise error
        if not 200 <= response.status < 300:
            raise MalformedResponse(f"{self.title}: HTTP {response.status} without an error in its body")
        return data

    def identity_call(self) -> tuple[str, Mapping[str, Any]]:
        """Method and parameters of the call that names the owner of the token it is made with."""
        raise NotImplementedError

    def parse_identity(self, result: Any) -> Identity:
        """Who the result of `identity_call` names; `identity_from` helps. Raises MalformedResponse."""
        raise NotImplementedError

    def keep_alive_call(self, token: Token) -> tuple[str, Mapping[str, Any]] | None:
        """The call that prolongs a token which has no refresh token; None when there is none.

        From then on the token lives for `keep_alive_lifetime`.
        """
        return None

    def can_refresh(self, token: Token) -> bool:
        """Whether the network would prolong this token without its user."""
        if token.refresh_token and "refresh_token" in self.token_endpoints:
            return True
        return self.keep_alive_call(token) is not None

    # --- help for subclasses -----------------------------------------------------------------------------

    def parse_uid(self, value: object) -> str:
        """`value` (a string, or an integer as JSON has it) as user id. Raises MalformedResponse."""
        uid = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(uid, str) or not self.uid_pattern.fullmatch(uid):
            self._malformed("uid")
        return uid

    def identity_from(self, data: Any) -> Identity:
        """The identity in an object with uid, name, first_name, last_name and email: only uid must be there.

        Of the rest of the object the strings, numbers and booleans are kept as `profile`, cleaned.
        """
        if not isinstance(data, Mapping):
            raise MalformedResponse(f"{self.title}: the profile is no object")
        named = {name: clean_text(data.get(name)) for name in ("name", "first_name", "last_name", "email")}
        named["name"] = named["name"] or f"{named['first_name']} {named['last_name']}".strip()
        profile = {
            clean_text(name): clean_text(value, limit=500) if isinstance(value, str) else value
            for name, value in data.items()
            if isinstance(value, (str, int, float)) and name not in ("uid", *named)
        }
        return Identity(uid=self.parse_uid(data.get("uid")), **named, profile=profile)

    def api_error(self, code: object, message: object = "") -> ProviderError:
        """The error for a network's code, an integer or a digit string."""
        number = int(code) if isinstance(code, str) and re.fullmatch(r"-?[0-9]{1,9}", code) else code
        if not isinstance(number, int) or isinstance(number, bool):
            return MalformedResponse(f"{self.title}: an error code that is no number")
        kinds = (kind for kind, codes in self.api_errors.items() if number in codes)
        return next(kinds, APIError)(number, message)

    def _token_value(self, data: Mapping[str, Any], name: str) -> Any:
        for key in self.token_names.get(name, (name,)):
            if (value := data.get(key)) is not None:
                return reveal(value) if isinstance(value, Secret) else value
        return None

    def _malformed(self, name: str) -> NoReturn:
        raise MalformedResponse(f"{self.title}: {name} is missing or malformed")

    def _unsupported(self, what: str) -> NoReturn:
        raise UnsupportedGrant(f"{self.title} does not support the {what}")


def seconds(value: object) -> int | None:
    """`expires_in` as whole seconds: an integer, a float (floored) or a digit string; else None = unknown."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _CENTURY:
        return None
    return int(value)
