"""How a network's answers are read: values in, values out, as in `oauth.provider`.

Whatever a network says becomes a value of `oauth.values` or a ProviderError; nothing else leaves these methods.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

from django_socialgrants.exceptions import (
    APIError,
    InvalidClient,
    InvalidGrant,
    MalformedResponse,
    OAuthError,
    ProviderError,
    ProviderUnavailable,
    SessionExpired,
    clean_text,
)

from .grants import Grant
from .values import Credentials, Identity, Response, Secret, Token, reveal

# RFC 6749, appendix A: tokens are made of VSCHAR. The length is ours.
_VSCHARS = re.compile(r"[\x20-\x7e]{1,4096}")
_INVALID_TOKEN = re.compile(r'\berror="?invalid_token\b')
# What stands for an HTTP status that a redirect or a 200 can't have: RFC 6749, section 4.1.2.1, and RFC 8628, 3.5.
_UNAVAILABLE = {"server_error": 500, "temporarily_unavailable": 503, "slow_down": 429}
_CENTURY = 100 * 365 * 24 * 3600


class ReadsAnswers:
    """The half of `Provider` that reads. The attributes are what a network may say about its answers."""

    title: str
    identity_endpoint: str = ""
    uid_pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{1,32}", re.ASCII)
    """What a whole user id looks like."""
    token_names: Mapping[str, tuple[str, ...]] = {}
    """Names of `Token` fields in its answers, the first one present wins; absent = the field's own name."""
    invalid_grant_errors: frozenset[str] = frozenset({"invalid_grant"})
    invalid_grant_codes: frozenset[int] = frozenset()
    """Its dialects of invalid_grant at a token endpoint: values of `error`, and codes of its REST errors."""
    api_errors: Mapping[type[APIError], tuple[int, ...]] = {}
    """Codes of its REST errors by what they mean; any other code is a plain APIError."""
    result_name: str = ""
    """Under which name the result of a call stands in its answer; "" = the answer is the result."""
    echoes_state: bool = False
    """Whether a token request carries a `state`, which its answer has to repeat if it names one."""

    # --- token endpoint ----------------------------------------------------------------------------------

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

    def parse_token_response(self, response: Response, grant: Grant) -> Token:
        """The token in a token endpoint's answer to `grant`, whose device it is bound to.

        Raises what `parse_token` raises, and MalformedResponse for an answer to another request.
        """
        data = self.json_in(response)
        token = self.parse_token(data)
        if not 200 <= response.status < 300:
            raise MalformedResponse(f"{self.title}: HTTP {response.status} with a token")
        if self.echoes_state and data.get("state") not in (None, "") and data["state"] != grant.state:
            raise MalformedResponse(f"{self.title}: the token answer repeats another state")
        return replace(token, device_id=grant.device_id)

    # --- other endpoints ---------------------------------------------------------------------------------

    def parse_api(self, response: Response) -> Any:
        """The result of a call. Raises as `parse_answer`, and MalformedResponse where `result_name` is missing."""
        data = self.parse_answer(response)
        if not self.result_name:
            return data
        if not isinstance(data, Mapping) or self.result_name not in data:
            raise MalformedResponse(f"{self.title}: neither {self.result_name} nor an error")
        return data[self.result_name]

    def parse_answer(self, response: Response) -> Any:
        """The JSON in the answer of an endpoint to which an access token was presented.

        A token that is called invalid, in the header or the body (RFC 6750, section 3.1), is a SessionExpired;
        raises APIError, OAuthError or MalformedResponse for whatever else is no result.
        """
        if response.status == 401 and _INVALID_TOKEN.search(response.headers.get("www-authenticate", "")):
            raise SessionExpired(401, "invalid_token")
        data = self.json_in(response)
        if error := self.error_in(data):
            if isinstance(error, OAuthError) and error.error == "invalid_token":
                raise SessionExpired(401, error.description)
            raise error
        if not 200 <= response.status < 300:
            raise MalformedResponse(f"{self.title}: HTTP {response.status} without an error in its body")
        return data

    def identity_call(self) -> tuple[str, Mapping[str, Any]]:
        """Method and parameters of the call that names the owner of the token it is made with.

        Not asked for where there is an `identity_endpoint`.
        """
        raise NotImplementedError

    def parse_identity(self, result: Any) -> Identity:
        """Who a result of `identity_call` or an answer of the `identity_endpoint` names; `identity_from` helps.

        Raises MalformedResponse.
        """
        raise NotImplementedError

    def parse_identity_response(self, response: Response, credentials: Credentials) -> Identity:
        """Who the answer to `Provider.identity_request` names. Raises as `parse_api` and `parse_identity`."""
        if self.identity_endpoint:
            return self.parse_identity(self.parse_answer(response))
        try:
            return self.parse_identity(self.parse_api(response))
        except APIError as error:
            error.method, _ = self.identity_call()
            raise

    def parse_revocation(self, response: Response) -> None:
        """Read the answer to `Provider.revocation_request` (RFC 7009, section 2.2).

        That the token is good for nothing is a success. Raises ProviderError if it may still be good.
        """
        if response.body or not 200 <= response.status < 300:
            with suppress(InvalidGrant, SessionExpired):
                self.parse_answer(response)

    # --- errors ------------------------------------------------------------------------------------------

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
        if status := _UNAVAILABLE.get(error):
            gateway_status = 502 if status == 500 else 503
            text = f"{self.title}: {error}"
            return ProviderUnavailable(text, sent=True, status=status, gateway_status=gateway_status)
        kinds = {"invalid_client": InvalidClient, "unauthorized_client": InvalidClient}
        kind = InvalidGrant if error in self.invalid_grant_errors else kinds.get(error, OAuthError)
        return kind(error, data.get("error_description"))

    # --- help for subclasses -----------------------------------------------------------------------------

    def json_in(self, response: Response) -> Any:
        """The JSON in any answer. Raises MalformedResponse, or what the network means by something else."""
        return response.json()

    def parse_uid(self, value: object) -> str:
        """`value` (a string, or an integer as JSON has it) as user id. Raises MalformedResponse."""
        uid = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(uid, str) or not self.uid_pattern.fullmatch(uid):
            self._malformed("uid")
        return uid

    def identity_from(self, data: Any, *, uid: str = "uid") -> Identity:
        """The identity in an object with name, first_name, last_name, email and what `uid` names, which alone must
        be there.

        Of the rest of the object the strings, numbers and booleans are kept as `profile`, cleaned.
        """
        if not isinstance(data, Mapping):
            raise MalformedResponse(f"{self.title}: the profile is no object")
        named = {name: clean_text(data.get(name)) for name in ("name", "first_name", "last_name", "email")}
        named["name"] = named["name"] or f"{named['first_name']} {named['last_name']}".strip()
        profile = {
            clean_text(name): clean_text(value, limit=500) if isinstance(value, str) else value
            for name, value in data.items()
            if isinstance(value, (str, int, float)) and name not in (uid, *named)
        }
        return Identity(uid=self.parse_uid(data.get(uid)), **named, profile=profile)

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


def seconds(value: object) -> int | None:
    """`expires_in` as whole seconds: an integer, a float (floored) or a digit string; else None = unknown."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _CENTURY:
        return None
    return int(value)
