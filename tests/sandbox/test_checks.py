import pytest
from django.apps import apps
from django.core.checks import run_checks

from django_socialgrants.sandbox.checks import check_sandbox

URL = "http://127.0.0.1:8000/sandbox"


@pytest.fixture(autouse=True)
def _configured(settings):
    settings.SOCIALGRANTS_SANDBOX_URL = URL
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = True


def found():
    messages = check_sandbox(None)
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def test_a_development_site_has_nothing_to_complain_about():
    assert found() == []


@pytest.mark.django_db(databases="__all__")  # Django 6.1 checks them all
def test_production_is_an_error(settings, monkeypatch):
    monkeypatch.setattr(apps.get_app_config("socialgrants_sandbox"), "began_in_debug", False)
    settings.DEBUG = False
    assert found() == ["socialgrants_sandbox.E001"]
    assert "socialgrants_sandbox.E001" in [message.id for message in run_checks()]


def test_a_test_runner_that_switches_debug_off_is_warned_only(settings, monkeypatch):
    monkeypatch.setattr(apps.get_app_config("socialgrants_sandbox"), "began_in_debug", True)
    settings.DEBUG = False
    assert found() == ["socialgrants_sandbox.W001"]


def test_real_applications_beside_the_sandbox_are_told(settings):
    settings.SOCIALGRANTS_CREDENTIALS = {"ok": {"client_id": "512000000000", "client_secret": "x"}}
    assert found() == ["socialgrants_sandbox.W002"]


@pytest.mark.parametrize("url", [None, ""])
def test_a_missing_address_is_an_error(settings, url):
    settings.SOCIALGRANTS_SANDBOX_URL = url
    assert found() == ["socialgrants_sandbox.E002"]


@pytest.mark.parametrize(
    "url",
    [
        "http://sandbox.example/sandbox",
        "http://192.0.2.1:8000/sandbox",
        "http://127.0.0.1.example/sandbox",
        "http://localhost.example/sandbox",
        "http://localhost@evil.example/sandbox",
        "ftp://localhost/sandbox",
        "/sandbox",
        "localhost:8000",
        "http://[::1",
    ],
)
def test_an_address_elsewhere_is_an_error(settings, url):
    settings.SOCIALGRANTS_SANDBOX_URL = url
    assert found() == ["socialgrants_sandbox.E003"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "site.localhost"])
def test_every_name_of_this_machine_will_do(settings, host):
    settings.SOCIALGRANTS_SANDBOX_URL = f"http://{host}:8000/sandbox"
    assert found() == []


def test_plain_http_has_to_be_allowed(settings):
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    assert found() == ["socialgrants_sandbox.E004"]
    settings.SOCIALGRANTS_SANDBOX_URL = "https://localhost:8000/sandbox"
    assert found() == []
