"""A login while the network fails, lies or stalls: always a page that says so, never a user.

One answer of each kind is tried here. All that is no answer, no JSON, no token and no user id is in the tests of
the transport and of `oauth`.
"""

import json
import socket
from threading import Timer

import pytest

from django_socialgrants.models import UserToken
from tests.conftest import MAILRU_UID, OK_UID, mailru_profile, mailru_token, ok_profile, ok_token
from tests.fakes import FakeOK
from tests.journey import finish, log_in, refused, start
from tests.network import answer, serving

NAMES = ["ok", "mailru"]
TOKEN = {"ok": ok_token, "mailru": mailru_token}
ENDPOINTS = [(name, endpoint) for name in NAMES for endpoint in ("token", "api")]


@pytest.fixture(autouse=True)
def applications(network, ok_app, mailru_app):
    pass


def fails(client, network, name, endpoint, behaviour, status, reason):
    """A login during which one endpoint misbehaves; it is asked exactly once."""
    network.on(f"/{name}/{endpoint}", behaviour)
    state = start(client, name)
    calls = {"token": 1, "api": 2}[endpoint]
    return refused(client, network, status, reason, lambda: finish(client, state, name), calls=calls)


def profile_answer(name, **changes):
    """What the API says about the token's owner, with `changes`; an Ellipsis leaves out."""
    profile = (ok_profile if name == "ok" else mailru_profile)(**changes)
    profile = {key: value for key, value in profile.items() if value is not ...}
    return answer(profile if name == "ok" else [profile])


# --- no usable HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_no_redirect_is_followed(client, network, name, endpoint):
    with serving() as elsewhere:
        redirect = answer(
            TOKEN[name](), status=307, headers={"Location": f"{elsewhere.url}/{name}/{endpoint}"}
        )
        fails(client, network, name, endpoint, redirect, 502, "bad_answer")
        assert elsewhere.connections == 0


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
@pytest.mark.parametrize(
    ("status", "page", "reason"),
    [
        (500, 502, "bad_answer"),
        (503, 503, "unavailable"),
        (429, 503, "unavailable"),
    ],
)
def test_a_network_out_of_order_is_said_so(client, network, name, endpoint, status, page, reason):
    response = fails(client, network, name, endpoint, answer(b"<h1>Oops</h1>", status=status), page, reason)
    assert ("Retry-After" in response) == (page == 503)


@pytest.mark.parametrize(
    ("wished", "passed_on"), [("7", "7"), ("999999", "3600"), ("soon", "30"), (None, "30")]
)
def test_when_to_come_back_is_passed_on(client, network, wished, passed_on):
    busy = answer(b"", status=429, headers={} if wished is None else {"Retry-After": wished})
    response = fails(client, network, "ok", "token", busy, 503, "unavailable")
    assert response["Retry-After"] == passed_on


def test_a_network_that_cannot_be_reached_is_said_so(client, network, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/token"
    monkeypatch.setattr(FakeOK, "token_endpoints", {"authorization_code": url})
    state = start(client)
    response = refused(client, network, 503, "unavailable", lambda: finish(client, state))
    assert response["Retry-After"] == "30"


def test_a_network_without_https_is_never_called(client, network, monkeypatch, settings):
    state = start(client)
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    refused(client, network, 503, "unavailable", lambda: finish(client, state))


def drip(call):
    call.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ")


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_there_is_one_deadline_for_a_whole_exchange(client, network, settings, name, endpoint):
    settings.SOCIALGRANTS_TIMEOUT = 0.3
    end = Timer(10, network.stop.set)
    end.start()
    response = fails(client, network, name, endpoint, drip, 504, "deadline")
    assert not network.stop.is_set()  # the server was still at it
    assert "Retry-After" not in response
    end.cancel()


def cut_off(call):
    call.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
    call.handler.close_connection = True


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_a_cut_connection_is_not_tried_again(client, network, name, endpoint):
    fails(client, network, name, endpoint, cut_off, 503, "unavailable")


# --- no usable body ---------------------------------------------------------------------------------------

BODIES = {
    "html": "<!doctype html><title>Вход</title>".encode(),
    "doubled-name": b'{"access_token": "t", "access_token": "t", "uid": "1", "uid": "1"}',
    "oversized": b'{"access_token": "t", "uid": "1", "x": "' + b"x" * 300_000 + b'"}',
    "list-of-text": b'["access_token"]',
    "empty-object": b"{}",
}


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_answer_that_nobody_documented_is_refused(client, network, name, endpoint, body):
    fails(client, network, name, endpoint, answer(body), 502, "bad_answer")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ok", [ok_profile()]),
        ("mailru", mailru_profile()),
        ("mailru", [mailru_profile()] * 2),
        ("mailru", [[]]),
    ],
    ids=["list", "object", "two", "list-in-list"],
)
def test_a_profile_in_the_wrong_shape_is_refused(client, network, name, body):
    fails(client, network, name, "api", answer(body), 502, "bad_answer")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["text/html; charset=koi8-r", ""])
def test_json_is_json_whatever_it_is_called(client, network, name, content_type):
    network.on(f"/{name}/token", answer(TOKEN[name](), content_type=content_type))
    profile = ok_profile() if name == "ok" else [mailru_profile()]
    network.on(
        f"/{name}/api", answer(json.dumps(profile, ensure_ascii=False).encode(), content_type=content_type)
    )
    log_in(client, name)
    assert UserToken.objects.get().profile["first_name"] == {"ok": "Иван", "mailru": "Мария"}[name]


# --- errors that the network tells ------------------------------------------------------------------------

SENT = {
    ("ok", "token"): "code-1234 ok-client-secret",
    ("ok", "api"): "ok-access-token-1 CGEXAMPLEKEYBABABA",
    ("mailru", "token"): "code-1234 mailru-secret-key",
    ("mailru", "api"): "mailru-access-token-1",
}
"""Secrets that an endpoint is sent, and so can quote."""


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "body",
    [
        {"error": "server_error", "error_description": "wrong: SENT"},
        {"error": {"error_code": 104, "error_msg": "wrong: SENT"}},
        {"error_code": 104, "error_msg": "wrong: SENT", "error_data": None},
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_an_error_in_the_body_is_an_error_whatever_the_status_says(
    client, network, name, endpoint, status, body
):
    text = json.dumps(ok_profile() | TOKEN[name]() | body).replace("SENT", SENT[name, endpoint])
    fails(client, network, name, endpoint, answer(text.encode(), status=status), 502, "bad_answer")


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_a_good_body_does_not_make_a_bad_status_good(client, network, name, endpoint):
    body = {"token": TOKEN[name](), "api": ok_profile() if name == "ok" else [mailru_profile()]}[endpoint]
    fails(client, network, name, endpoint, answer(body, status=404), 502, "bad_answer")


INVALID_GRANTS = [
    ("ok", {"error": "invalid_grant"}),
    ("ok", {"error": "invalid_token", "error_description": "Invalid structure"}),
    ("ok", {"error": "access_denied"}),
    ("ok", {"error_code": 102, "error_msg": "PARAM_SESSION_EXPIRED"}),
    ("mailru", {"error": "invalid_grant"}),
    ("mailru", {"error": "invalid_grant", "error_description": "code code-1234 is used"}),
    ("mailru", {"error": {"error_code": 102, "error_msg": "authorization failed"}}),
]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("name", "body"), INVALID_GRANTS)
def test_a_code_that_the_network_refuses_means_starting_again(client, network, name, body, status):
    fails(client, network, name, "token", answer(body, status=status), 400, "invalid_grant")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", ["invalid_client", "?"])
def test_any_other_error_of_the_token_endpoint_is_the_networks(client, network, name, error):
    fails(client, network, name, "token", answer({"error": error}, status=400), 502, "bad_answer")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ok", {"error_code": 11, "error_msg": "LIMIT_REACHED"}),
        ("ok", {"error_code": 2, "error_msg": "SERVICE"}),
        ("mailru", {"error": {"error_code": 1, "error_msg": "unknown"}}),
    ],
)
def test_an_api_that_is_busy_or_down_is_unavailable(client, network, name, body):
    response = fails(client, network, name, "api", answer(body), 503, "unavailable")
    assert response["Retry-After"] == "30"


@pytest.mark.parametrize("name", NAMES)
def test_a_token_that_the_api_does_not_know_logs_nobody_in(client, network, name):
    error = {"error_code": 102, "error_msg": "session expired"}
    body = error if name == "ok" else {"error": error}
    fails(client, network, name, "api", answer(body), 502, "bad_answer")


# --- tokens and user ids ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": ""},
        {"access_token": "with\nnewline"},
        {"refresh_token": ["t"]},
    ],
    ids=lambda changes: "{}={!r:.15}".format(*next(iter(changes.items()))),
)
def test_a_token_in_a_form_that_no_network_has_is_refused(client, network, name, changes):
    fails(client, network, name, "token", answer(TOKEN[name](**changes)), 502, "bad_answer")


FORMLESS = {"missing": ..., "true": True, "words": "ivan"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("uid", FORMLESS.values(), ids=FORMLESS)
def test_a_user_id_is_1_to_32_digits_or_nobody(client, network, name, uid):
    network.on("/mailru/token", answer(mailru_token(x_mailru_vid=None)))  # so that only the API names one
    fails(client, network, name, "api", profile_answer(name, uid=uid), 502, "bad_answer")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("uid", "stored"),
    [("007", "007"), (10**31, str(10**31))],
)
def test_a_user_id_is_kept_as_its_digits(client, network, name, uid, stored):
    network.on("/mailru/token", answer(mailru_token(x_mailru_vid=None)))
    network.on(f"/{name}/api", profile_answer(name, uid=uid))
    log_in(client, name)
    assert UserToken.objects.get().uid == stored


@pytest.mark.parametrize("uid", [True, "ivan"])
def test_a_user_id_in_the_token_answer_has_the_same_form(client, network, uid):
    fails(client, network, "mailru", "token", answer(mailru_token(x_mailru_vid=uid)), 502, "bad_answer")


@pytest.mark.parametrize("uid", ["1", f"0{MAILRU_UID}", int(MAILRU_UID) + 1, OK_UID])
def test_token_and_api_have_to_agree_whose_it_is(client, network, uid):
    network.on("/mailru/token", answer(mailru_token(x_mailru_vid=uid)))
    state = start(client, "mailru")
    refused(client, network, 502, "bad_answer", lambda: finish(client, state, "mailru"), calls=2)


@pytest.mark.parametrize("uid", [MAILRU_UID, int(MAILRU_UID), None, ""])
def test_token_and_api_agree_also_when_one_of_them_says_nothing(client, network, uid):
    network.on("/mailru/token", answer(mailru_token(x_mailru_vid=uid)))
    log_in(client, "mailru")
    assert UserToken.objects.get().uid == MAILRU_UID


def test_a_user_id_in_oks_token_answer_proves_nothing(client, network):
    network.on("/ok/token", answer(ok_token(user_id="1", x_mailru_vid="1")))
    log_in(client, "ok")
    assert UserToken.objects.get().uid == OK_UID


# --- afterwards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_when_the_network_has_recovered_one_can_log_in(client, network, name, endpoint):
    good = network.behaviours[f"/{name}/{endpoint}"]
    fails(client, network, name, endpoint, answer(b"", status=503), 503, "unavailable")
    network.on(f"/{name}/{endpoint}", good)
    log_in(client, name)
