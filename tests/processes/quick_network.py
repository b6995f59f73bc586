"""A network in a process of its own that does as little as it can, so that its work is not taken for ours."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_BODY = b'{"access_token":"%032x","refresh_token":"%032x","token_type":"bearer","expires_in":86400}'
_numbers = count(1)


class _Protocol(asyncio.Protocol):
    """Every request is worth a new token, `latency` seconds later."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not separator or len(body) < int(length):
            return
        self._buffer = b""
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        number = next(_numbers)
        body = _BODY % (number, number)
        self._transport.write(_HEAD % len(body) + body)


def _serve(ready: Connection, latency: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Protocol(latency), "127.0.0.1", 0, backlog=500)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def quick_network(latency: float = 0) -> Iterator[str]:
    """The URL of the network; any path and any refresh token will do."""
    spawning = multiprocessing.get_context(
        "spawn"
    )  # a fork would take along the test's threads and connections
    here, there = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(there, latency), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()
