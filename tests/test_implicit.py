"""The implicit grant over HTTP: a page that knows nothing, and a posted fragment that proves nothing."""

import hashlib
import logging
import re
import sys
from datetime import timedelta
from functools import partial
from urllib.parse import parse_qsl, urlencode

import django
import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.signals import got_request_exception
from django.db import connection, connections
from django.template import RequestContext, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.views.debug import ExceptionReporter
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from django_socialgrants.models import ProviderCredentials, UsedState, UserToken
from django_socialgrants.sandbox.applications import load
from django_socialgrants.sandbox.models import Application
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.tokens import grant_implicitly
from tests.conftest import MAILRU_UID, OK_UID, mailru_profile, mailru_token, ok_profile
from tests.fakes import FakeOK
from tests.journey import (
    assert_headers,
    callback_url,
    query_of,
    refused,
    session_of,
    token_of,
    user_of,
    with_cookie_of,
)
from tests.journey import start as start_code
from tests.network import answer
from tests.test_races import together

NETWORKS = ["ok", "mailru"]
FORM = "application/x-www-form-urlencoded"
TOKEN = "a-token-from-the-fragment"
SESSION_SECRET = "a-session-secret-from-the-fragment"
REFRESH_TOKEN = "a-refresh-token-from-the-fragment"
FRAGMENT = {
    "ok": {
        "access_token": TOKEN,
        "session_secret_key": SESSION_SECRET,
        "permissions_granted": "VALUABLE_ACCESS;GET_EMAIL",
        "expires_in": "1800",
    },
    "mailru": {
        "access_token": TOKEN,
        "refresh_token": REFRESH_TOKEN,
        "token_type": "bearer",
        "expires_in": "86400",
        "x_mailru_vid": MAILRU_UID,
    },
}
UID = {"ok": OK_UID, "mailru": MAILRU_UID}
DEAD_SESSION = {
    "ok": {"error_code": 103, "error_msg": "PARAM_SESSION_KEY : Invalid session key"},
    "mailru": {"error": {"error_code": 102, "error_msg": "User authorization failed"}},
}
BAD_SIGNATURE = {
    "ok": {"error_code": 104, "error_msg": "PARAM_SIGNATURE : Invalid signature"},
    "mailru": {"error": {"error_code": 104, "error_msg": "Invalid signature"}},
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(network, ok_app, mailru_app):
    """Both networks in good health, and a site that offers the implicit flow for them."""
    ProviderCredentials.objects.update(implicit_enabled=True)
    return network


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", password="x")


def start_url(name="ok"):
    return reverse("socialgrants:implicit", args=[name])


def back_url(name="ok"):
    return reverse("socialgrants:implicit_callback", args=[name])


def start(client, name="ok", **fields):
    return query_of(client.post(start_url(name), fields))["state"]


def fragment(state, name="ok", **changes):
    """What the network puts behind the `#`; a change to None leaves a parameter out."""
    values = FRAGMENT[name] | {"state": state} | changes
    return {parameter: value for parameter, value in values.items() if value is not None}


def post(client, fields, name="ok", **extra):
    """Post a fragment (its parameters, or the bytes of a body) as the script does."""
    body = fields if isinstance(fields, bytes) else urlencode(fields, doseq=True).encode()
    return client.generic("POST", back_url(name), body, **{"content_type": FORM} | extra)


def log_in(client, name="ok", **changes):
    response = post(client, fragment(start(client, name), name, **changes), name)
    assert response.status_code == 302, response.content.decode()
    return response


def rejected(client, network, fields, status, reason, name="ok", *, calls=0):
    """Post a fragment that must be refused, and not a word of it may be in the answer."""
    response = refused(client, network, status, reason, lambda: post(client, fields, name), calls=calls)
    body = response.content.decode()
    values = [
        value for values in fields.values() for value in ([values] if isinstance(values, str) else values)
    ]
    assert [value for value in values if len(value) > 8 and value in body] == []  # a reference has 8 digits
    return response


def stored():
    return UserToken.objects.get()


def without(*names):
    return [path for path in site_settings.MIDDLEWARE if not path.endswith(names)]


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


# --- off unless it is switched on --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("url", [start_url, back_url])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_application_does_not_offer_it_unless_it_says_so(
    client, network, ok_app, mailru_app, name, url, method
):
    refused(client, network, 404, "not_found", lambda: getattr(client, method)(url(name), content_type=FORM))
    assert not Session.objects.exists()


@pytest.mark.parametrize("name", NETWORKS)
def test_switching_it_off_stops_who_is_under_way_and_the_code_flow_goes_on(client, site, name):
    state = start(client, name)
    ProviderCredentials.objects.update(implicit_enabled=False)
    rejected(client, site, fragment(state, name), 404, "not_found", name)
    assert start_code(client, name)


def test_a_network_without_it_does_not_offer_it(client, site, monkeypatch):
    monkeypatch.setattr(FakeOK, "response_types", ("code",))
    for url in (start_url(), back_url()):
        refused(client, site, 404, "not_found", lambda url=url: client.get(url))
    assert client.get(start_url("mailru")).status_code == 200


@pytest.mark.parametrize("flow", ["code", "implicit"])
def test_a_button_leads_to_the_start_of_its_flow(site, flow):
    request = RequestFactory().get("/")
    template = Template(f'{{% load socialgrants %}}{{% login_button "ok" flow="{flow}" %}}')
    html = template.render(RequestContext(request))
    assert f'action="{reverse(f"socialgrants:{flow}", args=["ok"])}"' in html
    ProviderCredentials.objects.update(implicit_enabled=False)
    assert bool(template.render(RequestContext(request)).strip()) is (flow == "code")


# --- the start ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scope"), [("ok", "VALUABLE_ACCESS;GET_EMAIL"), ("mailru", "photos stream")]
)
@pytest.mark.parametrize("pkce", [False, True])
def test_a_start_asks_for_a_token(client, site, monkeypatch, name, scope, pkce):
    monkeypatch.setattr("django_socialgrants.oauth.provider.Provider.pkce", pkce)
    response = client.post(start_url(name))
    assert response["Location"].startswith(f"{site.url}/{name}/authorize?")
    query = query_of(response)
    assert len(query.pop("state")) == 43
    assert query == {
        "response_type": "token",
        "client_id": ProviderCredentials.objects.named(name).client_id,
        "redirect_uri": f"http://testserver{back_url(name)}",
        "scope": scope,
    }
    assert site.calls == []


def test_the_page_of_a_start_posts_to_it(client, site):
    html = client.get(start_url(), {"next": "/me/"}).content.decode()
    assert f'method="post" action="{start_url()}"' in html
    assert 'name="next" value="/me/"' in html


# --- the page ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("slash", ["/", ""])
@pytest.mark.parametrize("login_required", [False, True])
def test_the_page_has_one_script_and_needs_neither_login_nor_slash(
    client, site, settings, name, slash, login_required
):
    if login_required:
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]
    for url in (back_url(name), callback_url(name)):
        response = client.get(url.removesuffix("/") + slash)
        assert response.status_code == 200
        assert_headers(response)
        html = response.content.decode()
        assert re.findall(r"<script[^>]*>.*?</script>", html, re.S) == [
            '<script src="/static/socialgrants/fragment.js"></script>'
        ]
        assert not re.search(r"<style|\s(style|on\w+)=|javascript:", html)
        assert "switch on JavaScript" in re.search(r"<noscript>(.*?)</noscript>", html, re.S)[1]
    assert not Session.objects.exists()


def test_a_base_of_the_sites_own_needs_a_block_for_the_content_only(client, site, settings, tmp_path):
    (tmp_path / "socialgrants").mkdir()
    (tmp_path / "socialgrants/base.html").write_text("<body>{% block content %}{% endblock %}</body>")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    page = client.get(back_url()).content.decode()
    assert page.index("socialgrants/fragment.js") < page.index("<form")
    assert 'http-equiv="refresh"' in client.get(callback_url(), {"code": "c", "state": "s"}).content.decode()


def test_the_page_says_nothing_of_its_query_and_uses_up_no_state(client, site):
    state = start(client)
    response = client.get(
        back_url(), {"error": "access_denied", "state": state, "error_description": "<b>why"}
    )
    assert response.status_code == 200
    assert [word for word in (state, "access_denied", "why") if word in response.content.decode()] == []
    assert post(client, fragment(state)).status_code == 302


@pytest.mark.parametrize("value", [TOKEN, ""])
def test_a_token_in_the_query_is_refused_and_uses_up_no_state(client, site, value):
    state = start(client)
    body = urlencode(fragment(state))
    for parameter in ("access_token", "refresh_token", "session_key", "session_secret_key"):
        url = f"{back_url()}?{urlencode({parameter: value, 'state': state})}"
        for ask in (partial(client.get, url), partial(client.post, url, body, content_type=FORM)):
            refused(client, site, 400, "malformed_callback", ask)
    assert not UsedState.objects.exists()
    assert post(client, fragment(state)).status_code == 302


@pytest.mark.parametrize("query", ["x" * 9000, "a=1&" * 1500])
def test_a_query_that_is_too_large_is_refused(client, site, query):
    refused(client, site, 400, "malformed_callback", lambda: client.get(back_url(), QUERY_STRING=query))


# --- methods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_405_and_use_up_no_state(client, site, method):
    state = start(client)
    for url in (start_url(), back_url()):
        response = client.generic(method, url, urlencode(fragment(state)), FORM)
        assert response.status_code == 405
        assert set(response["Allow"].split(", ")) == {"GET", "POST"}
        assert_headers(response)
    assert site.calls == []
    assert not UsedState.objects.exists()
    assert post(client, fragment(state)).status_code == 302


# --- CSRF --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["with-middleware", "without-middleware"])
def any_csrf(request, settings):
    if request.param == "without-middleware":
        settings.MIDDLEWARE = without("CsrfViewMiddleware")


def csrf_token(client, url):
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(url).content.decode())[1]


def started(client, name="ok"):
    """A start of somebody who is held to CSRF."""
    fields = {"csrfmiddlewaretoken": csrf_token(client, start_url(name))}
    return query_of(client.post(start_url(name), fields))["state"]


@pytest.mark.parametrize("token", [None, "", "x" * 64])
@pytest.mark.parametrize("origin", [None, "http://testserver"])
def test_a_fragment_without_csrf_token_is_refused(browser_client, site, any_csrf, token, origin):
    state = started(browser_client)
    headers = {"Origin": origin} if origin else {}
    response = post(browser_client, fragment(state, csrfmiddlewaretoken=token), headers=headers)
    assert response.status_code == 403
    assert_headers(response)
    assert site.calls == []
    assert not UsedState.objects.exists()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://testserver"])
def test_a_fragment_from_another_origin_is_refused(browser_client, site, any_csrf, origin):
    state = started(browser_client)
    fields = fragment(state, csrfmiddlewaretoken=csrf_token(browser_client, back_url()))
    response = post(browser_client, fields, headers={"Origin": origin})
    assert response.status_code == 403
    assert_headers(response)
    assert not UsedState.objects.exists()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fragment_with_the_token_of_its_page_is_taken(browser_client, site, any_csrf, name):
    state = started(browser_client, name)
    fields = fragment(state, name, csrfmiddlewaretoken=csrf_token(browser_client, back_url(name)))
    response = post(browser_client, fields, name, headers={"Origin": "http://testserver"})
    assert response.status_code == 302
    assert user_of(browser_client)


# --- the answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, text/html;q=0.5", True),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/html, application/json;q=0.9", False),
        ("image/png", False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_a_script_is_told_where_to_go_on_and_everybody_else_is_sent_there(client, site, accept, is_json):
    headers = {} if accept is None else {"Accept": accept}
    response = post(client, fragment(start(client, next="/me/?a=1")), headers=headers)
    assert_headers(response)
    assert user_of(client) == str(User.objects.get().pk)
    if is_json:
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")
        assert response.json() == {"location": "/me/?a=1"}
    else:
        assert (response.status_code, response["Location"], response.content) == (302, "/me/?a=1", b"")


@pytest.mark.parametrize("evil", ["//evil.example", "https://evil.example/", "javascript:alert(1)"])
def test_a_script_is_never_told_to_leave_this_site(client, site, evil):
    headers = {"Accept": "application/json"}
    response = post(client, fragment(start(client, next=evil)), headers=headers)
    assert response.json() == {"location": "/"}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_refusal_is_a_page_for_scripts_too(client, site, name, accept):
    ask = partial(post, client, fragment("forged", name), name, headers={"Accept": accept})
    response = refused(client, site, 400, "unknown_state", ask)
    assert response["Content-Type"] == "text/html; charset=utf-8"


# --- the body ----------------------------------------------------------------------------------------------------


def padded(state, size):
    body = urlencode(fragment(state, padding=""))
    return body.replace("padding=", "padding=" + "x" * (size - len(body))).encode()


def test_a_body_of_8_KiB_is_read(client, site):
    assert post(client, padded(start(client), 8192)).status_code == 302


class Unreadable:
    """A body that nobody is meant to read."""

    def read(self, *args):
        raise AssertionError("the body was read")

    readline = read


@pytest.mark.parametrize("content_type", [FORM, "application/json", "multipart/form-data; boundary=x"])
def test_a_body_that_says_to_be_larger_is_refused_unread(client, site, content_type):
    state = start(client)
    environ = {"wsgi.input": Unreadable(), "CONTENT_TYPE": content_type}
    for length in ("8193", str(3 * 2**20), str(2**70), "-1", "8e3", "1 ", "²", "0x10", "9" * 5000):
        ask = partial(client.post, back_url(), CONTENT_LENGTH=length, **environ)
        refused(client, site, 400, "malformed_callback", ask)
    assert not UsedState.objects.exists()
    assert post(client, fragment(state)).status_code == 302


@pytest.mark.parametrize("size", [8193, 3 * 2**20])
@pytest.mark.parametrize("enforce", [False, True])
def test_a_body_that_is_larger_is_refused(site, size, enforce):
    client = Client(enforce_csrf_checks=enforce)
    body = padded(started(client), size)
    refused(client, site, 400, "malformed_callback", lambda: post(client, body))


ODD_BODIES = {
    "multipart": (
        "multipart/form-data; boundary=x",
        '--x\r\nContent-Disposition: form-data; name="state"\r\n',
    ),
    "multipart-without-boundary": ("multipart/form-data", "--x"),
    "multipart-broken": ("multipart/form-data; boundary=x", "--y"),
    "json": ("application/json", '{"access_token": "t"}'),
    "text": ("text/plain", "access_token=t"),
    "nothing": ("", "access_token=t"),
    "nearly": ("application/x-www-form-urlencoded2", "access_token=t"),
    "other-charset": (f"{FORM}; charset=utf-16", "access_token=t"),
    "unknown-charset": (f"{FORM}; charset=nonsense", "access_token=t"),
    "many-fields": (FORM, "a&" * 2000),
    "empty": (FORM, ""),
}


@pytest.mark.parametrize(("content_type", "body"), ODD_BODIES.values(), ids=ODD_BODIES)
@pytest.mark.parametrize("debug", [False, True])
def test_any_other_body_is_refused_and_uses_up_no_state(
    browser_client, site, settings, content_type, body, debug
):
    settings.DEBUG = debug
    state = started(browser_client)
    headers = {"X-CSRFToken": csrf_token(browser_client, back_url())}
    ask = partial(post, browser_client, body.encode(), content_type=content_type, headers=headers)
    refused(browser_client, site, 400, "malformed_callback", ask)
    assert not UsedState.objects.exists()
    assert post(browser_client, fragment(state), headers=headers).status_code == 302


def test_a_multipart_fragment_will_do(client, site):
    assert client.post(back_url(), fragment(start(client))).status_code == 302


class Broken:
    """A body whose sender goes away."""

    def read(self, *args):
        raise OSError("connection reset")

    readline = read


@pytest.mark.parametrize("csrf_in", ["body", "header"])
def test_a_body_that_breaks_off_is_refused(browser_client, site, csrf_in):
    browser_client.raise_request_exception = False
    state = started(browser_client)
    headers = {"X-CSRFToken": csrf_token(browser_client, back_url())}
    environ = {"CONTENT_LENGTH": "100", "wsgi.input": Broken(), "CONTENT_TYPE": FORM}
    sent = headers if csrf_in == "header" else {}
    response = browser_client.post(back_url(), headers=sent, **environ)
    assert response.status_code == 400
    assert_headers(response)
    assert post(browser_client, fragment(state), headers=headers).status_code == 302


# --- what a fragment may say -------------------------------------------------------------------------------------

MALFORMED = {
    "neither": {"access_token": None},
    "both": {"error": "access_denied"},
    "empty-token": {"access_token": ""},
    "empty-error": {"access_token": None, "error": ""},
    "doubled-token": {"access_token": [TOKEN, "another-token"]},
    "same-token-doubled": {"access_token": [TOKEN, TOKEN]},
    "doubled-error": {"access_token": None, "error": ["access_denied", "access_denied"]},
    "doubled-refresh-token": {"refresh_token": ["refresh-one", "refresh-two"]},
    "doubled-session-secret": {"session_secret_key": ["secret-one", "secret-two"]},
    "doubled-expiry": {"expires_in": ["1800", "3600"]},
    "doubled-scope": {"permissions_granted": ["GET_EMAIL", "VALUABLE_ACCESS"]},
    "doubled-uid": {"x_mailru_vid": [MAILRU_UID, "12345"]},
    "nul-in-token": {"access_token": "token\0"},
    "nul-elsewhere": {"other": "a\0b"},
    "nul-in-refresh-token": {"refresh_token": "\0"},
    "newline-in-token": {"access_token": "token\r\nX: two"},
    "not-ascii": {"access_token": "токен"},
    "not-utf-8": {"access_token": b"token\xff"},
    "long-token": {"access_token": "x" * 4097},
    "newline-in-session-secret": {"session_secret_key": "secret\nsecret"},
    "code-instead": {"access_token": None, "code": "code-1234"},
}
MALFORMED_FOR_ONE = {
    "mailru-uid": ("mailru", {"x_mailru_vid": "somebody"}),
    "mailru-long-uid": ("mailru", {"x_mailru_vid": "1" * 33}),
    "mailru-refresh-token": ("mailru", {"refresh_token": "token\n"}),
}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *(
            pytest.param(name, changes, id=f"{name}-{flaw}")
            for flaw, changes in MALFORMED.items()
            for name in NETWORKS
            if flaw != "newline-in-session-secret" or name == "ok"
        ),
        *(pytest.param(*values, id=flaw) for flaw, values in MALFORMED_FOR_ONE.items()),
    ],
)
def test_a_malformed_fragment_is_refused_and_its_state_is_burnt(client, site, name, changes):
    state = start(client, name)
    fields = {
        parameter: value.decode("latin-1") if isinstance(value, bytes) else value
        for parameter, value in fragment(state, name, **changes).items()
    }
    rejected(client, site, fields, 400, "malformed_callback", name)
    rejected(client, site, fragment(state, name), 400, "unknown_state", name)


@pytest.mark.parametrize("states", [["STATE", "STATE"], ["STATE", "forged"], ["forged", "STATE"]])
def test_a_doubled_state_is_refused_and_burnt(client, site, states):
    state = start(client)
    doubled = [state if one == "STATE" else one for one in states]
    rejected(client, site, fragment(doubled), 400, "malformed_callback")
    rejected(client, site, fragment(state), 400, "unknown_state")


def test_a_fragment_without_state_is_refused(client, site):
    state = start(client)
    rejected(client, site, fragment(None), 400, "malformed_callback")
    rejected(client, site, fragment(""), 400, "unknown_state")
    rejected(client, site, fragment("я\0"), 400, "unknown_state")
    assert post(client, fragment(state)).status_code == 302


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        ("access_denied", 200, "cancelled"),
        ("invalid_client", 400, "authorization_error"),
        ("<script>alert(1)</script>", 400, "authorization_error"),
    ],
)
def test_an_error_in_a_fragment_is_told_in_our_words(client, site, name, error, status, reason):
    state = start(client, name)
    fields = {"error": error, "state": state, "error_description": "somebody wrote this"}
    response = rejected(client, site, fields, status, reason, name)
    assert f'href="{start_url(name)}"' in response.content.decode()
    rejected(client, site, fragment(state, name), 400, "unknown_state", name)


def test_nobody_cancels_what_was_not_started(client, site):
    start(client)
    rejected(client, site, {"error": "access_denied", "state": "forged"}, 400, "unknown_state")


# --- who it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_proven_token_logs_its_owner_in(client, site, name):
    site.on("/mailru/token", answer({"error": "invalid_grant"}, status=400))
    assert log_in(client, name)["Location"] == "/"
    token = stored()
    assert (token.credentials.name, token.uid, token.grant_type) == (name, UID[name], "implicit")
    assert token.access_token.reveal() == TOKEN
    assert user_of(client) == str(token.user.pk)
    log_in(Client(), name)
    assert User.objects.count() == 1


def test_the_call_that_proves_it_is_signed_with_our_secret_and_repeats_nothing_but_the_token(client, site):
    """Signatures are written out here, as the networks compute them."""
    log_in(client, "ok", uid=OK_UID)
    log_in(client, "mailru", refresh_token=None, uid=MAILRU_UID, uids=MAILRU_UID)
    ok, mailru = (dict(parse_qsl(call.body.decode())) for call in site.calls)

    signed = "application_key=CGEXAMPLEKEYBABABAformat=jsonmethod=users.getCurrentUser"
    assert ok == {
        "application_key": "CGEXAMPLEKEYBABABA",
        "method": "users.getCurrentUser",
        "format": "json",
        "access_token": TOKEN,
        "sig": md5(signed + md5(TOKEN + "ok-client-secret")),
    }
    assert mailru == {
        "app_id": "423004",
        "method": "users.getInfo",
        "secure": "1",
        "session_key": TOKEN,
        "sig": md5(f"app_id=423004method=users.getInfosecure=1session_key={TOKEN}mailru-secret-key"),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_token_that_the_network_does_not_know_logs_nobody_in(client, site, name):
    site.on(f"/{name}/api", answer(DEAD_SESSION[name]))
    rejected(client, site, fragment(start(client, name), name), 400, "invalid_grant", name, calls=1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        (BAD_SIGNATURE, 502, "bad_answer"),
        ({"ok": {"error_code": 10}, "mailru": {"error": {"error_code": 200}}}, 502, "bad_answer"),
        ({"ok": {}, "mailru": []}, 502, "bad_answer"),
        ({"ok": [ok_profile()], "mailru": mailru_profile()}, 502, "bad_answer"),
        ({"ok": ok_profile(uid=True), "mailru": [mailru_profile(uid=None)]}, 502, "bad_answer"),
        ({"ok": ok_profile(uid="1 2"), "mailru": [mailru_profile(uid="")]}, 502, "bad_answer"),
        ({"ok": b"<html>", "mailru": b"<html>"}, 502, "bad_answer"),
    ],
)
def test_a_network_that_names_nobody_logs_nobody_in(client, site, name, behaviour, status, reason):
    site.on(f"/{name}/api", answer(behaviour[name]))
    rejected(client, site, fragment(start(client, name), name), status, reason, name, calls=1)


def test_a_network_that_is_down_logs_nobody_in(client, site):
    site.on("/ok/api", answer({}, status=503))
    response = rejected(client, site, fragment(start(client)), 503, "unavailable", calls=1)
    assert int(response["Retry-After"]) > 0


def test_a_network_that_takes_too_long_logs_nobody_in(client, site, settings):
    settings.SOCIALGRANTS_TIMEOUT = 0.3
    site.on("/ok/api", lambda call: call.drip(b"HTTP/1.1 200 OK\r\n"))
    rejected(client, site, fragment(start(client)), 504, "deadline", calls=1)


@pytest.mark.parametrize(("name", "parameter"), [("mailru", "x_mailru_vid"), ("ok", "uid")])
def test_a_fragment_that_claims_to_be_somebody_else_is_refused(client, site, name, parameter):
    victim = User.objects.create_user("victim")
    token_of(victim, ProviderCredentials.objects.named(name), uid="777")
    fields = fragment(start(client, name), name, **{parameter: "777"})
    rejected(client, site, fields, 502, "bad_answer", name, calls=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_application_without_secret_logs_nobody_in(client, site, name):
    """Nothing can be proven then, as nothing can be signed."""
    ProviderCredentials.objects.update_or_create(name=name, defaults={"client_secret": ""})
    state = start(client, name)
    response = refused(client, site, 502, "bad_answer", lambda: post(client, fragment(state, name), name))
    assert TOKEN not in response.content.decode()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_user_who_may_not_log_in_does_not(client, site, name):
    log_in(Client(), name)
    User.objects.update(is_active=False)
    before = stored().access_token.reveal()
    calls = {"ok": 1, "mailru": 3}[name]
    fields = fragment(start(client, name), name, access_token="another-token")
    rejected(client, site, fields, 403, "inactive_user", name, calls=calls)
    assert stored().access_token.reveal() == before


def test_an_unknown_identity_can_be_refused(client, site, settings):
    settings.SOCIALGRANTS_CREATE_USERS = False
    rejected(client, site, fragment(start(client)), 403, "unknown_identity", calls=1)


def test_who_is_logged_in_connects_an_account(client, site, anna):
    client.force_login(anna)
    assert log_in(client)["Location"] == reverse("socialgrants:connections")
    assert stored().user == anna
    assert user_of(client) == str(anna.pk)


def test_an_account_of_somebody_else_is_not_connected(client, site, anna):
    token_of(User.objects.create_user("boris"), ProviderCredentials.objects.named("ok"), uid=OK_UID)
    client.force_login(anna)
    rejected(client, site, fragment(start(client)), 409, "identity_taken", calls=1)


@pytest.mark.parametrize("logged_in_at_first", [False, True])
def test_who_logs_in_or_out_meanwhile_has_to_start_again(client, site, anna, logged_in_at_first):
    if logged_in_at_first:
        client.force_login(anna)
    state = start(client)
    if logged_in_at_first:
        client.cookies.pop(site_settings.SESSION_COOKIE_NAME)
    else:
        client.force_login(anna)
    rejected(client, site, fragment(state), 403, "user_changed")


# --- somebody else's application ---------------------------------------------------------------------------------


@pytest.fixture
def sandbox(live_server, settings):
    """The networks as the sandbox plays them: they know which token is whose, and check signatures."""
    settings.DEBUG = True
    settings.SOCIALGRANTS_SANDBOX_URL = f"{live_server.url}/sandbox"
    settings.SOCIALGRANTS_PROVIDERS = [
        "django_socialgrants.sandbox.providers.OK",
        "django_socialgrants.sandbox.providers.MailRu",
    ]
    return {application.network: application for application in load(["http://testserver"])}


def other_application(name):
    return Application.objects.create(
        network=name,
        client_id="599",
        client_secret="another secret",
        client_key="CANOTHERBABABA",
        name="Evil",
        implicit_enabled=True,
    )


def granted_by(application, uid, scope="", **changes):
    """The fragment that belongs together: token, session secret and uid of one session of `application`."""
    tokens = grant_implicitly(application, uid, scope)
    values = {
        "access_token": tokens.access.value,
        "session_secret_key": tokens.access.session_secret,
        "expires_in": "1800",
        "refresh_token": tokens.refresh.value if tokens.refresh else None,
    }
    if application.network == "mailru":
        values["x_mailru_vid"] = uid
    return {parameter: value for parameter, value in (values | changes).items() if value}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "with-an-account-here"])
def test_a_token_that_was_granted_to_another_application_logs_nobody_in(client, sandbox, name, known):
    victim = next(iter(PEOPLE[name]))
    other = other_application(name)
    if known:
        own = granted_by(sandbox[name], victim, state=start(client, name))
        assert post(client, own, name).status_code == 302
    before = list(UserToken.objects.values_list()), list(User.objects.values_list())
    visitor = Client()
    stolen = granted_by(other, victim, state=start(visitor, name))
    assert post(visitor, stolen, name).status_code == 400
    assert user_of(visitor) is None
    assert (list(UserToken.objects.values_list()), list(User.objects.values_list())) == before


@pytest.mark.parametrize("name", NETWORKS)
def test_a_token_of_another_application_of_this_site_logs_nobody_in(client, sandbox, name):
    other = other_application(name)
    other.redirect_uris = [f"http://testserver{back_url('second')}"]
    other.save()
    ProviderCredentials.objects.create(
        name="second",
        provider=name,
        client_id=other.client_id,
        client_secret=other.client_secret,
        client_key=other.client_key,
        implicit_enabled=True,
    )
    uid = next(iter(PEOPLE[name]))
    crossed = granted_by(other, uid, state=start(client, name))
    assert post(client, crossed, name).status_code == 400
    assert not User.objects.exists()
    assert post(client, granted_by(other, uid, state=start(client, "second")), "second").status_code == 302
    assert stored().credentials.name == "second"


def test_an_own_token_with_the_refresh_token_of_another_application_brings_no_refresh_token(client, sandbox):
    uid = next(iter(PEOPLE["mailru"]))
    foreign = grant_implicitly(other_application("mailru"), uid, "").refresh.value
    fields = granted_by(sandbox["mailru"], uid, state=start(client, "mailru"), refresh_token=foreign)
    assert post(client, fields, "mailru").status_code == 302
    assert stored().access_token.reveal() == fields["access_token"]
    assert not stored().refresh_token


def test_the_refresh_token_of_another_user_is_not_kept(client, sandbox):
    uid, other, *_ = PEOPLE["mailru"]
    theirs = grant_implicitly(sandbox["mailru"], other, "").refresh.value
    fields = granted_by(sandbox["mailru"], uid, state=start(client, "mailru"), refresh_token=theirs)
    assert post(client, fields, "mailru").status_code == 302
    assert (stored().uid, stored().access_token.reveal()) == (uid, fields["access_token"])
    assert not stored().refresh_token


def test_an_own_refresh_token_is_kept_as_the_network_rotated_it(client, sandbox):
    uid = next(iter(PEOPLE["mailru"]))
    fields = granted_by(sandbox["mailru"], uid, state=start(client, "mailru"))
    assert post(client, fields, "mailru").status_code == 302
    token = stored()
    assert token.uid == uid
    assert token.access_token
    assert token.refresh_token
    assert token.access_token.reveal() != fields["access_token"]
    assert token.refresh_token.reveal() != fields["refresh_token"]


# --- states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_of_the_code_flow_is_refused_and_burnt(client, site, name):
    state = start_code(client, name)
    rejected(client, site, fragment(state, name), 400, "foreign_state", name)
    query = {"code": "code-1234", "state": state}
    refused(client, site, 400, "unknown_state", lambda: client.get(callback_url(name), query))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_of_the_implicit_flow_is_refused_by_the_code_flow_and_burnt(client, site, name):
    state = start(client, name)
    query = {"code": "code-1234", "state": state}
    refused(client, site, 400, "foreign_state", lambda: client.get(callback_url(name), query))
    rejected(client, site, fragment(state, name), 400, "unknown_state", name)


def test_a_state_of_another_application_is_refused(client, site):
    fields = fragment(start(client, "mailru"), "ok")
    rejected(client, site, fields, 400, "foreign_state", "ok")


def test_a_state_of_somebody_else_is_refused_and_stays_theirs(client, site):
    state = start(client)
    rejected(Client(), site, fragment(state), 400, "unknown_state")
    assert post(client, fragment(state)).status_code == 302


def test_an_old_state_is_refused(client, site, settings):
    state = start(client)
    settings.SOCIALGRANTS_STATE_AGE = -1
    rejected(client, site, fragment(state), 400, "stale_state")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", ["db", "signed_cookies"])
def test_a_fragment_works_only_once(client, site, settings, name, engine):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    fields = fragment(start(client, name), name)
    before = with_cookie_of(client)
    assert post(client, fields, name).status_code == 302
    calls = len(site.calls)
    for replay in (client, before, with_cookie_of(before), Client()):
        assert post(replay, fields, name).status_code == 400
    assert len(site.calls) == calls


@pytest.mark.slow
def test_hundreds_of_forged_fragments_leave_nothing_behind(site):
    client = Client()
    for number in range(300):
        assert post(client, fragment(f"forged-{number}")).status_code == 400
    assert site.calls == []
    assert not Session.objects.exists()
    assert not UsedState.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("engine", ["db", "signed_cookies"])
def test_of_parallel_replays_one_logs_in(client, site, settings, engine):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    fields = fragment(start(client))
    windows = [with_cookie_of(client) for _ in range(8)]
    responses = together([partial(post, window, fields) for window in windows])
    assert sorted(response.status_code for response in responses) == [302] + [400] * 7
    assert len(site.calls) == 1
    assert (User.objects.count(), UserToken.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", NETWORKS)
def test_somebody_new_in_many_browsers_at_once_becomes_one_user(site, name):
    jobs = []
    for number in range(6):
        client = Client()
        fields = fragment(start(client, name), name, access_token=f"token-{number}")
        jobs.append(partial(post, client, fields, name))
    assert [response.status_code for response in together(jobs)] == [302] * 6
    assert (User.objects.count(), UserToken.objects.count()) == (1, 1)


# --- what is kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1800", 1800),
        ("0", 0),
        ("0060", 60),
        ("2592000", 2592000),
        (None, None),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("18.5", None),
        (" 60", None),
        ("٣٠", None),
        ("never", None),
        ("9" * 30, None),
        ("9999999999", None),
    ],
)
def test_the_expiry_is_what_the_fragment_says_or_else_what_the_network_is_known_for(
    client, site, name, said, seconds
):
    if seconds is None:
        seconds = {"ok": 30 * 60, "mailru": 24 * 3600}[name]
    before = timezone.now()
    log_in(client, name, expires_in=said, refresh_token=None)
    life = timedelta(seconds=seconds)
    assert before + life <= stored().expires_at <= timezone.now() + life


@pytest.mark.parametrize(
    ("changes", "scope"),
    [
        ({"permissions_granted": "VALUABLE_ACCESS"}, "VALUABLE_ACCESS"),
        ({"permissions_granted": "VALUABLE_ACCESS;GET_EMAIL"}, "VALUABLE_ACCESS GET_EMAIL"),
        ({"permissions_granted": "VALUABLE_ACCESS,GET_EMAIL"}, "VALUABLE_ACCESS GET_EMAIL"),
        ({"permissions_granted": " A; B,, C "}, "A B C"),
        ({"permissions_granted": None, "permission_granted": "GET_EMAIL"}, "GET_EMAIL"),
        ({"permissions_granted": "A", "permission_granted": "B"}, "A"),
        ({"permissions_granted": None, "scope": "GET_EMAIL"}, "GET_EMAIL"),
        ({"permissions_granted": None}, "VALUABLE_ACCESS GET_EMAIL"),
        ({"permissions_granted": ""}, "VALUABLE_ACCESS GET_EMAIL"),
    ],
)
def test_the_scope_is_what_was_granted_or_else_what_was_asked_for(client, site, changes, scope):
    log_in(client, **changes)
    assert stored().scope == scope


def test_the_session_secret_is_kept_encrypted(client, site):
    log_in(client)
    token = stored()
    assert token.session_secret.reveal() == SESSION_SECRET
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_token, session_secret FROM socialgrants_usertoken")
        raw = repr(cursor.fetchall())
    assert TOKEN not in raw
    assert SESSION_SECRET not in raw


def test_another_login_puts_the_new_session_in_place_of_the_old(client, site):
    log_in(client)
    log_in(Client(), access_token="second-token", session_secret_key=None)
    token = stored()
    assert token.access_token.reveal() == "second-token"
    assert not token.session_secret


# --- refresh tokens ----------------------------------------------------------------------------------------------


def api_by_token(**profiles):
    """An API that answers with the profile of the token's owner."""

    def behave(call):
        token = call.params["session_key"]
        found = profiles.get(token.replace("-", "_"))
        answer([found] if found else DEAD_SESSION["mailru"])(call)

    return behave


def test_a_refresh_token_of_the_same_user_is_redeemed_and_what_it_brings_is_kept(client, site):
    log_in(client, "mailru")
    assert [call.path for call in site.calls] == ["/mailru/api", "/mailru/token", "/mailru/api"]
    assert site.calls[1].params == {
        "grant_type": "refresh_token",
        "refresh_token": REFRESH_TOKEN,
        "client_id": "423004",
        "client_secret": "mailru-secret-key",
    }
    token = stored()
    assert token.access_token.reveal() == "mailru-access-token-1"
    assert token.refresh_token.reveal() == "mailru-refresh-token-1"
    assert (token.grant_type, token.scope) == ("implicit", "photos stream")
    assert token.next_refresh_at == token.expires_at - timedelta(seconds=120)


def test_a_refresh_token_that_is_not_rotated_stays(client, site):
    site.on("/mailru/token", answer(mailru_token(refresh_token=None)))
    log_in(client, "mailru")
    assert stored().access_token.reveal() == "mailru-access-token-1"
    assert stored().refresh_token.reveal() == REFRESH_TOKEN


UNKEPT = {
    "refused": answer({"error": "invalid_grant"}, status=400),
    "wrong-client": answer({"error": "invalid_client"}, status=401),
    "5xx": answer({}, status=503),
    "429": answer({}, status=429, headers={"Retry-After": "60"}),
    "nonsense": answer(b"<html>"),
    "no-token": answer({}),
    "redirect": answer({}, status=302, headers={"Location": "http://127.0.0.1:9/"}),
    "token-of-another-user": answer(mailru_token(access_token="theirs", x_mailru_vid="777")),
    "token-of-another-user-who-is-not-named": answer(mailru_token(access_token="theirs", x_mailru_vid=None)),
    "token-of-another-user-named-wrongly": answer(mailru_token(access_token="theirs")),
    "token-that-does-not-work": answer(mailru_token(access_token="dead")),
    "too-late": lambda call: call.drip(b"HTTP/1.1 200 OK\r\n"),
    "cut": lambda call: call.handler.connection.close(),
}


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", UNKEPT.values(), ids=UNKEPT)
def test_any_other_refresh_token_is_not_kept_and_the_login_works(client, site, settings, caplog, behaviour):
    caplog.set_level(logging.DEBUG)
    settings.SOCIALGRANTS_TIMEOUT = 1
    owner, other = mailru_profile(), mailru_profile(uid="777")
    site.on("/mailru/api", api_by_token(**{TOKEN.replace("-", "_"): owner}, theirs=other))
    site.on("/mailru/token", behaviour)
    log_in(client, "mailru")
    token = stored()
    assert (token.uid, token.access_token.reveal()) == (MAILRU_UID, TOKEN)
    assert not token.refresh_token
    assert token.next_refresh_at is None
    assert REFRESH_TOKEN not in caplog.text


def test_a_refresh_token_that_is_stored_already_stays_when_a_fragment_brings_none_of_worth(client, site):
    log_in(client, "mailru")
    site.on("/mailru/token", UNKEPT["refused"])
    log_in(Client(), "mailru")
    assert stored().access_token.reveal() == TOKEN
    assert stored().refresh_token.reveal() == "mailru-refresh-token-1"


def test_a_refresh_token_is_not_even_tried_unless_the_access_token_is_proven(client, site):
    site.on("/mailru/api", answer(DEAD_SESSION["mailru"]))
    fields = fragment(start(client, "mailru"), "mailru")
    rejected(client, site, fields, 400, "invalid_grant", "mailru", calls=1)
    assert site.calls_to("/mailru/token") == []


# --- secrets -----------------------------------------------------------------------------------------------------


ADMINS = ["admin@site.example"] if django.VERSION >= (6, 0) else [("Admin", "admin@site.example")]


def crashing_factory(identity, credentials):
    raise ZeroDivisionError("the site's own mistake")


@pytest.fixture
def reports():
    """What Django's error pages and mails say of whatever crashes, as text and as HTML."""
    made = []

    def report(request, **kwargs):
        reporter = ExceptionReporter(request, *sys.exc_info())
        made.extend([reporter.get_traceback_text(), reporter.get_traceback_html()])

    got_request_exception.connect(report)
    yield made
    got_request_exception.disconnect(report)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("debug", [True, False])
def test_a_site_that_crashes_shows_nothing_of_the_fragment(
    network, site, settings, caplog, reports, name, debug
):
    caplog.set_level(logging.DEBUG)
    settings.SOCIALGRANTS_USER_FACTORY = "tests.test_implicit.crashing_factory"
    settings.DEBUG, settings.ADMINS = debug, ADMINS
    client = Client(raise_request_exception=False)
    state = start(client, name)
    fields = fragment(state, name, session_secret_key=SESSION_SECRET, note="a-note-from-the-fragment")
    response = post(client, fields, name)
    assert response.status_code == 500
    assert ("Traceback" in response.content.decode()) is debug
    assert len(mail.outbox) == (0 if debug else 1)
    assert len(reports) == 2
    places = [response.content.decode(), *reports, caplog.text]
    places += [f"{message.subject}{message.body}{message.alternatives}" for message in mail.outbox]
    places += [repr(record.__dict__) for record in caplog.records]
    secrets = [TOKEN, REFRESH_TOKEN, SESSION_SECRET, state, "a-note-from-the-fragment"]
    assert [secret for secret in secrets for place in places if secret in place] == []
    assert not UserToken.objects.exists()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_login_leaves_nothing_of_the_fragment_behind(client, site, caplog, monkeypatch, name):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(connections["default"], "force_debug_cursor", True)  # logs every query
    state = start(client, name)
    response = post(client, fragment(state, name), name, headers={"Accept": "application/json"})
    assert response.status_code == 200
    request = response.wsgi_request
    places = [caplog.text, *(repr(record.__dict__) for record in caplog.records)]
    places += [response.content.decode(), repr(response.headers), repr(response.cookies)]
    places += [repr(dict(session_of(client))), repr(request.POST), repr(request.META)]
    places += [call.path for call in site.calls]
    secrets = [TOKEN, REFRESH_TOKEN, SESSION_SECRET, state]
    assert [secret for secret in secrets for place in places if secret in place] == []


# --- anything at all ---------------------------------------------------------------------------------------------

KNOWN = ["access_token", "session_secret_key", "permissions_granted", "expires_in", "refresh_token"]
KNOWN += ["token_type", "x_mailru_vid", "uid", "error", "error_description", "code", "session_key", "others"]
VALUES = st.sampled_from([TOKEN, "", MAILRU_UID, OK_UID, "1800", "\0"]) | st.text(max_size=30)
PARAMETERS = st.lists(st.tuples(st.sampled_from(KNOWN) | st.text(max_size=8), VALUES), max_size=6)
FUZZ = examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def choosy(site):
    """Networks that know one token and nothing else."""

    def choose(name, profile):
        def behave(call):
            token = call.params.get("access_token") or call.params.get("session_key")
            answer(profile if token == TOKEN else DEAD_SESSION[name])(call)

        return behave

    site.on("/ok/api", choose("ok", ok_profile()))
    site.on("/mailru/api", choose("mailru", [mailru_profile()]))
    site.on("/mailru/token", answer({"error": "invalid_grant"}, status=400))
    return site


@pytest.mark.slow
@given(name=st.sampled_from(NETWORKS), parameters=PARAMETERS)
@example(name="ok", parameters=[("access_token", TOKEN)])
@example(name="mailru", parameters=[("access_token", TOKEN), ("x_mailru_vid", "1")])
@example(name="ok", parameters=[("session_key", TOKEN), ("access_token", "")])
@example(name="ok", parameters=[("access_token", TOKEN), ("others", "x"), ("params", "y"), ("cls", "z")])
@FUZZ
def test_whatever_a_fragment_says_only_a_proven_token_logs_in(client, choosy, name, parameters):
    client.cookies.clear()
    state = start(client, name)
    response = post(client, [*parameters, ("state", state)], name)
    assert response.status_code in (200, 302, 400, 502)
    assert_headers(response)
    assert (user_of(client) is not None) is (response.status_code == 302)
    if user_of(client) is not None:
        tokens = [value for parameter, value in parameters if parameter in ("access_token", "session_key")]
        assert TOKEN in tokens
    assert not UserToken.objects.exclude(uid=UID[name]).filter(credentials__name=name).exists()


@pytest.mark.slow
@given(raw=st.binary(max_size=60), before=st.booleans())
@example(raw=b"access_token=%ff%fe%00", before=True)
@example(raw=b"&;=;&&access_token&state&%", before=False)
@example(raw=b"access_token=%ED%A0%80", before=False)
@FUZZ
def test_no_raw_body_breaks_anything(client, choosy, raw, before):
    client.cookies.clear()
    own = f"state={start(client)}".encode()
    for body in (raw, raw + b"&" + own if before else own + b"&" + raw):
        response = post(client, body)
        assert response.status_code in (200, 400)
        assert_headers(response)
        assert user_of(client) is None
