"""VK ID in a real browser: three buttons, one user; and native apps, whose door is closed to other pages."""

import pytest
from django.contrib.auth import get_user_model
from django.http import JsonResponse

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.sandbox.applications import load
from tests.browser.test_code_flow import CONNECTIONS, accounts, button

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
    application.ways = "vkid ok_ru mail_ru"
    application.native_redirect_uris = APP
    application.save()
    return application


def come_in(browser, site, way):
    browser.open(site.url("/"))
    browser.press(button(way))
    assert browser.origin == site.network_origin
    browser.element("input[name=person]").click()
    browser.press("button[name=decision][value=allow]")


def test_each_button_of_vk_id_leads_to_the_same_user(browser, site, vkid):
    browser.open(site.url("/"))
    labels = [element.text for element in browser.elements(".socialgrants-button")]
    assert labels == ["Login with VK ID", "Login with OK", "Login with Mail.Ru"]
    browser.save_screenshot("vkid-buttons")
    for way in ("vkid", "ok_ru", "mail_ru"):
        browser.emulate("Network.clearBrowserCookies")
        come_in(browser, site, way)
        assert UserToken.objects.get().way == way
    assert browser.text("#user") == get_user_model().objects.get().username
    browser.open(site.url(CONNECTIONS))
    assert accounts(browser) == ["VK ID, through Mail.Ru"]
    browser.save_screenshot("vkid-connections")


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
