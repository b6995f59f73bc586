"""A network in a process of its own that does as little as it can, so that its work is not taken for ours."""

import asyncio
import multiprocessing
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_REFRESHED = b'{"access_token":"%032x","refresh_token":"%032x","token_type":"bearer","expires_in":86400}'
_GRANTED = (
    b'{"access_token":"t%b","refresh_token":"r%b","token_type":"bearer","expires_in":86400,'
    b'"x_mailru_vid":"%b"}'
)
_PROFILE = (
    b'{"uid":"%b","first_name":"Ivan","last_name":"Petrov","name":"Ivan Petrov","nick":"ivan%b",'
    b'"email":"ivan%b@example.org","link":"https://example.org/%b"}'
)
_CODE = re.compile(rb"[?&]?\bcode=(\d+)")
_WHOSE = re.compile(rb"(?:session_key=t|access_token=t|uids=)(\d+)")
_numbers = count(1)


def _answer_to(head: bytes, body: bytes) -> bytes:
    """A code is the user id of whom it is for, and so is a token; a refresh is worth a new token."""
    if b"grant_type=" in body:
        if code := _CODE.search(body):
            return _GRANTED % (code[1], code[1], code[1])
        number = next(_numbers)
        return _REFRESHED % (number, number)
    whose = _WHOSE.search(body) or _WHOSE.search(head)
    uid = whose[1] if whose else b"561234567890"
    profile = _PROFILE % (uid, uid, uid, uid)
    return b"[%b]" % profile if b"/platform/api" in head else profile


class _Protocol(asyncio.Protocol):
    """Every request has its answer `latency` seconds later."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not separator or len(body) < int(length or 0):
            return
        self._buffer = b""
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._answer, head, body)
        else:
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        answer = _answer_to(head, body)
        self._transport.write(_HEAD % len(answer) + answer)


def _serve(ready: Connection, latency: float, certificate: Path | None) -> None:
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Protocol(latency), "127.0.0.1", 0, backlog=500, ssl=context
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def quick_network(latency: float = 0, certificate: Path | None = None) -> Iterator[str]:
    """The URL of the network; any path, code and refresh token will do.

    With the path of a PEM file (certificate and key) it speaks TLS.
    """
    spawning = multiprocessing.get_context(
        "spawn"
    )  # a fork would take along the test's threads and connections
    here, there = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(there, latency, certificate), daemon=True)
    process.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()
