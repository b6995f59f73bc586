"""Python values as the parameters of a call: here, and here alone, they become the strings that are sent.

So those that are signed and those that are sent are the same, for every network.
"""

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .values import Secret

RESERVED = frozenset(
    {"sig", "method", "application_key", "app_id", "access_token", "session_key", "format", "secure"}
)
"""Names that are filled in for the caller, in any case."""

_METHOD = re.compile(r"\w+(\.\w+)*", re.ASCII)


def encode_params(params: Mapping[str, Any], *, booleans: tuple[str, str]) -> dict[str, str | Secret]:
    """`params` as they go over the wire; `booleans` are the network's words for False and True.

    None is left out; 0, False and "" are kept; lists and tuples are joined with commas; a dict becomes JSON.
    Raises ValueError for a reserved name and for a value that has no such form.
    """
    check_names(params)
    return {name: _encode(name, value, booleans) for name, value in params.items() if value is not None}


def check_names(params: Mapping[str, Any]) -> None:
    """Raises ValueError for a name that is reserved, or is none."""
    for name in params:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a parameter's name must be a string: {name!r}")
        if name.lower() in RESERVED:
            raise ValueError(f"the parameter {name!r} is reserved: it is filled in for you")
        _unicode(name, name)


def check_method(method: str) -> str:
    """`method` itself if it looks like a network's method, "users.getInfo"; else ValueError."""
    if not _METHOD.fullmatch(method):
        raise ValueError(f"not the name of a method: {method!r}")
    return method


def _encode(name: str, value: Any, booleans: tuple[str, str]) -> str | Secret:
    if type(value) is str:
        return _unicode(name, value)
    if isinstance(value, Secret):
        _unicode(name, value.reveal())
        return value
    if isinstance(value, (list, tuple)):
        return ",".join(_encode_scalar(name, item, booleans) for item in value)
    if isinstance(value, dict):
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"the parameter {name!r} holds something that JSON does not know") from None
        return _unicode(name, text)
    return _encode_scalar(name, value, booleans)


def _encode_scalar(name: str, value: Any, booleans: tuple[str, str]) -> str:
    if isinstance(value, str):
        return _unicode(name, str.__str__(value))  # of a StrEnum its value
    if isinstance(value, bool):
        return booleans[value]
    if isinstance(value, int):
        return str(int(value))  # of an IntEnum too
    if isinstance(value, (float, Decimal)) and math.isfinite(value):
        return str(value)
    raise ValueError(f"the parameter {name!r} holds a {type(value).__name__}: make it a string first")


def _unicode(name: str, text: str) -> str:
    """`text` itself, if UTF-8 can say it; the error of `encode()` would carry the text along."""
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError(f"the parameter {ascii(name)} is not valid Unicode")
    return text
