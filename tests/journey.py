"""A login as a browser goes through it, and what every answer and every refusal has to look like."""

import logging
from contextlib import contextmanager
from importlib import import_module
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from django_socialgrants.flows.refusal import REASONS
from django_socialgrants.models import ProviderCredentials, UserToken

SECRETS = (
    "ok-access-token",
    "ok-refresh-token",
    "ok-client-secret",
    "CGEXAMPLEKEYBABABA",
    "mailru-access-token",
    "mailru-refresh-token",
    "mailru-secret-key",
    "mailru-private-key",
)
"""What networks and credentials of tests/conftest.py hold, as far as nobody may see it."""


def start_url(name="ok"):
    return reverse("socialgrants:code", args=[name])


def callback_url(name="ok"):
    return reverse("socialgrants:code_callback", args=[name])


def disconnect_url(token):
    return reverse("socialgrants:disconnect", args=[token.pk])


def start(client, name="ok", **fields):
    """Start a login (or connect an account); the state that the network would send back."""
    response = client.post(start_url(name), fields)
    assert response.status_code == 302, response.content.decode()
    return query_of(response)["state"]


def finish(client, state, name="ok", **query):
    """Come back from the network with a code and `state`."""
    return client.get(callback_url(name), {"code": "code-1234", "state": state} | query)


def log_in(client, name="ok", **fields):
    response = finish(client, start(client, name, **fields), name)
    assert response.status_code == 302, response.content.decode()
    return response


def query_of(response):
    """The query of where a response sends the browser."""
    return dict(parse_qsl(urlsplit(response["Location"]).query, strict_parsing=True))


def token_of(user, credentials, **fields):
    values = {"uid": "100", "grant_type": "authorization_code", "access_token": "token-before"} | fields
    return UserToken.objects.create(user=user, credentials=credentials, **values)


def session_of(client):
    """The client's session, without making one as `client.session` does."""
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return import_module(settings.SESSION_ENGINE).SessionStore(cookie and cookie.value)


def user_of(client):
    """The primary key of who is logged in, as text; None = nobody."""
    return session_of(client).get(SESSION_KEY)


def with_cookie_of(client):
    """A second browser window: it begins with the cookies that `client` has now."""
    other = Client()
    other.cookies.load({name: morsel.value for name, morsel in client.cookies.items()})
    return other


@contextmanager
def warnings_logged():
    """Everything that anybody logs, from WARNING on."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(handler)


def assert_headers(response, form_origins=None):
    """Our headers; a page that holds a form may send its origin, and names where that form leads."""
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    referrer = "no-referrer" if form_origins is None else "same-origin"
    assert response.headers["Referrer-Policy"] == referrer
    policy = response.headers["Content-Security-Policy"]
    directives = dict(directive.split(maxsplit=1) for directive in policy.split(";"))
    assert directives["default-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["form-action"].split() == ["'self'", *(form_origins or [])]
    assert "unsafe" not in policy


def refused(client, network, status, reason, request, *, calls=0):
    """The answer to `request()`, which must be a refusal: nothing has happened, and nothing is given away."""
    before, asked = _world(client), len(network.calls)
    with warnings_logged() as records:
        response = request()
    assert response.status_code == status, response.content.decode()
    assert len(network.calls) - asked == calls
    assert _world(client) == before
    record = _only_record(records, response, reason)
    _assert_page(response, reason, record.reference)
    assert_headers(response)
    return response


def _world(client):
    """Who is logged in, and every byte that is stored of users, tokens and credentials."""
    rows = []
    with connection.cursor() as cursor:
        for model in (get_user_model(), UserToken, ProviderCredentials):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)} ORDER BY id")
            rows += cursor.fetchall()
    return user_of(client), rows


def _only_record(records, response, reason):
    assert len(records) == 1, [record.getMessage() for record in records]
    record, match = records[0], response.wsgi_request.resolver_match
    assert (record.name, record.levelname) == ("django_socialgrants", "WARNING")
    assert (record.event, record.reason) == (match.url_name, reason)
    assert record.application == match.kwargs.get("name", "")
    logged = f"{record.getMessage()} {record.__dict__}"
    query = dict(parse_qsl(response.request["QUERY_STRING"]))
    hidden = [query[name] for name in ("code", "state", "access_token") if len(query.get(name, "")) > 8]
    assert [secret for secret in (*SECRETS, *hidden) if secret in logged] == []
    return record


def _assert_page(response, reason, reference):
    body = response.content.decode()
    assert str(escape(REASONS[reason][1])) in body
    assert len(reference) >= 8
    assert reference in body
    values = [value for _, value in parse_qsl(response.request["QUERY_STRING"]) if len(value) > 8]
    assert [value for value in (*SECRETS, *values) if value in body] == []
