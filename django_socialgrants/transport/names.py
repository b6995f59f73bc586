"""Name look-ups, for who wants to know whether they work: connections make their own."""

import socket


def addresses(host: str) -> list[str]:
    """The addresses of a host, as the system's resolver knows them. Raises OSError."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
