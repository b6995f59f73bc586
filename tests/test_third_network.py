"""A network of a site's own: one file and one path in the settings, and everything works."""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth import get_user
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.urls import reverse

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.registry import provider_choices
from tests.network import answer
from tests.third_network import Clumsy, Meadow

TOKEN = {"access_token": "meadow-token-1", "refresh_token": "meadow-refresh-1", "expires_in": 900}
PROFILE = {"result": {"uid": "white-clover", "name": "White Clover", "colour": "white"}}

pytestmark = pytest.mark.django_db


@pytest.fixture
def networks(network, settings, monkeypatch):
    """The loopback server, at which the two made-up networks live as well."""
    settings.SOCIALGRANTS_PROVIDERS += ["tests.third_network.Meadow", "tests.third_network.Clumsy"]
    for provider in (Meadow, Clumsy):
        base = f"{network.url}/{provider.id}"
        monkeypatch.setattr(provider, "authorization_endpoint", f"{base}/authorize?prompt=consent")
        monkeypatch.setattr(provider, "token_endpoints", {"authorization_code": f"{base}/token"})
        monkeypatch.setattr(provider, "api_endpoint", f"{base}/api")
    network.on("/meadow/token", answer(TOKEN))
    network.on("/meadow/api", answer(PROFILE))
    network.on("/clumsy/token", answer({"token": {"value": "clumsy-token-1", "seconds": "900"}}))
    network.on("/clumsy/api", answer({"result": {"user": {"id": "red-clover", "names": ["Red Clover"]}}}))
    return network


@pytest.fixture
def meadow_app(networks):
    return ProviderCredentials.objects.create(
        name="my-meadow",
        provider="meadow",
        client_id="m-1",
        client_secret="meadow-secret",
        scope="look touch",
    )


@pytest.fixture
def clumsy_app(networks):
    return ProviderCredentials.objects.create(
        name="clumsy", provider="clumsy", client_id="c-1", client_secret="clumsy-secret"
    )


def start(client, application):
    """The query with which the browser is sent to the network."""
    response = client.post(reverse("socialgrants:code", args=[application.name]))
    assert response.status_code == 302
    return dict(parse_qsl(urlsplit(response["Location"]).query, strict_parsing=True))


def come_back(client, application, **query):
    callback = reverse("socialgrants:code_callback", args=[application.name])
    return client.get(callback, {"code": "code-1", "state": start(client, application)["state"]} | query)


def is_logged_in(client):
    return get_user(client).is_authenticated


def test_somebody_logs_in_with_a_network_that_the_site_added(client, networks, meadow_app):
    response = come_back(client, meadow_app)
    assert (response.status_code, response["Location"]) == (302, "/")
    token = UserToken.objects.get()
    assert get_user(client) == token.user
    assert (token.credentials, token.uid) == (meadow_app, "white-clover")
    assert token.access_token.reveal() == "meadow-token-1"
    assert token.refresh_token.reveal() == "meadow-refresh-1"
    assert (token.profile["name"], token.profile["colour"]) == ("White Clover", "white")


def test_whoever_comes_again_is_the_same_user(client, django_user_model, networks, meadow_app):
    come_back(client, meadow_app)
    client.logout()
    come_back(client, meadow_app)
    assert is_logged_in(client)
    assert UserToken.objects.count() == django_user_model.objects.count() == 1


def test_its_authorization_endpoint_hears_what_it_wants_to_hear(client, networks, meadow_app):
    query = start(client, meadow_app)
    assert query["prompt"] == "consent"
    assert query["scope"] == "look,touch"
    assert query["redirect_uri"] == "http://testserver/social/my-meadow/code/callback/"


def test_the_code_is_redeemed_with_the_verifier_of_its_challenge(client, networks, meadow_app):
    challenges, verifiers = [], []
    for number in range(2):
        query = start(client, meadow_app)
        assert query["code_challenge_method"] == "S256"
        challenges.append(query["code_challenge"])
        callback = reverse("socialgrants:code_callback", args=[meadow_app.name])
        client.get(callback, {"code": f"code-{number}", "state": query["state"]})
        verifiers.append(networks.calls_to("/meadow/token")[-1].params["code_verifier"])
        client.logout()
    hashed = [
        urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=") for verifier in verifiers
    ]
    assert challenges == hashed
    assert len(set(verifiers)) == 2
    assert all(43 <= len(verifier) <= 128 for verifier in verifiers)


def test_its_calls_are_signed_its_own_way(client, networks, meadow_app):
    come_back(client, meadow_app)
    (call,) = networks.calls_to("/meadow/api")
    params = dict(call.params)
    sig = params.pop("sig")
    text = "\n".join(f"{name}={value}" for name, value in sorted(params.items()))
    assert sig == hmac.new(b"meadow-secret", text.encode(), "sha256").hexdigest()
    assert params == {"client_id": "m-1", "method": "me", "access_token": "meadow-token-1"}


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("token", {"error": "invalid_grant"}, 400),
        ("token", {"error": "invalid_client"}, 502),
        ("token", TOKEN | {"who": "red-clover"}, 502),
        ("token", TOKEN | {"who": "White Clover"}, 502),
        ("api", {"failure": {"code": 7, "text": "expired"}}, 502),
        ("api", {"failure": {"code": 8, "text": "slow down"}}, 503),
        ("api", {"failure": {}}, 502),
        ("api", {"result": {"uid": "561"}}, 502),
        ("api", {}, 502),
    ],
)
def test_what_it_refuses_is_refused(client, networks, meadow_app, path, data, status):
    networks.on(f"/meadow/{path}", answer(data))
    assert come_back(client, meadow_app).status_code == status
    assert not is_logged_in(client)
    assert not UserToken.objects.exists()


def test_it_is_offered_wherever_the_other_networks_are(client, networks, meadow_app, ok_app):
    assert provider_choices() == [
        ("ok", "OK"),
        ("mailru", "Mail.Ru"),
        ("meadow", "Meadow"),
        ("clumsy", "Clumsy"),
    ]
    meadow_app.full_clean()
    page = client.get("/").content.decode()
    assert page.index("Login with Meadow") < page.index("Login with OK")
    assert reverse("socialgrants:code", args=["my-meadow"]) in page
    assert b"Meadow" in client.get(reverse("socialgrants:code", args=["my-meadow"])).content


def test_it_needs_no_migration(networks):
    call_command("makemigrations", "socialgrants", check_changes=True, dry_run=True, verbosity=0)


def test_it_passes_the_system_checks(networks):
    assert run_checks(tags=["socialgrants"]) == []


# --- a network whose author thought of good days only ----------------------------------------------------


def test_a_clumsy_parser_is_good_enough_for_good_days(client, networks, clumsy_app):
    assert come_back(client, clumsy_app).status_code == 302
    assert UserToken.objects.get().uid == "red-clover"
    assert is_logged_in(client)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("token", {}),
        ("token", []),
        ("token", None),
        ("token", "clumsy-token-1"),
        ("token", {"token": "clumsy-token-1"}),
        ("token", {"token": {"value": "clumsy-token-1"}}),
        ("token", {"token": {"value": "clumsy-token-1", "seconds": "soon"}}),
        ("token", {"token": {"value": ["clumsy-token-1"], "seconds": 900}}),
        ("api", {"result": {}}),
        ("api", {"result": None}),
        ("api", {"result": {"user": {"id": "red-clover"}}}),
        ("api", {"result": {"user": {"id": "red-clover", "names": []}}}),
        ("api", {"result": [{"user": {"id": "red-clover", "names": ["Red Clover"]}}]}),
    ],
    ids=repr,
)
def test_nonsense_that_makes_a_parser_fail_is_a_bad_answer_of_the_network(
    client, networks, clumsy_app, path, data
):
    networks.on(f"/clumsy/{path}", answer(data))
    response = come_back(client, clumsy_app)
    assert response.status_code == 502
    assert "clumsy-token-1" not in response.content.decode()
    assert not is_logged_in(client)
    assert not UserToken.objects.exists()


@pytest.mark.parametrize(
    "uid", [561, None, True, ["red-clover"], {"red": "clover"}, "", "Red\0Clover", "red-" * 99]
)
def test_a_user_id_that_a_parser_let_pass_unseen_is_a_bad_answer_of_the_network(
    client, networks, clumsy_app, uid
):
    networks.on("/clumsy/api", answer({"result": {"user": {"id": uid, "names": ["Red Clover"]}}}))
    assert come_back(client, clumsy_app).status_code == 502
    assert not is_logged_in(client)
    assert not UserToken.objects.exists()


@pytest.mark.parametrize("seconds", [10**12, 10**30, -(10**12)])
def test_a_lifetime_that_a_parser_let_pass_unseen_is_no_server_error(client, networks, clumsy_app, seconds):
    networks.on("/clumsy/token", answer({"token": {"value": "clumsy-token-1", "seconds": seconds}}))
    assert come_back(client, clumsy_app).status_code in (302, 502)


# --- a path that leads nowhere ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "tests.third_network.Absent",
        "absent.Meadow",
        ".third_network.Meadow",
        "tests.third_network.Credentials",
    ],
)
def test_a_path_that_leads_to_no_network_is_told_by_the_system_checks(settings, path):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow", path]
    assert [message.id for message in run_checks(tags=["socialgrants"])] == ["socialgrants.E001"]
    with pytest.raises(SystemCheckError, match="socialgrants.E001"):
        call_command("check")


@pytest.mark.parametrize("path", ["tests.third_network.Absent", "absent.Meadow", "Meadow"])
def test_the_other_networks_go_on_beside_a_path_that_leads_nowhere(settings, path):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow", path]
    assert provider_choices() == [("meadow", "Meadow")]
    ProviderCredentials(name="m", provider="meadow", client_id="m-1").full_clean()
