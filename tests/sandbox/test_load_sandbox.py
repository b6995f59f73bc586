from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import NoReverseMatch, reverse

from django_socialgrants.models import ProviderCredentials
from django_socialgrants.sandbox import applications
from django_socialgrants.sandbox.applications import default_origins
from django_socialgrants.sandbox.logins import LOGINS
from django_socialgrants.sandbox.models import Application

pytestmark = pytest.mark.django_db

CALLBACKS = ("socialgrants:code_callback", "socialgrants:implicit_callback")


@pytest.fixture(autouse=True)
def _configured(settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
    settings.ROOT_URLCONF = "tests.sandbox.site_urls"


def load(*args):
    out = StringIO()
    call_command("load_sandbox", *args, stdout=out)
    return out.getvalue()


def everything():
    return [
        *Application.objects.order_by("network").values(),
        *ProviderCredentials.objects.order_by("name").values(
            "name", "client_id", "scope", "implicit_enabled"
        ),
    ]


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_site_and_sandbox_know_the_same_secrets(name):
    load()
    ours, theirs = ProviderCredentials.objects.get(name=name), Application.objects.get(network=name)
    assert (ours.provider, ours.client_id) == (name, theirs.client_id)
    assert ours.client_secret.reveal() == theirs.client_secret
    assert ours.client_key.reveal() == theirs.client_key
    assert set(ours.scope.split()) <= set(theirs.rules.scopes)
    assert ours.implicit_enabled
    assert theirs.implicit_enabled


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_visitors_may_come_back_to_both_names_of_this_machine(name):
    load()
    assert set(Application.objects.get(network=name).redirect_uris) == {
        f"http://{host}:8000{reverse(view, args=[name])}"
        for host in ("127.0.0.1", "localhost")
        for view in CALLBACKS
    }


def test_ids_look_like_those_of_the_networks():
    load()
    ok = Application.objects.get(network="ok")
    assert ok.client_id.isdigit()
    assert len(ok.client_secret) == 24
    assert ok.client_key.endswith("ABABA")


def test_loading_again_changes_nothing():
    load()
    before = everything()
    secrets = [credentials.client_secret.reveal() for credentials in ProviderCredentials.objects.all()]
    load()
    assert everything() == before
    again = [credentials.client_secret.reveal() for credentials in ProviderCredentials.objects.all()]
    assert again == secrets


def test_loading_again_mends_lost_secrets_and_keeps_a_changed_scope():
    load()
    credentials = ProviderCredentials.objects.get(name="ok")
    credentials.client_secret, credentials.scope = "lost", "LONG_ACCESS_TOKEN"
    credentials.save()
    load()
    credentials.refresh_from_db()
    assert credentials.client_secret.reveal() == Application.objects.get(network="ok").client_secret
    assert credentials.scope == "LONG_ACCESS_TOKEN"


def test_origins_may_be_named_and_replace_the_earlier_ones():
    load()
    load("--origin", "http://site.test:8080", "--origin=https://localhost/")
    redirect_uris = Application.objects.get(network="ok").redirect_uris
    assert {address.partition("/social/")[0] for address in redirect_uris} == {
        "http://site.test:8080",
        "https://localhost",
    }


@pytest.mark.parametrize(
    "origin", ["localhost:8000", "http://localhost/x", "http://", "ftp://localhost", "http://a?b"]
)
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(CommandError, match="not an origin"):
        load("--origin", origin)
    assert everything() == []


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_credentials_of_a_real_application_are_left_alone(name):
    ProviderCredentials.objects.create(name=name, provider=name, client_id="1", client_secret="real")
    before = everything()
    with pytest.raises(CommandError, match=f"“{name}”"):
        load()
    assert everything() == before
    assert ProviderCredentials.objects.get().client_secret.reveal() == "real"


def test_a_flow_that_the_site_left_out_is_skipped(monkeypatch):
    def without_implicit(view, args):
        if view == "socialgrants:implicit_callback":
            raise NoReverseMatch
        return reverse(view, args=args)

    monkeypatch.setattr(applications, "reverse", without_implicit)
    load("--origin", "http://localhost:8000")
    assert len(Application.objects.get(network="ok").redirect_uris) == 1


def test_it_says_what_it_did():
    text = load()
    assert "OK: application 512000000000" in text
    assert "http://localhost:8000/social/ok/code/callback/" in text
    assert not any(application.client_secret in text for application in Application.objects.all())


def test_without_an_address_it_asks_for_one(settings):
    settings.SOCIALGRANTS_SANDBOX_URL = None
    with pytest.raises(CommandError, match="SOCIALGRANTS_SANDBOX_URL"):
        load()
    load("--origin", "http://localhost:8000")


@pytest.mark.parametrize(
    ("url", "origins"),
    [
        ("http://127.0.0.1:8000/sandbox", ["http://127.0.0.1:8000", "http://localhost:8000"]),
        ("http://localhost/x/", ["http://localhost", "http://127.0.0.1"]),
        ("http://[::1]:8000/sandbox", ["http://[::1]:8000"]),
    ],
)
def test_this_machine_has_two_names(url, origins):
    assert default_origins(url) == origins


def test_applications_may_use_passwords_and_it_shows_them():
    text = load()
    assert Application.objects.filter(password_enabled=True).count() == 2
    for logins in LOGINS.values():
        for login in logins.values():
            assert f"{login.user_name}  {login.password or f'(any password: {login.trouble})'}\n" in text


def test_how_refresh_tokens_rotate_may_be_chosen_for_each_network_and_is_kept():
    load()
    assert set(Application.objects.values_list("rotation", flat=True)) == {""}
    load("--rotation", "mailru=grace")
    load("--rotation=ok=strict")
    load()
    assert dict(Application.objects.values_list("network", "rotation")) == {"ok": "strict", "mailru": "grace"}


@pytest.mark.parametrize("value", ["grace", "ok=", "ok=often", "vk=grace", "=", "ok=grace=strict"])
def test_what_is_no_rotation_is_refused(value):
    with pytest.raises(CommandError, match="not ok/mailru/vkid/mailid=fixed/grace/strict"):
        load("--rotation", value)
    assert everything() == []


def test_it_can_be_silent():
    assert load("--verbosity", "0") == ""
