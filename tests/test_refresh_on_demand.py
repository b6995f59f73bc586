"""A call finds its token stale, expired or refused: what the network is asked, and what is stored afterwards."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import (
    MalformedResponse,
    NeedsLogin,
    ProviderUnavailable,
    SessionExpired,
)
from django_socialgrants.models import ApplicationHealth
from tests.conftest import mailru_token, ok_token
from tests.network import answer
from tests.tokens import (
    EXPIRED,
    FAILURES,
    UNKNOWN,
    assert_free,
    call,
    change,
    expired,
    fails,
    granted,
    in_turn,
    mailru_server_sig,
    ok_server_sig,
    refresh_tokens_sent,
    requests_of,
    stale,
    stored,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NAMES = ["ok", "mailru"]
ANSWER = {"ok": ok_token, "mailru": mailru_token}
SESSION_EXPIRED = {"ok": EXPIRED, "mailru": {"error": EXPIRED}}


@pytest.fixture
def user(db):
    return User.objects.create_user("maria")


@pytest.fixture
def apps(network, ok_app, mailru_app):
    return {"ok": ok_app, "mailru": mailru_app}


def without(token, *names):
    return {name: value for name, value in token.items() if name not in names}


def seconds_left(token):
    return round((stored(token).expires_at - timezone.now()).total_seconds(), -1)


# --- when ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [stale, expired])
@pytest.mark.parametrize("name", NAMES)
def test_a_token_near_or_past_its_end_is_refreshed_before_the_call(user, network, apps, name, condition):
    token = condition(user, apps[name])
    call(user, name)
    assert requests_of(network, name) == ["token", "api"]
    asked, called = (sent.params for sent in network.calls)
    assert asked == {
        "grant_type": "refresh_token",
        "refresh_token": f"{name}-refresh-token-0",
        "client_id": apps[name].client_id,
        "client_secret": apps[name].client_secret.reveal(),
    }
    new = f"{name}-access-token-1"
    if name == "ok":
        assert (called["access_token"], called["sig"]) == (new, ok_server_sig(called, "ok-client-secret"))
    else:
        assert (called["session_key"], called["sig"]) == (new, mailru_server_sig(called, "mailru-secret-key"))
    now = stored(token)
    assert (now.access_token, now.refresh_token) == (new, f"{name}-refresh-token-1")
    assert (now.state, now.reason, now.failures, now.generation) == ("active", "", 0, 1)
    assert now.refreshed_at and now.next_refresh_at == now.expires_at - timedelta(seconds=120)
    assert_free(token)


@pytest.mark.parametrize(("left", "asked"), [(1800, []), (125, []), (115, ["token"]), (-1, ["token"])])
def test_the_margin_decides_who_is_near_the_end(user, network, apps, left, asked):
    granted(user, apps["ok"], expires_in=left)
    call(user)
    assert requests_of(network, "ok") == [*asked, "api"]


def test_the_margin_can_be_set(user, network, apps, settings):
    settings.SOCIALGRANTS_REFRESH_BEFORE = 600
    granted(user, apps["ok"], expires_in=500, created_at=timezone.now() - timedelta(hours=2))
    call(user)
    assert requests_of(network, "ok") == ["token", "api"]


def test_one_object_goes_on_with_the_new_token(user, network, apps):
    expired(user, apps["ok"])
    api = SocialAPI(user, "ok")
    for _ in range(3):
        api.friends.get()
    assert requests_of(network, "ok") == ["token", "api", "api", "api"]
    assert {sent.params["access_token"] for sent in network.calls_to("/ok/api")} == {"ok-access-token-1"}


@pytest.mark.parametrize("name", NAMES)
def test_a_token_that_the_network_calls_expired_is_refreshed_and_the_call_repeated(user, network, apps, name):
    token = granted(user, apps[name])
    network.on(f"/{name}/api", in_turn(answer(SESSION_EXPIRED[name]), answer(["friend"])))
    assert call(user, name) == ["friend"]
    assert requests_of(network, name) == ["api", "token", "api"]
    assert stored(token).generation == 1
    first, second = (sent.params for sent in network.calls_to(f"/{name}/api"))
    assert set(first.items()) ^ set(second.items()) == {
        (key, params[key])
        for params in (first, second)
        for key in ("sig", "access_token" if name == "ok" else "session_key")
    }


@pytest.mark.parametrize("condition", [granted, expired])
def test_a_call_is_never_repeated_twice(user, network, apps, condition):
    token = condition(user, apps["ok"])
    network.on("/ok/api", answer(EXPIRED))
    assert fails(user, SessionExpired).method == "friends.get"
    rounds = [["api", "token", "api"], ["token", "api"]]  # one that is new is not renewed
    assert requests_of(network, "ok") == rounds[condition is expired]
    assert stored(token).state == "active"


def test_other_errors_refresh_nothing(user, network, apps):
    granted(user, apps["ok"])
    for code in (10, 11, 104, 1, 12345):
        network.on("/ok/api", answer({"error_code": code, "error_msg": "no"}))
        with pytest.raises(Exception, match="no"):
            call(user)
    assert set(requests_of(network, "ok")) == {"api"}


def test_a_token_without_end_is_used_until_the_network_refuses_it(user, network, apps):
    token = granted(user, apps["ok"], refresh_token="")
    change(token, expires_at=None)
    call(user)
    network.on("/ok/api", answer(EXPIRED))
    assert fails(user, NeedsLogin).reason == "session_expired"
    assert fails(user, NeedsLogin).reason == "session_expired"
    assert requests_of(network, "ok") == ["api", "api"]


def test_a_token_that_nothing_prolongs_is_used_to_its_end(user, network, apps):
    stale(user, apps["ok"], refresh_token="")
    call(user)
    assert requests_of(network, "ok") == ["api"]


# --- what the answer says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("said", [..., None, ""], ids=["missing", "null", "empty"])
def test_an_answer_without_refresh_token_keeps_the_old_one(user, network, apps, name, said):
    token = expired(user, apps[name])
    data = ANSWER[name](refresh_token=said)
    data = without(data, "refresh_token") if said is ... else data
    network.on(f"/{name}/token", answer(data))
    call(user, name)
    now = stored(token)
    assert (now.access_token, now.refresh_token) == (f"{name}-access-token-1", f"{name}-refresh-token-0")
    change(token, expires_at=timezone.now() - timedelta(seconds=1))
    call(user, name)
    assert refresh_tokens_sent(network, name) == [f"{name}-refresh-token-0"] * 2


def test_a_network_that_rotates_is_shown_each_refresh_token_once(user, network, apps):
    token = expired(user, apps["mailru"])
    rotating(network, "mailru")
    for _ in range(5):
        change(token, expires_at=timezone.now() - timedelta(seconds=1))
        call(user, "mailru")
    sent = refresh_tokens_sent(network, "mailru")
    assert sent == ["mailru-refresh-token-0", *(f"refresh-{number}" for number in range(1, 5))]


def rotating(network, name):
    """Every refresh token is good once; what is shown again is refused."""
    good = [f"{name}-refresh-token-0"]

    def behave(call):
        if call.params["refresh_token"] != good[-1]:
            answer({"error": "invalid_grant"}, status=400)(call)
            return
        number = len(good)
        good.append(f"refresh-{number}")
        answer(ANSWER[name](access_token=f"access-{number}", refresh_token=good[-1]))(call)

    network.on(f"/{name}/token", behave)


LIVES = [
    (3600, 3600),
    ("3600", 3600),
    (3600.9, 3600),
    (..., 1800),
    (None, 1800),
    ("", 1800),
    ("soon", 1800),
    (-5, 1800),
    ([], 1800),
    (True, 1800),
    (10**12, 1800),
    ("9" * 60, 1800),
]


@pytest.mark.parametrize(("said", "life"), LIVES)
def test_a_new_life_is_as_long_as_the_network_says_or_is_known_for(user, network, apps, said, life):
    token = expired(user, apps["ok"])
    data = without(ok_token(), "expires_in") if said is ... else ok_token(expires_in=said)
    network.on("/ok/token", answer(data))
    call(user)
    assert seconds_left(token) == life


def test_what_the_answer_does_not_name_stays(user, network, apps):
    token = expired(user, apps["ok"], scope="GET_EMAIL", session_secret="kept", token_type="session")
    network.on("/ok/token", answer({"access_token": "new"}))
    call(user)
    now = stored(token)
    assert (now.scope, now.session_secret, now.token_type) == ("GET_EMAIL", "kept", "session")
    assert (now.created_at, now.grant_type) == (token.created_at, "authorization_code")


def test_a_refresh_token_that_is_replaced_gets_a_new_life(user, network, apps):
    token = expired(user, apps["ok"])
    soon = timezone.now() + timedelta(days=1)
    change(token, refresh_expires_at=soon)
    network.on("/ok/token", answer(without(ok_token(), "refresh_token")))
    call(user)
    assert abs((stored(token).refresh_expires_at - soon).total_seconds()) < 1
    change(token, expires_at=timezone.now() - timedelta(seconds=1))
    network.on("/ok/token", answer(ok_token()))
    call(user)
    assert stored(token).refresh_expires_at > timezone.now() + timedelta(days=29)


# --- tokens that live from use -----------------------------------------------------------------------------


def touch(network):
    """Methods that OK's API was called with."""
    return [sent.params["method"] for sent in network.calls_to("/ok/api")]


@pytest.mark.parametrize("condition", [stale, expired])
def test_a_long_token_is_prolonged_by_a_touch(user, network, apps, condition):
    token = condition(user, apps["ok"], refresh_token="", scope="VALUABLE_ACCESS LONG_ACCESS_TOKEN")
    network.on("/ok/api", answer(True))
    call(user)
    assert touch(network) == ["auth.touchSession", "friends.get"]
    sent = network.calls[0].params
    assert (sent["access_token"], sent["sig"]) == (
        "ok-access-token-0",
        ok_server_sig(sent, "ok-client-secret"),
    )
    now = stored(token)
    assert (now.access_token, now.refresh_token, now.generation) == ("ok-access-token-0", "", 1)
    assert seconds_left(token) == 30 * 24 * 3600
    call(user)
    assert touch(network)[2:] == ["friends.get"]


def test_a_long_token_that_the_network_has_forgotten_is_dead(user, network, apps):
    token = granted(user, apps["ok"], refresh_token="", scope="LONG_ACCESS_TOKEN")
    network.on("/ok/api", answer(EXPIRED))
    assert fails(user, NeedsLogin).reason == "session_expired"
    assert touch(network) == ["friends.get", "auth.touchSession"]
    fails(user, NeedsLogin)
    assert len(network.calls) == 2
    assert stored(token).state == "needs_login"


def test_a_refresh_token_goes_before_a_touch(user, network, apps):
    expired(user, apps["ok"], scope="LONG_ACCESS_TOKEN")
    call(user)
    assert requests_of(network, "ok") == ["token", "api"]


# --- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", FAILURES)
def test_a_token_that_is_still_valid_is_used_when_its_refresh_fails(user, network, apps, trouble):
    token = stale(user, apps["ok"])
    network.on("/ok/token", FAILURES[trouble])
    call(user)
    tries = ["token"] * (2 if trouble in UNKNOWN else 1)
    assert requests_of(network, "ok") == [*tries, "api"]
    assert network.calls[-1].params["access_token"] == "ok-access-token-0"
    now = stored(token)
    assert (now.state, now.failures, now.generation) == ("active", 1, 0)
    assert now.reason == ("outcome_unknown" if trouble in UNKNOWN else "")
    assert (
        timezone.now() + timedelta(seconds=20) < now.next_refresh_at < timezone.now() + timedelta(seconds=31)
    )
    assert_free(token)
    for _ in range(3):  # while it backs off, nobody is asked
        call(user)
    assert requests_of(network, "ok") == [*tries, "api", "api", "api", "api"]


@pytest.mark.parametrize("trouble", FAILURES)
def test_an_expired_token_that_can_not_be_refreshed_now_is_not_presented(user, network, apps, trouble):
    token = expired(user, apps["ok"])
    network.on("/ok/token", FAILURES[trouble])
    fails(user, Exception)
    assert network.calls_to("/ok/api") == []
    assert (stored(token).state, stored(token).failures) == ("active", 1)
    network.on("/ok/token", answer(ok_token()))
    change(token, next_refresh_at=timezone.now() - timedelta(seconds=1))
    call(user)
    now = stored(token)
    assert (now.state, now.reason, now.failures) == ("active", "", 0)


def test_the_error_says_what_was_wrong(user, network, apps):
    expired(user, apps["ok"])
    network.on("/ok/token", answer({}, status=503, headers={"Retry-After": "7"}))
    error = fails(user, ProviderUnavailable)
    assert (error.status, error.retry_after) == (503, 7)
    network.on("/ok/token", answer(b"<p>"))
    fails(user, MalformedResponse)


def test_a_token_that_is_served_while_it_backs_off_may_be_refused(user, network, apps):
    """The network's word counts more than the expiry and the back-off."""
    token = stale(user, apps["ok"])
    change(token, failures=3, next_refresh_at=timezone.now() + timedelta(hours=1))
    network.on("/ok/api", in_turn(answer(EXPIRED), answer([])))
    call(user)
    assert requests_of(network, "ok") == ["api", "token", "api"]
    assert stored(token).failures == 0


def test_pauses_grow_with_every_failure(user, network, apps):
    token = stale(user, apps["ok"])
    network.on("/ok/token", answer({}, status=500))
    pauses = []
    for _ in range(6):
        call(user)
        pauses.append((stored(token).next_refresh_at - timezone.now()).total_seconds())
        change(token, next_refresh_at=timezone.now() - timedelta(seconds=1))
    assert stored(token).failures == 6
    for pause, expected in zip(pauses, (30, 60, 120, 240, 480, 960), strict=True):
        assert 0.75 * expected < pause <= expected


# --- too many requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "at_least", "at_most"), [({}, 25, 31), ({"Retry-After": "120"}, 115, 121)]
)
def test_too_many_requests_pause_the_whole_application(user, network, apps, header, at_least, at_most):
    token = expired(user, apps["ok"])
    network.on("/ok/token", answer({}, status=429, headers=header))
    fails(user, ProviderUnavailable)
    other = User.objects.create_user("ivan")
    expired(other, apps["ok"], uid="2")
    for somebody in (user, other):
        error = fails(somebody, ProviderUnavailable)
        assert at_least < error.retry_after <= at_most
    assert requests_of(network, "ok") == ["token"]
    assert (stored(token).failures, stored(token).reason) == (0, "")
    assert_free(token)


def test_a_pause_leaves_other_applications_and_good_tokens_alone(user, network, apps):
    stale(user, apps["ok"])
    network.on("/ok/token", answer({}, status=429))
    for _ in range(3):
        call(user)
    assert requests_of(network, "ok") == ["token", "api", "api", "api"]
    expired(user, apps["mailru"])
    call(user, "mailru")
    assert requests_of(network, "mailru") == ["token", "api"]


def test_after_a_pause_everything_is_as_before(user, network, apps):
    token = expired(user, apps["ok"])
    network.on("/ok/token", answer({}, status=429))
    fails(user, ProviderUnavailable)
    ApplicationHealth.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    network.on("/ok/token", answer(ok_token()))
    call(user)
    assert stored(token).generation == 1


@pytest.mark.parametrize(
    "changes", [{}, {"state": "needs_login", "reason": "invalid_grant"}], ids=["new", "dead"]
)
def test_in_a_pause_the_stored_token_still_counts(user, network, apps, changes):
    """Who holds an old copy finds what somebody else made of it before the pause."""
    token = granted(user, apps["ok"])
    slow = SocialAPI(user, "ok")
    slow.friends.get()
    change(token, expires_at=timezone.now() - timedelta(seconds=1))
    call(user)
    change(token, **changes)
    ApplicationHealth.objects.create(credentials=apps["ok"], paused_until=timezone.now() + timedelta(hours=1))
    network.on(
        "/ok/api", lambda sent: answer([] if sent.params["access_token"][-1] == "1" else EXPIRED)(sent)
    )
    if changes:
        with pytest.raises(NeedsLogin):
            slow.friends.get()
    else:
        assert slow.friends.get() == []
    assert len(network.calls_to("/ok/token")) == 1


def test_an_outage_pauses_the_application_after_ten_failures(user, network, apps):
    network.on("/ok/token", answer({}, status=502))
    for number in range(14):
        somebody = User.objects.create_user(f"user-{number}")
        expired(somebody, apps["ok"], uid=str(number))
        fails(somebody, ProviderUnavailable)
    assert len(network.calls) == 10
    network.on("/ok/token", answer(ok_token()))
    ApplicationHealth.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    call(User.objects.get(username="user-13"))
    assert (ApplicationHealth.objects.get().failures, ApplicationHealth.objects.get().paused_until) == (
        0,
        None,
    )
