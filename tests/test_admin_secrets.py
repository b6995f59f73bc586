"""Every page of the admin is searched for secrets that were planted, and for their ciphertexts."""

import logging
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connections
from django.test import Client

from django_socialgrants.crypto import keys
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from tests.conftest import ok_token
from tests.journey import token_of
from tests.network import answer
from tests.test_admin_credentials import PLAIN, staff
from tests.test_secrets import mails

__all__ = ["mails"]  # a fixture

ADMIN = "/admin/socialgrants/"
APPLICATIONS, TOKENS = f"{ADMIN}providercredentials/", f"{ADMIN}usertoken/"
KINDS = ["client_secret", "client_key", "access_token", "refresh_token", "session_secret"]
LOOKERS = ["root", "viewer"]


def planted(kind):
    return f"planted-{kind}-0123456789"


class Search:
    """What must not be found, by what it is, and everything that was looked at, by place."""

    def __init__(self):
        self.seen = {}
        self.secrets = {kind: planted(kind) for kind in KINDS}
        self.secrets |= {f"new {kind}": f"new-{planted(kind)}" for kind in KINDS}
        self.secrets["ciphertext"] = keys()[0].head

    def look_at(self, place, *contents):
        self.seen.setdefault(place, []).extend(map(str, contents))

    def look_at_response(self, place, response):
        body = getattr(response, "content", b"").decode()
        assert max(map(len, re.findall(r"…(\w+)", body)), default=0) <= 4  # that much of a secret is shown
        self.look_at(place, body, response.headers, response.cookies)
        return response

    def leaks(self):
        return sorted(
            (place, kind)
            for place, texts in self.seen.items()
            for kind, secret in self.secrets.items()
            if any(secret in text for text in texts)
        )


@pytest.fixture
def search(network, ok_app, mailru_app, admin_user, monkeypatch, caplog):
    for app in (ok_app, mailru_app):
        app.client_secret, app.client_key = planted("client_secret"), planted("client_key")
        app.save()
        secrets = {kind: planted(kind) for kind in KINDS[2:]}
        token_of(admin_user, app, **secrets)
    ApplicationHealth.objects.create(credentials=ok_app, failures=12, reason="invalid_client")
    monkeypatch.setattr(connections["default"], "force_debug_cursor", True)  # logs every query
    for logger in (None, "django"):
        caplog.set_level(logging.DEBUG, logger)
    return Search()


@pytest.fixture
def root(search, admin_user):
    client = Client()
    client.force_login(admin_user)
    return client


@pytest.fixture
def viewer(search):
    return staff("view_providercredentials", "view_usertoken", "view_user")


def look_at_what_is_left_behind(search, caplog):
    search.look_at("history", *LogEntry.objects.values_list("object_repr", "change_message"))
    search.look_at("sessions", *(session.get_decoded() for session in Session.objects.all()))
    # The database's own statements carry ciphertexts, as they must; nobody is shown them.
    for record in caplog.records:
        search.look_at(f"log of {record.name}", record.getMessage().replace(search.secrets["ciphertext"], ""))


def get(client, search, url, **query):
    return search.look_at_response(url, client.get(url, query))


def post(client, search, url, data):
    response = search.look_at_response(f"POST {url}", client.post(url, data))
    if response.status_code == 302:
        get(client, search, response["Location"])
    return response


@pytest.mark.slow
@pytest.mark.parametrize("looker", LOOKERS)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_page_shows_a_secret(request, search, looker, language):
    client = request.getfixturevalue(looker)
    client.cookies["django_language"] = language
    urls = ["/admin/", ADMIN, "/admin/jsi18n/", APPLICATIONS, TOKENS]
    for rows, base in ((ProviderCredentials.objects, APPLICATIONS), (UserToken.objects, TOKENS)):
        for pk in rows.values_list("pk", flat=True):
            urls += [f"{base}{pk}/change/", f"{base}{pk}/history/"]
    if looker == "root":
        urls += [f"{APPLICATIONS}add/", "/admin/auth/user/"]
        urls += [re.sub("change/$", "delete/", url) for url in urls if url.endswith("change/")]
        urls += [
            f"/admin/auth/user/{pk}/delete/" for pk in UserToken.objects.values_list("user", flat=True)[:1]
        ]
    for url in urls:
        assert get(client, search, url).status_code == 200, url
    for base in (APPLICATIONS, TOKENS):
        assert get(client, search, base, q="100").status_code == 200
        assert get(client, search, base, o="1.-2", _popup="1").status_code == 200
        assert get(client, search, base, _facets="True").status_code == 200
    relation = {"app_label": "socialgrants", "model_name": "usertoken", "field_name": "credentials"}
    assert get(client, search, "/admin/autocomplete/", **relation).json()["results"]
    assert search.leaks() == []


def test_no_action_and_no_form_shows_a_secret(root, search, network, caplog, mailru_app, ok_app):
    token, other = UserToken.objects.order_by("pk")
    network.on("/ok/token", lambda call: answer({"error": "x", "error_description": str(call.params)})(call))
    network.on("/mailru/token", answer(ok_token(access_token=f"new-{planted('access_token')}")))
    for base, actions in {
        APPLICATIONS: ["resume_selected", "delete_selected"],
        TOKENS: ["refresh_now", "mark_as_needs_login", "delete_selected"],
    }.items():
        pks = [token.pk, other.pk] if base == TOKENS else [ok_app.pk, mailru_app.pk]
        for action in actions:
            post(root, search, base, {"action": action, "_selected_action": pks})
    assert len(network.calls) == 2

    new = {name: f"new-{planted(name)}" for name in KINDS[:2]}
    for url in (f"{APPLICATIONS}add/", f"{APPLICATIONS}{ok_app.pk}/change/"):
        assert post(root, search, url, PLAIN | new | {"client_id": ""}).status_code == 200
        fields = PLAIN | new | {"name": f"ok-{len(url)}", "_continue": "1"}
        assert post(root, search, url, fields).status_code == 302
    for pk in ProviderCredentials.objects.filter(name__startswith="ok-").values_list("pk", flat=True):
        get(root, search, f"{APPLICATIONS}{pk}/history/")
        assert ProviderCredentials.objects.get(pk=pk).client_key.reveal() == new["client_key"]
    post(root, search, f"{APPLICATIONS}{ok_app.pk}/resume/", {})
    post(root, search, f"{TOKENS}{token.pk}/delete/", {"post": "yes"})
    look_at_what_is_left_behind(search, caplog)
    assert search.leaks() == []
    assert LogEntry.objects.count() >= 6


@pytest.mark.parametrize("debug", [True, False])
def test_a_crash_while_secrets_are_saved_shows_none(
    root, search, settings, monkeypatch, mails, ok_app, debug
):
    settings.DEBUG = debug
    root.raise_request_exception = False
    new = {name: f"new-{planted(name)}" for name in KINDS[:2]}

    def crash(self, *args, **kwargs):
        raise DatabaseError("out of order")

    monkeypatch.setattr(ProviderCredentials, "save_base", crash)
    for url in (f"{APPLICATIONS}add/", f"{APPLICATIONS}{ok_app.pk}/change/"):
        response = root.post(url, PLAIN | new | {"name": "ok-7"})
        assert response.status_code == 500
        assert ("Traceback" in response.content.decode()) is debug
        search.look_at(f"crash of {url}", response.content.decode())
    assert len(mails) == 2 * 3
    search.look_at("mail", *mails)
    assert search.leaks() == []
