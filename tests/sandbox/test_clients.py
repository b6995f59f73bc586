"""The package's own clients against the sandbox: two sides that were written apart understand each other."""

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
    SessionExpired,
)
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, PasswordGrant, RefreshTokenGrant
from django_socialgrants.oauth.values import Circuit, Credentials, Response, Token, reveal
from django_socialgrants.sandbox import providers
from django_socialgrants.sandbox.logins import LOGINS
from django_socialgrants.sandbox.models import AccessToken, Application, RefreshToken
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.rehearsal import begin, end

from .driver import BACK, FIRST, fragment_of, query_of


class Visitor:
    """A provider, the credentials of an application, and a browser."""

    def __init__(self, client, app):
        self.client = client
        self.provider = {"ok": providers.OK, "mailru": providers.MailRu}[app.network]()
        self.credentials = Credentials(app.client_id, app.client_secret, app.client_key)
        self.scope = {"ok": "VALUABLE_ACCESS GET_EMAIL", "mailru": "stream photos"}[app.network]

    def allow(self, response_type):
        url = self.provider.authorization_url(
            self.credentials, response_type=response_type, redirect_uri=BACK, state="s1", scope=self.scope
        )
        form = {"decision": "allow", "person": FIRST[self.provider.id]}
        return self.client.post(url.removeprefix("http://127.0.0.1:8000"), form)["Location"]

    def token(self, grant):
        return self.provider.parse_token(
            self._send(self.provider.token_request(self.credentials, grant)).json()
        )

    def granted(self):
        return self.token(AuthorizationCodeGrant(query_of(self.allow("code"))["code"], BACK))

    def call(self, token, method, circuit=Circuit.SERVER_SERVER, **params):
        request = self.provider.api_request(self.credentials, token, method, params, circuit)
        return self.provider.parse_api(self._send(request))

    def identity(self, token, circuit=Circuit.SERVER_SERVER):
        method, params = self.provider.identity_call()
        return self.provider.parse_identity(self.call(token, method, circuit, **params))

    def _send(self, request):
        assert request.method == "POST"
        params = {name: reveal(value) for name, value in request.params.items()}
        response = self.client.post(urlsplit(request.url).path, params)
        return Response(response.status_code, {}, response.content)


@pytest.fixture(params=["ok", "mailru"])
def visitor(request, client, settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    return Visitor(client, request.getfixturevalue(f"{request.param}_app"))


def test_a_code_becomes_a_token_whose_owner_is_known(visitor):
    token = visitor.granted()
    person = PEOPLE[visitor.provider.id][FIRST[visitor.provider.id]]
    identity = visitor.identity(token)
    assert (identity.uid, identity.name) == (person.uid, person.name)
    assert identity.email == person.profile["email"]
    assert token.expires_in == visitor.provider.default_expires_in
    assert token.uid in ("", person.uid)


def test_a_fragment_becomes_a_token_for_both_circuits(visitor):
    token = visitor.provider.parse_token(fragment_of(visitor.allow("token")))
    assert visitor.identity(token).uid == FIRST[visitor.provider.id]
    assert visitor.identity(token, Circuit.CLIENT_SERVER).uid == FIRST[visitor.provider.id]


def test_the_permissions_of_oks_fragment_are_understood(client, ok_app, settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    visitor = Visitor(client, ok_app)
    assert visitor.provider.parse_token(fragment_of(visitor.allow("token"))).scope == visitor.scope


def test_a_refreshed_token_works(visitor):
    first = visitor.granted()
    second = visitor.token(RefreshTokenGrant(first.refresh_token))
    assert bool(second.refresh_token) is (visitor.provider.id == "mailru")
    assert visitor.identity(second).uid == FIRST[visitor.provider.id]


@pytest.mark.parametrize("rotation", ["grace", "strict"])
def test_rotated_refresh_tokens_are_followed_at_both_networks(visitor, rotation):
    Application.objects.update(rotation=rotation)
    tokens = [visitor.granted()]
    for _again in range(3):
        tokens.append(visitor.token(RefreshTokenGrant(tokens[-1].refresh_token)))
    assert len({reveal(token.refresh_token) for token in tokens}) == 4
    assert visitor.identity(tokens[-1]).uid == FIRST[visitor.provider.id]


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
        assert visitor.identity(token, Circuit.CLIENT_SERVER).uid == login.uid
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


def test_a_rehearsed_end_of_sessions_is_understood_and_passes(visitor):
    token = visitor.granted()
    begin("session-expired", count=1)
    with pytest.raises(SessionExpired):
        visitor.identity(token)
    assert visitor.identity(token).uid == FIRST[visitor.provider.id]


@pytest.mark.parametrize("failure", ["no-refresh-token", "null-refresh-token", "empty-refresh-token"])
@pytest.mark.parametrize("rotation", ["fixed", "grace", "strict"])
def test_a_rehearsed_answer_without_refresh_token_leaves_the_old_one_valid(visitor, failure, rotation):
    Application.objects.update(rotation=rotation)
    first = visitor.granted()
    begin(failure)
    for _again in range(2):
        token = visitor.token(RefreshTokenGrant(first.refresh_token))
        assert not token.refresh_token
        assert visitor.identity(token).uid == FIRST[visitor.provider.id]
    end()
    assert visitor.token(RefreshTokenGrant(first.refresh_token)).access_token


def test_a_refused_code_and_refresh_token_are_told_apart_from_other_errors(visitor):
    with pytest.raises(InvalidGrant):
        visitor.token(AuthorizationCodeGrant("0" * 32, BACK))
    with pytest.raises(InvalidGrant):
        visitor.token(RefreshTokenGrant("0" * 32))
    first = visitor.granted()
    RefreshToken.objects.all().delete()
    with pytest.raises(InvalidGrant):
        visitor.token(RefreshTokenGrant(first.refresh_token))
    with pytest.raises(OAuthError):
        visitor.token(AuthorizationCodeGrant(query_of(visitor.allow("code"))["code"], f"{BACK}x"))
    visitor.credentials = Credentials(visitor.credentials.client_id, "wrong")
    with pytest.raises(InvalidClient):
        visitor.token(RefreshTokenGrant("0" * 32))


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
