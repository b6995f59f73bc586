"""The values that pass between a network's protocol and everything else. All of them are frozen.

Nothing here shows a secret: what must stay private is wrapped in `Secret`, whose `str()` and `repr()` are
masked and which refuses to be pickled.
"""

import hmac
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from django_socialgrants.exceptions import MASK, MalformedResponse


class Secret:
    """A string that shows itself only when asked: `Secret("s3cret").reveal()`.

    Empty is falsy; `==` (with a `str` or a `Secret`) takes constant time; copying gives the same object.
    """

    __slots__ = ("_value",)

    def __init__(self, value: "str | Secret" = "") -> None:
        if not isinstance(value, (str, Secret)):
            raise TypeError(f"a secret is a str, not {type(value).__name__}")
        self._value = ""  # what a debugger shows should the next line raise
        self._value = reveal(value)

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (str, Secret)):
            return NotImplemented
        if bool(self) != bool(other):
            return False  # emptiness is no secret, and this needs no decryption
        mine, theirs = (text.encode("utf-8", "surrogatepass") for text in (self.reveal(), reveal(other)))
        return hmac.compare_digest(mine, theirs)

    __hash__ = None  # type: ignore[assignment]  # a hash would tell whether two secrets are equal

    def __str__(self) -> str:
        return MASK if self else ""

    def __repr__(self) -> str:
        return f"<Secret {MASK}>" if self else "<Secret empty>"

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: object) -> Any:
        if not self:
            return Secret, ()
        raise TypeError("a Secret is not pickled: pass the primary key of its row, or reveal() it on purpose")


def reveal(value: str | Secret) -> str:
    """The clear text of `value`."""
    return value.reveal() if isinstance(value, Secret) else value


class SecretFields:
    """A mixin for dataclasses: wraps the fields named in `_secrets` into `Secret`."""

    _secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self._secrets:
            value = getattr(self, name)
            if not isinstance(value, Secret):
                object.__setattr__(self, name, Secret(value))


class Circuit(StrEnum):
    """Which secret signs a call: the application's own, or the one that the session or the client holds."""

    SERVER_SERVER = "server-server"
    CLIENT_SERVER = "client-server"


@dataclass(frozen=True)
class Credentials(SecretFields):
    """What a network gave out when the application was registered."""

    client_id: str
    client_secret: str | Secret = field(default="", repr=False)
    client_key: str | Secret = field(default="", repr=False)

    _secrets = ("client_secret", "client_key")


@dataclass(frozen=True)
class Token(SecretFields):
    """An access token response (RFC 6749, section 5.1) with what the networks add to it.

    `expires_in` is in seconds, None when unknown; everything else is "" when absent. `scope` is separated by
    spaces, whatever the network uses.
    """

    access_token: str | Secret = field(default="", repr=False)
    refresh_token: str | Secret = field(default="", repr=False)
    expires_in: int | None = None
    uid: str = ""
    session_secret: str | Secret = field(default="", repr=False)
    scope: str = ""
    token_type: str = ""
    device_id: str | Secret = field(default="", repr=False)
    """What the token is bound to, at networks that tell devices apart; sent along with every refresh."""

    _secrets = ("access_token", "refresh_token", "session_secret", "device_id")

    def bearer(self) -> dict[str, str | Secret]:
        """The header that carries the access token of a call (RFC 6750, section 2.1)."""
        return {"Authorization": Secret(f"Bearer {reveal(self.access_token)}")}


@dataclass(frozen=True)
class Identity:
    """Who a network says the owner of a token is; only `uid` is certain to be there.

    `profile` holds further details (strings, numbers and booleans only), for display.
    """

    uid: str
    name: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    profile: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def names(self) -> dict[str, str]:
        """name, first_name and last_name, by these names."""
        return {"name": self.name, "first_name": self.first_name, "last_name": self.last_name}


@dataclass(frozen=True)
class Request:
    """A request to a network: `params` are form-encoded into the body of a POST.

    `headers` are sent beside those of every request, which they can't replace. Each `Secret` among the values of
    both is revealed only when it is sent; a GET has none among its `params`, which are part of its URL.
    """

    method: str
    url: str
    params: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Response:
    """A network's answer: HTTP status, headers with lower-case names, decoded body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Response is not pickled: its body may hold tokens")

    def json(self) -> Any:
        """The body as strict JSON (RFC 8259), whatever the content type says.

        Raises MalformedResponse for anything else: not UTF-8, HTML, empty, NaN or infinity, doubled names in
        an object, numbers longer than 64 digits, nesting too deep to read.
        """
        try:
            return json.loads(
                self.body.decode("utf-8"),
                object_pairs_hook=_object,
                parse_constant=_no_constant,
                parse_float=_finite,
                parse_int=_short_int,
            )
        except (ValueError, RecursionError):
            pass  # raised below, outside of this handler: the context would quote the body
        raise MalformedResponse(f"HTTP {self.status} without valid JSON in {len(self.body)} bytes")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("doubled name")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("infinite")
    return number


def _short_int(digits: str) -> int:
    if len(digits) > 64:
        raise ValueError("huge number")
    return int(digits)
