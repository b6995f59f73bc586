"""What the values of one application have to look like. No message quotes a value: some are secrets."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from django_socialgrants.oauth.values import Secret, reveal

_LONGEST_SECRET = 4096
_SCHEMES_OF_BROWSERS = {
    "about",
    "blob",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "view-source",
    "ws",
    "wss",
}
_URI = re.compile(r"[\x21-\x7e]{1,500}")  # RFC 3986 has no other characters
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def validate_printable(value: str | Secret) -> None:
    """What is copied from a page has no line breaks in it, and no halves of characters."""
    if not reveal(value).isprintable():
        raise ValidationError(_("It holds a line break or another character that can't be printed."))


def validate_secret(value: str | Secret) -> None:
    """No network gives out longer ones."""
    validate_printable(value)
    if len(reveal(value)) > _LONGEST_SECRET:
        raise ValidationError(_("It is longer than %(limit)d characters."), params={"limit": _LONGEST_SECRET})


def validate_native_redirect_uris(value: str) -> None:
    """One redirect URI a line, each of a kind that RFC 8252, section 7, has for native apps."""
    for number, line in enumerate(value.splitlines(), start=1):
        if line.strip() and (problem := _wrong_redirect_uri(line.strip())):
            raise ValidationError(
                _("Line %(number)d: %(problem)s."), params={"number": number, "problem": problem}
            )


def _wrong_redirect_uri(uri: str) -> Any:
    """Why a native app can't have this redirect URI, "" if it can."""
    try:
        parts = urlsplit(uri)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return _("no URI")
    if not _URI.fullmatch(uri) or not _SCHEME.fullmatch(parts.scheme):
        return _("no URI")
    if "#" in uri:
        return _("a redirect URI has no fragment (RFC 6749, section 3.1.2)")
    if parts.scheme in _SCHEMES_OF_BROWSERS:
        return _("this scheme belongs to browsers; an app has one of its own, like com.example.app:/callback")
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1"):
        return _("http:// is only for http://127.0.0.1 and http://[::1] (RFC 8252, section 7.3)")
    if parts.scheme == "https" and (not host or "@" in parts.netloc):
        return _("it has no host, or more than that")
    return ""
