"""The one place that talks to a network: `send(Request) -> Response`.

This module does *not* know OAuth, follow redirects, keep cookies, read .netrc or retry: a POST that
may have been received is never sent twice.

No error that leaves it has a frame, a cause or a context in which a secret stands in clear: they are made
where the secrets are, but raised where none is.
"""

import re
import time
import zlib
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar
from urllib.parse import quote_plus, unquote_plus, urlencode, urlsplit

from requests import PreparedRequest, RequestException
from requests import Response as RequestsResponse

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import (
    DeadlineExceeded,
    MalformedResponse,
    ProviderError,
    ProviderUnavailable,
    clean_text,
)
from django_socialgrants.oauth.values import Request, Response, Secret, reveal

from .connections import Exchange, current, send_prepared
from .names import is_loopback

BODY_LIMIT = 256 * 1024
"""Bytes of an answer's body, before and after decompression."""

USER_AGENT = "django-socialgrants"

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
_HOST = re.compile(r"[-.:\w]+")
_FIELD_NAME = re.compile(r"[A-Za-z][-A-Za-z]*")
_FIELD_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")

T = TypeVar("T")


def send(request: Request) -> Response:
    """Send `request` and return the whole answer, within SOCIALGRANTS_TIMEOUT seconds.

    Any status below 500 but redirects and 429 is an answer. Raises ProviderUnavailable (DeadlineExceeded when
    time was up) or MalformedResponse; DecryptionError when a secret in `params` or `headers` can't be read;
    ValueError when the request can't be put into HTTP.
    """
    endpoint = _endpoint(request.url, conf.INSECURE_LOOPBACK)
    prepared = _prepare(request, endpoint)
    if isinstance(prepared, Exception):
        raise prepared
    outcome = _attempt(prepared, endpoint.host, Exchange(conf.TIMEOUT))
    if isinstance(outcome, ProviderError):
        outcome.redact(_secrets(request))
        raise outcome
    return outcome


def exchange(request: Request, parse: Callable[[Response], T]) -> T:
    """What `parse` makes of the answer to `request`; its errors are freed of every secret that was sent."""
    outcome = _parsed(send(request), parse)
    if isinstance(outcome, ProviderError):
        outcome.redact(_secrets(request))
        raise outcome
    return outcome


def _parsed(response: Response, parse: Callable[[Response], T]) -> T | ProviderError:
    """The result, or the error to raise: without the frames of `parse`, which hold the answer in clear."""
    try:
        return parse(response)
    except ProviderError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)
    except Exception as error:  # a provider's parser met what its author never thought of
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else "?"
        return MalformedResponse(f"the answer made {place} raise {type(error).__name__}")


def is_secure(url: str) -> bool:
    """Whether `url` is https, or http on this machine where SOCIALGRANTS_INSECURE_LOOPBACK allows it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "http":
        return conf.INSECURE_LOOPBACK and is_loopback(host)
    return parts.scheme == "https" and bool(_HOST.fullmatch(host))


def _secrets(request: Request) -> list[str]:
    """The secrets of a request in clear, as they are and as they are written in its body or headers."""
    secrets = [value.reveal() for value in request.params.values() if isinstance(value, Secret)]
    secrets += [quote_plus(secret, errors="replace") for secret in secrets]
    for value in request.headers.values():
        if isinstance(value, Secret):
            scheme, _, credentials = value.reveal().partition(" ")  # the scheme of an `Authorization` is none
            secrets += [value.reveal(), credentials]
            if scheme == "Basic":  # RFC 6749, section 2.3.1: the secret is quoted, then encoded
                with suppress(ValueError):
                    quoted = b64decode(credentials).decode().partition(":")[2]
                    secrets += [quoted, unquote_plus(quoted)]
    return secrets


class _Endpoint(NamedTuple):
    """A URL that may be called, as `requests` writes it; the `Host` header; the name or address alone."""

    url: str
    authority: str
    host: str


@lru_cache(maxsize=64)
def _endpoint(url: str, insecure_loopback: bool) -> _Endpoint:
    """The endpoint; `insecure_loopback` is what the answer depends on. Raises ProviderUnavailable."""
    prepared = PreparedRequest()
    try:
        prepared.prepare_url(url, None)
    except RequestException:
        raise ProviderUnavailable("refused to call a malformed URL") from None
    checked = prepared.url or ""
    # Both, as two parsers can differ about the host.
    if not is_secure(url) or not is_secure(checked):
        raise ProviderUnavailable(
            f"refused to call {clean_text(url)}: networks are called over https, or over http on loopback "
            "with SOCIALGRANTS_INSECURE_LOOPBACK"
        )
    parts = urlsplit(checked)
    return _Endpoint(checked, parts.netloc.rpartition("@")[2], parts.hostname or "")


def _prepare(request: Request, endpoint: _Endpoint) -> PreparedRequest | ValueError:
    """The request as it goes over the wire, or the error to raise: those of `requests` hold what they met."""
    if request.method != "POST" and any(isinstance(value, Secret) for value in request.params.values()):
        return ValueError(f"a {request.method} would carry a secret in its URL")
    prepared = PreparedRequest()
    revealed = {name: reveal(value) for name, value in request.params.items()}
    headers = {name.title(): reveal(value) for name, value in request.headers.items()}
    if not all(_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(headers[name]) for name in headers):
        return ValueError("a header is not printable ASCII")
    headers |= {"Host": endpoint.authority, **_HEADERS}
    try:
        if request.method != "POST":
            prepared.prepare(request.method, endpoint.url, headers=headers, params=revealed)
            return prepared
        body = urlencode(revealed)
    except RequestException:
        return ValueError("the parameters don't make a URL")
    except UnicodeError:
        return ValueError("a parameter is not valid Unicode")
    # By hand: `prepare()` would look for files, cookies, passwords and hooks first.
    prepared.method, prepared.url, prepared.body = "POST", endpoint.url, body
    headers |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    prepared.headers = headers  # type: ignore[assignment]  # that names may be in any case is of no use here
    return prepared


def _attempt(prepared: PreparedRequest, host: str, timed: Exchange) -> Response | ProviderError:
    """The answer, or the error to raise. Nothing is raised here: the frames below hold the body in clear."""
    token = current.set(timed)
    try:
        answer = send_prepared(prepared)
        try:
            headers = {name.lower(): answer.headers[name] for name in answer.headers}
            if trouble := _trouble(answer.status_code, headers, host):
                return trouble
            body = _decoded(_read(answer), headers.get("content-encoding", ""))
        finally:
            answer.close()  # what was not read to the end can't be used again
    except _Unusable as error:
        return _unusable(f"{host}: {error}", answer.status_code)
    except Exception as error:
        if timed.is_over:
            return DeadlineExceeded(f"{host}: no answer in time", sent=timed.sent)
        return ProviderUnavailable(f"{host}: {_said_by(error, timed.sent)}", sent=timed.sent)
    finally:
        current.reset(token)
    return Response(answer.status_code, headers, body)


def _said_by(error: Exception, sent: bool) -> str:
    """What went wrong; in names only where the text may quote an answer."""
    if not sent:
        return f"{type(error).__name__}: {clean_text(str(error))}"
    root: BaseException = error
    while root.__context__:
        root = root.__context__
    return f"{type(error).__name__}: {type(root).__name__}"


def _trouble(status: int, headers: Mapping[str, str], host: str) -> ProviderError | None:
    """The error that a status stands for, whatever the body; None for an answer that can be read."""
    if 200 <= status < 300 or (400 <= status < 500 and status != 429):
        return None
    if status == 429 or status >= 500:
        return ProviderUnavailable(
            f"{host}: HTTP {status}",
            retry_after=_retry_after(headers.get("retry-after", "")),
            sent=True,
            status=status,
            gateway_status=503 if status in (429, 503) else 502,
        )
    return _unusable(f"{host}: HTTP {status}, and redirects are not followed", status)


def _unusable(message: str, status: int) -> MalformedResponse:
    error = MalformedResponse(message)
    error.status = status
    return error


class _Unusable(Exception):
    """The body is none that this package reads."""


def _read(answer: RequestsResponse) -> bytes:
    body = b""
    while chunk := answer.raw.read(BODY_LIMIT + 1 - len(body), decode_content=False):
        body += chunk
    if len(body) > BODY_LIMIT:
        raise _Unusable(f"more than {BODY_LIMIT} bytes")
    return body


def _decoded(body: bytes, encoding: str) -> bytes:
    """Decompression with a limit on what comes out: 256 KiB of gzip can hold 260 MB."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise _Unusable(f"the content encoding {clean_text(encoding, limit=20)!r}, which was not asked for")
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(body, BODY_LIMIT + 1)
    except zlib.error:
        raise _Unusable("broken gzip") from None
    if len(plain) > BODY_LIMIT:
        raise _Unusable(f"more than {BODY_LIMIT} bytes, compressed")
    if not inflater.eof:
        raise _Unusable("cut off gzip")
    return plain


def _retry_after(value: str) -> int | None:
    """Retry-After (RFC 9110, 10.2.3) in seconds between 1 and 3600; None when absent or malformed."""
    try:
        if value.isascii() and value.isdigit():
            seconds = int(value[-400:])
        else:
            seconds = int(parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return None
    return min(max(seconds, 1), 3600)
