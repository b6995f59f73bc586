"""Logins that something else disturbs: a database, another tab, a body that does not say how long it is."""

import threading
from asyncio import Future
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.handlers.asgi import ASGIHandler
from django.db import OperationalError, connection, connections, transaction

from django_socialgrants.flows import accounts
from django_socialgrants.models import UserToken
from django_socialgrants.web import pages
from tests.conftest import ok_profile
from tests.journey import assert_headers, disconnect_url, finish, log_in, refused, token_of, user_of
from tests.network import answer

CONNECTIONS = "/social/connections/"


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", password="x")


# --- the database -------------------------------------------------------------------------------------------

CUT = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id, SLEEP(0) FROM information_schema.processlist "
    "WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}


def cut_all_others():
    """Close every connection to this database but that of this thread, which is closed afterwards."""
    with connection.cursor() as cursor:
        cursor.execute(CUT[connection.vendor])
        if connection.vendor == "mysql":
            for pid, _ in cursor.fetchall():
                cursor.execute(f"KILL {pid}")
    connections.close_all()


@pytest.mark.only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_dropped_while_the_network_is_asked_is_replaced(client, network, ok_app):
    def drop(call):
        cut_all_others()
        answer(ok_profile())(call)

    network.on("/ok/api", drop)
    log_in(client)
    assert user_of(client) == str(User.objects.get().pk)


def deadlocks(count, monkeypatch):
    """The next locks end in a deadlock."""
    lock, left = accounts._lock, list(range(count))

    def fail_first(tokens):
        lock(tokens)
        if left:
            left.pop()
            raise OperationalError("deadlock detected")

    monkeypatch.setattr(accounts, "_lock", fail_first)


def test_a_disconnect_survives_a_deadlock(client, ok_app, anna, monkeypatch):
    token = token_of(anna, ok_app)
    client.force_login(anna)
    deadlocks(2, monkeypatch)
    assert client.post(disconnect_url(token)).status_code == 302
    assert not UserToken.objects.exists()


def test_a_disconnect_that_meets_nothing_but_deadlocks_is_a_page_of_ours(
    client, network, ok_app, anna, monkeypatch
):
    token = token_of(anna, ok_app)
    client.force_login(anna)
    deadlocks(99, monkeypatch)
    refused(client, network, 503, "conflict", lambda: client.post(disconnect_url(token)))


WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


@pytest.mark.slow
@pytest.mark.only_on("postgresql")  # which can be told whom to end
@pytest.mark.django_db(transaction=True)
def test_a_disconnect_and_somebody_who_locks_the_other_way_round_both_get_what_they_want(client, ok_app):
    anna = User.objects.create_user("anna", password="x")
    first, second = (token_of(anna, ok_app, uid=uid) for uid in "12")
    client.force_login(anna)
    locked = threading.Event()

    def lock_the_other_way_round():
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SET LOCAL deadlock_timeout = '1h'"
                )  # so that the disconnect is the one to give way
            UserToken.objects.filter(pk=second.pk).update(failures=1)
            locked.set()
            waiting = 0
            while not waiting:
                cursor.execute(WAITING)
                [(waiting,)] = cursor.fetchall()
            UserToken.objects.filter(pk=first.pk).update(failures=1)
        connections.close_all()

    other = threading.Thread(target=lock_the_other_way_round)
    other.start()
    locked.wait()
    assert client.post(disconnect_url(first)).status_code == 302
    other.join()
    assert UserToken.objects.get().failures == 1


# --- another tab --------------------------------------------------------------------------------------------


def log_out_meanwhile(monkeypatch):
    """Another tab logs out as soon as a view of ours is about to answer."""
    save = pages._save_session

    def meanwhile(request):
        Session.objects.all().delete()
        save(request)

    monkeypatch.setattr(pages, "_save_session", meanwhile)


def test_a_start_does_not_care_for_a_logout_in_another_tab(client, ok_app, anna, monkeypatch):
    client.force_login(anna)
    log_out_meanwhile(monkeypatch)
    response = client.post("/social/ok/code/")
    assert response.status_code == 302
    assert_headers(response)


@pytest.mark.parametrize("setting", ["SESSION_SAVE_EVERY_REQUEST", "CSRF_USE_SESSIONS"])
def test_a_session_that_was_deleted_meanwhile_ends_in_a_page_of_ours(
    client, network, ok_app, anna, monkeypatch, settings, setting
):
    setattr(settings, setting, True)
    client.force_login(anna)
    log_out_meanwhile(monkeypatch)
    response = client.get(CONNECTIONS)
    assert response.status_code == 403
    assert "You have logged in or out in the meantime" in response.content.decode()
    assert "anna" not in response.content.decode()
    assert_headers(response)
    assert not Session.objects.exists()


def test_a_refusal_stays_one_when_the_session_was_deleted_meanwhile(
    client, network, ok_app, anna, monkeypatch, settings
):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    client.force_login(anna)
    log_out_meanwhile(monkeypatch)
    response = finish(client, "forged")
    assert response.status_code == 400
    assert "no longer valid" in response.content.decode()
    assert_headers(response)


@pytest.mark.parametrize("setting", ["SESSION_SAVE_EVERY_REQUEST", "CSRF_USE_SESSIONS"])
def test_a_session_that_is_saved_early_is_saved(client, network, ok_app, anna, settings, setting):
    setattr(settings, setting, True)
    client.force_login(anna)
    assert client.get(CONNECTIONS).status_code == 200
    log_in(client)
    assert UserToken.objects.get().user == anna


# --- bodies that come in chunks -----------------------------------------------------------------------------


@async_to_sync
async def post_in_chunks(path, body, headers=()):
    """The status of what an ASGI server gets for a body whose length it was not told."""
    sent = []
    parts = [body[start : start + 4096] for start in range(0, len(body), 4096)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False

    async def receive():
        return messages.pop(0) if messages else await Future()  # who waits for a disconnect waits

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"testserver"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"transfer-encoding", b"chunked"),
            *headers,
        ],
        "server": ("testserver", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    await ASGIHandler()(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("size", "status"), [(8 * 1024, 302), (8 * 1024 + 1, 400), (2 * 1024 * 1024, 400)])
def test_a_body_in_chunks_has_the_same_limit(ok_app, settings, size, status):
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if not path.endswith("CsrfViewMiddleware")]
    token = "a" * 32
    start = urlencode({"csrfmiddlewaretoken": token, "next": "/me/", "x": ""}).encode()
    body = start + b"x" * (size - len(start))
    found, headers = post_in_chunks("/social/ok/code/", body, [(b"cookie", f"csrftoken={token}".encode())])
    assert (found, headers["Cache-Control"]) == (status, "no-store")


def test_a_body_that_a_middleware_has_read_is_read_again(client, network, ok_app, settings):
    settings.MIDDLEWARE = [f"{__name__}.read_all", *settings.MIDDLEWARE]
    assert log_in(client, next="/me/")["Location"] == "/me/"
    response = client.post("/social/ok/code/", {"x": "x" * 9000})
    assert response.status_code == 400


def read_all(get_response):
    def middleware(request):
        assert isinstance(request.body, bytes)
        return get_response(request)

    return middleware
