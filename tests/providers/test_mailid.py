"""Mail ID on the wire: requests and answers as they are documented or were seen."""

import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from django_socialgrants.exceptions import (
    APIError,
    InvalidClient,
    InvalidGrant,
    MalformedResponse,
    SessionExpired,
    UnsupportedGrant,
)
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, RefreshTokenGrant
from django_socialgrants.oauth.values import Credentials, Identity, Response, Token, reveal
from django_socialgrants.providers.mailid import MailID

mailid = MailID()
APP = Credentials("0" * 31 + "1", "client-secret")
CALLBACK = "https://example.com/social/mailid/callback/"
CODE = AuthorizationCodeGrant("code-1", CALLBACK, "verifier-1", state="s" * 43)
REFRESH = RefreshTokenGrant("refresh-1", state="s" * 43)


def clear(request):
    return {name: reveal(value) for name, value in request.params.items()}


def respond(data, status=200):
    return Response(status, {"content-type": "application/json"}, json.dumps(data).encode())


def refuse(code, error, status=200):
    return respond({"error": error, "error_code": code, "error_description": error}, status)


@pytest.mark.parametrize(
    ("scope", "prompt"),
    [("userinfo", None), ("openid offline_access", "consent"), ("", None), ("offline_accessories", None)],
)
def test_who_wants_to_stay_connected_is_asked_for_consent(scope, prompt):
    url = mailid.authorization_url(APP, response_type="code", redirect_uri=CALLBACK, state="s", scope=scope)
    assert url.startswith("https://oauth.mail.ru/login?")
    assert dict(parse_qsl(urlsplit(url).query)).get("prompt") == prompt


def test_there_is_no_implicit_grant():
    with pytest.raises(UnsupportedGrant):
        mailid.authorization_url(APP, response_type="token", redirect_uri=CALLBACK, state="s")


@pytest.mark.parametrize(
    ("grant", "params"),
    [
        (CODE, {"code": "code-1", "redirect_uri": CALLBACK, "code_verifier": "verifier-1"}),
        (REFRESH, {"refresh_token": "refresh-1"}),
    ],
    ids=lambda value: getattr(value, "grant_type", ""),
)
def test_a_token_request_proves_the_application_in_its_body(grant, params):
    request = mailid.token_request(APP, grant)
    assert (request.method, request.url, request.headers) == ("POST", "https://oauth.mail.ru/token", {})
    client = {"client_id": APP.client_id, "client_secret": "client-secret"}
    assert clear(request) == {"grant_type": grant.grant_type, **client, **params}


def test_a_refresh_keeps_the_refresh_token():
    token = mailid.parse_token_response(respond({"expires_in": 3600, "access_token": "access-2"}), REFRESH)
    assert token == Token("access-2", "", 3600)


@pytest.mark.parametrize(
    ("code", "error", "kind"),
    [
        (1, "invalid client", InvalidClient),
        (2, "invalid request", APIError),
        (3, "invalid username or password", InvalidGrant),
        (6, "token not found", InvalidGrant),
        (99, "invalid_grant", APIError),
        ("6", "token not found", InvalidGrant),
        ([6], "token not found", MalformedResponse),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_the_number_decides_what_an_error_means(code, error, kind, status):
    with pytest.raises(kind) as caught:
        mailid.parse_token_response(refuse(code, error, status), REFRESH)
    assert type(caught.value) is kind


def test_an_error_without_a_number_is_one_of_the_rfc():
    with pytest.raises(InvalidGrant):
        mailid.parse_token_response(respond({"error": "invalid_grant"}), REFRESH)


def test_whose_a_token_is_is_asked_in_the_body_of_a_post():
    request = mailid.identity_request(APP, Token("access-1"))
    assert (request.method, request.url) == ("POST", "https://oauth.mail.ru/userinfo")
    assert clear(request) == {"access_token": "access-1"}
    assert "Authorization" not in request.headers


PROFILE = {
    "id": "1734604429",
    "client_id": APP.client_id,
    "email": "ivan@mail.example",
    "name": "Иван Петров",
}


def test_an_account_is_known_by_its_id():
    identity = mailid.parse_identity_response(respond(PROFILE), APP)
    assert identity == Identity(
        "1734604429", "Иван Петров", email="ivan@mail.example", profile={"client_id": APP.client_id}
    )


@pytest.mark.parametrize("id", [{}, {"id": ""}, {"id": None}, {"id": "ivan@mail.example"}])
def test_an_account_is_never_known_by_its_email(id):
    nameless = {name: value for name, value in PROFILE.items() if name != "id"}
    with pytest.raises(MalformedResponse):
        mailid.parse_identity_response(respond(nameless | id), APP)


@pytest.mark.parametrize("client_id", ["0" * 31 + "2", "", 1])
def test_a_token_of_another_application_proves_nothing(client_id):
    with pytest.raises(InvalidGrant, match="another application"):
        mailid.parse_identity_response(respond(PROFILE | {"client_id": client_id}), APP)


@pytest.mark.parametrize("status", [200, 401])
def test_a_dead_token_is_a_session_that_has_expired(status):
    with pytest.raises(SessionExpired, match="userinfo failed with code 6: token not found"):
        mailid.parse_identity_response(refuse(6, "token not found", status), APP)
