"""The three modes in which an application's refresh tokens may be used."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_socialgrants.sandbox.models import AccessToken, RefreshToken

from .driver import answer_of, ask_token, code_form, counts, mailru_call, ok_call, refresh_form


@pytest.fixture
def mode(app):
    def choose(rotation):
        app.rotation = rotation
        app.save()

    return choose


@pytest.fixture
def granted(client, app):
    return answer_of(ask_token(client, app, code_form(client, app)))


def refresh(client, app, refresh_token):
    return answer_of(ask_token(client, app, refresh_form(app, refresh_token)))


def works(client, app, token):
    """Whether a call with the access token in an answer is answered."""
    session = AccessToken.objects.get(value=token["access_token"])
    call, method = {"ok": (ok_call, "users.getLoggedInUser"), "mailru": (mailru_call, "users.getInfo")}[
        app.network
    ]
    return "error_code" not in str(answer_of(call(client, app, method, session)))


def age_of_retirement(seconds):
    RefreshToken.objects.exclude(retired_at=None).update(
        retired_at=timezone.now() - timedelta(seconds=seconds)
    )


def test_fixed_the_refresh_token_stays_and_is_not_named(client, app, mode, granted):
    mode("fixed")
    answers = [refresh(client, app, granted["refresh_token"]) for _again in range(3)]
    assert len({answer["access_token"] for answer in answers}) == 3
    assert all("refresh_token" not in answer for answer in answers)
    assert all(works(client, app, answer) for answer in (granted, *answers))
    assert counts() == (1, 4, 1)


@pytest.mark.parametrize("rotation", ["grace", "strict"])
def test_rotating_each_refresh_brings_the_refresh_token_for_the_next(client, app, mode, granted, rotation):
    mode(rotation)
    tokens, seen = granted, {granted["refresh_token"]}
    for _again in range(3):
        tokens = refresh(client, app, tokens["refresh_token"])
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
        assert works(client, app, tokens)


def test_grace_the_old_token_brings_the_same_answer_again_for_a_minute(client, app, mode, granted):
    mode("grace")
    second = refresh(client, app, granted["refresh_token"])
    assert refresh(client, app, granted["refresh_token"]) == second
    age_of_retirement(55)
    assert refresh(client, app, granted["refresh_token"]) == second
    assert counts() == (1, 2, 2)
    assert works(client, app, second)


def test_grace_afterwards_the_old_token_is_dead_and_the_new_one_lives(client, app, mode, granted):
    mode("grace")
    second = refresh(client, app, granted["refresh_token"])
    age_of_retirement(61)
    assert "error" in refresh(client, app, granted["refresh_token"])
    assert works(client, app, second)
    assert "access_token" in refresh(client, app, second["refresh_token"])


def test_grace_ends_with_the_use_of_the_new_token(client, app, mode, granted):
    mode("grace")
    second = refresh(client, app, granted["refresh_token"])
    third = refresh(client, app, second["refresh_token"])
    assert "error" in refresh(client, app, granted["refresh_token"])
    assert works(client, app, third)


def test_strict_a_token_used_twice_ends_all_that_came_of_it(client, app, mode, granted):
    mode("strict")
    second = refresh(client, app, granted["refresh_token"])
    third = refresh(client, app, second["refresh_token"])
    assert all(works(client, app, token) for token in (granted, second, third))
    assert "error" in refresh(client, app, granted["refresh_token"])
    assert not any(works(client, app, token) for token in (granted, second, third))
    assert "error" in refresh(client, app, third["refresh_token"])


def test_strict_another_login_of_the_same_person_is_not_touched(client, app, mode, granted):
    mode("strict")
    other = answer_of(ask_token(client, app, code_form(client, app)))
    refresh(client, app, granted["refresh_token"])
    assert "error" in refresh(client, app, granted["refresh_token"])
    assert works(client, app, other)
    assert "access_token" in refresh(client, app, other["refresh_token"])


def test_the_mode_is_that_of_the_application_not_of_the_network(client, app, other_ok_app, mode, granted):
    mode("grace")
    other_ok_app.redirect_uris = ["https://site.example/back/"]
    other_ok_app.save()
    theirs = answer_of(ask_token(client, other_ok_app, code_form(client, other_ok_app)))
    assert "refresh_token" in refresh(client, app, granted["refresh_token"])
    assert "refresh_token" not in refresh(client, other_ok_app, theirs["refresh_token"])


def test_without_a_mode_ok_does_not_rotate_and_mailru_is_strict(client, app, granted):
    again = [refresh(client, app, granted["refresh_token"]) for _twice in range(2)]
    assert ["access_token" in answer for answer in again] == [True, app.network == "ok"]
    assert ("refresh_token" in again[0]) is (app.network == "mailru")


@pytest.mark.parametrize("rotation", ["fixed", "grace", "strict"])
def test_an_expired_refresh_token_brings_nothing(client, app, mode, granted, rotation):
    mode(rotation)
    RefreshToken.objects.update(expires_at=timezone.now())
    assert "error" in refresh(client, app, granted["refresh_token"])
    assert works(client, app, granted)


def test_a_refresh_token_from_before_its_pair_was_kept_rotates_like_any_other(client, app, mode, granted):
    mode("strict")
    RefreshToken.objects.update(access=None)
    second = refresh(client, app, granted["refresh_token"])
    assert "error" in refresh(client, app, granted["refresh_token"])
    assert not works(client, app, second)
