"""OK.ru: its requests, its answers and its ways to say no."""

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
    ProviderUnavailable,
    RateLimited,
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
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Response, Secret, Token, reveal
from django_socialgrants.providers.ok import OK

CREDENTIALS = Credentials("512000000000", "ok-client-secret", "CGEXAMPLEKEYBABABA")
REDIRECT_URI = "https://site.example/social/ok/code/callback/"
TOKEN = Token("tkn.1", session_secret="session-secret")

ok = OK()


def sample(name):
    return json.loads((Path(__file__).parents[1] / f"samples/ok_{name}.json").read_text())


def clear(request):
    return {name: reveal(value) for name, value in request.params.items()}


# --- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", ["code", "token"])
def test_the_authorization_url_joins_scopes_with_an_encoded_semicolon(response_type):
    url = ok.authorization_url(
        CREDENTIALS,
        response_type=response_type,
        redirect_uri=REDIRECT_URI,
        state="s1",
        scope="VALUABLE_ACCESS GET_EMAIL",
    )
    assert url.startswith("https://connect.ok.ru/oauth/authorize?")
    assert "scope=VALUABLE_ACCESS%3BGET_EMAIL&" in url
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": "512000000000",
        "scope": "VALUABLE_ACCESS;GET_EMAIL",
        "response_type": response_type,
        "redirect_uri": REDIRECT_URI,
        "state": "s1",
    }


def test_a_code_is_redeemed_with_the_plain_application_secret():
    request = ok.token_request(CREDENTIALS, AuthorizationCodeGrant(code="c1", redirect_uri=REDIRECT_URI))
    assert (request.method, request.url) == ("POST", "https://api.ok.ru/oauth/token.do")
    assert clear(request) == {
        "grant_type": "authorization_code",
        "code": "c1",
        "redirect_uri": REDIRECT_URI,
        "client_id": "512000000000",
        "client_secret": "ok-client-secret",
    }


def test_a_refresh_token_is_redeemed_with_the_plain_application_secret():
    request = ok.token_request(CREDENTIALS, RefreshTokenGrant(refresh_token="r1"))
    assert (request.method, request.url) == ("POST", "https://api.ok.ru/oauth/token.do")
    assert clear(request) == {
        "grant_type": "refresh_token",
        "refresh_token": "r1",
        "client_id": "512000000000",
        "client_secret": "ok-client-secret",
    }


def test_the_password_grant_is_the_rest_method_auth_login():
    request = ok.token_request(
        CREDENTIALS, PasswordGrant(username="ivan", password="пароль", scope="GET_EMAIL")
    )
    assert (request.method, request.url) == ("POST", "https://api.ok.ru/fb.do")
    assert clear(request) == {
        "method": "auth.login",
        "application_key": "CGEXAMPLEKEYBABABA",
        "user_name": "ivan",
        "password": "пароль",
        "verification_supported": "1",
        "verification_supported_v": "1",
        "format": "json",
    }
    assert isinstance(request.params["password"], Secret)


def test_the_implicit_grant_makes_no_token_request():
    with pytest.raises(UnsupportedGrant):
        ok.token_request(CREDENTIALS, ImplicitGrant(access_token="t1"))


@pytest.mark.parametrize("circuit", Circuit)
def test_a_signed_call_is_a_post_that_names_application_format_and_method(circuit):
    request = ok.api_request(CREDENTIALS, TOKEN, "friends.get", {"uids": ["1", 2]}, circuit)
    assert (request.method, request.url) == ("POST", "https://api.ok.ru/fb.do")
    params = clear(request)
    assert len(params.pop("sig")) == 32
    assert params == {
        "application_key": "CGEXAMPLEKEYBABABA",
        "format": "json",
        "method": "friends.get",
        "uids": "1,2",
        "access_token": "tkn.1",
    }


def test_the_access_token_is_sent_but_not_part_of_the_client_circuits_signature():
    def sig(token):
        return ok.api_request(CREDENTIALS, token, "friends.get", {}, Circuit.CLIENT_SERVER).params["sig"]

    assert sig(TOKEN) == sig(Token("tkn.2", session_secret="session-secret"))


def test_a_long_token_is_kept_alive_by_a_call():
    assert ok.keep_alive_call(Token("t1", scope="VALUABLE_ACCESS LONG_ACCESS_TOKEN")) == (
        "auth.touchSession",
        {},
    )
    assert ok.keep_alive_call(Token("t1", scope="VALUABLE_ACCESS")) is None
    assert ok.keep_alive_call(Token("t1")) is None


# --- tokens ----------------------------------------------------------------------------------------------


def test_a_token_answer_names_no_user_and_writes_seconds_as_a_string():
    assert ok.parse_token(sample("token")) == Token(
        "tkn.6ripa.5-03av", "d54704a9b8_561234567890_1367", 1800, token_type="session"
    )


def test_a_refresh_answer_has_no_new_refresh_token():
    token = ok.parse_token({"access_token": "tkn.2", "token_type": "session", "expires_in": 1800})
    assert not token.refresh_token


def test_a_fragment_and_a_json_answer_of_the_same_content_are_the_same_token():
    fragment = sample("fragment")
    token = Token(
        "tkn.6ripa.5-03av",
        expires_in=1800,
        session_secret="0f343b0931126a20f133d67c2b018a3b",
        scope="VALUABLE_ACCESS GET_EMAIL",
    )
    assert ok.parse_token(fragment) == token
    assert ok.parse_token(fragment | {"expires_in": 1800}) == token
    assert ok.parse_token(ImplicitGrant.from_fragment(fragment).params()) == token


@pytest.mark.parametrize("name", ["permissions_granted", "permission_granted", "scope"])
@pytest.mark.parametrize("separator", [";", ",", " ", "; "])
def test_granted_permissions_are_read_whatever_they_are_called_and_separated_by(name, separator):
    token = ok.parse_token({"access_token": "t1", name: f"VALUABLE_ACCESS{separator}GET_EMAIL"})
    assert token.scope == "VALUABLE_ACCESS GET_EMAIL"


def test_the_answer_to_auth_login_is_a_token_with_user_and_session_secret():
    assert ok.parse_token(sample("login")) == Token(
        "tkn.6ripa.5-03av", uid="561234567890", session_secret="0f343b0931126a20f133d67c2b018a3b"
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": "invalid_grant"}, InvalidGrant),
        ({"error": "invalid_token", "error_description": "Invalid refresh token structure"}, InvalidGrant),
        ({"error": "access_denied"}, InvalidGrant),
        ({"error": "invalid_client"}, InvalidClient),
        ({"error": "invalid_request", "error_description": "Wrong redirect_uri"}, OAuthError),
        ({"error_code": 102, "error_msg": "PARAM_SESSION_EXPIRED"}, InvalidGrant),
        ({"error_code": "103", "error_msg": "PARAM_SESSION_KEY"}, InvalidGrant),
        ({"error_code": 401, "error_msg": "AUTH_LOGIN : INVALID_CREDENTIALS"}, InvalidGrant),
        ({"error_code": 2004, "error_msg": "USER_IS_DELETED"}, InvalidGrant),
        ({"error_code": 402, "error_msg": "AUTH_LOGIN_CAPTCHA"}, APIError),
        ({"error_code": 403, "error_msg": "AUTH_LOGIN_WEB_HUMAN_CHECK"}, APIError),
        ({"error_code": 101, "error_msg": "PARAM_API_KEY"}, InvalidSignature),
        ({"error_code": 2, "error_msg": "SERVICE"}, ServiceUnavailable),
        ({"error_code": 8, "error_msg": "FLOOD_BLOCKED", "access_token": "t1"}, RateLimited),
    ],
)
def test_a_token_endpoint_says_no_in_either_dialect(answer, kind):
    with pytest.raises((OAuthError, APIError)) as caught:
        ok.parse_token(answer)
    assert type(caught.value) is kind


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Failed to convert value of type 'java.lang.String' to 'java.lang.Long'</body></html>",
        "<!doctype html><html><head><title>HTTP Status 400 – Bad Request</title></head></html>",
    ],
)
def test_a_page_in_place_of_a_token_is_malformed(status, body):
    with pytest.raises(MalformedResponse):
        Response(status, {"content-type": "text/html"}, body.encode()).json()


# --- calls -----------------------------------------------------------------------------------------------

CODES = {
    SessionExpired: (102, 103, 107, 453),
    InvalidSignature: (101, 104, 105, 210, 900),
    PermissionDenied: (10, 200, 24, 50, 455, 456, 457, 458),
    RateLimited: (8, 11, 26),
    ServiceUnavailable: (1, 2, 30, 31, 9999),
    APIError: (
        3,
        4,
        12,
        21,
        23,
        100,
        106,
        110,
        160,
        220,
        300,
        401,
        402,
        403,
        451,
        454,
        514,
        1200,
        2001,
        5000,
        77777,
    ),
}


def error_of(code, **more):
    body = {"error_code": code, "error_msg": "NAME : text", "error_data": None} | more
    with pytest.raises(APIError) as caught:
        ok.parse_api(Response(200, {}, json.dumps(body).encode()))
    return caught.value


@pytest.mark.parametrize("kind", CODES)
def test_a_code_has_its_class_as_integer_and_as_string(kind):
    for code in CODES[kind]:
        for error in (error_of(code), error_of(str(code)), error_of(code, error_field="uid")):
            assert type(error) is kind
            assert (error.code, error.message) == (code, "NAME : text")


@pytest.mark.parametrize("code", [7, 9, 22, 25, 511, 2002, 2004])
def test_a_user_who_is_blocked_or_inactive_is_not_allowed_the_call(code):
    assert type(error_of(code)) is PermissionDenied


def test_a_service_that_is_out_of_order_may_be_tried_again_later():
    assert isinstance(error_of(2), ProviderUnavailable)
    assert error_of(2).gateway_status == 503


def test_a_recorded_error_is_told_with_its_code_and_message():
    with pytest.raises(InvalidSignature) as caught:
        ok.parse_api(Response(200, {"invocation-error": "104"}, json.dumps(sample("error")).encode()))
    assert caught.value.code == 104
    assert caught.value.message.startswith("PARAM_SIGNATURE : Invalid signature")


def test_a_nested_error_is_an_error_as_well():
    with pytest.raises(InvalidSignature):
        ok.parse_api(Response(200, {}, b'{"error": {"error_code": 104, "error_msg": "PARAM_SIGNATURE"}}'))


@pytest.mark.parametrize("code", ["", "x", True, 1.5, [], {}])
def test_a_code_that_is_none_is_malformed(code):
    with pytest.raises(MalformedResponse):
        ok.parse_api(Response(200, {}, json.dumps({"error_code": code}).encode()))


@pytest.mark.parametrize(
    "result", ["123", 123, True, False, None, [], ["1"], {"uid": "1"}, {"error_code": None}]
)
def test_a_result_is_any_json_value(result):
    assert ok.parse_api(Response(200, {}, json.dumps(result).encode())) == result


# --- identity --------------------------------------------------------------------------------------------


def test_the_owner_of_a_token_is_asked_for_without_naming_anybody():
    assert ok.identity_call() == ("users.getCurrentUser", {})


def test_a_profile_is_an_identity():
    identity = ok.parse_identity(sample("profile"))
    assert identity == Identity(
        uid="561234567890",
        name="Иван Петров",
        first_name="Иван",
        last_name="Петров",
        email="ivan@mail.example",
        profile={
            "birthday": "1989-01-18",
            "birthdaySet": True,
            "age": 37,
            "locale": "ru",
            "gender": "male",
            "has_email": True,
            "online": "web",
            "photo_id": "777",
            "pic_1": "https://i.example/50x50.jpg",
        },
    )


def test_only_the_user_id_has_to_be_there():
    assert ok.parse_identity({"uid": "561"}) == Identity("561")


@pytest.mark.parametrize(
    "result", [None, "561", 561, True, [], [{"uid": "561"}], {}, {"uid": ""}, {"uid": None}]
)
def test_a_result_that_names_nobody_is_malformed(result):
    with pytest.raises(MalformedResponse):
        ok.parse_identity(result)
