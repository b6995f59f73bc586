"""VK ID as people with a browser live it: one account, into which three buttons lead."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

from django_socialgrants.api import SocialAPI
from django_socialgrants.models import UserToken
from django_socialgrants.sandbox.applications import load
from django_socialgrants.sandbox.models import AccessToken, RefreshToken
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.rehearsal import begin

from .test_code_flow import CONNECTIONS, DISCONNECT, accounts, button

PERSON = list(PEOPLE["vkid"])[1]
WAYS = {"vkid": "VK ID", "ok_ru": "OK", "mail_ru": "Mail.Ru"}
LANGUAGES = {"en": "Login with {}", "ru": "Войти через {}"}


@pytest.fixture
def site(site, settings):
    settings.SOCIALGRANTS_PROVIDERS = [
        "django_socialgrants.sandbox.providers.OK",
        "django_socialgrants.sandbox.providers.VKID",
    ]
    load([site.origin])
    return site


def log_in(browser, site, way="vkid"):
    browser.open(site.url("/"))
    browser.press(button(way))
    browser.answer("allow", PERSON)


def token():
    return UserToken.objects.select_related("user", "credentials").get(credentials__name="vkid")


def test_three_buttons_lead_to_one_user(browser, site):
    for way, title in WAYS.items():
        browser.emulate("Network.clearBrowserCookies")
        browser.open(site.url("/"))
        browser.press(button(way))
        assert browser.origin == site.network_origin
        assert browser.text(".way") == f"You come in with {title}."
        browser.save_screenshot(f"vkid-dialog-{way}")
        browser.answer("allow", PERSON)
        assert (browser.origin, browser.path) == (site.origin, "/")
        assert browser.text("#user") == token().user.username
        assert (token().uid, token().way) == (PERSON, way)
    assert get_user_model().objects.count() == UserToken.objects.count() == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_buttons_are_called_after_what_one_comes_in_with(browser, site, language):
    browser.speak(language)
    browser.open(site.url("/"))
    for way, title in WAYS.items():
        assert browser.text(button(way)) == LANGUAGES[language].format(title)
    browser.save_screenshot(f"vkid-buttons-{language}")


def test_the_account_is_shown_with_the_way_and_disconnecting_it_takes_the_grant_back(browser, site):
    browser.open(site.url("/"))
    browser.press(f"form[action*='/ok/'] {button('ok')}")
    browser.answer("allow", list(PEOPLE["ok"])[1])
    browser.open(site.url(CONNECTIONS))
    browser.press(button("ok_ru"))
    browser.answer("allow", PERSON)
    assert browser.path == CONNECTIONS
    assert get_user_model().objects.count() == 1
    assert accounts(browser) == ["OK", "VK ID, through OK"]
    browser.save_screenshot("vkid-accounts")
    assert {kind.objects.get(uid=PERSON).alive for kind in (AccessToken, RefreshToken)} == {True}

    browser.press(f"li:nth-child(2) {DISCONNECT}")
    assert "VK ID, through OK" not in accounts(browser)
    assert {kind.objects.get(uid=PERSON).alive for kind in (AccessToken, RefreshToken)} == {False}


def test_a_token_is_refreshed_for_its_device(browser, site, capsys):
    log_in(browser, site, "mail_ru")
    before = token()
    assert before.device_id
    past = timezone.now() - timedelta(seconds=1)
    UserToken.objects.update(expires_at=past, next_refresh_at=past)
    call_command("refresh_tokens", "--no-progress")
    after = token()
    assert after.refresh_token != before.refresh_token
    assert (after.state, after.device_id, after.way) == ("active", before.device_id, "mail_ru")
    assert [user["id"] for user in SocialAPI(after.user, "vkid").users.get()] == [int(PERSON)]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        ("slow-down", 503),
        ("wrong-parameter", 502),
        ("other-address", 502),
        ("nonsense", 503),
        ("cut", 502),
        ("unavailable", 503),
        ("rate-limit", 503),
        ("invalid-grant", 400),
        ("invalid-client", 502),
        ("no-access-token", 502),
        ("session-expired", 502),
    ],
)
def test_a_rehearsed_failure_ends_on_a_page_from_which_one_starts_again(browser, site, failure, status):
    browser.open(site.url("/"))
    browser.press(button("ok_ru"))
    begin(failure, count=1)
    browser.answer("allow", PERSON)
    assert (browser.status, browser.text("h1")) == (status, "That did not work")
    assert not get_user_model().objects.exists()
    browser.console()
    browser.press(".socialgrants-link")
    browser.press(button("ok_ru"))
    browser.answer("allow", PERSON)
    assert browser.path == "/"
    assert token().uid == PERSON


def test_a_visitor_who_says_no_is_told_so(browser, site):
    browser.open(site.url("/"))
    browser.press(button("mail_ru"))
    browser.answer("deny", PERSON)
    assert browser.text("h1") == "Login cancelled"
    assert not UserToken.objects.exists()
