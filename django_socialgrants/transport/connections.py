"""Connections that keep one deadline for a whole exchange, from the first SYN to the last byte of the body.

The timeouts of `requests` and urllib3 are limits of a single read: a server that sends a byte now and then
holds its client for ever. Here every wait (connect, TLS handshake, send, each read of headers and body) may
take only what is left. Only the name look-up is out of reach: the system's resolver has limits of its own.

The rest is theirs: urllib3 sends and reads, and the adapter of `requests` finds proxies and pools. The session
around it would keep cookies, follow redirects and read .netrc. Connections are shared by the threads of a process;
a forked child starts with none.
"""

import io
import os
import re
import socket
import ssl
import time
from contextvars import ContextVar
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from threading import Lock
from typing import Any

from requests import PreparedRequest
from requests import Response as RequestsResponse
from requests.adapters import HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection
from urllib3.util.ssl_ import create_urllib3_context

from django_socialgrants.conf import conf

from .environment import proxies_for, trusted_authorities
from .socks import open_through

_BYTES_LIMIT = 8 << 20
"""Of one answer as it comes: more than the limits of its head and body, with the sizes of small chunks."""

_IDLE_CONNECTIONS = 1024
"""To one network, at most: as many as files may be open, so that each of a run's workers finds its own again."""

_NETWORKS = 16
"""Hosts to which connections are kept."""


class Exchange:
    """One request and its answer: how much time is left, and whether anything was `sent` yet."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self.sent = False

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends

    def remaining(self) -> float:
        """Seconds left, more than 0. Raises TimeoutError."""
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the exchange took too long")
        return seconds


current: ContextVar[Exchange] = ContextVar("django_socialgrants.exchange")
"""The exchange that connections of this module work for."""


def send_prepared(prepared: PreparedRequest) -> RequestsResponse:
    """The answer to `prepared`, whose body is yet to be read; `current` must be set all the while."""
    url = prepared.url or ""
    bundle = trusted_authorities() if url.startswith("https:") else ""
    with _lock:
        adapter = _adapter(bundle, bundle and os.stat(bundle).st_mtime_ns)
    return adapter.send(prepared, stream=True, timeout=conf.TIMEOUT, proxies=proxies_for(url))


# --- what is read and sent --------------------------------------------------------------------------------


class _Reader(io.RawIOBase):
    """Reads from a socket; every read waits for what is left of the exchange at most."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._exchange = current.get()
        self._budget = _BYTES_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._exchange.remaining())
        count = self._file.readinto(buffer)
        self._budget -= count or 0
        if self._budget < 0:  # `http.client` reads a chunk of "-1" bytes until the server has enough
            raise HTTPException("an answer without end")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` asks a socket for."""
        return io.BufferedReader(self)


class _Response(HTTPResponse):
    """An answer whose head says one thing only: what is malformed is refused, not guessed."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Reader(sock), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200:  # `http.client` knows 100 as an interim answer, but not 102 and 103
            self.headers = None  # type: ignore[assignment]
            super().begin()
        lengths = [length.strip() for length in self.headers.get_all("content-length", [])]
        codings = self.headers.get_all("transfer-encoding", [])
        if (
            self.headers.defects
            or any("\n" in value for value in self.headers.values())  # folded over lines
            or not all(re.fullmatch("[0-9]{1,18}", length) for length in lengths)
            or len(set(lengths)) > 1
            or [coding.lower() for coding in codings] not in ([], ["chunked"])
        ):
            raise HTTPException("a malformed head")


class _WithDeadline(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Connect; of several addresses each gets its share of the time, so that a dead one can't eat it all."""
        exchange = current.get()
        addresses = socket.getaddrinfo(*self._next_hop(), type=socket.SOCK_STREAM)
        while True:
            address = addresses.pop(0)[4]
            share = exchange.remaining() / (len(addresses) + 1)
            try:
                sock = self._open(str(address[0]), int(address[1]), share)
            except OSError:
                if not addresses:
                    raise
            else:
                sock.settimeout(exchange.remaining())  # for the TLS handshake
                return sock

    def _next_hop(self) -> tuple[str, int]:
        """Where to connect to; for names of this machine (RFC 6761, section 6.3) no name server is asked."""
        return "localhost" if self.host.endswith(".localhost") else self.host, self.port

    def _open(self, address: str, port: int, seconds: float) -> socket.socket:
        return create_connection((address, port), seconds, socket_options=self.socket_options)

    def _tunnel(self) -> None:
        """What a proxy is told to reach the network is not yet said to the network."""
        try:
            super()._tunnel()
        finally:
            current.get().sent = False

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current.get()
        self.sock.settimeout(exchange.remaining())
        exchange.sent = True
        super().send(data)


class _HTTPS(_WithDeadline, HTTPSConnection):
    pass


class _SOCKS(_WithDeadline):
    """Through a SOCKS proxy, whose answers are part of the exchange as well."""

    def __init__(self, *args: Any, _socks_options: dict[str, Any], **kwargs: Any) -> None:
        self._options = _socks_options
        super().__init__(*args, **kwargs)

    def _next_hop(self) -> tuple[str, int]:
        return self._options["proxy_host"], self._options["proxy_port"] or 1080

    def _open(self, address: str, port: int, seconds: float) -> socket.socket:
        return open_through(
            self._options,
            (address, port),
            target=(self.host, self.port),
            seconds=seconds,
            remaining=lambda: current.get().remaining(),
            socket_options=self.socket_options or (),
        )


class _HTTPSThroughSOCKS(_SOCKS, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WithDeadline


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPS


class _SOCKSPool(HTTPConnectionPool):
    ConnectionCls = _SOCKS


class _HTTPSThroughSOCKSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSThroughSOCKS


# --- pools ------------------------------------------------------------------------------------------------


class _Adapter(HTTPAdapter):
    """That of `requests`, with connections that keep our deadline and share one TLS context.

    What it does on behalf of sessions is left out, and pools are looked up only once: together they take a tenth
    of the CPU time of a signed call.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._pool = lru_cache(maxsize=_NETWORKS)(self._find_pool)
        super().__init__(pool_connections=_NETWORKS, pool_maxsize=_IDLE_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            manager = super().proxy_manager_for(proxy, ssl_context=self._tls, **kwargs)
            manager.pool_classes_by_scheme = {"http": _SOCKSPool, "https": _HTTPSThroughSOCKSPool}
        else:
            tls = {"ssl_context": self._tls, "proxy_ssl_context": self._tls}
            manager = super().proxy_manager_for(proxy, **tls, **kwargs)
            manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        return self._pool((request.url or "").partition("?")[0], *(proxies or {}).items())

    def _find_pool(self, url: str, *proxies: tuple[str, str]) -> Any:
        manager: Any = self.poolmanager
        if proxy := select_proxy(url, dict(proxies)):
            proxy = prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call]
            manager = self.proxy_manager_for(proxy)
        return manager.connection_from_url(url)

    def cert_verify(self, *args: Any) -> None:
        """That of `requests` would have every connection load the authorities again."""

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        return super().request_url(request, proxies) if proxies else request.path_url

    def build_response(self, req: PreparedRequest, resp: Any) -> RequestsResponse:
        """Without cookies or a guess at the encoding."""
        response = RequestsResponse()
        response.status_code, response.headers, response.raw = resp.status, resp.headers, resp
        response.url, response.request = req.url or "", req
        return response


@lru_cache(maxsize=4)
def _adapter(bundle: str, changed_at: int) -> _Adapter:
    """The pools of all connections that trust a bundle of authorities, as it was at some time.

    One TLS context serves them all: to load the usual authorities takes 20 ms of CPU and 0.7 MiB.
    """
    if not bundle:
        return _Adapter(None)
    tls = create_urllib3_context()
    tls.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    return _Adapter(tls)


def _start_anew() -> None:
    global _lock
    _lock = Lock()
    _adapter.cache_clear()


_lock: Lock
_start_anew()
os.register_at_fork(after_in_child=_start_anew)  # a socket must not be shared with the parent
