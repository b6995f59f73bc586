from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from django_socialgrants.sandbox.models import AccessToken, Code, RefreshToken

from .driver import BACK, FIRST, ask_token, code_form, counts, refresh_form

WRONG_REDIRECT = {"error": "invalid_request", "error_description": "Wrong redirect_uri"}
WRONG_REFRESH = {"error": "invalid_token", "error_description": "Invalid refresh token structure"}


def granted(client, ok_app, **changes):
    return ask_token(client, ok_app, code_form(client, ok_app, **changes)).json()


def test_a_code_is_answered_without_user_id_and_with_a_quoted_lifetime(client, ok_app):
    response = ask_token(client, ok_app, code_form(client, ok_app, scope="GET_EMAIL"))
    answer = response.json()
    assert response.status_code == 200
    assert response["Content-Type"].startswith("application/json")
    assert set(answer) == {"access_token", "token_type", "refresh_token", "expires_in"}
    assert (answer["token_type"], answer["expires_in"]) == ("session", "1800")
    session = AccessToken.objects.get(value=answer["access_token"])
    assert (session.uid, session.scope, session.session_secret) == (FIRST["ok"], "GET_EMAIL", "")


def test_a_long_session_lives_for_thirty_days(client, ok_app):
    assert granted(client, ok_app, scope="LONG_ACCESS_TOKEN")["expires_in"] == "2592000"


def test_a_code_works_once(client, ok_app):
    form = code_form(client, ok_app)
    assert "access_token" in ask_token(client, ok_app, form).json()
    assert ask_token(client, ok_app, form).json() == {"error": "invalid_grant"}
    assert AccessToken.objects.count() == 1


def test_a_code_is_dead_after_two_minutes(client, ok_app):
    form = code_form(client, ok_app)
    code = Code.objects.get()
    assert timezone.now() + timedelta(seconds=110) < code.expires_at <= timezone.now() + timedelta(minutes=2)
    Code.objects.update(expires_at=timezone.now())
    assert ask_token(client, ok_app, form).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": f"{BACK}x"}, WRONG_REDIRECT),
        ({"redirect_uri": f"{BACK}?from=footer"}, WRONG_REDIRECT),
        ({"client_secret": "wrong"}, {"error": "invalid_client"}),
        ({"client_secret": "00112233445566778899aabb"}, {"error": "invalid_client"}),
        ({"client_id": "999"}, {"error": "invalid_client"}),
        ({"code": "0" * 32}, {"error": "invalid_grant"}),
        ({"code": "a\0b"}, {"error": "invalid_grant"}),
        ({"grant_type": "password"}, {"error": "unsupported_grant_type"}),
    ],
)
def test_what_is_wrong_is_told_as_json_and_leaves_the_code_usable(client, ok_app, changes, error):
    form = code_form(client, ok_app)
    response = ask_token(client, ok_app, form | changes)
    assert response.json() == error
    assert response.status_code == 200
    assert AccessToken.objects.count() == 0
    assert "access_token" in ask_token(client, ok_app, form).json()


def test_a_code_is_unknown_to_another_application(client, ok_app, other_ok_app):
    form = code_form(client, ok_app)
    foreign = {"client_id": other_ok_app.client_id, "client_secret": other_ok_app.client_secret}
    assert ask_token(client, ok_app, form | foreign).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize("name", ["client_id", "client_secret", "code", "redirect_uri", "grant_type"])
def test_a_missing_parameter_is_answered_in_html(client, ok_app, name):
    form = code_form(client, ok_app)
    del form[name]
    response = ask_token(client, ok_app, form)
    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/html")


def test_an_id_that_is_no_number_is_answered_in_html_as_if_all_was_well(client, ok_app):
    response = ask_token(client, ok_app, code_form(client, ok_app) | {"client_id": "CGEXAMPLEKEYBABABA"})
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    assert "Failed to convert value" in response.content.decode()


def test_parameters_in_the_address_are_refused(client, ok_app):
    form = code_form(client, ok_app)
    url = reverse("socialgrants_sandbox:ok_token", query=form)
    assert client.post(url).status_code == 400
    assert client.post(url, form).status_code == 400
    assert client.get(url).status_code == 405
    assert counts() == (1, 0, 0)


def test_repeated_parameters_are_refused(client, ok_app):
    form = code_form(client, ok_app)
    response = ask_token(client, ok_app, form | {"code": [form["code"], form["code"]]})
    assert response.status_code == 400


def test_a_refresh_brings_a_new_access_token_and_keeps_the_refresh_token(client, ok_app):
    first = granted(client, ok_app, scope="GET_EMAIL")
    for _again in range(2):
        answer = ask_token(client, ok_app, refresh_form(ok_app, first["refresh_token"])).json()
        assert set(answer) == {"access_token", "token_type", "expires_in"}
        assert answer["access_token"] != first["access_token"]
    session = AccessToken.objects.get(value=answer["access_token"])
    assert (session.uid, session.scope) == (FIRST["ok"], "GET_EMAIL")
    assert RefreshToken.objects.count() == 1


@pytest.mark.parametrize("token", ["0" * 32, "a\0b", "x"])
def test_an_unknown_refresh_token_is_refused(client, ok_app, token):
    assert ask_token(client, ok_app, refresh_form(ok_app, token)).json() == WRONG_REFRESH


def test_an_expired_refresh_token_is_refused_in_other_words(client, ok_app):
    token = granted(client, ok_app)["refresh_token"]
    RefreshToken.objects.update(expires_at=timezone.now())
    assert ask_token(client, ok_app, refresh_form(ok_app, token)).json() == {"error": "access_denied"}


def test_a_refresh_token_is_unknown_to_another_application(client, ok_app, other_ok_app):
    token = granted(client, ok_app)["refresh_token"]
    assert ask_token(client, other_ok_app, refresh_form(other_ok_app, token)).json() == WRONG_REFRESH
