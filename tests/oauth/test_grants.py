"""Grants carry the parameters of their token requests, by the names of RFC 6749."""

import pytest

from django_socialgrants.exceptions import MalformedResponse
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    ImplicitGrant,
    PasswordGrant,
    RefreshTokenGrant,
)
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Secret, reveal

REDIRECT_URI = "https://site.example/social/ok/code/callback/"
FRAGMENT = {
    "access_token": "token-1",
    "token_type": "bearer",
    "expires_in": "86400",
    "scope": "photos stream",
    "state": "s1",
    "x_mailru_vid": "12900285598278158001",
}


def clear(params):
    return {name: reveal(value) for name, value in params.items()}


@pytest.mark.parametrize(
    ("grant", "params"),
    [
        (
            AuthorizationCodeGrant(code="c1", redirect_uri=REDIRECT_URI),
            {"grant_type": "authorization_code", "code": "c1", "redirect_uri": REDIRECT_URI},
        ),
        (
            AuthorizationCodeGrant(code="c1", redirect_uri=REDIRECT_URI, code_verifier="v1"),
            {
                "grant_type": "authorization_code",
                "code": "c1",
                "redirect_uri": REDIRECT_URI,
                "code_verifier": "v1",
            },
        ),
        (
            PasswordGrant(username="ivan@mail.example", password=" pass word "),
            {"grant_type": "password", "username": "ivan@mail.example", "password": " pass word "},
        ),
        (
            PasswordGrant(username="ivan", password="p", scope="photos stream"),
            {"grant_type": "password", "username": "ivan", "password": "p", "scope": "photos stream"},
        ),
        (
            RefreshTokenGrant(refresh_token="r1"),
            {"grant_type": "refresh_token", "refresh_token": "r1"},
        ),
    ],
    ids=lambda value: getattr(value, "grant_type", ""),
)
def test_a_grant_gives_the_parameters_of_its_token_request(grant, params):
    assert clear(grant.params()) == params


@pytest.mark.parametrize(
    ("grant", "names"),
    [
        (AuthorizationCodeGrant(code="c1", redirect_uri="", code_verifier="v1"), {"code", "code_verifier"}),
        (PasswordGrant(username="ivan", password="p"), {"password"}),
        (RefreshTokenGrant(refresh_token="r1"), {"refresh_token"}),
        (ImplicitGrant.from_fragment(FRAGMENT), {"access_token", "state", "x_mailru_vid"}),
    ],
    ids=lambda value: getattr(value, "grant_type", ""),
)
def test_what_is_secret_in_a_grant_stays_wrapped_in_its_parameters(grant, names):
    assert {name for name, value in grant.params().items() if isinstance(value, Secret)} == names


def test_a_grant_may_be_made_of_secrets():
    grant = RefreshTokenGrant(refresh_token=Secret("r1"))
    assert clear(grant.params())["refresh_token"] == "r1"


def test_an_implicit_grant_gives_back_the_parameters_of_its_fragment():
    grant = ImplicitGrant.from_fragment(FRAGMENT)
    assert (grant.token_type, grant.expires_in, grant.scope) == ("bearer", "86400", "photos stream")
    assert grant.others == {"state": "s1", "x_mailru_vid": "12900285598278158001"}
    assert clear(grant.params()) == FRAGMENT


@pytest.mark.parametrize("name", ["others", "_secrets", "grant_type", "self", "cls", "params"])
def test_a_fragment_can_use_any_name(name):
    fragment = FRAGMENT | {name: "x"}
    assert clear(ImplicitGrant.from_fragment(fragment).params()) == fragment


@pytest.mark.parametrize("fragment", [{}, {"state": "s1"}, {"access_token": ""}, {"code": "c1"}])
def test_a_fragment_without_an_access_token_gives_no_token(fragment):
    grant = ImplicitGrant.from_fragment(fragment)
    network = Provider()
    network.title = "Network"
    with pytest.raises(MalformedResponse):
        network.parse_token(grant.params())
