from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from django_socialgrants.sandbox.models import AccessToken
from django_socialgrants.sandbox.people import PEOPLE

from .driver import FIRST, access_token, implicit_session, md5_hex, ok_call, ok_signed

ME = FIRST["ok"]
URL = "socialgrants_sandbox:ok_rest"


def refused(response, code):
    body = response.json()
    assert set(body) == {"error_code", "error_msg", "error_data"}
    assert (body["error_code"], body["error_data"]) == (code, None)
    assert response.status_code == 200
    assert response["Invocation-Error"] == str(code)
    assert response["Content-Type"] == "application/json;charset=utf-8"
    return True


def test_the_current_user_is_told_in_full(client, ok_app):
    response = ok_call(client, ok_app, "users.getCurrentUser", access_token(ok_app, "GET_EMAIL"))
    assert response.json() == PEOPLE["ok"][ME].profile
    assert response["Content-Type"] == "application/json;charset=utf-8"
    assert "Аврора" in response.content.decode()
    assert "Invocation-Error" not in response


def test_an_email_address_needs_its_permission(client, ok_app):
    profile = ok_call(client, ok_app, "users.getCurrentUser", access_token(ok_app)).json()
    assert profile["has_email"] is True
    assert "email" not in profile


def test_fields_choose_and_the_user_id_is_always_there(client, ok_app):
    session = access_token(ok_app)
    answer = ok_call(client, ok_app, "users.getCurrentUser", session, fields="name,email,nonsense").json()
    assert answer == {"uid": ME, "name": "Аврора Вымыслова"}


def test_the_logged_in_user_is_a_bare_string(client, ok_app):
    assert ok_call(client, ok_app, "users.getLoggedInUser", access_token(ok_app)).json() == ME


def test_friends_are_user_ids(client, ok_app):
    session = access_token(ok_app, "VALUABLE_ACCESS")
    assert ok_call(client, ok_app, "friends.get", session).json() == list(PEOPLE["ok"][ME].friends)


def test_others_are_told_without_their_email_address(client, ok_app):
    session = access_token(ok_app, "VALUABLE_ACCESS GET_EMAIL")
    uids = f"999000000202,1,{ME}"
    answer = ok_call(client, ok_app, "users.getInfo", session, uids=uids, fields="first_name,email").json()
    assert answer == [
        {"uid": "999000000202", "first_name": "Тимофей"},
        {"uid": ME, "first_name": "Аврора"},
    ]


def test_a_hundred_people_at_once_are_enough(client, ok_app):
    params = {"uids": ",".join(["1"] * 101), "fields": "name"}
    assert refused(ok_call(client, ok_app, "users.getInfo", **params), 100)


def test_an_application_may_ask_in_its_own_name(client, ok_app):
    answer = ok_call(client, ok_app, "users.getInfo", uids=ME, fields="name").json()
    assert answer == [{"uid": ME, "name": "Аврора Вымыслова"}]


@pytest.mark.parametrize("method", ["friends.get", "users.setStatus", "users.getInfo"])
def test_a_session_without_valuable_access_can_not_do_much(client, ok_app, method):
    params = {"status": "x", "uids": ME, "fields": "name"}
    assert refused(ok_call(client, ok_app, method, access_token(ok_app), **params), 10)


def test_a_status_is_set_whatever_characters_are_in_it(client, ok_app):
    session = access_token(ok_app, "VALUABLE_ACCESS")
    response = ok_call(client, ok_app, "users.setStatus", session, status="Привет, мир! Ёж & 1+1=2")
    assert response.json() is True


def test_a_required_parameter_is_missed(client, ok_app):
    assert refused(ok_call(client, ok_app, "users.setStatus", access_token(ok_app, "VALUABLE_ACCESS")), 100)
    assert refused(ok_call(client, ok_app, "users.getInfo", access_token(ok_app, "VALUABLE_ACCESS")), 100)


def test_a_session_with_a_secret_may_be_used_in_both_circuits(client, ok_app):
    session = implicit_session(ok_app)
    assert ok_call(client, ok_app, "users.getLoggedInUser", session).json() == ME
    assert (
        ok_call(client, ok_app, "users.getLoggedInUser", session, secret=session.session_secret).json() == ME
    )


@pytest.mark.parametrize("secret", ["wrong", "00112233445566778899AABB"])
def test_a_signature_with_another_secret_is_refused(client, ok_app, secret):
    session = implicit_session(ok_app)
    assert refused(ok_call(client, ok_app, "users.getLoggedInUser", session, secret=secret), 104)


def test_a_session_without_a_secret_is_not_signed_with_nothing(client, ok_app):
    params = {"method": "users.getLoggedInUser", "application_key": ok_app.client_key}
    params |= {"access_token": access_token(ok_app).value}
    assert refused(client.post(reverse(URL), ok_signed(params, "")), 104)


def test_what_was_not_signed_is_refused(client, ok_app):
    params = {"method": "users.getLoggedInUser", "application_key": ok_app.client_key}
    signed = ok_signed(params, ok_app.client_secret) | {"access_token": access_token(ok_app).value}
    assert refused(client.post(reverse(URL), signed | {"extra": "1"}), 104)
    assert refused(client.post(reverse(URL), params | {"access_token": access_token(ok_app).value}), 104)


def test_get_and_a_mixed_request_are_accepted(client, ok_app):
    session = access_token(ok_app)
    params = {"method": "users.getLoggedInUser", "application_key": ok_app.client_key}
    signed = ok_signed(params, md5_hex(session.value + ok_app.client_secret)) | {"session_key": session.value}
    assert client.get(reverse(URL), signed).json() == ME
    method = {"method": signed.pop("method")}
    assert client.post(reverse(URL, query=method), signed).json() == ME
    assert refused(client.post(reverse(URL, query=method), signed | method), 100)


def test_the_method_may_be_in_the_path_and_is_not_signed_then(client, ok_app):
    session = access_token(ok_app)
    params = {"application_key": ok_app.client_key, "access_token": session.value}
    signed = ok_signed(params, md5_hex(session.value + ok_app.client_secret))
    url = reverse("socialgrants_sandbox:ok_rest_path", args=["users", "getLoggedInUser"])
    assert url.endswith("/ok/api/users/getLoggedInUser")
    assert client.post(url, signed).json() == ME


@pytest.mark.parametrize("method", ["users.nonsense", "", "auth.nonsense"])
def test_an_unknown_method_is_refused(client, ok_app, method):
    assert refused(ok_call(client, ok_app, method, access_token(ok_app)), 3)


@pytest.mark.parametrize("key", ["", "CWRONGBABABA", "cgexamplekeybababa", "512000000000", "a\0b"])
def test_an_unknown_application_key_is_refused(client, ok_app, key):
    session = access_token(ok_app)
    assert refused(ok_call(client, ok_app, "users.getLoggedInUser", session, application_key=key), 101)


def test_a_call_without_session_is_refused(client, ok_app):
    assert refused(ok_call(client, ok_app, "users.getLoggedInUser"), 100)


@pytest.mark.parametrize("token", ["0" * 32, "a\0b"])
def test_an_unknown_session_is_refused(client, ok_app, token):
    session = access_token(ok_app)
    session.value = token
    assert refused(ok_call(client, ok_app, "users.getLoggedInUser", session), 103)


def test_a_session_of_another_application_is_refused(client, ok_app, other_ok_app):
    session = access_token(ok_app)
    assert refused(ok_call(client, other_ok_app, "users.getLoggedInUser", session), 103)


def test_a_session_is_dead_after_half_an_hour(client, ok_app):
    session = access_token(ok_app)
    assert session.expires_at <= timezone.now() + timedelta(minutes=30)
    AccessToken.objects.update(expires_at=timezone.now())
    assert refused(ok_call(client, ok_app, "users.getLoggedInUser", session), 102)


def test_an_ended_session_is_dead(client, ok_app):
    session = access_token(ok_app)
    assert ok_call(client, ok_app, "auth.expireSession", session).json() is True
    assert refused(ok_call(client, ok_app, "auth.expireSession", session), 102)


def age(days):
    AccessToken.objects.update(expires_at=timezone.now() + timedelta(days=30 - days))


def days_left():
    return (AccessToken.objects.get().expires_at - timezone.now()) / timedelta(days=1)


def test_any_call_prolongs_a_long_session_but_at_most_once_a_day(client, ok_app):
    session = access_token(ok_app, "LONG_ACCESS_TOKEN")
    age(days=0.9)
    ok_call(client, ok_app, "users.getLoggedInUser", session)
    assert days_left() < 29.2
    age(days=20)
    ok_call(client, ok_app, "users.getLoggedInUser", session)
    assert days_left() > 29.9


def test_touching_prolongs_a_long_session_at_once(client, ok_app):
    session = access_token(ok_app, "LONG_ACCESS_TOKEN")
    age(days=0.5)
    assert ok_call(client, ok_app, "auth.touchSession", session).json() is True
    assert days_left() > 29.9


def test_a_session_that_ended_is_not_touched(client, ok_app):
    session = access_token(ok_app, "LONG_ACCESS_TOKEN")
    ok_call(client, ok_app, "auth.expireSession", session)
    assert refused(ok_call(client, ok_app, "auth.touchSession", session), 102)


def test_nothing_prolongs_a_short_session(client, ok_app):
    session = access_token(ok_app, "VALUABLE_ACCESS")
    AccessToken.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert refused(ok_call(client, ok_app, "auth.touchSession", session), 10)
    ok_call(client, ok_app, "users.getLoggedInUser", session)
    assert days_left() < 1 / 24 / 50
