"""A network with several ways in, whose tokens are bound to a device and whose client has no secret: VK ID."""

import json
import re
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import RequestContext, Template
from django.test import Client, RequestFactory

from django_socialgrants.flows.password import NotGranted, grant_access
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import code_challenge
from django_socialgrants.providers.vkid import VKID
from tests.journey import (
    finish,
    query_of,
    refused,
    start,
    start_url,
    token_of,
    user_of,
    warnings_logged,
)
from tests.network import answer

DEVICE = "Made-Up_Device.1"
CONNECTIONS = "/social/connections/"
TOKEN = {"access_token": "vk2.a.A", "refresh_token": "vk2.a.R", "expires_in": 3600, "user_id": 1000000001}


class FakeVKID(VKID):
    pass


@pytest.fixture
def vkid(network, settings, monkeypatch, db):
    """VK ID on loopback, and an application with three buttons."""
    settings.SOCIALGRANTS_PROVIDERS = [*settings.SOCIALGRANTS_PROVIDERS, f"{__name__}.FakeVKID"]
    base = f"{network.url}/vkid"
    monkeypatch.setattr(FakeVKID, "authorization_endpoint", f"{base}/authorize")
    monkeypatch.setattr(FakeVKID, "token_endpoints", dict.fromkeys(FakeVKID.token_endpoints, f"{base}/token"))
    monkeypatch.setattr(FakeVKID, "identity_endpoint", f"{base}/identity")
    monkeypatch.setattr(FakeVKID, "revocation_endpoint", f"{base}/revoke")
    network.on("/vkid/token", answer(TOKEN))
    network.on(
        "/vkid/identity", answer({"user": {"user_id": "1000000001", "first_name": "Иван", "email": ""}})
    )
    network.on("/vkid/revoke", answer({"response": 1}))
    return ProviderCredentials.objects.create(
        name="vkid", provider="vkid", client_id="51000001", ways="vkid ok_ru mail_ru"
    )


def render(tag, user=None):
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    return Template(f"{{% load socialgrants %}}{tag}").render(RequestContext(request))


def buttons(html):
    """Class, way and label of each button."""
    found = re.findall(
        r'name="way" value="(\w+)">\s*<button class="socialgrants-button ([-\w]+)".*?>(.*?)<', html
    )
    return [(kind.removeprefix("socialgrants-button--"), way, label) for way, kind, label in found]


def come_in(client, way="", **query):
    fields = {"way": way} if way else {}
    return finish(client, start(client, "vkid", **fields), "vkid", **{"device_id": DEVICE} | query)


# --- buttons ----------------------------------------------------------------------------------------------


def test_each_way_in_has_a_button_that_is_called_after_it(vkid):
    assert buttons(render("{% login_buttons %}")) == [
        ("vkid", "vkid", "Login with VK ID"),
        ("ok_ru", "ok_ru", "Login with OK"),
        ("mail_ru", "mail_ru", "Login with Mail.Ru"),
    ]
    vkid.ways = "ok_ru"
    vkid.save()
    assert buttons(render("{% login_buttons %}")) == [("ok_ru", "ok_ru", "Login with OK")]


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ('"vkid"', ("vkid", "vkid", "Login with VK ID")),
        ('"vkid" way="mail_ru"', ("mail_ru", "mail_ru", "Login with Mail.Ru")),
        ('"vkid" way="ok_ru" label="Come in"', ("ok_ru", "ok_ru", "Come in")),
    ],
)
def test_one_way_in_has_one_button(vkid, tag, wanted):
    assert buttons(render(f"{{% login_button {tag} %}}")) == [wanted]


@pytest.mark.parametrize("tag", ['"vkid" way="nosuch"', '"ok" way="ok_ru"', '"vkid" flow="implicit"'])
def test_a_way_that_is_not_offered_has_no_button(vkid, ok_app, tag):
    with warnings_logged() as records:
        assert render(f"{{% login_button {tag} %}}").strip() == ""
    assert len(records) == 1


def test_an_application_that_names_no_way_has_the_default_one(vkid):
    vkid.ways = ""
    vkid.save()
    assert buttons(render("{% login_buttons %}")) == [("vkid", "vkid", "Login with VK ID")]


def test_a_network_without_ways_has_buttons_as_ever(vkid, ok_app):
    html = render('{% login_button "ok" %}')
    assert "way" not in html
    assert "socialgrants-button--ok" in html


def test_the_page_of_a_start_has_all_ways_or_the_one_that_was_asked_for(client, vkid):
    assert [way for _, way, _ in buttons(client.get(start_url("vkid")).content.decode())] == [
        "vkid",
        "ok_ru",
        "mail_ru",
    ]
    html = client.get(start_url("vkid"), {"way": "ok_ru", "next": "/me/"}).content.decode()
    assert buttons(html) == [("ok_ru", "ok_ru", "Login with OK")]


# --- a login ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "sent"), [("", None), ("vkid", None), ("ok_ru", "ok_ru"), ("mail_ru", "mail_ru")]
)
def test_a_start_leads_to_the_way_that_was_chosen(client, vkid, network, way, sent):
    response = client.post(start_url("vkid"), {"way": way} if way else {})
    query = query_of(response)
    assert query.get("provider") == sent
    assert len(query["state"]) == 43


@pytest.mark.parametrize(
    ("name", "way"), [("vkid", "nosuch"), ("vkid", "mail_ru"), ("ok", "ok_ru"), ("vkid", "VK")]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_way_that_is_not_offered_starts_nothing(client, vkid, ok_app, network, name, way, method):
    vkid.ways = "vkid ok_ru"
    vkid.save()
    send = getattr(client, method)
    refused(client, network, 400, "unknown_way", lambda: send(start_url(name), {"way": way}))
    assert not client.cookies


def test_a_login_without_any_secret_keeps_the_device_and_the_way(client, vkid, network):
    query = query_of(client.post(start_url("vkid"), {"way": "ok_ru"}))
    assert finish(client, query["state"], "vkid", device_id=DEVICE, type="code_v2").status_code == 302
    token = UserToken.objects.get()
    assert (token.uid, token.way, token.way_in) == ("1000000001", "ok_ru", "VK ID, through OK")
    assert token.device_id == DEVICE
    [call] = network.calls_to("/vkid/token")
    params = call.params
    assert code_challenge(params.pop("code_verifier")) == query["code_challenge"]
    assert params == {
        "grant_type": "authorization_code",
        "code": "code-1234",
        "client_id": "51000001",
        "device_id": DEVICE,
        "redirect_uri": "http://testserver/social/vkid/code/callback/",
        "state": query["state"],
    }


def test_the_same_person_by_each_way_is_one_user_and_the_last_way_is_kept(vkid, network):
    for way in ("ok_ru", "mail_ru", "vkid"):
        client = Client()
        assert come_in(client, way).status_code == 302
        assert UserToken.objects.get().way == way
    assert user_of(client) == str(User.objects.get().pk)


@pytest.mark.parametrize("device_id", [None, "", "x" * 2049, "two words", "\0"])
def test_a_callback_without_its_device_is_refused(client, vkid, network, device_id):
    query = {"code": "c", "state": start(client, "vkid")} | (
        {} if device_id is None else {"device_id": device_id}
    )
    refused(
        client, network, 400, "malformed_callback", lambda: client.get(f"{start_url('vkid')}callback/", query)
    )


# --- one JSON value in place of parameters ----------------------------------------------------------------


def payload(client, value):
    text = value if isinstance(value, str) else json.dumps(value)
    return client.get(f"{start_url('vkid')}callback/?{urlencode({'payload': text})}")


def test_a_payload_holds_all_parameters(client, vkid, network):
    sent = {
        "code": "c",
        "type": "code_v2",
        "expires_in": 600,
        "device_id": DEVICE,
        "state": start(client, "vkid"),
    }
    response = payload(client, sent)
    assert response.status_code == 302
    assert network.calls_to("/vkid/token")[0].params["device_id"] == DEVICE
    assert "payload" not in response.wsgi_request.META["QUERY_STRING"]


@pytest.mark.parametrize(
    "value", ["", "x", "[]", "1", "null", "[" * 4000, '{"state": null}', '{"code": ["c"]}']
)
def test_a_payload_that_is_no_object_of_parameters_is_refused(client, vkid, network, value):
    start(client, "vkid")
    refused(client, network, 400, "malformed_callback", lambda: payload(client, value))


def test_a_payload_with_doubled_names_is_refused_and_burns_the_state(client, vkid, network):
    state = start(client, "vkid")
    doubled = f'{{"code": "one", "code": "two", "device_id": "d", "state": "{state}"}}'
    refused(client, network, 400, "malformed_callback", lambda: payload(client, doubled))
    refused(client, network, 400, "unknown_state", lambda: finish(client, state, "vkid", device_id=DEVICE))


# --- what it does not offer -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["implicit/", "implicit/callback/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_there_is_no_implicit_grant(client, vkid, network, path, method):
    vkid.implicit_enabled = True
    vkid.save()
    refused(client, network, 404, "not_found", lambda: getattr(client, method)(f"/social/vkid/{path}"))


# --- accounts ---------------------------------------------------------------------------------------------


def test_the_accounts_say_by_which_way_somebody_came(client, vkid, network):
    come_in(client, "ok_ru")
    html = client.get(CONNECTIONS).content.decode()
    assert "VK ID, through OK" in html
    assert [label for _, _, label in buttons(html)] == [
        "Connect another VK ID account",
        "Connect another OK account",
        "Connect another Mail.Ru account",
    ]


@pytest.mark.parametrize(("offered", "way"), [("vkid ok_ru", "ok_ru"), ("vkid", "vkid")])
def test_an_account_is_connected_again_by_its_way_if_that_is_still_offered(client, vkid, offered, way):
    anna = User.objects.create_user("anna")
    token_of(anna, vkid, way="ok_ru", state="needs_login")
    vkid.ways = offered
    vkid.save()
    client.force_login(anna)
    html = client.get(CONNECTIONS).content.decode()
    assert [found for _, found, label in buttons(html) if label == "Connect again"] == [way]


# --- starts of pages that are built in the browser --------------------------------------------------------


def test_a_start_that_prefers_json_is_told_where_to_go(client, network, ok_app):
    response = client.post(start_url(), {"next": "/me/"}, headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    location = response.json().pop("location")
    assert location.startswith(f"{network.url}/ok/authorize?")
    state = re.search("state=([^&]*)", location)[1]
    assert finish(client, state)["Location"] == "/me/"


def test_a_start_that_prefers_json_is_refused_in_json(client, vkid):
    response = client.post(start_url("vkid"), {"way": "x"}, headers={"Accept": "application/json"})
    assert response.status_code == 400
    assert response.json().keys() == {"error", "reference"}
    assert response.json()["error"] == "unknown_way"


# --- where to go on after a refusal -----------------------------------------------------------------------


def forward(response):
    [url] = re.findall(r'<a class="socialgrants-link" href="([^"]*)">Start again<', response.content.decode())
    return url.replace("&amp;", "&")


@pytest.mark.parametrize("logged_in", [False, True])
def test_who_cancels_starts_again_with_the_same_next_and_way(client, vkid, network, logged_in):
    if logged_in:
        client.force_login(User.objects.create_user("anna"))
    state = start(client, "vkid", next="/me/?a=1&b=2", way="ok_ru")
    response = finish(client, state, "vkid", code=[], error="access_denied")
    url = forward(response)
    assert url == "/social/vkid/code/?next=%2Fme%2F%3Fa%3D1%26b%3D2&way=ok_ru"
    page = client.get(url).content.decode()
    assert 'name="next" value="/me/?a=1&amp;b=2"' in page
    assert [way for _, way, _ in buttons(page)] == ["ok_ru"]


def test_an_outage_keeps_next(client, network, ok_app):
    network.on("/ok/token", answer(b"", status=503))
    response = finish(client, start(client, next="/me/"))
    assert response.status_code == 503
    assert forward(response) == "/social/ok/code/?next=%2Fme%2F"


def test_a_stranger_is_not_told_where_somebody_wanted_to_go(client, network, ok_app):
    state = start(client, next="/secret/")
    assert "secret" not in finish(Client(), state).content.decode()


def test_who_connects_from_the_accounts_is_led_back_to_them(client, network, ok_app):
    client.force_login(User.objects.create_user("anna"))
    response = finish(client, start(client), code=[], error="access_denied")
    assert f'href="{CONNECTIONS}">My accounts<' in response.content.decode()


def test_without_next_there_is_none_to_keep(client, network, ok_app):
    network.on("/ok/token", answer(b"", status=503))
    assert forward(finish(client, start(client))) == "/social/ok/code/"


def test_there_is_no_password_grant(vkid, network):
    User.objects.create_user("anna")
    asked = []
    with pytest.raises(NotGranted, match="does not offer the password grant") as refusal:
        grant_access("vkid", "anna@example.com", lambda: asked.append(1), user="anna")
    assert (refusal.value.status, asked, network.calls) == (2, [], [])
