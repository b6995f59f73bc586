"""The views of the authorization code grant: methods, CSRF, headers, callbacks, and where they lead."""

import re
from functools import partial
from urllib.parse import urlsplit

import django
import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from django_socialgrants.models import UsedState, UserToken
from django_socialgrants.oauth.grants import code_challenge
from django_socialgrants.web import callback
from tests.conftest import ok_token
from tests.fakes import FakeOK
from tests.journey import (
    SECRETS,
    assert_headers,
    callback_url,
    disconnect_url,
    finish,
    log_in,
    query_of,
    refused,
    start,
    start_url,
    token_of,
    user_of,
    warnings_logged,
    with_cookie_of,
)
from tests.network import answer

CONNECTIONS = "/social/connections/"
DISCONNECT = "/social/connections/1/disconnect/"
ALLOWED = {
    start_url(): {"GET", "POST"},
    callback_url(): {"GET"},
    CONNECTIONS: {"GET"},
    DISCONNECT: {"POST"},
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", password="x")


@pytest.fixture(params=[False, True], ids=["lenient", "csrf-enforcing"])
def any_client(request):
    return Client(enforce_csrf_checks=request.param)


def without(*names):
    return [path for path in site_settings.MIDDLEWARE if not path.endswith(names)]


def csrf_token(client, url):
    """What a form of ours on the page at `url` sends along."""
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(url).content.decode())[1]


# --- methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ALLOWED)
def test_any_other_method_is_405_and_told_which_are_allowed(any_client, ok_app, anna, url):
    any_client.force_login(anna)
    for method in METHODS:
        if method not in ALLOWED[url]:
            response = any_client.generic(method, url)
            assert response.status_code == 405
            assert set(response["Allow"].split(", ")) == ALLOWED[url]
            assert_headers(response)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "GET"])
def test_another_method_on_a_callback_leaves_the_state_alone(client, any_client, network, ok_app, method):
    state = start(client)
    any_client.cookies = client.cookies
    response = any_client.generic(method, f"{callback_url()}?code=code-1234&state={state}")
    assert response.status_code == 405
    assert network.calls == []
    assert not UsedState.objects.exists()
    assert finish(client, state).status_code == 302


# --- CSRF -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["with-middleware", "without-middleware"])
def any_csrf(request, settings):
    if request.param == "without-middleware":
        settings.MIDDLEWARE = without("CsrfViewMiddleware")


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_a_start_without_csrf_token_is_refused(browser_client, network, ok_app, any_csrf, token):
    browser_client.get(start_url())
    fields = {} if token is None else {"csrfmiddlewaretoken": token}
    refused(browser_client, network, 403, "csrf_failed", lambda: browser_client.post(start_url(), fields))
    assert not Session.objects.exists()


def test_a_start_with_the_token_of_its_page_is_taken(browser_client, network, ok_app, any_csrf):
    token = csrf_token(browser_client, start_url())
    response = browser_client.post(
        start_url(), {"csrfmiddlewaretoken": token}, headers={"Origin": "http://testserver"}
    )
    assert response.status_code == 302


def test_disconnecting_without_csrf_token_is_refused(browser_client, network, ok_app, anna, any_csrf):
    url = disconnect_url(token_of(anna, ok_app))
    browser_client.force_login(anna)
    refused(browser_client, network, 403, "csrf_failed", lambda: browser_client.post(url))


def test_disconnecting_with_the_token_of_the_page_is_taken(browser_client, network, ok_app, anna, any_csrf):
    token = token_of(anna, ok_app)
    browser_client.force_login(anna)
    fields = {"csrfmiddlewaretoken": csrf_token(browser_client, CONNECTIONS)}
    assert browser_client.post(disconnect_url(token), fields).status_code == 302
    assert not UserToken.objects.exists()


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_form_of_another_origin_is_refused(browser_client, network, ok_app, any_csrf, origin):
    fields = {"csrfmiddlewaretoken": csrf_token(browser_client, start_url())}
    send = partial(browser_client.post, start_url(), fields, headers={"Origin": origin})
    refused(browser_client, network, 403, "csrf_failed", send)


# --- headers ----------------------------------------------------------------------------------------------

ANSWERS = {
    "start-page": (200, lambda client, anna, token: client.get(start_url())),
    "start": (302, lambda client, anna, token: client.post(start_url())),
    "start-unknown": (404, lambda client, anna, token: client.post(start_url("nosuch"))),
    "start-page-unknown": (404, lambda client, anna, token: client.get(start_url("nosuch"))),
    "start-405": (405, lambda client, anna, token: client.put(start_url())),
    "csrf": (403, lambda client, anna, token: Client(enforce_csrf_checks=True).post(start_url())),
    "callback": (302, lambda client, anna, token: finish(client, start(client))),
    "callback-cancelled": (
        200,
        lambda client, anna, token: client.get(
            callback_url(), {"state": start(client), "error": "access_denied"}
        ),
    ),
    "callback-bare": (200, lambda client, anna, token: client.get(callback_url())),
    "callback-forged": (400, lambda client, anna, token: finish(client, "forged")),
    "callback-unknown": (404, lambda client, anna, token: finish(client, "forged", "nosuch")),
    "callback-405": (405, lambda client, anna, token: client.head(callback_url())),
    "callback-failed": (502, lambda client, anna, token: finish(client, start(client, "mailru"), "mailru")),
    "connections": (200, lambda client, anna, token: client.force_login(anna) or client.get(CONNECTIONS)),
    "connections-anonymous": (302, lambda client, anna, token: client.get(CONNECTIONS)),
    "connections-405": (405, lambda client, anna, token: client.delete(CONNECTIONS)),
    "disconnect": (
        302,
        lambda client, anna, token: client.force_login(anna) or client.post(disconnect_url(token)),
    ),
    "disconnect-anonymous": (302, lambda client, anna, token: client.post(disconnect_url(token))),
    "disconnect-unknown": (
        404,
        lambda client, anna, token: (
            client.force_login(anna) or client.post("/social/connections/0/disconnect/")
        ),
    ),
    "disconnect-405": (405, lambda client, anna, token: client.get(disconnect_url(token))),
}
BARE = without("SecurityMiddleware", "XFrameOptionsMiddleware", "CsrfViewMiddleware", "CommonMiddleware")
SITES = {
    "default": {},
    "bare": {"MIDDLEWARE": BARE},
    "login-required": {
        "MIDDLEWARE": [*site_settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    },
    "lax": {
        "X_FRAME_OPTIONS": "SAMEORIGIN",
        "SECURE_REFERRER_POLICY": "unsafe-url",
        "SECURE_CONTENT_TYPE_NOSNIFF": False,
    },
}
if django.VERSION >= (6, 0):
    SITES["policy"] = {
        "MIDDLEWARE": ["django.middleware.csp.ContentSecurityPolicyMiddleware", *site_settings.MIDDLEWARE],
        "SECURE_CSP": {"default-src": ["'none'"]},
    }


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
@pytest.mark.parametrize(("status", "ask"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_has_our_headers_whatever_the_site_does(
    client, network, ok_app, mailru_app, anna, settings, site, status, ask
):
    for name, value in site.items():
        setattr(settings, name, value)
    network.on("/mailru/token", answer(b"", status=500))
    response = ask(client, anna, token_of(anna, ok_app))
    assert response.status_code == status
    posts_a_form = ask in (ANSWERS["start-page"][1], ANSWERS["connections"][1])
    assert_headers(response, [network.url] if posts_a_form else None)


def test_a_page_names_the_origins_of_all_networks_its_forms_may_lead_to(
    client, network, ok_app, mailru_app, anna, monkeypatch
):
    monkeypatch.setattr(FakeOK, "authorization_endpoint", "https://connect.example/oauth/authorize")
    client.force_login(anna)
    assert_headers(client.get(CONNECTIONS), [network.url, "https://connect.example"])
    assert_headers(client.get(start_url("ok")), ["https://connect.example"])
    assert_headers(client.get(start_url("mailru")), [network.url])


def test_static_files_of_another_origin_may_be_loaded_and_nothing_else(client, network, ok_app, settings):
    settings.STATIC_URL = "https://static.example/files/"
    policy = client.get(start_url())["Content-Security-Policy"]
    assert "default-src 'self' https://static.example;" in policy


def test_where_a_site_demands_a_login_everywhere_one_can_still_log_in(client, network, ok_app, settings):
    settings.MIDDLEWARE = SITES["login-required"]["MIDDLEWARE"]
    assert client.get("/").status_code == 302
    assert client.get(start_url()).status_code == 200
    log_in(client)
    assert user_of(client) == str(User.objects.get().pk)


# --- the start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scope"), [("ok", "VALUABLE_ACCESS;GET_EMAIL"), ("mailru", "photos stream")]
)
def test_a_start_leads_to_the_network_with_what_it_needs_and_no_secret(
    client, network, ok_app, mailru_app, name, scope
):
    response = client.post(start_url(name))
    assert response["Location"].startswith(f"{network.url}/{name}/authorize?")
    query = query_of(response)
    assert len(query.pop("state")) == 43
    assert query == {
        "response_type": "code",
        "client_id": {"ok": ok_app, "mailru": mailru_app}[name].client_id,
        "redirect_uri": f"http://testserver/social/{name}/code/callback/",
        "scope": scope,
    }
    assert [secret for secret in SECRETS if secret in response["Location"]] == []
    assert network.calls == []


def test_the_page_of_a_start_starts_nothing(client, network, ok_app):
    response = client.get(start_url(), {"next": '/me/?a="<b>'})
    assert response.status_code == 200
    assert 'name="next" value="/me/?a=&quot;&lt;b&gt;"' in response.content.decode()
    assert not Session.objects.exists()


def test_a_request_cannot_choose_what_is_asked_for(client, ok_app):
    forged = {
        "scope": "EVERYTHING",
        "redirect_uri": "https://evil.example/",
        "client_id": "1",
        "state": "chosen",
        "response_type": "token",
        "flow": "implicit",
    }
    expected = query_of(client.post(start_url()))
    query = query_of(client.post(start_url(), forged, query_params=forged))
    assert query.pop("state") not in ("chosen", expected.pop("state"))
    assert query == expected


@pytest.mark.parametrize(
    "fields", [{"x": ["1"] * 1500}, {"next": "/" + "x" * 3_000_000}], ids=["many", "large"]
)
def test_a_form_that_is_none_of_ours_starts_nothing(client, network, ok_app, fields):
    send = partial(client.post, start_url(), fields)
    refused(client, network, 400, "malformed_callback", send)
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    ("method", "url"),
    [("get", start_url("nosuch")), ("post", start_url("nosuch")), ("get", callback_url("nosuch"))],
)
def test_an_unknown_application_is_404(client, network, ok_app, method, url):
    response = refused(client, network, 404, "not_found", lambda: getattr(client, method)(url))
    assert "nosuch" not in response.content.decode()


@pytest.mark.parametrize("send", ["get", "post"])
def test_an_application_of_a_network_that_is_no_longer_listed_is_404(client, network, ok_app, settings, send):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    refused(client, network, 404, "not_found", lambda: getattr(client, send)(start_url()))


def test_an_application_of_a_network_without_this_grant_is_404(client, network, ok_app, monkeypatch):
    monkeypatch.setattr(FakeOK, "token_endpoints", {"password": f"{network.url}/ok/token"})
    refused(client, network, 404, "not_found", lambda: client.post(start_url()))


def test_a_network_with_pkce_gets_a_challenge_and_its_verifier(client, network, ok_app, monkeypatch):
    monkeypatch.setattr(FakeOK, "pkce", True)
    queries = [query_of(client.post(start_url())) for _ in range(2)]
    for query in queries:
        finish(client, query["state"])
    verifiers = [call.params["code_verifier"] for call in network.calls_to("/ok/token")]
    assert [query["code_challenge"] for query in queries] == [
        code_challenge(verifier) for verifier in verifiers
    ]
    assert {query["code_challenge_method"] for query in queries} == {"S256"}
    assert len(set(verifiers)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) for verifier in verifiers)


# --- the redirect URI -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        (None, "http://testserver"),
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        ("https://example.com:8443/ignored/?x=1", "https://example.com:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ],
)
def test_the_redirect_uri_is_on_the_origin_of_the_site(client, ok_app, settings, base_url, origin):
    settings.SOCIALGRANTS_BASE_URL = base_url
    assert query_of(client.post(start_url()))["redirect_uri"] == f"{origin}/social/ok/code/callback/"


@pytest.mark.parametrize(
    "base_url",
    [
        "http://example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com:8000",
        "ftp://localhost",
        "javascript://localhost",
        "//example.com",
        "example.com",
        "https://",
        "https://[example",
        "",
    ],
)
def test_an_origin_that_cannot_be_trusted_is_refused(client, network, ok_app, settings, base_url):
    settings.SOCIALGRANTS_BASE_URL = base_url
    refused(client, network, 503, "misconfigured", lambda: client.post(start_url()))
    assert not Session.objects.exists()


def test_http_on_loopback_has_to_be_allowed(client, network, ok_app, settings):
    settings.SOCIALGRANTS_BASE_URL = "http://localhost:8000"
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    refused(client, network, 503, "misconfigured", lambda: client.post(start_url()))


def test_the_exchange_names_the_redirect_uri_of_the_start_byte_for_byte(client, network, ok_app, settings):
    settings.SOCIALGRANTS_BASE_URL = "https://one.example"
    query = query_of(client.post(start_url()))
    settings.SOCIALGRANTS_BASE_URL = "https://two.example"
    assert finish(client, query["state"]).status_code == 302
    assert network.calls_to("/ok/token")[0].params["redirect_uri"] == query["redirect_uri"]
    assert query["redirect_uri"].startswith("https://one.example/")


def test_the_exchange_does_not_follow_the_host_of_the_callback(client, network, ok_app, settings):
    query = query_of(client.post(start_url(), headers={"Host": "testserver:8000"}))
    assert (
        client.get(
            callback_url(), {"code": "c", "state": query["state"]}, headers={"Host": "localhost"}
        ).status_code
        == 302
    )
    expected = "http://testserver:8000/social/ok/code/callback/"
    assert network.calls_to("/ok/token")[0].params["redirect_uri"] == query["redirect_uri"] == expected


def test_a_host_that_is_not_ours_starts_nothing(client, ok_app):
    assert client.post(start_url(), headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("debug", "host", "secure", "told"),
    [
        (False, "testserver", False, 1),
        (False, "testserver", True, 0),
        (False, "localhost", False, 0),
        (True, "testserver", False, 0),
    ],
)
def test_a_redirect_uri_that_a_proxy_may_have_made_insecure_is_told_once(
    client, network, ok_app, settings, debug, host, secure, told
):
    settings.DEBUG = debug
    callback._warn_of.cache_clear()
    with warnings_logged() as records:
        for _ in range(2):
            client.post(start_url(), headers={"Host": host}, secure=secure)
    assert [record.event for record in records] == ["insecure_redirect"] * told


# --- next -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        "/me/",
        "/me/?a=1&b=%20#top",
        "/я/?ё=1",
        "http://testserver/me/",
        "https://testserver/me/",
        "/a//b",
        "?a=1",
    ],
)
def test_next_may_be_any_place_of_this_site(client, network, ok_app, wanted):
    response = log_in(client, next=wanted)
    assert response["Location"] == {"/я/?ё=1": "/%D1%8F/?%D1%91=1"}.get(wanted, wanted)


EVIL = [
    "//evil.example",
    "///evil.example",
    "https:///evil.example",
    "https://evil.example/",
    "http:evil.example",
    "https:evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x08//evil.example",
    "https://testserver@evil.example/",
    "https://testserver:443@evil.example/",
    "https://testserver.evil.example/",
    "https://testserver:8000/",
    "https://testserver\\.evil.example/",
    "ftp://testserver/",
    "javascript:alert(1)",
    "JavaScript://testserver/%0aalert(1)",
    "data:text/html,hi",
    "https://[::1",
    "",
    "/" * 3000,
]


@pytest.mark.parametrize("wanted", EVIL, ids=[repr(url[:40]) for url in EVIL])
def test_next_never_leads_to_another_site(client, network, ok_app, settings, wanted):
    settings.LOGIN_REDIRECT_URL = "/home/"
    assert log_in(client, next=wanted)["Location"] == "/home/"


@pytest.mark.slow
@given(wanted=st.text(max_size=40) | st.from_regex(r"[a-z]{0,6}:?[/\\\\ \t]{0,4}evil\.example[/?#@]?.{0,5}"))
@examples(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_next_says_the_browser_stays_here(client, network, ok_app, wanted):
    client.cookies.clear()
    location = log_in(client, next=wanted)["Location"]
    assert urlsplit(location).netloc in ("", "testserver")
    assert not location.startswith(("//", "/\\"))
    assert urlsplit(location).scheme in ("", "http", "https")


def test_from_https_next_does_not_lead_to_http(client, network, ok_app):
    for wanted, location in {
        "http://testserver/me/": "/",
        "https://testserver/me/": "https://testserver/me/",
    }.items():
        query = query_of(client.post(start_url(), {"next": wanted}, secure=True))
        response = client.get(callback_url(), {"code": "c", "state": query["state"]}, secure=True)
        assert response["Location"] == location
        client.logout()


def test_behind_a_proxy_the_base_url_says_that_next_has_to_be_https(client, network, ok_app, settings):
    settings.SOCIALGRANTS_BASE_URL = "https://example.com"
    assert log_in(client, next="http://example.com/me/")["Location"] == "/"


def test_next_may_name_the_sites_own_origin(client, network, ok_app, settings):
    settings.SOCIALGRANTS_BASE_URL = "https://example.com"
    assert log_in(client, next="https://example.com/me/")["Location"] == "https://example.com/me/"


def test_next_is_what_the_start_said_and_nothing_else(client, network, ok_app):
    query = query_of(client.post(start_url(), {"next": "/right/"}, query_params={"next": "/wrong/"}))
    response = finish(client, query["state"], next="/wrong/")
    assert response["Location"] == "/right/"


def test_connecting_without_next_leads_to_the_accounts(client, network, ok_app, anna):
    client.force_login(anna)
    assert log_in(client)["Location"] == CONNECTIONS


# --- the callback -----------------------------------------------------------------------------------------

MALFORMED = {
    "neither": {},
    "both": {"code": "c", "error": "access_denied"},
    "empty-code": {"code": ""},
    "empty-error": {"error": ""},
    "doubled-code": {"code": ["one", "two"]},
    "same-code-doubled": {"code": ["one", "one"]},
    "doubled-error": {"error": ["access_denied", "access_denied"]},
    "nul-in-code": {"code": "one\0two"},
    "nul-elsewhere": {"code": "c", "other": "\0"},
    "newline-in-code": {"code": "one\r\nX: two"},
    "not-ascii": {"code": "код"},
    "long-code": {"code": "x" * 2049},
    "long-query": {"code": "c", "other": "x" * 9000},
    "many-parameters": {"code": "c", "other": ["x"] * 1500},
    "access-token": {"code": "c", "access_token": "t"},
    "empty-access-token": {"code": "c", "access_token": ""},
    "refresh-token": {"code": "c", "refresh_token": "t"},
    "session-key": {"code": "c", "session_key": "t"},
    "session-secret-key": {"code": "c", "session_secret_key": "t"},
}


@pytest.mark.parametrize("name", ["ok", "mailru"])
@pytest.mark.parametrize("query", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_refused(client, network, ok_app, mailru_app, name, query):
    query = {"state": start(client, name)} | query
    refused(client, network, 400, "malformed_callback", lambda: client.get(callback_url(name), query))


def test_a_bare_callback_is_answered_with_the_page_that_reads_the_fragment(client, network, ok_app):
    state = start(client)
    response = client.get(callback_url())
    assert response.status_code == 200
    assert_headers(response)
    scripts = re.findall(r'<script src="(.*?)"[^>]*></script>', response.content.decode())
    assert scripts == ["/static/socialgrants/fragment.js"]
    assert network.calls == []
    assert finish(client, state).status_code == 302


@pytest.mark.parametrize("code", ["c", "x" * 2048, "!~'\"<&%+=/", "4/0AX4"])
def test_a_code_reaches_the_network_as_it_came(client, network, ok_app, code):
    assert finish(client, start(client), code=code).status_code == 302
    assert network.calls_to("/ok/token")[0].params["code"] == code


def test_parameters_that_nobody_asked_for_are_ignored(client, network, ok_app):
    assert finish(client, start(client), expires_in="10", uid="1", display="popup").status_code == 302


def test_a_code_is_redeemed_with_a_post_that_has_no_query(client, network, ok_app, mailru_app):
    log_in(client, "ok")
    log_in(client, "mailru")
    assert [(call.method, call.path) for call in network.calls] == [
        ("POST", "/ok/token"),
        ("POST", "/ok/api"),
        ("POST", "/mailru/token"),
        ("POST", "/mailru/api"),
    ]
    assert network.calls_to("/mailru/token")[0].params == {
        "grant_type": "authorization_code",
        "code": "code-1234",
        "redirect_uri": "http://testserver/social/mailru/code/callback/",
        "client_id": "423004",
        "client_secret": "mailru-secret-key",
    }


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_whoever_cancels_is_told_so(client, network, ok_app, mailru_app, name):
    query = {"state": start(client, name), "error": "access_denied"}
    response = refused(client, network, 200, "cancelled", lambda: client.get(callback_url(name), query))
    assert start_url(name) in response.content.decode()


def test_nobody_cancels_what_was_not_started(client, network, ok_app):
    start(client)
    for query, reason in (({}, "malformed_callback"), ({"state": "forged"}, "unknown_state")):
        query["error"] = "access_denied"
        refused(client, network, 400, reason, lambda query=query: client.get(callback_url(), query))


@pytest.mark.parametrize(
    "error", ["invalid_client", "server_error", "Access_Denied", "<script>alert(1)</script>", "я" * 900]
)
def test_any_other_error_is_refused_and_not_shown(client, network, ok_app, error):
    query = {"state": start(client), "error": error, "error_description": "somebody wrote this"}
    refused(client, network, 400, "authorization_error", lambda: client.get(callback_url(), query))


def test_who_is_logged_in_is_led_back_to_the_accounts(client, network, ok_app, anna):
    client.force_login(anna)
    response = refused(client, network, 400, "unknown_state", lambda: finish(client, "forged"))
    assert f'href="{CONNECTIONS}"' in response.content.decode()


@pytest.mark.parametrize("variable", ["QUERY_STRING", "REQUEST_URI", "RAW_URI"])
def test_the_code_is_taken_off_the_request(client, network, ok_app, variable):
    state = start(client)
    path = f"{callback_url()}?code=code-1234&state={state}"
    environ = {} if variable == "QUERY_STRING" else {variable: path}
    for answer_ in (client.get(path, **environ), client.get(path, **environ)):
        request = answer_.wsgi_request
        assert dict(request.GET) == {}
        assert "?" not in request.get_full_path()
        texts = [str(value) for value in request.META.values()]
        assert [text for text in texts if "code-1234" in text or state in text] == []


KNOWN = st.sampled_from(["code", "error", "state", "access_token", "next", "bounced", "error_description"])
QUERIES = st.lists(st.tuples(KNOWN | st.text(max_size=8), st.text(max_size=40)), min_size=1, max_size=6)
FUZZ = examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@given(query=QUERIES)
@example(query=[("code", "c"), ("state", "\ud800".encode("utf-8", "replace").decode())])
@FUZZ
def test_no_forged_callback_logs_in_or_breaks_anything(client, network, ok_app, query):
    start(client)
    response = client.get(callback_url(), query_params=query)
    assert response.status_code == 400
    assert_headers(response)
    assert user_of(client) is None
    assert network.calls == []


@pytest.mark.slow
@given(raw=st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
@example(raw="code=%ff%fe&state=%00")
@example(raw="&;=;&&code&state")
@FUZZ
def test_no_raw_query_breaks_anything(client, network, ok_app, raw):
    state = start(client)
    for query in (raw, f"state={state}&{raw}"):
        response = client.get(callback_url(), QUERY_STRING=query)
        assert response.status_code in (200, 400)
        assert_headers(response)
        assert user_of(client) is None


@pytest.mark.slow
@given(
    query=QUERIES, flaw=st.sampled_from([("error", "x"), ("access_token", "x"), ("code", "\0"), ("code", "")])
)
@FUZZ
def test_no_flawed_answer_to_a_login_logs_in(client, network, ok_app, query, flaw):
    query = [("state", start(client)), *((name, value) for name, value in query if name != "state"), flaw]
    response = client.get(callback_url(), query_params=query)
    assert response.status_code in (200, 400)
    assert user_of(client) is None
    assert network.calls == []


# --- transactions -----------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["autocommit", "atomic-requests"])
def any_requests(request, transactional_db, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)


def test_the_state_is_claimed_for_all_to_see_before_the_network_is_called(
    any_requests, client, network, ok_app
):
    claims = []

    def look(call):
        claims.append(UsedState.objects.count())  # in the server's thread, so by another connection
        connections.close_all()
        answer(ok_token())(call)

    network.on("/ok/token", look)
    log_in(client)
    assert claims == [1]


def test_what_fails_later_does_not_undo_the_claim(any_requests, client, network, ok_app):
    network.on("/ok/api", answer(b"", status=500))
    state = start(client)
    older = with_cookie_of(client)
    assert finish(client, state).status_code == 502
    assert UsedState.objects.count() == 1
    refused(older, network, 400, "used_state", lambda: finish(older, state))


def test_a_user_who_may_not_be_connected_is_not_left_behind(any_requests, client, network, ok_app, settings):
    settings.SOCIALGRANTS_USER_FACTORY = "tests.test_code_views.make_inactive"
    state = start(client)
    refused(client, network, 403, "inactive_user", lambda: finish(client, state), calls=2)
    assert not User.objects.exists()


def make_inactive(identity, credentials):
    return User.objects.create(username="sleeping", is_active=False)
