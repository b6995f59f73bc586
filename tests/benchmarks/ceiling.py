"""How quick the network itself is: too slow a network would be measured in place of its clients."""

import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.processes.quick_network import quick_network

from .certificates import self_signed

_BODY = b"grant_type=refresh_token&refresh_token=" + b"r" * 32
_POST = b"POST /token HTTP/1.1\r\nHost: network\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_COUNT = 2000


def show_ceiling() -> None:
    """On stderr: requests a second over one connection, by a bare socket and by the quickest client, ours."""
    from django.conf import settings

    from django_socialgrants.oauth.values import Request
    from django_socialgrants.transport.exchange import send

    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder))
        for pem in (None, certificate):
            settings.SOCIALGRANTS_CA_BUNDLE = str(certificate)
            with quick_network(certificate=pem) as url:
                request = Request("POST", f"{url}/token", {"grant_type": "refresh_token"})
                bare, ours = _seconds(_bare(url, pem)), _seconds(lambda request=request: send(request))
            times = ours / bare
            note = "" if times >= 3 else ": LESS THAN THREE TIMES AS QUICK, wall-clock figures say little"
            scheme = url.partition(":")[0]
            print(
                f"the network over {scheme}: {1 / bare:.0f}/s, our transport {1 / ours:.0f}/s{note}",
                file=sys.stderr,
            )
        settings.SOCIALGRANTS_CA_BUNDLE = None


def _bare(url: str, certificate: Path | None) -> Callable[[], object]:
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if certificate:
        sock = ssl.create_default_context(cafile=certificate).wrap_socket(sock, server_hostname="127.0.0.1")

    def ask() -> None:
        sock.sendall(_POST)
        answer = sock.recv(65_536)
        while not answer.endswith(b"}"):
            answer += sock.recv(65_536)

    return ask


def _seconds(ask: Callable[[], object]) -> float:
    """For one request, as the median of several tries."""
    tries = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(_COUNT // 5):
            ask()
        tries.append((time.perf_counter() - began) / (_COUNT // 5))
    return statistics.median(tries)
