"""Many browsers at once, in threads and in processes: one user, one row, one exchange, and no error."""

import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client

from django_socialgrants.flows import state
from django_socialgrants.models import UsedState, UserToken
from tests.conftest import ok_profile, ok_token
from tests.fakes import FakeOK
from tests.journey import (
    callback_url,
    disconnect_url,
    finish,
    log_in,
    session_of,
    start,
    token_of,
    user_of,
    with_cookie_of,
)
from tests.network import answer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PATIENCE = 60
"""Seconds after which a test that hangs fails instead."""


def together(jobs):
    """What `jobs` return that begin at the same moment, each in a thread with its own connection."""
    gate = threading.Barrier(len(jobs))

    def run(job):
        try:
            connection.ensure_connection()
            gate.wait(PATIENCE)
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, job) for job in jobs]]


def send(cookies, method, url):
    """Status of the answer to one request, and who is logged in then."""
    client = Client()
    client.cookies.load(cookies)
    response = client.generic(method, url)
    return response.status_code, user_of(client)


def in_threads(requests, network=None):
    """Send requests that begin at the same moment, each (cookies, method, url)."""
    return together([partial(send, *request) for request in requests])


def in_processes(requests, network):
    """As `in_threads`, in up to three processes that share nothing but the database."""
    shares = [requests[number::3] for number in range(min(3, len(requests)))]
    order = {
        "database": connection.settings_dict["NAME"],
        "network": network.url,
    }
    program = "import django; django.setup(); from tests.test_races import obey; obey()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", program], **pipes) for _ in shares]
    try:
        for process, share in zip(processes, shares, strict=True):
            process.stdin.write(json.dumps(order | {"requests": share}) + "\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [
            tuple(one)
            for process in processes
            for one in json.loads(process.communicate(timeout=PATIENCE)[0])
        ]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def obey():
    """What a process of `in_processes` does."""
    order = json.loads(sys.stdin.readline())
    connection.settings_dict["NAME"] = order["database"]
    site_settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK"]
    FakeOK.api_endpoint = f"{order['network']}/ok/api"
    FakeOK.token_endpoints = {"authorization_code": f"{order['network']}/ok/token"}
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(in_threads(order["requests"])))


@pytest.fixture(params=[in_threads, in_processes], ids=["threads", "processes"])
def at_once(request, network):
    return lambda requests: request.param(requests, network)


def cookies_of(client):
    return {name: morsel.value for name, morsel in client.cookies.items()}


def callback(client, state, code="code-1234"):
    return cookies_of(client), "GET", f"{callback_url()}?code={code}&state={state}"


def disconnecting(client, token):
    return cookies_of(client), "POST", disconnect_url(token)


def started(code="code-1234"):
    """The callback of a new browser."""
    client = Client()
    return callback(client, start(client), code)


def hold_back(network, count):
    """Let the API answer only when `count` wait for that, so that all of them go on at the same moment."""
    gate = threading.Barrier(count)
    healthy = network.behaviours["/ok/api"]

    def wait(call):
        gate.wait(PATIENCE)
        healthy(call)

    network.on("/ok/api", wait)
    return gate


def name_people_by_code(network):
    """Every code is worth a token of the person with that number."""
    network.on("/ok/token", lambda call: answer(ok_token(access_token=f"of-{call.params['code']}"))(call))
    network.on("/ok/api", lambda call: answer(ok_profile(uid=call.params["access_token"][3:]))(call))


# --- logging in -------------------------------------------------------------------------------------------


def test_twelve_first_logins_of_one_person_make_one_user(network, ok_app, at_once):
    hold_back(network, 12)
    answers = at_once([started() for _ in range(12)])
    user = User.objects.get()
    assert answers == [(302, str(user.pk))] * 12
    assert UserToken.objects.get().user == user
    assert len(network.calls_to("/ok/token")) == 12


def test_first_logins_of_four_people_make_four_users(network, ok_app):
    name_people_by_code(network)
    hold_back(network, 12)
    answers = in_threads([started(code=str(number % 4)) for number in range(12)])
    assert {status for status, _ in answers} == {302}
    owners = {str(pk) for pk in UserToken.objects.values_list("user", flat=True)}
    assert (
        {user for _, user in answers}
        == owners
        == {str(pk) for pk in User.objects.values_list("pk", flat=True)}
    )
    assert sorted(UserToken.objects.values_list("uid", flat=True)) == ["0", "1", "2", "3"]


def test_logins_of_somebody_known_all_succeed_and_each_counts(network, ok_app):
    log_in(Client())
    hold_back(network, 12)
    answers = in_threads([started() for _ in range(12)])
    token = UserToken.objects.get()
    assert answers == [(302, str(token.user_id))] * 12
    assert token.generation == 12


def test_whole_logins_at_once_do_not_stand_in_each_others_way(network, ok_app):
    def journey():
        client = Client()
        return log_in(client).status_code, user_of(client)

    assert together([journey] * 12) == [(302, str(User.objects.get().pk))] * 12


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
def test_two_tabs_that_start_at_once_both_succeed(client, network, ok_app, settings, monkeypatch, engine):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store["basket"] = ["apples"]
    store.save()
    client.cookies.load({settings.SESSION_COOKIE_NAME: store.session_key})
    gate, make = threading.Barrier(2), secrets.token_urlsafe

    def wait(size):  # both tabs have read the session, and neither has written it
        gate.wait(PATIENCE)
        return make(size)

    monkeypatch.setattr(state.secrets, "token_urlsafe", wait)
    tabs = [with_cookie_of(client), with_cookie_of(client)]
    states = together([partial(start, tab) for tab in tabs])
    for tab in tabs:
        client.cookies.update(tab.cookies)
    assert [finish(client, one).status_code for one in states] == [302, 302]
    assert session_of(client)["basket"] == ["apples"]


def test_two_tabs_that_come_back_at_once_both_succeed(client, network, ok_app):
    states = [start(client), start(client)]
    hold_back(network, 2)
    answers = in_threads([callback(client, state) for state in states])
    assert answers == [(302, str(User.objects.get().pk))] * 2


def test_an_account_that_two_users_connect_at_once_is_that_of_one(network, ok_app):
    clients = [Client(), Client()]
    for client, name in zip(clients, ("anna", "boris"), strict=True):
        client.force_login(User.objects.create_user(name))
    hold_back(network, 2)
    answers = in_threads([callback(client, start(client)) for client in clients])
    assert sorted(status for status, _ in answers) == [302, 409]
    winner = next(user for status, user in answers if status == 302)
    assert str(UserToken.objects.get().user_id) == winner


# --- one state --------------------------------------------------------------------------------------------


def test_one_state_that_comes_back_eight_times_at_once_is_exchanged_once(client, network, ok_app, at_once):
    answers = at_once([callback(client, start(client))] * 8)
    assert sorted(status for status, _ in answers) == [302] + [400] * 7
    assert [user for status, user in answers if status == 400] == [None] * 7
    assert len(network.calls_to("/ok/token")) == 1
    assert UsedState.objects.count() == 1
    assert User.objects.count() == 1


# --- disconnecting ----------------------------------------------------------------------------------------


def member(credentials, number):
    """A browser of somebody without password who has two accounts, and their tokens."""
    user, client = User.objects.create_user(f"member-{number}"), Client()
    client.force_login(user)
    return client, [token_of(user, credentials, uid=f"{number}{last}") for last in "01"]


def test_disconnecting_both_accounts_at_once_leaves_one(network, ok_app, at_once):
    members = [member(ok_app, number) for number in range(1, 7)]
    answers = at_once([disconnecting(client, token) for client, tokens in members for token in tokens])
    assert sorted(status for status, _ in answers) == [302] * 6 + [409] * 6
    assert UserToken.objects.values("user").distinct().count() == UserToken.objects.count() == 6


def test_disconnecting_one_account_twice_at_once_leaves_the_other(network, ok_app):
    members = [member(ok_app, number) for number in range(1, 7)]
    answers = in_threads([disconnecting(client, tokens[0]) for client, tokens in members for _ in range(2)])
    assert sorted(status for status, _ in answers) == [302] * 6 + [404] * 6
    assert set(UserToken.objects.all()) == {tokens[1] for _, tokens in members}


def test_a_login_that_meets_the_disconnecting_of_its_account_is_no_error(network, ok_app):
    members = [member(ok_app, number) for number in range(1, 7)]
    name_people_by_code(network)
    gate = hold_back(network, 12)

    def disconnect(client, token):
        gate.wait(PATIENCE)
        return send(*disconnecting(client, token))

    logins = [partial(send, *started(code=tokens[0].uid)) for _, tokens in members]
    answers = together([*logins, *[partial(disconnect, client, tokens[0]) for client, tokens in members]])
    assert [status for status, _ in answers] == [302] * 12
    assert UserToken.objects.count() in range(6, 13)
    assert not User.objects.filter(social_tokens=None).exists()
