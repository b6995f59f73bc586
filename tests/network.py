"""A real HTTP server on loopback that plays a network, well or badly: what it answers is one callable a path.

network.on("/ok/token", answer(b"<html>", content_type="text/html"))
network.on("/ok/api", lambda call: call.drip(b"HTTP/1.1 200 OK\\r\\n"))
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # many clients come at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are what many tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Network:
    """The server: `url`, what it was asked (`calls`), and how many `connections` were opened to it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.behaviours: dict[str, Behaviour] = {}
        self.stop = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, path: str, behaviour: Behaviour) -> None:
        self.behaviours[path] = behaviour

    def calls_to(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        network = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                network.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, self.path, headers, body, self, network.stop)
                network.calls.append(call)
                behaviour = network.behaviours.get(self.path, answer({"error": "no such path"}, status=404))
                behaviour(call)

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def serving() -> Iterator[Network]:
    network = Network()
    thread = threading.Thread(
        target=network._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield network
    finally:
        network.stop.set()
        network._server.shutdown()
        network._server.server_close()
        thread.join()
