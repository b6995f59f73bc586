"""Connections that keep one deadline for a whole exchange, from the first SYN to the last byte of the body.

The timeouts of `requests` and urllib3 are limits of a single read: a server that sends a byte now and then
holds its client for ever. Here every wait (connect, TLS handshake, send, each read of headers and body) may
take only what is left. Only the name look-up is out of reach: the system's resolver has limits of its own.
"""

import io
import socket
import time
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection


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
    """A socket's file whose every read waits for what is left of the exchange at most."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open until the body is read
        self._exchange = current.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._exchange.remaining())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` asks a socket for."""
        return io.BufferedReader(self)


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Reader(sock), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Drop what does not parse as headers: urllib3 would log it, and a network may have quoted a secret."""
        super().begin()
        self.headers.defects.clear()
        self.headers.set_payload("")


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

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current.get()
        self.sock.settimeout(exchange.remaining())
        exchange.sent = True
        super().send(data)


class _HTTPS(_WithDeadline, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WithDeadline


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPS


POOL_CLASSES = {"http": _HTTPPool, "https": _HTTPSPool}
"""For `PoolManager.pool_classes_by_scheme` of urllib3."""
