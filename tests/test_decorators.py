"""Views that need a grant: a visitor without it is sent to grant it, and comes back."""

from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path, reverse

from django_socialgrants.decorators import grant_required, redirect_to_grant
from django_socialgrants.exceptions import NeedsLogin, UnknownCredentials
from django_socialgrants.models import UserToken
from tests.conftest import OK_UID, ok_token
from tests.fakes import FakeOK
from tests.journey import finish, query_of
from tests.network import answer
from tests.tokens import EXPIRED, expired, granted, queries, stored

pytestmark = pytest.mark.django_db


@grant_required("ok")
def plain(request):
    """A page that needs any grant."""
    return HttpResponse("plain")


@grant_required("ok", scope="PHOTO_CONTENT")
def photos(request, pk=0):
    return HttpResponse(f"photos {pk}")


@grant_required("ok", scope="VIDEO_CONTENT")
def videos(request):
    return HttpResponse("videos")


@grant_required("ok", scope="PHOTO_CONTENT")
async def async_photos(request):
    return HttpResponse("photos")


@grant_required("ok")
def calling(request):
    request.social["ok"].friends.get()
    return HttpResponse("called")


def helpless(request):
    try:
        request.social["ok"].friends.get()
    except NeedsLogin:
        return redirect_to_grant(request, "ok", scope="GROUP_CONTENT")
    return HttpResponse("called")


@grant_required("nowhere")
def nowhere(request):
    return HttpResponse("never")


urlpatterns = [
    path("plain/", plain),
    path("photos/", photos),
    path("photos/<int:pk>/", photos),
    path("videos/", videos),
    path("async/", async_photos),
    path("calling/", calling),
    path("helpless/", helpless),
    path("nowhere/", nowhere),
    path("social/", include("django_socialgrants.urls")),
]

START = "/social/ok/code/"


@pytest.fixture(autouse=True)
def site(settings, network, ok_app):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django_socialgrants.middleware.SocialGrantsMiddleware"]


@pytest.fixture
def user(db):
    return User.objects.create_user("maria", password="password")


@pytest.fixture
def member(user, client):
    client.force_login(user)
    return client


def sent_to_start(response):
    """The `next` with which a visitor is sent to the start page."""
    assert response.status_code == 302
    parts = urlsplit(response["Location"])
    assert parts.path == START
    query = parse_qs(parts.query, strict_parsing=True)
    assert list(query) == ["next"]
    return query["next"][0]


def go_and_grant(client, response, network, **said):
    """From the redirect through the start page and the network back; what was asked for, and where one lands."""
    next_url = sent_to_start(response)
    page = client.get(response["Location"])
    assert page.status_code == 200
    assert f'name="next" value="{next_url}"'.replace("&", "&amp;") in page.content.decode()
    away = client.post(urlsplit(response["Location"]).path, {"next": next_url})
    asked = query_of(away)
    network.on("/ok/token", answer(ok_token(**said)))
    back = finish(client, asked["state"])
    assert back.status_code == 302
    return asked["scope"].split(";"), back["Location"]


# --- who may pass ------------------------------------------------------------------------------------------------


def test_who_has_granted_passes(member, user, ok_app):
    granted(user, ok_app, scope="PHOTO_CONTENT GET_EMAIL")
    assert member.get("/plain/").content == b"plain"
    assert member.get("/photos/").content == b"photos 0"
    assert member.get("/photos/7/").content == b"photos 7"
    assert plain.__name__ == "plain" and "any grant" in plain.__doc__


@pytest.mark.parametrize("url", ["/plain/", "/photos/7/?page=2&sort=%D1%91", "/async/"])
def test_who_is_not_logged_in_is_sent_to_grant(client, url):
    assert sent_to_start(client.get(url)) == url


def test_who_has_granted_nothing_is_sent_to_grant(member):
    assert sent_to_start(member.get("/plain/")) == "/plain/"


def test_a_grant_to_another_application_counts_for_nothing(member, user, other_ok_app):
    granted(user, other_ok_app, scope="PHOTO_CONTENT")
    assert sent_to_start(member.get("/plain/")) == "/plain/"


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({"expires_in": -10}, True),  # it will be refreshed by the first call
        ({"expires_in": -10, "refresh_token": ""}, False),
        ({"state": "needs_login", "reason": "invalid_grant"}, False),
        ({"refresh_token": ""}, True),
    ],
    ids=["refreshable", "expired", "dead", "valid"],
)
def test_only_a_token_that_can_be_used_counts(member, user, ok_app, network, fields, passes):
    granted(user, ok_app, **fields)
    response = member.get("/plain/")
    if passes:
        assert response.content == b"plain"
    else:
        assert sent_to_start(response) == "/plain/"
    assert network.calls == []


@pytest.mark.parametrize(
    ("scope", "passes"), [("PHOTO_CONTENT", True), ("A PHOTO_CONTENT B", True), ("PHOTO", False), ("", False)]
)
@pytest.mark.parametrize("url", ["/photos/", "/async/"])
def test_every_scope_must_have_been_granted(user, ok_app, scope, passes, url):
    granted(user, ok_app, scope=scope)
    client = AsyncClient() if url == "/async/" else Client()
    client.force_login(user)
    get = async_to_sync(client.get) if url == "/async/" else client.get
    assert get(url).status_code == (200 if passes else 302)


def test_an_application_that_nobody_has_stored_is_a_mistake_of_the_site(member, settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]  # which would apologize
    with pytest.raises(UnknownCredentials, match="nowhere"):
        member.get("/nowhere/")


@pytest.mark.parametrize("offered", ["code", "implicit", "both"])
def test_a_visitor_is_sent_to_a_grant_that_the_application_offers(member, ok_app, monkeypatch, offered):
    ok_app.implicit_enabled = offered != "code"
    ok_app.save()
    if offered == "implicit":
        monkeypatch.setattr(FakeOK, "token_endpoints", {})
    flow = "implicit" if offered == "implicit" else "code"
    response = member.get("/photos/")
    assert response["Location"] == f"/social/ok/{flow}/?next=/photos/"
    assert member.get(response["Location"]).status_code == 200
    asked = query_of(member.post(response["Location"], {"next": "/photos/"}))
    assert "PHOTO_CONTENT" in asked["scope"]


def test_it_works_without_the_middleware(member, user, ok_app, settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    assert sent_to_start(member.get("/photos/")) == "/photos/"
    granted(user, ok_app, scope="PHOTO_CONTENT")
    assert member.get("/photos/").content == b"photos 0"


# --- there and back ----------------------------------------------------------------------------------------------


def test_a_member_grants_what_is_missing_and_comes_back(member, user, ok_app, network):
    url = "/photos/7/?page=2&sort=name"
    asked, landed = go_and_grant(member, member.get(url), network)
    assert asked == ["VALUABLE_ACCESS", "GET_EMAIL", "PHOTO_CONTENT"]
    assert landed == url
    assert UserToken.objects.get().scope.split() == asked
    assert member.get(landed).content == b"photos 7"


def test_a_stranger_logs_in_on_the_way(client, network):
    asked, landed = go_and_grant(client, client.get("/photos/"), network)
    assert "PHOTO_CONTENT" in asked
    assert client.get(landed).content == b"photos 0"
    assert UserToken.objects.get().uid == OK_UID


def test_the_networks_word_on_what_was_granted_counts(member, network):
    """Who unticks something in the network's dialog has not granted it."""
    response = member.get("/photos/")
    _, landed = go_and_grant(member, response, network, scope="VALUABLE_ACCESS;GET_EMAIL")
    assert UserToken.objects.get().scope == "VALUABLE_ACCESS GET_EMAIL"
    assert sent_to_start(member.get(landed)) == "/photos/"


def test_what_one_view_needs_is_not_lost_by_granting_what_another_needs(member, network):
    go_and_grant(member, member.get("/photos/"), network)
    go_and_grant(member, member.get("/videos/"), network)
    assert member.get("/videos/").content == b"videos"
    assert member.get("/photos/").content == b"photos 0"


def test_nor_is_it_lost_in_another_session(user, network, ok_app):
    for url in ("/photos/", "/videos/"):
        client = Client()
        client.force_login(user)
        asked, _ = go_and_grant(client, client.get(url), network)
        assert asked[:2] == ["VALUABLE_ACCESS", "GET_EMAIL"]
        assert len(asked) == len(set(asked))
    assert client.get("/photos/").content == b"photos 0"


def test_a_view_without_scope_asks_for_the_applications_own(member, network):
    asked, landed = go_and_grant(member, member.get("/plain/"), network)
    assert (asked, landed) == (["VALUABLE_ACCESS", "GET_EMAIL"], "/plain/")


def test_a_request_has_no_say_in_the_scope(member, network):
    response = member.get("/photos/?scope=VIDEO_CONTENT")
    start = f"{response['Location']}&scope=VIDEO_CONTENT"
    away = member.post(start, {"next": "/photos/", "scope": "VIDEO_CONTENT", "socialgrants_scopes": "X"})
    assert query_of(away)["scope"] == "VALUABLE_ACCESS;GET_EMAIL;PHOTO_CONTENT"


@pytest.mark.parametrize("path", ["//evil.example/photos/", "/\\evil.example/"])
def test_nobody_is_sent_back_to_another_site(member, network, path):
    response = member.get("/plain/")
    page = f"{urlsplit(response['Location']).path}"
    away = member.post(page, {"next": path})
    assert finish(member, query_of(away)["state"])["Location"] == reverse("socialgrants:connections")


def test_a_view_that_finds_a_dead_token_sends_its_user_to_grant_again(member, user, ok_app, network):
    token = granted(user, ok_app, refresh_token="")
    network.on("/ok/api", answer(EXPIRED))
    response = member.get("/helpless/?x=1")
    network.on("/ok/api", answer({"uid": OK_UID}))
    asked, landed = go_and_grant(member, response, network)
    assert ("GROUP_CONTENT" in asked, landed) == (True, "/helpless/?x=1")
    assert member.get(landed).content == b"called"
    assert (stored(token).state, stored(token).generation) == ("active", 1)


def test_a_visitor_without_session_is_given_one_only_if_there_is_something_to_remember(client):
    client.get("/plain/")
    assert not client.cookies
    client.get("/photos/")
    assert "sessionid" in client.cookies


# --- what it costs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/plain/", "/photos/", "/calling/"])
def test_decorator_and_first_call_read_the_token_once(member, user, ok_app, network, url):
    granted(user, ok_app, scope="PHOTO_CONTENT")
    with queries(3):  # session, user, token
        assert member.get(url).status_code == 200


def test_the_decorator_asks_no_network(member, user, ok_app, network):
    expired(user, ok_app)
    member.get("/plain/")
    assert network.calls == []
