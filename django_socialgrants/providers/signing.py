"""The signature that OK.ru and Platform@Mail.Ru share: MD5 over all parameters sorted by name, and a secret.

https://apiok.ru/en/dev/methods/ and https://api.mail.ru/docs/guides/restapi/. What goes in besides differs
from network to network and is said in its own file. This is also the one place that turns Python values into
the strings that are signed and sent, so that both are the same.
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from datetime import date, time
from decimal import Decimal
from hashlib import md5
from typing import Any

from django_socialgrants.oauth.values import Secret, reveal

RESERVED = frozenset(
    {"sig", "method", "application_key", "app_id", "access_token", "session_key", "format", "secure"}
)
"""Names that only the signing code may use, in any case."""

_FORMLESS = (bytes, bytearray, date, time, Mapping, list, tuple, set, frozenset)


def encode_params(params: Mapping[str, Any], *, booleans: tuple[str, str]) -> dict[str, str | Secret]:
    """`params` as they go over the wire; `booleans` are the network's words for False and True.

    None is left out; 0, False and "" are kept; lists and tuples are joined with commas; a dict becomes JSON.
    Raises ValueError for a reserved name and for a value that has no such form.
    """
    encoded: dict[str, str | Secret] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"a parameter's name must be a string: {name!r}")
        if name.lower() in RESERVED:
            raise ValueError(f"the parameter {name!r} is reserved: it is filled in by the signature")
        _utf8(name, name)
        if value is not None:
            encoded[name] = value if isinstance(value, Secret) else _encode(name, value, booleans)
    return encoded


def check_method(method: str) -> str:
    """`method` itself if it looks like a network's method, "users.getInfo"; else ValueError."""
    if not re.fullmatch(r"\w+(\.\w+)*", method, re.ASCII):
        raise ValueError(f"not the name of a method: {method!r}")
    return method


def md5_hex(text: str) -> str:
    """MD5 in lower-case hex over UTF-8: mandated by the protocol of both networks."""
    return md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def signature(
    params: Mapping[str, str | Secret], secret: str | Secret, *, prefix: str = "", skip: Collection[str] = ()
) -> str:
    """MD5 of `prefix`, every name=value sorted by name (without `sig` and those in `skip`), and `secret`.

    Raises ValueError when the secret is empty: such a signature would be anybody's.
    """
    if not secret:
        raise ValueError("the secret that has to sign this call is empty")
    names = sorted(name for name in params if name != "sig" and name not in skip)
    return md5_hex(prefix + "".join(f"{name}={reveal(params[name])}" for name in names) + reveal(secret))


def _encode(name: str, value: Any, booleans: tuple[str, str]) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_encode_scalar(name, item, booleans) for item in value)
    if isinstance(value, Mapping):
        return _utf8(name, json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    return _encode_scalar(name, value, booleans)


def _encode_scalar(name: str, value: Any, booleans: tuple[str, str]) -> str:
    if isinstance(value, bool):
        return booleans[value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the parameter {name!r} is not a finite number")
    if value is None or isinstance(
        value, (bytes, bytearray, date, time, Mapping, list, tuple, set, frozenset)
    ):
        raise ValueError(f"the parameter {name!r} holds a {type(value).__name__}: make it a string first")
    if isinstance(value, int):
        return str(int(value))  # an IntEnum too
    if isinstance(value, (float, Decimal)):
        return str(value)
    return _utf8(name, str.__str__(value) if isinstance(value, str) else str(value))


def _utf8(name: str, text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"the parameter {name!r} is not valid Unicode") from None
    return text
