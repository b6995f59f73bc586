"""A user's code calls a network: by name or by attributes, in both circuits, signed as the network wants it."""

import threading
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.http import JsonResponse
from django.template import Context, Template
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from django_socialgrants.api import Circuit, SocialAPI
from django_socialgrants.exceptions import NeedsLogin, UnknownCredentials
from django_socialgrants.models import UserToken
from django_socialgrants.providers.signing import RESERVED
from tests.conftest import MAILRU_UID, OK_UID
from tests.network import answer
from tests.tokens import (
    expired,
    granted,
    mailru_client_sig,
    mailru_server_sig,
    ok_server_sig,
    ok_sig,
    queries,
    stored,
)

pytestmark = pytest.mark.django_db

NAMES = ["ok", "mailru"]


@pytest.fixture
def user(db):
    return User.objects.create_user("maria")


@pytest.fixture
def apps(ok_app, mailru_app):
    return {"ok": ok_app, "mailru": mailru_app}


@pytest.fixture
def api(user, network, ok_app):
    granted(user, ok_app)
    return SocialAPI(user, "ok")


def last_body(network):
    """The parameters of the last request, which was a form in the body of a POST."""
    call = network.calls[-1]
    assert (call.method, call.headers["content-type"]) == ("POST", "application/x-www-form-urlencoded")
    pairs = parse_qsl(call.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# --- how a call is written -------------------------------------------------------------------------------


def test_attributes_and_name_make_the_same_call(api, network):
    network.on("/ok/api", answer(["1", "2"]))
    assert api.friends.get(fields="uid,name") == ["1", "2"]
    assert api.call("friends.get", fields="uid,name") == ["1", "2"]
    assert network.calls[0].body == network.calls[1].body
    assert last_body(network)["method"] == "friends.get"


def test_a_name_may_have_one_word_or_many(api, network):
    api.ping()
    assert last_body(network)["method"] == "ping"
    api.a.b.c.d(x=1)
    assert last_body(network)["method"] == "a.b.c.d"


def test_the_first_words_of_a_name_can_be_kept(api, network):
    friends = api.friends
    friends.get()
    friends.getOnline()
    assert [call.params["method"] for call in network.calls] == ["friends.get", "friends.getOnline"]


@pytest.mark.parametrize(
    "name", ["friends.get&x=1", "../x", "friends..get", "friends.get ", "", "друзья.get"]
)
def test_what_is_no_name_is_sent_nowhere(api, network, name):
    with pytest.raises(ValueError, match="not the name of a method"):
        api.call(name)
    assert network.calls == []


def test_what_python_asks_an_object_for_is_no_method_of_the_network(api):
    for asked in (api, api.friends):
        assert not hasattr(asked, "__len__")
        assert not hasattr(asked, "_repr_html_")
        with pytest.raises(AttributeError):
            asked._private  # noqa: B018


def test_a_template_that_names_half_a_method_calls_nothing(api, network):
    shown = Template("{{ api.friends }}").render(Context({"api": api}))
    assert "friends" in shown
    assert network.calls == []


@pytest.mark.parametrize(
    "result", [{"a": [1, None]}, [], [{"uid": "1"}], "123", "", 0, 7, 1.5, True, False, None], ids=repr
)
def test_the_result_is_whatever_the_json_holds(api, network, result):
    network.on("/ok/api", answer(result))
    answered = api.any.method()
    assert answered == result
    assert type(answered) is type(result)


@pytest.mark.parametrize("name", ["self", "api", "name", "params", "circuit", "uid", "method_name", "token"])
def test_a_parameter_may_have_any_name_that_is_not_reserved(api, network, name):
    api.call("x.y", **{name: "1"})
    assert last_body(network)[name] == "1"
    api.x.y(**{name: "2"})
    assert last_body(network)[name] == "2"

    async def acall():
        await api.x.y.acall(**{name: "3"})

    async_to_sync(acall)()
    assert last_body(network)[name] == "3"


# --- async -----------------------------------------------------------------------------------------------


async def friends_by_chain(request):
    return JsonResponse(await request.social["ok"].friends.get.acall(fields="uid"), safe=False)


async def friends_by_name(request):
    return JsonResponse(await request.social["ok"].acall("friends.get", fields="uid"), safe=False)


def friends(request):
    return JsonResponse(request.social["ok"].friends.get(fields="uid"), safe=False)


def many_calls(request):
    for _ in range(5):
        request.social["ok"].friends.get(fields="uid")
    return JsonResponse([], safe=False)


def no_call(request):
    return JsonResponse(repr(request.social["ok"].friends.get), safe=False)


urlpatterns = [
    path("chain/", friends_by_chain),
    path("name/", friends_by_name),
    path("sync/", friends),
    path("many/", many_calls),
    path("none/", no_call),
]

with_site = override_settings(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_socialgrants.middleware.SocialGrantsMiddleware",
    ],
)


@with_site
@pytest.mark.parametrize("view", ["chain", "name", "sync"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["wsgi", "asgi"])
def test_a_view_of_either_kind_calls_for_the_user_of_the_request(api, user, network, view, asynchronous):
    network.on("/ok/api", answer(["1"]))
    client = AsyncClient() if asynchronous else Client()
    client.force_login(user)
    get = async_to_sync(client.get) if asynchronous else client.get
    assert get(f"/{view}/").json() == ["1"]
    sent = last_body(network)
    assert sent["fields"] == "uid"
    assert sent["sig"] == ok_server_sig(sent, "ok-client-secret")


def test_async_calls_raise_what_calls_raise(api, network):
    network.on("/ok/api", answer({"error_code": 11, "error_msg": "LIMIT_REACHED"}))
    with pytest.raises(Exception, match="LIMIT_REACHED") as caught:
        async_to_sync(api.friends.get.acall)()
    assert caught.value.method == "friends.get"


# --- signatures ------------------------------------------------------------------------------------------

PARAMS = {
    "text": "Привет, мир! Ёж & 1+1=2 ~*%",
    "emoji": "🦔",
    "zero": 0,
    "no": False,
    "yes": True,
    "empty": "",
    "none": None,
    "uids": ["1", 2, "3"],
    "nothing": [],
    "pair": (1, False),
    "price": Decimal("1.50"),
    "p1": 2,
    "p": 1,
    "Z": "before a",
    "attachment": {"media": [{"type": "text", "text": "Ёж"}]},
    "lines": "a\r\nb\tc",
}
WORDS = {"ok": ("false", "true"), "mailru": ("0", "1")}


def on_the_wire(name):
    no, yes = WORDS[name]
    return {
        "text": "Привет, мир! Ёж & 1+1=2 ~*%",
        "emoji": "🦔",
        "zero": "0",
        "no": no,
        "yes": yes,
        "empty": "",
        "uids": "1,2,3",
        "nothing": "",
        "pair": f"1,{no}",
        "price": "1.50",
        "p1": "2",
        "p": "1",
        "Z": "before a",
        "attachment": '{"media":[{"type":"text","text":"Ёж"}]}',
        "lines": "a\r\nb\tc",
    }


def sig_of(name, circuit, sent):
    if name == "ok" and circuit is Circuit.SERVER_SERVER:
        return ok_server_sig(sent, "ok-client-secret")
    if name == "ok":
        return ok_sig(sent, "the-session-secret")
    if circuit is Circuit.SERVER_SERVER:
        return mailru_server_sig(sent, "mailru-secret-key")
    return mailru_client_sig(sent, MAILRU_UID, "mailru-private-key")


def own_fields(name, circuit):
    if name == "ok":
        return {
            "application_key": "CGEXAMPLEKEYBABABA",
            "format": "json",
            "access_token": "ok-access-token-0",
        }
    fields = {"app_id": "423004", "session_key": "mailru-access-token-0"}
    return fields | ({"secure": "1"} if circuit is Circuit.SERVER_SERVER else {})


@pytest.mark.parametrize("written", ["member", "value"])
@pytest.mark.parametrize("circuit", list(Circuit))
@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_is_what_is_signed(user, network, apps, name, circuit, written):
    granted(user, apps[name], session_secret="the-session-secret")
    api = SocialAPI(user, name, circuit=circuit if written == "member" else circuit.value)
    api.call("x.y", **PARAMS)
    sent = last_body(network)
    assert sent["sig"] == sig_of(name, circuit, sent)
    del sent["sig"]
    assert sent == on_the_wire(name) | own_fields(name, circuit) | {"method": "x.y"}


@pytest.mark.parametrize(
    ("name", "secret", "circuit"),
    [
        ("ok", "ok-client-secret", Circuit.SERVER_SERVER),
        ("ok", "", Circuit.CLIENT_SERVER),
        ("mailru", "mailru-secret-key", Circuit.SERVER_SERVER),
        ("mailru", "", Circuit.CLIENT_SERVER),
    ],
)
def test_by_default_the_applications_own_secret_signs_if_there_is_one(
    user, network, apps, name, secret, circuit
):
    apps[name].client_secret = secret
    apps[name].save()
    granted(user, apps[name], session_secret="the-session-secret")
    SocialAPI(user, name).x.y()
    sent = last_body(network)
    assert sent["sig"] == sig_of(name, circuit, sent)


VECTORS = [
    ("server-server", "x.y", {"p1": 2, "p": 1}, "03e9e97858b2cf613133c80564849767"),
    ("client-server", "x.y", {"p1": 2, "p": 1}, "964de754da2ca27e8424e45de2269489"),
    (
        "server-server",
        "users.setStatus",
        {"status": "Привет, мир! Ёж & 1+1=2"},
        "df436555acf918ae8d5273d574acb4f1",
    ),
    (
        "client-server",
        "users.setStatus",
        {"status": "Привет, мир! Ёж & 1+1=2"},
        "2881eb339fbaa3347e52f2dbf4d25e89",
    ),
    (
        "server-server",
        "friends.get",
        {"offset": 0, "with_details": True},
        "26852cfd012fc42a963b213d949a4f94",
    ),
    (
        "server-server",
        "friends.get",
        {"offset": 0, "with_details": True, "sort": "", "x": None},
        "feb3518901a33b79880e19fe09635d02",
    ),
]


@pytest.mark.parametrize(("circuit", "method", "params", "sig"), VECTORS)
def test_ok_is_sent_the_signatures_that_are_known(user, network, ok_app, circuit, method, params, sig):
    ok_app.client_secret = "00112233445566778899AABB"
    ok_app.save()
    granted(user, ok_app, access_token="tkn.example-0001", session_secret="0f343b0931126a20f133d67c2b018a3b")
    SocialAPI(user, "ok", circuit=circuit).call(method, **params)
    assert last_body(network)["sig"] == sig


@pytest.mark.parametrize(
    ("circuit", "method", "params", "sig"),
    [
        ("server-server", "friends.get", {}, "4a05af66f80da18b308fa7e536912bae"),
        ("client-server", "friends.get", {}, "5073f15c6d5b6ab2fde23ac43332b002"),
        (
            "server-server",
            "stream.post",
            {"user_text": "Привет, мир! Ёж & 1+1=2"},
            "9837cc307b46841e16f801028b9a5f23",
        ),
        (
            "client-server",
            "stream.post",
            {"user_text": "Привет, мир! Ёж & 1+1=2"},
            "563356ca7eede40f62057e79b468ed64",
        ),
        ("server-server", "friends.get", {"ext": 1, "offset": 0}, "9d107568e75275ab249c4377d73f1a68"),
        ("client-server", "friends.get", {"ext": 1, "offset": 0}, "e0149e450a96d9d1b94b68f3cd01bfbf"),
    ],
)
def test_mailru_is_sent_the_signatures_that_are_known(
    user, network, mailru_app, circuit, method, params, sig
):
    mailru_app.client_secret = "3dad9cbf9baaa0360c0f2ba372d25716"
    mailru_app.client_key = "7815696ecbf1c96e6894b779456d330e"
    mailru_app.save()
    granted(user, mailru_app, uid="1324730981306483817", access_token="be6ef89965d58e56dec21acb9b62bdaa")
    SocialAPI(user, "mailru", circuit=circuit).call(method, **params)
    assert last_body(network)["sig"] == sig


def test_an_empty_secret_never_signs(user, network, ok_app):
    granted(user, ok_app, session_secret="")
    with pytest.raises(ValueError, match="empty"):
        SocialAPI(user, "ok", circuit="client-server").friends.get()
    assert network.calls == []


def test_a_circuit_that_nobody_knows_is_refused_at_once(user):
    with pytest.raises(ValueError, match="'client'"):
        SocialAPI(user, "ok", circuit="client")


@pytest.mark.parametrize("name", sorted(RESERVED - {"method"} | {"Sig", "SESSION_KEY", "Access_Token"}))
def test_a_reserved_name_is_refused_before_anything_is_asked(user, network, ok_app, name):
    token = expired(user, ok_app)
    with queries(0), pytest.raises(ValueError, match="reserved"):
        SocialAPI(user, "ok").friends.get(**{name: "x"})
    assert network.calls == []
    assert stored(token).generation == 0


def test_the_name_of_the_method_is_reserved_too(user, network, ok_app):
    granted(user, ok_app)
    for name in ("method", "METHOD"):
        with queries(0), pytest.raises(ValueError, match="reserved"):
            SocialAPI(user, "ok").call("friends.get", **{name: "x"})
    assert network.calls == []


@pytest.mark.parametrize("value", [object, b"bytes", {1, 2}, float("nan"), [[1]], "\ud800"], ids=ascii)
def test_a_value_that_has_no_form_on_the_wire_is_sent_nowhere(api, network, value):
    with pytest.raises(ValueError):
        api.friends.get(x=value)
    assert network.calls == []


# --- whose token -----------------------------------------------------------------------------------------


def test_the_account_that_was_granted_last_is_meant_unless_another_is_named(user, network, ok_app):
    first = granted(user, ok_app, uid="1", access_token="of-the-first")
    granted(user, ok_app, uid="2", access_token="of-the-second")
    SocialAPI(user, "ok").x.y()
    assert last_body(network)["access_token"] == "of-the-second"
    for uid in ("1", 1):
        SocialAPI(user, "ok", uid=uid).x.y()
        assert last_body(network)["access_token"] == "of-the-first"
    again = first.changes_by_grant(first.to_value(), identity_of(first), grant_type="authorization_code")
    first.apply(again)
    first.save()
    SocialAPI(user, "ok").x.y()
    assert last_body(network)["access_token"] == "of-the-first"


def identity_of(token):
    return token.credentials.get_provider().parse_identity({"uid": token.uid})


def test_a_refresh_is_no_grant_and_changes_no_choice(user, network, ok_app):
    expired(user, ok_app, uid="1")
    granted(user, ok_app, uid="2", access_token="of-the-second")
    SocialAPI(user, "ok", uid="1").x.y()
    SocialAPI(user, "ok").x.y()
    assert last_body(network)["access_token"] == "of-the-second"


def test_an_account_of_somebody_else_is_none_of_ours(user, network, ok_app):
    granted(User.objects.create_user("ivan"), ok_app, uid="7")
    for uid in (None, "7", ""):
        with pytest.raises(NeedsLogin) as caught:
            SocialAPI(user, "ok", uid=uid).x.y()
        assert caught.value.reason == "no_token"
    assert network.calls == []


def test_applications_at_one_network_have_tokens_of_their_own(user, network, ok_app, other_ok_app):
    granted(user, ok_app, access_token="of-ok")
    granted(user, other_ok_app, access_token="of-ok-2")
    SocialAPI(user, "ok-2").x.y()
    sent = last_body(network)
    assert (sent["access_token"], sent["application_key"]) == ("of-ok-2", "KEY2")
    assert sent["sig"] == ok_server_sig(sent, "ok-client-secret-2")


# --- nobody to call for ----------------------------------------------------------------------------------


def reason_of(user, name="ok"):
    with pytest.raises(NeedsLogin) as caught:
        SocialAPI(user, name).friends.get()
    return caught.value.reason


def test_nobody_who_is_not_logged_in_calls(network, ok_app):
    with queries(0):
        assert reason_of(AnonymousUser()) == "anonymous"


def test_an_inactive_user_is_refused_with_a_good_token(user, network, ok_app):
    granted(user, ok_app)
    user.is_active = False
    with queries(0):
        assert reason_of(user) == "inactive_user"
    assert network.calls == []


def test_a_user_without_token_is_told_so(user, network, ok_app):
    assert reason_of(user) == "no_token"
    assert network.calls == []


def test_a_token_that_can_not_be_prolonged_has_an_end(user, network, ok_app):
    token = expired(user, ok_app, refresh_token="")
    assert reason_of(user) == "expired"
    assert (stored(token).state, stored(token).reason) == ("needs_login", "expired")
    assert reason_of(user) == "expired"
    assert network.calls == []


def test_the_reason_why_a_token_is_dead_is_kept(user, network, ok_app):
    granted(user, ok_app, state="needs_login", reason="identity_changed")
    assert reason_of(user) == "identity_changed"
    assert network.calls == []


def test_a_refresh_token_that_should_have_outlived_its_time_is_presented_all_the_same(user, network, ok_app):
    """When it ends is an estimate of ours, which is only told apart once the network has refused it."""
    token = expired(user, ok_app)
    UserToken.objects.filter(pk=token.pk).update(refresh_expires_at=token.expires_at)
    network.on("/ok/token", answer({"error": "invalid_grant"}, status=400))
    assert reason_of(user) == "refresh_expired"
    assert len(network.calls) == 1


def test_an_application_that_nobody_has_stored_is_an_error_of_its_own(user, network):
    with pytest.raises(UnknownCredentials, match="'nowhere'"):
        SocialAPI(user, "nowhere").friends.get()


# --- what it costs ---------------------------------------------------------------------------------------


def test_nothing_is_read_before_the_first_call_and_once_after_it(user, network, ok_app):
    granted(user, ok_app)
    with queries(0):
        api = SocialAPI(user, "ok", uid=OK_UID)
        method = api.friends.get
        repr(method)
    with queries(1):
        method()
    with queries(0):
        for _ in range(20):
            method()
            api.users.getInfo()


@with_site
@pytest.mark.parametrize(("view", "count"), [("none", 0), ("sync", 3), ("many", 3)])
def test_a_request_adds_one_query_to_those_of_session_and_user(api, user, network, view, count):
    client = Client()
    client.force_login(user)
    with queries(count):
        client.get(f"/{view}/")


def test_a_hundred_calls_open_one_connection(api, network):
    for _ in range(100):
        api.friends.get()
    assert network.connections == 1


def test_refused_calls_open_no_further_connection(api, network):
    network.on("/ok/api", answer({"error_code": 11, "error_msg": "LIMIT_REACHED"}))
    for _ in range(20):
        with pytest.raises(Exception, match="LIMIT_REACHED"):
            api.friends.get()
    assert network.connections == 1


def test_an_object_that_lives_on_hears_what_its_user_does_meanwhile(api, network, monkeypatch):
    api.friends.get()
    UserToken.objects.update(state="needs_login", reason="invalid_grant")
    api.friends.get()  # so soon nothing is read again
    monkeypatch.setattr("django_socialgrants.api._REREAD_AFTER", -1)
    with pytest.raises(NeedsLogin):
        api.friends.get()


def test_one_object_can_be_used_by_threads(api, network):
    network.on("/ok/api", lambda call: answer(call.params["x"])(call))
    api.friends.get(x="0")
    results = {}

    def run(number):
        results[number] = api.friends.get(x=str(number))

    threads = [threading.Thread(target=run, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: str(number) for number in range(10)}
