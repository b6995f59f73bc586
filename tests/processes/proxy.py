"""A wire between a process and its database that can be cut."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Passes bytes between `port` on loopback and a server, until `cut()`; `turned_away` counts what came then.

    A connection whose client says `fatal` is cut when the server has answered that, and before the client hears
    of it; then `fatal` is forgotten.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._is_cut = False
        self.turned_away = 0
        self.fatal = b""
        self.port = self._listener.getsockname()[1]

    def cut(self) -> None:
        """Drop all connections, and every new one at once."""
        self._is_cut = True
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def restore(self) -> None:
        self._is_cut = False

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                self.turned_away += 1
                client.close()
                continue
            server = socket.create_connection(self._server)
            self._open += [client, server]
            doomed = threading.Event()
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(*ends, doomed), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _pass_on(self, source: socket.socket, sink: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if doomed.is_set():
                    break
                if self.fatal and self.fatal in data:
                    self.fatal = b""
                    doomed.set()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    proxy = Proxy(host, port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
