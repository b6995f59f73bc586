"""The one place that talks to a network: `send(Request) -> Response`.

Connections are pooled for the life of the process and shared by its threads; a forked child starts with an
empty pool. This module does *not* know OAuth, follow redirects, keep cookies, read .netrc or retry: a POST that
may have been received is never sent twice.

No error that leaves it has a frame, a cause or a context in which a secret stands in clear: they are made
where the secrets are, but raised where none is.
"""

import ipaddress
import os
import re
import time
import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from requests import PreparedRequest
from requests import Response as RequestsResponse
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from .conf import conf
from .deadline import POOL_CLASSES, Exchange, current
from .exceptions import DeadlineExceeded, MalformedResponse, ProviderError, ProviderUnavailable, clean_text
from .oauth.values import Request, Response, Secret, reveal

BODY_LIMIT = 256 * 1024
"""Bytes of an answer's body, before and after decompression."""

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "django-socialgrants"}
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

T = TypeVar("T")


def send(request: Request) -> Response:
    """Send `request` and return the whole answer, within SOCIALGRANTS_TIMEOUT seconds.

    Any status below 500 but redirects and 429 is an answer. Raises ProviderUnavailable (DeadlineExceeded when
    time was up) or MalformedResponse; DecryptionError when a secret in `params` can't be read.
    """
    _require_secure(request.url)
    prepared = _prepare(request)
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


def _require_secure(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (
        parts.scheme == "http" and conf.INSECURE_LOOPBACK and is_loopback(parts.hostname or "")
    ):
        return
    raise ProviderUnavailable(
        f"refused to call {parts.scheme}://{parts.hostname}: networks are called over https, or over http on "
        "loopback with SOCIALGRANTS_INSECURE_LOOPBACK"
    )


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) is this machine, without asking a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secrets(request: Request) -> list[str]:
    return [value.reveal() for value in request.params.values() if isinstance(value, Secret)]


def _prepare(request: Request) -> PreparedRequest:
    prepared = PreparedRequest()
    if request.method == "POST":
        prepared.prepare(
            "POST",
            request.url,
            headers={**_HEADERS, "Content-Type": "application/x-www-form-urlencoded"},
            data=urlencode({name: reveal(value) for name, value in request.params.items()}),
        )
    elif _secrets(request):
        raise ValueError(f"a {request.method} would carry a secret in its URL")
    else:
        prepared.prepare(request.method, request.url, headers=_HEADERS, params=dict(request.params))
    return prepared


def _attempt(prepared: PreparedRequest, exchange: Exchange) -> Response | ProviderError:
    """The answer, or the error to raise. Nothing is raised here: the frames below hold the body in clear."""
    token = current.set(exchange)
    url = prepared.url or ""
    try:
        answer = _adapter().send(
            prepared,
            stream=True,
            timeout=conf.TIMEOUT,
            verify=_verify(),
            proxies=_proxies(url, *_proxy_values()),
        )
        try:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            body = _decoded(_read(answer), headers.get("content-encoding", ""))
        finally:
            answer.close()  # gives the connection back if the body was read to its end, else drops it
    except _Unusable as error:
        return MalformedResponse(f"{urlsplit(url).hostname}: {error}")
    except Exception as error:
        if exchange.is_over:
            return DeadlineExceeded(f"{urlsplit(url).hostname}: no answer in time", sent=exchange.sent)
        text = f"{urlsplit(url).hostname}: {type(error).__name__}: {clean_text(str(error))}"
        return ProviderUnavailable(text, sent=exchange.sent)
    finally:
        current.reset(token)
    return _judged(Response(answer.status_code, headers, body), urlsplit(url).hostname)


def _judged(response: Response, host: str | None) -> Response | ProviderError:
    """The response, unless its status says that it is none."""
    if response.status == 429 or response.status >= 500:
        return ProviderUnavailable(
            f"{host}: HTTP {response.status}",
            retry_after=_retry_after(response.headers.get("retry-after", "")),
            sent=True,
            gateway_status=503 if response.status in (429, 503) else 502,
        )
    if not 200 <= response.status < 300 and response.status < 400:
        return MalformedResponse(f"{host}: HTTP {response.status}, and redirects are not followed")
    return response


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
    if re.fullmatch(r"[0-9]{1,9}", value):
        seconds = int(value)
    else:
        try:
            seconds = int(parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 1), 3600)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = POOL_CLASSES
        return manager


@lru_cache(maxsize=1)
def _adapter() -> HTTPAdapter:
    """The pool of `requests`, without the session around it, which would keep cookies and follow redirects."""
    return _Adapter(pool_connections=16, pool_maxsize=64)


os.register_at_fork(after_in_child=_adapter.cache_clear)  # a socket must not be shared with the parent


def _verify() -> str | bool:
    return conf.CA_BUNDLE or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _proxy_values() -> tuple[str | None, ...]:
    names = (*_PROXY_VARIABLES, *(name.upper() for name in _PROXY_VARIABLES))
    return tuple(os.environ.get(name) for name in names)


@lru_cache(maxsize=64)
def _proxies(url: str, *environment: str | None) -> dict[str, str]:
    """Proxies for `url`; `environment` is what the answer depends on, and so part of the cache's key."""
    return get_environ_proxies(url, no_proxy=None)
