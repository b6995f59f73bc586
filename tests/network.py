"""A real HTTP server on loopback that plays a network, well or badly: what it answers is one callable a path.

network.on("/ok/token", answer(b"<html>", content_type="text/html"))
network.on("/ok/api", lambda call: call.drip(b"HTTP/1.1 200 OK\\r\\n"))
"""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

Behaviour = Callable[["Call"], None]


@dataclass
class Call:
    """One request as the server received it, and the means to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    handler: BaseHTTPRequestHandler = field(repr=False)
    stop: threading.Event = field(repr=False)

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def raw(self, data: bytes) -> None:
        self.handler.wfile.write(data)

    def drip(self, head: bytes, drop: bytes = b"x", every: float = 0.05) -> None:
        """Send `head`, then `drop` again and again until the client has enough."""
        try:
            self.raw(head)
            while not self.stop.wait(every):
                self.raw(drop)
        except OSError:
            pass
        self.handler.close_connection = True

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.stop.wait()
        self.handler.close_connection = True


def answer(
    data: Any,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Behaviour:
    """A behaviour that answers `data`: bytes as they are, anything else as JSON."""

    def behave(call: Call) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        call.handler.send_response(status)
        call.handler.send_header("Content-Type", content_type)
        call.handler.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            call.handler.send_header(name, value)
        call.handler.end_headers()
        call.raw(body)

    return behave


class Network:
    """One network: `url`, what it was asked (`calls`), and how many `connections` were opened to it."""

    def __init__(self, server: "Server") -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.behaviours: dict[str, Behaviour] = {}
        self.stop = threading.Event()
        self.url = f"http://127.0.0.1:{server.server_port}"
        self._server = server

    def on(self, path: str, behaviour: Behaviour) -> None:
        self.behaviours[path] = behaviour

    def calls_to(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]


class Server(ThreadingHTTPServer):
    """Plays one network after the other, and lets none see what is left of those before it."""

    daemon_threads = True
    request_queue_size = 256  # many clients come at once

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.current = Network(self)
        self.current.stop.set()
        self.open: set[socket.socket] = set()

    @contextmanager
    def network(self) -> Iterator[Network]:
        self.current = network = Network(self)
        try:
            yield network
        finally:
            network.stop.set()
            for connection in tuple(self.open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are what many tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection, which belongs to the network that was played when it was opened."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.network = self.server.current
        self.network.connections += 1
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        if self.network.stop.is_set():
            self.close_connection = True
        else:
            super().handle_one_request()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # whoever asked is gone
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, self.path, headers, body, self, self.network.stop)
        self.network.calls.append(call)
        behaviour = self.network.behaviours.get(self.path, answer({"error": "no such path"}, status=404))
        behaviour(call)

    do_GET = do_POST

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving() -> Iterator[Network]:
    """A network with a server of its own."""
    with running() as server, server.network() as network:
        yield network
