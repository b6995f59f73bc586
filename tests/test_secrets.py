"""Markers for every kind of secret are planted, people log in, well or badly, and everything is searched."""

import io
import logging
import pickle
from importlib import import_module
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.signals import user_logged_in
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse
from django.utils.log import AdminEmailHandler

from django_socialgrants.exceptions import ProviderError
from django_socialgrants.flows import login
from django_socialgrants.flows.login import Granted
from django_socialgrants.models import ProviderCredentials, UsedState, UserToken
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    ImplicitGrant,
    PasswordGrant,
    RefreshTokenGrant,
)
from django_socialgrants.oauth.values import Credentials, Identity, Request, Response, Secret, Token
from tests.conftest import mailru_token, ok_token
from tests.fakes import FakeMailRu, FakeOK
from tests.journey import callback_url, session_of, start_url
from tests.network import answer
from tests.test_transport import assert_silent

NAMES = ["ok", "mailru"]
KINDS = ["client_secret", "client_key", "access_token", "refresh_token", "session_secret", "code"]


def planted(kind):
    return f"planted-{kind}-0123456789"


class Search:
    """What is secret, by kind, and everything that was found lying about, by place."""

    def __init__(self):
        self.secrets = {kind: planted(kind) for kind in KINDS}
        self.found = []

    def look_at(self, place, *contents):
        self.found += [(place, str(content)) for content in contents]

    def look_at_response(self, place, response, *, redirects_with=""):
        """`redirects_with` is what its Location may hold, as the protocol wants it."""
        headers = {name: value for name, value in response.headers.items() if name != "Location"}
        location = response.headers.get("Location", "")
        assert redirects_with in location
        without = location.replace(redirects_with, "") if redirects_with else location
        self.look_at(place, response.content.decode(), headers, without, response.cookies)

    def leaks(self):
        pairs = (
            (place, kind) for place, text in self.found for kind in self.secrets if self.secrets[kind] in text
        )
        return sorted(set(pairs))


@pytest.fixture
def search(network, ok_app, mailru_app, monkeypatch, caplog):
    """A site and two networks that are full of planted secrets, with PKCE switched on."""
    for app in (ok_app, mailru_app):
        app.client_secret, app.client_key = planted("client_secret"), planted("client_key")
        app.save()
    tokens = {"access_token": planted("access_token"), "refresh_token": planted("refresh_token")}
    network.on("/ok/token", answer(ok_token(**tokens, session_secret_key=planted("session_secret"))))
    network.on("/mailru/token", answer(mailru_token(**tokens)))
    for provider in (FakeOK, FakeMailRu):
        monkeypatch.setattr(provider, "pkce", True)
    monkeypatch.setattr(connections["default"], "force_debug_cursor", True)  # logs every query
    for logger in (None, "django"):
        caplog.set_level(logging.DEBUG, logger)
    return Search()


def start(client, search, name):
    """Where the network would send the browser back to, with the planted code."""
    response = client.post(start_url(name))
    state = dict(parse_qsl(urlsplit(response["Location"]).query))["state"]
    search.look_at_response("start", response, redirects_with=state)
    search.secrets["state"] = state
    return {"code": planted("code"), "state": state}


def visit(client, search, name, **query):
    """A whole login; the answer to its callback."""
    query = start(client, search, name) | query
    response = client.get(callback_url(name), query)
    search.look_at_response("callback", response)
    return response


def look_everywhere(client, search, network, caplog):
    for name in ("code", "connections"):
        url = reverse(f"socialgrants:{name}", args=["ok"] if name == "code" else [])
        search.look_at_response(name, client.get(url))
    for call in network.calls:
        search.secrets |= {kind: value for kind, value in call.params.items() if kind == "code_verifier"}
        search.look_at("URL of a call", call.path)
    search.look_at("session", session_of(client).items())
    search.look_at("cookies", client.cookies)
    for record in caplog.records:
        search.look_at(f"log of {record.name}", record.getMessage(), record.args, record.__dict__)
    search.look_at("log", caplog.text)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            search.look_at(table, *cursor.fetchall())
    for format in ("json", "xml"):
        dump = io.StringIO()
        call_command("dumpdata", format=format, stdout=dump)
        search.look_at(f"dumpdata as {format}", dump.getvalue())


@pytest.mark.parametrize("sessions", ["db", "signed_cookies"])
@pytest.mark.parametrize("name", NAMES)
def test_logging_in_leaves_no_secret_anywhere(client, search, network, caplog, settings, name, sessions):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{sessions}"
    for _ in range(2):  # the second time an existing row takes the new token
        assert visit(client, search, name).status_code == 302
    assert {planted("code"), planted("client_secret")} <= set(network.calls[0].params.values())
    assert UserToken.objects.get().access_token.reveal() == planted("access_token")

    look_everywhere(client, search, network, caplog)
    assert set(search.secrets) == {*KINDS, "state", "code_verifier"}
    assert {"urllib3.connectionpool", "django.db.backends"} <= {record.name for record in caplog.records}
    assert search.leaks() == []


# --- networks that quote -----------------------------------------------------------------------------------------


def quoting(template, status=200, content_type="application/json", **headers):
    """An answer in which the network quotes all that it was sent."""

    def behave(call):
        sent = " ".join(f"{name} {value}" for name, value in call.params.items())
        named = {name: value.format(sent=sent) for name, value in headers.items()}
        body = template.replace("{sent}", sent).encode()
        answer(body, status=status, content_type=content_type, headers=named)(call)

    return behave


def quoting_one(name, template, status=200):
    return lambda call: answer(template.replace("{sent}", call.params[name]).encode(), status=status)(call)


BAD_TOKENS = {
    "page": quoting("<p>{sent}</p>", 200, "text/html"),
    "error page": quoting("<p>{sent}</p>", 500, "text/html"),
    "almost JSON": quoting('{"access_token": "{sent}", }'),
    "object": quoting('{"sent": "{sent}"}'),
    "invalid_grant": quoting('{"error": "invalid_grant", "error_description": "{sent}"}', 400),
    "invalid_client": quoting('{"error": "invalid_client", "error_description": "{sent}"}', 401),
    "invalid_request": quoting('{"error": "invalid_request", "error_description": "{sent}"}'),
    "code as error": quoting_one("code", '{"error": "{sent}"}'),
    "secret as error": quoting_one(
        "client_secret", '{"error": "{sent}", "error_description": "{sent}"}', 401
    ),
    "redirect": quoting("", 302, Location="http://127.0.0.1/?{sent}"),
    "no token": quoting_one("code", '{"access_token": ["{sent}"]}'),
    "token of 400": quoting_one("code", '{"access_token": "{sent}"}', 400),
    "token of spaces": quoting('{"access_token": "a\\n{sent}"}'),
    "headers": quoting("{}", 503, **{"Retry-After": "{sent}", "WWW-Authenticate": "{sent}"}),
}
BAD_PROFILES = {
    "page": quoting("<p>{sent}</p>", 200, "text/html"),
    "error page": quoting("<p>{sent}</p>", 502, "text/html"),
    "error of OK": quoting('{"error_code": 104, "error_msg": "PARAM_SIGNATURE: {sent}"}'),
    "expired": quoting('{"error_code": 102, "error_msg": "{sent}"}'),
    "error of Mail.Ru": quoting('{"error": {"error_code": 104, "error_msg": "{sent}"}}'),
    "error of OAuth": quoting('{"error": "{sent}", "error_description": "{sent}"}', 403),
    "no uid": quoting('{"name": "{sent}"}'),
    "token as uid": quoting('[{"uid": "{sent}"}]'),
    "nothing": quoting('"{sent}"'),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("endpoint", "trouble"),
    [*(("token", trouble) for trouble in BAD_TOKENS), *(("api", trouble) for trouble in BAD_PROFILES)],
)
def test_a_network_that_quotes_what_it_was_sent_gives_nothing_away(
    client, search, network, caplog, name, endpoint, trouble
):
    network.on(f"/{name}/{endpoint}", {"token": BAD_TOKENS, "api": BAD_PROFILES}[endpoint][trouble])
    assert visit(client, search, name).status_code in (400, 502, 503)
    assert not UserToken.objects.exists()
    look_everywhere(client, search, network, caplog)
    assert search.leaks() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": planted("access_token")},
        {"refresh_token": planted("refresh_token")},
        {"code": planted("code") + "\0"},
        {"code": planted("code") + " "},
        {"error": "access_denied"},
        {"error": "server_error", "error_description": planted("code")},
        {"state": planted("code")},
        {"state": [planted("code"), planted("code")]},
    ],
)
def test_a_callback_that_is_refused_gives_nothing_away(client, search, network, caplog, changes):
    assert visit(client, search, "ok", **changes).status_code in (200, 400)
    look_everywhere(client, search, network, caplog)
    assert search.leaks() == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("endpoint", "trouble"),
    [*(("token", trouble) for trouble in BAD_TOKENS), *(("api", trouble) for trouble in BAD_PROFILES)],
)
def test_errors_of_the_flows_are_silent_in_every_frame(search, network, name, endpoint, trouble):
    network.on(f"/{name}/{endpoint}", {"token": BAD_TOKENS, "api": BAD_PROFILES}[endpoint][trouble])
    credentials = ProviderCredentials.objects.named(name)
    with pytest.raises(ProviderError) as caught:
        token = login.redeem(credentials, AuthorizationCodeGrant(planted("code"), "http://testserver/"))
        login.identify(credentials, token)
    for kind in KINDS:
        assert_silent(caught.value, planted(kind))


# --- a site that crashes -----------------------------------------------------------------------------------------


def crashing_factory(identity, credentials):
    raise ZeroDivisionError("the site's own mistake")


def crashing_receiver(**kwargs):
    raise ZeroDivisionError("the site's own mistake")


def crash_in_factory(settings, patch):
    settings.SOCIALGRANTS_USER_FACTORY = "tests.test_secrets.crashing_factory"


def crash_in_receiver(settings, patch):
    patch.setattr(user_logged_in, "send", crashing_receiver)


def crash_in_claim(settings, patch):
    def create(**kwargs):
        raise OperationalError("the database is down")

    patch.setattr(UsedState.objects, "create", create)


def crash_in_token_table(settings, patch):
    def save(self, **kwargs):
        raise ZeroDivisionError("the site's own mistake")

    patch.setattr(UserToken, "save", save)


def crash_in_session(settings, patch):
    store = import_module(settings.SESSION_ENGINE).SessionStore

    def cycle_key(self):
        raise OperationalError("the database is down")

    patch.setattr(store, "cycle_key", cycle_key)


CRASHES = [crash_in_factory, crash_in_receiver, crash_in_claim, crash_in_token_table, crash_in_session]


@pytest.fixture
def mails():
    """What the site's admins are told of a crash, with all that Django can tell."""
    sent = []

    class Handler(AdminEmailHandler):
        def send_mail(self, subject, message, *args, html_message=None, **kwargs):
            sent.extend([subject, message, html_message])

    handler = Handler(include_html=True)
    logging.getLogger("django.request").addHandler(handler)
    yield sent
    logging.getLogger("django.request").removeHandler(handler)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("crash", CRASHES)
def test_error_pages_and_mails_hold_no_secret(
    search, network, caplog, settings, monkeypatch, mails, crash, debug
):
    client = Client(raise_request_exception=False)
    query = start(client, search, "ok")
    settings.DEBUG = debug
    settings.SOCIALGRANTS_CREDENTIALS = {"ok": {"client_secret": planted("client_secret")}}
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = []

    raw = f"{callback_url()}?code={query['code']}&state={query['state']}"
    with monkeypatch.context() as patch:
        crash(settings, patch)
        response = client.get(callback_url(), query, REQUEST_URI=raw, RAW_URI=raw)
    assert response.status_code == 500
    assert ("Traceback" in response.content.decode()) is debug
    assert len(mails) == 3
    assert "Local Vars" in mails[2]

    search.look_at_response("error page", response)
    search.look_at("mail", *mails)
    look_everywhere(client, search, network, caplog)
    assert search.leaks() == []


# --- objects -----------------------------------------------------------------------------------------------------

CREDENTIALS = Credentials("512", planted("client_secret"), planted("client_key"))
TOKEN = Token(planted("access_token"), planted("refresh_token"), 7, "1", planted("session_secret"))
OBJECTS = [
    Secret(planted("code")),
    CREDENTIALS,
    TOKEN,
    AuthorizationCodeGrant(planted("code"), "https://site.example/", planted("code")),
    PasswordGrant("somebody", planted("code")),
    RefreshTokenGrant(planted("refresh_token")),
    ImplicitGrant(planted("access_token"), others={"session_secret_key": planted("session_secret")}),
    Granted(ProviderCredentials(name="ok"), TOKEN, Identity("1"), "implicit"),
    Request("POST", "https://network.example/", {"code": Secret(planted("code"))}),
    FakeOK().token_request(CREDENTIALS, RefreshTokenGrant(planted("refresh_token"))),
    FakeMailRu().api_request(CREDENTIALS, TOKEN, "users.getInfo", {}, "server-server"),
    Response(200, {"set-cookie": planted("code")}, planted("access_token").encode()),
    ProviderCredentials(name="ok", client_secret=planted("client_secret"), client_key=planted("client_key")),
    UserToken(uid="1", access_token=planted("access_token"), session_secret=planted("session_secret")),
]


def kind_of(thing):
    return type(thing).__name__


@pytest.mark.parametrize("thing", OBJECTS, ids=kind_of)
def test_no_object_shows_a_secret(thing):
    texts = [str(thing), repr(thing), f"{thing}", "%s" % thing, repr([thing]), repr({"a": thing})]  # noqa: UP031
    assert [text for text in texts if "planted" in text] == []


@pytest.mark.parametrize("thing", OBJECTS, ids=kind_of)
def test_no_object_with_a_secret_in_clear_is_pickled(thing):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(thing, protocol)


@pytest.mark.parametrize("name", NAMES)
def test_pickles_of_stored_rows_hold_no_secret(client, search, name):
    visit(client, search, name)
    row = UserToken.objects.select_related("credentials", "user").get()
    again = pickle.loads(pickle.dumps(row))
    assert again.access_token.reveal() == planted("access_token")
    assert again.credentials.client_secret.reveal() == planted("client_secret")
    search.look_at("pickle", pickle.dumps(row), pickle.dumps(list(UserToken.objects.values())))
    search.look_at("repr", row.__dict__, row.credentials.__dict__, row.to_value(), row.credentials.to_value())
    assert search.leaks() == []


def test_a_request_keeps_no_query_of_a_callback(client, search):
    seen = []

    def remember(request, **kwargs):
        seen.append(request)

    user_logged_in.connect(remember)
    try:
        visit(client, search, "ok")
    finally:
        user_logged_in.disconnect(remember)
    [request] = seen
    assert isinstance(request, HttpRequest)
    search.look_at("request", request.GET, request.META, request.get_full_path(), repr(request))
    assert search.leaks() == []
