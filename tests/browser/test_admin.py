"""The admin's pages of an application, as somebody who sets it up sees them."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from django_socialgrants.models import ApplicationHealth, ProviderCredentials

SECRET = "input[name=client_secret]"
LIST = "/admin/socialgrants/providercredentials/"


@pytest.fixture
def application(site):
    return ProviderCredentials.objects.get(name="ok")


@pytest.fixture
def page(browser, site, application):
    """The page of an application that is in trouble, where staff is logged in."""
    ApplicationHealth.objects.create(credentials=application, failures=12, reason="outage")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    browser.open(site.url("/admin/login/"))
    cookie = client.cookies["sessionid"].value
    browser.driver.add_cookie({"name": "sessionid", "value": cookie})
    browser.open(site.url(f"{LIST}{application.pk}/change/"))
    return browser


def test_a_secret_is_replaced_and_never_comes_back(page, application):
    assert page.element(SECRET).get_attribute("value") == ""
    page.element(SECRET).send_keys("0123456789abcdef01233F9A")
    page.press("input[name=_continue]")
    assert page.element(SECRET).get_attribute("value") == ""
    assert page.text(".field-client_secret .socialgrants-stored") == "…3F9A"
    application.refresh_from_db()
    assert application.client_secret.reveal() == "0123456789abcdef01233F9A"


def test_the_enter_key_saves_and_a_button_of_its_own_resumes(page, application):
    from selenium.webdriver import Keys

    with page.page_change():
        page.element("input[name=scope]").send_keys(" SET_STATUS", Keys.ENTER)
    assert page.path == LIST
    application.refresh_from_db()
    assert application.scope.endswith(" SET_STATUS")
    assert application.health.failures == 12
    page.back()
    page.press(".socialgrants-resume")
    assert "nothing is wrong" in page.text("#content")
    application.health.refresh_from_db()
    assert application.health.failures == 0


def test_one_click_selects_a_whole_callback_url(page, site):
    page.element(".socialgrants-url").click()
    assert page.run("return getSelection().toString()").strip() == site.url("/social/ok/code/callback/")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_both_of_the_admins_themes(page, application, language, scheme):
    application.client_id = "no-digits"
    application.save()
    page.prefer(scheme)
    page.speak(language)
    page.driver.refresh()
    page.save_screenshot(f"admin-{language}-{scheme}")
    ours = ("socialgrants-url", "socialgrants-problem", "socialgrants-stored", "socialgrants-resume")
    texts = {page.text(f".{name}") for name in ours}
    assert len(texts) == len(ours)
    found = [ratio for text, ratio in page.contrasts()["texts"] if any(text in our for our in texts)]
    assert len(found) >= len(ours)
    assert min(found) >= 4.5
