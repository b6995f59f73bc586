"""A native app's login with the sandbox as the network: VK ID and Mail ID, and what is refused."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.sandbox.applications import load
from django_socialgrants.sandbox.models import Application

from .driver import decide, query_of
from .test_vkid import ASKED, VERIFIER

APP = "https://app.example.com/callback"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def login(live_server, settings, client):
    """Has a code sent to the app, which then sends it to the site, changed as told."""
    settings.SOCIALGRANTS_SANDBOX_URL = f"{live_server.url}/sandbox"
    settings.SOCIALGRANTS_PROVIDERS = [
        f"django_socialgrants.sandbox.providers.{name}" for name in ("OK", "VKID", "MailID")
    ]
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = "tests.test_native.respond"
    load([live_server.url])
    for application in Application.objects.all():
        application.redirect_uris = [*application.redirect_uris, APP]
        application.save()
    ProviderCredentials.objects.update(native_redirect_uris=APP)

    def login(name, **changes):
        application = Application.objects.get(network=name)
        brought = query_of(decide(client, application, **ASKED, redirect_uri=APP))
        sent = {name: brought[name] for name in ("code", "device_id") if name in brought}
        sent |= {"redirect_uri": APP, "code_verifier": VERIFIER} | changes
        sent = {name: value for name, value in sent.items() if value is not None}
        return Client().post(f"/social/{name}/exchange/", sent, content_type="application/json")

    return login


@pytest.mark.parametrize("name", ["vkid", "mailid"])
def test_an_app_logs_its_owner_in(login, name):
    response = login(name)
    assert response.status_code == 201, response.content
    token = UserToken.objects.get(credentials__name=name)
    assert response.json()["uid"] == token.uid
    assert bool(token.device_id) is (name == "vkid")
    assert token.user == User.objects.get()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "https://evil.example/"}, "foreign_redirect_uri"),
        ({"code_verifier": None}, "malformed_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"device_id": "another"}, "invalid_grant"),
        ({"device_id": None}, "malformed_request"),
        ({"code": "vk2.a.made-up"}, "invalid_grant"),
    ],
)
def test_what_the_app_did_not_get_itself_is_refused(login, changes, error):
    response = login("vkid", **changes)
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert not UserToken.objects.exists()


def test_a_code_is_worth_one_login(login, client):
    application = Application.objects.get(network="vkid")
    brought = query_of(decide(client, application, **ASKED, redirect_uri=APP))
    sent = {"code": brought["code"], "device_id": brought["device_id"]}
    assert login("vkid", **sent).status_code == 201
    assert login("vkid", **sent).json()["error"] == "invalid_grant"


def test_ok_has_no_apps(login):
    response = Client().post("/social/ok/exchange/", {}, content_type="application/json")
    assert response.status_code == 404
