"""What others do to a token while one process refreshes it, or waits for it: the newer fact wins."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections
from django.utils import timezone

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin, ProviderUnavailable
from django_socialgrants.flows.login import Granted, link
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Identity, Token
from tests.conftest import ok_token
from tests.network import answer
from tests.tokens import (
    EXPIRED,
    call,
    change,
    cut,
    expired,
    fails,
    granted,
    in_turn,
    refresh_tokens_sent,
    requests_of,
    row,
    signals_sent,
    stale,
    stored,
)

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = answer({"error": "invalid_grant"}, status=400)
ANSWERS = {
    "a token": answer(ok_token()),
    "a refusal": REFUSED,
    "an error": answer({}, status=503),
    "a wish to be left alone": answer({}, status=429),
    "nothing": cut,
}


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria")


@pytest.fixture(autouse=True)
def app(network, ok_app):
    return ok_app


def elsewhere(job):
    """Do `job` in another thread with a connection of its own, and wait for it."""
    failed = []

    def run():
        try:
            job()
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failed == []


def meanwhile(job, behaviour):
    """Answer as `behaviour` does, but let `job` be done while the first request waits for that."""
    jobs = [job]

    def behave(sent):
        if jobs:
            elsewhere(jobs.pop())
        behaviour(sent)

    return behave


def grant_anew(token):
    """The same account logs in again."""
    new = Token("granted-meanwhile", "refresh-token-granted-meanwhile", 1800)
    link(Granted(token.credentials, new, Identity(token.uid), "authorization_code"))


# --- while a refresh is on its way ---------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [stale, expired])
@pytest.mark.parametrize("said", ANSWERS)
def test_what_is_granted_meanwhile_stands(user, app, network, said, condition):
    token = condition(user, app)
    network.on("/ok/token", meanwhile(lambda: grant_anew(token), ANSWERS[said]))
    with signals_sent() as sent:
        call(user)
    now = stored(token)
    assert (now.access_token, now.refresh_token) == ("granted-meanwhile", "refresh-token-granted-meanwhile")
    assert (now.state, now.reason, now.failures, now.generation) == ("active", "", 0, 1)
    assert network.calls[-1].params["access_token"] == "granted-meanwhile"
    assert [signal for signal, _ in sent] == ["granted"]


def test_what_is_granted_right_after_the_claim_is_not_refreshed_without_one(user, app, network):
    token = expired(user, app)
    grants = [lambda: grant_anew(token)]

    def grant_behind(execute, sql, *args):
        result = execute(sql, *args)
        if sql.startswith("UPDATE") and grants:
            elsewhere(grants.pop())
        return result

    add_wrapper(grant_behind)
    call(user)
    assert grants == []
    assert requests_of(network, "ok") == ["api"]
    assert network.calls[0].params["access_token"] == "granted-meanwhile"


@pytest.mark.parametrize("model", [User, UserToken, ProviderCredentials])
@pytest.mark.parametrize("said", ANSWERS)
def test_what_is_deleted_meanwhile_stays_deleted(user, app, network, said, model):
    expired(user, app)
    network.on("/ok/token", meanwhile(lambda: model.objects.all().delete(), ANSWERS[said]))
    with signals_sent() as sent:
        assert fails(user, NeedsLogin).reason == "no_token"
    assert not UserToken.objects.exists()
    assert network.calls_to("/ok/api") == []
    assert sent == []


def test_a_token_that_is_deleted_during_a_call_is_none(user, app, network):
    granted(user, app)
    network.on("/ok/api", meanwhile(lambda: UserToken.objects.all().delete(), answer(EXPIRED)))
    assert fails(user, NeedsLogin).reason == "no_token"
    assert requests_of(network, "ok") == ["api"]


@pytest.mark.parametrize("said", ["a token", "a refusal", "an error", "nothing"])
def test_who_was_frozen_past_its_lease_changes_nothing(user, app, network, said):
    """Somebody else takes over and refreshes; the network then tells the first one whatever it likes."""
    token = expired(user, app)

    def take_over():
        change(token, lease_until=timezone.now() - timedelta(seconds=1))
        call(user)

    late = ANSWERS[said] if said != "a token" else answer(ok_token(access_token="late", refresh_token="late"))
    requests = {"count": 0}

    def behave(sent):
        requests["count"] += 1
        if requests["count"] == 1:
            elsewhere(take_over)
            late(sent)
        elif requests["count"] == 2:
            answer(ok_token())(sent)
        else:  # what is asked again after a cut
            REFUSED(sent)

    network.on("/ok/token", behave)
    with signals_sent() as sent:
        call(user)
    now = stored(token)
    assert (now.state, now.reason, now.access_token) == ("active", "", "ok-access-token-1")
    assert (now.generation, now.failures, now.lease_owner) == (1, 0, "")
    assert {request.params["access_token"] for request in network.calls_to("/ok/api")} == {
        "ok-access-token-1"
    }
    assert [signal for signal, _ in sent] == ["refreshed"]


def test_who_was_frozen_does_not_give_back_the_lease_of_another(user, app, network, settings):
    settings.SOCIALGRANTS_TIMEOUT = 1
    token = expired(user, app)
    theirs = {"lease_owner": "somebody-else", "lease_until": timezone.now() + timedelta(minutes=1)}
    network.on("/ok/token", meanwhile(lambda: change(token, **theirs), answer({}, status=503)))
    fails(user, ProviderUnavailable)
    assert stored(token).lease_owner == "somebody-else"
    assert (stored(token).failures, stored(token).generation) == (0, 0)


def test_columns_that_are_none_of_its_business_survive_a_refresh(user, app, network):
    token = expired(user, app)
    changes = {"way": "elsewhere", "profile": {"seen": 1}}
    network.on("/ok/token", meanwhile(lambda: change(token, **changes), answer(ok_token())))
    call(user)
    now = stored(token)
    assert (now.way, now.profile, now.access_token) == ("elsewhere", {"seen": 1}, "ok-access-token-1")


def test_a_database_that_fails_for_a_moment_loses_no_new_token(user, app, network):
    token = expired(user, app)
    failures = [OperationalError("gone"), OperationalError("still gone")]

    def fail(execute, sql, *args):
        if sql.startswith("UPDATE") and "refreshed_at" in sql and failures:
            raise failures.pop()
        return execute(sql, *args)

    add_wrapper(fail)
    call(user)
    assert failures == []
    assert stored(token).refresh_token == "ok-refresh-token-1"
    assert requests_of(network, "ok") == ["token", "api"]


def add_wrapper(wrapper):
    """Like `execute_wrapper`, for a connection that is closed and opened meanwhile."""
    connection.execute_wrappers.append(wrapper)


@pytest.fixture(autouse=True)
def no_wrappers():
    yield
    connection.execute_wrappers.clear()


# --- old copies ------------------------------------------------------------------------------------------------


@contextmanager
def with_an_old_copy(user, network):
    """A request that has read the token before others change it; afterwards the network wants the new one."""
    api = SocialAPI(user, "ok")
    api.friends.get()
    yield api
    network.calls.clear()


def newest_only(network, token):
    """The network takes the access token that is stored now, and no other."""

    def behave(sent):
        good = []
        elsewhere(lambda: good.append(stored(token).access_token.reveal()))
        answer([] if sent.params["access_token"] == good[0] else EXPIRED)(sent)

    network.on("/ok/api", behave)


def test_who_holds_an_old_copy_uses_what_somebody_else_has_refreshed(user, app, network):
    token = granted(user, app)
    newest_only(network, token)
    with with_an_old_copy(user, network) as slow:
        change(token, expires_at=timezone.now() - timedelta(seconds=1))
        call(user)
    slow.friends.get()
    assert requests_of(network, "ok") == ["api", "api"]
    assert stored(token).generation == 1


@pytest.mark.parametrize(("fact", "reason"), [("dead", "invalid_grant"), ("deleted", "no_token")])
def test_who_holds_an_old_copy_hears_of_its_end(user, app, network, fact, reason):
    token = granted(user, app)
    with with_an_old_copy(user, network) as slow:
        if fact == "dead":
            change(token, state="needs_login", reason="invalid_grant", next_refresh_at=None)
        else:
            token.delete()
    network.on("/ok/api", answer(EXPIRED))
    with signals_sent() as sent, pytest.raises(NeedsLogin) as caught:
        slow.friends.get()
    assert caught.value.reason == reason
    assert (requests_of(network, "ok"), sent) == (["api"], [])


def test_who_holds_an_old_copy_kills_no_new_token(user, app, network):
    """Without refresh token an expired session is the end, but not of what was granted since."""
    token = granted(user, app, refresh_token="")
    newest_only(network, token)
    with with_an_old_copy(user, network) as slow:
        grant_anew(token)
    slow.friends.get()
    assert requests_of(network, "ok") == ["api", "api"]
    assert stored(token).state == "active"


# --- waiting ---------------------------------------------------------------------------------------------------


def lease(token, seconds=60):
    """Somebody else is refreshing."""
    until = timezone.now() + timedelta(seconds=seconds)
    change(token, lease_owner="somebody-else", lease_until=until)


def while_waiting(job, looks=6):
    """Let `job` be done when the one who waits has looked at the row a few times."""
    seen = []

    def look(execute, sql, *args):
        if sql.startswith("SELECT") and "usertoken" in sql:
            seen.append(sql)
            if len(seen) == looks:
                elsewhere(job)
        return execute(sql, *args)

    add_wrapper(look)


def succeed(token):
    """Somebody else's refresh comes to a good end."""
    theirs = stored(token)
    theirs.access_token, theirs.refresh_token = "of-somebody-else", "refresh-of-somebody-else"
    theirs.expires_at = timezone.now() + timedelta(hours=1)
    theirs.generation += 1
    theirs.lease_owner, theirs.lease_until, theirs.next_refresh_at = "", None, None
    theirs.save()


@pytest.mark.parametrize("condition", [stale, expired])
def test_who_finds_somebody_refreshing_waits_for_the_new_token(user, app, network, condition):
    token = condition(user, app)
    lease(token)
    while_waiting(lambda: succeed(token))
    call(user)
    assert requests_of(network, "ok") == ["api"]
    assert network.calls[0].params["access_token"] == "of-somebody-else"


def test_who_was_told_that_its_session_expired_waits_too(user, app, network):
    token = granted(user, app)
    lease(token)
    while_waiting(lambda: succeed(token))
    network.on("/ok/api", in_turn(answer(EXPIRED), answer([])))
    call(user)
    assert requests_of(network, "ok") == ["api", "api"]
    assert network.calls[1].params["access_token"] == "of-somebody-else"


@pytest.mark.parametrize(("condition", "served"), [(stale, True), (expired, False)])
def test_who_waits_in_vain_uses_what_is_valid(user, app, network, settings, condition, served):
    settings.SOCIALGRANTS_TIMEOUT = 0.3
    token = condition(user, app)
    lease(token)
    before = row(token)
    if served:
        call(user)
        assert network.calls[0].params["access_token"] == "ok-access-token-0"
    else:
        fails(user, ProviderUnavailable)
    assert requests_of(network, "ok") == (["api"] if served else [])
    assert row(token) == before


def test_who_waits_for_a_token_that_dies_is_told_so(user, app, network):
    token = expired(user, app)
    lease(token)
    marks = {"state": "needs_login", "reason": "invalid_grant", "lease_owner": "", "lease_until": None}
    while_waiting(lambda: change(token, **marks))
    with signals_sent() as sent:
        assert fails(user, NeedsLogin).reason == "invalid_grant"
    assert (network.calls, sent) == ([], [])


def test_who_waits_for_a_refresh_that_fails_does_not_try_at_once_again(user, app, network):
    token = expired(user, app)
    lease(token)
    later = timezone.now() + timedelta(seconds=30)
    while_waiting(lambda: change(token, failures=1, next_refresh_at=later, lease_owner="", lease_until=None))
    fails(user, ProviderUnavailable)
    assert network.calls == []


def test_who_waits_for_somebody_that_gives_up_takes_over(user, app, network):
    token = expired(user, app)
    lease(token)
    while_waiting(lambda: change(token, lease_owner="", lease_until=None))
    call(user)
    assert requests_of(network, "ok") == ["token", "api"]
    assert stored(token).access_token == "ok-access-token-1"


def test_who_waits_for_a_token_that_is_deleted_has_none(user, app, network):
    token = expired(user, app)
    lease(token)
    while_waiting(token.delete)
    assert fails(user, NeedsLogin).reason == "no_token"
    assert network.calls == []


# --- abandoned leases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [stale, expired])
def test_an_abandoned_lease_is_taken_over(user, app, network, condition):
    token = condition(user, app)
    lease(token, seconds=-1)
    call(user)
    assert refresh_tokens_sent(network, "ok") == ["ok-refresh-token-0"]
    now = stored(token)
    assert (now.access_token, now.reason, now.lease_owner) == ("ok-access-token-1", "", "")


def test_a_refusal_after_an_abandoned_lease_says_what_may_have_happened(user, app, network):
    token = expired(user, app)
    lease(token, seconds=-1)
    network.on("/ok/token", REFUSED)
    assert fails(user, NeedsLogin).reason == "ambiguous_rotation"
    assert stored(token).reason == "ambiguous_rotation"


def test_it_also_says_so_when_others_failed_in_between(user, app, network):
    token = expired(user, app)
    lease(token, seconds=-1)
    network.on("/ok/token", in_turn(answer({}, status=503), REFUSED))
    fails(user, ProviderUnavailable)
    assert stored(token).reason == "outcome_unknown"
    change(token, next_refresh_at=timezone.now() - timedelta(seconds=1))
    assert fails(user, NeedsLogin).reason == "ambiguous_rotation"


def test_a_lease_lasts_as_long_as_the_settings_say(user, app, network, settings):
    settings.SOCIALGRANTS_TIMEOUT = 10
    token = expired(user, app)
    seen = []
    job = meanwhile(lambda: seen.append(stored(token)), answer(ok_token()))
    network.on("/ok/token", job)
    call(user)
    left = (seen[0].lease_until - timezone.now()).total_seconds()
    assert 35 < left <= 40
    assert seen[0].lease_owner
    assert stored(token).lease_until is None


# --- clocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-600, 600], ids=["slow", "fast"])
@pytest.mark.parametrize(("left", "asked"), [(300, []), (60, ["token"])])
def test_a_host_whose_clock_is_off_by_ten_minutes_decides_as_the_others(
    user, app, network, monkeypatch, off, left, asked
):
    token = granted(user, app, expires_in=left)
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(seconds=off))
    call(user)
    monkeypatch.undo()
    assert requests_of(network, "ok") == [*asked, "api"]
    assert abs((stored(token).expires_at - right()).total_seconds() - (1800 if asked else left)) < 20
