"""Failures on purpose: over the test client, and over HTTP where a connection is what fails."""

import json
from datetime import timedelta
from http import HTTPStatus

import pytest
from django.utils import timezone

from django_socialgrants.exceptions import DeadlineExceeded, MalformedResponse, ProviderUnavailable
from django_socialgrants.oauth.grants import RefreshTokenGrant
from django_socialgrants.oauth.values import Credentials
from django_socialgrants.sandbox import failures, providers
from django_socialgrants.sandbox.failures import CALL, EVERYTHING, FAILURES, GRANTS
from django_socialgrants.sandbox.models import AccessToken, RefreshToken, Rehearsal
from django_socialgrants.sandbox.networks import MAILRU, NETWORKS, OK
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.rehearsal import Impossible, begin, end, report
from django_socialgrants.transport.exchange import exchange, send

from .driver import (
    FIRST,
    access_token,
    answer_of,
    ask_token,
    code_form,
    counts,
    dialog_url,
    mailru_call,
    ok_call,
    ok_log_in,
    password_form,
    refresh_form,
)

REQUESTS = ("authorization_code", "refresh_token", "password", CALL)


def new_refresh_token(app):
    return RefreshToken.issue(app, FIRST[app.network], "", app.rules.refresh_lifetime).value


@pytest.fixture
def ask(client, app):
    """Makes a request of the given kind, which would be answered well."""
    session = access_token(app)

    def make(kind):
        if kind == CALL:
            call, method = {
                "ok": (ok_call, "users.getLoggedInUser"),
                "mailru": (mailru_call, "users.getInfo"),
            }[app.network]
            return call(client, app, method, session)
        if kind == "password" and app.network == "ok":
            return ok_log_in(client, app, "avrora", "made-up-avrora")
        form = {
            "authorization_code": lambda: code_form(client, app),
            "refresh_token": lambda: refresh_form(app, new_refresh_token(app)),
            "password": lambda: password_form(app, "glafira@example.org", "made-up-glafira"),
        }[kind]()
        return ask_token(client, app, form)

    return make


def is_well(response):
    try:
        answer = answer_of(response)
    except (ValueError, AttributeError):  # a page, or a stream
        return False
    return response.status_code == 200 and not (isinstance(answer, dict) and "error" in str(answer))


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(
    ("failure", "status"), [("unavailable", 503), ("gateway", 502), ("rate-limit", 429), ("nonsense", 200)]
)
def test_pages_come_instead_of_answers_everywhere(ask, failure, status, kind):
    begin(failure)
    response = ask(kind)
    assert response.status_code == status
    assert response["Content-Type"].startswith("text/html")
    assert "Retry-After" not in response
    assert response["Cache-Control"] == "no-store"
    end()
    assert is_well(ask(kind))


@pytest.mark.parametrize(
    "failure", ["unavailable", "gateway", "rate-limit", "invalid-grant", "invalid-client"]
)
def test_a_request_that_is_turned_away_is_not_carried_out(client, app, failure):
    form = code_form(client, app)
    begin(failure)
    ask_token(client, app, form)
    end()
    assert "access_token" in answer_of(ask_token(client, app, form))


@pytest.mark.parametrize("failure", ["nonsense", "cut", "slow", "no-access-token"])
def test_a_request_whose_answer_is_lost_is_carried_out(client, app, failure, monkeypatch):
    monkeypatch.setattr(failures, "sleep", lambda seconds: None)
    form = code_form(client, app)
    begin(failure)
    ask_token(client, app, form)
    end()
    assert "access_token" not in answer_of(ask_token(client, app, form))
    assert counts() == (1, 1, 1)


def test_a_rate_limit_says_when_to_come_again_if_told_to(ask):
    begin("rate-limit", seconds=30)
    response = ask("refresh_token")
    assert (response.status_code, response["Retry-After"]) == (429, "30")


@pytest.mark.parametrize(("seconds", "slept"), [(None, 20), (3, 3), (120, 120)])
def test_a_slow_network_carries_out_first_and_answers_late(ask, monkeypatch, seconds, slept):
    events = []
    monkeypatch.setattr(failures, "sleep", lambda seconds: events.append((seconds, counts())))
    begin("slow", seconds=seconds)
    before = AccessToken.objects.count()
    assert is_well(ask("refresh_token"))
    assert [event[0] for event in events] == [slept]
    assert events[0][1][1] == before + 1


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_cut_answer_ends_in_the_middle(ask, kind):
    begin("cut")
    response = ask(kind)
    received = bytearray()
    with pytest.raises(ConnectionAbortedError):
        for part in response.streaming_content:
            received += part
    assert received
    with pytest.raises(ValueError):
        json.loads(received)


@pytest.mark.parametrize("kind", sorted(GRANTS))
def test_an_answer_may_lack_its_access_token(ask, kind):
    begin("no-access-token")
    answer = answer_of(ask(kind))
    assert "error" not in answer
    assert not answer.keys() & {"access_token", "session_key"}
    assert "expires_in" in answer or "uid" in answer


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("no-refresh-token", "nothing"),
        ("null-refresh-token", None),
        ("empty-refresh-token", ""),
    ],
)
def test_a_refresh_may_bring_no_refresh_token(ask, failure, told):
    begin(failure)
    answers = [answer_of(ask("refresh_token")) for _twice in range(2)]
    assert [answer.get("refresh_token", "nothing") for answer in answers] == [told, told]
    assert all(answer["access_token"] for answer in answers)
    assert answer_of(ask("authorization_code"))["refresh_token"]


def test_other_identities_are_real_ones(client, mailru_app):
    begin("other-identity")
    answer = answer_of(ask_token(client, mailru_app, code_form(client, mailru_app)))
    assert answer["x_mailru_vid"] != FIRST["mailru"]
    assert answer["x_mailru_vid"] in PEOPLE["mailru"]
    assert AccessToken.objects.get(value=answer["access_token"]).uid == FIRST["mailru"]


@pytest.mark.parametrize("failure", ["no-access-token", "null-refresh-token", "other-identity"])
def test_what_would_be_refused_anyway_is_refused_as_ever(client, mailru_app, failure):
    form = refresh_form(mailru_app, "0" * 32)
    begin(failure)
    assert answer_of(ask_token(client, mailru_app, form)) == {"error": "invalid_grant"}


def test_oks_pages_for_bad_requests_survive_every_edit(client, ok_app):
    begin("no-access-token")
    response = ask_token(client, ok_app, code_form(client, ok_app) | {"code": ""})
    assert (response.status_code, response["Content-Type"][:9]) == (400, "text/html")


def test_a_failure_spares_the_requests_that_it_is_not_for_and_does_not_count_them(ask, app):
    for name, failure in FAILURES.items():
        if app.rules in failure.networks:
            begin(name, [app.rules], count=1)
            for kind in EVERYTHING - failure.occasions:
                assert is_well(ask(kind)), (name, kind)
                assert Rehearsal.objects.get().remaining == 1


def test_every_request_is_of_some_kind_that_failures_know():
    assert {*REQUESTS} == EVERYTHING
    assert all(failure.occasions <= EVERYTHING for failure in FAILURES.values())


def test_the_dialog_and_requests_of_no_grant_are_spared(client, app):
    begin("unavailable", count=1)
    assert client.get(dialog_url(app)).status_code == 200
    assert ask_token(client, app, {}).status_code == 400
    assert Rehearsal.objects.filter(remaining=1).count() == len(NETWORKS)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_grant_that_a_network_does_not_have_is_refused_as_ever(client, ok_app, failure):
    begin(failure)
    form = password_form(ok_app, "avrora", "made-up-avrora")
    assert ask_token(client, ok_app, form).json() == {"error": "unsupported_grant_type"}


def test_after_the_count_all_is_well(ask):
    begin("unavailable", count=2)
    assert [ask("refresh_token").status_code for _four in range(2)] == [503, 503]
    assert is_well(ask("refresh_token"))
    assert Rehearsal.objects.filter(remaining=0).count() == 1


def test_after_the_time_all_is_well(ask):
    begin("unavailable", lasting=timedelta(seconds=60))
    assert ask(CALL).status_code == 503
    Rehearsal.objects.update(until=timezone.now())
    assert is_well(ask(CALL))


def test_without_count_and_time_it_fails_until_it_is_ended(ask):
    begin("gateway")
    assert {ask(CALL).status_code for _many in range(5)} == {502}
    end()
    assert is_well(ask(CALL))


def test_networks_fail_apart(client, ok_app, mailru_app):
    begin("unavailable", [OK])
    begin("gateway", [MAILRU])
    statuses = [ask_token(client, app, refresh_form(app, "x")).status_code for app in (ok_app, mailru_app)]
    assert statuses == [503, 502]
    end([OK])
    statuses = [ask_token(client, app, refresh_form(app, "x")).status_code for app in (ok_app, mailru_app)]
    assert statuses == [200, 502]


def test_a_new_rehearsal_takes_the_place_of_the_old_one(ask):
    begin("unavailable", count=1)
    begin("gateway", count=1)
    assert ask(CALL).status_code == 502
    assert is_well(ask(CALL))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("failure", "networks", "seconds"),
    [
        ("other-identity", [OK], None),
        ("other-identity", list(NETWORKS.values()), None),
        ("slow", [], 121),
        ("rate-limit", [], 86401),
        ("unavailable", [], 5),
    ],
)
def test_what_can_not_be_played_is_refused_and_changes_nothing(failure, networks, seconds):
    begin("gateway", count=7)
    before = list(report())
    with pytest.raises(Impossible, match=failure):
        begin(failure, networks, seconds=seconds)
    assert list(report()) == before


@pytest.mark.django_db
def test_a_failure_of_some_networks_only_is_played_there():
    begin("other-identity")
    assert {rehearsal.network for rehearsal in Rehearsal.objects.all()} == {"mailru", "vkid"}


def test_a_failure_that_is_no_longer_known_is_not_played(ask, app):
    begin("unavailable")
    Rehearsal.objects.update(failure="thunderstorm")
    assert is_well(ask(CALL))


def test_nothing_fails_in_production_for_nothing_is_there(ask, settings):
    begin("unavailable", count=1)
    settings.DEBUG = False
    assert ask("refresh_token").status_code == 404
    assert set(Rehearsal.objects.values_list("remaining", flat=True)) == {1}


# --- over HTTP, with our own transport ---


@pytest.fixture
def served(live_server, settings, app):
    """A provider whose network is a running server, credentials, and a grant."""
    settings.DEBUG = True  # the server has switched it off
    settings.SOCIALGRANTS_SANDBOX_URL = f"{live_server.url}/sandbox"
    provider = {"ok": providers.OK, "mailru": providers.MailRu}[app.network]()
    credentials = Credentials(app.client_id, app.client_secret, app.client_key)
    return provider, provider.token_request(credentials, RefreshTokenGrant(new_refresh_token(app)))


def test_a_cut_connection_is_noticed_at_once(served):
    provider, request = served
    begin("cut", count=1)
    with pytest.raises((MalformedResponse, ProviderUnavailable)) as lost:
        exchange(request, lambda response: provider.parse_token(response.json()))
    assert not isinstance(lost.value, DeadlineExceeded)  # it ends at once
    assert AccessToken.objects.count() == 1
    assert Rehearsal.objects.filter(remaining=0).count() == 1


@pytest.mark.parametrize(
    ("failure", "seconds", "retry_after"),
    [("unavailable", None, None), ("gateway", None, None), ("rate-limit", None, None), ("rate-limit", 7, 7)],
)
def test_an_outage_is_told_as_one(served, failure, seconds, retry_after):
    _provider, request = served
    begin(failure, seconds=seconds, count=1)
    with pytest.raises(ProviderUnavailable) as unavailable:
        send(request)
    assert unavailable.value.retry_after == retry_after
    assert send(request).status == HTTPStatus.OK


@pytest.mark.slow
def test_a_slow_answer_comes_too_late(served, settings):
    settings.SOCIALGRANTS_TIMEOUT = 1
    _provider, request = served
    begin("slow", seconds=2, count=1)
    with pytest.raises(DeadlineExceeded) as late:
        send(request)
    assert late.value.sent
    assert AccessToken.objects.count() == 1
