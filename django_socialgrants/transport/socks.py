"""Connections through a SOCKS proxy, whose answers are part of the exchange as well."""

import socket
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any


def open_through(
    proxy: Mapping[str, Any],
    address: tuple[str, int],
    *,
    target: tuple[str, int],
    seconds: float,
    remaining: Callable[[], float],
    socket_options: Iterable[tuple[int, int, int | bytes]],
) -> socket.socket:
    """A socket that is connected with `target` through the proxy at `address`, within so many seconds.

    `proxy` is what urllib3 has read from the proxy's URL. Every wait for an answer of the proxy takes what is
    `remaining` at most. Raises OSError.
    """
    sock: Any = _socket_class()(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.remaining = remaining
    try:
        for option in socket_options:
            sock.setsockopt(*option)
        sock.settimeout(seconds)
        person = proxy["username"], proxy["password"]
        sock.set_proxy(proxy["socks_version"], *address, proxy["rdns"], *person)
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    connected: socket.socket = sock
    return connected


@cache
def _socket_class() -> type[socket.socket]:
    """The socket of PySocks, which has to be there only for those who use such a proxy."""
    import socks

    class Socket(socks.socksocket):  # type: ignore[misc]
        remaining: Callable[[], float]

        def recv_into(self, *args: Any) -> Any:
            self.settimeout(self.remaining())
            return super().recv_into(*args)

    return Socket
