"""The exchange for native apps: what they send proves nothing but to the network, and no cookie counts."""

import json

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import mail
from django.http import JsonResponse
from django.test import Client
from django.urls import reverse

from django_socialgrants.flows.refusal import REASONS
from django_socialgrants.models import UserToken
from tests.journey import assert_headers, user_of, warnings_logged
from tests.network import answer
from tests.test_ways_in import DEVICE, TOKEN, come_in, vkid  # noqa: F401

APP = "com.example.app://vkid/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
SENT = {"code": "a-code-for-the-app", "redirect_uri": APP, "code_verifier": VERIFIER, "device_id": DEVICE}
URL = "/social/vkid/exchange/"


def respond(request, user, token):
    """What a site would do: a token of its own for the app."""
    return JsonResponse({"user": user.pk, "uid": token.uid, "network": token.network}, status=201)


def break_down(request, user, token):
    raise ZeroDivisionError


@pytest.fixture
def app(vkid, settings):  # noqa: F811
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = f"{__name__}.respond"
    vkid.native_redirect_uris = f"{APP}\nhttps://app.example.com/callback"
    vkid.save()
    return vkid


def send(client=None, url=URL, content_type="application/json", raw=None, **changes):
    """What an app posts; a change to None leaves a field out."""
    sent = {name: value for name, value in (SENT | changes).items() if value is not None}
    body = json.dumps(sent) if raw is None else raw
    return (client or Client(enforce_csrf_checks=True)).post(url, body, content_type=content_type)


def refuses(network, status, error, calls=0, **how):
    users, tokens, asked = User.objects.count(), UserToken.objects.count(), len(network.calls)
    with warnings_logged() as records:
        response = send(**how)
    assert (response.status_code, response.json()["error"]) == (status, error)
    [record] = records
    assert response.json() == {"error": error, "reference": record.reference}
    assert (record.event, record.reason) == ("exchange", error)
    assert REASONS[error][0] == status
    assert not response.cookies
    assert_headers(response)
    assert (User.objects.count(), UserToken.objects.count()) == (users, tokens)
    assert len(network.calls) - asked == calls
    logged = f"{record.getMessage()} {record.__dict__}"
    assert [secret for secret in (SENT["code"], VERIFIER, DEVICE, "vk2.a.") if secret in logged] == []
    return response


def test_an_app_gets_what_the_site_answers_and_no_cookie(app, network):
    response = send()
    token = UserToken.objects.get()
    assert response.status_code == 201
    assert response.json() == {"user": token.user.pk, "uid": "1000000001", "network": "VK ID"}
    assert not response.cookies
    assert not Session.objects.exists()
    assert_headers(response)
    assert (token.refresh_token.reveal(), token.device_id.reveal()) == (TOKEN["refresh_token"], DEVICE)
    params = network.calls_to("/vkid/token")[0].params
    assert len(params.pop("state")) == 43
    assert params == SENT | {"client_id": "51000001", "grant_type": "authorization_code"}


def test_the_scope_that_was_asked_for_counts_where_the_network_names_none(app, network):
    send(scope="email phone")
    assert UserToken.objects.get().scope == "email phone"
    network.on("/vkid/token", answer(TOKEN | {"scope": "email"}))
    send(scope="email phone")
    assert UserToken.objects.get().scope == "email"


def test_an_app_and_a_browser_know_the_same_person(app, network, client):
    send()
    user = UserToken.objects.get().user
    assert send().json()["user"] == user.pk
    come_in(client)
    assert user_of(client) == str(user.pk)


def test_who_is_logged_in_is_taken_no_notice_of(app, network, client):
    anna = User.objects.create_user("anna")
    client.force_login(anna)
    response = send(client)
    assert response.status_code == 201
    assert response.json()["user"] != anna.pk
    assert user_of(client) == str(anna.pk)
    assert not anna.social_tokens.exists()
    assert not response.cookies


# --- what is not there --------------------------------------------------------------------------------------


def test_without_a_function_of_the_site_there_is_no_exchange(app, network, settings):
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = None
    refuses(network, 404, "not_found")


def test_an_application_without_redirect_uris_of_apps_has_no_exchange(app, network):
    app.native_redirect_uris = ""
    app.save()
    refuses(network, 404, "not_found")


def test_a_network_without_pkce_has_no_exchange(app, network, ok_app):
    type(ok_app).objects.update(native_redirect_uris=APP)
    refuses(network, 404, "not_found", url="/social/ok/exchange/")
    refuses(network, 404, "not_found", url="/social/nosuch/exchange/")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"])
def test_other_methods_are_405(app, method):
    response = Client().generic(method, URL)
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert_headers(response)
    assert not [name for name in response.headers if name.startswith("Access-Control")]


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""]
)
def test_what_a_form_of_another_site_could_send_is_refused(app, network, content_type):
    refuses(network, 415, "unsupported_media_type", content_type=content_type)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        None,
        f"{APP}/",
        APP.upper(),
        f"{APP}?x=1",
        f" {APP}",
        f"{APP}\nhttps://app.example.com/callback",
        "https://evil.example/",
        "http://testserver/social/vkid/code/callback/",
    ],
)
def test_a_redirect_uri_is_one_of_the_list_byte_for_byte(app, network, uri):
    refuses(network, 400, "foreign_redirect_uri", redirect_uri=uri)


BROKEN = {
    "no-code": {"code": None},
    "empty-code": {"code": ""},
    "code-of-another-kind": {"code": 7},
    "long-code": {"code": "x" * 2049},
    "no-verifier": {"code_verifier": None},
    "short-verifier": {"code_verifier": "x" * 42},
    "long-verifier": {"code_verifier": "x" * 129},
    "odd-verifier": {"code_verifier": "x" * 43 + "/"},
    "no-device": {"device_id": None},
    "odd-device": {"device_id": ["x"]},
    "long-scope": {"scope": "x" * 1001},
    "no-json": {"raw": "code=c"},
    "list": {"raw": "[]"},
    "number": {"raw": "1"},
    "blank": {"raw": " "},
    "not-utf-8": {"raw": b"\xff\xfe"},
    "deep": {"raw": "[" * 8000},
}


@pytest.mark.parametrize("how", BROKEN.values(), ids=BROKEN)
def test_what_is_malformed_is_refused(app, network, how):
    refuses(network, 400, "malformed_request", **how)


def test_what_is_large_is_refused(app, network):
    refuses(network, 400, "malformed_request", code="x" * 9000)


@pytest.mark.parametrize(
    ("path", "behaviour", "status", "error", "calls"),
    [
        ("token", answer({"error": "invalid_grant"}), 400, "invalid_grant", 1),
        ("token", answer({"error": "server_error"}), 502, "bad_answer", 1),
        ("token", answer(b"{", status=200), 502, "bad_answer", 1),
        ("token", answer(b"", status=503), 503, "unavailable", 1),
        ("identity", answer({"user": {"user_id": "2"}}), 502, "bad_answer", 2),
    ],
)
def test_what_the_network_refuses_is_refused(app, network, path, behaviour, status, error, calls):
    network.on(f"/vkid/{path}", behaviour)
    refuses(network, status, error, calls=calls)


def test_inactive_users_and_strangers_are_refused_as_in_a_browser(app, network, settings):
    settings.SOCIALGRANTS_CREATE_USERS = False
    refuses(network, 403, "unknown_identity", calls=2)
    settings.SOCIALGRANTS_CREATE_USERS = True
    send()
    User.objects.update(is_active=False)
    refuses(network, 403, "inactive_user", calls=2)


def test_a_function_of_the_site_that_breaks_shows_no_secret(app, network, settings):
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = f"{__name__}.break_down"
    settings.DEBUG, settings.ADMINS = True, ["admin@example.com"]
    response = send(Client(raise_request_exception=False))
    assert response.status_code == 500
    shown = response.content.decode() + "".join(str(message.message()) for message in mail.outbox)
    assert [secret for secret in (SENT["code"], VERIFIER, DEVICE, "vk2.a.") if secret in shown] == []


def test_the_url_has_a_name():
    assert reverse("socialgrants:exchange", args=["vkid"]) == URL
