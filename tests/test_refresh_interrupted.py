"""Whatever strikes a run, answers on their way are stored, and the other leases given back."""

import threading

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from django_socialgrants.models import UserToken
from django_socialgrants.refreshing import lane as lanes
from django_socialgrants.refreshing import settlement, workers
from tests.due import TokenEndpoint, counts, row, run, store_due
from tests.fakes import FakeMailRu, FakeOK

pytestmark = pytest.mark.django_db


class TimeIsUp(Exception):
    """What a task queue raises in the main thread, between any two lines."""


class Gate:
    """An endpoint that answers when it is opened, and knows how many wait for that."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.waiting = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, call):
        self.waiting.release()
        self.opened.wait(20)
        self.endpoint(call)

    def await_requests(self, count):
        for _ in range(count):
            assert self.waiting.acquire(timeout=20)


def assert_nothing_is_lost(endpoint):
    """Every refresh token that was presented has a successor in the database, and no lease is left."""
    assert not UserToken.objects.exclude(lease_owner="", lease_until=None).exists()
    presented = {token.split("-")[1] for token in endpoint.presented}
    stored = {token.uid for token in UserToken.objects.filter(generation=1)}
    assert stored == presented
    assert set(endpoint.presented.values()) <= {1}
    assert not UserToken.objects.exclude(reason="").exists()


@pytest.fixture
def mailru(network, mailru_app):
    endpoint = TokenEndpoint(rotates=True)
    network.on("/mailru/token", endpoint)
    return endpoint


def raising(error, function, *, at=1, after=False):
    """`function`, which is interrupted the `at`th time, before or after it has done its work."""
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) != at:
            return function(*args, **kwargs)
        if after:
            function(*args, **kwargs)
        raise error

    return interrupted


@pytest.mark.parametrize("error", [TimeIsUp(), KeyboardInterrupt(), SystemExit(1)], ids=type)
def test_an_exception_while_the_run_waits_stores_what_is_on_its_way(
    network, mailru, mailru_app, monkeypatch, error
):
    gate = Gate(mailru)
    network.on("/mailru/token", gate)
    store_due(mailru_app, 60)
    wait = workers.Workers.wait

    def wait_in_vain(self):
        gate.await_requests(8)
        monkeypatch.setattr(workers.Workers, "wait", wait)
        threading.Timer(0.05, gate.opened.set).start()
        raise error

    monkeypatch.setattr(workers.Workers, "wait", wait_in_vain)
    with pytest.raises(type(error)):
        run(workers=8)
    assert len(mailru.presented) == 8
    assert_nothing_is_lost(mailru)
    assert counts(run())[1] == 52


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (settlement, "write"),
        (settlement, "_tell"),
        (settlement.health, "learn"),
        (lanes, "settle"),
        (lanes.Lane, "claim"),
        (lanes.Lane, "prepare"),
        (lanes.Lane, "receive"),
        (workers.Workers, "put"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_exception_between_any_two_lines_loses_nothing(
    mailru, mailru_app, monkeypatch, module, name, at, after
):
    store_due(mailru_app, 20)
    monkeypatch.setattr(module, name, raising(TimeIsUp(), getattr(module, name), at=at, after=after))
    with pytest.raises(TimeIsUp):
        run(workers=4)
    assert_nothing_is_lost(mailru)
    left = UserToken.objects.filter(generation=0).count()
    assert counts(run())[1] == left
    assert set(mailru.presented.values()) == {1}


# --- threads -----------------------------------------------------------------------------------------------------


def no_more_than(allowed, monkeypatch):
    """As a limit of processes does: so many threads can be started, and no more."""
    start, started = threading.Thread.start, []

    def limited(self):
        if self._target.__name__ == "_run":  # those of the network's server are not meant
            started.append(self)
            if len(started) > allowed:
                raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)


def test_a_system_that_allows_few_threads_gets_the_work_done_by_those(
    mailru, mailru_app, monkeypatch, caplog
):
    no_more_than(3, monkeypatch)
    store_due(mailru_app, 40)
    assert counts(run(workers=16)) == (40, 40, 0, 0, 0)
    assert_nothing_is_lost(mailru)
    assert "only 3 of 16 threads" in caplog.text


def test_a_system_that_allows_no_thread_leaves_everything_as_it_was(mailru, mailru_app, monkeypatch):
    no_more_than(0, monkeypatch)
    store_due(mailru_app, 40)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(workers=16)
    assert_nothing_is_lost(mailru)
    assert not mailru.presented


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=type)
def test_what_no_thread_survives_ends_the_run_and_costs_that_token_a_doubt(
    network, mailru, mailru_app, monkeypatch, error
):
    tokens = store_due(mailru_app, 20)
    parse = FakeMailRu.parse_token_response

    def parse_or_die(self, response, grant):
        if grant.refresh_token.reveal() == f"refresh-{tokens[5].uid}-0":
            raise error
        return parse(self, response, grant)

    monkeypatch.setattr(FakeMailRu, "parse_token_response", parse_or_die)
    with pytest.raises(type(error)):
        run(workers=4)
    assert not UserToken.objects.exclude(lease_owner="").exists()
    assert row(tokens[5]).reason == "outcome_unknown"
    stored = {token.uid for token in UserToken.objects.filter(generation=1)}
    assert stored == {token.split("-")[1] for token in mailru.presented} - {tokens[5].uid}


# --- a network's own code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["token_request", "parse_token_response", "can_refresh"])
def test_code_of_a_network_that_fails_for_one_token_is_no_matter_of_others(
    network, mailru, ok_app, mailru_app, monkeypatch, method
):
    """A KeyError, as a network's own class may raise it for a token that it did not think of."""
    endpoint = TokenEndpoint()
    network.on("/ok/token", endpoint)
    store_due(mailru_app, 5)
    tokens = store_due(ok_app, 5)
    original, bad = getattr(FakeOK, method), tokens[2].uid

    def fail_for_one(self, *args):
        if any(bad in str(getattr(arg, "refresh_token", "") and arg.refresh_token.reveal()) for arg in args):
            raise KeyError("vendor")
        return original(self, *args)

    monkeypatch.setattr(FakeOK, method, fail_for_one)
    report = run(workers=4)
    assert counts(report, "mailru") == (5, 5, 0, 0, 0)
    if method == "can_refresh":  # asked when all is over: the new token is worth more than the question
        assert counts(report, "ok") == (5, 5, 0, 0, 0)
        return
    assert counts(report, "ok") == (5, 4, 0, 1, 0)
    assert sum(report.applications["ok"].reasons.values()) == 1
    now = row(tokens[2])
    assert (now.state, now.failures, now.lease_owner) == ("active", 1, "")


# --- a database that fails ---------------------------------------------------------------------------------------


FAILURES = [OperationalError("gone"), InterfaceError("closed"), DatabaseError("?")]


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("refreshing.committed", "refreshing.lease", "flows.refresh_due"):
        monkeypatch.setattr(f"django_socialgrants.{module}.time", clock)
    monkeypatch.setattr("django_socialgrants.models.token.time", clock)
    return clock


def is_away(error):
    """A wrapper of statements that fails all that write to tokens while `there` is not set."""
    there = threading.Event()
    there.set()

    def execute(execute, sql, params, many, context):
        if not there.is_set() and sql.startswith(("UPDATE", "SELECT")):
            raise error
        return execute(sql, params, many, context)

    return there, execute


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "error", [OperationalError("gone"), InterfaceError("closed"), DatabaseError("?")], ids=type
)
def test_a_run_that_stops_while_the_database_is_away_ends_in_half_a_minute(
    network, mailru, ok_app, other_ok_app, mailru_app, clock, monkeypatch, error
):
    """Not in half a minute for each application or each token."""

    def wait_for_all(self):
        """No time passes before the last answer has come."""
        with self._changed:
            self._changed.wait_for(
                lambda: not any(self._waiting.values()) and not any(self._busy.values()), 20
            )

    monkeypatch.setattr(workers.Workers, "wait", wait_for_all)
    gate = Gate(mailru)
    for name in ("ok", "mailru"):
        network.on(f"/{name}/token", gate)
    for application, prefix in ((ok_app, "1"), (other_ok_app, "2"), (mailru_app, "3")):
        store_due(application, 20, prefix=prefix)
    there, wrapper = is_away(error)
    stopped = threading.Event()

    def interrupt():
        gate.await_requests(9)
        there.clear()
        stopped.set()
        gate.opened.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = clock.now
    connection.execute_wrappers.append(wrapper)
    try:
        report = run(workers=9, stop=stopped.is_set)
    finally:
        connection.execute_wrappers.remove(wrapper)
        thread.join()
    assert clock.now - began <= 31
    assert report.exit_code == 1
    assert {tally.problem for tally in report.applications.values()} == {"database"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "error", [OperationalError("gone"), InterfaceError("closed"), DatabaseError("?")], ids=type
)
def test_a_database_that_comes_back_in_time_has_lost_nothing(network, mailru, mailru_app, clock, error):
    there, wrapper = is_away(error)
    gate = Gate(mailru)
    network.on("/mailru/token", gate)
    store_due(mailru_app, 4)

    def leave():
        gate.await_requests(4)
        there.clear()
        gate.opened.set()

    def sleep(seconds):
        clock.now += seconds
        if clock.now > 1020:
            there.set()

    clock.sleep = sleep
    thread = threading.Thread(target=leave)
    thread.start()
    connection.execute_wrappers.append(wrapper)
    try:
        assert counts(run(workers=4)) == (4, 4, 0, 0, 0)
    finally:
        connection.execute_wrappers.remove(wrapper)
        thread.join()
    assert_nothing_is_lost(mailru)
