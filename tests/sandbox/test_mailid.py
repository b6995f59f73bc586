"""Mail ID as a client meets it on the wire: every request is written out by hand."""

import pytest
from django.urls import reverse

from django_socialgrants.sandbox.models import AccessToken
from django_socialgrants.sandbox.people import PEOPLE

from .driver import BACK, FIRST, answer_of, decide, query_of
from .test_vkid import CHALLENGE, VERIFIER

OFFLINE = {"scope": "userinfo offline_access", "prompt": "consent"}


def ask(client, name, form):
    return client.post(reverse(f"socialgrants_sandbox:{name}"), form, headers={"User-Agent": "a test"})


@pytest.fixture
def exchange(client, mailid_app):
    def exchange(asked=None, **changes):
        code = query_of(decide(client, mailid_app, **(asked or {})))["code"]
        form = {
            "grant_type": "authorization_code",
            "client_id": mailid_app.client_id,
            "client_secret": mailid_app.client_secret,
            "code": code,
            "redirect_uri": BACK,
        } | changes
        return ask(client, "mailid_token", {k: v for k, v in form.items() if v is not None})

    return exchange


@pytest.mark.parametrize(
    ("asked", "refreshable"),
    [
        ({}, False),
        ({"scope": "userinfo offline_access"}, False),
        ({"prompt": "consent"}, False),
        (OFFLINE, True),
        ({"prompt_force": "1"}, True),
    ],
    ids=str,
)
def test_a_refresh_token_comes_to_whoever_asked_for_one(exchange, asked, refreshable):
    answer = answer_of(exchange(asked))
    assert ("refresh_token" in answer) is refreshable
    assert (answer["expires_in"], answer["token_type"]) == (3600, "Bearer")


def test_a_refresh_brings_an_access_token_alone_and_needs_no_secret(client, exchange, mailid_app):
    token = answer_of(exchange(OFFLINE))["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": mailid_app.client_id, "refresh_token": token}
    for more in ({}, {"client_secret": mailid_app.client_secret}):
        answer = answer_of(ask(client, "mailid_token", form | more))
        assert answer.keys() == {"access_token", "expires_in", "token_type"}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, 1),
        ({"client_secret": None}, 200, 2),
        ({"code": "wrong"}, 200, 3),
        ({"redirect_uri": "https://site.example/other/"}, 200, 2),
        ({"grant_type": "password"}, 200, 2),
        ({"grant_type": "refresh_token", "refresh_token": "wrong"}, 200, 6),
        ({"code_verifier": VERIFIER}, 200, 3),  # nobody announced one
    ],
    ids=str,
)
def test_errors_have_spaces_and_a_number(exchange, changes, status, code):
    response = exchange(**changes)
    answer = answer_of(response)
    assert (response.status_code, answer["error_code"]) == (status, code)
    assert " " in answer["error"]
    assert not AccessToken.objects.exists()


def test_a_code_challenge_that_was_announced_must_be_met(exchange):
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert "access_token" in answer_of(exchange(asked, code_verifier=VERIFIER))
    for verifier in (None, VERIFIER[::-1]):
        assert answer_of(exchange(asked, code_verifier=verifier))["error_code"] == 3


def test_a_client_must_say_what_it_is(client, mailid_app):
    answer = answer_of(client.post(reverse("socialgrants_sandbox:mailid_token"), {"grant_type": "x"}))
    assert answer["error_description"] == "missing user agent"


def test_the_profile_names_the_application_too(client, exchange, mailid_app):
    token = answer_of(exchange())["access_token"]
    expected = {**PEOPLE["mailid"][FIRST["mailid"]].profile, "client_id": mailid_app.client_id}
    assert answer_of(ask(client, "mailid_userinfo", {"access_token": token})) == expected
    assert (
        answer_of(client.get(reverse("socialgrants_sandbox:mailid_userinfo"), {"access_token": token}))
        == expected
    )


def test_a_token_in_a_header_is_not_looked_at(client, exchange):
    token = answer_of(exchange())["access_token"]
    url = reverse("socialgrants_sandbox:mailid_userinfo")
    answer = answer_of(client.get(url, headers={"Authorization": f"Bearer {token}"}))
    assert answer["error_description"] == "missing request parameter: access_token"


def test_a_dead_token_has_no_profile(client, mailid_app):
    assert answer_of(ask(client, "mailid_userinfo", {"access_token": "x"}))["error_code"] == 6
