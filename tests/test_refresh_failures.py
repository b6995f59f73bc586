"""Runs over due tokens while networks, rows and keys are not as they should be."""

import socket
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Barrier, BrokenBarrierError

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.utils import timezone

from django_socialgrants import signals
from django_socialgrants.crypto import Key
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Identity, Token
from tests.conftest import OK_UID, ok_token
from tests.due import NOW, TokenEndpoint, columns, counts, end_pauses, make_due_again, row, run, store_due
from tests.fakes import FakeOK
from tests.journey import log_in
from tests.network import answer
from tests.test_fields import store

pytestmark = pytest.mark.django_db

KEY, LOST = (urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))

invalid_grant = answer({"error": "invalid_grant"}, status=400)
out_of_order = answer(b"<h1>Oops</h1>", status=503, content_type="text/html")


def fingerprint(key):
    return Key(urlsafe_b64decode(key)).fingerprint


def cut(call):
    """Close the connection instead of an answer."""
    call.handler.connection.shutdown(socket.SHUT_RDWR)
    call.handler.close_connection = True


def one_after_the_other(*behaviours):
    """Each behaviour for one call, and the last one for all that follow."""
    waiting = list(behaviours)
    return lambda call: (waiting.pop(0) if len(waiting) > 1 else waiting[0])(call)


def for_tokens(prefix, behaviour, otherwise):
    """One behaviour for the tokens that were stored with `prefix`, another for the rest."""

    def behave(call):
        mine = call.params["refresh_token"].startswith(f"refresh-{prefix}")
        (behaviour if mine else otherwise)(call)

    return behave


def waiting_for_each_other(number, behaviour):
    """Answers only when so many have asked, so that a run has all the answers at once."""
    gate = Barrier(number)

    def behave(call):
        with suppress(BrokenBarrierError):
            gate.wait(10)
        behaviour(call)

    return behave


@contextmanager
def heard(signal):
    """Primary keys of the tokens that a signal was sent for."""
    told = []

    def receiver(token, **kwargs):
        told.append(token.pk)

    signal.connect(receiver)
    try:
        yield told
    finally:
        signal.disconnect(receiver)


def from_now(time):
    """Seconds from now."""
    return (time - NOW()).total_seconds()


def backs_off(token, reason, failures=1):
    """The row of a token that is as good as before, and tried again later."""
    now = row(token)
    assert (now.state, now.reason, now.failures) == ("active", reason, failures)
    assert now.access_token == f"access-{token.uid}-0"
    assert now.refresh_token == f"refresh-{token.uid}-0"
    assert (now.generation, now.refreshed_at, now.expires_at) == (0, None, token.expires_at)
    assert (now.lease_owner, now.lease_until) == ("", None)
    longest = min(30 * 2 ** (failures - 1), 3600)
    assert 0.8 * longest - 20 < from_now(now.next_refresh_at) <= longest
    return True


def is_dead(token, reason):
    """The row of a token that only its user can replace."""
    now = row(token)
    assert (now.state, now.reason, now.next_refresh_at) == ("needs_login", reason, None)
    assert (now.generation, now.lease_owner, now.lease_until) == (0, "", None)
    return True


# --- one token: no usable answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        *(answer(b"<h1>Oops</h1>", status=status) for status in (500, 502, 503, 504)),
        answer({"error_code": 2, "error_msg": "SERVICE : temporarily unavailable"}),
        answer({"error": "temporarily_unavailable"}, status=400),
    ],
)
def test_a_network_out_of_order_is_asked_once_and_again_later(network, ok_app, behaviour):
    network.on("/ok/token", behaviour)
    [token] = store_due(ok_app)
    report = run()
    assert (counts(report), report.exit_code) == ((1, 0, 0, 1, 0), 1)
    assert sum(report.applications["ok"].reasons.values()) == 1
    assert len(network.calls) == 1
    assert backs_off(token, reason="")
    assert counts(run()) == (0, 0, 0, 0, 0)
    network.on("/ok/token", invalid_grant)
    make_due_again(token)
    run()
    assert is_dead(token, "invalid_grant")  # nothing about it is ambiguous


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://socialgrants.invalid/"])
def test_a_network_that_is_not_there_leaves_the_token_as_it_is(network, ok_app, monkeypatch, url):
    monkeypatch.setattr(FakeOK, "token_endpoints", {"refresh_token": url})
    [token] = store_due(ok_app)
    assert counts(run()) == (1, 0, 0, 1, 0)
    assert backs_off(token, reason="")


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 2), (4, 5), (7, 8), (40, 41)])
def test_each_failure_in_a_row_doubles_the_wait_up_to_an_hour(network, ok_app, before, after):
    network.on("/ok/token", out_of_order)
    [token] = store_due(ok_app, failures=before)
    run()
    assert backs_off(token, reason="", failures=after)


def half_an_answer(call):
    call.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"access_token": "half')
    cut(call)


UNKNOWN = {
    "cut": cut,
    "html": answer(b"<html>welcome</html>", content_type="text/html"),
    "empty": answer(b""),
    "list": answer([]),
    "no token": answer({"token_type": "session", "expires_in": 1800}),
    "null": answer({"access_token": None}),
    "blank": answer({"access_token": ""}),
    "number": answer({"access_token": 17}),
    "redirect": answer(b"", status=302, headers={"Location": "/elsewhere"}),
    "half": half_an_answer,
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_request_whose_outcome_is_unknown_is_repeated_once_and_then_later(network, mailru_app, what):
    network.on("/mailru/token", UNKNOWN[what])
    [token] = store_due(mailru_app)
    report = run()
    assert (counts(report), report.exit_code) == ((1, 0, 0, 1, 0), 1)
    assert len(network.calls) == 2
    assert backs_off(token, reason="outcome_unknown")


@pytest.mark.slow
def test_silence_of_the_network_is_no_different(network, mailru_app, settings):
    settings.SOCIALGRANTS_TIMEOUT = 0.5
    network.on("/mailru/token", lambda call: call.hang())
    [token] = store_due(mailru_app)
    assert counts(run()) == (1, 0, 0, 1, 0)
    assert len(network.calls) == 2
    assert backs_off(token, reason="outcome_unknown")


def test_the_quick_repetition_may_succeed(network, mailru_app):
    network.on("/mailru/token", one_after_the_other(cut, TokenEndpoint(rotates=True)))
    [token] = store_due(mailru_app)
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert row(token).refresh_token == f"refresh-{token.uid}-1"
    assert (row(token).reason, row(token).failures) == ("", 0)


def test_invalid_grant_after_an_unknown_outcome_is_final_and_says_so(network, mailru_app):
    network.on("/mailru/token", one_after_the_other(cut, invalid_grant))
    [token] = store_due(mailru_app)
    with heard(signals.needs_login) as told:
        assert counts(run()) == (1, 0, 1, 0, 0)
    assert is_dead(token, "ambiguous_rotation")
    assert told == [token.pk]


def test_an_unknown_outcome_is_not_forgotten_by_failures_that_follow(network, mailru_app):
    [token] = store_due(mailru_app)
    for behaviour in (cut, out_of_order):
        network.on("/mailru/token", behaviour)
        run()
        assert row(token).reason == "outcome_unknown"
        make_due_again(token)
    network.on("/mailru/token", invalid_grant)
    assert counts(run()) == (1, 0, 1, 0, 0)
    assert is_dead(token, "ambiguous_rotation")


def test_an_unknown_outcome_is_over_with_the_next_success(network, mailru_app):
    [token] = store_due(mailru_app)
    for behaviour in (cut, TokenEndpoint(rotates=True), invalid_grant):
        network.on("/mailru/token", behaviour)
        run()
        make_due_again(token)
    assert row(token).reason == "invalid_grant"


def test_a_token_of_somebody_else_is_refused_and_not_stored(network, mailru_app):
    body = {"access_token": "theirs", "refresh_token": "theirs-too", "x_mailru_vid": "666"}
    network.on("/mailru/token", answer(body))
    [token] = store_due(mailru_app)
    with heard(signals.needs_login) as told:
        report = run()
    assert (counts(report), report.exit_code) == ((1, 0, 1, 0, 0), 0)
    assert is_dead(token, "identity_changed")
    assert row(token).access_token == f"access-{token.uid}-0"
    assert told == [token.pk]


def test_a_token_of_the_same_person_is_welcome(network, mailru_app):
    [token] = store_due(mailru_app)
    network.on("/mailru/token", answer({"access_token": "new", "x_mailru_vid": token.uid}))
    assert counts(run()) == (1, 1, 0, 0, 0)


# --- one token: refused -----------------------------------------------------------------------------------


def dialects():
    for status in (200, 400, 401):
        for error in ("invalid_grant", "invalid_token", "access_denied"):
            yield "ok", status, {"error": error, "error_description": "Invalid refresh token structure"}
        yield "mailru", status, {"error": "invalid_grant"}
        for name, codes in (("ok", (102, 103, 107, 453)), ("mailru", (102, 105))):
            for code in codes:
                yield name, status, {"error_code": code, "error_msg": "PARAM_SESSION_EXPIRED"}
                yield name, status, {"error": {"error_code": code, "error_msg": "session expired"}}


@pytest.mark.parametrize(("name", "status", "body"), list(dialects()))
def test_a_refused_token_needs_its_user_at_once_and_is_left_alone(
    network, ok_app, mailru_app, name, status, body
):
    network.on(f"/{name}/token", answer(body, status=status))
    [token] = store_due({"ok": ok_app, "mailru": mailru_app}[name])
    with heard(signals.needs_login) as told:
        report = run()
        assert (counts(report), report.exit_code) == ((1, 0, 1, 0, 0), 0)
        assert report.applications[name].reasons == {"invalid_grant": 1}
        assert is_dead(token, "invalid_grant")
        assert counts(run(within=10**6)) == (0, 0, 0, 0, 0)
    assert told == [token.pk]
    assert len(network.calls) == 1
    assert row(token).access_token == f"access-{token.uid}-0"


@pytest.mark.parametrize("code", [102, 103, 107, 453])
def test_a_long_token_that_has_ended_needs_its_user(network, ok_app, code):
    network.on("/ok/api", answer({"error_code": code, "error_msg": "PARAM_SESSION_EXPIRED"}))
    [token] = store_due(ok_app, refresh_token="", scope="LONG_ACCESS_TOKEN")
    with heard(signals.needs_login) as told:
        assert counts(run()) == (1, 0, 1, 0, 0)
    assert is_dead(token, "session_expired")
    assert told == [token.pk]


def test_a_new_grant_brings_a_refused_token_back(network, client, ok_app):
    log_in(client)
    token = UserToken.objects.get(uid=OK_UID)
    network.on("/ok/token", invalid_grant)
    make_due_again(token)
    assert counts(run()) == (1, 0, 1, 0, 0)

    network.on("/ok/token", answer(ok_token(access_token="granted again")))
    log_in(client)
    now = row(token)
    assert (now.state, now.reason, now.access_token) == ("active", "", "granted again")
    make_due_again(token)
    assert counts(run()) == (1, 1, 0, 0, 0)


# --- an application: too many requests --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "100"}, 100),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "999999"}, 3600),
        ({"Retry-After": "soon"}, 30),
        ({}, 30),
    ],
)
def test_too_many_requests_pause_the_application_as_long_as_its_network_says(
    network, ok_app, mailru_app, headers, seconds
):
    network.on("/ok/token", answer({}, status=429, headers=headers))
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    tokens = store_due(ok_app, 10)
    store_due(mailru_app, 10)
    before = columns(*tokens)

    report = run(workers=1)
    assert report.exit_code == 1
    assert counts(report, "mailru") == (10, 10, 0, 0, 0)
    assert counts(report, "ok")[:3] == (10, 0, 0)
    assert report.applications["ok"].reasons.keys() == {"rate_limited"}
    assert len(network.calls_to("/ok/token")) == 1
    assert columns(*tokens) == before  # no failure is counted, no reason kept
    health = ApplicationHealth.objects.get()
    assert (health.credentials, health.failures) == (ok_app, 0)
    assert seconds - 60 < from_now(health.paused_until) <= seconds


def test_a_paused_application_is_not_asked_before_its_time_and_then_goes_on(network, ok_app):
    network.on("/ok/token", answer({}, status=429, headers={"Retry-After": "3000"}))
    tokens = store_due(ok_app, 10)
    run(workers=1)
    asked, before = len(network.calls), columns(*tokens)

    network.on("/ok/token", TokenEndpoint())
    report = run()
    assert (counts(report), report.exit_code) == ((10, 0, 0, 0, 10), 1)
    assert "paused" in " ".join(report.applications["ok"].notes)
    assert len(network.calls) == asked
    assert columns(*tokens) == before

    end_pauses()
    report = run()
    assert (counts(report), report.exit_code) == ((10, 10, 0, 0, 0), 0)


def test_too_many_requests_stop_all_but_those_on_their_way(network, ok_app):
    network.on("/ok/token", answer({}, status=429, headers={"Retry-After": "100"}))
    tokens = store_due(ok_app, 40)
    before = columns(*tokens)
    run(workers=4)
    assert len(network.calls) <= 4
    assert columns(*tokens) == before


def test_a_long_token_can_be_one_call_too_many_too(network, ok_app):
    network.on("/ok/api", answer({"error_code": 11, "error_msg": "THROTTLED"}))
    tokens = store_due(ok_app, 5, refresh_token="", scope="LONG_ACCESS_TOKEN")
    before = columns(*tokens)
    assert run(workers=1).exit_code == 1
    assert len(network.calls) == 1
    assert columns(*tokens) == before
    assert 0 < end_pauses()["ok"] <= 30


def known_to_the_database(network, **conditions):
    """Waits until the health of an application is such."""
    try:
        while not ApplicationHealth.objects.filter(**conditions).exists() and not network.stop.wait(0.01):
            pass
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_was_on_its_way_does_not_end_a_pause(network, ok_app):
    """A failure, then too many requests, and then the good news of a request that had been sent before."""

    def late(call):
        known_to_the_database(network, paused_until__isnull=False)
        TokenEndpoint()(call)

    limited = answer({}, status=429, headers={"Retry-After": "600"})
    answers = one_after_the_other(out_of_order, limited, late)
    network.on("/ok/token", waiting_for_each_other(3, answers))
    store_due(ok_app, 3)
    assert counts(run(workers=3)) == (3, 1, 0, 2, 0)
    assert 500 < end_pauses().get("ok", 0) <= 600


# --- an application: refused itself -----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    "behaviour",
    [
        answer({"error": "invalid_client"}, status=401),
        answer({"error": "invalid_client"}),
        answer({"error": "unauthorized_client"}, status=400),
        answer({"error_code": 101, "error_msg": "PARAM_API_KEY"}),
    ],
)
def test_wrong_credentials_stop_their_application_and_mark_no_token(
    network, ok_app, mailru_app, behaviour, workers
):
    network.on("/ok/token", behaviour)
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    tokens = store_due(ok_app, 30)
    store_due(mailru_app, 5)
    before = columns(*tokens)

    report = run(workers=workers)
    assert report.exit_code == 2
    assert counts(report, "mailru") == (5, 5, 0, 0, 0)
    assert counts(report, "ok")[:3] == (30, 0, 0)
    assert report.applications["ok"].reasons.keys() == {"invalid_client"}
    assert "stopped" in " ".join(report.applications["ok"].notes)
    assert len(network.calls_to("/ok/token")) <= workers
    assert columns(*tokens) == before

    network.on("/ok/token", TokenEndpoint())
    assert counts(run()) == (30, 30, 0, 0, 0)


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_wrong_credentials_stop_all_but_the_requests_on_their_way(network, ok_app, workers):
    network.on("/ok/token", answer({"error": "invalid_client"}, status=401))
    tokens = store_due(ok_app, 60)
    before = columns(*tokens)
    assert run(workers=workers).exit_code == 2
    assert len(network.calls) <= workers
    assert columns(*tokens) == before


def test_an_application_without_secret_asks_nobody(network, ok_app, mailru_app):
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    ok_app.client_secret = ""
    ok_app.save()
    tokens = store_due(ok_app, 5)
    store_due(mailru_app, 5)
    before = columns(*tokens)
    report = run()
    assert report.exit_code == 2
    assert counts(report, "mailru") == (5, 5, 0, 0, 0)
    assert network.calls_to("/ok/token") == []
    assert columns(*tokens) == before


# --- an application: its tokens are refused in masses -----------------------------------------------------


def dead():
    return UserToken.objects.filter(state="needs_login")


@pytest.fixture
def revoked(network, ok_app):
    """120 due tokens, all of which OK refuses; one run has been over them."""
    network.on("/ok/token", invalid_grant)
    store_due(ok_app, 120)
    with heard(signals.needs_login) as told:
        report = run(workers=4)
    assert report.exit_code == 3
    assert sorted(told) == sorted(dead().values_list("pk", flat=True))
    return report


def test_tokens_refused_in_masses_are_not_believed_to_be_dead(network, revoked):
    assert 0 < dead().count() <= 50
    assert len(network.calls) <= 50 + 4 * 4  # those that were claimed
    due, refreshed, needs_login, failed, skipped = counts(revoked)
    assert (due, refreshed, needs_login) == (120, 0, dead().count())
    assert failed + skipped == 120 - needs_login
    assert "--accept-mass-revocation" in " ".join(revoked.applications["ok"].notes)
    others = UserToken.objects.filter(state="active")
    assert set(others.values_list("reason", "generation", "lease_owner")) == {("", 0, "")}
    assert others.filter(failures=1, next_refresh_at__gt=NOW()).count() == failed
    assert others.filter(failures=0).count() == skipped


def test_the_valve_of_one_application_is_no_matter_of_others(network, ok_app, mailru_app):
    network.on("/ok/token", invalid_grant)
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    store_due(ok_app, 70)
    store_due(mailru_app, 70)
    report = run()
    assert report.exit_code == 3
    assert counts(report, "mailru") == (70, 70, 0, 0, 0)
    assert report.applications["mailru"].exit_code == 0


def test_runs_behind_a_closed_valve_try_one_token_and_mark_none(network, revoked):
    marked = set(dead().values_list("pk", flat=True))
    for _ in range(3):
        asked = len(network.calls)
        report = run()
        assert report.exit_code == 3
        assert len(network.calls) == asked + 1
        assert counts(report)[2] == 0
        assert set(dead().values_list("pk", flat=True)) == marked


def test_the_valve_opens_when_the_network_accepts_a_token_again(network, revoked):
    marked = dead().count()
    network.on("/ok/token", TokenEndpoint())
    make_due_again(*UserToken.objects.filter(state="active"))
    report = run()
    assert (counts(report), report.exit_code) == ((120 - marked, 120 - marked, 0, 0, 0), 0)
    health = ApplicationHealth.objects.get()
    assert (health.failures, health.reason, health.paused_until) == (0, "", None)
    make_due_again(*UserToken.objects.filter(state="active"))
    assert counts(run())[1] == 120 - marked


@pytest.mark.django_db(transaction=True)
def test_a_success_that_was_on_its_way_does_not_open_the_valve(network, ok_app):
    """The first token is accepted, but the answer comes when the valve is closed already."""
    store_due(ok_app, 1, prefix="1", age=900)
    store_due(ok_app, 100, prefix="2")

    def late(call):
        known_to_the_database(network, reason="mass_revocation")
        TokenEndpoint()(call)

    network.on("/ok/token", for_tokens("1", late, invalid_grant))
    report = run(workers=4)
    assert report.exit_code == 3
    assert counts(report)[1] == 1
    marked = dead().count()
    assert marked <= 50
    network.on("/ok/token", invalid_grant)
    assert run(workers=4).exit_code == 3
    assert dead().count() == marked


def test_a_token_that_is_really_dead_does_not_keep_the_valve_closed(network, revoked):
    """It is the newest one; a minute passes between the runs."""
    UserToken.objects.filter(state="active").update(next_refresh_at=NOW() - timedelta(hours=1))
    [lost] = store_due(ProviderCredentials.objects.get(), prefix="9", age=1)
    network.on("/ok/token", for_tokens("9", invalid_grant, TokenEndpoint()))
    for _ in range(3):
        run()
        UserToken.objects.update(next_refresh_at=F("next_refresh_at") - timedelta(seconds=60))
    others = UserToken.objects.filter(state="active").exclude(pk=lost.pk)
    assert set(others.values_list("generation", flat=True)) == {1}


def test_tokens_refused_in_masses_are_counted_over_runs(network, ok_app):
    """A small site has few due in each run."""
    network.on("/ok/token", invalid_grant)
    store_due(ok_app, 150)
    codes = [run(limit=20, workers=2).exit_code for _ in range(5)]
    assert codes[-1] == 3
    assert dead().count() <= 50


def test_an_operator_may_accept_the_revocation(network, revoked):
    make_due_again(*UserToken.objects.filter(state="active"))
    left = UserToken.objects.filter(state="active").count()
    with heard(signals.needs_login) as told:
        report = run(accept_mass_revocation=True)
    assert (counts(report), report.exit_code) == ((left, 0, left, 0, 0), 0)
    assert dead().count() == 120
    assert len(told) == len(set(told)) == left
    assert len({call.params["refresh_token"] for call in network.calls}) == 120
    assert counts(run()) == (0, 0, 0, 0, 0)


def test_many_dead_tokens_are_no_mass_while_most_are_good(network, ok_app):
    """Every third is refused: 60 of them."""
    tokens = store_due(ok_app, 180)
    refused = {f"refresh-{token.uid}-0" for token in tokens[::3]}
    good = TokenEndpoint()
    network.on(
        "/ok/token", lambda call: (invalid_grant if call.params["refresh_token"] in refused else good)(call)
    )
    report = run()
    assert (counts(report), report.exit_code) == ((180, 120, 60, 0, 0), 0)


def test_few_dead_tokens_are_no_mass_though_all_are_refused(network, ok_app):
    network.on("/ok/token", invalid_grant)
    store_due(ok_app, 49)
    report = run()
    assert (counts(report), report.exit_code) == ((49, 0, 49, 0, 0), 0)


@pytest.mark.slow
def test_what_was_accepted_long_ago_does_not_hold_the_valve_open(network, ok_app):
    """200 good ones are followed by dead ones: it is the last hundred that counts."""
    network.on("/ok/token", for_tokens("2", invalid_grant, TokenEndpoint()))
    store_due(ok_app, 200, prefix="1", age=900)
    store_due(ok_app, 80, prefix="2", age=300)
    report = run(workers=2)
    assert report.exit_code == 3
    assert dead().count() <= 50


# --- an application: its network is out of order ----------------------------------------------------------


def test_an_outage_is_noticed_after_ten_failures(network, ok_app, mailru_app):
    network.on("/ok/token", out_of_order)
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    tokens = store_due(ok_app, 60)
    store_due(mailru_app, 20)
    report = run(workers=4)
    assert report.exit_code == 1
    assert counts(report, "mailru") == (20, 20, 0, 0, 0)
    assert 10 <= len(network.calls_to("/ok/token")) <= 10 + 4 * 4
    assert counts(report, "ok")[3] == len(network.calls_to("/ok/token"))
    assert UserToken.objects.filter(credentials=ok_app, failures=1).count() == counts(report, "ok")[3]
    assert not dead().exists()
    assert len(tokens) == sum(counts(report, "ok")[3:])


@pytest.mark.parametrize("workers", [1, 16])
def test_the_first_pause_of_an_outage_is_short_however_many_requests_were_on_their_way(
    network, ok_app, workers
):
    network.on("/ok/token", out_of_order)
    store_due(ok_app, 60)
    run(workers=workers)
    assert 0 < end_pauses()["ok"] <= 30


def test_an_outage_is_probed_with_single_tokens_ever_more_rarely_until_it_is_over(network, ok_app):
    network.on("/ok/token", out_of_order)
    store_due(ok_app, 60)
    run(workers=1)
    before = len(network.calls)
    assert 10 <= before <= 14

    pauses = []
    for probes in range(1, 10):
        report = run()  # during the pause
        assert report.exit_code == 1
        assert counts(report)[1:4] == (0, 0, 0)
        pauses.append(end_pauses()["ok"])
        report = run()
        assert len(network.calls) == before + probes
        assert counts(report)[1:4] == (0, 0, 1)
    assert pauses[0] <= 30
    assert all(later > earlier for earlier, later in zip(pauses[:6], pauses[1:7], strict=True))
    assert max(pauses) <= 3600
    assert pauses[-1] > 2000

    network.on("/ok/token", TokenEndpoint())
    end_pauses()
    report = run()
    left = 60 - len({call.params["refresh_token"] for call in network.calls[: before + 9]})
    assert (counts(report), report.exit_code) == ((left, left, 0, 0, 0), 0)
    assert ApplicationHealth.objects.get().failures == 0
    make_due_again(*UserToken.objects.all())
    assert counts(run()) == (60, 60, 0, 0, 0)


def test_failures_between_successes_are_no_outage(network, ok_app):
    good = TokenEndpoint()
    network.on("/ok/token", for_tokens("2", out_of_order, good))
    for turn in range(12):
        store_due(ok_app, 2, prefix=f"2{turn}", age=900 - 10 * turn)
        store_due(ok_app, 1, prefix=f"1{turn}", age=899 - 10 * turn)
    report = run(workers=1)
    assert counts(report) == (36, 12, 0, 24, 0)
    assert ApplicationHealth.objects.get().paused_until is None


@pytest.mark.parametrize("failing", [5, 30])
def test_tokens_at_the_head_that_fail_again_and_again_do_not_block_the_rest(network, ok_app, failing):
    network.on("/ok/token", for_tokens("1", out_of_order, TokenEndpoint()))
    store_due(ok_app, failing, prefix="1", age=3000)
    good = store_due(ok_app, 20, prefix="2", age=300)
    for _ in range(4):
        run(workers=2)
        end_pauses()
    assert {row(token).generation for token in good} == {1}


# --- fairness ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_tokens_beside_two_thousand_do_not_wait_for_them(network, ok_app, mailru_app):
    many, few = TokenEndpoint(), TokenEndpoint(rotates=True)
    network.on("/ok/token", many)
    network.on("/mailru/token", few)
    store_due(ok_app, 2000, age=3000)
    store_due(mailru_app, 10)
    report = run(stop=lambda: len(few.order) == 10)
    assert counts(report, "mailru") == (10, 10, 0, 0, 0)
    assert 0 < len(many.order) < 200
    assert counts(report, "ok")[1] == len(many.order)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 16])
def test_one_token_beside_many_applications_does_not_wait_for_them(network, ok_app, workers):
    """More applications than workers, and the one with a single token was registered last."""
    many, few = TokenEndpoint(), TokenEndpoint(rotates=True)

    def slowly(call):
        network.stop.wait(0.02)
        many(call)

    network.on("/ok/token", slowly)
    network.on("/mailru/token", few)
    for number in range(5):
        application = ProviderCredentials.objects.create(
            name=f"more-{number}", provider="ok", client_id=f"51{number}", client_secret="ok-client-secret-2"
        )
        store_due(application, 100, prefix=f"{number}", age=3000)
    last = ProviderCredentials.objects.create(
        name="last", provider="mailru", client_id="1", client_secret="mailru-secret-key"
    )
    store_due(last, 1)
    report = run(workers=workers, stop=lambda: len(few.order) == 1)
    assert counts(report, "last") == (1, 1, 0, 0, 0)
    assert len(many.order) < 100


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 16])
def test_a_network_that_hangs_does_not_keep_others_waiting(network, ok_app, mailru_app, settings, workers):
    settings.SOCIALGRANTS_TIMEOUT = 1
    few = TokenEndpoint(rotates=True)
    network.on("/ok/token", lambda call: call.hang())
    network.on("/mailru/token", few)
    store_due(ok_app, 100, age=3000)
    store_due(mailru_app, 10)
    report = run(workers=workers, stop=lambda: len(few.order) == 10)
    assert counts(report, "mailru") == (10, 10, 0, 0, 0)


# --- keys and ciphertexts ---------------------------------------------------------------------------------


@pytest.fixture
def keys(settings):
    """Everything is stored under the first of these, until it is called."""

    def configure(*keys):
        settings.SOCIALGRANTS_ENCRYPTION_KEYS = list(keys)

    configure(KEY)
    return configure


def test_a_site_that_has_lost_its_key_changes_nothing(network, keys, ok_app, mailru_app):
    store_due(ok_app, 5)
    store_due(mailru_app, 5)
    before = columns()
    keys(LOST)
    report = run()
    assert (counts(report), report.exit_code) == ((10, 0, 0, 0, 10), 2)
    for name in ("ok", "mailru"):
        assert fingerprint(KEY) in " ".join(report.applications[name].notes)
    assert network.connections == 0
    assert columns() == before
    assert not ApplicationHealth.objects.exists()

    keys(LOST, KEY)
    network.on("/ok/token", TokenEndpoint())
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    assert counts(run()) == (10, 10, 0, 0, 0)


def test_a_key_that_only_tokens_have_lost_changes_nothing_either(network, keys, ok_app):
    keys(LOST)
    tokens = store_due(ok_app, 40)
    before = columns()
    keys(KEY)
    report = run()
    assert (counts(report), report.exit_code) == ((40, 0, 0, 0, 40), 2)
    assert fingerprint(LOST) in " ".join(report.applications["ok"].notes)
    assert fingerprint(KEY) not in " ".join(report.applications["ok"].notes)
    assert network.connections == 0
    assert columns() == before
    assert len(tokens) == 40


@pytest.mark.parametrize("field", ["access_token", "refresh_token"])
def test_rows_with_a_lost_key_stay_as_they_are_and_the_others_are_refreshed(network, keys, ok_app, field):
    network.on("/ok/token", TokenEndpoint())
    lost = store_due(ok_app, 20, prefix="1", age=900)
    keys(LOST)
    for token in lost:
        setattr(token, field, f"{getattr(token, field)!s}again")
        token.save(update_fields=[field])
    keys(KEY)
    good = store_due(ok_app, 20, prefix="2", age=600)
    before = columns(*lost)
    report = run(workers=2)
    assert (counts(report), report.exit_code) == ((40, 20, 0, 0, 20), 2)
    assert fingerprint(LOST) in " ".join(report.applications["ok"].notes)
    assert columns(*lost) == before
    assert {row(token).generation for token in good} == {1}


@pytest.mark.parametrize("age", [1, 3000], ids=["newest", "oldest"])
@pytest.mark.parametrize("reason", ["", "mass_revocation"], ids=["outage", "valve"])
def test_a_row_with_a_lost_key_does_not_keep_an_application_from_being_probed(
    network, keys, ok_app, age, reason
):
    network.on("/ok/token", TokenEndpoint())
    ApplicationHealth.objects.create(credentials=ok_app, failures=12, reason=reason)
    keys(LOST)
    store_due(ok_app, 1, prefix="1", age=age)
    keys(KEY)
    good = store_due(ok_app, 20, prefix="2", age=600)
    run()
    assert {row(token).generation for token in good} == {1}
    assert ApplicationHealth.objects.get().failures == 0


def test_the_lost_key_of_one_applications_secret_is_no_matter_of_others(network, keys, ok_app, mailru_app):
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    tokens = store_due(ok_app, 5)
    store_due(mailru_app, 5)
    keys(LOST)
    ok_app.client_secret = "changed"
    ok_app.save()
    keys(KEY)
    before = columns(*tokens)
    report = run()
    assert report.exit_code == 2
    assert counts(report, "mailru") == (5, 5, 0, 0, 0)
    assert counts(report, "ok") == (5, 0, 0, 0, 5)
    assert fingerprint(LOST) in " ".join(report.applications["ok"].notes)
    assert network.calls_to("/ok/token") == []
    assert columns(*tokens) == before


def test_malformed_keys_are_a_matter_of_configuration(network, settings, ok_app):
    store_due(ok_app, 5)
    before = columns()
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["short"]
    report = run()
    assert (counts(report), report.exit_code) == ((5, 0, 0, 0, 5), 2)
    assert columns() == before


def damaged(token, other):
    text = token.refresh_token.ciphertext
    yield "tampered", text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]
    yield "moved", other.refresh_token.ciphertext
    yield "cut", text[:40]
    yield "plain", f"refresh-{token.uid}-0"
    yield "no base64", text[:12] + "!!!"


@pytest.mark.parametrize("how", ["tampered", "moved", "cut", "plain", "no base64"])
def test_a_damaged_secret_is_put_aside_for_long_and_the_run_goes_on(network, ok_app, how):
    network.on("/ok/token", TokenEndpoint())
    [token] = store_due(ok_app, prefix="1", age=900)
    good = store_due(ok_app, 3, prefix="2")
    store(token, "refresh_token", dict(damaged(token, good[0]))[how])
    with heard(signals.needs_login) as told:
        report = run()
    assert (counts(report), report.exit_code) == ((4, 3, 0, 1, 0), 1)
    assert report.applications["ok"].reasons == {"undecipherable": 1}
    assert len(network.calls) == 3
    now = row(token)
    assert (now.state, now.reason, now.lease_owner) == ("active", "undecipherable", "")
    assert from_now(now.next_refresh_at) > 3600 * 12
    assert now.refresh_token.ciphertext == dict(damaged(token, good[0]))[how]
    assert told == []
    report = run()
    assert (counts(report), report.exit_code) == ((0, 0, 0, 0, 0), 0)


def test_many_damaged_rows_at_the_head_do_not_block_the_rest(network, ok_app):
    network.on("/ok/token", TokenEndpoint())
    bad = store_due(ok_app, 40, prefix="1", age=900)
    good = store_due(ok_app, 10, prefix="2", age=300)
    for token in bad:
        store(token, "refresh_token", good[0].refresh_token.ciphertext)
    report = run(workers=2)
    assert (counts(report), report.exit_code) == ((50, 10, 0, 40, 0), 1)
    assert not ApplicationHealth.objects.filter(failures__gt=0).exists()


def test_a_damaged_access_token_does_not_matter_to_a_refresh(network, ok_app):
    network.on("/ok/token", TokenEndpoint())
    token, other = store_due(ok_app, 2)
    store(token, "access_token", other.access_token.ciphertext)
    assert counts(run()) == (2, 2, 0, 0, 0)
    assert row(token).access_token == f"access-{token.uid}-1"


def test_many_rows_that_nothing_can_refresh_do_not_block_the_rest(network, ok_app):
    """Neither a refresh token nor a long access token: nobody is asked about them."""
    network.on("/ok/token", TokenEndpoint())
    store_due(ok_app, 20, prefix="1", age=900, refresh_token="")
    good = store_due(ok_app, 40, prefix="2", age=300)
    run(workers=2)
    assert len(network.calls) == 40
    assert {row(token).generation for token in good} == {1}
    assert not ApplicationHealth.objects.filter(failures__gt=0).exists()


def test_an_application_of_a_network_that_was_left_changes_nothing(network, ok_app, mailru_app, settings):
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    tokens = store_due(ok_app, 5)
    store_due(mailru_app, 5)
    before = columns(*tokens)
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    report = run()
    assert report.exit_code == 2
    assert counts(report, "mailru") == (5, 5, 0, 0, 0)
    assert counts(report, "ok") == (5, 0, 0, 0, 5)
    assert "'ok'" in " ".join(report.applications["ok"].notes)
    assert columns(*tokens) == before


# --- others at work ---------------------------------------------------------------------------------------


def meanwhile(change, behaviour):
    """A behaviour during which somebody else changes the database, as a process of its own would."""

    def behave(call):
        try:
            change()
        finally:
            connection.close()
        behaviour(call)

    return behave


ANSWERS = {
    "good": TokenEndpoint(),
    "refused": invalid_grant,
    "out of order": out_of_order,
    "identity changed": answer({"access_token": "theirs", "x_mailru_vid": "666"}),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["token", "user", "application"])
@pytest.mark.parametrize("how", ANSWERS)
def test_what_was_deleted_meanwhile_stays_deleted(network, mailru_app, what, how):
    [token] = store_due(mailru_app)
    gone = {
        "token": UserToken.objects.all(),
        "user": User.objects.all(),
        "application": ProviderCredentials.objects.all(),
    }[what]
    network.on("/mailru/token", meanwhile(gone.delete, ANSWERS[how]))
    with heard(signals.needs_login) as dead, heard(signals.refreshed) as refreshed:
        report = run()
    assert not UserToken.objects.exists()
    assert dead == refreshed == []
    assert counts(report)[:3] == (1, 0, 0)
    assert len(network.calls) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ANSWERS)
def test_what_was_granted_anew_meanwhile_stays(network, mailru_app, how):
    [token] = store_due(mailru_app)

    def grant():
        again = UserToken.objects.get(pk=token.pk)
        new = Token(access_token="granted", refresh_token="granted too", expires_in=86400)
        again.apply(again.changes_by_grant(new, Identity(uid=token.uid), grant_type="authorization_code"))
        again.save()

    network.on("/mailru/token", meanwhile(grant, ANSWERS[how]))
    with heard(signals.needs_login) as dead, heard(signals.refreshed) as refreshed:
        run()
    now = row(token)
    assert (now.access_token, now.refresh_token) == ("granted", "granted too")
    assert (now.state, now.reason, now.failures, now.lease_owner) == ("active", "", 0, "")
    assert from_now(now.next_refresh_at) > 3600
    assert dead == refreshed == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ANSWERS)
def test_what_another_worker_has_refreshed_meanwhile_stays(network, mailru_app, how):
    """This one was frozen past its lease; whatever it brings home is late."""
    [token] = store_due(mailru_app)

    def win():
        winner = UserToken.objects.get(pk=token.pk)
        new = Token(access_token="theirs", refresh_token="their refresh token")
        changes = winner.sealed(winner.changes_by_refresh(new))
        UserToken.objects.filter(pk=token.pk).update(**changes, generation=1)

    network.on("/mailru/token", meanwhile(win, ANSWERS[how]))
    with heard(signals.needs_login) as dead, heard(signals.refreshed) as refreshed:
        report = run()
    now = row(token)
    assert (now.access_token, now.refresh_token) == ("theirs", "their refresh token")
    assert (now.state, now.generation, now.failures) == ("active", 1, 0)
    assert dead == refreshed == []
    assert (counts(report), report.exit_code) in (
        ((1, 0, 0, 0, 1), 0),
        ((1, 0, 0, 0, 1), 1),  # the network was out of order all the same
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["deleted", "refreshed elsewhere"])
def test_what_happened_to_one_token_is_nothing_to_those_that_are_stored_with_it(network, mailru_app, change):
    tokens = store_due(mailru_app, 6)
    endpoint, other = TokenEndpoint(rotates=True), UserToken.objects.filter(pk=tokens[2].pk)

    def happen():
        if change == "deleted":
            other.delete()
        else:
            other.update(generation=7)

    changing = meanwhile(happen, endpoint)
    behaviour = for_tokens(tokens[2].uid, changing, endpoint)
    network.on("/mailru/token", waiting_for_each_other(6, behaviour))
    with heard(signals.refreshed) as told:
        assert counts(run(workers=6)) == (6, 5, 0, 0, 1)
    rest = [token for token in tokens if token != tokens[2]]
    assert sorted(told) == sorted(token.pk for token in rest)
    for token in rest:
        assert row(token).refresh_token == f"refresh-{token.uid}-1"
    assert list(other.values_list("generation", flat=True)) == ([] if change == "deleted" else [7])


def test_each_token_gets_its_own_outcome_when_all_come_at_once(network, mailru_app):
    behaviour = TokenEndpoint(rotates=True)
    outcomes = {"2": invalid_grant, "3": out_of_order, "4": ANSWERS["identity changed"]}
    tokens = {prefix: store_due(mailru_app, prefix=prefix)[0] for prefix in "12345"}
    for prefix, outcome in outcomes.items():
        behaviour = for_tokens(prefix, outcome, behaviour)
    network.on("/mailru/token", waiting_for_each_other(5, behaviour))
    assert counts(run(workers=5)) == (5, 2, 2, 1, 0)
    for prefix in "15":
        assert row(tokens[prefix]).access_token == f"access-{tokens[prefix].uid}-1"
        assert row(tokens[prefix]).refresh_token == f"refresh-{tokens[prefix].uid}-1"
    assert is_dead(tokens["2"], "invalid_grant")
    assert backs_off(tokens["3"], "")
    assert is_dead(tokens["4"], "identity_changed")


@pytest.mark.django_db(transaction=True)
def test_a_lease_that_somebody_else_has_taken_meanwhile_is_not_given_back(network, mailru_app):
    [token] = store_due(mailru_app)
    theirs = {"lease_owner": "somebody else", "lease_until": NOW() + timedelta(seconds=50)}
    network.on(
        "/mailru/token",
        meanwhile(lambda: UserToken.objects.update(**theirs), TokenEndpoint(rotates=True)),
    )
    run()
    now = row(token)
    assert (now.lease_owner, now.lease_until) == tuple(theirs.values())
    assert (now.generation, now.access_token) == (0, f"access-{token.uid}-0")


def test_what_somebody_else_is_refreshing_is_left_to_them(network, ok_app):
    network.on("/ok/token", TokenEndpoint())
    leased = store_due(
        ok_app, 3, prefix="1", lease_owner="elsewhere:1:abc", lease_until=NOW() + timedelta(seconds=50)
    )
    store_due(ok_app, 3, prefix="2")
    before = columns(*leased)
    report = run()
    assert (counts(report), report.exit_code) == ((6, 3, 0, 0, 3), 0)
    assert len(network.calls) == 3
    assert columns(*leased) == before


@pytest.mark.parametrize(
    ("behaviour", "state", "reason"),
    [
        (TokenEndpoint(rotates=True), "active", ""),
        (invalid_grant, "needs_login", "ambiguous_rotation"),
        (out_of_order, "active", "outcome_unknown"),
    ],
)
def test_what_a_worker_has_left_behind_is_taken_up_and_its_doubt_kept(
    network, mailru_app, behaviour, state, reason
):
    network.on("/mailru/token", behaviour)
    [token] = store_due(
        mailru_app, lease_owner="elsewhere:1:abc", lease_until=NOW() - timedelta(milliseconds=50)
    )
    report = run()
    assert counts(report)[0] == 1
    assert counts(report)[4] == 0
    assert len(network.calls) == 1
    assert (row(token).state, row(token).reason, row(token).lease_owner) == (state, reason, "")


# --- clocks -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[-600, 600], ids=["slow", "fast"])
def host_clock(request, monkeypatch):
    """This host's clock is ten minutes off."""
    now, seconds = time.time, request.param
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(timezone, "now", lambda: NOW() + timedelta(seconds=seconds))
    return seconds


def test_a_clock_that_is_off_neither_hurries_nor_starves_anybody(network, host_clock, mailru_app):
    endpoint = TokenEndpoint(rotates=True)
    network.on("/mailru/token", endpoint)
    due = store_due(mailru_app, 3, prefix="1", age=30)
    store_due(mailru_app, 3, prefix="2", age=-30)
    store_due(mailru_app, 3, prefix="3", lease_owner="x", lease_until=NOW() + timedelta(seconds=30))
    store_due(mailru_app, 1, prefix="4", lease_owner="x", lease_until=NOW() - timedelta(seconds=1))
    report = run()
    assert (counts(report), report.exit_code) == ((7, 4, 0, 0, 3), 0)
    assert sorted(token.split("-")[1][0] for token in endpoint.order) == ["1", "1", "1", "4"]
    for token in due:
        assert abs(from_now(row(token).expires_at) - 1800) < 60
        assert abs(from_now(row(token).next_refresh_at) - (1800 - 120)) < 60
        assert abs(from_now(row(token).refreshed_at)) < 60
    assert counts(run(within=60))[1] == 3
    assert max(endpoint.presented.values()) == 1


def test_a_clock_that_is_off_changes_no_waits_and_no_pauses(network, host_clock, ok_app):
    network.on("/ok/token", one_after_the_other(out_of_order, answer({}, status=429)))
    first, second = store_due(ok_app, 2)
    run(workers=1)
    assert backs_off(first, reason="")
    assert counts(run())[1:] == (0, 0, 0, 1)
    assert 0 < end_pauses()["ok"] <= 30
    network.on("/ok/token", TokenEndpoint())
    assert counts(run()) == (1, 1, 0, 0, 0)
    assert row(second).generation == 1


def test_a_clock_that_is_off_does_not_end_a_refresh_token(network, host_clock, ok_app):
    network.on("/ok/token", invalid_grant)
    [over] = store_due(ok_app, prefix="1", refresh_expires_at=NOW() - timedelta(seconds=30))
    [good] = store_due(ok_app, prefix="2", refresh_expires_at=NOW() + timedelta(seconds=60))
    assert counts(run()) == (2, 0, 2, 0, 0)
    assert is_dead(over, "refresh_expired")
    assert is_dead(good, "invalid_grant")
