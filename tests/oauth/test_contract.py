"""What every network's class has to do, whoever wrote it."""

import copy
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_socialgrants.exceptions import (
    InvalidClient,
    InvalidGrant,
    MalformedResponse,
    OAuthError,
    ProviderError,
    ProviderUnavailable,
    SessionExpired,
    UnsupportedGrant,
)
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    ImplicitGrant,
    PasswordGrant,
    RefreshTokenGrant,
)
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Identity, Response, Token, reveal
from django_socialgrants.providers.mailid import MailID
from django_socialgrants.providers.mailru import MailRu
from django_socialgrants.providers.ok import OK
from django_socialgrants.providers.vkid import VKID
from tests.third_network import Meadow

MARK = "mark-0123456789"
CREDENTIALS = Credentials("512", f"{MARK}-client-secret", f"{MARK}-client-key")
TOKEN = Token(f"{MARK}-access", f"{MARK}-refresh", uid="561", session_secret=f"{MARK}-session")
GRANTS = [
    AuthorizationCodeGrant(
        f"{MARK}-code", "https://site.example/", MARK, device_id=f"{MARK}-device", state=f"{MARK}-state"
    ),
    PasswordGrant(username="ivan", password=f"{MARK}-password"),
    RefreshTokenGrant(f"{MARK}-refresh", device_id=f"{MARK}-device", state=f"{MARK}-state"),
    ImplicitGrant(access_token=f"{MARK}-access"),
]


@dataclass
class Case:
    """A network and what it says on a good day: a token answer, who somebody is, and that a session is over."""

    provider: Provider
    token: dict[str, Any]
    profile: Any
    uid: str
    session_expired: dict[str, Any]


def sample(name):
    return json.loads((Path(__file__).parents[1] / f"samples/{name}.json").read_text())


CASES = [
    Case(
        OK(),
        sample("ok_token"),
        sample("ok_profile"),
        "561234567890",
        {"error_code": 102, "error_msg": "PARAM_SESSION_EXPIRED : Session expired"},
    ),
    Case(
        MailRu(),
        sample("mailru_token"),
        sample("mailru_profile"),
        "12900285598278158001",
        {"error": {"error_code": 102, "error_msg": "User authorization failed"}},
    ),
    Case(
        VKID(),
        sample("vkid_token"),
        sample("vkid_profile"),
        "1000000001",
        {"error": {"error_code": 5, "error_msg": "User authorization failed: access_token has expired."}},
    ),
    Case(
        MailID(),
        sample("mailid_token"),
        sample("mailid_profile"),
        "1734604429",
        {"error": "token not found", "error_code": 6, "error_description": "token not found"},
    ),
    Case(
        Meadow(),
        {"access_token": "t1", "refresh_token": "r1", "expires_in": 900, "who": "white-clover"},
        {"result": {"uid": "white-clover", "name": "White Clover"}},
        "white-clover",
        {"failure": {"code": 7, "text": "expired"}},
    ),
]

every_network = pytest.mark.parametrize("case", CASES, ids=lambda case: case.provider.id)
every_signing_network = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.provider.id not in ("vkid", "mailid")],
    ids=lambda case: case.provider.id,
)
both_circuits = pytest.mark.parametrize("circuit", Circuit)


def respond(data, status=200):
    return Response(status, {"content-type": "text/javascript"}, json.dumps(data).encode())


def read_token(provider, data):
    return provider.parse_token(data)


def read_identity(provider, data):
    return provider.parse_identity_response(respond(data), CREDENTIALS)


def call(provider, params=None, *, credentials=CREDENTIALS, token=TOKEN, circuit=Circuit.SERVER_SERVER):
    return provider.api_request(credentials, token, "users.get", params or {}, circuit)


# --- what it is ------------------------------------------------------------------------------------------


@every_network
def test_it_says_who_it_is(case):
    assert re.fullmatch(r"[a-z0-9-]{1,32}", case.provider.id)
    assert case.provider.title
    assert case.provider.default_expires_in > 0


@every_network
def test_it_is_reached_over_https_only(case):
    provider = case.provider
    urls = [provider.authorization_endpoint, provider.api_endpoint, *provider.token_endpoints.values()]
    for url in [*urls, *filter(None, (provider.identity_endpoint, provider.revocation_endpoint))]:
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert parts.hostname
        assert not parts.fragment


@every_network
def test_it_can_do_the_authorization_code_grant(case):
    assert "code" in case.provider.response_types
    assert "authorization_code" in case.provider.token_endpoints


# --- what it asks ----------------------------------------------------------------------------------------


@every_network
def test_its_authorization_url_has_the_state_and_no_secret(case):
    url = case.provider.authorization_url(
        CREDENTIALS, response_type="code", redirect_uri="https://site.example/", state="s1", scope="one two"
    )
    query = parse_qsl(urlsplit(url).query, strict_parsing=True)
    assert url.startswith(case.provider.authorization_endpoint)
    assert len(dict(query)) == len(query)
    assert dict(query)["state"] == "s1"
    assert dict(query)["scope"] == case.provider.scope_separator.join(("one", "two"))
    assert MARK not in url


@every_network
@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: grant.grant_type)
def test_its_token_requests_carry_secrets_wrapped_and_in_the_body_of_a_post(case, grant):
    if grant.grant_type not in case.provider.token_endpoints:
        with pytest.raises(UnsupportedGrant):
            case.provider.token_request(CREDENTIALS, grant)
        return
    request = case.provider.token_request(CREDENTIALS, grant)
    assert request.method == "POST"
    assert request.url == case.provider.token_endpoints[grant.grant_type]
    assert MARK not in f"{request!r} {dict(request.params)}"
    assert any(MARK in reveal(value) for value in request.params.values())


@every_network
@both_circuits
def test_its_calls_carry_secrets_wrapped_and_in_the_body_of_a_post(case, circuit):
    request = call(case.provider, {"uids": ["1", "2"]}, circuit=circuit)
    assert request.method == "POST"
    assert request.url in (case.provider.api_endpoint, f"{case.provider.api_endpoint}/users.get")
    assert MARK not in f"{request!r} {dict(request.params)}"
    assert reveal(TOKEN.access_token) in map(reveal, request.params.values())
    assert reveal(CREDENTIALS.client_secret) not in map(reveal, request.params.values())


@every_network
@both_circuits
def test_its_calls_leave_out_none_and_keep_what_is_falsy(case, circuit):
    params = call(case.provider, {"none": None, "zero": 0, "no": False, "empty": ""}, circuit=circuit).params
    assert "none" not in params
    assert (params["zero"], params["empty"]) == ("0", "")
    assert params["no"]


@every_signing_network
@both_circuits
def test_its_signature_depends_on_every_parameter(case, circuit):
    def sig(**params):
        return call(case.provider, params, circuit=circuit).params["sig"]

    assert len({sig(), sig(a="1"), sig(a="2"), sig(b="1"), sig(a="1", b="1"), sig(a="")}) == 6


@every_signing_network
@both_circuits
def test_its_calls_are_never_signed_with_an_empty_secret(case, circuit):
    with pytest.raises(ValueError, match="empty"):
        call(case.provider, credentials=Credentials("512"), token=Token("t1", uid="561"), circuit=circuit)


@every_network
@pytest.mark.parametrize("params", [{"sig": "x"}, {"METHOD": "x"}, {"v": b"x"}, {"v": math.nan}, {"v": {1}}])
def test_its_calls_refuse_what_can_not_be_signed(case, params):
    with pytest.raises(ValueError, match="parameter"):
        call(case.provider, params)


@every_network
def test_it_can_ask_whose_a_token_is(case):
    request = case.provider.identity_request(CREDENTIALS, TOKEN)
    assert request.method == "POST"
    assert request.url.startswith("https://")
    assert MARK not in f"{request!r} {dict(request.params)}"
    assert reveal(TOKEN.access_token) in map(reveal, request.params.values())


@every_network
def test_a_revocation_can_be_asked_for_if_there_is_one(case):
    request = case.provider.revocation_request(CREDENTIALS, TOKEN)
    assert (request is None) == (case.provider.revocation_endpoint == "")
    if request:
        assert (request.method, request.url) == ("POST", case.provider.revocation_endpoint)
        assert MARK not in f"{request!r} {dict(request.params)}"


@every_network
def test_every_way_in_has_a_title_and_leads_to_the_dialog(case):
    def url(**way):
        return case.provider.authorization_url(
            CREDENTIALS, response_type="code", redirect_uri="https://site.example/", state="s1", **way
        )

    ways = case.provider.ways
    assert all(ways.values())
    assert len({url(way=way) for way in ways}) == len(ways)
    if ways:
        assert url(way=next(iter(ways))) == url(way="") == url()


@every_network
@pytest.mark.parametrize("scope", ["", "VALUABLE_ACCESS", "LONG_ACCESS_TOKEN"])
def test_the_call_that_keeps_a_token_alive_can_be_made_if_there_is_one(case, scope):
    token = Token(f"{MARK}-access", uid="561", scope=scope)
    if kept := case.provider.keep_alive_call(token):
        assert case.provider.api_request(CREDENTIALS, token, *kept, Circuit.SERVER_SERVER)


# --- what it understands ---------------------------------------------------------------------------------


@every_network
def test_it_reads_its_own_token_answer(case):
    token = case.provider.parse_token(case.token)
    assert token.access_token == case.token["access_token"]
    assert token.refresh_token == case.token["refresh_token"]
    assert token.expires_in == int(case.token["expires_in"])
    assert token.uid in ("", case.uid)


@every_network
def test_it_reads_who_somebody_is(case):
    identity = read_identity(case.provider, case.profile)
    assert isinstance(identity, Identity)
    assert identity.uid == case.uid
    assert all(isinstance(value, (str, int, float)) for value in identity.profile.values())


@every_network
def test_it_keeps_no_state_and_changes_nothing_it_is_given(case):
    before = copy.deepcopy((vars(case.provider), case.token, case.profile))
    assert read_token(case.provider, case.token) == read_token(case.provider, case.token)
    assert read_identity(case.provider, case.profile) == read_identity(case.provider, case.profile)
    assert call(case.provider, {"a": [1]}) == call(case.provider, {"a": [1]})
    assert (vars(case.provider), case.token, case.profile) == before


@every_network
@pytest.mark.parametrize("absent", [{}, {"expires_in": None}, {"expires_in": "soon"}, {"expires_in": -1}])
def test_a_lifetime_that_it_does_not_understand_is_unknown(case, absent):
    answer = {name: value for name, value in case.token.items() if name != "expires_in"} | absent
    assert case.provider.parse_token(answer).expires_in is None


@every_network
@pytest.mark.parametrize("refresh_token", [None, ""])
def test_a_token_answer_may_do_without_a_refresh_token(case, refresh_token):
    assert not case.provider.parse_token(case.token | {"refresh_token": refresh_token}).refresh_token


@every_network
@pytest.mark.parametrize("answer", [None, True, 7, "t1", [], ["t1"], {}, {"token_type": "bearer"}])
def test_nonsense_is_no_token(case, answer):
    with pytest.raises(MalformedResponse):
        case.provider.parse_token(answer)


@every_network
@pytest.mark.parametrize(
    "result", [None, True, 7, "561", [], ["561"], [[]], {}, {"name": "Иван"}, [{"name": "Иван"}]]
)
def test_nonsense_is_nobody(case, result):
    with pytest.raises(MalformedResponse):
        case.provider.parse_identity(result)


@every_network
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("invalid_grant", InvalidGrant),
        ("invalid_client", InvalidClient),
        ("invalid_scope", OAuthError),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_it_knows_an_error_of_the_rfc_whatever_the_status(case, error, kind, status):
    answer = {"error": error, "error_description": "why not"}
    with pytest.raises(OAuthError) as from_token:
        case.provider.parse_token(answer)
    with pytest.raises(OAuthError) as from_api:
        case.provider.parse_api(respond(answer, status))
    assert type(from_token.value) is type(from_api.value) is kind


@every_network
@pytest.mark.parametrize(
    ("error", "meant"), [("temporarily_unavailable", 503), ("server_error", 500), ("slow_down", 429)]
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_error_that_stands_for_a_status_is_what_the_status_would_be(case, error, meant, status):
    for read in (
        lambda response: case.provider.parse_token_response(response, GRANTS[0]),
        case.provider.parse_api,
    ):
        with pytest.raises(ProviderUnavailable) as caught:
            read(respond({"error": error}, status))
        assert (caught.value.status, caught.value.sent) == (meant, True)


@every_network
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"www-authenticate": 'Bearer realm="x", error="invalid_token"'}, b""),
        ({"www-authenticate": "Bearer error=invalid_token, error_description=over"}, b"<html>"),
        ({}, b'{"error": "invalid_token", "error_description": "over"}'),
    ],
)
def test_a_token_that_is_called_invalid_is_a_session_that_has_expired(case, headers, body):
    with pytest.raises(SessionExpired):
        case.provider.parse_api(Response(401, headers, body))
    with pytest.raises(SessionExpired):
        case.provider.parse_identity_response(Response(401, headers, body), CREDENTIALS)


@every_network
@pytest.mark.parametrize("status", [200, 400, 401])
def test_it_knows_its_own_way_to_say_that_a_session_has_expired(case, status):
    with pytest.raises(SessionExpired) as caught:
        case.provider.parse_api(respond(case.session_expired, status))
    assert caught.value.code == next(iter(case.provider.api_errors[SessionExpired]))


@every_network
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"NaN", b"[" * 100_000, b'{"uid": "1", "uid": "2"}', b"\xff"]
)
def test_an_answer_that_is_no_json_is_malformed_or_a_page_of_a_network_out_of_order(case, body):
    with pytest.raises((MalformedResponse, ProviderUnavailable)):
        case.provider.parse_api(Response(200, {}, body))


names = st.sampled_from(
    ["access_token", "session_key", "expires_in", "uid", "who", "x_mailru_vid", "scope", "first_name", "name"]
    + ["user", "user_id", "id", "client_id", "state"]
    + ["error", "error_code", "error_msg", "error_description", "failure", "code", "text", "result"]
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=6)
anything = st.recursive(
    scalars | st.sampled_from(["561", "t1", "invalid_grant"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.slow
@every_network
@given(data=anything)
@settings(deadline=None)
def test_whatever_it_is_told_it_answers_with_a_value_or_a_provider_error(case, data):
    for read, kind in ((read_token, Token), (read_identity, Identity)):
        try:
            value = read(case.provider, data)
        except ProviderError:
            continue
        assert isinstance(value, kind)
