import pytest
from django.urls import reverse
from django.utils import timezone

from django_socialgrants.sandbox.models import AccessToken
from django_socialgrants.sandbox.people import PEOPLE

from .driver import FIRST, access_token, answer_of, mailru_call, mailru_signed

ME = FIRST["mailru"]
FRIEND = PEOPLE["mailru"][ME].friends[0]
URL = "socialgrants_sandbox:mailru_rest"


def refused(response, code):
    body = answer_of(response)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"error_code", "error_msg"}
    assert body["error"]["error_code"] == code
    return True


@pytest.mark.parametrize("uid", [None, ME])
def test_the_current_user_is_a_list_of_one_in_both_circuits(client, mailru_app, uid):
    response = mailru_call(client, mailru_app, "users.getInfo", access_token(mailru_app), uid=uid)
    assert answer_of(response) == [PEOPLE["mailru"][ME].profile]
    assert response["Content-Type"].startswith("text/javascript")
    assert "Глафира" in response.content.decode()


def test_others_are_told_without_their_email_address(client, mailru_app):
    session = access_token(mailru_app)
    answer = answer_of(mailru_call(client, mailru_app, "users.getInfo", session, uids=f"{FRIEND},{ME},1"))
    assert [profile["uid"] for profile in answer] == [FRIEND, ME]
    assert ["email" in profile for profile in answer] == [False, True]


def test_friends_are_user_ids_or_profiles(client, mailru_app):
    session = access_token(mailru_app)
    friends = PEOPLE["mailru"][ME].friends
    assert answer_of(mailru_call(client, mailru_app, "friends.get", session)) == list(friends)
    profiles = answer_of(mailru_call(client, mailru_app, "friends.get", session, ext="1"))
    assert [profile["uid"] for profile in profiles] == list(friends)


def test_posting_needs_its_permission_and_a_text(client, mailru_app):
    text = {"user_text": "Привет, мир! Ёж & 1+1=2"}
    assert refused(mailru_call(client, mailru_app, "stream.post", access_token(mailru_app), **text), 200)
    session = access_token(mailru_app, "stream")
    assert refused(mailru_call(client, mailru_app, "stream.post", session), 100)
    assert "error" not in answer_of(mailru_call(client, mailru_app, "stream.post", session, **text))


def test_a_server_may_ask_about_somebody_without_session(client, mailru_app):
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id, "uid": ME}
    answer = answer_of(client.get(reverse(URL), mailru_signed(mailru_app, params)))
    assert answer == [PEOPLE["mailru"][ME].profile]
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id, "uids": ME}
    assert answer_of(client.get(reverse(URL), mailru_signed(mailru_app, params)))[0]["uid"] == ME
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id}
    assert refused(client.get(reverse(URL), mailru_signed(mailru_app, params)), 100)


def test_whoever_has_only_the_private_key_needs_a_session(client, mailru_app):
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id, "uid": ME}
    assert refused(client.get(reverse(URL), mailru_signed(mailru_app, params, uid=ME)), 102)


def test_the_user_id_in_front_is_that_of_the_session(client, mailru_app):
    session = access_token(mailru_app)
    assert refused(mailru_call(client, mailru_app, "users.getInfo", session, uid=FRIEND), 104)


def test_secure_0_is_the_client_circuit_and_signed(client, mailru_app):
    session = access_token(mailru_app)
    response = mailru_call(client, mailru_app, "users.getInfo", session, uid=ME, secure="0")
    assert answer_of(response)[0]["uid"] == ME
    assert refused(mailru_call(client, mailru_app, "users.getInfo", session, uid=ME, secure="2"), 100)


def test_the_circuits_do_not_share_their_keys(client, mailru_app):
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id}
    params["session_key"] = access_token(mailru_app).value
    server = mailru_signed(mailru_app, params)
    del server["secure"]
    assert refused(client.post(reverse(URL), server), 104)
    client_side = mailru_signed(mailru_app, params | {"secure": "1"}, uid=ME)
    assert refused(client.post(reverse(URL), client_side), 104)


def test_what_was_not_signed_is_refused(client, mailru_app):
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id}
    params["session_key"] = access_token(mailru_app).value
    signed = mailru_signed(mailru_app, params)
    assert refused(client.post(reverse(URL), signed | {"uids": FRIEND}), 104)
    assert refused(client.post(reverse(URL), signed | {"sig": "0" * 32}), 104)


def test_an_unknown_method_is_refused(client, mailru_app):
    assert refused(mailru_call(client, mailru_app, "users.nonsense", access_token(mailru_app)), 2)


@pytest.mark.parametrize("app_id", ["999", "a\0b"])
def test_an_unknown_application_is_refused(client, mailru_app, app_id):
    session = access_token(mailru_app)
    assert refused(mailru_call(client, mailru_app, "users.getInfo", session, app_id=app_id), 103)


@pytest.mark.parametrize("name", ["method", "app_id", "sig"])
def test_a_missing_parameter_is_told(client, mailru_app, name):
    params = {"method": "users.getInfo", "app_id": mailru_app.client_id}
    params["session_key"] = access_token(mailru_app).value
    signed = mailru_signed(mailru_app, params)
    del signed[name]
    assert refused(client.post(reverse(URL), signed), 100)


def test_repeated_parameters_and_xml_are_refused(client, mailru_app):
    session = access_token(mailru_app)
    assert refused(mailru_call(client, mailru_app, "users.getInfo", session, format="xml"), 100)
    params = mailru_signed(mailru_app, {"method": "users.getInfo", "app_id": mailru_app.client_id})
    assert refused(client.post(reverse(URL), params | {"uid": [ME, ME]}), 100)


def test_no_foreign_expired_ended_or_unknown_session_is_accepted(client, mailru_app, other_mailru_app):
    session = access_token(mailru_app)
    assert refused(mailru_call(client, other_mailru_app, "users.getInfo", session), 102)
    assert refused(mailru_call(client, mailru_app, "friends.get"), 102)
    AccessToken.objects.update(expires_at=timezone.now())
    assert refused(mailru_call(client, mailru_app, "users.getInfo", session), 102)
    ended = access_token(mailru_app)
    assert ended.retire()
    assert refused(mailru_call(client, mailru_app, "users.getInfo", ended), 102)
