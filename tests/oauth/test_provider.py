"""The RFC 6749 defaults that every network inherits, by a network that adds nothing to them."""

import json
import math
import re
import string
from base64 import b64decode, urlsafe_b64decode
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_socialgrants.exceptions import (
    APIError,
    InvalidClient,
    InvalidGrant,
    MalformedResponse,
    OAuthError,
    ProviderError,
    RateLimited,
    SessionExpired,
    UnsupportedGrant,
)
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    ImplicitGrant,
    PasswordGrant,
    RefreshTokenGrant,
    base64url,
    code_challenge,
)
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import (
    Circuit,
    Credentials,
    Identity,
    Request,
    Response,
    Secret,
    Token,
    reveal,
)

REDIRECT_URI = "https://site.example/social/plain/code/callback/?a=1&b=ж"


class Plain(Provider):
    id = "plain"
    title = "Plain"
    authorization_endpoint = "https://plain.example/authorize"
    token_endpoints = {
        "authorization_code": "https://plain.example/token",
        "password": "https://plain.example/password",
        "refresh_token": "https://plain.example/refresh",
    }


class Comma(Plain):
    scope_separator = ","
    response_types = ("code",)
    token_endpoints = {"authorization_code": "https://plain.example/token"}


class Forest(Plain):
    """A network with ways in, and with tokens that are bound to a device."""

    ways = {"birch": "Birch", "oak": "Oak"}
    callback_fields = ("device_id",)
    echoes_state = True

    def authorization_params(self, *, scope, way):
        return {"by": way} if way not in ("", "birch") else {}


CREDENTIALS = Credentials("512 000", "client-secret", "client-key")


def query_of(url):
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


def authorize(provider, **changes):
    arguments = {"response_type": "code", "redirect_uri": REDIRECT_URI, "state": "s1"} | changes
    return provider.authorization_url(CREDENTIALS, **arguments)


def parse(**answer):
    return Plain().parse_token({"access_token": "t1"} | answer)


# --- the authorization request ---------------------------------------------------------------------------


def test_the_authorization_url_says_what_the_rfc_wants_said():
    url = authorize(Plain(), scope="photos stream")
    assert url.startswith("https://plain.example/authorize?")
    assert query_of(url) == {
        "response_type": "code",
        "client_id": "512 000",
        "redirect_uri": REDIRECT_URI,
        "scope": "photos stream",
        "state": "s1",
    }


def test_an_authorization_url_is_plain_ascii_without_plus_signs():
    url = authorize(Plain(), scope="photos stream")
    assert url.isascii()
    assert "+" not in url
    assert "scope=photos%20stream" in url


def test_what_is_empty_is_left_out_of_the_authorization_url():
    assert query_of(authorize(Plain())).keys() == {"response_type", "client_id", "redirect_uri", "state"}


def test_an_endpoint_with_a_query_of_its_own_keeps_it():
    class Asking(Plain):
        authorization_endpoint = "https://plain.example/authorize?prompt=consent"

    url = authorize(Asking())
    assert url.startswith("https://plain.example/authorize?prompt=consent&")
    assert url.count("?") == 1
    assert query_of(url) == query_of(authorize(Plain())) | {"prompt": "consent"}


def test_no_value_can_add_parameters_to_the_authorization_url():
    url = authorize(Plain(), state="s1&redirect_uri=https://evil.example#x")
    assert query_of(url)["state"] == "s1&redirect_uri=https://evil.example#x"
    assert query_of(url)["redirect_uri"] == REDIRECT_URI
    assert not urlsplit(url).fragment


def test_scopes_are_joined_as_the_network_likes_it():
    assert query_of(authorize(Comma(), scope=" photos   stream "))["scope"] == "photos,stream"


def test_a_code_challenge_goes_with_its_method():
    query = query_of(authorize(Plain(), code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"))
    assert query["code_challenge"] == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert query["code_challenge_method"] == "S256"


def test_the_implicit_grant_is_asked_for_with_the_response_type_token():
    assert query_of(authorize(Plain(), response_type="token"))["response_type"] == "token"


@pytest.mark.parametrize(
    ("provider", "response_type"),
    [(Comma(), "token"), (Plain(), "code token"), (Plain(), ""), (Plain(), "CODE")],
)
def test_an_unsupported_response_type_is_refused(provider, response_type):
    with pytest.raises(UnsupportedGrant, match="Plain"):
        authorize(provider, response_type=response_type)


@pytest.mark.parametrize(
    ("way", "asked"), [("", {}), ("birch", {}), ("oak", {"by": "oak"})], ids=["default", "named", "other"]
)
def test_a_way_in_is_asked_for_in_the_networks_words(way, asked):
    query = query_of(authorize(Forest(), way=way))
    assert {name: query[name] for name in ("by",) if name in query} == asked


def test_a_way_that_the_network_does_not_have_is_refused():
    for provider in (Plain(), Forest()):
        with pytest.raises(UnsupportedGrant, match="way in 'elm'"):
            authorize(provider, way="elm")


# --- the token request -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "url", "params"),
    [
        (
            AuthorizationCodeGrant(code="c1", redirect_uri=REDIRECT_URI, code_verifier="v1"),
            "https://plain.example/token",
            {"code": "c1", "redirect_uri": REDIRECT_URI, "code_verifier": "v1"},
        ),
        (
            PasswordGrant(username="ivan", password="пароль", scope="photos stream"),
            "https://plain.example/password",
            {"username": "ivan", "password": "пароль", "scope": "photos stream"},
        ),
        (
            RefreshTokenGrant(refresh_token="r1"),
            "https://plain.example/refresh",
            {"refresh_token": "r1"},
        ),
    ],
    ids=lambda value: getattr(value, "grant_type", ""),
)
def test_a_token_request_is_a_post_with_grant_and_client_in_its_body(grant, url, params):
    request = Plain().token_request(CREDENTIALS, grant)
    assert (request.method, request.url) == ("POST", url)
    assert {name: reveal(value) for name, value in request.params.items()} == {
        "grant_type": grant.grant_type,
        "client_id": "512 000",
        "client_secret": "client-secret",
        **params,
    }
    assert isinstance(request.params["client_secret"], Secret)


def test_an_application_may_prove_itself_in_the_header():
    class Basic(Plain):
        client_authentication = "client_secret_basic"

    request = Basic().token_request(Credentials("a:b c", "pass wörd"), RefreshTokenGrant("r1"))
    assert request.params == {"grant_type": "refresh_token", "refresh_token": "r1"}
    scheme, _, pair = reveal(request.headers["Authorization"]).partition(" ")
    assert (scheme, b64decode(pair)) == ("Basic", b"a%3Ab+c:pass+w%C3%B6rd")  # RFC 6749, section 2.3.1
    assert isinstance(request.headers["Authorization"], Secret)


@pytest.mark.parametrize(("method", "secret"), [("none", "s1"), ("client_secret_post", "")])
def test_a_public_application_only_says_which_one_it_is(method, secret):
    class Public(Plain):
        client_authentication = method

    request = Public().token_request(Credentials("512", secret), RefreshTokenGrant("r1"))
    assert request.params == {"grant_type": "refresh_token", "refresh_token": "r1", "client_id": "512"}
    assert not request.headers


def test_the_scope_of_a_password_grant_is_joined_as_the_network_likes_it():
    class Both(Comma):
        token_endpoints = Plain.token_endpoints

    grant = PasswordGrant(username="ivan", password="p", scope="photos stream")
    assert Both().token_request(CREDENTIALS, grant).params["scope"] == "photos,stream"


@pytest.mark.parametrize(
    "grant",
    [
        PasswordGrant(username="ivan", password="p"),
        RefreshTokenGrant(refresh_token="r1"),
        ImplicitGrant(access_token="t1"),
    ],
    ids=lambda grant: grant.grant_type,
)
def test_a_grant_without_an_endpoint_is_refused(grant):
    with pytest.raises(UnsupportedGrant, match=f"Plain does not support the {grant.grant_type} grant"):
        Comma().token_request(CREDENTIALS, grant)


BOUND = [
    AuthorizationCodeGrant("c1", REDIRECT_URI, device_id="d1", state="s1"),
    RefreshTokenGrant("r1", device_id="d1", state="s1"),
]


@pytest.mark.parametrize("grant", BOUND, ids=lambda grant: grant.grant_type)
def test_the_device_goes_with_the_grant_and_the_state_where_the_network_wants_one(grant):
    asked = Forest().token_request(CREDENTIALS, grant).params
    assert (asked["device_id"], asked["state"]) == ("d1", "s1")
    assert isinstance(asked["device_id"], Secret)
    assert "state" not in Plain().token_request(CREDENTIALS, grant).params


@pytest.mark.parametrize("grant", BOUND, ids=lambda grant: grant.grant_type)
def test_a_token_is_bound_to_the_device_of_its_grant(grant):
    response = Response(200, {}, b'{"access_token": "t1", "state": "s1"}')
    assert Forest().parse_token_response(response, grant).device_id == "d1"


@pytest.mark.parametrize("state", ["s2", "S1", 1, ["s1"], False], ids=repr)
def test_an_answer_that_repeats_another_state_is_malformed(state):
    body = json.dumps({"access_token": "t1", "state": state}).encode()
    for grant in BOUND:
        with pytest.raises(MalformedResponse, match="state"):
            Forest().parse_token_response(Response(200, {}, body), grant)
        assert Plain().parse_token_response(Response(200, {}, body), grant).access_token == "t1"


@pytest.mark.parametrize("body", [b'{"access_token": "t1"}', b'{"access_token": "t1", "state": ""}'])
def test_an_answer_need_not_repeat_the_state(body):
    response = Response(200, {}, body)
    assert Forest().parse_token_response(response, BOUND[0]).access_token == "t1"


# --- whose it is, and that it is over --------------------------------------------------------------------


class Calling(Plain):
    api_errors = {SessionExpired: (7,)}

    def api_request(self, credentials, token, method, params, circuit):
        return Request("POST", "https://plain.example/api", {"call": method, **params, "circuit": circuit})

    def identity_call(self):
        return "me", {"fields": "name"}

    def parse_identity(self, result):
        return self.identity_from(result)


def test_whose_a_token_is_is_asked_by_a_call_signed_with_our_own_secret():
    request = Calling().identity_request(CREDENTIALS, Token("t1"))
    assert request.params == {"call": "me", "fields": "name", "circuit": Circuit.SERVER_SERVER}
    response = Response(200, {}, b'{"uid": 561, "name": "Anna"}')
    assert Calling().parse_identity_response(response, CREDENTIALS) == Identity("561", "Anna")


def test_an_error_about_whose_a_token_is_names_the_call():
    with pytest.raises(SessionExpired, match="^me failed with code 7: over$"):
        Calling().parse_identity_response(
            Response(200, {}, b'{"error_code": 7, "error_msg": "over"}'), CREDENTIALS
        )


def test_values_get_their_form_before_the_call_that_says_whose_a_token_is():
    class Listing(Calling):
        def identity_call(self):
            return "me", {"fields": ["name", "email"], "no": None, "all": True}

    params = Listing().identity_request(CREDENTIALS, Token("t1")).params
    assert params == {"call": "me", "fields": "name,email", "all": "true", "circuit": "server-server"}


class Telling(Calling):
    """It says whose a token is where OpenID Connect does."""

    identity_endpoint = "https://plain.example/userinfo"
    result_name = "result"

    def parse_identity(self, result):
        return self.identity_from(result, uid="sub")


def test_an_identity_endpoint_is_shown_the_token_and_answers_with_the_profile_itself():
    request = Telling().identity_request(CREDENTIALS, Token("t1"))
    assert (request.method, request.url) == ("POST", "https://plain.example/userinfo")
    assert request.params == {"access_token": "t1"}
    response = Response(200, {}, b'{"sub": "561", "name": "Anna", "uid": 7}')
    identity = Telling().parse_identity_response(response, CREDENTIALS)
    assert identity == Identity("561", "Anna", profile={"uid": 7})


def test_an_error_of_an_identity_endpoint_is_that_error():
    with pytest.raises(SessionExpired):
        Telling().parse_identity_response(Response(400, {}, b'{"error_code": 7}'), CREDENTIALS)


@pytest.mark.parametrize("body", [b'{"result": null}', b'{"result": [1], "more": 1}'])
def test_a_result_is_taken_out_of_what_is_around_it(body):
    response = Response(200, {}, body)
    assert Telling().parse_api(response) == response.json()["result"]


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'"result"', b'{"Result": 1}'])
def test_an_answer_in_which_the_result_is_missing_is_malformed(body):
    with pytest.raises(MalformedResponse, match="result"):
        Telling().parse_api(Response(200, {}, body))


@pytest.mark.parametrize(
    ("token", "named"), [(Token("t1", "r1"), "r1"), (Token("t1"), "t1")], ids=["refresh", "access"]
)
def test_a_token_is_revoked_as_rfc_7009_has_it(token, named):
    class Revoking(Plain):
        revocation_endpoint = "https://plain.example/revoke"

    request = Revoking().revocation_request(CREDENTIALS, token)
    assert (request.method, request.url) == ("POST", "https://plain.example/revoke")
    assert request.params == {"token": named, "client_id": "512 000", "client_secret": "client-secret"}


def test_a_network_need_not_have_revocation():
    assert Plain().revocation_request(CREDENTIALS, Token("t1")) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (204, b""),
        (200, b"{}"),
        (200, b'{"response": 1}'),
        (400, b'{"error": "invalid_grant"}'),
        (200, b'{"error_code": 7, "error_msg": "over"}'),
    ],
)
def test_a_token_that_is_good_for_nothing_is_revoked(status, body):
    assert Calling().parse_revocation(Response(status, {}, body)) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (404, b"{}"),
        (200, b"<html>"),
        (200, b'{"error": "invalid_request"}'),
        (200, b'{"error_code": 8, "error_msg": "what?"}'),
    ],
)
def test_a_token_that_may_still_be_good_is_not(status, body):
    with pytest.raises(ProviderError):
        Calling().parse_revocation(Response(status, {}, body))


@pytest.mark.parametrize("required", [("client_id",), ("client_id", "client_key")])
def test_a_public_client_needs_no_secret(required):
    class Public(Plain):
        required_credentials = required

    Public().require_secret(Credentials("512"))
    with pytest.raises(InvalidClient):
        Plain().require_secret(Credentials("512"))


# --- the token answer ------------------------------------------------------------------------------------


def test_a_token_answer_is_read_by_the_names_of_the_rfc():
    token = parse(refresh_token="r1", expires_in=3600, token_type="bearer", scope="photos stream", uid="561")
    assert token == Token("t1", "r1", 3600, "561", "", "photos stream", "bearer")
    assert isinstance(token.access_token, Secret)


@pytest.mark.parametrize(
    "absent", [{}, {"refresh_token": None, "uid": None, "scope": None, "token_type": None}]
)
def test_everything_but_the_access_token_may_be_absent_or_null(absent):
    assert parse(**absent) == Token("t1")


def test_empty_fields_are_as_good_as_absent_ones():
    assert parse(refresh_token="", uid="", scope="", token_type="", session_secret="", error="") == Token(
        "t1"
    )


def test_fields_that_nobody_knows_are_ignored():
    assert parse(id_token="x", nested={"access_token": "t2"}, error_description="all is well") == Token("t1")


def test_of_several_names_of_a_field_the_first_one_present_counts():
    class Renamed(Plain):
        token_names = {"access_token": ("ticket", "session"), "uid": ("vid",)}

    read = Renamed().parse_token
    assert read({"session": "t2", "ticket": "t1", "vid": "1", "uid": "2"}) == Token("t1", uid="1")
    assert read({"session": "t2", "ticket": None}) == Token("t2")
    with pytest.raises(MalformedResponse):
        read({"access_token": "t1"})


@pytest.mark.parametrize(
    "answer", [None, True, 0, 1.5, "", "t1", "access_token=t1", [], [{"access_token": "t1"}], {}]
)
def test_an_answer_that_is_no_object_with_a_token_is_malformed(answer):
    with pytest.raises(MalformedResponse):
        Plain().parse_token(answer)


NO_TOKENS = {
    "null": None,
    "empty": "",
    "true": True,
    "number": 12345,
    "float": 1.5,
    "list": ["t1"],
    "object": {"token": "t1"},
    "NUL": "t1\0",
    "line end": "t1\n",
    "carriage return": "t1\r\nx: y",
    "tab": "t\t1",
    "DEL": "t1\x7f",
    "non-ASCII": "токен",
    "full-width": "\uff54\uff11",
    "surrogate": "t\ud800",
    "over-long": "t" * 4097,
    "enormous": "t" * 250_000,
}


@pytest.mark.parametrize("value", NO_TOKENS.values(), ids=NO_TOKENS.keys())
def test_an_access_token_is_a_printable_ascii_text(value):
    with pytest.raises(MalformedResponse, match="access_token"):
        Plain().parse_token({"access_token": value})


@pytest.mark.parametrize("name", ["refresh_token", "session_secret", "scope", "token_type"])
def test_so_are_the_other_texts_of_an_answer_where_present(name):
    for value in NO_TOKENS.values():
        if value not in (None, ""):
            with pytest.raises(MalformedResponse, match=name):
                parse(**{name: value})


@pytest.mark.parametrize("token", [string.printable[:95], " ", "t" * 4096, "6ripa.5-03av/+=~", "a\\u0000"])
def test_an_access_token_may_hold_whatever_the_rfc_allows(token):
    assert Plain().parse_token({"access_token": token}).access_token == token


def test_the_error_about_a_malformed_token_does_not_quote_it():
    with pytest.raises(MalformedResponse) as caught:
        Plain().parse_token({"access_token": "mark-0123\n"})
    assert "mark" not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (1800, 1800),
        (0, 0),
        ("1800", 1800),
        ("0", 0),
        ("001800", 1800),
        (1800.0, 1800),
        (1800.9, 1800),
        (0.5, 0),
        (100 * 365 * 24 * 3600, 100 * 365 * 24 * 3600),
    ],
)
def test_a_lifetime_in_seconds_is_honoured(expires_in, seconds):
    token = parse(expires_in=expires_in)
    assert token.expires_in == seconds
    assert type(token.expires_in) is int


@pytest.mark.parametrize(
    "expires_in",
    [
        True,
        False,
        -1,
        -0.5,
        -1800,
        "-1800",
        "+1800",
        "",
        " ",
        " 1800",
        "1800\n",
        "1800.5",
        "1e3",
        "0x10",
        "1_800",
        "soon",
        "١٨٠٠",
        "１８００",
        "²",
        None,
        math.nan,
        math.inf,
        -math.inf,
        10**12,
        10**400,
        1e300,
        "9" * 400,
        [],
        [1800],
        {},
        {"seconds": 1800},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_lifetime_that_is_none_is_unknown(expires_in):
    assert parse(expires_in=expires_in).expires_in is None


def test_an_absent_lifetime_is_unknown():
    assert parse().expires_in is None


@pytest.mark.parametrize(
    ("granted", "scope"),
    [
        ("VALUABLE_ACCESS;GET_EMAIL", "VALUABLE_ACCESS GET_EMAIL"),
        ("photos,stream", "photos stream"),
        ("photos stream", "photos stream"),
        ("a; b ,c", "a b c"),
        ("a;;b", "a b"),
        (" a ", "a"),
        ("a;b;", "a b"),
        (",a", "a"),
        (";", ""),
        (" ", ""),
        ("one", "one"),
    ],
)
def test_a_granted_scope_is_separated_by_spaces_whatever_the_network_uses(granted, scope):
    assert parse(scope=granted).scope == scope


# --- user ids --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "uid"),
    [
        ("1", "1"),
        ("0", "0"),
        ("007", "007"),
        ("12900285598278158001", "12900285598278158001"),
        ("9" * 32, "9" * 32),
        (12900285598278158001, "12900285598278158001"),
        (0, "0"),
    ],
)
def test_a_user_id_is_a_string_of_digits_or_an_integer(value, uid):
    assert Plain().parse_uid(value) == uid
    assert parse(uid=value).uid == uid
    assert Plain().identity_from({"uid": value}).uid == uid


NO_UIDS = [True, False, -1, 1.0, 1e3, 10**32, [], ["1"], {}, {"uid": "1"}, Decimal(1), b"1"]
NO_UIDS += [
    " ",
    "1 ",
    " 1",
    "1\n",
    "-1",
    "+1",
    "1.0",
    "0x1",
    "1_0",
    "one",
    "1\0",
    "9" * 33,
    "١٢٣",
    "１２",
    "²",
    "1;2",
]


@pytest.mark.parametrize("value", NO_UIDS, ids=lambda value: repr(value)[:20])
def test_what_is_no_user_id_is_malformed_wherever_it_is_said(value):
    for read in (
        Plain().parse_uid,
        lambda value: parse(uid=value),
        lambda value: Plain().identity_from({"uid": value}),
    ):
        with pytest.raises(MalformedResponse, match="uid"):
            read(value)


@pytest.mark.parametrize("profile", [{}, {"uid": None}, {"uid": ""}, {"name": "Иван"}])
def test_an_identity_without_a_user_id_is_malformed(profile):
    with pytest.raises(MalformedResponse, match="uid"):
        Plain().identity_from(profile)


def test_a_network_may_have_other_user_ids():
    class Named(Plain):
        uid_pattern = re.compile(r"[A-Za-z]{2,8}")

    assert Named().parse_uid("Ivan") == "Ivan"
    for other in ("i", "ivan-petrov", "ivan\n", 561, True, None):
        with pytest.raises(MalformedResponse):
            Named().parse_uid(other)


# --- identities ------------------------------------------------------------------------------------------


def test_an_identity_has_names_and_keeps_the_rest_for_display():
    said = {"uid": 561, "first_name": "Иван", "last_name": "Петров", "email": "ivan@mail.example"}
    rest = {"age": 37, "vip": False, "rating": 4.5, "locale": "ru"}
    identity = Plain().identity_from(
        said | rest | {"location": {"city": "Казань"}, "tags": ["a"], "pic": None}
    )
    assert identity == Identity("561", "Иван Петров", "Иван", "Петров", "ivan@mail.example", rest)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ({"name": "Ваня", "first_name": "Иван"}, "Ваня"),
        ({"first_name": "Иван"}, "Иван"),
        ({"last_name": "Петров"}, "Петров"),
        ({"name": None, "first_name": ["Иван"], "last_name": 7}, ""),
        ({}, ""),
    ],
)
def test_a_name_is_put_together_where_none_is_said(names, name):
    assert Plain().identity_from({"uid": "1"} | names).name == name


def test_texts_of_an_identity_are_cleaned():
    identity = Plain().identity_from(
        {"uid": "1", "name": "И\0ван\n" + "x" * 999, "link\n": "\ud800" + "y" * 999}
    )
    assert identity.name.startswith("И ван x")
    assert len(identity.name) == 200
    assert {name: len(text) for name, text in identity.profile.items()} == {"link": 500}


@pytest.mark.parametrize("profile", [None, True, 561, "561", [], [{"uid": "561"}]])
def test_an_identity_is_read_from_an_object_only(profile):
    with pytest.raises(MalformedResponse):
        Plain().identity_from(profile)


# --- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("invalid_grant", InvalidGrant),
        ("invalid_client", InvalidClient),
        ("unauthorized_client", InvalidClient),
        ("invalid_request", OAuthError),
        ("invalid_scope", OAuthError),
        ("unsupported_grant_type", OAuthError),
        ("access_denied", OAuthError),
        ("token not found", OAuthError),
        ("Invalid_Grant", OAuthError),
        ("ошибка", OAuthError),
    ],
)
def test_an_error_of_the_token_endpoint_has_its_class(error, kind):
    with pytest.raises(OAuthError) as caught:
        Plain().parse_token({"error": error, "error_description": "why\nnot"})
    assert type(caught.value) is kind
    assert (caught.value.error, caught.value.description) == (error, "why not")


def test_an_error_beside_a_token_is_an_error():
    with pytest.raises(InvalidGrant):
        parse(error="invalid_grant")


@pytest.mark.parametrize("error", [True, False, 0, 7, 1.5, ["invalid_grant"], [], {}, {"reason": "unknown"}])
def test_an_error_that_is_no_string_is_malformed(error):
    with pytest.raises(MalformedResponse):
        parse(error=error)


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_an_error_in_a_body_is_an_error_whatever_the_status(status):
    response = Response(status, {}, b'{"error": "invalid_client", "error_description": "who?"}')
    with pytest.raises(InvalidClient):
        Plain().parse_api(response)
    with pytest.raises(InvalidClient):
        Plain().parse_token(response.json())


@pytest.mark.parametrize(
    "body", [b'{"uid": "561"}', b'[{"uid": "561"}]', b'"561"', b"true", b"false", b"0", b"null", b"[]"]
)
def test_the_result_of_a_call_may_be_any_json_value(body):
    response = Response(200, {}, body)
    assert Plain().parse_api(response) == response.json()


@pytest.mark.parametrize("status", [204, 400, 401, 404, 418])
@pytest.mark.parametrize("body", [b"", b"<html>", b"NaN"])
def test_an_answer_without_json_is_malformed_whatever_the_status(status, body):
    with pytest.raises(MalformedResponse):
        Plain().parse_api(Response(status, {}, body))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_result_with_a_status_that_says_otherwise_is_malformed(status):
    with pytest.raises(MalformedResponse, match=str(status)):
        Plain().parse_api(Response(status, {}, b'{"uid": "561"}'))


class Coded(Plain):
    api_errors = {RateLimited: (8, 11)}


@pytest.mark.parametrize(
    ("code", "number", "kind"),
    [(8, 8, RateLimited), ("11", 11, RateLimited), (9, 9, APIError), ("-1", -1, APIError), (0, 0, APIError)],
)
def test_a_code_is_an_integer_or_a_digit_string(code, number, kind):
    error = Coded().api_error(code, "LIMIT\nREACHED")
    assert type(error) is kind
    assert (error.code, error.message, error.method) == (number, "LIMIT REACHED", "")


@pytest.mark.parametrize("code", [None, True, 8.0, "", " 8", "8\n", "eight", "٨", "9" * 4000, [], {}])
def test_a_code_that_is_no_number_is_malformed(code):
    assert type(Coded().api_error(code)) is MalformedResponse


# --- anything at all -------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars | st.text("0123456789", max_size=34),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["access_token", "expires_in", "uid", "scope", "error", "error_description", "name"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(answer=anything)
@settings(deadline=None)
def test_whatever_a_network_says_is_a_value_or_a_provider_error(answer):
    for read in (Plain().parse_token, Plain().identity_from, Plain().parse_uid):
        try:
            value = read(answer)
        except ProviderError:
            continue
        assert isinstance(value, (Token, Identity, str))


# --- PKCE ------------------------------------------------------------------------------------------------


def test_the_code_challenge_is_that_of_rfc_7636_appendix_b():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_base64url_is_that_of_rfc_7636_appendix_a():
    assert base64url(bytes([3, 236, 255, 224, 193])) == "A-z_4ME"


@given(data=st.binary(max_size=64))
@settings(deadline=None)
def test_base64url_has_no_padding_and_can_be_read_back(data):
    encoded = base64url(data)
    assert "=" not in encoded
    assert urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)) == data
