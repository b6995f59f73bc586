"""Talking to a network that misbehaves: what is sent, what is taken for an answer, and how long it may take."""

import gc
import gzip
import ipaddress
import logging
import os
import pickle
import select
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import traceback
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote_plus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from django_socialgrants.exceptions import (
    MASK,
    DeadlineExceeded,
    DecryptionError,
    InvalidGrant,
    MalformedResponse,
    OAuthError,
    ProviderError,
    ProviderUnavailable,
)
from django_socialgrants.oauth.grants import RefreshTokenGrant
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Credentials, Request, Secret
from django_socialgrants.storage.fields import StoredSecret
from django_socialgrants.transport.exchange import BODY_LIMIT, exchange, send
from tests.network import answer, serving

SECRET = "planted-0123456789abcdef"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, settings):
    for name in (*PROXIES, *(name.upper() for name in PROXIES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    settings.SOCIALGRANTS_TIMEOUT = 10


@contextmanager
def quiet_serving():
    """A server that takes it calmly when clients leave early, as they do here all the time."""
    with serving() as running:
        running._server.handle_error = lambda *args: None
        yield running


@pytest.fixture(scope="module")
def standing():
    with quiet_serving() as running:
        yield running


@pytest.fixture
def server(standing):
    """A server for tests that don't mind which of its connections are open already."""
    standing.calls, standing.behaviours = [], {"/": answer({"ok": True})}
    return standing


@pytest.fixture
def new_server(loopback, monkeypatch):
    """A server to which no connection is open."""
    monkeypatch.setattr(loopback, "handle_error", lambda *args: None)
    with loopback.network() as running:
        running.on("/", answer({"ok": True}))
        yield running


@pytest.fixture
def elsewhere():
    with quiet_serving() as running:
        yield running


def post(server, path="/", **params):
    return Request("POST", f"{server.url}{path}", params or {"access_token": Secret(SECRET)})


def refusal(request, kind=ProviderUnavailable):
    with pytest.raises(ProviderError) as caught:
        send(request)
    assert type(caught.value) is kind, repr(caught.value)
    return caught.value


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# --- what is sent ----------------------------------------------------------------------------------------


def test_a_post_carries_its_parameters_in_the_body_and_nowhere_else(server):
    params = {
        "grant_type": "password",
        "name": "Ёж & 1+1=2",
        "empty": "",
        "password": Secret("p/a+s s~w&d=ё"),
    }
    send(post(server, **params))
    [call] = server.calls
    assert (call.method, call.path) == ("POST", "/")
    assert call.body == (
        b"grant_type=password&name=%D0%81%D0%B6+%26+1%2B1%3D2&empty=&password=p%2Fa%2Bs+s~w%26d%3D%D1%91"
    )
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert call.headers["content-length"] == str(len(call.body))
    assert "authorization" not in call.headers


def test_a_secret_is_revealed_in_the_body_only(server):
    send(post(server))
    [call] = server.calls
    assert call.params == {"access_token": SECRET}
    assert SECRET not in f"{call.path} {call.headers}"


def test_a_query_of_the_endpoint_stays_in_the_url(server):
    server.on("/?v=1", answer({}))
    send(post(server, "/?v=1"))
    assert [(call.path, call.params) for call in server.calls] == [("/?v=1", {"access_token": SECRET})]


def test_a_get_carries_its_parameters_in_the_url(server):
    server.on("/?a=1&b=%D1%91", answer({}))
    send(Request("GET", f"{server.url}/", {"a": "1", "b": "ё"}))
    assert [(call.method, call.path, call.body) for call in server.calls] == [("GET", "/?a=1&b=%D1%91", b"")]


def test_a_get_with_a_secret_is_refused(new_server):
    with pytest.raises(ValueError, match="secret") as caught:
        send(Request("GET", f"{new_server.url}/", {"a": "1", "access_token": Secret(SECRET)}))
    assert_silent(caught.value)
    assert new_server.connections == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_headers_are_sent_and_their_secrets_revealed(server, method):
    headers = {"Authorization": Secret(f"Bearer {SECRET}"), "X-Plain": "a b"}
    send(Request(method, f"{server.url}/", headers=headers))
    [call] = server.calls
    assert call.headers["authorization"] == f"Bearer {SECRET}"
    assert call.headers["x-plain"] == "a b"
    assert SECRET not in repr(Request(method, f"{server.url}/", headers=headers))


def test_headers_do_not_replace_those_of_every_request(server):
    given = {"HOST": "evil.example", "content-length": "1", "accept-Encoding": "br", "user-agent": "x"}
    send(Request("POST", f"{server.url}/", {"a": "1"}, given))
    [call] = server.calls
    assert call.headers["host"] == server.url.removeprefix("http://")
    assert call.headers["accept-encoding"] == "gzip"
    assert call.headers["user-agent"] == "django-socialgrants"
    assert call.body == b"a=1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Some", f"{SECRET}\r\nX-Other: 1"),
        ("X-Some", f"{SECRET}\n"),
        ("X-Some", f"{SECRET} ё"),
        ("X-Some", f" {SECRET}"),
        ("X Some", SECRET),
        ("X-Some:", SECRET),
        ("", SECRET),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_header_that_would_be_read_as_something_else_is_refused(new_server, method, name, value):
    with pytest.raises(ValueError, match="header") as caught:
        send(Request(method, f"{new_server.url}/", headers={name: Secret(value)}))
    assert_silent(caught.value)
    assert new_server.connections == 0


def test_an_answer_arrives_whole(server):
    server.on("/", answer(b"\x00\xff raw", status=404, headers={"X-Some": "Header"}))
    response = send(post(server))
    assert (response.status, response.body) == (404, b"\x00\xff raw")
    assert response.headers["x-some"] == "Header"
    assert SECRET not in repr(response)


@pytest.mark.parametrize("status", [200, 201, 204, 299, 400, 401, 403, 404, 418, 422, 499])
def test_a_status_below_500_is_an_answer(server, status):
    server.on("/", answer(b"", status=status))
    assert send(post(server)).status == status


# --- where it is sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://localhost:80@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://evil.example/127.0.0.1",
        "http://evil.example#@127.0.0.1/",
        "http://evil.example?@127.0.0.1/",
        "http://evil.example\\@127.0.0.1/",
        "http://evil.example\\.localhost/",
        "http://0.0.0.0/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "http://[::]/",
        "HTTP://EVIL.EXAMPLE/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/",
        "127.0.0.1",
        "",
        "https://",
        "https://:443/",
        "https://[::1/",
        "https://exa mple.com/",
        "https://*.example/",
    ],
)
def test_only_https_and_loopback_are_called(monkeypatch, url):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail(f"looked up {args}"))
    error = refusal(Request("POST", url, {"access_token": Secret(SECRET)}))
    assert not error.sent
    assert_silent(error)


def test_http_on_loopback_needs_a_setting(new_server, settings):
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    error = refusal(post(new_server))
    assert "SOCIALGRANTS_INSECURE_LOOPBACK" in str(error)
    assert new_server.connections == 0
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = True
    assert send(post(new_server)).status == 200
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    refusal(post(new_server))
    assert len(new_server.calls) == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "site.localhost"])
def test_loopback_has_several_names(server, monkeypatch, host):
    def asked_for(name, *args, look_up=socket.getaddrinfo, **kwargs):
        assert name in ("localhost", "127.0.0.1")
        return look_up(name, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", asked_for)
    assert send(Request("POST", server.url.replace("127.0.0.1", host) + "/", {})).status == 200
    assert server.calls[0].headers["host"].startswith(host.lower())


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
def test_no_redirect_is_followed(server, elsewhere, status):
    for target in (f"{server.url}/next", f"{elsewhere.url}/next", "//127.0.0.1/next", "/next"):
        server.on("/", answer(b"", status=status, headers={"Location": target}))
        refusal(post(server), MalformedResponse)
    assert {call.path for call in server.calls} == {"/"}
    assert elsewhere.connections == 0


def test_no_refresh_header_is_followed(server, elsewhere):
    server.on("/", answer(b"", headers={"Refresh": f"0; url={elsewhere.url}/"}))
    assert send(post(server)).status == 200
    assert elsewhere.connections == 0


# --- the deadline ----------------------------------------------------------------------------------------

OK_HEAD = b"HTTP/1.1 200 OK\r\n"
CLOSING = OK_HEAD + b"Connection: close\r\n"
CHUNKED = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "nothing": lambda call: call.hang(),
    "status line": lambda call: call.drip(b"HTTP/1.1 200 ", b"O", every=0.01),
    "headers": lambda call: call.drip(OK_HEAD + b"X-Long: ", b"x", every=0.01),
    "interim answers": lambda call: call.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every=0.01),
    "no body": lambda call: call.drip(OK_HEAD + b"Content-Length: 9\r\n\r\n", b"", every=0.01),
    "body": lambda call: call.drip(OK_HEAD + b"Content-Length: 99999\r\n\r\n", every=0.01),
    "body without end": lambda call: call.drip(CLOSING + b"\r\n", every=0.01),
    "chunks": lambda call: call.drip(CHUNKED, b"1\r\nx\r\n", every=0.01),
    "size of a chunk": lambda call: call.drip(CHUNKED, b"0", every=0.01),
    "trailers": lambda call: call.drip(CHUNKED + b"0\r\n", b"X: y\r\n", every=0.01),
}


@contextmanager
def deadline_kept(settings, give_up):
    """The block ends by itself; if it does not, `give_up` is called after a while, and the test fails."""
    settings.SOCIALGRANTS_TIMEOUT = 0.4
    late = threading.Event()
    failsafe = threading.Timer(5, lambda: (late.set(), give_up()))
    failsafe.start()
    try:
        yield
        assert not late.is_set()
    finally:
        failsafe.cancel()


@pytest.mark.parametrize("drip", DRIPS)
def test_no_server_holds_us_longer_than_the_deadline(new_server, settings, drip):
    new_server.on("/", DRIPS[drip])
    with deadline_kept(settings, new_server.stop.set):
        error = refusal(post(new_server), DeadlineExceeded)
    assert error.sent
    assert error.gateway_status == 504
    assert_silent(error)
    assert len(new_server.calls) == 1


def test_the_deadline_holds_on_a_connection_that_is_used_again(new_server, settings):
    send(post(new_server))
    new_server.on("/", DRIPS["headers"])
    with deadline_kept(settings, new_server.stop.set):
        assert refusal(post(new_server), DeadlineExceeded).sent
    assert new_server.connections == 1


def test_a_connection_that_was_too_slow_is_not_used_again(new_server, settings):
    new_server.on("/slow", DRIPS["body"])
    with deadline_kept(settings, new_server.stop.set):
        refusal(post(new_server, "/slow"), DeadlineExceeded)
    settings.SOCIALGRANTS_TIMEOUT = 10
    assert send(post(new_server)).json() == {"ok": True}
    assert new_server.connections == 2


def test_a_server_that_does_not_shake_hands_was_sent_nothing(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener, deadline_kept(settings, listener.close):
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        error = refusal(Request("POST", url, {"access_token": Secret(SECRET)}), DeadlineExceeded)
    assert not error.sent
    assert_silent(error)


@contextmanager
def deaf_listener():
    """A listener whose queue of connections is full: nobody is told so, and connecting takes for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        try:
            yield listener
        finally:
            for sock in waiting:
                sock.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_can_not_be_connected_to_was_sent_nothing(settings, scheme):
    with deaf_listener() as listener, deadline_kept(settings, listener.close):
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
        error = refusal(Request("POST", url, {"access_token": Secret(SECRET)}), DeadlineExceeded)
    assert not error.sent


def test_one_dead_address_does_not_eat_the_time_of_the_next(server, settings, monkeypatch):
    look_up = socket.getaddrinfo
    port = int(server.url.rpartition(":")[2])

    def two_addresses(host, wanted, *args, **kwargs):
        found = look_up("127.0.0.1" if host == "localhost" else host, wanted, *args, **kwargs)
        deaf = [(*entry[:4], dead.getsockname()) for entry in found]
        return [*deaf, *found] if host == "localhost" else found

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    settings.SOCIALGRANTS_TIMEOUT = 2
    with deaf_listener() as dead:
        assert send(Request("POST", f"http://localhost:{port}/", {})).status == 200


@pytest.mark.slow
def test_every_exchange_has_a_deadline_of_its_own(server, settings):
    settings.SOCIALGRANTS_TIMEOUT = 1
    for _ in range(3):
        server.on("/slow", lambda call: (call.stop.wait(0.4), answer({})(call)))
        assert send(post(server, "/slow")).status == 200


# --- connections that break ------------------------------------------------------------------------------


def reset(call):
    linger = struct.pack("ii", 1, 0)
    call.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    call.handler.close_connection = True


def cut(data):
    def behave(call):
        call.raw(data)
        call.handler.close_connection = True

    return behave


CUTS = {
    "before the answer": cut(b""),
    "by a reset": reset,
    "in the status line": cut(b"HTTP/1.1 20"),
    "in the headers": cut(OK_HEAD + b"Content-Length: 10\r\nX-So"),
    "before the body": cut(OK_HEAD + b"Content-Length: 10\r\n\r\n"),
    "in the body": cut(OK_HEAD + b"Content-Length: 10\r\n\r\n{}"),
    "before the chunks": cut(CHUNKED),
    "in a chunk": cut(CHUNKED + b'a\r\n{"a":'),
    "between chunks": cut(CHUNKED + b"2\r\n{}\r\n"),
    "by nonsense": cut(b"\x00\x01\x02\r\n\r\n"),
    "by another protocol": cut(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "by a chunk of nonsense": cut(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "by two lengths": cut(OK_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
    "by a line without end": cut(OK_HEAD + b"X: " + b"x" * 70_000),
    "by headers without end": cut(OK_HEAD + b"X: y\r\n" * 500 + b"\r\n"),
}


@pytest.mark.parametrize("how", CUTS)
def test_an_exchange_that_breaks_is_no_answer_and_not_repeated(server, how):
    server.on("/", CUTS[how])
    error = refusal(post(server))
    assert error.sent
    assert (error.gateway_status, error.retry_after) == (503, None)
    assert_silent(error)
    assert len(server.calls) == 1


def test_a_port_that_nobody_listens_on_was_sent_nothing():
    error = refusal(Request("POST", f"http://127.0.0.1:{closed_port()}/", {"access_token": Secret(SECRET)}))
    assert not error.sent
    assert (error.gateway_status, error.retry_after) == (503, None)
    assert_silent(error)


def test_a_name_that_nobody_knows_was_sent_nothing(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = refusal(Request("POST", "https://network.example/", {"access_token": Secret(SECRET)}))
    assert not error.sent
    assert "network.example" in str(error)
    assert_silent(error)


def test_a_secret_that_can_not_be_read_is_told_before_anything_is_sent(new_server):
    with pytest.raises(DecryptionError):
        send(
            post(new_server, access_token=StoredSecret("v1.00000000.AAAA", ("a place",)), code=Secret(SECRET))
        )
    assert new_server.connections == 0


# --- heads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 099 OK",
        b"ICY 200 OK",
        b"\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nNo colon",
        b"HTTP/1.1 200 OK\r\n: no name",
        b"HTTP/1.1 200 OK\r\nX : space",
        b"HTTP/1.1 200 OK\r\nX: folded\r\n line",
        b"HTTP/1.1 200 OK\r\n\xd1\x91: not ASCII",
        b"HTTP/1.1 200 OK\r\nContent-Length:",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0_2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
    ],
)
def test_a_head_that_breaks_the_rules_is_no_answer(server, head):
    server.on("/", cut(head + b"\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
    assert refusal(post(server)).sent


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 200 \xd1\x91",
        b"HTTP/1.1 200 OK\r\nX:",
        b"HTTP/1.1 200 OK\r\nX:\xd1\x91\t\r\ncontent-LENGTH:2 ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\nContent-Length: 2",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK",
    ],
)
def test_a_head_that_is_only_unusual_is_read(server, head):
    server.on("/", cut(head + b"\r\nConnection: close\r\n\r\n{}"))
    assert send(post(server)).json() == {}


def test_headers_of_one_name_are_joined(server):
    server.on("/", cut(b"HTTP/1.1 200 OK\r\nX-Some: a\r\nx-some: b\r\nConnection: close\r\n\r\n"))
    assert send(post(server)).headers == {"x-some": "a, b", "connection": "close"}


def test_a_head_may_be_long(server):
    server.on("/", cut(OK_HEAD + b"Connection: close\r\n" + b"X: y\r\n" * 90 + b"\r\n{}"))
    assert send(post(server)).json() == {}


@pytest.mark.parametrize("size", [b"-1", b"-5"])
def test_a_chunk_of_negative_size_is_no_way_to_flood_us(server, size):
    def flood(call):
        call.raw(CHUNKED + size + b"\r\n")
        while not call.stop.is_set():
            call.raw(b"x" * 65_536)

    server.on("/", flood)
    tracemalloc.start()
    try:
        refusal(post(server))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


# --- bodies ----------------------------------------------------------------------------------------------


def chunked(body):
    def behave(call):
        chunks = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
        call.raw(CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n")

    return behave


def until_closed(body):
    return cut(CLOSING + b"\r\n" + body)


def gzipped(body):
    return answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})


WAYS = pytest.mark.parametrize("way", [answer, chunked, until_closed, gzipped])


@WAYS
@pytest.mark.parametrize("size", [0, 1, BODY_LIMIT - 1, BODY_LIMIT])
def test_a_body_up_to_the_limit_is_read(server, way, size):
    server.on("/", way(b"x" * size))
    assert send(post(server)).body == b"x" * size


@WAYS
@pytest.mark.parametrize("size", [BODY_LIMIT + 1, 10 * BODY_LIMIT])
def test_a_body_over_the_limit_is_refused(server, way, size):
    server.on("/", way(b"x" * size))
    refusal(post(server), MalformedResponse)


def test_the_limit_is_256_kib():
    assert BODY_LIMIT == 262_144


def test_a_body_without_end_is_refused_without_reading_it(server):
    def flood(call):
        call.raw(CLOSING + b"\r\n")
        while not call.stop.is_set():
            call.raw(b"x" * 65_536)

    server.on("/", flood)
    refusal(post(server), MalformedResponse)


@pytest.mark.slow
def test_a_gzip_bomb_goes_off_in_little_memory(server):
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    begin, more = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = begin + 199 * more
    assert len(bomb) < BODY_LIMIT
    assert len(zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(bomb)) == 200 << 20
    server.on("/", answer(bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        refusal(post(server), MalformedResponse)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", "identity", ""])
def test_encodings_that_were_asked_for_are_read(server, encoding):
    body = gzip.compress(b"{}") if "gzip" in encoding.lower() else b"{}"
    server.on("/", answer(body, headers={"Content-Encoding": encoding}))
    assert send(post(server)).body == b"{}"


@pytest.mark.parametrize(
    "encoding", ["br", "deflate", "compress", "zstd", "gzip, gzip", "gzip, br", "ёж", "\x01"]
)
def test_encodings_that_were_not_asked_for_are_refused(server, encoding):
    server.on("/", cut(CLOSING + f"Content-Encoding: {encoding}\r\nContent-Length: 2\r\n\r\n{{}}".encode()))
    refusal(post(server), MalformedResponse)


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body[:-8],
        lambda body: body[: len(body) // 2],
        lambda body: body[:3],
        lambda body: b"",
        lambda body: b"not gzip",
        lambda body: body[:-8] + bytes(8),
        lambda body: body[:15] + b"\xff\xff" + body[17:],
        lambda body: zlib.compress(b"{}"),
    ],
)
def test_damaged_gzip_is_refused(server, damage):
    body = damage(gzip.compress(b'{"access_token": "abc"}'))
    server.on("/", answer(body, headers={"Content-Encoding": "gzip"}))
    refusal(post(server), MalformedResponse)


# --- answers that are none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "gateway_status"),
    [(429, 503), (500, 502), (501, 502), (502, 502), (503, 503), (504, 502), (520, 502), (599, 502)],
)
def test_a_server_in_trouble_gives_no_answer(server, status, gateway_status):
    server.on("/", answer({"error": "invalid_grant"}, status=status, headers={"Retry-After": "7"}))
    error = refusal(post(server))
    assert (error.sent, error.gateway_status, error.retry_after) == (True, gateway_status, 7)
    assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", b"x" * (BODY_LIMIT + 1)),
        ("br", b"x"),
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"x", mtime=0)[:-1]),
    ],
)
def test_trouble_is_trouble_whatever_its_body_looks_like(server, status, encoding, body):
    headers = {"Retry-After": "7", "Content-Encoding": encoding}
    server.on("/", answer(body, status=status, headers=headers))
    assert refusal(post(server)).retry_after == 7


def in_seconds(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("1", 1),
        ("120", 120),
        ("3600", 3600),
        ("0", 1),
        ("00000000000000000000007", 7),
        ("3601", 3600),
        ("999999999", 3600),
        ("99999999999999999999", 3600),
        ("9" * 5000, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("120, 120", None),
        ("Wed, 99 Foo 2015 99:99:99 GMT", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_the_wish_to_be_asked_later_is_heard(server, status, value, wanted):
    head = (
        f"HTTP/1.1 {status} Later\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: {value}\r\n\r\n"
    )
    server.on("/", cut(head.encode()))
    assert refusal(post(server)).retry_after == wanted


def test_a_date_to_be_asked_at_is_turned_to_seconds(server):
    server.on("/", answer({}, status=503, headers={"Retry-After": in_seconds(600)}))
    assert 500 < refusal(post(server)).retry_after <= 600


# --- nothing is remembered -------------------------------------------------------------------------------


def test_no_cookie_is_kept(server):
    server.on("/", answer({}, headers={"Set-Cookie": "session=1; Path=/"}))
    send(post(server))
    send(post(server))
    assert [call.headers.get("cookie") for call in server.calls] == [None, None]


def test_no_netrc_is_read(server, tmp_path, monkeypatch):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password anything\ndefault login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    send(post(server))
    assert "authorization" not in server.calls[0].headers


# --- connections -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400])
def test_a_connection_is_used_again(new_server, status):
    new_server.on("/", answer({"ok": True}, status=status))
    for _ in range(5):
        send(post(new_server))
    assert (len(new_server.calls), new_server.connections) == (5, 1)


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\r\nConnection: Close"])
def test_a_connection_that_is_to_be_closed_is_not_used_again(new_server, head):
    new_server.on("/", lambda call: call.raw(head + b"\r\nContent-Length: 2\r\n\r\n{}"))
    for _ in range(2):
        assert send(post(new_server)).json() == {}
    assert new_server.connections == 2


def test_an_answer_without_content_needs_no_length(new_server):
    new_server.on("/", lambda call: call.raw(b"HTTP/1.1 204 No Content\r\n\r\n"))
    for _ in range(2):
        assert send(post(new_server)).body == b""
    assert new_server.connections == 1


@pytest.mark.slow
def test_connections_to_many_addresses_do_not_stay_open_for_ever():
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    for _ in range(50):
        with quiet_serving() as running:
            running.on("/", answer({}))
            send(post(running))
    gc.collect()
    assert open_files() - before < 50


def send_from_threads(server, calls=50):
    with ThreadPoolExecutor(8, initializer=threading.Barrier(8).wait) as pool:
        responses = list(pool.map(lambda _: send(post(server)), range(calls)))
    return [response.json() for response in responses] == [{"ok": True}] * calls


def in_forked_child(action):
    """Whether `action` was true in a fork of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the server's threads the child needs none
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if action() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "/"}, b"x" * 100),
        (429, {}, b"x" * 100),
        (500, {}, b"x" * 100_000),
        (200, {}, b"x" * (BODY_LIMIT + 1)),
        (200, {"Content-Encoding": "br"}, b"x" * 100),
        (200, {"Content-Encoding": "gzip"}, b"x" * 100),
    ],
)
def test_a_refused_answer_is_never_taken_for_the_next_one(new_server, status, headers, body):
    new_server.on("/bad", answer(body, status=status, headers=headers))
    for _ in range(2):
        with pytest.raises(ProviderError):
            send(post(new_server, "/bad"))
        assert send(post(new_server)).json() == {"ok": True}


def test_each_of_many_threads_finds_its_connection_again(new_server):
    together = threading.Barrier(100)
    with ThreadPoolExecutor(100, initializer=together.wait) as pool:
        new_server.on("/", lambda call: (together.wait(), answer({"ok": True})(call)))  # all are open at once
        for _ in range(2):
            assert {each.status for each in pool.map(lambda _: send(post(new_server)), range(100))} == {200}
    assert new_server.connections == 100


def test_threads_share_connections(new_server):
    assert send_from_threads(new_server)
    assert len(new_server.calls) == 50
    assert new_server.connections <= 8


def test_threads_that_are_the_first_share_connections_too(new_server):
    def hasty():
        sys.setswitchinterval(1e-6)
        return send_from_threads(new_server)

    for _ in range(3):
        before = new_server.connections
        assert in_forked_child(hasty)
        assert new_server.connections - before <= 8


def test_a_forked_child_opens_its_own_connection(new_server):
    assert send(post(new_server)).json() == {"ok": True}
    assert in_forked_child(lambda: send(post(new_server)).json() == {"ok": True})
    assert new_server.connections == 2
    assert send(post(new_server)).json() == {"ok": True}
    assert new_server.connections == 2


# --- proxies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(server, elsewhere, monkeypatch, name):
    send(post(server))
    elsewhere.on(f"{server.url}/", answer({"proxied": True}))
    monkeypatch.setenv(name, elsewhere.url)
    assert send(post(server)).json() == {"proxied": True}
    assert [call.params for call in elsewhere.calls] == [{"access_token": SECRET}]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert send(post(server)).json() == {"ok": True}
    assert (len(server.calls), len(elsewhere.calls)) == (2, 1)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_proxy_that_is_out_of_order_is_not_passed_by(new_server, monkeypatch, scheme, caplog):
    monkeypatch.setenv("http_proxy", f"{scheme}://somebody:proxy-password@127.0.0.1:{closed_port()}")
    caplog.set_level(logging.DEBUG)
    error = refusal(post(new_server))
    assert not error.sent
    assert new_server.connections == 0
    assert_silent(error, "proxy-password")
    assert_silent_log(caplog, "proxy-password")


def test_a_tunnel_that_a_proxy_refuses_was_sent_nothing(elsewhere, monkeypatch):
    monkeypatch.setenv("https_proxy", elsewhere.url)
    error = refusal(Request("POST", "https://network.example/", {"access_token": Secret(SECRET)}))
    assert elsewhere.connections == 1
    assert not error.sent
    assert_silent(error)


class Tunnel(socketserver.BaseRequestHandler):
    """One CONNECT to a proxy that does what it is asked."""

    def handle(self):
        head = self.request.recv(65_536)
        while b"\r\n\r\n" not in head:
            head += self.request.recv(65_536)
        self.server.heads.append(head)
        host, port = head.split()[1].decode().split(":")
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection((host, int(port))) as target:
            ends = [self.request, target]
            while True:
                for end in select.select(ends, [], [])[0]:
                    if not (chunk := end.recv(65_536)):
                        return
                    ends[end is self.request].sendall(chunk)


def test_https_goes_through_a_tunnel_that_sees_no_secret(tmp_path, settings, monkeypatch):
    pem = self_signed(tmp_path, LOOPBACK)
    settings.SOCIALGRANTS_CA_BUNDLE = str(pem)
    with serving_tls(pem) as running, socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        proxy.daemon_threads, proxy.heads = True, []
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        for _ in range(2):
            assert send(post(running)).json() == {"ok": True}
        running.on("/", cut(b""))
        assert refusal(post(running)).sent
        settings.SOCIALGRANTS_CA_BUNDLE = None
        assert not refusal(post(running)).sent
        proxy.shutdown()
    assert [head.split()[:2] for head in proxy.heads] == [
        [b"CONNECT", running.url.removeprefix("https://").encode()]
    ] * 2
    assert SECRET.encode() not in b"".join(proxy.heads)


class SOCKS(socketserver.BaseRequestHandler):
    """A SOCKS 5 proxy (RFC 1928) without authentication; the server's `manners` come before its last word."""

    def handle(self):
        self.server.greetings.append(self.request.recv(3))
        self.request.sendall(b"\x05\x00")
        kind = self.request.recv(4)[3]
        size = {1: 4, 3: None, 4: 16}[kind] or self.request.recv(1)[0]
        host = self.request.recv(size)
        host = host.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET, host)
        (port,) = struct.unpack("!H", self.request.recv(2))
        self.server.asked_for.append((host, port))
        self.server.manners(self.request)
        with socket.create_connection(("127.0.0.1", port)) as target:
            self.request.sendall(b"\x05\x00\x00\x01" + bytes(6))
            ends = [self.request, target]
            while True:
                for end in select.select(ends, [], [])[0]:
                    if not (chunk := end.recv(65_536)):
                        return
                    ends[end is self.request].sendall(chunk)


@pytest.fixture
def socks(monkeypatch):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SOCKS) as proxy:
        proxy.daemon_threads, proxy.handle_error = True, lambda *args: None
        proxy.greetings, proxy.asked_for, proxy.manners = [], [], lambda request: None
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("all_proxy", f"socks5h://127.0.0.1:{proxy.server_address[1]}")
        yield proxy
        proxy.shutdown()


def test_a_socks_proxy_is_used_and_its_connection_kept(new_server, socks):
    url = new_server.url.replace("127.0.0.1", "localhost")
    for _ in range(2):
        assert send(Request("POST", f"{url}/", {"access_token": Secret(SECRET)})).json() == {"ok": True}
    assert socks.asked_for == [("localhost", int(url.rpartition(":")[2]))]
    assert new_server.connections == 1


@pytest.mark.parametrize("how", ["before the answer", "in the headers", "in the body"])
def test_what_a_network_received_through_socks_was_sent(new_server, socks, how):
    new_server.on("/", CUTS[how])
    error = refusal(post(new_server))
    assert error.sent
    assert_silent(error)
    assert len(new_server.calls) == 1


@pytest.mark.parametrize("drip", ["nothing", "headers", "body"])
def test_the_deadline_holds_through_socks(new_server, socks, settings, drip):
    new_server.on("/", DRIPS[drip])
    with deadline_kept(settings, new_server.stop.set):
        assert refusal(post(new_server), DeadlineExceeded).sent


def test_a_socks_proxy_does_not_hold_us_longer_than_the_deadline(new_server, socks, settings):
    enough = threading.Event()

    def drip(request):
        request.sendall(b"\x05\x00\x00\x03\xff")  # its own address has 255 bytes
        while not enough.wait(0.05):
            request.sendall(b"x")

    socks.manners = drip
    with deadline_kept(settings, enough.set):
        error = refusal(post(new_server), DeadlineExceeded)
    assert not error.sent
    assert new_server.connections == 0


@pytest.mark.parametrize("word", [b"\x05\x02\x00\x01", b"HTTP/1.1 400", b""])
def test_a_socks_proxy_that_refuses_was_told_no_secret(new_server, socks, word):
    def refuse(request):
        request.sendall(word)
        request.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    socks.manners = refuse
    error = refusal(post(new_server))
    assert not error.sent
    assert new_server.connections == 0
    assert_silent(error)


def test_a_network_behind_a_socks_proxy_has_to_show_its_certificate(tmp_path, settings, socks):
    pem = self_signed(tmp_path, LOOPBACK)
    settings.SOCIALGRANTS_CA_BUNDLE = str(pem)
    with serving_tls(pem) as running:
        assert send(post(running)).json() == {"ok": True}
        settings.SOCIALGRANTS_CA_BUNDLE = None
        assert not refusal(post(running)).sent
        assert len(running.calls) == 1


def test_the_deadline_holds_for_a_proxy(elsewhere, new_server, settings, monkeypatch):
    elsewhere.on(f"{new_server.url}/", DRIPS["headers"])
    monkeypatch.setenv("http_proxy", elsewhere.url)
    with deadline_kept(settings, elsewhere.stop.set):
        refusal(post(new_server), DeadlineExceeded)
    assert new_server.connections == 0


# --- certificates ----------------------------------------------------------------------------------------


def self_signed(folder, *names, days=1):
    """A certificate that vouches for itself; the path of the PEM file with certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "network")])
    start = datetime.now(UTC) - timedelta(days=10)
    public = key.public_key()
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"], False
    )
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(datetime.now(UTC) + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "network.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@contextmanager
def serving_tls(pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with quiet_serving() as running:
        running._server.socket = context.wrap_socket(running._server.socket, server_side=True)
        running.url = running.url.replace("http://", "https://")
        running.on("/", answer({"ok": True}))
        yield running


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    with serving_tls(self_signed(tmp_path, LOOPBACK)) as running:
        error = refusal(post(running))
        assert running.calls == []
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert not error.sent
    assert_silent(error)


def test_the_site_says_whom_it_trusts(tmp_path, settings):
    pem = self_signed(tmp_path, LOOPBACK)
    settings.SOCIALGRANTS_CA_BUNDLE = str(pem)
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    with serving_tls(pem) as running:
        for _ in range(2):
            assert send(post(running)).json() == {"ok": True}
        assert running.connections == 1
        settings.SOCIALGRANTS_CA_BUNDLE = None
        assert not refusal(post(running)).sent
        assert len(running.calls) == 2


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_says_whom_it_trusts(tmp_path, monkeypatch, settings, variable):
    pem = self_signed(tmp_path, LOOPBACK)
    monkeypatch.setenv(variable, str(pem))
    with serving_tls(pem) as running:
        assert send(post(running)).json() == {"ok": True}
        (tmp_path / "another").mkdir()
        settings.SOCIALGRANTS_CA_BUNDLE = str(self_signed(tmp_path / "another", LOOPBACK))
        assert not refusal(post(running)).sent


@pytest.mark.parametrize(
    ("names", "days"),
    [
        ([x509.DNSName("network.example")], 1),
        ([x509.DNSName("127.0.0.1")], 1),
        ([x509.IPAddress(ipaddress.ip_address("127.0.0.2"))], 1),
        ([LOOPBACK], -1),
    ],
)
def test_a_certificate_of_another_host_or_time_is_refused(tmp_path, settings, names, days):
    pem = self_signed(tmp_path, *names, days=days)
    settings.SOCIALGRANTS_CA_BUNDLE = str(pem)
    with serving_tls(pem) as running:
        error = refusal(post(running))
        assert running.calls == []
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert not error.sent


def test_a_bundle_that_does_not_exist_opens_no_door(settings, tmp_path):
    pem = self_signed(tmp_path, LOOPBACK)
    settings.SOCIALGRANTS_CA_BUNDLE = str(tmp_path / "missing.pem")
    with serving_tls(pem) as running:
        assert not refusal(post(running)).sent
        assert running.calls == []


def test_a_bundle_is_read_once_for_all_connections_and_again_when_it_changes(tmp_path, settings, monkeypatch):
    read = []
    load = ssl.SSLContext.load_verify_locations
    monkeypatch.setattr(
        ssl.SSLContext,
        "load_verify_locations",
        lambda context, cafile=None, **where: (read.append(cafile), load(context, cafile, **where)),
    )
    pem = self_signed(tmp_path, LOOPBACK)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(pem.read_bytes())
    settings.SOCIALGRANTS_CA_BUNDLE = str(bundle)
    with serving_tls(pem) as running:
        running.on("/", cut(OK_HEAD + b"Connection: close\r\n\r\n{}"))
        with ThreadPoolExecutor(8, initializer=threading.Barrier(8).wait) as pool:
            assert [each.json() for each in pool.map(lambda _: send(post(running)), range(20))] == [{}] * 20
        assert running.connections == 20
        assert read == [str(bundle)]
        (tmp_path / "another").mkdir()
        another = self_signed(tmp_path / "another", LOOPBACK)
        bundle.write_bytes(another.read_bytes())
        os.utime(bundle, ns=(1, 1))
        assert not refusal(post(running)).sent
        assert read == [str(bundle)] * 2


def test_a_directory_of_authorities_is_understood(tmp_path, settings):
    pem = self_signed(tmp_path, LOOPBACK)
    folder = tmp_path / "authorities"
    folder.mkdir()
    settings.SOCIALGRANTS_CA_BUNDLE = str(folder)
    with serving_tls(pem) as running:
        assert not refusal(post(running)).sent
        digest = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", pem], check=True, capture_output=True, text=True
        ).stdout.strip()
        (folder / f"{digest}.0").write_bytes(pem.read_bytes())
        assert send(post(running)).json() == {"ok": True}


def test_the_deadline_holds_over_tls(tmp_path, settings):
    pem = self_signed(tmp_path, LOOPBACK)
    settings.SOCIALGRANTS_CA_BUNDLE = str(pem)
    with serving_tls(pem) as running:
        running.on("/slow", DRIPS["headers"])
        send(post(running))
        with deadline_kept(settings, running.stop.set):
            assert refusal(post(running, "/slow"), DeadlineExceeded).sent


# --- what is made of an answer ---------------------------------------------------------------------------


def test_an_exchange_gives_what_was_made_of_the_answer(server):
    assert exchange(post(server), lambda response: response.json()["ok"]) is True


@pytest.mark.parametrize("secret", [SECRET, "six+/=~", "long" * 100, "two  spaces and = more"])
@pytest.mark.parametrize("template", ["{}", "bad token: {}!", "{} {}", "x" * 150 + " {}", "x" * 190 + "{}"])
def test_what_a_network_quotes_back_is_masked(server, secret, template):
    quoted = template.format(secret, secret)
    server.on("/", answer({"error": quoted, "error_description": quoted}, status=400))

    def parse(response):
        raise InvalidGrant(response.json()["error"], response.json()["error_description"])

    with pytest.raises(InvalidGrant) as caught:
        exchange(post(server, code=Secret(secret), other="bad token"), parse)
    error = caught.value
    shown = " ".join(f"{error} {error!r} {error.error} {error.description} {error.args}".split())
    assert " ".join(secret.split())[:6] not in shown
    assert "bad token" not in template or (MASK in error.description and "bad token" in error.description)


def test_what_a_network_quotes_as_it_was_sent_is_masked(server):
    secret = "a/b+c d=е"

    def parse(response):
        raise OAuthError("invalid_request", response.body.decode())

    server.on("/", lambda call: answer(call.body)(call))
    with pytest.raises(OAuthError) as caught:
        exchange(post(server, code=Secret(secret)), parse)
    assert caught.value.description == f"code={MASK}"
    assert quote_plus(secret) not in f"{caught.value} {caught.value!r}"


def test_a_secret_of_a_header_that_a_network_quotes_is_masked(server):
    def parse(response):
        raise OAuthError("invalid_token", response.body.decode())

    server.on("/", lambda call: answer(f"{SECRET} of {call.headers['authorization']}".encode())(call))
    headers = {"Authorization": Secret(f"Bearer {SECRET}")}
    with pytest.raises(OAuthError) as caught:
        exchange(Request("GET", f"{server.url}/", headers=headers), parse)
    assert caught.value.description == f"{MASK} of {MASK}"
    assert_silent(caught.value)


def test_a_password_of_a_header_that_a_network_quotes_is_masked(server):
    def parse(response):
        raise OAuthError("invalid_client", response.body.decode())

    class Basic(Provider):
        title = "Basic"
        client_authentication = "client_secret_basic"
        token_endpoints = {"refresh_token": f"{server.url}/"}

    secret = f"{SECRET}: &/"
    quoting = f"{secret} {quote_plus(secret)} ".encode()
    server.on("/", lambda call: answer(quoting + call.headers["authorization"].encode())(call))
    with pytest.raises(OAuthError) as caught:
        exchange(
            Basic().token_request(Credentials("client-1", secret), RefreshTokenGrant("refresh-1")), parse
        )
    assert caught.value.description == f"{MASK} {MASK} {MASK}"
    assert_silent(caught.value)


def test_errors_of_a_parser_lose_its_frames_and_causes(server):
    def parse(response):
        in_clear = SECRET
        try:
            raise KeyError(in_clear)
        except KeyError as cause:
            raise MalformedResponse("no such answer") from cause

    with pytest.raises(MalformedResponse, match="no such answer") as caught:
        exchange(post(server), parse)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "parse" not in [entry.name for entry in caught.traceback]
    assert_silent(error)


@pytest.mark.parametrize("trouble", [KeyError, ValueError, RecursionError, AssertionError, UnicodeError])
def test_whatever_a_parser_stumbles_over_is_a_malformed_answer(server, trouble):
    def parse(response):
        raise trouble(f"in clear: {SECRET}")

    with pytest.raises(MalformedResponse, match=rf"parse:\d+ raise {trouble.__name__}") as caught:
        exchange(post(server), parse)
    assert_silent(caught.value)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, SystemExit])
def test_nobody_is_kept_from_leaving(server, trouble):
    def parse(response):
        raise trouble

    with pytest.raises(trouble):
        exchange(post(server), parse)


# --- secrets ---------------------------------------------------------------------------------------------


def told_by(error, *, skip=__file__):
    """Everything that an exception tells: texts, attributes, causes, and every local of every frame.

    Frames of the file `skip` are left out: those of the test itself.
    """
    todo, seen = [error], []
    while todo:
        error = todo.pop()
        if error is None or error in seen:
            continue
        seen.append(error)
        todo += [error.__cause__, error.__context__]
        yield f"{error} {error!r} {error.args!r} {error.__dict__!r}"
        yield "".join(traceback.format_exception(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != skip:
                yield from (f"{name}: {value!r}" for name, value in frame.f_locals.items())


def assert_silent(error, secret=SECRET):
    assert [text for text in told_by(error) if secret in text] == []
    if isinstance(error, ProviderError):
        assert secret.encode() not in pickle.dumps(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def assert_silent_log(caplog, secret=SECRET):
    assert secret not in caplog.text
    for record in caplog.records:
        assert secret not in f"{record.getMessage()} {record.__dict__}"
        assert not record.exc_info or not [text for text in told_by(record.exc_info[1]) if secret in text]


def quoted_in_body(call, status=200, **headers):
    answer(b"<p>" + call.body, status=status, content_type="text/html", headers=headers)(call)


QUOTES = {
    "a page": quoted_in_body,
    "an error page": lambda call: quoted_in_body(call, 500),
    "a redirect": lambda call: quoted_in_body(call, 302, Location=f"http://127.0.0.1/?{call.body.decode()}"),
    "a status line": lambda call: cut(call.body + b"\r\n\r\n")(call),
    "a reason": lambda call: cut(b"HTTP/1.1 503 " + call.body + b"\r\n\r\n")(call),
    "a version": lambda call: cut(b"HTTP/" + call.body + b" 200 OK\r\n\r\n")(call),
    "a header": lambda call: quoted_in_body(call, 302, **{"X-Quoted": call.body.decode()}),
    "a header without colon": lambda call: cut(CLOSING + call.body + b"\r\nX: y\r\n\r\n{}")(call),
    "a name of a header": lambda call: cut(CLOSING + call.body + b" : y\r\n\r\n{}")(call),
    "a content encoding": lambda call: quoted_in_body(
        call, **{"Content-Encoding": call.params["access_token"]}
    ),
    "a long content encoding": lambda call: quoted_in_body(
        call, **{"Content-Encoding": "very long and " + call.params["access_token"]}
    ),
    "a content length": lambda call: cut(CLOSING + b"Content-Length: " + call.body + b"\r\n\r\n{}")(call),
    "content lengths": lambda call: cut(CLOSING + b"Content-Length: 1, " + call.body + b"\r\n\r\n{}")(call),
    "a transfer encoding": lambda call: cut(CLOSING + b"Transfer-Encoding: " + call.body + b"\r\n\r\n{}")(
        call
    ),
    "a size of a chunk": lambda call: cut(CHUNKED + call.body + b"\r\n")(call),
    "a cut chunk": lambda call: cut(CHUNKED + b"ff\r\n" + call.body)(call),
    "a cut body": lambda call: cut(CLOSING + b"Content-Length: 999\r\n\r\n" + call.body)(call),
    "broken gzip": lambda call: quoted_in_body(call, **{"Content-Encoding": "gzip"}),
    "too long a body": lambda call: cut(CLOSING + b"\r\n" + call.body * 10_000)(call),
    "a wish": lambda call: quoted_in_body(call, 429, **{"Retry-After": call.body.decode()}),
    "a cookie": lambda call: quoted_in_body(call, 500, **{"Set-Cookie": call.body.decode()}),
}


@pytest.mark.parametrize("place", QUOTES)
def test_no_quoted_secret_gets_into_an_error_or_a_log(server, caplog, place):
    caplog.set_level(logging.DEBUG)
    server.on("/", QUOTES[place])
    with pytest.raises(ProviderError) as caught:
        exchange(post(server), lambda response: response.json()["no such thing"])
    assert_silent(caught.value, SECRET[:10])
    assert_silent_log(caplog)


def test_a_good_exchange_leaves_no_secret_in_a_log(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.on("/", answer({"access_token": f"new {SECRET}"}))
    assert exchange(post(server), lambda response: response.json()) == {"access_token": f"new {SECRET}"}
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert_silent_log(caplog)


def test_a_secret_that_has_no_form_on_the_wire_is_not_shown(new_server):
    with pytest.raises(ValueError) as caught:
        send(post(new_server, password=Secret(f"{SECRET}\udc80")))
    assert_silent(caught.value)
    assert new_server.connections == 0
