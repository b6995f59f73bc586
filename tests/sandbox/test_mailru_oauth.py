from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from django_socialgrants.sandbox.models import AccessToken, Code, RefreshToken

from .driver import BACK, FIRST, answer_of, ask_token, code_form, counts, decide, fragment_of, refresh_form


def granted(client, mailru_app, **changes):
    return answer_of(ask_token(client, mailru_app, code_form(client, mailru_app, **changes)))


def refused(response, error):
    assert answer_of(response) == {"error": error}
    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/javascript")
    return True


def test_a_code_is_answered_with_the_user_id_as_javascript(client, mailru_app):
    response = ask_token(client, mailru_app, code_form(client, mailru_app, scope="stream"))
    answer = answer_of(response)
    assert response["Content-Type"].startswith("text/javascript")
    assert set(answer) == {"access_token", "refresh_token", "token_type", "expires_in", "x_mailru_vid"}
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 86400)
    assert answer["x_mailru_vid"] == FIRST["mailru"]
    assert AccessToken.objects.get(value=answer["access_token"]).scope == "stream"


def test_a_code_works_once_and_for_two_minutes(client, mailru_app):
    form = code_form(client, mailru_app)
    assert "access_token" in answer_of(ask_token(client, mailru_app, form))
    assert refused(ask_token(client, mailru_app, form), "invalid_grant")
    form = code_form(client, mailru_app)
    Code.objects.update(expires_at=timezone.now())
    assert refused(ask_token(client, mailru_app, form), "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": f"{BACK}x"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "999"}, "invalid_client"),
        ({"client_id": "a\0b"}, "invalid_client"),
        ({"code": "0" * 32}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_standard(client, mailru_app, changes, error):
    form = code_form(client, mailru_app)
    assert refused(ask_token(client, mailru_app, form | changes), error)
    assert "access_token" in answer_of(ask_token(client, mailru_app, form))


def test_the_private_key_is_no_client_secret(client, mailru_app):
    form = code_form(client, mailru_app) | {"client_secret": mailru_app.client_key}
    assert refused(ask_token(client, mailru_app, form), "invalid_client")


def test_a_code_is_unknown_to_another_application(client, mailru_app, other_mailru_app):
    form = code_form(client, mailru_app)
    form |= {"client_id": other_mailru_app.client_id, "client_secret": other_mailru_app.client_secret}
    assert refused(ask_token(client, mailru_app, form), "invalid_grant")


def test_parameters_in_the_address_are_refused(client, mailru_app):
    form = code_form(client, mailru_app)
    url = reverse("socialgrants_sandbox:mailru_token", query=form)
    assert refused(client.post(url), "invalid_request")
    assert refused(client.post(url, form), "invalid_request")
    assert client.get(url).status_code == 405
    assert counts() == (1, 0, 0)


def test_a_refresh_rotates_the_refresh_token(client, mailru_app):
    first = granted(client, mailru_app, scope="stream")
    second = answer_of(ask_token(client, mailru_app, refresh_form(mailru_app, first["refresh_token"])))
    assert set(second) == set(first)
    assert second["x_mailru_vid"] == first["x_mailru_vid"]
    assert not {second["access_token"], second["refresh_token"]} & {
        first["access_token"],
        first["refresh_token"],
    }
    third = answer_of(ask_token(client, mailru_app, refresh_form(mailru_app, second["refresh_token"])))
    assert AccessToken.objects.get(value=third["access_token"]).scope == "stream"


def test_the_refresh_token_of_a_fragment_works_too(client, mailru_app):
    fragment = fragment_of(decide(client, mailru_app, response_type="token"))
    form = refresh_form(mailru_app, fragment["refresh_token"])
    assert "access_token" in answer_of(ask_token(client, mailru_app, form))


def test_an_expired_foreign_or_unknown_refresh_token_is_refused(client, mailru_app, other_mailru_app):
    token = granted(client, mailru_app)["refresh_token"]
    assert refused(ask_token(client, mailru_app, refresh_form(mailru_app, "0" * 32)), "invalid_grant")
    foreign = refresh_form(other_mailru_app, token)
    assert refused(ask_token(client, other_mailru_app, foreign), "invalid_grant")
    RefreshToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert refused(ask_token(client, mailru_app, refresh_form(mailru_app, token)), "invalid_grant")
