"""The four grants of RFC 6749, each a frozen value whose fields are the parameters of its requests.

A refresh token is a grant like the others (RFC 6749, section 6). The implicit grant makes no token request:
it *is* the answer, brought by the browser, and it proves nothing.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import ClassVar, Self

from .values import Secret, SecretFields


class Grant(SecretFields):
    """What all grants share: `grant_type` and the parameters of the token request.

    `state` is a fresh random string, for networks that want one in the token request; `device_id` is what the
    token is bound to, at networks that tell devices apart.
    """

    grant_type: ClassVar[str]
    state: str | Secret = ""
    device_id: str | Secret = ""

    def params(self) -> dict[str, str | Secret]:
        """`grant_type` and every field that is not empty, by its name in the RFC."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {"grant_type": self.grant_type} | {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class AuthorizationCodeGrant(Grant):
    """RFC 6749, section 4.1.3; `code_verifier` is that of RFC 7636."""

    grant_type = "authorization_code"

    code: str | Secret = field(repr=False)
    redirect_uri: str
    code_verifier: str | Secret = field(default="", repr=False)
    device_id: str | Secret = field(default="", repr=False)
    state: str | Secret = field(default="", repr=False)

    _secrets = ("code", "code_verifier", "device_id", "state")


@dataclass(frozen=True)
class PasswordGrant(Grant):
    """RFC 6749, section 4.3.2; RFC 9700 advises against it. `scope` is separated by spaces."""

    grant_type = "password"

    username: str
    password: str | Secret = field(repr=False)
    scope: str = ""

    _secrets = ("password",)


@dataclass(frozen=True)
class RefreshTokenGrant(Grant):
    """RFC 6749, section 6."""

    grant_type = "refresh_token"

    refresh_token: str | Secret = field(repr=False)
    device_id: str | Secret = field(default="", repr=False)
    state: str | Secret = field(default="", repr=False)

    _secrets = ("refresh_token", "device_id", "state")


@dataclass(frozen=True)
class ImplicitGrant(Grant):
    """RFC 6749, section 4.2.2: what the fragment said; `others` are parameters that the RFC does not know."""

    grant_type = "implicit"

    access_token: str | Secret = field(repr=False)
    token_type: str = ""
    expires_in: str = ""
    scope: str = ""
    others: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)

    _secrets = ("access_token",)

    @classmethod
    def from_fragment(cls, fragment: Mapping[str, str]) -> Self:
        """The grant in a parsed fragment; one without an access token is refused by `parse_token`."""
        known = {item.name for item in fields(cls)} - {"others"}
        return cls(
            **{"access_token": "", **{name: fragment[name] for name in known & fragment.keys()}},
            others={name: Secret(value) for name, value in fragment.items() if name not in known},
        )

    def params(self) -> dict[str, str | Secret]:
        """The parameters of the fragment again, as `Provider.parse_token` takes them."""
        named = {name: getattr(self, name) for name in ("access_token", "token_type", "expires_in", "scope")}
        return {name: value for name, value in named.items() if value} | dict(self.others)


def code_challenge(code_verifier: str) -> str:
    """The PKCE challenge (RFC 7636, section 4.2, S256) for a verifier of 43 to 128 unreserved characters."""
    return base64url(sha256(code_verifier.encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """`data` in base64url without padding (RFC 7636, appendix A)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
