"""What the middleware does for views: it renews stale tokens in time, and answers errors that they let through."""

import logging
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache

from django_socialgrants.decorators import grant_required
from django_socialgrants.exceptions import NeedsLogin
from django_socialgrants.refreshing import committed
from tests.journey import warnings_logged
from tests.network import answer
from tests.tokens import EXPIRED, expired, granted, requests_of, stale, stored

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Accept": "application/json"}


def friends(request):
    request.social["ok"].friends.get()
    return HttpResponse("friends" if not connection.in_atomic_block else "friends, atomically")


class Friends(View):
    def get(self, request):
        return friends(request)


async def async_friends(request):
    await request.social["ok"].friends.get.acall()
    return HttpResponse("friends")


def of_two_minds(request):
    User.objects.create_user("made-by-a-view-that-fails")
    return friends(request)


def helpless(request):
    raise NeedsLogin("somebody else's", reason="no_token")


def broken(request):
    raise RuntimeError("a mistake of the site")


urlpatterns = [
    path("marked/", never_cache(grant_required("ok")(friends))),
    path("class/", method_decorator(grant_required("ok"), name="dispatch")(Friends).as_view()),
    path("twice/", grant_required("mailru")(grant_required("ok")(friends))),
    path("outside/", transaction.non_atomic_requests(grant_required("ok")(friends))),
    path("async/", transaction.non_atomic_requests(grant_required("ok")(async_friends))),
    path("unmarked/", friends),
    path("friends/", friends),
    path("async-friends/", async_friends),
    path("of-two-minds/", of_two_minds),
    path("helpless/", helpless),
    path("broken/", broken),
    path("social/", include("django_socialgrants.urls")),
]


@pytest.fixture(autouse=True)
def site(settings, network, ok_app):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django_socialgrants.middleware.SocialGrantsMiddleware"]


@pytest.fixture
def user(transactional_db):
    return User.objects.create_user("maria", password="password")


@pytest.fixture
def member(user, client):
    client.force_login(user)
    return client


@pytest.fixture
def atomic_requests(monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


@pytest.fixture
def seconds(monkeypatch):
    """The second connections that are opened."""
    opened = []
    second = committed._second

    def note(callers):
        opened.append(callers)
        return second(callers)

    monkeypatch.setattr(committed, "_second", note)
    return opened


# --- in time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [stale, expired])
@pytest.mark.parametrize("place", ["/marked/", "/class/"])
def test_a_marked_view_needs_no_second_connection(
    member, user, ok_app, network, atomic_requests, seconds, place, condition
):
    token = condition(user, ok_app)
    response = member.get(place)
    assert (response.status_code, response.content) == (200, b"friends, atomically")
    assert requests_of(network, "ok") == ["token", "api"]
    assert stored(token).generation == 1
    assert seconds == []


def test_nor_do_sync_views_of_an_async_site(user, ok_app, network, atomic_requests, seconds):
    token = expired(user, ok_app)
    client = AsyncClient()
    client.force_login(user)
    response = async_to_sync(client.get)("/marked/")
    assert (response.status_code, response.content) == (200, b"friends, atomically")
    assert stored(token).generation == 1
    assert seconds == []


def test_every_application_that_a_view_needs_is_seen_to(
    member, user, ok_app, mailru_app, network, atomic_requests, seconds
):
    expired(user, ok_app)
    expired(user, mailru_app)
    assert member.get("/twice/").status_code == 200
    assert (requests_of(network, "ok"), requests_of(network, "mailru")) == (["token", "api"], ["token"])
    assert seconds == []


@pytest.mark.parametrize("place", ["/outside/", "/async/"])
def test_a_view_outside_of_transactions_is_left_to_itself(user, ok_app, network, atomic_requests, place):
    expired(user, ok_app)
    client = AsyncClient()
    client.force_login(user)
    assert async_to_sync(client.get)(place).content == b"friends"
    assert requests_of(network, "ok") == ["token", "api"]


def test_without_atomic_requests_nothing_is_refreshed_that_no_call_needs(member, user, ok_app, network):
    expired(user, ok_app)
    network.on("/ok/token", answer({}, status=503))
    assert member.get("/marked/").status_code == 503
    assert requests_of(network, "ok") == ["token"]


def test_a_refresh_that_fails_in_time_is_not_tried_again_by_the_view(
    member, user, ok_app, network, atomic_requests
):
    expired(user, ok_app)
    network.on("/ok/token", answer({}, status=503))
    assert member.get("/marked/").status_code == 503
    assert requests_of(network, "ok") == ["token"]


@pytest.mark.parametrize("who", ["anonymous", "without a token"])
def test_who_has_no_token_is_sent_to_grant_it(user, network, atomic_requests, who):
    client = Client()
    if who != "anonymous":
        client.force_login(user)
    assert client.get("/marked/")["Location"] == "/social/ok/code/?next=/marked/"
    assert network.calls == []


# --- what a view lets through ------------------------------------------------------------------------------------


def assert_our_headers(response):
    assert response["Cache-Control"] == "no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"


def test_a_missing_grant_leads_to_it_and_back(member, network):
    response = member.get("/friends/?page=2")
    assert response.status_code == 302
    assert response["Location"] == "/social/ok/code/?next=/friends/%3Fpage%3D2"
    assert member.get(response["Location"]).status_code == 200


@pytest.mark.parametrize(("login", "reason"), [(False, "anonymous"), (True, "no_token")])
def test_whoever_prefers_json_is_told_so_in_json(client, user, login, reason):
    if login:
        client.force_login(user)
    response = client.get("/friends/", headers=JSON)
    assert response.status_code == 401
    assert response.json() == {
        "error": "needs_login",
        "application": "ok",
        "reason": reason,
        "location": "/social/ok/code/",
    }
    assert_our_headers(response)


def test_what_was_granted_before_is_asked_for_again(member, user, ok_app, network):
    granted(user, ok_app, scope="PHOTO_CONTENT", state="needs_login", reason="invalid_grant")
    response = member.get("/friends/")
    away = member.post(urlsplit(response["Location"]).path)
    assert "PHOTO_CONTENT" in away["Location"]


FAILURES = {
    "cut": lambda sent: setattr(sent.handler, "close_connection", True),
    "nonsense": answer(b"<html>", content_type="text/html"),
    "session expired": answer(EXPIRED),
    "out of order": answer({}, status=503),
    "permission": answer({"error_code": 10, "error_msg": "no"}),
}


@pytest.mark.parametrize("place", ["/friends/", "/async-friends/"])
@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_else_happens_is_a_page_that_says_to_come_again(user, ok_app, network, place, failure):
    granted(user, ok_app)
    network.on("/ok/api", FAILURES[failure])
    client = AsyncClient()
    client.force_login(user)
    with warnings_logged() as records:
        response = async_to_sync(client.get)(place)
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    assert "Please try again later" in response.content.decode()
    assert_our_headers(response)
    (record,) = [record for record in records if getattr(record, "event", "") == "call"]
    assert record.levelno == logging.WARNING
    assert record.reference in response.content.decode()


def test_or_json(member, user, ok_app, network):
    expired(user, ok_app)
    network.on("/ok/token", answer({}, status=429, headers={"Retry-After": "77"}))
    response = member.get("/friends/", headers=JSON)
    assert (response.status_code, response["Retry-After"]) == (503, "77")
    told = response.json()
    assert told == {"error": "call_failed", "reference": told["reference"]}
    assert_our_headers(response)


def test_a_view_that_fails_is_rolled_back(member, user, ok_app, network, atomic_requests):
    granted(user, ok_app)
    network.on("/ok/api", answer({}, status=503))
    assert member.get("/of-two-minds/").status_code == 503
    assert User.objects.count() == 1


@pytest.mark.parametrize(("place", "error"), [("/broken/", RuntimeError), ("/helpless/", None)])
def test_errors_that_are_not_ours_are_left_to_the_site(member, place, error):
    if error:
        with pytest.raises(error):
            member.get(place)
    else:
        assert member.get(place).status_code == 503  # nobody knows which grant is meant


def test_an_application_that_nobody_has_stored_is_told_to_the_log(member, user, ok_app, network):
    ok_app.delete()
    with warnings_logged() as records:
        assert member.get("/friends/").status_code == 503
    assert "no application is named 'ok'" in " ".join(record.getMessage() for record in records)
