"""Connections that keep one deadline for a whole exchange, from the first SYN to the last byte of the body.

The timeouts of `requests` and urllib3 are limits of a single read: a server that sends a byte now and then
holds its client for ever. Here every wait (connect, TLS handshake, send, each read of headers and body) may
take only what is left. Only the name look-up is out of reach: the system's resolver has limits of its own.
"""

import io
import re
import socket
import time
from collections.abc import Mapping
from contextvars import ContextVar
from http.client import HTTPException
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from .answer import Answer, IncomingAnswer, is_answer

_BYTES_LIMIT = 8 << 20
"""Of one answer as it comes: more than the limits of its head and body, with the sizes of small chunks."""

_HEAD = re.compile(r"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[-A-Za-z]+: [ -~]*\r\n)+\r\n")


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


class _Reader(io.RawIOBase):
    """Reads from a socket; every read waits for what is left of the exchange at most."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._exchange = current.get()
        self._budget = _BYTES_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._exchange.remaining())
        count = self._sock.recv_into(buffer)
        self._budget -= count
        if self._budget < 0:  # `http.client` reads a chunk of "-1" bytes until the server has enough
            raise HTTPException("an answer without end")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` asks a socket for."""
        return io.BufferedReader(self)


class _Response(IncomingAnswer):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Reader(sock), *args, **kwargs)  # type: ignore[arg-type]


class _WithDeadline(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Connect; of several addresses each gets its share of the time, so that a dead one can't eat it all."""
        exchange = current.get()
        addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        while True:
            address = addresses.pop(0)[4]
            share = exchange.remaining() / (len(addresses) + 1)
            try:
                sock = create_connection(
                    (str(address[0]), int(address[1])), share, socket_options=self.socket_options
                )
            except OSError:
                if not addresses:
                    raise
            else:
                sock.settimeout(exchange.remaining())  # for the TLS handshake
                return sock

    def _tunnel(self) -> None:
        """What a proxy is told to reach the network is not yet said to the network."""
        try:
            super()._tunnel()
        finally:
            current.get().sent = False

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Send head and body (of ASCII) in one piece: urllib3 sends two, and builds them header by header."""
        lines = [f"{name}: {value}\r\n" for name, value in (headers or {}).items()]
        head = f"{method} {url} HTTP/1.1\r\n{''.join(lines)}\r\n"
        if not _HEAD.fullmatch(head):
            raise ValueError("a request that would not be understood")
        self.send(f"{head}{body or ''}".encode("ascii"))

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current.get()
        self.sock.settimeout(exchange.remaining())
        exchange.sent = True
        super().send(data)

    def getresponse(self) -> Answer:  # type: ignore[override]
        """The answer, whole if it is one: then, and only then, the connection can be used again."""
        incoming = self.response_class(self.sock)
        incoming.begin()
        body = incoming.read_body() if is_answer(incoming.status) else b""
        if incoming.will_close or not incoming.isclosed():
            self.close()
        return Answer(incoming.status, incoming.head, body)


class _HTTPS(_WithDeadline, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WithDeadline  # type: ignore[assignment]  # of its answers nothing but a few names is used

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        """Release the connection at once: `getresponse` is done with it."""
        return super().urlopen(*args, **{**kwargs, "release_conn": True})


class _HTTPSPool(_HTTPPool, HTTPSConnectionPool):
    ConnectionCls = _HTTPS  # type: ignore[assignment]


POOL_CLASSES = {"http": _HTTPPool, "https": _HTTPSPool}
"""For `PoolManager.pool_classes_by_scheme` of urllib3."""
