"""The `state` parameter: bound to what it was made for, good once, and nobody else's."""

import random
import re
import string
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.signing import Signer
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_socialgrants.flows import state as state_module
from django_socialgrants.models import UsedState, UserToken
from tests.conftest import mailru_profile, mailru_token, ok_profile
from tests.journey import (
    assert_headers,
    callback_url,
    finish,
    log_in,
    query_of,
    refused,
    session_of,
    start,
    token_of,
    user_of,
    with_cookie_of,
)
from tests.network import answer


@pytest.fixture
def clock(monkeypatch):
    """Moves the time that states are stamped and judged with: `clock(601)`."""
    began = time.time()

    def move(seconds):
        moved = SimpleNamespace(time=lambda: began + seconds)
        monkeypatch.setattr("django_socialgrants.flows.state.time", moved)

    move(0)
    return move


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", password="x")


@pytest.fixture
def boris(db):
    return User.objects.create_user("boris", password="x")


def cookies_of(client):
    """Name and value of the cookies that a browser still has."""
    return {name: morsel.value for name, morsel in client.cookies.items() if morsel.value}


def become(client, user):
    """Swap the user of a session that keeps everything else, which Django's own login() would not do."""
    session = session_of(client)
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key


# --- what a state is --------------------------------------------------------------------------------------


def test_a_state_has_256_bits_and_is_new_at_every_start(client, ok_app):
    states = {start(client) for _ in range(20)}
    assert len(states) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", state) for state in states)


def test_no_cookie_holds_a_state_in_clear(client, ok_app):
    state = start(client)
    assert state not in client.cookies.output()


def test_a_start_makes_no_session_and_tells_none_of_it_to_other_pages(client, ok_app):
    start(client)
    [cookie] = client.cookies.values()
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/social/", True, "Lax")
    assert (cookie["max-age"], cookie["secure"], cookie["domain"]) == (600, "", "")
    assert not Session.objects.exists()


def test_a_state_works_only_once(client, network, ok_app):
    state = start(client)
    assert finish(client, state).status_code == 302
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))


# --- states that are not good -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "x", "A" * 43, "\0", "я" * 43, "' OR 1=1 --", "\ud7ff\U0010ffff"])
def test_a_state_that_was_never_made_is_refused(client, network, ok_app, state):
    start(client)
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))


def test_a_callback_without_state_is_refused(client, network, ok_app):
    start(client)
    request = {"code": "code-1234"}
    refused(client, network, 400, "malformed_callback", lambda: client.get(callback_url(), request))


def test_a_callback_without_session_is_refused(client, network, ok_app):
    state = start(client)
    refused(Client(), network, 400, "unknown_state", lambda: finish(Client(), state))


def test_a_state_of_another_session_is_refused_and_a_stranger_cannot_burn_it(client, network, ok_app):
    stranger, state = Client(), start(client)
    start(stranger)
    refused(stranger, network, 400, "unknown_state", lambda: finish(stranger, state))
    refused(stranger, network, 400, "unknown_state", lambda: finish(stranger, state, error="access_denied"))
    refused(stranger, network, 400, "malformed_callback", lambda: finish(stranger, [state, state]))
    assert finish(client, state).status_code == 302


@pytest.mark.parametrize("age", [0, 599, 600])
def test_a_login_may_take_ten_minutes(client, network, ok_app, clock, age):
    state = start(client)
    clock(age)
    assert finish(client, state).status_code == 302


@pytest.mark.parametrize("age", [601, 86_400, 10 * 365 * 86_400])
def test_an_expired_state_is_refused_and_burnt(client, network, ok_app, clock, age):
    state = start(client)
    clock(age)
    refused(client, network, 400, "stale_state", lambda: finish(client, state))
    clock(0)
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))


def test_the_setting_says_how_long_a_login_may_take(client, network, ok_app, clock, settings):
    settings.SOCIALGRANTS_STATE_AGE = 60
    states = [start(client), start(client)]
    clock(60)
    assert finish(client, states[0]).status_code == 302
    clock(61)
    refused(client, network, 400, "stale_state", lambda: finish(client, states[1]))


def test_a_state_from_the_future_is_refused_but_for_what_clocks_may_differ(client, network, ok_app, clock):
    clock(30)
    near = start(client)
    clock(31)
    far = start(client)
    clock(0)
    assert finish(client, near).status_code == 302
    refused(client, network, 400, "stale_state", lambda: finish(client, far))


def test_a_state_of_another_application_of_the_same_network_is_refused(client, network, ok_app, other_ok_app):
    state = start(client, "ok")
    refused(client, network, 400, "foreign_state", lambda: finish(client, state, "ok-2"))


def test_a_state_of_another_network_is_refused(client, network, ok_app, mailru_app):
    state = start(client, "ok")
    refused(client, network, 400, "foreign_state", lambda: finish(client, state, "mailru"))


def test_a_state_is_refused_when_its_application_has_moved_to_another_network(client, network, ok_app):
    state = start(client)
    ok_app.provider = "mailru"
    ok_app.save()
    refused(client, network, 400, "foreign_state", lambda: finish(client, state))


def test_a_state_of_another_flow_is_refused(client, network, ok_app):
    type(ok_app).objects.update(implicit_enabled=True)
    state = query_of(client.post("/social/ok/implicit/"))["state"]
    refused(client, network, 400, "foreign_state", lambda: finish(client, state))


# --- the user changed meanwhile ---------------------------------------------------------------------------


def test_a_login_started_by_nobody_cannot_be_finished_by_a_user(client, network, ok_app, anna):
    state = start(client)
    client.force_login(anna)
    refused(client, network, 403, "user_changed", lambda: finish(client, state))


def test_a_login_started_by_nobody_never_links_to_the_user_who_logged_in_since(client, network, ok_app, anna):
    state = start(client)
    become(client, anna)
    refused(client, network, 403, "user_changed", lambda: finish(client, state))
    assert not UserToken.objects.exists()


def test_connecting_cannot_be_finished_by_another_user(client, network, ok_app, anna, boris):
    client.force_login(anna)
    state = start(client)
    become(client, boris)
    refused(client, network, 403, "user_changed", lambda: finish(client, state))


@pytest.mark.parametrize("gone", ["deleted", "inactive"])
def test_connecting_never_logs_in_when_its_user_is_gone(client, network, ok_app, anna, gone):
    client.force_login(anna)
    state = start(client)
    if gone == "deleted":
        anna.delete()
    else:
        User.objects.update(is_active=False)
    refused(client, network, 403, "user_changed", lambda: finish(client, state))


def test_logging_out_ends_what_was_started(client, network, ok_app, anna):
    client.force_login(anna)
    state = start(client)
    client.cookies.pop(settings.SESSION_COOKIE_NAME)
    refused(client, network, 403, "user_changed", lambda: finish(client, state))


def test_a_state_is_burnt_when_the_user_changed(client, network, ok_app, anna, boris):
    client.force_login(anna)
    state = start(client)
    become(client, boris)
    finish(client, state)
    become(client, anna)
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))


# --- every use burns --------------------------------------------------------------------------------------


ANSWERS = {
    "cancelled": {"error": "access_denied", "code": None},
    "error": {"error": "server_error", "code": None},
    "code-and-error": {"error": "access_denied"},
    "neither": {"code": None},
    "empty": {"code": ""},
    "doubled": {"code": ["one", "two"]},
    "nul": {"code": "with\0nul"},
    "long": {"code": "x" * 3000},
    "oversized": {"code": "x" * 9000},
    "token": {"access_token": "token-in-the-query"},
}


@pytest.mark.parametrize("query", ANSWERS.values(), ids=ANSWERS)
def test_an_error_or_malformed_answer_burns_ones_own_state(client, network, ok_app, query):
    state = start(client)
    query = {"code": "code-1234", "state": state} | query
    client.get(callback_url(), {name: value for name, value in query.items() if value is not None})
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))


def test_a_doubled_state_is_burnt_like_any_other(client, network, ok_app):
    state = start(client)
    refused(client, network, 400, "malformed_callback", lambda: finish(client, [state, state]))
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))


def test_a_callback_of_the_wrong_application_burns_the_state(client, network, ok_app, other_ok_app):
    state = start(client, "ok")
    finish(client, state, "ok-2")
    refused(client, network, 400, "unknown_state", lambda: finish(client, state, "ok"))


@pytest.mark.parametrize("path", ["/ok/token", "/ok/api"])
def test_a_failing_network_burns_the_state(client, network, ok_app, path):
    state = start(client)
    older = with_cookie_of(client)
    network.on(path, answer(b"", status=503))
    assert finish(client, state).status_code == 503
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))
    refused(older, network, 400, "used_state", lambda: finish(older, state))


def test_a_failed_login_can_be_started_again(client, network, ok_app):
    finish(client, start(client), error="access_denied")
    assert log_in(client).status_code == 302
    assert user_of(client)


# --- many at once -----------------------------------------------------------------------------------------


def test_at_most_ten_logins_are_under_way_and_the_oldest_is_dropped(client, network, ok_app):
    states = [start(client) for _ in range(12)]
    for state in states[:2]:
        refused(client, network, 400, "unknown_state", lambda state=state: finish(client, state))
    assert [finish(client, state).status_code for state in states[2:]] == [302] * 10
    assert User.objects.count() == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first-first", "last-first"])
def test_two_tabs_both_succeed_in_any_order(client, network, ok_app, order):
    states = [start(client, next="/one/"), start(client, next="/two/")]
    answers = [finish(client, states[number]) for number in order]
    assert [response["Location"] for response in answers] == [("/one/", "/two/")[number] for number in order]
    assert user_of(client) == str(User.objects.get().pk)
    assert UserToken.objects.count() == 1


def test_two_tabs_both_succeed_when_their_callbacks_carry_the_same_cookie(client, network, ok_app):
    states = [start(client), start(client)]
    tabs = [with_cookie_of(client), with_cookie_of(client)]
    answers = [finish(tab, state) for tab, state in zip(tabs, states, strict=True)]
    assert [response.status_code for response in answers] == [302, 302]
    assert {user_of(tab) for tab in tabs} == {str(User.objects.get().pk)}


def test_a_tab_of_another_network_that_ends_in_the_same_user_succeeds(client, network, ok_app, mailru_app):
    log_in(client)
    user = User.objects.get()
    token_of(user, mailru_app, uid=mailru_profile()["uid"])
    client.logout()
    states = [start(client, "ok"), start(client, "mailru")]
    assert finish(client, states[0], "ok").status_code == 302
    assert finish(client, states[1], "mailru").status_code == 302
    assert user_of(client) == str(user.pk)
    assert UserToken.objects.get(credentials=mailru_app).access_token == mailru_token()["access_token"]


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "someone-elses"])
def test_a_second_tab_with_another_identity_links_nothing_and_swaps_nobody(
    client, network, ok_app, known, django_user_model
):
    if known:
        token_of(django_user_model.objects.create_user("other"), ok_app, uid="200")
    states = [start(client), start(client)]
    assert finish(client, states[0]).status_code == 302
    network.on("/ok/api", answer(ok_profile(uid="200")))
    refused(client, network, 403, "user_changed", lambda: finish(client, states[1]), calls=2)


def test_a_tab_left_over_from_before_the_login_is_no_way_to_log_in_as_the_next_user(
    client, network, ok_app, boris
):
    states = [start(client), start(client)]
    finish(client, states[0])
    become(client, boris)
    refused(client, network, 403, "user_changed", lambda: finish(client, states[1]))


# --- replays and floods -----------------------------------------------------------------------------------


def test_an_old_cookie_cannot_replay_a_state(client, network, ok_app):
    state = start(client)
    thief = with_cookie_of(client)
    assert finish(client, state).status_code == 302
    refused(thief, network, 400, "used_state", lambda: finish(thief, state))


def test_an_old_cookie_cannot_revive_a_burnt_state(client, network, ok_app):
    state = start(client)
    older = with_cookie_of(client)
    finish(client, state, error="access_denied")
    refused(older, network, 400, "used_state", lambda: finish(older, state))


def test_a_cookie_that_we_did_not_sign_for_this_state_is_none(client, network, ok_app):
    one, other = Client(), Client()
    state, _ = start(one), start(other)
    [(name, real)], [(_, foreign)] = cookies_of(one).items(), cookies_of(other).items()
    for value in ("", "x", foreign, real[:-1], real.swapcase(), f"{real}x"):
        client.cookies.load({name: value})
        refused(client, network, 400, "unknown_state", lambda: finish(client, state))
    assert not UsedState.objects.exists()
    assert finish(one, state).status_code == 302


@pytest.mark.parametrize("fields", [{}, {"a": 1}, [], list("too few"), ["x"] * 30, "text", 7, None])
def test_a_cookie_of_another_version_is_none(client, network, ok_app, fields):
    state = start(client)
    [name] = cookies_of(client)
    value = Signer(salt=f"django_socialgrants.state.{name}").sign_object(fields)
    client.cookies.load({name: value})
    refused(client, network, 400, "unknown_state", lambda: finish(client, state))
    assert log_in(client).status_code == 302


def test_a_greater_age_does_not_revive_a_state_that_may_be_forgotten(
    client, network, ok_app, clock, settings
):
    state = start(client)
    settings.SOCIALGRANTS_STATE_AGE = 86_400
    clock(601)
    refused(client, network, 400, "stale_state", lambda: finish(client, state))


@pytest.mark.slow
def test_a_thousand_forged_callbacks_leave_no_trace(network, ok_app):
    client, url = Client(), callback_url()
    for number in range(1000):
        response = client.get(url, {"code": f"c{number}", "state": f"{number:043}"})
        assert response.status_code == 400
        assert not response.cookies
    assert not Session.objects.exists()
    assert not UsedState.objects.exists()
    assert network.calls == []


def test_forged_callbacks_of_somebody_who_has_started_write_nothing(client, network, ok_app):
    state = start(client)
    for number in range(20):
        finish(client, f"{number:043}")
    assert not Session.objects.exists()
    assert not UsedState.objects.exists()
    assert finish(client, state).status_code == 302


# --- what is left behind ----------------------------------------------------------------------------------


def claimed(age, count=1):
    """Claims of so many states that came back `age` seconds ago."""
    used_at = timezone.now() - timedelta(seconds=age)
    claims = [UsedState(digest=f"{age}-{number}", used_at=used_at) for number in range(count)]
    return UsedState.objects.bulk_create(claims)


@pytest.fixture
def tidy(monkeypatch):
    """Every claim removes old ones, not one in sixteen."""
    monkeypatch.setattr(state_module, "_TIDY_BELOW", 256)


def test_claims_are_kept_while_their_states_could_count_on_any_host(client, network, ok_app, tidy):
    claimed(655), claimed(665)
    log_in(client)
    assert UsedState.objects.filter(digest="655-0").exists()
    assert not UsedState.objects.filter(digest="665-0").exists()


def test_nobody_waits_for_the_removal_of_many_claims(client, network, ok_app, tidy):
    claimed(10_000, count=1000)
    with CaptureQueriesContext(connection) as captured:
        start(client)
    assert "socialgrants_usedstate" not in str(captured.captured_queries)
    log_in(client)
    assert UsedState.objects.count() == 1000 - 300 + 1


def test_old_claims_are_removed_sooner_than_they_come(client, network, ok_app):
    claimed(10_000, count=40)
    for _ in range(200):
        finish(client, start(client), error="access_denied")
        if not UsedState.objects.filter(digest__startswith="10000-").exists():
            break
    else:
        raise AssertionError


def test_a_login_leaves_one_session_behind(network, ok_app):
    for _ in range(3):
        log_in(Client())
    assert Session.objects.count() == 3


# --- many and large ---------------------------------------------------------------------------------------


def size_of_cookies(client):
    return sum(len(name) + len(value) for name, value in cookies_of(client).items())


@pytest.mark.parametrize("length", [1, 300, 2000])
def test_cookies_stay_small_however_many_logins_are_under_way(client, network, ok_app, length):
    letters = random.Random(0).choices(string.ascii_letters, k=length * 12)
    wanted = ["/" + "".join(letters[number * length :][:length]) for number in range(12)]
    states = [start(client, next=url) for url in wanted]
    assert size_of_cookies(client) <= 3 * 1024
    response = finish(client, states[-1])
    assert (response.status_code, response["Location"]) == (302, wanted[-1])


def test_a_place_to_go_on_for_which_there_is_no_room_is_forgotten(client, network, ok_app, settings):
    settings.LOGIN_REDIRECT_URL = "/home/"
    letters = "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x9FFF), k=2000)))
    response = log_in(client, next=f"/{letters}/")
    assert response["Location"] == "/home/"


# --- a session cookie that the browser withholds ----------------------------------------------------------


@pytest.fixture
def strict(settings):
    settings.SESSION_COOKIE_SAMESITE = "Strict"


def withheld(client, state, **query):
    """The callback as a browser sends it that comes from another site: without the session cookie."""
    return finish(Client(), state, **query)


def follow(client, response):
    """Do what the page's meta refresh says."""
    target = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', response.content.decode())[1]
    return client.get(callback_url() + target.replace("&amp;", "&"))


def test_with_strict_cookies_one_page_of_ours_brings_the_session_back(client, network, ok_app, strict):
    response = withheld(client, start(client, next="/me/"))
    assert response.status_code == 200
    assert_headers(response)
    assert not response.cookies
    assert network.calls == []
    finished = follow(client, response)
    assert (finished.status_code, finished["Location"]) == (302, "/me/")
    assert user_of(client) == str(User.objects.get().pk)


def test_with_strict_cookies_there_is_no_loop(client, network, ok_app, strict):
    state, nobody = start(client), Client()
    page = withheld(client, state)
    refused(nobody, network, 400, "unknown_state", lambda: follow(nobody, page))


def test_with_strict_cookies_a_callback_that_brings_them_needs_no_page(client, network, ok_app, strict):
    assert log_in(client).status_code == 302


@pytest.mark.parametrize("samesite", ["Lax", "None", False])
def test_without_strict_cookies_there_is_no_such_page(client, network, ok_app, settings, samesite):
    settings.SESSION_COOKIE_SAMESITE = samesite
    state, nobody = start(client), Client()
    refused(nobody, network, 400, "unknown_state", lambda: finish(nobody, state))


def test_the_page_does_not_make_a_malformed_answer_well_formed(client, network, ok_app, strict):
    page = withheld(client, start(client), code=["code-one", "code-two"])
    refused(client, network, 400, "malformed_callback", lambda: follow(client, page))


def test_the_page_brings_back_exactly_what_the_network_sent(client, network, ok_app, strict):
    code = "a+b/c=d&e%20f'<\"script>"
    follow(client, withheld(client, start(client), code=code))
    assert network.calls_to("/ok/token")[0].params["code"] == code


def test_the_page_leads_nowhere_but_here(client, ok_app, strict):
    code = '"><script>alert(1)</script>'
    body = withheld(client, start(client), code=code).content.decode()
    assert "<script" not in body
    assert re.findall(r"url=([^\"]{1})", body) == ["?"]
    assert set(re.findall(r'href="([^"]{1})[^"]*code=', body)) == {"?"}


def test_with_strict_cookies_under_another_name_it_is_the_same(client, network, ok_app, strict, settings):
    settings.SESSION_COOKIE_NAME = "other"
    assert withheld(client, start(client)).status_code == 200
    assert log_in(client).status_code == 302
