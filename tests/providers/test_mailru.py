"""Platform@Mail.Ru: its requests, its answers and its ways to say no."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from django_socialgrants.exceptions import (
    APIError,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    MalformedResponse,
    OAuthError,
    PermissionDenied,
    ServiceUnavailable,
    SessionExpired,
    UnsupportedGrant,
)
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    ImplicitGrant,
    PasswordGrant,
    RefreshTokenGrant,
)
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Response, Token, reveal
from django_socialgrants.providers.mailru import MailRu

CREDENTIALS = Credentials("423004", "mailru-secret-key", "mailru-private-key")
REDIRECT_URI = "https://site.example/social/mailru/code/callback/"
UID = "12900285598278158001"
TOKEN = Token("t1", uid=UID)

mailru = MailRu()


def sample(name):
    return json.loads((Path(__file__).parents[1] / f"samples/mailru_{name}.json").read_text())


def clear(request):
    return {name: reveal(value) for name, value in request.params.items()}


def call(token, circuit, **params):
    return clear(mailru.api_request(CREDENTIALS, token, "users.getInfo", params, circuit))


# --- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", ["code", "token"])
def test_the_authorization_url_joins_scopes_with_an_encoded_space(response_type):
    url = mailru.authorization_url(
        CREDENTIALS, response_type=response_type, redirect_uri=REDIRECT_URI, state="s1", scope="photos stream"
    )
    assert url.startswith("https://connect.mail.ru/oauth/authorize?")
    assert "scope=photos%20stream&" in url
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": "423004",
        "scope": "photos stream",
        "response_type": response_type,
        "redirect_uri": REDIRECT_URI,
        "state": "s1",
    }


@pytest.mark.parametrize(
    ("grant", "url", "params"),
    [
        (
            AuthorizationCodeGrant(code="c1", redirect_uri=REDIRECT_URI),
            "https://connect.mail.ru/oauth/token",
            {"code": "c1", "redirect_uri": REDIRECT_URI},
        ),
        (
            RefreshTokenGrant(refresh_token="r1"),
            "https://appsmail.ru/oauth/token",
            {"refresh_token": "r1"},
        ),
        (
            PasswordGrant(username="ivan@mail.example", password="пароль", scope="photos stream"),
            "https://appsmail.ru/oauth/token",
            {"username": "ivan@mail.example", "password": "пароль", "scope": "photos stream"},
        ),
        (
            PasswordGrant(username="ivan@mail.example", password="пароль"),
            "https://appsmail.ru/oauth/token",
            {"username": "ivan@mail.example", "password": "пароль"},
        ),
    ],
    ids=lambda value: getattr(value, "grant_type", ""),
)
def test_a_grant_is_redeemed_with_the_secret_key(grant, url, params):
    request = mailru.token_request(CREDENTIALS, grant)
    assert (request.method, request.url) == ("POST", url)
    assert clear(request) == {
        "grant_type": grant.grant_type,
        "client_id": "423004",
        "client_secret": "mailru-secret-key",
        **params,
    }


def test_the_implicit_grant_makes_no_token_request():
    with pytest.raises(UnsupportedGrant):
        mailru.token_request(CREDENTIALS, ImplicitGrant(access_token="t1"))


def test_a_call_of_the_server_circuit_says_that_it_is_one():
    request = mailru.api_request(CREDENTIALS, TOKEN, "friends.get", {"ext": True}, Circuit.SERVER_SERVER)
    assert (request.method, request.url) == ("POST", "https://www.appsmail.ru/platform/api")
    params = clear(request)
    assert len(params.pop("sig")) == 32
    assert params == {
        "app_id": "423004",
        "ext": "1",
        "method": "friends.get",
        "secure": "1",
        "session_key": "t1",
    }


def test_a_call_of_the_client_circuit_does_not_say_secure():
    params = call(TOKEN, Circuit.CLIENT_SERVER)
    del params["sig"]
    assert params == {"app_id": "423004", "method": "users.getInfo", "session_key": "t1"}


def test_a_call_without_a_session_names_the_user():
    assert call(Token(uid=UID), Circuit.SERVER_SERVER)["uid"] == UID
    assert call(Token(uid=UID), Circuit.SERVER_SERVER, uid="7")["uid"] == "7"
    assert "session_key" not in call(Token(uid=UID), Circuit.SERVER_SERVER)


@pytest.mark.parametrize("circuit", Circuit)
def test_the_session_key_is_part_of_the_signature(circuit):
    assert call(TOKEN, circuit)["sig"] != call(Token("t2", uid=UID), circuit)["sig"]


def test_no_token_is_kept_alive_by_a_call():
    assert mailru.keep_alive_call(Token("t1", scope="LONG_ACCESS_TOKEN photos")) is None


# --- tokens ----------------------------------------------------------------------------------------------

PARSED = Token(
    "618ba337f31fc931ad694b1ae7290306", "0c88bbafc50d60ed24fa1cc05aaf79ce", 86400, UID, token_type="bearer"
)


def test_a_token_answer_names_the_user():
    assert mailru.parse_token(sample("token")) == PARSED


def test_a_fragment_and_a_json_answer_of_the_same_content_are_the_same_token():
    fragment = {name: str(value) for name, value in sample("token").items()} | {"state": "s1"}
    assert mailru.parse_token(fragment) == PARSED
    assert mailru.parse_token(ImplicitGrant.from_fragment(fragment).params()) == PARSED


def test_an_answer_served_as_javascript_is_read_as_json():
    body = (Path(__file__).parents[1] / "samples/mailru_token.json").read_bytes()
    response = Response(200, {"content-type": "text/javascript; charset=utf-8"}, body)
    assert mailru.parse_token(response.json()) == PARSED


@pytest.mark.parametrize("uid", [True, [UID], {"uid": UID}, "ivan", "1" * 33, -1, 1.5])
def test_a_user_id_of_another_form_is_malformed(uid):
    with pytest.raises(MalformedResponse, match="uid"):
        mailru.parse_token(sample("token") | {"x_mailru_vid": uid})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": "invalid_grant"}, InvalidGrant),
        ({"error": "invalid_client", "error_description": "no such application"}, InvalidClient),
        ({"error": "invalid_request"}, OAuthError),
        ({"error": "invalid_token"}, OAuthError),
        ({"error": "access_denied"}, OAuthError),
        ({"error": {"error_code": 102, "error_msg": "User authorization failed"}}, InvalidGrant),
        ({"error": {"error_code": "105", "error_msg": "application is not installed"}}, InvalidGrant),
        ({"error": {"error_code": 104, "error_msg": "wrong signature"}}, InvalidSignature),
        ({"error": {"error_code": 1}, "access_token": "t1"}, ServiceUnavailable),
    ],
)
def test_a_token_endpoint_says_no_in_either_dialect(answer, kind):
    with pytest.raises((OAuthError, APIError)) as caught:
        mailru.parse_token(answer)
    assert type(caught.value) is kind


# --- calls -----------------------------------------------------------------------------------------------

CODES = {
    SessionExpired: (102, 105),
    InvalidSignature: (103, 104),
    PermissionDenied: (200, 202),
    ServiceUnavailable: (1,),
    APIError: (2, 3, 100, 501, 77777),
}


def error_of(body, status=200):
    with pytest.raises(APIError) as caught:
        mailru.parse_api(Response(status, {}, json.dumps(body).encode()))
    return caught.value


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("kind", CODES)
def test_a_code_has_its_class_as_integer_and_as_string(kind, status):
    for code in CODES[kind]:
        for said in (code, str(code)):
            error = error_of({"error": {"error_code": said, "error_msg": "text"}}, status)
            assert type(error) is kind
            assert (error.code, error.message) == (code, "text")


def test_a_recorded_error_is_told_with_its_code_and_message():
    error = error_of(sample("error"))
    assert type(error) is PermissionDenied
    assert (error.code, error.message) == (202, "Access to this object is denied")


def test_a_flat_error_is_an_error_as_well():
    error = error_of({"error_code": 102, "error_msg": "User authorization failed"})
    assert type(error) is SessionExpired


@pytest.mark.parametrize(
    "error", [{}, {"error_msg": "?"}, {"error_code": None}, {"error_code": "x"}, ["x"], 7, True]
)
def test_an_error_without_a_code_is_malformed(error):
    with pytest.raises(MalformedResponse):
        mailru.parse_api(Response(200, {}, json.dumps({"error": error}).encode()))


@pytest.mark.parametrize("result", ["123", 123, True, None, [], ["1"], {"uid": "1"}, {"error": None}])
def test_a_result_is_any_json_value(result):
    assert (
        mailru.parse_api(Response(200, {"content-type": "text/javascript"}, json.dumps(result).encode()))
        == result
    )


# --- identity --------------------------------------------------------------------------------------------


def test_the_owner_of_a_token_is_asked_for_without_naming_anybody():
    assert mailru.identity_call() == ("users.getInfo", {})


def test_a_profile_is_an_identity():
    assert mailru.parse_identity(sample("profile")) == Identity(
        uid=UID,
        name="Иван Петров",
        first_name="Иван",
        last_name="Петров",
        email="ivan@mail.example",
        profile={
            "nick": "ivan",
            "sex": 0,
            "birthday": "22.04.2000",
            "age": 26,
            "has_pic": 1,
            "pic": "http://i.example/pic.jpg",
            "link": "http://my.example/mail/ivan/",
            "is_verified": 1,
            "vip": 0,
            "last_visit": 1589700000,
            "status_text": "",
        },
    )


def test_only_the_user_id_has_to_be_there():
    assert mailru.parse_identity([{"uid": 561}]) == Identity("561")


@pytest.mark.parametrize(
    "result",
    [
        None,
        "561",
        True,
        {},
        {"uid": "561"},
        [],
        [None],
        ["561"],
        [{}],
        [{"uid": ""}],
        [{"uid": "1"}, {"uid": "2"}],
    ],
)
def test_a_result_that_does_not_name_exactly_one_user_is_malformed(result):
    with pytest.raises(MalformedResponse):
        mailru.parse_identity(result)
