"""The package's own clients against the sandbox: two sides that were written apart understand each other."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from django_socialgrants.exceptions import (
    APIError,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    MalformedResponse,
    OAuthError,
    PermissionDenied,
    ProviderUnavailable,
    SessionExpired,
)
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    PasswordGrant,
    RefreshTokenGrant,
    code_challenge,
)
from django_socialgrants.oauth.values import Circuit, Credentials, Response, Token, reveal
from django_socialgrants.sandbox import providers
from django_socialgrants.sandbox.logins import LOGINS
from django_socialgrants.sandbox.models import AccessToken, Application, RefreshToken
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.rehearsal import begin, end

from .driver import BACK, FIRST, fragment_of, query_of

CLIENTS = {
    "ok": (providers.OK, "VALUABLE_ACCESS GET_EMAIL"),
    "mailru": (providers.MailRu, "stream photos"),
    "vkid": (providers.VKID, "vkid.personal_info email"),
    "mailid": (providers.MailID, "userinfo offline_access"),
}
STATE = "s" * 43
VERIFIER = "v" * 43


class Visitor:
    """A provider, the credentials of an application, and a browser."""

    def __init__(self, client, app):
        self.client = client
        provider, self.scope = CLIENTS[app.network]
        self.provider = provider()
        self.credentials = Credentials(app.client_id, app.client_secret, app.client_key)

    def allow(self, response_type, **way):
        url = self.provider.authorization_url(
            self.credentials,
            response_type=response_type,
            redirect_uri=BACK,
            state=STATE,
            scope=self.scope,
            code_challenge=code_challenge(VERIFIER) if self.provider.pkce else "",
            **way,
        )
        form = {"decision": "allow", "person": FIRST[self.provider.id]}
        return self.client.post(url.removeprefix("http://127.0.0.1:8000"), form)["Location"]

    def token(self, grant):
        request = self.provider.token_request(self.credentials, grant)
        return self.provider.parse_token_response(self.send(request), grant)

    def granted(self, **way):
        return self.token(self.code_grant(**way))

    def code_grant(self, redirect_uri=BACK, **way):
        answer = query_of(self.allow("code", **way))
        besides = {name: answer[name] for name in self.provider.callback_fields}
        verifier = VERIFIER if self.provider.pkce else ""
        return AuthorizationCodeGrant(answer["code"], redirect_uri, verifier, state=STATE, **besides)

    def refreshed(self, token):
        return self.token(RefreshTokenGrant(token.refresh_token, token.device_id, STATE))

    def call(self, token, method, circuit=Circuit.SERVER_SERVER, **params):
        request = self.provider.api_request(self.credentials, token, method, params, circuit)
        return self.provider.parse_api(self.send(request))

    def identity(self, token):
        request = self.provider.identity_request(self.credentials, token)
        return self.provider.parse_identity_response(self.send(request), self.credentials)

    def identity_by_call(self, token, circuit):
        method, params = self.provider.identity_call()
        return self.provider.parse_identity(self.call(token, method, circuit, **params))

    def send(self, request):
        assert request.method == "POST"
        params = {name: reveal(value) for name, value in request.params.items()}
        headers = {"User-Agent": "a test"} | {name: reveal(value) for name, value in request.headers.items()}
        response = self.client.post(urlsplit(request.url).path, params, headers=headers)
        return Response(response.status_code, {}, response.content)


@pytest.fixture(params=["ok", "mailru", "vkid", "mailid"])
def guest(request, client, settings):
    """A visitor of each network."""
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    return Visitor(client, request.getfixturevalue(f"{request.param}_app"))


@pytest.fixture(params=["ok", "mailru"])
def visitor(request, client, settings):
    """A visitor of each network that signs its calls."""
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    return Visitor(client, request.getfixturevalue(f"{request.param}_app"))


@pytest.fixture
def vkid(client, vkid_app, settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    return Visitor(client, vkid_app)


def test_a_code_becomes_a_token_whose_owner_is_known(guest):
    token = guest.granted()
    person = PEOPLE[guest.provider.id][FIRST[guest.provider.id]]
    identity = guest.identity(token)
    assert (identity.uid, identity.name) == (person.uid, person.name)
    assert identity.email == person.profile["email"]
    assert token.expires_in == guest.provider.default_expires_in
    assert token.uid in ("", person.uid)
    assert bool(token.device_id) is (guest.provider.id == "vkid")


def test_whoever_comes_through_another_network_is_the_same_user_of_vk_id(vkid):
    uids = {vkid.identity(vkid.granted(way=way)).uid for way in vkid.provider.ways}
    assert uids == {FIRST["vkid"]}


@pytest.mark.parametrize("secret", ["", "the-service-token"])
def test_an_application_of_vk_id_may_be_public_or_confidential(vkid, secret):
    vkid.credentials = Credentials(vkid.credentials.client_id, secret)
    assert vkid.refreshed(vkid.granted()).access_token


def test_vks_api_is_called_without_a_signature(vkid):
    (user,) = vkid.call(vkid.granted(), "users.get", fields=["sex", "photo_200"])
    assert str(user["id"]) == FIRST["vkid"]
    assert user.keys() >= {"first_name", "sex", "photo_200"}


def test_a_revocation_ends_all_that_vk_id_has_given_out(vkid):
    first, second = vkid.granted(), vkid.granted()
    revocation = vkid.provider.revocation_request(vkid.credentials, first)
    for _again in range(2):
        vkid.provider.parse_revocation(vkid.send(revocation))
    for token in (first, second):
        with pytest.raises(SessionExpired):
            vkid.identity(token)
        with pytest.raises(InvalidGrant):
            vkid.refreshed(token)


def test_a_refresh_token_of_vk_id_that_is_presented_twice_ends_its_family(vkid):
    first = vkid.granted()
    second = vkid.refreshed(first)
    with pytest.raises(InvalidGrant, match="session is compromised"):
        vkid.refreshed(first)
    with pytest.raises(InvalidGrant):
        vkid.refreshed(second)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("slow-down", ProviderUnavailable),
        ("other-address", PermissionDenied),
        ("wrong-parameter", InvalidClient),
    ],
)
def test_rehearsed_failures_of_vk_id_are_understood(vkid, failure, error):
    token = vkid.granted()
    begin(failure)
    with pytest.raises(error):
        vkid.call(token, "users.get") if failure == "other-address" else vkid.refreshed(token)


def test_a_fragment_becomes_a_token_for_both_circuits(visitor):
    token = visitor.provider.parse_token(fragment_of(visitor.allow("token")))
    for circuit in Circuit:
        assert visitor.identity_by_call(token, circuit).uid == FIRST[visitor.provider.id]


def test_the_permissions_of_oks_fragment_are_understood(client, ok_app, settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    visitor = Visitor(client, ok_app)
    assert visitor.provider.parse_token(fragment_of(visitor.allow("token"))).scope == visitor.scope


def test_a_refreshed_token_works(guest):
    first = guest.granted()
    second = guest.refreshed(first)
    assert bool(second.refresh_token) is (guest.provider.id in ("mailru", "vkid"))
    assert guest.identity(second).uid == FIRST[guest.provider.id]


@pytest.mark.parametrize("rotation", ["grace", "strict"])
def test_rotated_refresh_tokens_are_followed_at_every_network(guest, rotation):
    Application.objects.update(rotation=rotation)
    tokens = [guest.granted()]
    for _again in range(3):
        tokens.append(guest.refreshed(tokens[-1]))
    assert len({reveal(token.refresh_token) for token in tokens}) == 4
    assert guest.identity(tokens[-1]).uid == FIRST[guest.provider.id]


def test_everybody_comes_in_with_a_password(visitor):
    for login in LOGINS[visitor.provider.id].values():
        grant = PasswordGrant(login.user_name, login.password or "any", scope=visitor.scope)
        if login.trouble:
            with pytest.raises((InvalidGrant, APIError)):
                visitor.token(grant)
            continue
        token = visitor.token(grant)
        assert token.uid == login.uid
        assert visitor.identity(token).uid == login.uid
        assert visitor.identity_by_call(token, Circuit.CLIENT_SERVER).uid == login.uid
        assert bool(token.refresh_token) is (visitor.provider.id == "mailru")


def test_a_wrong_password_is_told_apart_from_what_a_browser_can_mend(visitor):
    user_name = next(iter(LOGINS[visitor.provider.id]))
    with pytest.raises(InvalidGrant):
        visitor.token(PasswordGrant(user_name, "wrong"))
    if visitor.provider.id == "ok":
        for user_name, code in (("captcha", 402), ("browser-check", 403)):
            with pytest.raises(APIError) as refused:
                visitor.token(PasswordGrant(user_name, "any"))
            assert refused.value.code == code


def test_an_application_that_may_not_take_passwords_is_told_so(visitor):
    Application.objects.update(password_enabled=False)
    login = next(iter(LOGINS[visitor.provider.id].values()))
    with pytest.raises((InvalidClient, PermissionDenied)):
        visitor.token(PasswordGrant(login.user_name, login.password))


def test_a_long_session_is_kept_alive(client, ok_app, settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    visitor = Visitor(client, ok_app)
    visitor.scope = "LONG_ACCESS_TOKEN"
    token = visitor.provider.parse_token(fragment_of(visitor.allow("token")))
    AccessToken.objects.update(expires_at=timezone.now() + timedelta(days=1))
    method, params = visitor.provider.keep_alive_call(token)
    assert visitor.call(token, method, **params) is True
    assert AccessToken.objects.get().expires_at > timezone.now() + timedelta(days=29)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("nonsense", MalformedResponse),
        ("no-access-token", MalformedResponse),
        ("invalid-grant", InvalidGrant),
        ("invalid-client", InvalidClient),
        ("unauthorized-client", InvalidClient),
    ],
)
def test_rehearsed_refusals_are_understood_for_every_grant(visitor, failure, error):
    refresh_token = visitor.granted().refresh_token
    code = query_of(visitor.allow("code"))["code"]
    login = next(iter(LOGINS[visitor.provider.id].values()))
    grants = [AuthorizationCodeGrant(code, BACK), RefreshTokenGrant(refresh_token)]
    if visitor.provider.id == "mailru" or failure in ("nonsense", "no-access-token", "invalid-grant"):
        grants.append(PasswordGrant(login.user_name, login.password))
    begin(failure)
    for grant in grants:
        with pytest.raises(error):
            visitor.token(grant)


@pytest.mark.parametrize(
    ("failure", "error"), [("invalid-client", InvalidSignature), ("unauthorized-client", PermissionDenied)]
)
def test_rehearsed_refusals_of_oks_password_login_are_errors_of_its_api(
    client, ok_app, settings, failure, error
):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    begin(failure)
    with pytest.raises(error):
        Visitor(client, ok_app).token(PasswordGrant("avrora", LOGINS["ok"]["avrora"].password))


def test_a_rehearsed_end_of_sessions_is_understood_and_passes(guest):
    token = guest.granted()
    begin("session-expired", count=1)
    with pytest.raises(SessionExpired):
        guest.identity(token)
    assert guest.identity(token).uid == FIRST[guest.provider.id]


@pytest.mark.parametrize("failure", ["no-refresh-token", "null-refresh-token", "empty-refresh-token"])
@pytest.mark.parametrize("rotation", ["fixed", "grace", "strict"])
def test_a_rehearsed_answer_without_refresh_token_leaves_the_old_one_valid(guest, failure, rotation):
    Application.objects.update(rotation=rotation)
    first = guest.granted()
    begin(failure)
    for _again in range(2):
        token = guest.refreshed(first)
        assert not token.refresh_token
        assert guest.identity(token).uid == FIRST[guest.provider.id]
    end()
    assert guest.refreshed(first).access_token


def test_a_refused_code_and_refresh_token_are_told_apart_from_other_errors(guest):
    first = guest.granted()
    with pytest.raises(InvalidGrant):
        guest.token(replace(guest.code_grant(), code="0" * 32))
    with pytest.raises(InvalidGrant):
        guest.refreshed(replace(first, refresh_token="0" * 32))
    RefreshToken.objects.all().delete()
    with pytest.raises(InvalidGrant):
        guest.refreshed(first)
    with pytest.raises((OAuthError, APIError)):
        guest.token(guest.code_grant(f"{BACK}x"))
    guest.credentials = Credentials(f"{guest.credentials.client_id}0", "wrong")
    with pytest.raises(InvalidClient):
        guest.refreshed(first)


def test_a_wrong_secret_is_a_client_that_is_refused(visitor):
    first = visitor.granted()
    visitor.credentials = Credentials(visitor.credentials.client_id, "wrong")
    with pytest.raises(InvalidClient):
        visitor.refreshed(first)


def test_refused_calls_are_told_apart(visitor):
    token = visitor.granted()
    with pytest.raises(SessionExpired):
        visitor.call(Token(access_token="0" * 32, uid=token.uid), "friends.get")
    AccessToken.objects.update(scope="")
    refused = {"ok": ("users.setStatus", {"status": "x"}), "mailru": ("stream.post", {"user_text": "x"})}
    method, params = refused[visitor.provider.id]
    with pytest.raises(PermissionDenied):
        visitor.call(token, method, **params)
    visitor.credentials = Credentials(visitor.credentials.client_id, "wrong", visitor.credentials.client_key)
    with pytest.raises(InvalidSignature):
        visitor.call(token, "friends.get")


def test_values_arrive_as_they_were_signed(visitor):
    token = visitor.granted()
    method, name = {"ok": ("users.setStatus", "status"), "mailru": ("stream.post", "user_text")}[
        visitor.provider.id
    ]
    for value in ("Привет, мир! Ёж & 1+1=2", "", "a=b&c", "100%", "  spaces  ", 0, False, ["1", "2"]):
        assert visitor.call(token, method, **{name: value, "none": None})
