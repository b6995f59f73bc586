"""VK ID on the wire: requests and answers as they are documented or were seen."""

import json
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
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, PasswordGrant, RefreshTokenGrant
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Response, Token, reveal
from django_socialgrants.providers.vkid import VKID

vkid = VKID()
PUBLIC = Credentials("51000001")
CONFIDENTIAL = Credentials("51000001", "service-token")
CALLBACK = "https://example.com/social/vkid/callback/"
STATE = "Yq3c0mWv2nT8bK5sJ1xR7dLzE4hP9aGu-fVtQ6oN_iB"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CODE = AuthorizationCodeGrant("vk2.a.code", CALLBACK, VERIFIER, device_id="device-1", state=STATE)
REFRESH = RefreshTokenGrant("vk2.a.refresh", device_id="device-1", state=STATE)
TOKEN = Token("vk2.a.access", "vk2.a.refresh", device_id="device-1")


def clear(request):
    return {name: reveal(value) for name, value in request.params.items()}


def respond(data, status=200):
    return Response(status, {"content-type": "application/json"}, json.dumps(data).encode())


def refuse(error, description="", status=200):
    return respond({"error": error, "error_description": description, "state": STATE}, status)


# --- the dialog ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "besides"),
    [
        ("", {}),
        ("vkid", {}),
        ("ok_ru", {"provider": "ok_ru", "prompt": "login"}),
        ("mail_ru", {"provider": "mail_ru", "prompt": "login"}),
    ],
)
def test_the_dialog_is_asked_for_with_pkce_and_for_a_way_in(way, besides):
    url = vkid.authorization_url(
        PUBLIC,
        response_type="code",
        redirect_uri=CALLBACK,
        state=STATE,
        scope="vkid.personal_info email",
        code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        way=way,
    )
    assert url.startswith("https://id.vk.ru/authorize?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "response_type": "code",
        "client_id": "51000001",
        "redirect_uri": CALLBACK,
        "scope": "vkid.personal_info email",
        "state": STATE,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        **besides,
    }


def test_there_are_no_implicit_and_no_password_grants():
    with pytest.raises(UnsupportedGrant):
        vkid.authorization_url(PUBLIC, response_type="token", redirect_uri=CALLBACK, state=STATE)
    with pytest.raises(UnsupportedGrant):
        vkid.token_request(PUBLIC, PasswordGrant("ivan", "password"))


# --- token requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "secret"), [(PUBLIC, {}), (CONFIDENTIAL, {"service_token": "service-token"})]
)
def test_a_code_is_exchanged_with_verifier_device_and_state(credentials, secret):
    request = vkid.token_request(credentials, CODE)
    assert (request.method, request.url) == ("POST", "https://id.vk.ru/oauth2/auth")
    assert clear(request) == {
        "grant_type": "authorization_code",
        "code": "vk2.a.code",
        "code_verifier": VERIFIER,
        "client_id": "51000001",
        "device_id": "device-1",
        "redirect_uri": CALLBACK,
        "state": STATE,
        **secret,
    }


@pytest.mark.parametrize("credentials", [PUBLIC, CONFIDENTIAL])
def test_a_refresh_names_the_device_and_never_the_service_token(credentials):
    assert clear(vkid.token_request(credentials, REFRESH)) == {
        "grant_type": "refresh_token",
        "refresh_token": "vk2.a.refresh",
        "client_id": "51000001",
        "device_id": "device-1",
        "state": STATE,
    }


# --- token answers ---------------------------------------------------------------------------------------

GRANTED = {"access_token": "vk2.a.2", "refresh_token": "vk2.a.3", "user_id": 1000000001, "state": STATE}


@pytest.mark.parametrize("grant", [CODE, REFRESH], ids=lambda grant: grant.grant_type)
def test_a_token_belongs_to_the_user_and_the_device(grant):
    token = vkid.parse_token_response(respond(GRANTED | {"expires_in": 3600, "scope": "email phone"}), grant)
    assert token == Token("vk2.a.2", "vk2.a.3", 3600, "1000000001", scope="email phone", device_id="device-1")


@pytest.mark.parametrize("expires_in", [0, "0", -1, None])
def test_a_lifetime_of_nothing_says_nothing(expires_in):
    assert vkid.parse_token(GRANTED | {"expires_in": expires_in}).expires_in is None


def test_the_answer_to_another_request_is_malformed():
    with pytest.raises(MalformedResponse, match="state"):
        vkid.parse_token_response(respond(GRANTED | {"state": STATE[::-1]}), REFRESH)


@pytest.mark.parametrize(
    "description",
    [
        "refresh_token is missing or invalid",
        "session is compromised because refresh token has already been applied",
        "code is invalid or expired",
        "code_verifier is invalid",
        "verifier is missing or invalid",
        "device_id is invalid",
    ],
)
@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request"])
@pytest.mark.parametrize("status", [200, 400, 401])
def test_only_a_new_login_helps(error, description, status):
    with pytest.raises(InvalidGrant) as caught:
        vkid.parse_token_response(refuse(error, description, status), REFRESH)
    assert caught.value.description == description


@pytest.mark.parametrize(
    "response",
    [
        refuse("invalid_request", "redirect_uri is invalid, please pass same redirect_uri"),
        refuse("invalid_request", "service_token is invalid", 401),
        refuse("invalid_request", "", 400),
        refuse("invalid_request", "grant_type is missing", 404),
        refuse("invalid_client", "client_id is invalid", 401),
        Response(404, {"content-type": "text/html"}, b"\n<!DOCTYPE html><title>404</title>"),
    ],
)
def test_something_is_wrong_with_the_configuration(response):
    with pytest.raises(InvalidClient):
        vkid.parse_token_response(response, REFRESH)


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (refuse("slow_down", "too many requests"), 429),
        (refuse("temporarily_unavailable"), 503),
        (refuse("server_error", "", 400), 500),
        (Response(200, {"content-type": "text/html"}, b"<html>Are you a robot?</html>"), 200),
        (Response(403, {}, b"<html>Are you a robot?</html>"), 403),
    ],
)
def test_it_is_worth_trying_again_later(response, status):
    with pytest.raises(ProviderUnavailable) as caught:
        vkid.parse_token_response(response, REFRESH)
    assert (caught.value.status, caught.value.sent) == (status, True)


@pytest.mark.parametrize("body", [b"", b'{"access_token": "vk2', b"null", b"vk2.a.2"])
def test_what_is_neither_an_answer_nor_a_page_is_malformed(body):
    with pytest.raises(MalformedResponse):
        vkid.parse_token_response(Response(200, {}, body), REFRESH)


def test_an_error_of_another_kind_is_that_error():
    with pytest.raises(OAuthError) as caught:
        vkid.parse_token_response(refuse("invalid_scope", "scope is invalid"), REFRESH)
    assert type(caught.value) is OAuthError


# --- whose it is -----------------------------------------------------------------------------------------


def test_whose_a_token_is_is_asked_in_russian():
    request = vkid.identity_request(PUBLIC, TOKEN)
    assert (request.method, request.url) == ("POST", "https://id.vk.ru/oauth2/user_info")
    assert clear(request) == {"client_id": "51000001", "access_token": "vk2.a.access"}
    assert request.headers == {"Accept-Language": "ru"}


@pytest.mark.parametrize("user_id", ["1000000001", 1000000001])
def test_an_account_is_known_by_its_user_id(user_id):
    user = {"user_id": user_id, "first_name": "Иван", "last_name": "Петров", "email": "", "sex": 2}
    identity = vkid.parse_identity_response(respond({"user": user}), PUBLIC)
    assert identity == Identity("1000000001", "Иван Петров", "Иван", "Петров", "", {"sex": 2})


@pytest.mark.parametrize("data", [{}, {"user": {}}, {"user": None}, {"user": {"email": "i@vk.example"}}, []])
def test_nobody_is_known_without_it(data):
    with pytest.raises(MalformedResponse):
        vkid.parse_identity_response(respond(data), PUBLIC)


@pytest.mark.parametrize("status", [200, 401])
def test_a_token_may_be_dead_when_it_is_asked_whose_it_is(status):
    with pytest.raises(SessionExpired):
        vkid.parse_identity_response(
            refuse("invalid_token", "access_token is missing or invalid", status), PUBLIC
        )


# --- revocation ------------------------------------------------------------------------------------------


def test_a_revocation_names_the_access_token():
    request = vkid.revocation_request(CONFIDENTIAL, TOKEN)
    assert (request.method, request.url) == ("POST", "https://id.vk.ru/oauth2/revoke")
    assert clear(request) == {"client_id": "51000001", "access_token": "vk2.a.access"}


@pytest.mark.parametrize(
    "response", [respond({"response": 1}), refuse("invalid_token", "access_token is missing or invalid", 401)]
)
def test_what_is_over_is_revoked(response):
    assert vkid.parse_revocation(response) is None


# --- VK's REST API ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("circuit", Circuit)
def test_a_call_is_not_signed_and_carries_everything_in_its_body(circuit):
    params = {"fields": ["photo_200", "sex"], "extended": True, "offset": 0, "q": None}
    request = vkid.api_request(PUBLIC, TOKEN, "users.get", params, circuit)
    assert (request.method, request.url) == ("POST", "https://api.vk.ru/method/users.get")
    assert clear(request) == {
        "access_token": "vk2.a.access",
        "v": "5.199",
        "fields": "photo_200,sex",
        "extended": "1",
        "offset": "0",
    }


def test_a_call_may_ask_for_another_version():
    assert (
        vkid.api_request(PUBLIC, TOKEN, "users.get", {"v": "5.243"}, "server-server").params["v"] == "5.243"
    )


@pytest.mark.parametrize("method", ["", "users/get", "../oauth2/revoke", "users.get?v=1"])
def test_a_call_names_a_method(method):
    with pytest.raises(ValueError, match="method"):
        vkid.api_request(PUBLIC, TOKEN, method, {}, Circuit.SERVER_SERVER)


@pytest.mark.parametrize("result", [[{"id": 1}], 1, {}, None])
def test_a_result_is_what_the_response_holds(result):
    assert vkid.parse_api(respond({"response": result})) == result


@pytest.mark.parametrize("data", [{}, [], 1, None])
def test_a_result_without_a_response_is_malformed(data):
    with pytest.raises(MalformedResponse):
        vkid.parse_api(respond(data))


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((5, 1116), SessionExpired),
        ((6, 9, 29), RateLimited),
        ((7, 15, 203, 14, 17), PermissionDenied),
        ((1, 10), ServiceUnavailable),
        ((101,), InvalidSignature),
        ((3, 8, 100, 113, 1114), APIError),
    ],
)
def test_a_call_is_refused_with_a_number(codes, kind):
    for code in codes:
        with pytest.raises(APIError) as caught:
            vkid.parse_api(respond({"error": {"error_code": code, "error_msg": "no"}}))
        assert (type(caught.value), caught.value.code) == (kind, code)


@pytest.mark.parametrize(
    "response",
    [
        respond(
            {
                "error": {
                    "error_code": 5,
                    "error_msg": "User authorization failed: access_token was given to another ip address.",
                }
            }
        ),
        refuse("invalid_token", "access_token was given to another ip address", 401),
    ],
)
def test_a_token_used_from_another_address_is_no_session_that_has_expired(response):
    with pytest.raises(PermissionDenied, match="bound to the IP address") as caught:
        vkid.parse_api(response)
    assert caught.value.code == 5
