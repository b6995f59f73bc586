"""The package's own clients against the sandbox: two sides that were written apart understand each other."""

from urllib.parse import urlsplit

import pytest

from django_socialgrants.exceptions import (
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    OAuthError,
    PermissionDenied,
    SessionExpired,
)
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, RefreshTokenGrant
from django_socialgrants.oauth.values import Circuit, Credentials, Response, Token, reveal
from django_socialgrants.sandbox import providers
from django_socialgrants.sandbox.models import AccessToken, RefreshToken
from django_socialgrants.sandbox.people import PEOPLE

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
