"""One run over due tokens while the networks are well: what is refreshed, in what order, and what is stored."""

from datetime import timedelta

import pytest
from django.db import connection

from django_socialgrants import signals
from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.models import ApplicationHealth, UserToken
from tests.due import NOW, TokenEndpoint, columns, counts, make_due_again, row, run, store_due
from tests.network import answer

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def ok(network):
    """OK's token endpoint: refresh tokens stay as they are."""
    endpoint = TokenEndpoint()
    network.on("/ok/token", endpoint)
    return endpoint


@pytest.fixture
def mailru(network):
    """Mail.Ru's token endpoint: each refresh token is good for one exchange."""
    endpoint = TokenEndpoint(rotates=True)
    network.on("/mailru/token", endpoint)
    return endpoint


def seconds_from_now(time):
    return (time - NOW()).total_seconds()


def is_in(time, seconds):
    """Whether `time` is so many seconds from now, as far as a busy machine can tell."""
    return abs(seconds_from_now(time) - seconds) < 60


# --- what is due ------------------------------------------------------------------------------------------


def test_what_came_due_is_refreshed_and_everything_else_stays_as_it_is(ok, ok_app):
    due = store_due(ok_app, 3, prefix="1")
    others = [
        *store_due(ok_app, prefix="2", state=UserToken.State.NEEDS_LOGIN, reason="invalid_grant"),
        *store_due(ok_app, prefix="3", age=-60),
        *store_due(ok_app, prefix="4", failures=3, reason="outcome_unknown", age=-60),
        *store_due(ok_app, prefix="5"),
    ]
    UserToken.objects.filter(pk=others[-1].pk).update(next_refresh_at=None)
    before = columns(*others)

    report = run()
    assert counts(report) == (3, 3, 0, 0, 0)
    assert report.exit_code == 0
    assert sorted(ok.presented) == [f"refresh-{token.uid}-0" for token in due]
    assert columns(*others) == before


def test_a_token_that_failed_is_due_again_when_its_time_has_come(ok, ok_app):
    [token] = store_due(ok_app, failures=4, reason="outcome_unknown")
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert (row(token).failures, row(token).reason) == (0, "")


def test_within_adds_what_comes_due_soon_but_nothing_that_backs_off(ok, ok_app):
    [due] = store_due(ok_app, prefix="1", failures=1)
    [soon] = store_due(ok_app, prefix="2", age=-300)
    later = store_due(ok_app, prefix="3", age=-900)
    failed = store_due(ok_app, prefix="4", age=-300, failures=1)
    before = columns(*later, *failed)

    assert counts(run(within=600)) == (2, 2, 0, 0, 0)
    assert sorted(ok.presented) == [f"refresh-{token.uid}-0" for token in (due, soon)]
    assert columns(*later, *failed) == before


def test_within_a_long_time_each_token_is_refreshed_once(ok, ok_app):
    """Even though all of them are due within that time again as soon as they are refreshed."""
    store_due(ok_app, 40)
    assert counts(run(within=24 * 3600, workers=2, max_time=30)) == (40, 40, 0, 0, 0)
    assert set(ok.presented.values()) == {1}


@pytest.mark.parametrize("expires_in", [0, 30, 119])
def test_a_token_that_is_stale_as_soon_as_it_is_given_is_refreshed_once_in_a_run(network, ok_app, expires_in):
    endpoint = TokenEndpoint(expires_in=expires_in)
    network.on("/ok/token", endpoint)
    store_due(ok_app, 12)
    assert counts(run(workers=2, max_time=5)) == (12, 12, 0, 0, 0)
    assert set(endpoint.presented.values()) == {1}


def test_what_comes_due_during_a_run_is_left_to_the_next_one(ok, ok_app):
    first = store_due(ok_app, 8, prefix="1")
    [late] = store_due(ok_app, prefix="2", age=-3600)

    def hurry(**kwargs):
        UserToken.objects.filter(pk=late.pk).update(next_refresh_at=NOW() + timedelta(seconds=1))

    signals.refreshed.connect(hurry)
    try:
        assert counts(run(workers=1)) == (8, 8, 0, 0, 0)
    finally:
        signals.refreshed.disconnect(hurry)
    assert len(ok.order) == len(first)
    make_due_again(late)
    assert counts(run()) == (1, 1, 0, 0, 0)


def test_only_the_named_applications_are_looked_at(ok, mailru, ok_app, other_ok_app, mailru_app):
    for application in (ok_app, other_ok_app, mailru_app):
        store_due(application, 2)
    before = columns(*UserToken.objects.filter(credentials=other_ok_app))
    report = run("mailru", "ok")
    assert set(report.applications) == {"ok", "mailru"}
    assert counts(report) == (4, 4, 0, 0, 0)
    assert columns(*UserToken.objects.filter(credentials=other_ok_app)) == before

    report = run()
    assert set(report.applications) == {"ok", "ok-2", "mailru"}
    assert counts(report) == counts(report, "ok-2") == (2, 2, 0, 0, 0)


def test_a_name_that_nobody_has_is_an_error_before_any_call(ok, ok_app):
    store_due(ok_app)
    with pytest.raises(UnknownCredentials, match=r"'mailru', 'nobody'$"):
        run("ok", "nobody", "mailru")
    assert ok.order == []


def test_a_site_without_applications_has_nothing_to_do(network, db):
    report = run()
    assert report.to_json()["applications"] == {}
    assert (counts(report), report.exit_code) == ((0, 0, 0, 0, 0), 0)


def test_each_application_is_refreshed_with_its_own_credentials(network, ok_app, other_ok_app):
    network.on("/ok/token", TokenEndpoint())
    mine, theirs = store_due(ok_app, prefix="1") + store_due(other_ok_app, prefix="2")
    run()
    sent = {call.params["refresh_token"]: call.params for call in network.calls}
    for token, application in ((mine, ok_app), (theirs, other_ok_app)):
        assert sent[f"refresh-{token.uid}-0"] == {
            "grant_type": "refresh_token",
            "refresh_token": f"refresh-{token.uid}-0",
            "client_id": application.client_id,
            "client_secret": application.client_secret.reveal(),
        }
    assert {call.method for call in network.calls} == {"POST"}
    assert not any("?" in call.path for call in network.calls)


# --- order and bounds -------------------------------------------------------------------------------------


def test_those_that_have_waited_longest_are_first(ok, ok_app):
    newer = store_due(ok_app, 10, prefix="1", age=300)
    older = store_due(ok_app, 10, prefix="2", age=900)
    UserToken.objects.filter(pk__in=[token.pk for token in newer]).update(
        next_refresh_at=newer[0].next_refresh_at
    )
    run(workers=1)
    assert set(ok.order[:4]) <= {f"refresh-{token.uid}-0" for token in older}
    assert set(ok.order[-4:]) <= {f"refresh-{token.uid}-0" for token in newer}


def test_each_token_is_presented_once(mailru, mailru_app):
    """Also those that came due in the same moment, as after an import."""
    moment = NOW() - timedelta(seconds=60)
    store_due(mailru_app, 150, next_refresh_at=moment)
    assert counts(run(workers=4)) == (150, 150, 0, 0, 0)
    assert len(mailru.presented) == sum(mailru.presented.values()) == 150
    assert counts(run()) == (0, 0, 0, 0, 0)


def test_a_limit_takes_the_oldest_and_says_that_something_is_left(ok, ok_app):
    tokens = store_due(ok_app, 30)
    report = run(limit=7)
    assert counts(report) == (30, 7, 0, 0, 23)
    assert report.exit_code == 1
    assert "limit" in " ".join(report.applications["ok"].notes)
    assert sorted(ok.presented) == [f"refresh-{token.uid}-0" for token in tokens[:7]]
    assert not UserToken.objects.exclude(lease_owner="").exists()
    assert counts(run()) == (23, 23, 0, 0, 0)


@pytest.mark.parametrize("limit", [5, 6])
def test_a_limit_that_leaves_nothing_over_is_no_failure(ok, ok_app, limit):
    store_due(ok_app, 5)
    report = run(limit=limit)
    assert (counts(report), report.exit_code) == ((5, 5, 0, 0, 0), 0)
    assert report.applications["ok"].notes == []


def test_a_limit_counts_over_all_applications(ok, mailru, ok_app, mailru_app):
    store_due(ok_app, 10)
    store_due(mailru_app, 10)
    report = run(limit=6)
    assert counts(report) == (20, 6, 0, 0, 14)
    assert len(ok.order) + len(mailru.order) == 6


@pytest.mark.slow
def test_after_the_time_is_up_nothing_more_is_begun(network, ok_app):
    store_due(ok_app, 60)
    endpoint = TokenEndpoint()

    def behave(call):
        network.stop.wait(0.25)
        endpoint(call)

    network.on("/ok/token", behave)
    report = run(workers=2, max_time=0.2)
    due, refreshed, needs_login, failed, skipped = counts(report)
    assert (due, needs_login, failed, report.exit_code) == (60, 0, 0, 1)
    assert refreshed == len(endpoint.order) < 30
    assert skipped == 60 - refreshed
    assert not UserToken.objects.exclude(lease_owner="").exists()


def test_no_more_requests_are_on_their_way_than_there_are_workers(network, ok_app):
    store_due(ok_app, 40)
    endpoint, now, most = TokenEndpoint(), set(), [0]

    def behave(call):
        now.add(id(call))
        most[0] = max(most[0], len(now))
        network.stop.wait(0.005)
        now.discard(id(call))
        endpoint(call)

    network.on("/ok/token", behave)
    assert counts(run(workers=3)) == (40, 40, 0, 0, 0)
    assert most[0] <= 3
    assert network.connections <= 3


def test_a_dry_run_counts_and_does_nothing_else(network, ok_app, mailru_app):
    store_due(ok_app, 3)
    store_due(mailru_app, 2)
    before = columns()
    report = run(dry_run=True)
    assert counts(report) == (5, 0, 0, 0, 5)
    assert counts(report, "ok") == (3, 0, 0, 0, 3)
    assert report.exit_code == 0
    assert network.connections == 0
    assert columns() == before
    assert not ApplicationHealth.objects.exists()


def test_nothing_due_costs_three_queries_an_application_at_most(
    network, ok_app, other_ok_app, django_assert_max_num_queries
):
    store_due(ok_app, 20, age=-3600)
    ApplicationHealth.objects.create(credentials=ok_app, failures=3)
    with django_assert_max_num_queries(2 * 3):
        report = run()
    assert (counts(report), report.exit_code) == ((0, 0, 0, 0, 0), 0)
    assert network.connections == 0


@pytest.mark.slow
def test_queries_grow_with_the_tokens_by_two_each_at_most(ok, ok_app, django_assert_max_num_queries):
    """One UPDATE each to store what came of it, and few for a batch."""
    store_due(ok_app, 64, prefix="1")
    store_due(ok_app, 300, prefix="2", age=-3600)
    with django_assert_max_num_queries(2 * 64 + 10):
        assert counts(run(workers=8)) == (64, 64, 0, 0, 0)


def test_whoever_watches_hears_of_the_count_and_of_all_that_is_settled(ok, ok_app):
    store_due(ok_app, 50)
    seen = []
    run(workers=2, watch=lambda report: seen.append(counts(report)))
    assert seen[0] == (50, 0, 0, 0, 50)
    assert seen[-1] == (50, 50, 0, 0, 0)
    assert seen == sorted(seen)
    assert len(seen) > 5


def test_a_run_that_is_told_to_stop_at_once_leaves_all_as_it_is(network, ok_app):
    store_due(ok_app, 5)
    before = columns()
    assert counts(run(stop=lambda: True)) == (5, 0, 0, 0, 5)
    assert network.connections == 0
    assert columns() == before


def test_a_run_that_is_told_to_stop_stores_what_is_on_its_way_and_gives_the_rest_back(mailru, mailru_app):
    store_due(mailru_app, 60)
    report = run(workers=2, stop=lambda: len(mailru.order) >= 3)
    due, refreshed, needs_login, failed, skipped = counts(report)
    assert (due, needs_login, failed) == (60, 0, 0)
    assert refreshed == len(mailru.order) == sum(mailru.presented.values())
    assert 3 <= refreshed <= 5
    assert not UserToken.objects.exclude(lease_owner="", lease_until=None).exists()
    assert UserToken.objects.filter(generation=1).count() == refreshed
    assert UserToken.objects.filter(generation=0, reason="", failures=0).count() == skipped
    assert counts(run()) == (skipped, skipped, 0, 0, 0)
    assert max(mailru.presented.values()) == 1


# --- what is stored ---------------------------------------------------------------------------------------


def test_a_fixed_refresh_token_stays_and_the_rest_is_new(ok, ok_app):
    [token] = store_due(
        ok_app,
        failures=2,
        reason="outcome_unknown",
        scope="VALUABLE_ACCESS",
        session_secret="session-secret",
        refresh_expires_at=NOW() + timedelta(days=3),
        profile={"city": "Tver"},
    )
    run()
    now = row(token)
    assert now.access_token == f"access-{token.uid}-1"
    assert now.refresh_token == f"refresh-{token.uid}-0"
    assert now.session_secret == "session-secret"
    assert is_in(now.expires_at, 1800)
    assert is_in(now.next_refresh_at, 1800 - 120)
    assert is_in(now.refreshed_at, 0)
    assert (now.generation, now.failures, now.state, now.reason) == (1, 0, "active", "")
    assert (now.lease_owner, now.lease_until) == ("", None)
    assert now.refresh_expires_at == token.refresh_expires_at  # it is that of the very same token
    unchanged = ("user_id", "credentials_id", "uid", "grant_type", "scope", "profile", "created_at")
    assert [getattr(now, name) for name in unchanged] == [getattr(token, name) for name in unchanged]

    make_due_again(token)
    run()
    assert (row(token).generation, row(token).access_token) == (2, f"access-{token.uid}-2")
    assert ok.presented == {f"refresh-{token.uid}-0": 2}


def test_a_rotated_refresh_token_is_the_one_that_is_presented_next(mailru, mailru_app):
    [token] = store_due(mailru_app)
    for generation in (1, 2, 3):
        assert counts(run()) == (1, 1, 0, 0, 0)
        now = row(token)
        assert now.access_token == f"access-{token.uid}-{generation}"
        assert now.refresh_token == f"refresh-{token.uid}-{generation}"
        assert now.generation == generation
        make_due_again(token)
    assert mailru.order == [f"refresh-{token.uid}-{generation}" for generation in (0, 1, 2)]


@pytest.mark.parametrize("name", ["ok", "mailru"])
@pytest.mark.parametrize("named", [{}, {"refresh_token": None}, {"refresh_token": ""}])
def test_an_answer_that_brings_no_refresh_token_leaves_the_old_one(network, ok_app, mailru_app, name, named):
    network.on(f"/{name}/token", answer({"access_token": "new", "expires_in": 1800, **named}))
    [token] = store_due({"ok": ok_app, "mailru": mailru_app}[name])
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert row(token).access_token == "new"
    assert row(token).refresh_token == f"refresh-{token.uid}-0"


def test_what_the_answer_names_is_stored_too(network, ok_app):
    body = {
        "access_token": "new",
        "refresh_token": "newer",
        "session_secret_key": "new-session-secret",
        "scope": "VALUABLE_ACCESS;GET_EMAIL",
        "token_type": "session",
        "expires_in": "3600",
    }
    network.on("/ok/token", answer(body))
    [token] = store_due(ok_app, session_secret="old", scope="VALUABLE_ACCESS")
    run()
    now = row(token)
    assert (now.refresh_token, now.session_secret) == ("newer", "new-session-secret")
    assert (now.scope, now.token_type) == ("VALUABLE_ACCESS GET_EMAIL", "session")
    assert is_in(now.expires_at, 3600)
    assert is_in(now.refresh_expires_at, 30 * 24 * 3600)


@pytest.mark.parametrize(("name", "life"), [("ok", 1800), ("mailru", 24 * 3600)])
@pytest.mark.parametrize("expires_in", [..., None, "soon", -5, [1]])
def test_an_answer_without_a_life_gets_the_networks_usual_one(
    network, ok_app, mailru_app, name, life, expires_in
):
    body = {"access_token": "new"} | ({} if expires_in is ... else {"expires_in": expires_in})
    network.on(f"/{name}/token", answer(body))
    [token] = store_due({"ok": ok_app, "mailru": mailru_app}[name])
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert is_in(row(token).expires_at, life)
    assert is_in(row(token).next_refresh_at, life - 120)


def test_a_long_token_without_refresh_token_is_prolonged_by_a_signed_call(network, ok_app):
    network.on("/ok/api", answer({"success": True}))
    [token] = store_due(
        ok_app, refresh_token="", scope="VALUABLE_ACCESS LONG_ACCESS_TOKEN", session_secret="session-secret"
    )
    assert counts(run()) == (1, 1, 0, 0, 0)
    [call] = network.calls
    assert call.path == "/ok/api"
    assert call.params["method"] == "auth.touchSession"
    assert call.params["access_token"] == f"access-{token.uid}-0"
    assert "ok-client-secret" not in call.body.decode()
    now = row(token)
    assert (now.access_token, now.refresh_token) == (f"access-{token.uid}-0", "")
    assert now.session_secret == "session-secret"
    assert is_in(now.expires_at, 30 * 24 * 3600)
    assert is_in(now.next_refresh_at, 30 * 24 * 3600 - 120)
    assert (now.generation, now.scope) == (1, token.scope)


def test_long_and_short_tokens_are_settled_in_the_same_run(network, ok, ok_app):
    network.on("/ok/api", answer({"success": True}))
    store_due(ok_app, 5, prefix="1")
    store_due(ok_app, 5, prefix="2", refresh_token="", scope="LONG_ACCESS_TOKEN")
    assert counts(run()) == (10, 10, 0, 0, 0)
    assert len(network.calls_to("/ok/api")) == len(network.calls_to("/ok/token")) == 5


def test_a_refresh_token_whose_life_should_be_over_is_presented_all_the_same(ok, ok_app):
    """Its end is an estimate of ours."""
    [over] = store_due(ok_app, refresh_expires_at=NOW() - timedelta(days=300))
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert ok.presented == {f"refresh-{over.uid}-0": 1}


def test_a_refused_refresh_token_whose_life_should_be_over_is_called_expired(network, ok_app):
    network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
    [over] = store_due(ok_app, prefix="1", refresh_expires_at=NOW() - timedelta(seconds=1))
    [good] = store_due(ok_app, prefix="2", refresh_expires_at=NOW() + timedelta(hours=1))
    assert run().applications["ok"].reasons == {"refresh_expired": 1, "invalid_grant": 1}
    assert (row(over).reason, row(good).reason) == ("refresh_expired", "invalid_grant")


TOUCHED = answer({"success": True})
SESSION_EXPIRED = answer({"error_code": 102, "error_msg": "PARAM_SESSION_EXPIRED"})
REFUSED = answer({"error": "invalid_grant"}, status=400)


@pytest.mark.parametrize("days", [-1, 1], ids=["too old", "dead"])
def test_a_long_token_is_kept_alive_when_its_refresh_token_is_refused(network, ok_app, days):
    network.on("/ok/token", REFUSED)
    network.on("/ok/api", TOUCHED)
    [token] = store_due(
        ok_app,
        scope="VALUABLE_ACCESS LONG_ACCESS_TOKEN",
        refresh_expires_at=NOW() + timedelta(days=days),
    )
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert [call.path for call in network.calls] == ["/ok/token", "/ok/api"]
    now = row(token)
    assert (now.access_token, now.refresh_token) == (f"access-{token.uid}-0", f"refresh-{token.uid}-0")
    assert is_in(now.expires_at, 30 * 24 * 3600)


@pytest.mark.parametrize(
    ("behaviour", "state", "reason"),
    [
        (SESSION_EXPIRED, "needs_login", "invalid_grant"),
        (answer({}, status=503), "active", ""),
        (answer({"error_code": 2, "error_msg": "SERVICE"}), "active", ""),
    ],
)
def test_a_long_token_ends_when_neither_way_is_left(network, ok_app, behaviour, state, reason):
    network.on("/ok/token", REFUSED)
    network.on("/ok/api", behaviour)
    [token] = store_due(ok_app, scope="LONG_ACCESS_TOKEN")
    run()
    assert (row(token).state, row(token).reason) == (state, reason)


def test_everybody_is_told_once_after_it_is_stored(mailru, mailru_app):
    tokens = store_due(mailru_app, 5)
    told = []

    def note(sender, token, **kwargs):
        stored = row(token)
        told.append(token.pk)
        assert (sender, token.credentials) == (UserToken, mailru_app)
        assert stored.generation == token.generation == 1
        assert stored.access_token == token.access_token == f"access-{token.uid}-1"
        assert stored.next_refresh_at == token.next_refresh_at

    failures = []

    def receiver(**kwargs):
        try:
            note(**kwargs)
        except AssertionError as error:
            failures.append(error)
        raise RuntimeError("a receiver's own trouble")

    signals.refreshed.connect(receiver)
    try:
        assert counts(run()) == (5, 5, 0, 0, 0)
        run()
    finally:
        signals.refreshed.disconnect(receiver)
    assert failures == []
    assert sorted(told) == sorted(token.pk for token in tokens)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("outcome", ["refreshed", "failed", "needs_login"])
def test_what_others_change_in_the_row_during_the_exchange_stays(network, ok_app, outcome):
    """A refresh writes the columns of a token, and no other."""
    endings = {
        "refreshed": TokenEndpoint(),
        "failed": answer({}, status=503),
        "needs_login": answer({"error": "invalid_grant"}, status=400),
    }

    def behave(call):
        try:
            UserToken.objects.filter(pk=token.pk).update(profile={"city": "Tver"}, scope="CHANGED")
        finally:
            connection.close()
        endings[outcome](call)

    network.on("/ok/token", behave)
    [token] = store_due(ok_app, profile={"city": "Omsk"})
    report = run().to_json()
    assert report[outcome] == 1
    assert (row(token).profile, row(token).scope) == ({"city": "Tver"}, "CHANGED")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_no_transaction_is_open_while_the_network_is_asked(network, ok_app, mailru_app, name):
    """Another connection can change the very row at once, whatever the database."""
    endpoint, seen = TokenEndpoint(), []

    def behave(call):
        try:
            row_now = UserToken.objects.get(pk=token.pk)
            seen.append(bool(row_now.lease_owner) and row_now.lease_until > NOW())
            UserToken.objects.filter(pk=token.pk).update(profile={"seen": True})
        finally:
            connection.close()
        endpoint(call)

    network.on(f"/{name}/token", behave)
    [token] = store_due({"ok": ok_app, "mailru": mailru_app}[name])
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert seen == [True]
