"""Looking for a user's token: the same as Django's own query finds, only sooner."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.utils import timezone

from django_socialgrants.flows.kept_query import latest_token
from django_socialgrants.models import UserToken

pytestmark = pytest.mark.database


@pytest.fixture
def user(db):
    return get_user_model().objects.create_user("somebody")


def grant(user, application, uid="1", **fields):
    return UserToken.objects.create(
        user=user, credentials=application, uid=uid, access_token=f"access-{uid}", **fields
    )


def content(row: models.Model) -> dict[str, object]:
    assert row.get_deferred_fields() == set()
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_a_token_is_found_with_its_application_and_the_time(user, ok_app, django_assert_num_queries):
    now = timezone.now()
    grant(
        user,
        ok_app,
        session_secret="session",
        refresh_token="refresh",
        scope="A B",
        expires_at=now + timedelta(hours=1),
        profile={"name": "Ёж", "age": 3},
    )
    with django_assert_num_queries(1):
        token = latest_token(user.pk, "ok")
        application = token.credentials
    expected = UserToken.objects.with_time().get()
    assert content(token) == content(expected)
    assert content(application) == content(expected.credentials)
    assert application.client_secret == "ok-client-secret"
    assert isinstance(token.database_now, datetime)
    assert abs(token.database_now - expected.database_now) < timedelta(minutes=1)
    assert token.read_at > 0
    assert token._state.db == application._state.db == "default"


def test_a_token_that_was_found_can_be_saved(user, ok_app):
    grant(user, ok_app)
    token = latest_token(user.pk, "ok")
    token.reason = "a reason"
    token.save()
    assert UserToken.objects.get().reason == latest_token(user.pk, "ok").reason == "a reason"


def test_the_latest_of_several_is_found(user, ok_app):
    now = timezone.now()
    for uid, age in [("1", 3), ("2", 1), ("3", 2)]:
        grant(user, ok_app, uid, created_at=now - timedelta(days=age))
    assert latest_token(user.pk, "ok").uid == "2"
    assert latest_token(user.pk, "ok", uid="3").uid == "3"
    assert latest_token(user.pk, "ok", uid="4") is None


def test_of_two_that_are_as_late_the_newer_row_is_found(user, ok_app):
    now = timezone.now()
    for uid in ("1", "2"):
        grant(user, ok_app, uid, created_at=now)
    assert latest_token(user.pk, "ok").uid == "2"


def test_nobody_gets_the_token_of_another_user_or_application(user, ok_app, other_ok_app):
    stranger = get_user_model().objects.create_user("stranger")
    grant(user, ok_app, "1")
    grant(stranger, other_ok_app, "2")
    assert latest_token(stranger.pk, "ok") is None
    assert latest_token(user.pk, "ok-2") is None
    assert latest_token(user.pk, "ok", uid="2") is None
    assert latest_token(stranger.pk, "ok-2").uid == "2"


@pytest.mark.parametrize("name", ["%s", "ok' OR 1=1 --", "user", "application", "uid", "ё", ""])
def test_names_are_values_and_nothing_else(user, ok_app, name):
    grant(user, ok_app)
    assert latest_token(user.pk, name) is None
    assert latest_token(user.pk, "ok", uid=name) is None
    ok_app.name = name
    ok_app.save()
    assert latest_token(user.pk, name).uid == "1"


@pytest.mark.django_db(transaction=True)
def test_threads_share_the_query_and_nothing_else(user, ok_app):
    grant(user, ok_app)

    def look_up(_):
        try:
            return latest_token(user.pk, "ok").access_token.reveal()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(look_up, range(20))) == {"access-1"}
    assert latest_token(user.pk, "ok").uid == "1"
