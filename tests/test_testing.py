"""Aids for a site's own tests: what they answer, what they refuse to let pass."""

import json
import unittest

import pytest
import requests
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, TestCase, override_settings
from django.urls import path, reverse

from django_socialgrants import exceptions
from django_socialgrants.api import SocialAPI
from django_socialgrants.flows.login import identify
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Token
from django_socialgrants.testing import Call, FakeNetwork, application, grant, log_in
from tests.third_network import Meadow
from tests.urls import urlpatterns as site_urls

pytestmark = pytest.mark.django_db

BOTH = pytest.mark.parametrize("name", ["ok", "mailru"])


@pytest.fixture
def anna(django_user_model):
    return django_user_model.objects.create_user("anna")


def friends(request):
    """A site's view, which lives with any failure."""
    try:
        return HttpResponse(json.dumps(SocialAPI(request.user, "ok").friends.get(fields="uid,name")))
    except exceptions.SocialGrantsError as error:
        return HttpResponse(type(error).__name__, status=503)


async def async_friends(request):
    user = await request.auser()
    return HttpResponse(json.dumps(await SocialAPI(user, "ok").friends.get.acall(fields="uid,name")))


urlpatterns = [*site_urls, path("friends/", friends), path("async-friends/", async_friends)]


# --- answers ---------------------------------------------------------------------------------------------


@BOTH
def test_a_call_is_answered_and_noted_without_its_signature_keys_and_tokens(anna, name):
    grant(anna, name)
    with FakeNetwork() as network:
        network.answers("friends.get", ["1", "2"])
        assert SocialAPI(anna, name).friends.get(fields="uid,name", ext=True, uids=[1, 2], skip=None) == [
            "1",
            "2",
        ]
    yes = {"ok": "true", "mailru": "1"}[name]
    assert network.calls == [Call(name, "friends.get", {"fields": "uid,name", "ext": yes, "uids": "1,2"})]
    assert network.token_requests == []


@pytest.mark.parametrize("circuit", ["server-server", "client-server"])
@BOTH
def test_calls_are_signed_with_either_secret(anna, name, circuit):
    grant(anna, name)
    with FakeNetwork() as network:
        network.answers("users.isAppUser", True)
        assert SocialAPI(anna, name, circuit=circuit).users.isAppUser() is True


def test_an_answer_can_depend_on_the_parameters(anna):
    grant(anna, "ok")
    with FakeNetwork() as network:
        network.answers("users.getInfo", lambda params: [{"uid": uid} for uid in params["uids"].split(",")])
        assert SocialAPI(anna, "ok").users.getInfo(uids=["7", "8"]) == [{"uid": "7"}, {"uid": "8"}]


def test_answers_come_in_their_order_and_the_last_one_again_and_again(anna):
    grant(anna, "ok")
    api = SocialAPI(anna, "ok")
    with FakeNetwork() as network:
        network.answers("friends.get", [])
        network.answers("photos.get", "a photo")
        network.answers("friends.get", ["1"])
        assert [api.friends.get(), api.photos.get(), api.friends.get(), api.friends.get()] == [
            [],
            "a photo",
            ["1"],
            ["1"],
        ]


def test_each_network_has_answers_of_its_own(anna):
    grant(anna, "ok")
    grant(anna, "mailru")
    with FakeNetwork() as network:
        network.answers("friends.get", ["1"], at="ok")
        network.answers("friends.get", ["2"], at="mailru")
        assert SocialAPI(anna, "mailru").friends.get() == ["2"]
        assert SocialAPI(anna, "ok").friends.get() == ["1"]
    with FakeNetwork() as network, pytest.raises(exceptions.UnknownProvider, match="vk"):
        network.answers("friends.get", [], at="vk")


@pytest.mark.urls(__name__)
def test_an_async_view_gets_its_answer(client, anna):
    grant(anna, "ok")
    client.force_login(anna)
    with FakeNetwork() as network:
        network.answers("friends.get", ["1"])
        assert client.get("/async-friends/").content == b'["1"]'
    assert network.calls == [("ok", "friends.get", {"fields": "uid,name"})]


@pytest.mark.urls(__name__)
def test_an_async_client_gets_its_answer(anna):
    grant(anna, "ok")

    async def visit():
        client = AsyncClient()
        await client.aforce_login(anna)
        return await client.get("/async-friends/")

    with FakeNetwork() as network:
        network.answers("friends.get", ["1"])
        assert async_to_sync(visit)().content == b'["1"]'


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("ok", exceptions.PermissionDenied, 7),
        ("ok", exceptions.RateLimited, 8),
        ("ok", exceptions.InvalidSignature, 101),
        ("ok", exceptions.ServiceUnavailable, 1),
        ("mailru", exceptions.PermissionDenied, 200),
        ("mailru", exceptions.InvalidSignature, 103),
        ("mailru", exceptions.ServiceUnavailable, 1),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_network(anna, name, error, code):
    grant(anna, name)
    with FakeNetwork() as network:
        network.refuses("stream.post", error, "not allowed")
        with pytest.raises(error) as caught:
            SocialAPI(anna, name).stream.post(text="Привет")
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.message, caught.value.method) == (
        code,
        "not allowed",
        "stream.post",
    )


@BOTH
def test_a_refusal_can_have_any_code(anna, name):
    grant(anna, name)
    with FakeNetwork() as network:
        network.refuses("stream.post", 4242)
        with pytest.raises(exceptions.APIError, match="4242") as caught:
            SocialAPI(anna, name).stream.post()
    assert type(caught.value) is exceptions.APIError


def test_a_refusal_for_which_the_network_has_no_code_fails_the_test(anna):
    grant(anna, "mailru")
    with (
        pytest.raises(LookupError, match="Mail.Ru has no code that means .*RateLimited"),
        FakeNetwork() as network,
    ):
        network.refuses("stream.post", exceptions.RateLimited)
        with pytest.raises(exceptions.ProviderUnavailable):
            SocialAPI(anna, "mailru").stream.post()


@BOTH
def test_a_network_that_is_down_says_when_to_come_again(anna, name):
    grant(anna, name)
    with FakeNetwork() as network:
        network.is_down(retry_after=60)
        for _ in range(2):
            with pytest.raises(exceptions.ProviderUnavailable) as caught:
                SocialAPI(anna, name).friends.get()
            assert (caught.value.status, caught.value.retry_after) == (503, 60)


def test_one_network_can_be_down_and_come_back(anna):
    grant(anna, "ok")
    grant(anna, "mailru")
    with FakeNetwork() as network:
        network.is_down(at="ok")
        network.answers("friends.get", ["1"])
        assert SocialAPI(anna, "mailru").friends.get() == ["1"]
        with pytest.raises(exceptions.ProviderUnavailable):
            SocialAPI(anna, "ok").photos.get()
        assert SocialAPI(anna, "ok").friends.get() == ["1"]


# --- it is the real thing up to the socket ---------------------------------------------------------------


def test_what_can_not_be_signed_fails_as_it_does_in_production(anna):
    grant(anna, "ok")
    with FakeNetwork() as network:
        for params in ({"sig": "1"}, {"access_token": "1"}, {"when": object()}):
            with pytest.raises(ValueError):
                SocialAPI(anna, "ok").call("friends.get", **params)
    assert network.calls == []


@BOTH
def test_a_stale_token_is_refreshed_first(anna, name):
    token = grant(anna, name, expires_in=0)
    with FakeNetwork() as network:
        network.answers("friends.get", [])
        SocialAPI(anna, name).friends.get()
        SocialAPI(anna, name).friends.get()
    assert network.token_requests == [(name, "refresh_token")]
    token.refresh_from_db()
    assert token.is_valid() and token.refreshed_at
    assert token.refresh_token == "refresh-token"


@BOTH
def test_a_session_that_the_network_calls_expired_is_refreshed_and_the_call_repeated(anna, name):
    token = grant(anna, name)
    with FakeNetwork() as network:
        network.refuses("friends.get", exceptions.SessionExpired)
        network.answers("friends.get", ["1"])
        network.answers_token(access_token="another", refresh_token="rotated")
        assert SocialAPI(anna, name).friends.get() == ["1"]
    assert len(network.calls) == 2
    token.refresh_from_db()
    assert (token.access_token.reveal(), token.refresh_token.reveal()) == ("another", "rotated")


@BOTH
def test_a_refresh_can_be_refused(anna, name):
    grant(anna, name, expires_in=0)
    with FakeNetwork() as network:
        network.refuses_token()
        with pytest.raises(exceptions.NeedsLogin) as caught:
            SocialAPI(anna, name).friends.get()
    assert caught.value.reason == "invalid_grant"
    assert network.calls == []


def test_the_refreshing_command_runs_on_it(anna, capsys):
    grant(anna, "ok", expires_in=0)
    with FakeNetwork():
        call_command("refresh_tokens", "--json", "--no-progress")
    assert json.loads(capsys.readouterr().out)["refreshed"] == 1


def test_a_request_from_a_thread_of_the_command_that_nobody_expected_fails_the_test(anna):
    grant(anna, "ok", expires_in=0, scope="LONG_ACCESS_TOKEN", refresh_token="")
    with pytest.raises(AssertionError, match="nobody expected auth.touchSession at ok"), FakeNetwork():
        call_command("refresh_tokens", "--json", "--no-progress")


@BOTH
def test_a_visitor_logs_in(client, django_user_model, ok_app, mailru_app, name):
    profile = {"uid": "561234567890", "first_name": "Анна", "last_name": "Петрова"}
    with FakeNetwork() as network:
        network.answers("users.getCurrentUser", profile, at="ok") if name == "ok" else network.answers(
            "users.getInfo", [profile]
        )
        location = client.post(reverse("socialgrants:code", args=[name]))["Location"]
        state = dict(pair.split("=") for pair in location.split("?")[1].split("&"))["state"]
        answer = client.get(reverse("socialgrants:code_callback", args=[name]), {"code": "c", "state": state})
    assert answer.status_code == 302
    assert network.token_requests == [(name, "authorization_code")]
    assert django_user_model.objects.get().first_name == "Анна"


# --- what fails a test -----------------------------------------------------------------------------------


@pytest.mark.urls(__name__)
def test_a_call_that_nobody_expected_fails_the_test_even_if_the_site_lived_with_it(client, anna):
    grant(anna, "ok")
    client.force_login(anna)
    with (
        pytest.raises(AssertionError, match="nobody expected friends.get at ok") as caught,
        FakeNetwork() as network,
    ):
        network.answers("friends.get", [], at="mailru")
        assert client.get("/friends/").content == b"ProviderUnavailable"
    assert "token" not in str(caught.value)


def test_it_is_told_before_whatever_it_led_to(anna):
    grant(anna, "ok")
    with pytest.raises(AssertionError, match="nobody expected friends.get") as caught, FakeNetwork():
        SocialAPI(anna, "ok").friends.get()
    assert isinstance(caught.value.__context__, exceptions.ProviderUnavailable)
    assert "nobody expected friends.get" in str(caught.value.__context__)


def test_an_answer_that_is_an_assertion_fails_the_test(anna):
    grant(anna, "ok")

    def check(params):
        assert params["text"] == "Привет"

    with pytest.raises(AssertionError, match="Привет"), FakeNetwork() as network:
        network.answers("stream.post", check)
        with pytest.raises(exceptions.ProviderUnavailable):
            SocialAPI(anna, "ok").stream.post(text="Пока")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (lambda network: network.answers("friends.get", []), "friends.get$"),
        (lambda network: network.refuses("stream.post", 10, at="ok"), "stream.post at ok$"),
        (lambda network: network.answers_token(), "a token$"),
        (lambda network: network.refuses_token(at="mailru"), "a token at mailru$"),
        (lambda network: network.is_down(), "anything$"),
    ],
)
def test_what_was_expected_but_never_asked_for_fails_the_test(said, told):
    with pytest.raises(AssertionError, match=f"never asked for: {told}"), FakeNetwork() as network:
        said(network)


def test_what_was_expected_is_no_matter_once_the_test_has_failed():
    with pytest.raises(KeyError), FakeNetwork() as network:
        network.answers("friends.get", [])
        raise KeyError("friends")


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, pytest.skip.Exception])
def test_whoever_stops_the_tests_is_not_hindered(anna, trouble):
    grant(anna, "ok")
    with pytest.raises(trouble), FakeNetwork():
        with pytest.raises(exceptions.ProviderUnavailable):
            SocialAPI(anna, "ok").friends.get()
        raise trouble("stop")


def test_nothing_leaves_the_block(anna, monkeypatch):
    def connect(*args, **kwargs):
        raise AssertionError("a socket")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.create_connection", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    with FakeNetwork() as network:
        for url in ("https://api.ok.ru/fb.do", "https://site.example/"):
            with pytest.raises(requests.ConnectionError, match="Responses"):
                requests.post(url, {"method": "friends.get"}, timeout=5)
        network.responses.get("https://site.example/", json=[1])
        assert requests.get("https://site.example/", timeout=5).json() == [1]
    assert network.calls == []


def test_the_network_is_back_after_the_block(anna, network):
    grant(anna, "ok")
    for _ in range(2):
        with FakeNetwork() as fake:
            fake.answers("users.getCurrentUser", {"uid": "7"})
            assert SocialAPI(anna, "ok").users.getCurrentUser() == {"uid": "7"}
    assert network.calls == []
    assert SocialAPI(anna, "ok").users.getCurrentUser()["first_name"] == "Иван"
    assert len(network.calls) == 1


def test_nothing_secret_is_shown(anna):
    token = grant(anna, "mailru", expires_in=0)
    with FakeNetwork() as network:
        network.answers("friends.get", [])
        SocialAPI(anna, "mailru").friends.get(uid="7")
    shown = repr((network, network.calls, network.token_requests, token))
    assert "friends.get" in shown and "access-token" not in shown and "refresh-token" not in shown


# --- grant -----------------------------------------------------------------------------------------------


def test_an_application_is_made_only_if_there_is_none(anna, other_ok_app):
    tokens = [grant(anna, "ok-2"), grant(anna, "mailru")]
    assert [token.credentials for token in tokens] == [
        other_ok_app,
        ProviderCredentials.objects.get(name="mailru"),
    ]
    with pytest.raises(exceptions.UnknownProvider):
        grant(anna, "ok-3")


def test_a_grant_has_the_scope_of_its_application_unless_another_is_given(anna, ok_app):
    assert grant(anna, "ok").scope == "VALUABLE_ACCESS GET_EMAIL"
    assert grant(anna, "ok", scope="PHOTO_CONTENT").scope == "PHOTO_CONTENT"


def test_a_grant_has_the_fields_that_are_given(anna):
    token = grant(anna, "ok", uid="561", scope="PHOTO", refresh_token="", reason="said")
    token.refresh_from_db()
    assert (token.user, token.uid, token.scope, token.reason, token.refresh_token) == (
        anna,
        "561",
        "PHOTO",
        "said",
        "",
    )
    with pytest.raises(FieldDoesNotExist):
        grant(anna, "ok", scopes="PHOTO")


def test_granting_again_replaces_the_token_as_a_login_does(anna):
    grant(anna, "ok", state=UserToken.State.NEEDS_LOGIN, reason="invalid_grant")
    grant(anna, "ok", scope="PHOTO")
    token = UserToken.objects.get()
    assert (token.state, token.scope) == ("active", "PHOTO")
    assert SocialAPI(anna, "ok").is_granted("PHOTO")


# --- a network of the site's own -------------------------------------------------------------------------


def test_a_network_that_the_site_added_is_answered_in_its_own_form(settings, anna):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow"]
    grant(anna, "meadow", expires_in=0)
    with FakeNetwork() as network:
        network.answers("flowers.count", {"result": 7})
        network.answers("flowers.pick", {"failure": {"code": 8, "text": "slow down"}})
        assert SocialAPI(anna, "meadow").flowers.count(colour="white") == 7
        with pytest.raises(exceptions.RateLimited):
            SocialAPI(anna, "meadow").flowers.pick()
    assert network.calls[0] == Call("meadow", "flowers.count", {"colour": "white"})
    assert network.token_requests == [("meadow", "refresh_token")]


def test_a_network_can_have_its_methods_in_the_path(settings, anna, monkeypatch):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow"]
    request = Meadow.api_request

    def at_path(self, credentials, token, method, params, circuit):
        made = request(self, credentials, token, method, params, circuit)
        rest = {name: value for name, value in made.params.items() if name != "method"}
        return type(made)("POST", f"{made.url}/{method}", rest)

    monkeypatch.setattr(Meadow, "api_request", at_path)
    grant(anna, "meadow")
    with FakeNetwork() as network:
        network.answers("me", {"result": "Anna"})
        assert SocialAPI(anna, "meadow").me() == "Anna"
    assert network.calls == [("meadow", "me", {})]


@pytest.fixture
def vkid(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.providers.vkid.VKID"]


def test_results_of_vks_api_are_put_into_the_form_in_which_they_come(vkid, anna):
    with FakeNetwork() as network:
        grant(anna, "vkid")
        network.answers("users.get", lambda params: [{"id": 7, "v": params["v"]}])
        network.refuses("friends.get", exceptions.PermissionDenied)
        api = SocialAPI(anna, "vkid")
        assert api.users.get(fields=["sex"]) == [{"id": 7, "v": "5.199"}]
        with pytest.raises(exceptions.PermissionDenied):
            api.friends.get()


def test_a_visitor_of_vk_id_is_known_by_its_identity_endpoint(vkid, django_user_model):
    user = {"user_id": "7", "first_name": "Anna"}
    with FakeNetwork() as network:
        application = grant(django_user_model.objects.create_user("x"), "vkid").credentials
        network.answers("user_info", {"user": user})
        assert identify(application, Token("access-token")).uid == "7"
    assert network.calls == [Call("vkid", "user_info", {})]


def test_a_provider_that_calls_an_address_it_has_not_named_fails_the_test(settings, anna, monkeypatch):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow"]
    grant(anna, "meadow")
    request = Meadow.api_request
    elsewhere = lambda *args: type(made := request(*args))("POST", "https://else.example/", made.params)  # noqa: E731
    monkeypatch.setattr(Meadow, "api_request", elsewhere)
    with pytest.raises(AssertionError, match="no network .* is at https://else.example/"), FakeNetwork():
        SocialAPI(anna, "meadow").me()


# --- Django's own tests ----------------------------------------------------------------------------------


@override_settings(ROOT_URLCONF=__name__)
class InDjangosTestCase(TestCase):
    def setUp(self):
        self.network = self.enterContext(FakeNetwork())
        self.user = User.objects.create_user("maria")
        self.client.force_login(self.user)

    def test_it_answers(self):
        grant(self.user, "ok")
        self.network.answers("friends.get", ["1"])
        self.assertEqual(self.client.get("/friends/").content, b'["1"]')

    def test_a_stale_token_is_refreshed_in_the_transaction_of_the_test(self):
        token = grant(self.user, "ok", expires_in=0)
        self.network.answers("friends.get", ["1"])
        self.assertEqual(self.client.get("/friends/").content, b'["1"]')
        token.refresh_from_db()
        self.assertTrue(token.is_valid())
        self.assertTrue(connection.in_atomic_block)

    def test_somebody_without_a_grant_needs_one(self):
        ProviderCredentials.objects.create(name="ok", provider="ok", client_id="1", client_secret="2")
        self.assertEqual(self.client.get("/friends/").content, b"NeedsLogin")


def test_django_reports_what_nobody_expected_as_a_failure():
    class OneTest(TestCase):
        def test(self):
            self.enterContext(FakeNetwork()).answers("friends.get", [])

    result = unittest.TestResult()
    OneTest("test").run(result)
    (_, report) = (result.failures + result.errors)[0]
    assert "expected, but never asked for: friends.get" in report


# --- applications and logins ------------------------------------------------------------------------------


def test_an_application_is_made_up_once_and_changed_as_told():
    made = application("ok")
    assert (made.provider, bool(made.client_secret), made.implicit_enabled) == ("ok", True, False)
    assert application("ok", implicit_enabled=True) == made
    assert ProviderCredentials.objects.get().implicit_enabled
    other = application("games", provider="mailru", scope="photos")
    assert (other.provider, other.scope) == ("mailru", "photos")


def test_an_application_of_no_network_or_with_no_such_field_is_an_error():
    with pytest.raises(exceptions.UnknownProvider):
        application("nosuch")
    with pytest.raises(FieldDoesNotExist):
        application("ok", nosuch=1)
    assert not ProviderCredentials.objects.exists()


@BOTH
def test_whoever_logs_in_is_somebody_new_and_then_the_same(client, name):
    token = log_in(client, name, uid="77", first_name="Анна", email="anna@example.com")
    assert client.session["_auth_user_id"] == str(token.user.pk)
    assert (token.uid, token.user.first_name, token.is_valid()) == ("77", "Анна", True)
    assert log_in(client, name, uid="77").user == token.user
    assert log_in(client, name, uid="78").user != token.user


def test_whoever_may_not_log_in_is_refused_as_by_the_button(client, settings):
    settings.SOCIALGRANTS_CREATE_USERS = False
    with pytest.raises(Refusal, match="unknown_identity"):
        log_in(client, "ok")
