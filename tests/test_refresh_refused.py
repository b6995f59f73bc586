"""A refresh is refused, or can't even be tried: who is dead, who is not, and who is never asked again."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_socialgrants.exceptions import (
    DecryptionError,
    InvalidClient,
    NeedsLogin,
    ProviderUnavailable,
)
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from tests.conftest import mailru_token
from tests.network import answer
from tests.tokens import (
    FAILURES,
    UNKNOWN,
    assert_free,
    call,
    change,
    expired,
    fails,
    granted,
    in_turn,
    refresh_tokens_sent,
    requests_of,
    row,
    signals_sent,
    stale,
    stored,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def user(db):
    return User.objects.create_user("maria")


@pytest.fixture
def apps(network, ok_app, mailru_app):
    return {"ok": ok_app, "mailru": mailru_app}


# --- refused ------------------------------------------------------------------------------------------------

DIALECTS = [
    ("ok", 400, {"error": "invalid_grant"}),
    ("ok", 200, {"error": "invalid_grant"}),
    ("ok", 401, {"error": "invalid_grant", "error_description": "Expired"}),
    ("ok", 400, {"error": "invalid_token", "error_description": "Invalid refresh token structure"}),
    ("ok", 200, {"error": "access_denied"}),
    ("ok", 200, {"error_code": 102, "error_msg": "PARAM_SESSION_EXPIRED"}),
    ("ok", 200, {"error_code": "103", "error_msg": "PARAM_SESSION_KEY"}),
    ("mailru", 400, {"error": "invalid_grant"}),
    ("mailru", 200, {"error": "invalid_grant"}),
    ("mailru", 401, {"error": "invalid_grant"}),
    ("mailru", 200, {"error": {"error_code": 102, "error_msg": "Session expired"}}),
]


@pytest.mark.parametrize(("name", "status", "said"), DIALECTS)
@pytest.mark.parametrize("condition", [stale, expired])
def test_a_refused_refresh_token_is_never_shown_again(user, network, apps, name, status, said, condition):
    token = condition(user, apps[name])
    network.on(f"/{name}/token", answer(said, status=status))
    with signals_sent() as sent:
        for _ in range(4):
            assert fails(user, NeedsLogin, name).reason == "invalid_grant"
    assert requests_of(network, name) == ["token"]
    assert [(signal, told.pk, told.reason) for signal, told in sent] == [
        ("needs_login", token.pk, "invalid_grant")
    ]
    now = stored(token)
    assert (now.state, now.reason, now.next_refresh_at) == ("needs_login", "invalid_grant", None)
    assert_free(token)


@pytest.mark.parametrize("trouble", sorted(UNKNOWN))
def test_a_token_that_is_refused_after_an_unknown_outcome_says_so(user, network, apps, trouble):
    expired(user, apps["mailru"])
    network.on("/mailru/token", in_turn(FAILURES[trouble], answer({"error": "invalid_grant"}, status=400)))
    assert fails(user, NeedsLogin, "mailru").reason == "ambiguous_rotation"
    assert refresh_tokens_sent(network, "mailru") == ["mailru-refresh-token-0"] * 2


@pytest.mark.parametrize("trouble", sorted(UNKNOWN))
def test_also_when_the_refusal_comes_much_later(user, network, apps, trouble):
    token = expired(user, apps["mailru"])
    bad, refusal = FAILURES[trouble], answer({"error": "invalid_grant"}, status=400)
    network.on("/mailru/token", in_turn(bad, bad, answer({}, status=503), refusal))
    fails(user, Exception, "mailru")
    for _ in range(2):
        change(token, next_refresh_at=timezone.now() - timedelta(seconds=1))
        fails(user, Exception, "mailru")
    assert (stored(token).state, stored(token).reason) == ("needs_login", "ambiguous_rotation")
    assert len(network.calls) == 4


@pytest.mark.parametrize("trouble", sorted(UNKNOWN))
def test_one_quick_retry_is_often_enough(user, network, apps, trouble):
    token = expired(user, apps["mailru"])
    network.on("/mailru/token", in_turn(FAILURES[trouble], answer(mailru_token())))
    call(user, "mailru")
    assert requests_of(network, "mailru") == ["token", "token", "api"]
    assert (stored(token).reason, stored(token).failures) == ("", 0)


def test_a_refresh_that_names_somebody_else_is_refused(user, network, apps):
    token = expired(user, apps["mailru"])
    network.on("/mailru/token", answer(mailru_token(x_mailru_vid="999")))
    with signals_sent() as sent:
        for _ in range(2):
            assert fails(user, NeedsLogin, "mailru").reason == "identity_changed"
    assert requests_of(network, "mailru") == ["token"]
    now = stored(token)
    assert (now.access_token, now.uid) == ("mailru-access-token-0", token.uid)
    assert [signal for signal, _ in sent] == ["needs_login"]


def test_a_refused_application_kills_no_token(user, network, apps):
    token = expired(user, apps["ok"])
    network.on("/ok/token", answer({"error": "invalid_client"}, status=401))
    fails(user, InvalidClient)
    now = stored(token)
    assert (now.state, now.failures, now.reason) == ("active", 0, "")
    assert_free(token)
    assert network.calls_to("/ok/api") == []


def test_a_refused_application_is_asked_again_as_soon_as_somebody_has_mended_it(user, network, apps):
    expired(user, apps["ok"])
    healthy = network.behaviours["/ok/token"]
    network.on("/ok/token", answer({"error": "invalid_client"}, status=401))
    fails(user, InvalidClient)
    fails(user, ProviderUnavailable)
    assert len(network.calls_to("/ok/token")) == 1
    network.on("/ok/token", healthy)
    apps["ok"].client_secret = "the right one"
    apps["ok"].save()
    call(user)
    assert len(network.calls_to("/ok/token")) == 2


def test_a_new_grant_brings_a_dead_token_back(user, network, apps):
    token = expired(user, apps["ok"])
    network.on("/ok/token", answer({"error": "invalid_grant"}))
    fails(user, NeedsLogin)
    change(token, state="active", reason="", generation=token.generation + 1, expires_at=None)
    call(user)
    assert requests_of(network, "ok") == ["token", "api"]


# --- keys and ciphertexts -----------------------------------------------------------------------------------

KEYS = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "enl4d3Z1dHNycXBvbm1sa2ppaGdmZWRjYmFaWVhXVlU="]


@pytest.mark.parametrize("condition", [granted, stale, expired])
def test_with_a_lost_key_nothing_is_asked_and_nothing_changed(user, network, apps, settings, condition):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = KEYS[:1]
    apps["ok"].save()
    token = condition(user, apps["ok"])
    before = row(token), list(ProviderCredentials.objects.values())
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = KEYS[1:]
    with signals_sent() as sent:
        error = fails(user, DecryptionError)
    assert (error.key_known, len(error.fingerprint)) == (False, 8)
    assert (network.calls, sent) == ([], [])
    assert (row(token), list(ProviderCredentials.objects.values())) == before
    assert not ApplicationHealth.objects.exists()


@pytest.mark.parametrize("condition", [stale, expired])
def test_with_the_key_of_the_tokens_alone_lost_nothing_is_changed_either(
    user, network, apps, settings, condition
):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = KEYS[:1]
    token = condition(user, apps["ok"])
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = KEYS[1:]
    apps["ok"].client_secret, apps["ok"].client_key = "ok-client-secret", "KEY"
    apps["ok"].save()
    before = row(token)
    fails(user, DecryptionError)
    assert (network.calls, row(token)) == ([], before)


def corrupt(token, column):
    """Flip the last characters of a ciphertext."""
    value = row(token)[column]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE socialgrants_usertoken SET {column} = %s WHERE id = %s",
            [value[:-6] + ("AAAAA=" if value[-6:] != "AAAAA=" else "BBBBB="), token.pk],
        )


def test_a_corrupt_ciphertext_is_named_and_left_for_a_day(user, network, apps):
    token = expired(user, apps["ok"])
    corrupt(token, "refresh_token")
    with signals_sent() as sent:
        assert fails(user, DecryptionError).key_known
    now = stored(token)
    assert (now.state, now.reason, network.calls, sent) == ("active", "undecipherable", [], [])
    assert now.next_refresh_at > timezone.now() + timedelta(hours=23)
    assert_free(token)
    assert not ApplicationHealth.objects.exists()


def test_a_corrupt_refresh_token_leaves_its_valid_access_token_in_use(user, network, apps):
    token = stale(user, apps["ok"])
    corrupt(token, "refresh_token")
    for _ in range(3):
        call(user)
    assert requests_of(network, "ok") == ["api"] * 3
    assert (stored(token).reason, stored(token).failures) == ("undecipherable", 1)


def test_what_is_corrupt_is_mended_by_a_new_grant(user, network, apps):
    token = expired(user, apps["ok"])
    corrupt(token, "refresh_token")
    fails(user, DecryptionError)
    again = UserToken.objects.get(pk=token.pk)
    again.refresh_token, again.reason, again.failures = "ok-refresh-token-9", "", 0
    again.save()
    call(user)
    assert refresh_tokens_sent(network, "ok") == ["ok-refresh-token-9"]
