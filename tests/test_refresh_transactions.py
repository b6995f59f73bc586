"""A refresh inside the transaction of who calls: the new token survives it, and nobody waits for ever."""

import gc
import sqlite3
import time

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.test import Client, TestCase, override_settings
from django.urls import path

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin, UnsafeTransaction
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.refreshing import committed
from tests.conftest import ok_token
from tests.network import answer
from tests.tokens import EXPIRED, expired, granted, in_turn, requests_of, row, stale, stored

pytestmark = pytest.mark.django_db(transaction=True)


def sqlite():
    return connection.vendor == "sqlite"


@pytest.fixture
def wal(transactional_db):
    """On SQLite, a database that can be written to while somebody else reads it."""
    if not sqlite():
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=wal")
    yield
    connections.close_all()
    gc.collect()  # a refused BEGIN keeps its connection until the traceback is gone
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=delete")
        assert cursor.fetchone() == ("delete",)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """A lock is not waited for: nobody in these tests is going to release it."""
    monkeypatch.setattr(committed, "LOCK_WAIT", 0)


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria", password="password")


@pytest.fixture
def api(user, network, ok_app):
    return SocialAPI(user, "ok")


def open_connections():
    """How many connections this process has to its database."""
    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
    }.get(connection.vendor)
    if query is None:
        gc.collect()
        return len(
            [known for known in gc.get_objects() if isinstance(known, sqlite3.Connection) and _is_open(known)]
        )
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def open_connections_by_and_by(expected):
    """The same, once it is as `expected`: a server hears later than its client that a connection is closed."""
    ends = time.monotonic() + 10
    while (found := open_connections()) != expected and time.monotonic() < ends:
        time.sleep(0.01)
    return found


def _is_open(known):
    try:
        return known.in_transaction in (True, False)
    except sqlite3.ProgrammingError:
        return False


# --- what survives ---------------------------------------------------------------------------------------


class Undone(Exception):
    pass


def in_atomic(call):
    with pytest.raises(Undone), transaction.atomic():
        call()
        raise Undone


def in_nested_atomic(call):
    with pytest.raises(Undone), transaction.atomic():
        User.objects.count()
        with transaction.atomic():
            call()
        raise Undone


def in_savepoint(call):
    with transaction.atomic(), pytest.raises(Undone), transaction.atomic():
        call()
        raise Undone


def without_autocommit(call):
    transaction.set_autocommit(False)
    try:
        call()
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)


def in_durable_atomic(call):
    with pytest.raises(Undone), transaction.atomic(durable=True):
        call()
        raise Undone


TRANSACTIONS = [in_atomic, in_nested_atomic, in_savepoint, in_durable_atomic, without_autocommit]


@pytest.mark.parametrize("undone", TRANSACTIONS)
def test_a_new_token_survives_the_rollback_of_who_asked_for_it(api, user, ok_app, network, wal, undone):
    token = expired(user, ok_app)
    undone(lambda: api.friends.get())
    now = stored(token)
    assert (now.access_token, now.refresh_token) == ("ok-access-token-1", "ok-refresh-token-1")
    assert (now.generation, now.lease_owner) == (1, "")
    SocialAPI(user, "ok").friends.get()
    assert requests_of(network, "ok") == ["token", "api", "api"]
    assert network.calls[-1].params["access_token"] == "ok-access-token-1"


@pytest.mark.parametrize("undone", TRANSACTIONS)
def test_so_does_one_that_was_asked_for_by_an_expired_session(api, user, ok_app, network, wal, undone):
    token = granted(user, ok_app)
    network.on("/ok/api", in_turn(answer(EXPIRED), answer([])))
    undone(lambda: api.friends.get())
    assert stored(token).access_token == "ok-access-token-1"


@pytest.mark.parametrize("undone", TRANSACTIONS)
def test_what_kills_a_token_survives_too(api, user, ok_app, network, wal, undone):
    token = expired(user, ok_app)
    network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))

    def call():
        with pytest.raises(NeedsLogin):
            api.friends.get()

    undone(call)
    assert (stored(token).state, stored(token).reason) == ("needs_login", "invalid_grant")


@pytest.mark.only_on("postgresql", "mysql")
def test_what_the_caller_wrote_is_undone_as_ever(api, user, ok_app, network, wal):
    """On SQLite a transaction that has written is refused: see below."""
    expired(user, ok_app)

    def call():
        User.objects.create_user("ivan")
        api.friends.get()
        User.objects.create_user("oleg")

    in_atomic(call)
    assert [user.username for user in User.objects.all()] == ["maria"]


def test_the_callers_transaction_goes_on_and_can_be_committed(api, user, ok_app, network, wal):
    token = expired(user, ok_app)
    with transaction.atomic():
        api.friends.get()
        assert connection.in_atomic_block
        if not sqlite():
            User.objects.create_user("ivan")
            assert stored(token).access_token == "ok-access-token-1"
    assert stored(token).generation == 1
    assert sqlite() or User.objects.filter(username="ivan").exists()


def failing_view(request):
    assert connection.in_atomic_block
    request.social["ok"].friends.get()
    raise Undone


def view(request):
    assert connection.in_atomic_block
    request.social["ok"].friends.get()
    return HttpResponse("done")


urlpatterns = [path("fails/", failing_view), path("works/", view)]


@pytest.fixture
def atomic_requests(monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with override_settings(
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django_socialgrants.middleware.SocialGrantsMiddleware",
        ],
    ):
        yield


@pytest.mark.parametrize(("url", "status"), [("/fails/", 500), ("/works/", 200)])
def test_a_view_with_atomic_requests_may_fail_after_the_refresh(
    user, ok_app, network, wal, atomic_requests, url, status
):
    token = expired(user, ok_app)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    assert client.get(url).status_code == status
    assert stored(token).refresh_token == "ok-refresh-token-1"
    assert client.get(url).status_code == status
    assert requests_of(network, "ok") == ["token", "api", "api"]


# --- where it can not be done ------------------------------------------------------------------------------


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize("undone", TRANSACTIONS)
def test_sqlite_without_write_ahead_log_refuses_before_any_call(api, user, ok_app, network, undone):
    token = expired(user, ok_app)
    before = row(token)

    def call():
        with pytest.raises(UnsafeTransaction, match="write-ahead"):
            api.friends.get()

    undone(call)
    assert network.calls == []
    assert row(token) == before
    api.friends.get()  # outside of a transaction it can
    assert requests_of(network, "ok") == ["token", "api"]


def test_sqlite_without_write_ahead_log_needs_none_for_a_fresh_token(api, user, ok_app, network):
    granted(user, ok_app)
    with transaction.atomic():
        api.friends.get()
    assert requests_of(network, "ok") == ["api"]


def lock(token):
    """Take, in this transaction, what a refresh of `token` needs."""
    if sqlite():
        User.objects.update(first_name="Мария")  # locks all of the database
    else:
        assert list(UserToken.objects.select_for_update().filter(pk=token.pk)) == [token]


@pytest.mark.only_on("sqlite")
def test_without_write_ahead_log_a_stale_token_is_used_as_long_as_it_is_valid(api, user, ok_app, network):
    token = stale(user, ok_app)
    before = row(token)
    with transaction.atomic():
        api.friends.get()
    assert requests_of(network, "ok") == ["api"]
    assert row(token) == before


@pytest.mark.slow
def test_a_transaction_in_the_way_of_its_own_refresh_is_told_so(api, user, ok_app, network, wal):
    token = expired(user, ok_app)
    before = row(token)
    with transaction.atomic():
        lock(token)
        with pytest.raises(UnsafeTransaction):
            api.friends.get()
        assert User.objects.count() == 1  # the transaction can go on
    assert network.calls == []
    assert row(token) == before


def test_a_stale_token_that_can_not_be_refreshed_here_is_used_as_long_as_it_is_valid(
    api, user, ok_app, network, wal
):
    token = stale(user, ok_app)
    before = row(token)
    with transaction.atomic():
        lock(token)
        api.friends.get()
    assert requests_of(network, "ok") == ["api"]
    assert row(token) == before


@pytest.mark.slow
def test_a_transaction_in_the_way_of_marking_a_token_ends_soon_too(api, user, ok_app, network, wal):
    token = granted(user, ok_app, refresh_token="")
    network.on("/ok/api", answer(EXPIRED))
    with transaction.atomic():
        lock(token)
        with pytest.raises(NeedsLogin) as caught:
            api.friends.get()
        assert caught.value.reason == "session_expired"
    with pytest.raises(NeedsLogin):
        SocialAPI(user, "ok").friends.get()
    assert stored(token).state == "needs_login"


def test_a_transaction_that_has_stored_the_token_can_not_refresh_it(user, ok_app, network, wal):
    with transaction.atomic():
        expired(user, ok_app)
        with pytest.raises(UnsafeTransaction):
            SocialAPI(user, "ok").friends.get()
    assert network.calls == []


def test_a_token_that_is_deleted_meanwhile_is_none(api, user, ok_app, network, wal):
    token = expired(user, ok_app)

    def delete(call):
        try:
            UserToken.objects.filter(pk=token.pk).delete()
        finally:
            connections.close_all()
        answer(ok_token())(call)

    network.on("/ok/token", delete)
    with transaction.atomic(), pytest.raises(NeedsLogin) as caught:
        api.friends.get()
    assert caught.value.reason == "no_token"
    assert not UserToken.objects.exists()


# --- what is held meanwhile ------------------------------------------------------------------------------


def busy_transactions():
    """Sessions of this database that are in a transaction but do nothing in it, by another connection's eyes."""
    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%%'",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def look_during_http(network, look):
    """What `look` saw while each request waited for its answer, in a thread and a connection of its own."""
    seen = []

    def looking(behaviour):
        def behave(call):
            try:
                seen.append(look())
            finally:
                connections.close_all()
            behaviour(call)

        return behave

    for place in ("/ok/token", "/ok/api"):
        network.on(place, looking(network.behaviours[place]))
    return seen


@pytest.mark.only_on("postgresql", "mysql")
def test_no_transaction_is_open_while_a_network_is_talked_to(api, user, ok_app, network):
    expired(user, ok_app)
    seen = look_during_http(network, busy_transactions)
    api.friends.get()
    assert seen == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("undone", [in_atomic, without_autocommit])
def test_but_the_callers_own_no_connection_is_held_either(api, user, ok_app, network, wal, undone):
    expired(user, ok_app)
    connection.ensure_connection()
    before = open_connections()
    own = 0 if sqlite() else 1  # that of who looks
    seen = look_during_http(network, lambda: open_connections_by_and_by(before + own))
    undone(lambda: api.friends.get())
    assert seen == [before + own] * 2
    assert open_connections_by_and_by(before) == before


def test_the_row_can_be_written_to_while_its_refresh_is_on_its_way(api, user, ok_app, network, wal):
    token = expired(user, ok_app)

    def write():
        with transaction.atomic():
            return UserToken.objects.filter(pk=token.pk).update(profile={"seen": True})

    seen = look_during_http(network, write)
    with transaction.atomic():
        api.friends.get()
    assert seen == [1, 1]
    assert (stored(token).generation, stored(token).profile) == (1, {"seen": True})


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["refreshed", "refused", "locked"])
def test_no_connection_is_leaked_by_twenty_refreshes_in_transactions(user, ok_app, network, wal, condition):
    token = expired(user, ok_app)
    connection.ensure_connection()
    before = open_connections()
    for _ in range(20):
        UserToken.objects.filter(pk=token.pk).update(state="active", expires_at=token.expires_at)
        if condition == "refused":
            network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
        with transaction.atomic():
            if condition == "locked":
                lock(token)
            try:
                SocialAPI(user, "ok").friends.get()
            except (NeedsLogin, UnsafeTransaction):
                assert condition != "refreshed"
    assert open_connections_by_and_by(before) == before


def test_the_callers_connection_keeps_its_patience(api, user, ok_app, network, wal):
    query = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@innodb_lock_wait_timeout"}
    query = query.get(connection.vendor, "PRAGMA busy_timeout")

    def patience():
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()

    expired(user, ok_app)
    before = patience()
    with transaction.atomic():
        api.friends.get()
        assert patience() == before
    assert patience() == before


# --- Django's own test cases ---------------------------------------------------------------------------------


class TestInATestCase(TestCase):
    """Everything works in the transaction that no other connection can see."""

    @pytest.fixture(autouse=True)
    def _network(self, network):
        self.network = network

    def setUp(self):
        self.user = User.objects.create_user("maria")
        self.app = ProviderCredentials.objects.create(
            name="ok",
            provider="ok",
            client_id="512000000000",
            client_secret="ok-client-secret",
            client_key="KEY",
        )

    def test_a_token_is_refreshed(self):
        token = expired(self.user, self.app)
        SocialAPI(self.user, "ok").friends.get()
        assert (stored(token).generation, stored(token).access_token) == (1, "ok-access-token-1")

    def test_a_token_is_refreshed_inside_atomic(self):
        token = expired(self.user, self.app)
        with transaction.atomic(), transaction.atomic():
            SocialAPI(self.user, "ok").friends.get()
        assert stored(token).generation == 1

    def test_a_dead_token_is_marked(self):
        token = expired(self.user, self.app)
        self.network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
        with pytest.raises(NeedsLogin):
            SocialAPI(self.user, "ok").friends.get()
        assert stored(token).state == "needs_login"

    def test_a_pause_is_kept(self):
        token = expired(self.user, self.app)
        self.network.on("/ok/token", answer({}, status=429))
        for _ in range(2):
            with pytest.raises(Exception, match="429|paused"):
                SocialAPI(self.user, "ok").friends.get()
        assert requests_of(self.network, "ok") == ["token"]
        assert stored(token).failures == 0


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("nested", [0, 1, 2])
def test_a_test_with_the_usual_fixture_refreshes_in_its_own_transaction(ok_app, network, nested):
    user = User.objects.create_user("ivan")
    token = expired(user, ok_app)
    if nested:
        with transaction.atomic():
            if nested > 1:
                lock(token)
            SocialAPI(user, "ok").friends.get()
    else:
        SocialAPI(user, "ok").friends.get()
    assert stored(token).access_token == "ok-access-token-1"
