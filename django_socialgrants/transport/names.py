"""Names of hosts: connections look them up themselves, here they are asked about."""

import ipaddress
import socket


def addresses(host: str) -> list[str]:
    """The addresses of a host, as the system's resolver knows them. Raises OSError."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) is this machine, without asking a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
