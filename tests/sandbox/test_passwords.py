"""The password grant of both networks."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from django_socialgrants.sandbox.logins import LOGINS
from django_socialgrants.sandbox.models import AccessToken
from django_socialgrants.sandbox.people import PEOPLE

from .driver import (
    FIRST,
    answer_of,
    ask_token,
    counts,
    mailru_call,
    md5_hex,
    ok_call,
    ok_log_in,
    ok_signed,
    password_form,
    refresh_form,
)

OK_LOGIN = LOGINS["ok"]["avrora"]
MAILRU_LOGIN = LOGINS["mailru"]["glafira@example.org"]
PEOPLES = [(network, login) for network in LOGINS for login in LOGINS[network].values() if login.uid]


@pytest.mark.parametrize("network", LOGINS)
def test_everybody_has_a_login(network):
    assert {login.uid for login in LOGINS[network].values() if login.uid} == set(PEOPLE[network])


def test_user_names_of_mailru_are_addresses_that_nobody_owns():
    assert all(re.fullmatch(r"[a-z]+@example\.org", name) for name in LOGINS["mailru"])


@pytest.mark.parametrize(("network", "login"), PEOPLES, ids=lambda value: getattr(value, "user_name", value))
def test_everybody_may_come_in_whatever_characters_are_in_the_password(
    client, ok_app, mailru_app, network, login
):
    if network == "ok":
        answer = ok_log_in(client, ok_app, login.user_name, login.password).json()
        assert answer["uid"] == login.uid
    else:
        form = password_form(mailru_app, login.user_name, login.password)
        answer = answer_of(ask_token(client, mailru_app, form))
        assert answer["x_mailru_vid"] == login.uid


# --- OK: auth.login ---


def ok_refused(response, code):
    assert response.status_code == 200
    assert response["Invocation-Error"] == str(code)
    assert AccessToken.objects.count() == 0
    return response.json()["error_code"] == code


def test_ok_answers_with_a_session_for_both_circuits_and_without_refresh_token(client, ok_app):
    answer = ok_log_in(client, ok_app, OK_LOGIN.user_name, OK_LOGIN.password).json()
    assert set(answer) == {
        "uid",
        "session_key",
        "session_secret_key",
        "auth_token",
        "api_server",
        "auth_sig",
        "auth_hash",
        "activated_profile",
    }
    assert answer["activated_profile"] is True
    assert answer["auth_sig"] == md5_hex(answer["uid"] + answer["session_key"] + ok_app.client_secret)
    session = AccessToken.objects.get(value=answer["session_key"])
    assert ok_call(client, ok_app, "users.getLoggedInUser", session).json() == FIRST["ok"]
    in_client_circuit = {"session": session, "secret": answer["session_secret_key"]}
    assert ok_call(client, ok_app, "friends.get", **in_client_circuit).json()
    assert counts() == (0, 1, 0)


def test_ok_names_no_server_but_the_sandbox(client, ok_app, settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox/"
    answer = ok_log_in(client, ok_app, OK_LOGIN.user_name, OK_LOGIN.password).json()
    assert answer["api_server"] == "http://127.0.0.1:8000/sandbox/ok/"


def test_a_session_of_a_password_lives_for_half_an_hour(client, ok_app):
    ok_log_in(client, ok_app, OK_LOGIN.user_name, OK_LOGIN.password)
    session = AccessToken.objects.get()
    assert session.expires_at <= timezone.now() + timedelta(minutes=30)
    assert "LONG_ACCESS_TOKEN" not in session.scopes


@pytest.mark.parametrize(
    ("user_name", "password"),
    [
        (OK_LOGIN.user_name, "wrong"),
        (OK_LOGIN.user_name, OK_LOGIN.password.upper()),
        (OK_LOGIN.user_name, f" {OK_LOGIN.password}"),
        (OK_LOGIN.user_name, ""),
        (OK_LOGIN.user_name, "a\0b"),
        ("nobody", OK_LOGIN.password),
        ("", ""),
        (MAILRU_LOGIN.user_name, MAILRU_LOGIN.password),
    ],
)
def test_ok_refuses_wrong_credentials_without_saying_which(client, ok_app, user_name, password):
    response = ok_log_in(client, ok_app, user_name, password)
    assert ok_refused(response, 401)
    assert response.json()["error_msg"] == "AUTH_LOGIN : INVALID_CREDENTIALS"


@pytest.mark.parametrize(
    ("user_name", "code"), [("captcha", 402), ("browser-check", 403), ("blocked", 2002), ("deleted", 2004)]
)
@pytest.mark.parametrize("password", ["", "whatever"])
def test_ok_has_somebody_for_every_trouble(client, ok_app, user_name, code, password):
    assert ok_refused(ok_log_in(client, ok_app, user_name, password), code)


def test_the_browser_check_names_a_page(client, ok_app):
    data = ok_log_in(client, ok_app, "browser-check", "x").json()["error_data"]
    assert data.startswith("https://example.com/")


@pytest.mark.parametrize("name", ["user_name", "password"])
def test_ok_misses_a_parameter(client, ok_app, name):
    params = {"method": "auth.login", "application_key": ok_app.client_key}
    params |= {"user_name": OK_LOGIN.user_name, "password": OK_LOGIN.password}
    del params[name]
    assert ok_refused(client.post(reverse("socialgrants_sandbox:ok_rest"), params), 100)


def test_ok_takes_a_password_from_the_body_of_a_post_alone(client, ok_app):
    params = {"application_key": ok_app.client_key, "user_name": "avrora", "password": OK_LOGIN.password}
    url, method = reverse("socialgrants_sandbox:ok_rest"), {"method": "auth.login"}
    assert ok_refused(client.get(url, params | method), 4)
    assert ok_refused(client.get(url, method), 4)
    assert ok_refused(client.post(reverse("socialgrants_sandbox:ok_rest", query=params), method), 4)
    assert client.post(reverse("socialgrants_sandbox:ok_rest", query=method), params).json()["session_key"]


def test_ok_takes_the_method_from_the_path_too(client, ok_app):
    params = {"application_key": ok_app.client_key, "user_name": "avrora", "password": OK_LOGIN.password}
    url = reverse("socialgrants_sandbox:ok_rest_path", args=["auth", "login"])
    assert client.post(url, params).json()["uid"] == FIRST["ok"]
    assert "error_code" in client.get(url, params).json()


def test_ok_needs_no_signature_but_checks_one(client, ok_app):
    params = {"method": "auth.login", "application_key": ok_app.client_key}
    params |= {"user_name": OK_LOGIN.user_name, "password": OK_LOGIN.password}
    url = reverse("socialgrants_sandbox:ok_rest")
    assert ok_refused(client.post(url, ok_signed(params, "wrong")), 104)
    assert client.post(url, ok_signed(params, ok_app.client_secret)).json()["uid"] == FIRST["ok"]


def test_ok_lets_only_those_applications_log_in_that_may(client, ok_app, other_ok_app):
    response = ok_log_in(client, other_ok_app, OK_LOGIN.user_name, OK_LOGIN.password)
    assert ok_refused(response, 10)
    unknown = ok_log_in(client, ok_app, OK_LOGIN.user_name, OK_LOGIN.password, application_key="CNOBODY")
    assert ok_refused(unknown, 101)


def test_the_token_endpoint_of_ok_takes_no_passwords(client, ok_app):
    form = password_form(ok_app, OK_LOGIN.user_name, OK_LOGIN.password)
    assert ask_token(client, ok_app, form).json() == {"error": "unsupported_grant_type"}


# --- Mail.Ru: grant_type=password ---


def mailru_refused(response, error):
    assert response.status_code == 400
    assert counts() == (0, 0, 0)
    return answer_of(response) == {"error": error}


def test_mailru_answers_as_to_a_code(client, mailru_app):
    form = password_form(
        mailru_app, MAILRU_LOGIN.user_name, MAILRU_LOGIN.password, scope="stream photos stream"
    )
    answer = answer_of(ask_token(client, mailru_app, form))
    assert set(answer) == {"access_token", "refresh_token", "token_type", "expires_in", "x_mailru_vid"}
    session = AccessToken.objects.get()
    assert session.scope == "stream photos"
    assert answer_of(mailru_call(client, mailru_app, "users.getInfo", session))[0]["uid"] == FIRST["mailru"]
    again = answer_of(ask_token(client, mailru_app, refresh_form(mailru_app, answer["refresh_token"])))
    assert again["x_mailru_vid"] == FIRST["mailru"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"password": f"{MAILRU_LOGIN.password} "}, "invalid_grant"),
        ({"username": "glafira"}, "invalid_grant"),
        ({"username": "blocked@example.org"}, "invalid_grant"),
        ({"username": OK_LOGIN.user_name, "password": OK_LOGIN.password}, "invalid_grant"),
        ({"username": ""}, "invalid_request"),
        ({"password": ""}, "invalid_request"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "1"}, "invalid_client"),
        ({"scope": "stream everything"}, "invalid_scope"),
    ],
)
def test_mailru_refuses_in_the_words_of_the_standard(client, mailru_app, changes, error):
    form = password_form(mailru_app, MAILRU_LOGIN.user_name, MAILRU_LOGIN.password)
    assert mailru_refused(ask_token(client, mailru_app, form | changes), error)


def test_mailru_lets_only_those_applications_log_in_that_a_moderator_allowed(client, other_mailru_app):
    form = password_form(other_mailru_app, MAILRU_LOGIN.user_name, MAILRU_LOGIN.password)
    assert mailru_refused(ask_token(client, other_mailru_app, form), "unauthorized_client")
