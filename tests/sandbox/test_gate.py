import pytest
from django.test import Client
from django.urls import reverse

from .driver import access_token, ask_token, code_form, dialog_url, ok_call

PATHS = {
    "ok_authorize": "/ok/oauth/authorize",
    "ok_token": "/ok/oauth/token.do",
    "ok_rest": "/ok/fb.do",
    "mailru_authorize": "/mailru/oauth/authorize",
    "mailru_token": "/mailru/oauth/token",
    "mailru_rest": "/mailru/platform/api",
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_are_those_of_the_real_networks(name):
    assert reverse(f"socialgrants_sandbox:{name}").endswith(PATHS[name])


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_nothing_is_there_in_production(client, ok_app, settings, name, method):
    settings.DEBUG = False
    assert getattr(client, method)(reverse(f"socialgrants_sandbox:{name}")).status_code == 404


def test_programs_need_no_csrf_token(ok_app):
    client = Client(enforce_csrf_checks=True)
    assert "access_token" in ask_token(client, ok_app, code_form(Client(), ok_app)).json()
    assert ok_call(client, ok_app, "users.getLoggedInUser", access_token(ok_app)).json()


def test_a_site_that_wants_everybody_logged_in_lets_everybody_in_here(client, ok_app, settings):
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert client.get(dialog_url(ok_app)).status_code == 200
    assert "access_token" in ask_token(client, ok_app, code_form(client, ok_app)).json()


def test_every_answer_has_the_headers(client, ok_app):
    answers = [
        client.get(dialog_url(ok_app)),
        client.get(dialog_url(ok_app, client_id="1")),
        ask_token(client, ok_app, code_form(client, ok_app)),
        ask_token(client, ok_app, {}),
        ok_call(client, ok_app, "users.nonsense"),
    ]
    for answer in answers:
        assert answer["Cache-Control"] == "no-store"
        assert answer["Referrer-Policy"] == "same-origin"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
