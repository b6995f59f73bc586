"""RFC 6749 as pure methods: values in, values out, no network and no clock.

A network is a subclass of `Provider`. It does *not* send anything, store anything or decide who anybody is:
that is done by `transport`, `models` and `flows`.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote, quote_plus, urlencode

from django_socialgrants.exceptions import InvalidClient, UnsupportedGrant

from .grants import Grant, PasswordGrant
from .parameters import encode_params
from .reading import ReadsAnswers
from .values import Circuit, Credentials, Request, Secret, Token, reveal


class Provider(ReadsAnswers):
    """One network.

    A subclass has to say: `id`, `title`, the endpoints, `api_request`, `identity_call`, `parse_identity`. It
    may change the attributes below them and those of `ReadsAnswers`. The methods under "RFC 6749" seldom need to
    be overridden.
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
    identity_endpoint = ""
    """Where it says whose a token is; "" where that is a call of its API, `identity_call`."""
    revocation_endpoint: str = ""
    """Where a token is revoked (RFC 7009); "" where it can't be."""

    # --- what a network may say --------------------------------------------------------------------------

    response_types: tuple[str, ...] = ("code", "token")
    """Those of the authorization endpoint: "code" and "token" (the implicit grant)."""
    scope_separator: str = " "
    client_authentication: str = "client_secret_post"
    """How a token request proves which application it comes from, in the words of OpenID Connect: by a secret in
    the body or the header ("client_secret_post", "client_secret_basic": RFC 6749, 2.3.1), or not ("none")."""
    booleans: tuple[str, str] = ("false", "true")
    """Its words for False and True, as parameters of a call."""
    pkce: bool = False
    """Whether it takes part in PKCE (RFC 7636) with S256."""
    ways: Mapping[str, str] = {}
    """Ways in that one application offers, by the network's word for each, with a title; the default one first."""
    callback_fields: tuple[str, ...] = ()
    """Fields of the grant that come beside the code, as parameters of the callback; none may be missing."""
    reuse_is_fatal: bool = False
    """Whether a refresh token that is presented twice takes with it all that came of it."""
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
        way: str = "",
    ) -> str:
        """Where to send the browser (RFC 6749, sections 4.1.1 and 4.2.1); `scope` is separated by spaces.

        `way` is one of `ways`, "" for the default one. Raises UnsupportedGrant when the network does not know the
        response type or the way.
        """
        if response_type not in self.response_types:
            self._unsupported(f"response_type {response_type!r}")
        if way and way not in self.ways:
            self._unsupported(f"way in {way!r}")
        params = {
            "response_type": response_type,
            "client_id": credentials.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.scope_separator.join(scope.split()),
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256" if code_challenge else "",
            **self.authorization_params(scope=scope, way=way),
        }
        query = urlencode({name: value for name, value in params.items() if value}, quote_via=quote)
        return f"{self.authorization_endpoint}{'&' if '?' in self.authorization_endpoint else '?'}{query}"

    def authorization_params(self, *, scope: str, way: str) -> Mapping[str, str]:
        """What the network wants to know besides: which way in is asked for, above all."""
        return {}

    def token_request(self, credentials: Credentials, grant: Grant) -> Request:
        """The access token request (RFC 6749, sections 4.1.3, 4.3.2 and 6).

        The grant's `state` is sent where `echoes_state` says so. Raises UnsupportedGrant when the network does not
        offer the grant.
        """
        url = self.token_endpoints.get(grant.grant_type) or self._unsupported(f"{grant.grant_type} grant")
        params = grant.params()
        if isinstance(grant, PasswordGrant) and grant.scope:
            params["scope"] = self.scope_separator.join(grant.scope.split())
        if not self.echoes_state:
            params.pop("state", None)
        return self._authenticated(credentials, url, params)

    # --- signed calls ------------------------------------------------------------------------------------

    def api_request(
        self,
        credentials: Credentials,
        token: Token,
        method: str,
        params: Mapping[str, Any],
        circuit: Circuit,
    ) -> Request:
        """A signed call of the network's `method`; `params` are what `encoded` has made of the caller's.

        Raises ValueError when the secret of the circuit is empty.
        """
        raise NotImplementedError

    def encoded(self, params: Mapping[str, Any]) -> dict[str, str | Secret]:
        """Python values as the `params` of a call, see `encode_params`; what is encoded already stays as it is.

        Raises ValueError for a reserved name, and for a value that has no form on the wire.
        """
        return encode_params(params, booleans=self.booleans)

    def identity_request(self, credentials: Credentials, token: Token) -> Request:
        """The request whose answer names the owner of `token`, for `parse_identity_response` to read.

        The token alone in the body (RFC 6750, section 2.2), for the `identity_endpoint`; where there is none,
        `identity_call`, signed with the application's own secret.
        """
        if self.identity_endpoint:
            return Request("POST", self.identity_endpoint, {"access_token": token.access_token})
        method, params = self.identity_call()
        return self.api_request(credentials, token, method, self.encoded(params), Circuit.SERVER_SERVER)

    def revocation_request(self, credentials: Credentials, token: Token) -> Request | None:
        """The request that takes back what `token` stands for (RFC 7009), for `parse_revocation` to read.

        By default it names the refresh token if there is one. None when the network knows no revocation, or none
        of this token.
        """
        if not self.revocation_endpoint:
            return None
        params = {"token": token.refresh_token or token.access_token}
        return self._authenticated(credentials, self.revocation_endpoint, params)

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

    def require_secret(self, credentials: Credentials) -> None:
        """Raise what the network would say, before it is asked: InvalidClient, if a required secret is empty."""
        if "client_secret" in self.required_credentials and not credentials.client_secret:
            raise InvalidClient("invalid_client", "no client_secret is stored")

    # --- help for subclasses -----------------------------------------------------------------------------

    def _authenticated(
        self, credentials: Credentials, url: str, params: Mapping[str, str | Secret]
    ) -> Request:
        """A request that proves which application it comes from, as `client_authentication` says."""
        if self.client_authentication == "client_secret_basic":
            pair = (quote_plus(reveal(part)) for part in (credentials.client_id, credentials.client_secret))
            basic = Secret(f"Basic {b64encode(':'.join(pair).encode()).decode()}")
            return Request("POST", url, params, {"Authorization": basic})
        client: dict[str, str | Secret] = {"client_id": credentials.client_id}
        if self.client_authentication == "client_secret_post" and credentials.client_secret:
            client["client_secret"] = credentials.client_secret
        return Request("POST", url, {**params, **client})

    def _unsupported(self, what: str) -> NoReturn:
        raise UnsupportedGrant(f"{self.title} does not support the {what}")
