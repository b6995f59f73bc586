"""What a refresh inside somebody's transaction promises, on real servers: the same rows, nothing left behind."""

import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin, ProviderUnavailable, UnsafeTransaction
from django_socialgrants.flows import refresh
from django_socialgrants.flows.refresh_due import refresh_due
from django_socialgrants.models import UserToken
from django_socialgrants.refreshing import committed, turn
from tests.conftest import ok_token
from tests.databases import elsewhere, kill, number_of, sql, tenant, tenants_name
from tests.network import answer
from tests.tokens import (
    EXPIRED,
    change,
    expired,
    granted,
    in_turn,
    refresh_tokens_sent,
    requests_of,
    row,
    signals_sent,
    stored,
)

SERVERS = pytest.mark.only_on("postgresql", "mysql")
POSTGRESQL = pytest.mark.only_on("postgresql")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria")


@pytest.fixture
def api(user, network, ok_app):
    return SocialAPI(user, "ok")


@pytest.fixture(autouse=True)
def clean():
    yield
    connection.close()  # whatever a test has set on it


@pytest.fixture
def pauses(monkeypatch):
    """What is done in place of each pause between two looks or tries; nobody really waits."""
    jobs = []

    def sleep(_):
        if jobs:
            jobs.pop(0)()

    fake = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(turn, "time", fake)
    monkeypatch.setattr(committed, "time", fake)
    return jobs


def seen_by_others(token):
    return elsewhere(lambda: row(token))


# --- the same rows ---------------------------------------------------------------------------------------


@pytest.fixture(params=["somebody else", "the same person"])
def neighbour(request, ok_app, user):
    """The token that has, in the main schema, the primary key that the user's token has in the tenant's."""
    theirs = {"user": User.objects.create_user("oleg"), "uid": "2222"}
    if request.param == "the same person":
        theirs = {"user": user, "uid": "1111"}
    return expired(app=ok_app, refresh_token="of-the-neighbour", **theirs)


def tokens_of_tenant(user, app, neighbour):
    return expired(user, app, pk=neighbour.pk, uid="1111", refresh_token="of-the-tenant")


@contextmanager
def by_search_path():
    with tenant() as (enter, leave):
        enter()
        yield
        leave()


@contextmanager
def by_django_tenants():
    """The connection of a site that uses django-tenants, which names the schema anew for each cursor."""
    base = pytest.importorskip("django_tenants.postgresql_backend.base")
    with tenant():
        plain = connections["default"]
        connections["default"] = tenants = base.DatabaseWrapper({**plain.settings_dict}, "default")
        tenants.set_schema(tenants_name())
        try:
            yield
        finally:
            connections["default"] = plain
            tenants.close()


@SERVERS
@pytest.mark.parametrize("enter", [by_search_path, pytest.param(by_django_tenants, marks=POSTGRESQL)])
@pytest.mark.parametrize("said", ["a token", "a refusal", "expired session"])
def test_a_token_of_another_schema_is_not_touched(user, ok_app, network, neighbour, enter, said):
    before = row(neighbour)
    if said == "a refusal":
        network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
    with enter():
        token = tokens_of_tenant(user, ok_app, neighbour)
        if said == "expired session":  # of a token that nothing prolongs
            change(token, refresh_token="", expires_at=None)
            network.on("/ok/api", answer(EXPIRED))
        with transaction.atomic():
            if said == "a token":
                SocialAPI(user, "ok", uid=1111).friends.get()
            else:
                with pytest.raises(NeedsLogin):
                    SocialAPI(user, "ok", uid=1111).friends.get()
        now = stored(token)
    assert now.state == ("active" if said == "a token" else "needs_login")
    assert refresh_tokens_sent(network, "ok") == ([] if said == "expired session" else ["of-the-tenant"])
    assert row(neighbour) == before


@POSTGRESQL
def test_rows_that_only_the_caller_may_see_are_refused(user, ok_app, network):
    """Row-level security by a setting of the session, which the second connection does not have."""
    token = expired(user, ok_app)
    before = row(token)
    table, role, name = UserToken._meta.db_table, tenants_name(), connection.settings_dict["NAME"]
    sql(
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY mine ON {table} USING (current_setting('site.tenant', true) = 'mine')",
        f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET role = {role}",
    )
    connection.close()
    try:
        sql("SET site.tenant = 'mine'")
        with transaction.atomic(), pytest.raises(UnsafeTransaction):
            SocialAPI(user, "ok").friends.get()
    finally:
        sql(
            "SET ROLE NONE",
            f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET role",
            f"DROP POLICY mine ON {table}",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
            f"DROP OWNED BY {role}",
            f"DROP ROLE {role}",
        )
    assert network.calls == []
    assert row(token) == before


# --- what became of the token meanwhile ------------------------------------------------------------------

ISOLATION = {
    "postgresql": "SET TRANSACTION ISOLATION LEVEL {}",
    "mysql": "SET TRANSACTION ISOLATION LEVEL {}",
}
LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@contextmanager
def transaction_at(level):
    if connection.vendor == "mysql":  # said before the transaction begins
        connection.ensure_connection()
        sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
    with transaction.atomic():
        if connection.vendor == "postgresql":
            sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        yield


@pytest.fixture
def wal(transactional_db):
    if connection.vendor != "sqlite":
        yield
        return
    sql("PRAGMA journal_mode=wal")
    yield
    connections.close_all()
    assert sql("PRAGMA journal_mode=delete") == ["delete"]


@pytest.mark.parametrize("level", [LEVELS[0], *(pytest.param(level, marks=SERVERS) for level in LEVELS[1:])])
def test_a_token_that_is_disconnected_meanwhile_is_none(api, user, ok_app, network, wal, level):
    token = expired(user, ok_app)
    if level == "SERIALIZABLE" and connection.vendor == "mysql":
        return  # there who reads a row keeps others from deleting it
    with transaction_at(level):
        assert api.is_granted()
        elsewhere(lambda: UserToken.objects.filter(pk=token.pk).delete())
        with pytest.raises(NeedsLogin) as caught:
            api.friends.get()
        assert User.objects.count() == 1  # the transaction can go on
    assert caught.value.reason == "no_token"
    assert network.calls == []


@SERVERS
@pytest.mark.parametrize("level", LEVELS)
def test_a_token_that_is_stored_by_the_callers_transaction_can_not_be_refreshed_in_it(
    user, ok_app, network, level
):
    with transaction_at(level):
        expired(user, ok_app)
        with pytest.raises(UnsafeTransaction):
            SocialAPI(user, "ok").friends.get()
        assert User.objects.count() == 1
    assert network.calls == []


def test_a_token_that_was_refreshed_meanwhile_is_used(api, user, ok_app, network, wal):
    expired(user, ok_app)
    with transaction.atomic():
        assert api.is_granted()
        elsewhere(lambda: SocialAPI(user, "ok").friends.get())
        api.friends.get()
    assert requests_of(network, "ok") == ["token", "api", "api"]


@pytest.mark.parametrize("column", ["user_id", "uid", "credentials_id"])
@pytest.mark.parametrize("prolongable", [True, False])
def test_a_row_that_has_become_somebody_elses_is_not_touched(
    api, user, ok_app, other_ok_app, network, wal, column, prolongable
):
    token = expired(user, ok_app, refresh_token="refresh" if prolongable else "")
    assert not prolongable or api.is_granted()
    api.granted_scope()  # reads the token
    others = {
        "user_id": User.objects.create_user("ivan").pk,
        "uid": "2222",
        "credentials_id": other_ok_app.pk,
    }
    sql(f"UPDATE socialgrants_usertoken SET {column} = '{others[column]}' WHERE id = {token.pk}")
    before = row(token)
    with transaction.atomic(), pytest.raises(NeedsLogin):
        api.friends.get()
    assert network.calls == []
    assert row(token) == before


# --- waiting ---------------------------------------------------------------------------------------------


def connections_to_server():
    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend'",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
    }
    return elsewhere(lambda: sql(query[connection.vendor]))[0] - 1  # less the one that asks


def fewest(count, tries=1000):
    """The number of connections, once it is no more than `count`: a server hears late of what is closed."""
    for _ in range(tries):
        if (found := connections_to_server()) <= count:
            break
        time.sleep(0.01)
    return found


@SERVERS
def test_no_second_connection_is_held_while_somebody_else_refreshes(api, user, ok_app, network, pauses):
    token = expired(user, ok_app)
    change(token, lease_owner="somebody-else", lease_until="2100-01-01T00:00Z")
    before = fewest(1)
    seen = []
    look = [lambda: seen.append(fewest(before))] * 3

    def give_up():
        elsewhere(lambda: change(token, lease_owner="", lease_until=None))

    pauses += [*look, give_up]
    with transaction.atomic():
        api.friends.get()
    assert seen == [before] * 3
    assert requests_of(network, "ok") == ["token", "api"]


# --- a pool ----------------------------------------------------------------------------------------------


@pytest.fixture
def pool(monkeypatch, transactional_db):
    """Threads get their connections out of a pool that has four."""
    connection.ensure_connection()
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 0, "max_size": 4, "timeout": 2}}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    yield
    connection.close_pool()
    monkeypatch.undo()


def together(count, job):
    """Do `job(number, barrier)` in so many threads; what each returned or raised."""
    barrier = threading.Barrier(count)
    outcomes = [None] * count

    def run(number):
        try:
            outcomes[number] = job(number, barrier)
        except Exception as error:
            outcomes[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@POSTGRESQL
def test_as_many_transactions_as_a_pool_has_connections_do_not_stop_each_other(ok_app, network, pool):
    pytest.importorskip("psycopg_pool")
    users = [User(username=f"user-{number}") for number in range(4)]
    elsewhere(lambda: User.objects.bulk_create(users))
    for number, user in enumerate(users):
        expired(user, ok_app, uid=str(number), refresh_token=f"refresh-{number}")

    def job(number, barrier):
        with transaction.atomic():
            api = SocialAPI(users[number], "ok")
            assert api.is_granted()
            barrier.wait()  # now the pool is empty
            api.friends.get()
            barrier.wait()

    assert together(4, job) == [None] * 4
    assert sorted(refresh_tokens_sent(network, "ok")) == [f"refresh-{number}" for number in range(4)]
    assert set(UserToken.objects.values_list("generation", flat=True)) == {1}


# --- without autocommit ----------------------------------------------------------------------------------


@pytest.fixture
def no_autocommit(monkeypatch, transactional_db):
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    connection.close()
    yield
    transaction.rollback()
    connection.close()


def test_a_database_without_autocommit_presents_a_token_once(user, ok_app, network, wal, no_autocommit):
    token = expired(user, ok_app)
    transaction.commit()
    assert not connection.get_autocommit()
    SocialAPI(user, "ok").friends.get()
    transaction.rollback()
    now = stored(token)
    assert (now.generation, now.refresh_token, now.lease_owner) == (1, "ok-refresh-token-1", "")
    SocialAPI(user, "ok").friends.get()
    assert requests_of(network, "ok") == ["token", "api", "api"]


def test_so_does_a_run(user, ok_app, network, wal, no_autocommit):
    tokens = [expired(user, ok_app, uid=str(number)) for number in range(3)]
    transaction.commit()
    for refreshed in (3, 0):
        report = refresh_due()
        transaction.rollback()
        assert report.to_json()["refreshed"] == refreshed
    assert len(network.calls) == 3
    assert [stored(token).generation for token in tokens] == [1] * 3


ERRORS = [OperationalError, InterfaceError, InternalError, ProgrammingError]


def failing(monkeypatch, error, *, times, when=""):
    """The second connection meets `error` so many times, in statements that begin with `when`."""
    second = committed._second
    left = [error("the second connection")] * times

    def broken(callers):
        own = second(callers)

        def fail(execute, statement, *args):
            if left and statement.startswith(when):
                raise left.pop()
            return execute(statement, *args)

        own.execute_wrappers.append(fail)
        return own

    monkeypatch.setattr(committed, "_second", broken)
    return left


@SERVERS
@pytest.mark.parametrize("error", ERRORS)
def test_what_the_caller_has_written_is_neither_committed_nor_lost_whatever_the_second_connection_meets(
    api, user, ok_app, network, monkeypatch, pauses, error
):
    expired(user, ok_app)
    failing(monkeypatch, error, times=1_000_000)
    monkeypatch.setattr(committed, "LOCK_WAIT", 0)
    transaction.set_autocommit(False)
    try:
        User.objects.create_user("ivan")
        with pytest.raises((UnsafeTransaction, ProgrammingError)):
            api.friends.get()
        assert elsewhere(lambda: User.objects.filter(username="ivan").count()) == 0
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert User.objects.filter(username="ivan").exists()
    assert network.calls == []


@SERVERS
@pytest.mark.parametrize("error", ERRORS[:3])
def test_nor_is_it_when_the_new_token_is_stored_at_the_second_try(
    api, user, ok_app, network, monkeypatch, pauses, error
):
    token = expired(user, ok_app)
    failures = failing(monkeypatch, error, times=2, when="UPDATE")
    transaction.set_autocommit(False)
    try:
        User.objects.create_user("ivan")
        api.friends.get()
        assert elsewhere(lambda: User.objects.filter(username="ivan").count()) == 0
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert failures == []
    assert User.objects.filter(username="ivan").exists()
    assert stored(token).refresh_token == "ok-refresh-token-1"
    assert requests_of(network, "ok") == ["token", "api"]


# --- PgBouncer -------------------------------------------------------------------------------------------


@pytest.fixture
def bouncer(tmp_path, monkeypatch, transactional_db):
    """PgBouncer in transaction mode stands before the server; it shares two connections among all clients."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    database = connection.settings_dict
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={database['HOST'] or '127.0.0.1'} port={database['PORT'] or 5432} "
        f"user={database['USER']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 50\nuser = nobody\n"
    )
    for path in (settings, *tmp_path.parents):
        path.chmod(path.stat().st_mode | 0o555)
    process = subprocess.Popen([program, "-q", settings], stderr=subprocess.PIPE)
    monkeypatch.setitem(database, "HOST", "127.0.0.1")
    monkeypatch.setitem(database, "PORT", port)
    connection.close()
    try:
        until_it_listens(port, process)
        yield
    finally:
        connections.close_all()
        monkeypatch.undo()
        process.terminate()
        process.communicate()


def until_it_listens(port, process):
    for _ in range(1000):
        assert process.poll() is None, process.stderr.read()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)
    raise AssertionError("PgBouncer does not listen")


@POSTGRESQL
def test_behind_pgbouncer_nothing_that_is_set_outlives_its_statement(api, user, ok_app, network, bouncer):
    token = expired(user, ok_app)
    names = ("lock_timeout", "search_path", "transaction_isolation")
    before = [sql(f"SHOW {name}") for name in names]
    with transaction.atomic():
        api.friends.get()
    assert stored(token).generation == 1

    def look(number, barrier):
        with transaction.atomic():  # both at once, so each has a server connection of its own
            barrier.wait()
            found = [sql(f"SHOW {name}") for name in names]
            barrier.wait()
            return found

    assert together(2, look) == [before, before]


# --- isolation that the server demands -------------------------------------------------------------------


@pytest.fixture(params=["repeatable read", "serializable"])
def strict_server(request, transactional_db):
    name = connection.settings_dict["NAME"]
    sql(f"ALTER DATABASE {name} SET default_transaction_isolation TO '{request.param}'")
    connection.close()
    yield
    connection.close()
    sql(f"ALTER DATABASE {name} RESET default_transaction_isolation")


@POSTGRESQL
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_server_that_serializes_lets_no_error_out_of_a_call(
    user, ok_app, network, strict_server, in_transaction
):
    token = expired(user, ok_app)
    current = ["ok-refresh-token-0"]

    def rotate(sent):
        assert sent.params["refresh_token"] == current[0]
        current[0] = f"refresh-{len(network.calls)}"
        answer(ok_token(refresh_token=current[0]))(sent)

    network.on("/ok/token", rotate)

    def job(number, barrier):
        for _ in range(4):
            if barrier.wait() == 0:
                change(token, expires_at="2020-01-01T00:00Z")
            barrier.wait()
            if in_transaction:
                with transaction.atomic():
                    SocialAPI(user, "ok").friends.get()
            else:
                SocialAPI(user, "ok").friends.get()

    assert together(8, job) == [None] * 8
    assert len(network.calls_to("/ok/token")) == 4
    assert stored(token).generation == 4


# --- connections that break ------------------------------------------------------------------------------


def break_after(add_wrapper, when, times=1):
    """End the connection behind its first statement that begins with `when`."""
    left = [None] * times

    def cut(execute, statement, params, many, context):
        result = execute(statement, params, many, context)
        if left and statement.startswith(when):
            left.pop()
            kill(number_of(context["connection"]))
        return result

    add_wrapper(cut)
    return left


@pytest.fixture
def second(monkeypatch):
    """Add a wrapper to the statements of every second connection."""
    opened = committed._second

    def add(wrapper):
        def with_wrapper(callers):
            own = opened(callers)
            own.execute_wrappers.append(wrapper)
            return own

        monkeypatch.setattr(committed, "_second", with_wrapper)

    return add


@SERVERS
def test_a_connection_that_is_cut_behind_the_claim_locks_nobody_out(
    api, user, ok_app, network, monkeypatch, pauses
):
    token = expired(user, ok_app)
    cuts = break_after(connection.execute_wrappers.append, "UPDATE")
    api.friends.get()
    connection.execute_wrappers.clear()
    assert cuts == []
    assert requests_of(network, "ok") == ["token", "api"]
    assert (stored(token).generation, stored(token).lease_owner) == (1, "")


@SERVERS
def test_nor_does_a_second_connection_that_is_cut(api, user, ok_app, network, monkeypatch, pauses, second):
    token = expired(user, ok_app)
    cuts = break_after(second, "UPDATE")
    with transaction.atomic():
        api.friends.get()
    assert cuts == []
    assert requests_of(network, "ok") == ["token", "api"]
    assert (stored(token).generation, stored(token).lease_owner) == (1, "")


@SERVERS
def test_a_second_connection_that_is_cut_is_not_reported_as_a_lock(
    api, user, ok_app, network, monkeypatch, pauses, second
):
    expired(user, ok_app)
    monkeypatch.setattr(committed, "LOCK_WAIT", 0)
    break_after(second, "SET", times=100)
    with (
        transaction.atomic(),
        pytest.raises(UnsafeTransaction, match="second connection .* failed") as caught,
    ):
        api.friends.get()
    assert "locked" not in str(caught.value)


@POSTGRESQL
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_failover_between_answer_and_commit_loses_nothing(
    api, user, ok_app, network, pauses, in_transaction
):
    """Connections are cut, and the server that takes over is read-only for a while."""
    token = expired(user, ok_app)
    name = connection.settings_dict["NAME"]
    doomed = number_of(connection)

    def fail_over(sent):
        elsewhere(lambda: sql(f"ALTER DATABASE {name} SET default_transaction_read_only TO on"))
        kill(doomed)
        answer(ok_token())(sent)

    def recover():
        statement = f"ALTER DATABASE {name} RESET default_transaction_read_only"
        elsewhere(lambda: sql("SET default_transaction_read_only TO off", statement))

    network.on("/ok/token", fail_over)
    tries = []
    pauses += [lambda: tries.append("failed")] * 3 + [recover]
    try:
        if in_transaction:
            with pytest.raises((OperationalError, InterfaceError)), transaction.atomic():
                api.friends.get()
                User.objects.count()  # the caller's own transaction is lost, of course
        else:
            api.friends.get()
    finally:
        recover()
        connection.close()
    assert len(tries) == 3
    assert stored(token).refresh_token == "ok-refresh-token-1"
    assert refresh_tokens_sent(network, "ok") == ["ok-refresh-token-0"]


# --- rounds ----------------------------------------------------------------------------------------------


def test_who_is_frozen_between_claim_and_send_presents_nothing(api, user, ok_app, network, monkeypatch):
    token = expired(user, ok_app)
    prepare = refresh.prepare

    def frozen(claimed, *args, **options):
        claimed.read_at -= 3600
        return prepare(claimed, *args, **options)

    monkeypatch.setattr(refresh, "prepare", frozen)
    with pytest.raises(ProviderUnavailable):
        api.friends.get()
    assert network.calls == []
    assert (stored(token).lease_owner, stored(token).failures) == ("", 0)


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_whatever_happens_before_anything_is_sent_gives_the_lease_back(
    api, user, ok_app, network, monkeypatch, error
):
    token = expired(user, ok_app)

    def broken(*args):
        raise error

    monkeypatch.setattr(ok_app.get_provider(), "token_request", broken, raising=False)
    with pytest.raises(error):
        api.friends.get()
    assert (stored(token).lease_owner, stored(token).lease_until) == ("", None)
    assert network.calls == []


def test_a_lease_that_is_lost_is_not_followed_by_a_second_request(api, user, ok_app, network, pauses):
    token = expired(user, ok_app)

    def lose(sent):
        elsewhere(lambda: change(token, lease_owner="", lease_until=None))
        answer(ok_token())(sent)

    network.on("/ok/token", lose)
    with pytest.raises(ProviderUnavailable):
        api.friends.get()
    assert requests_of(network, "ok") == ["token"]


def test_a_call_makes_no_more_than_a_call_a_refresh_and_a_call(api, user, ok_app, network):
    granted(user, ok_app)
    network.on("/ok/api", in_turn(answer(EXPIRED), answer([])))
    api.friends.get()
    assert requests_of(network, "ok") == ["api", "token", "api"]


def test_a_mark_whose_confirmation_gets_lost_is_told_once(user, ok_app, network, pauses):
    granted(user, ok_app, refresh_token="")
    network.on("/ok/api", answer(EXPIRED))
    failures = [OperationalError("lost")]

    def lose(execute, statement, *args):
        result = execute(statement, *args)
        if statement.startswith("UPDATE") and failures:
            raise failures.pop()
        return result

    connection.execute_wrappers.append(lose)
    with signals_sent() as sent, pytest.raises(NeedsLogin):
        SocialAPI(user, "ok").friends.get()
    connection.execute_wrappers.clear()
    assert [name for name, _ in sent] == ["needs_login"]


# --- replicas --------------------------------------------------------------------------------------------


class Replicated:
    """Reads that nobody directs to the primary end at a replica that knows nothing yet."""

    def db_for_read(self, model, **hints):
        assert model._meta.app_label != "socialgrants", f"{model} is read from a replica"

    def db_for_write(self, model, **hints):
        return "default"


@pytest.mark.parametrize("condition", [granted, expired])
def test_a_replica_decides_nothing(user, ok_app, network, settings, condition):
    token = condition(user, ok_app)
    settings.DATABASE_ROUTERS = [Replicated()]
    SocialAPI(user, "ok").friends.get()
    assert SocialAPI(user, "ok").is_granted()
    network.on("/ok/api", in_turn(answer(EXPIRED), answer([])))
    SocialAPI(user, "ok").friends.get()
    UserToken.objects.using("default").filter(pk=token.pk).delete()
    with pytest.raises(NeedsLogin):
        SocialAPI(user, "ok").friends.get()
    assert not SocialAPI(user, "ok").is_granted()
