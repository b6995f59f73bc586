"""Fifty threads at once: one refresh for one token, and no user ever sees the token of another."""

import threading
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.http import JsonResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin, ProviderUnavailable
from django_socialgrants.models import UserToken
from tests.conftest import mailru_token, ok_token
from tests.network import answer
from tests.test_races import PATIENCE, cookies_of, together
from tests.tokens import (
    EXPIRED,
    cut,
    expired,
    granted,
    mailru_server_sig,
    ok_server_sig,
    refresh_tokens_sent,
    signals_sent,
    stale,
    stored,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MANY = 50
ANSWER = {"ok": ok_token, "mailru": mailru_token}


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria")


@pytest.fixture
def apps(network, ok_app, mailru_app):
    return {"ok": ok_app, "mailru": mailru_app}


def strictly_rotating(network, name):
    """Each access and refresh token is good until the next one is given; a used refresh token kills them all."""
    lock, state = threading.Lock(), {"number": 0, "dead": False}

    def token(sent):
        with lock:
            number = state["number"]
            state["dead"] |= sent.params["refresh_token"] != f"{name}-refresh-token-{number}"
            if state["dead"]:
                answer({"error": "invalid_grant"}, status=400)(sent)
                return
            state["number"] += 1
            number += 1
        new = {
            "access_token": f"{name}-access-token-{number}",
            "refresh_token": f"{name}-refresh-token-{number}",
        }
        answer(ANSWER[name](**new))(sent)

    def api(sent):
        given = sent.params.get("access_token") or sent.params["session_key"]
        good = not state["dead"] and given == f"{name}-access-token-{state['number']}"
        error = EXPIRED if name == "ok" else {"error": EXPIRED}
        answer(["friend"] if good else error)(sent)

    network.on(f"/{name}/token", token)
    network.on(f"/{name}/api", api)


def outcome(job):
    try:
        return job()
    except Exception as error:
        return error


def calls_of(user, name="ok"):
    return [partial(outcome, lambda: SocialAPI(user, name).friends.get())] * MANY


def types_of(outcomes):
    return {type(one) for one in outcomes}


@pytest.mark.parametrize("condition", [stale, expired])
@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_one_of_fifty_refreshes_and_all_succeed(user, apps, network, name, condition):
    token = condition(user, apps[name])
    strictly_rotating(network, name)
    with signals_sent() as sent:
        assert together(calls_of(user, name)) == [["friend"]] * MANY
    assert refresh_tokens_sent(network, name) == [f"{name}-refresh-token-0"]
    assert len(network.calls) == MANY + 1
    now = stored(token)
    assert (now.generation, now.state, now.lease_owner) == (1, "active", "")
    assert now.refresh_token == f"{name}-refresh-token-1"
    assert [signal for signal, _ in sent] == ["refreshed"]


def test_one_of_fifty_whose_session_has_expired_refreshes(user, apps, network):
    token = granted(user, apps["ok"])
    strictly_rotating(network, "ok")
    refuse_until_all_have_asked(network)
    assert together(calls_of(user)) == [["friend"]] * MANY
    assert refresh_tokens_sent(network, "ok") == ["ok-refresh-token-0"]
    assert stored(token).generation == 1


def refuse_until_all_have_asked(network):
    """The network forgets the first access token, and says so to everybody at the same moment."""
    gate, healthy = threading.Barrier(MANY), network.behaviours["/ok/api"]

    def behave(sent):
        if sent.params["access_token"] == "ok-access-token-0":
            gate.wait(PATIENCE)
            answer(EXPIRED)(sent)
        else:
            healthy(sent)

    network.on("/ok/api", behave)


def test_one_object_that_fifty_threads_share_refreshes_once(user, apps, network):
    expired(user, apps["ok"])
    strictly_rotating(network, "ok")
    api = SocialAPI(user, "ok")
    assert together([partial(outcome, lambda: api.friends.get())] * MANY) == [["friend"]] * MANY
    assert len(refresh_tokens_sent(network, "ok")) == 1


def test_rounds_of_fifty_present_every_refresh_token_once(user, apps, network):
    token = expired(user, apps["mailru"])
    strictly_rotating(network, "mailru")
    for _ in range(3):
        UserToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        assert together(calls_of(user, "mailru")) == [["friend"]] * MANY
    assert refresh_tokens_sent(network, "mailru") == [f"mailru-refresh-token-{number}" for number in range(3)]


def test_one_of_fifty_is_refused_and_all_are_told(user, apps, network):
    token = expired(user, apps["ok"])
    network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
    with signals_sent() as sent:
        assert types_of(together(calls_of(user))) == {NeedsLogin}
    assert len(network.calls) == 1
    assert stored(token).reason == "invalid_grant"
    assert [signal for signal, _ in sent] == ["needs_login"]


@pytest.mark.parametrize("status", [429, 503])
def test_one_of_fifty_asks_in_vain_and_the_others_ask_no_more(user, apps, network, status):
    token = granted(user, apps["ok"])
    refuse_until_all_have_asked(network)
    network.on("/ok/token", answer({}, status=status))
    assert types_of(together(calls_of(user))) == {ProviderUnavailable}
    assert len(network.calls_to("/ok/token")) == 1
    assert stored(token).failures == (status == 503)


def test_a_cut_is_repeated_by_one_of_fifty(user, apps, network):
    expired(user, apps["ok"])
    strictly_rotating(network, "ok")
    healthy, first = network.behaviours["/ok/token"], [True]
    network.on("/ok/token", lambda sent: cut(sent) if first and first.pop() else healthy(sent))
    assert together(calls_of(user)) == [["friend"]] * MANY
    assert len(refresh_tokens_sent(network, "ok")) == 2


# --- fifty users -----------------------------------------------------------------------------------------------


def who_am_i(request, name):
    api = request.social[name]
    uids = [api.users.getCurrentUser(round=number)["uid"] for number in range(3)]
    return JsonResponse({"user": request.user.username, "uids": uids})


urlpatterns = [path("me/<slug:name>/", who_am_i)]


def knows_people(network, apps):
    """Both networks: a token of "7" is refreshed into another one of "7", and names "7"."""

    def token(name):
        def behave(sent):
            uid = sent.params["refresh_token"].removeprefix("refresh-of-")
            new = {"access_token": f"new-token-of-{uid}", "refresh_token": f"refresh-of-{uid}"}
            extra = {"x_mailru_vid": uid} if name == "mailru" else {}
            answer(ANSWER[name](**new, **extra))(sent)

        return behave

    def api(sent):
        params = sent.params
        given = params.get("access_token") or params["session_key"]
        right = (
            ok_server_sig(params, "ok-client-secret")
            if "access_token" in params
            else mailru_server_sig(params, "mailru-secret-key")
        )
        signed = params["sig"] == right and given.startswith("new-token-of-")
        answer({"uid": given.rpartition("-")[2]} if signed else {"error_code": 104})(sent)

    for name in apps:
        network.on(f"/{name}/token", token(name))
        network.on(f"/{name}/api", api)


@override_settings(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_socialgrants.middleware.SocialGrantsMiddleware",
    ],
)
def test_fifty_users_at_once_see_nothing_of_each_other(apps, network):
    knows_people(network, apps)
    cookies = {}
    for number in range(MANY):
        user = User.objects.create_user(str(number))
        for app in apps.values():
            tokens = {"access_token": f"old-token-of-{number}", "refresh_token": f"refresh-of-{number}"}
            expired(user, app, uid=str(number), **tokens)
        client = Client()
        client.force_login(user)
        cookies[number] = cookies_of(client)

    def visit(number):
        client = Client()
        client.cookies.load(cookies[number])
        return [client.get(f"/me/{name}/").json() for name in ("ok", "mailru", "ok")]

    answers = together([partial(visit, number) for number in range(MANY)])
    assert answers == [[{"user": str(n), "uids": [str(n)] * 3}] * 3 for n in range(MANY)]
    presented = Counter(refresh_tokens_sent(network, "ok") + refresh_tokens_sent(network, "mailru"))
    assert presented == {f"refresh-of-{number}": 2 for number in range(MANY)}
    for token in UserToken.objects.all():
        assert token.access_token == f"new-token-of-{token.uid}"
        assert token.user.username == token.uid
