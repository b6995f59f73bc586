"""The door of native apps in a real browser: it is closed to other pages."""

import pytest
from django.http import JsonResponse

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.sandbox.applications import load

APP = "com.example.app://vkid"
EXCHANGE = "/social/vkid/exchange/"
FETCH = """
const [url, type, done] = arguments;
const body = JSON.stringify({code: "c", redirect_uri: "com.example.app://vkid", code_verifier: "v".repeat(43)});
fetch(url, {method: "POST", credentials: "include", headers: {"Content-Type": type}, body})
  .then(response => done(["answered", response.status]), error => done(["refused", error.name]));
"""


@pytest.fixture
def vkid(site, settings):
    """The application of VK ID that the sandbox has for the site."""
    settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.sandbox.providers.VKID"]
    load([site.origin])
    application = ProviderCredentials.objects.get(provider="vkid")
    application.native_redirect_uris = APP
    application.save()
    return application


def test_a_page_of_another_origin_cannot_use_the_door_of_native_apps(browser, site, vkid, settings):
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = f"{__name__}.answer"
    browser.open(f"{site.network_origin}/")
    asked = browser.driver.execute_async_script(FETCH, site.url(EXCHANGE), "application/json")
    assert asked == ["refused", "TypeError"]
    assert site.visits.count(EXCHANGE) == 1  # the question whether it may
    assert any("preflight" in complaint for complaint in browser.console())


def test_what_needs_no_preflight_is_refused_by_the_door_of_native_apps(browser, site, vkid, settings):
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = f"{__name__}.answer"
    browser.open(f"{site.network_origin}/")
    assert browser.driver.execute_async_script(FETCH, site.url(EXCHANGE), "text/plain")[0] == "refused"
    assert browser.console()
    browser.open(site.url("/"))
    assert browser.driver.execute_async_script(FETCH, site.url(EXCHANGE), "text/plain") == ["answered", 415]
    assert not UserToken.objects.exists()


def answer(request, user, token):
    return JsonResponse({"user": user.pk})
