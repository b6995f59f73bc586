"""The one place that talks to a network: `send(Request) -> Response`.

Connections are pooled for the life of the process and shared by its threads; a forked child starts with an
empty pool. This module does *not* know OAuth, follow redirects, keep cookies, read .netrc or retry: a POST that
may have been received is never sent twice.

No error that leaves it has a frame, a cause or a context in which a secret stands in clear: they are made
where the secrets are, but raised where none is.
"""

import ipaddress
import os
import time
import zlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

from requests import PreparedRequest, RequestException
from requests import Response as RequestsResponse
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from .conf import conf
from .deadline import POOL_CLASSES, Exchange, current
from .exceptions import DeadlineExceeded, MalformedResponse, ProviderError, ProviderUnavailable, clean_text
from .oauth.values import Request, Response, Secret, reveal

BODY_LIMIT = 256 * 1024
"""Bytes of an answer's body, before and after decompression."""

USER_AGENT = "django-socialgrants"

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

T = TypeVar("T")


def send(request: Request) -> Response:
    """Send `request` and return the whole answer, within SOCIALGRANTS_TIMEOUT seconds.

    Any status below 500 but redirects and 429 is an answer. Raises ProviderUnavailable (DeadlineExceeded when
    time was up) or MalformedResponse; DecryptionError when a secret in `params` can't be read.
    """
    prepared = _prepare(request)
    if isinstance(prepared, Exception):
        raise prepared
    outcome = _attempt(prepared, Exchange(conf.TIMEOUT))
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
    return parts.scheme == "https" and bool(host)


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) is this machine, without asking a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secrets(request: Request) -> list[str]:
    """The secrets of a request in clear, as they are and as they are written in its body."""
    secrets = [value.reveal() for value in request.params.values() if isinstance(value, Secret)]
    return [*secrets, *(quote_plus(secret, errors="replace") for secret in secrets)]


def _prepare(request: Request) -> PreparedRequest | ProviderUnavailable | ValueError:
    """The request as it goes over the wire, or the error to raise: those of `requests` hold what they met."""
    if request.method != "POST" and _secrets(request):
        raise ValueError(f"a {request.method} would carry a secret in its URL")
    prepared = PreparedRequest()
    revealed = {name: reveal(value) for name, value in request.params.items()}
    try:
        if request.method == "POST":
            headers = {**_HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
            prepared.prepare("POST", request.url, headers=headers, data=urlencode(revealed))
        else:
            prepared.prepare(request.method, request.url, headers=_HEADERS, params=revealed)
    except RequestException:
        return ProviderUnavailable("refused to call a malformed URL")
    except UnicodeError:
        return ValueError("a parameter is not valid Unicode")
    # Both, as two parsers can differ about the host.
    if not is_secure(request.url) or not is_secure(prepared.url or ""):
        return ProviderUnavailable(
            f"refused to call {clean_text(request.url)}: networks are called over https, or over http on loopback "
            "with SOCIALGRANTS_INSECURE_LOOPBACK"
        )
    return prepared


def _attempt(prepared: PreparedRequest, timed: Exchange) -> Response | ProviderError:
    """The answer, or the error to raise. Nothing is raised here: the frames below hold the body in clear."""
    token = current.set(timed)
    url = prepared.url or ""
    host = urlsplit(url).hostname
    try:
        answer = _adapter.send(
            prepared,
            stream=True,
            timeout=conf.TIMEOUT,
            verify=_verify(),
            proxies=_proxies(url, *_proxy_values()),
        )
        try:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if trouble := _trouble(answer.status_code, headers, host):
                return trouble
            body = _decoded(_read(answer), headers.get("content-encoding", ""))
        finally:
            answer.close()  # gives the connection back if the body was read to its end, else drops it
    except _Unusable as error:
        return MalformedResponse(f"{host}: {error}")
    except Exception as error:
        if timed.is_over:
            return DeadlineExceeded(f"{host}: no answer in time", sent=timed.sent)
        text = f"{host}: {type(error).__name__}: {clean_text(str(error))}"
        return ProviderUnavailable(text, sent=timed.sent)
    finally:
        current.reset(token)
    return Response(answer.status_code, headers, body)


def _trouble(status: int, headers: Mapping[str, str], host: str | None) -> ProviderError | None:
    """The error that a status stands for, whatever the body; None for an answer that can be read."""
    if status == 429 or status >= 500:
        return ProviderUnavailable(
            f"{host}: HTTP {status}",
            retry_after=_retry_after(headers.get("retry-after", "")),
            sent=True,
            status=status,
            gateway_status=503 if status in (429, 503) else 502,
        )
    if not 200 <= status < 300 and status < 400:
        return MalformedResponse(f"{host}: HTTP {status}, and redirects are not followed")
    return None


class _Unusable(Exception):
    """The body is none that this package reads."""


def _read(answer: RequestsResponse) -> bytes:
    body = bytearray()
    while chunk := answer.raw.read(BODY_LIMIT + 1 - len(body), decode_content=False):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise _Unusable(f"more than {BODY_LIMIT} bytes")
    return bytes(body)


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


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # those have connections of their own, without our deadline
            manager.pool_classes_by_scheme = POOL_CLASSES
        return manager


def _open_pool() -> None:
    """The pool of `requests`, without the session around it, which would keep cookies and follow redirects."""
    global _adapter
    _adapter = _Adapter(pool_connections=16, pool_maxsize=64)


_adapter: HTTPAdapter
_open_pool()
os.register_at_fork(after_in_child=_open_pool)  # a socket must not be shared with the parent


def _verify() -> str | bool:
    return conf.CA_BUNDLE or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _proxy_values() -> tuple[str | None, ...]:
    names = (*_PROXY_VARIABLES, *(name.upper() for name in _PROXY_VARIABLES))
    return tuple(os.environ.get(name) for name in names)


@lru_cache(maxsize=64)
def _proxies(url: str, *environment: str | None) -> dict[str, str]:
    """Proxies for `url`; `environment` is what the answer depends on, and so part of the cache's key."""
    return get_environ_proxies(url, no_proxy=None)
