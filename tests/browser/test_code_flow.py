"""The authorization code flow as people with a browser live it, on a site that is not the network's site."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import path

from django_socialgrants.models import UserToken
from django_socialgrants.sandbox.people import PEOPLE
from tests import urls
from tests.journey import callback_url, start_url

NETWORKS = ["ok", "mailru"]
PERSON = {network: list(people)[1] for network, people in PEOPLE.items()}
CONNECTIONS = "/social/connections/"
DISCONNECT = ".socialgrants-quiet"

TWO_SITES = [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1")]
SCHEMES = ["light", "dark"]
ONE_SITE = ("127.0.0.1", "127.0.0.1")


def guarded(request):
    """A site's page with buttons and a Content-Security-Policy of the site's own."""
    response = urls.home(request)
    response["Content-Security-Policy"] = f"form-action {request.GET['forms']}"
    return response


urlpatterns = [path("guarded/", guarded), *urls.urlpatterns]


def button(network):
    return f".socialgrants-button--{network}"


def log_in(browser, site, network="ok"):
    browser.open(site.url("/"))
    browser.press(button(network))
    browser.answer("allow", PERSON[network])


def connect(browser, site, network="mailru"):
    browser.open(site.url(CONNECTIONS))
    browser.press(button(network))
    browser.answer("allow", PERSON[network])


def accounts(browser):
    return [
        account.text
        for account in browser.elements(f".socialgrants-accounts li:has({DISCONNECT}) strong + small")
    ]


def insist(browser):
    """Disconnect, also by a button that is disabled."""
    browser.run("document.querySelector(arguments[0]).disabled = false", DISCONNECT)
    browser.press(DISCONNECT)


def assert_logged_in(browser, site, network="ok"):
    """As the owner of the account who has answered at the network."""
    browser.open(site.url("/"))
    token = UserToken.objects.select_related("user").get(credentials__name=network)
    assert token.uid == PERSON[network]
    assert browser.text("#user") == token.user.username


@pytest.mark.parametrize("network", NETWORKS)
def test_a_visitor_logs_in_as_who_they_are_at_the_network(browser, site, network):
    browser.open(site.url("/"))
    assert browser.text("#user") == "AnonymousUser"
    browser.press(button(network))
    assert browser.origin == site.network_origin
    browser.answer("allow", PERSON[network])
    assert (browser.origin, browser.path) == (site.origin, "/")
    assert_logged_in(browser, site, network)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_visitor_who_says_no_is_told_so_and_can_change_their_mind(browser, site, network):
    browser.open(site.url("/"))
    browser.press(button(network))
    browser.answer("deny", PERSON[network])
    assert (browser.path, browser.text("h1")) == (callback_url(network), "Login cancelled")
    assert not get_user_model().objects.exists()
    browser.press(".socialgrants-link")
    browser.press(button(network))
    browser.answer("allow", PERSON[network])
    assert_logged_in(browser, site, network)


def test_accounts_are_connected_and_disconnected_but_for_the_last(browser, site):
    log_in(browser, site)
    connect(browser, site)
    assert (browser.path, accounts(browser)) == (CONNECTIONS, ["OK", "Mail.Ru"])
    assert get_user_model().objects.count() == 1
    browser.press(DISCONNECT)
    assert (browser.path, accounts(browser)) == (CONNECTIONS, ["Mail.Ru"])
    assert browser.element(DISCONNECT).get_attribute("disabled")
    insist(browser)
    assert (browser.status, browser.text("h1")) == (409, "That did not work")
    browser.press(".socialgrants-link")
    assert (browser.path, accounts(browser)) == (CONNECTIONS, ["Mail.Ru"])


@pytest.mark.parametrize("network", NETWORKS)
def test_the_start_page_sends_a_visitor_to_the_network_and_on_to_where_they_wanted(browser, site, network):
    browser.open(site.url(f"{start_url(network)}?next={CONNECTIONS}"))
    browser.press(button(network))
    browser.answer("allow", PERSON[network])
    assert browser.path == CONNECTIONS
    assert_logged_in(browser, site, network)


@pytest.mark.parametrize(
    "samesite, site, callbacks",
    [
        ("Lax", TWO_SITES[1], 1),
        ("Strict", TWO_SITES[0], 2),
        ("Strict", TWO_SITES[1], 2),
        ("Strict", ONE_SITE, 1),
    ],
    indirect=["site"],
)
def test_cookies_may_be_kept_from_requests_of_other_sites(browser, site, settings, samesite, callbacks):
    """With at most one page in between: the network is another site, from which Strict cookies don't come."""
    settings.SESSION_COOKIE_SAMESITE = settings.CSRF_COOKIE_SAMESITE = samesite
    log_in(browser, site)
    assert_logged_in(browser, site)
    assert site.visits.count(callback_url("ok")) == callbacks
    connect(browser, site)
    assert accounts(browser) == ["OK", "Mail.Ru"]
    assert site.visits.count(callback_url("mailru")) == callbacks


def test_a_policy_for_forms_that_names_the_network_lets_buttons_work(browser, site, settings):
    settings.ROOT_URLCONF = __name__
    browser.open(site.url(f"/guarded/?forms='self' {site.network_origin}"))
    browser.press(button("ok"))
    browser.answer("allow", PERSON["ok"])
    assert_logged_in(browser, site)


def test_a_policy_for_forms_that_names_only_the_site_stops_buttons(browser, site, settings):
    settings.ROOT_URLCONF = __name__
    browser.open(site.url("/guarded/?forms='self'"))
    browser.element(button("ok")).click()
    complaint = browser.wait_until(browser.console)[0]
    assert "form-action 'self'" in complaint
    assert browser.path == "/guarded/"


@pytest.mark.parametrize("samesite, first", [("Lax", 0), ("Lax", 1), ("Strict", 1)])
def test_logins_in_two_tabs_both_succeed(browser, site, settings, samesite, first):
    settings.SESSION_COOKIE_SAMESITE = samesite
    tabs = [browser.tab, browser.new_tab()]
    for tab in tabs:
        browser.tab = tab
        browser.open(site.url(start_url()))
        browser.press(button("ok"))
    for tab in (tabs[first], tabs[1 - first]):
        browser.tab = tab
        browser.answer("allow", PERSON["ok"])
        assert (browser.origin, browser.path) == (site.origin, "/")
        assert_logged_in(browser, site)


def test_a_dialog_that_is_answered_again_after_going_back_changes_nothing(browser, site):
    log_in(browser, site)
    browser.back()
    browser.answer("allow", PERSON["ok"])
    assert (browser.status, browser.text("h1")) == (400, "That did not work")
    browser.press(".socialgrants-link")
    assert (browser.path, accounts(browser)) == (CONNECTIONS, ["OK"])
    assert_logged_in(browser, site)


def test_a_button_from_before_the_login_answers_with_a_page_of_ours(browser, site):
    """Its CSRF token is no longer valid: Django makes a new one when somebody logs in."""
    log_in(browser, site)
    browser.back()
    browser.back()
    browser.press(button("ok"))
    assert (browser.status, browser.text("h1")) == (403, "That did not work")
    assert browser.text(".socialgrants-reference code")
    browser.press(".socialgrants-link")
    assert (browser.path, accounts(browser)) == (CONNECTIONS, ["OK"])
    assert_logged_in(browser, site)


@pytest.mark.parametrize("page", [start_url(), f"{callback_url()}?code=1&state=2", CONNECTIONS])
def test_no_page_of_ours_is_shown_in_a_frame(browser, site, page):
    log_in(browser, site)
    assert not browser.can_frame(page)
    (complaint,) = browser.console()
    assert "frame-ancestors 'none'" in complaint


def test_no_script_is_needed(browser, site, settings):
    settings.SESSION_COOKIE_SAMESITE = "Strict"  # for the page in between
    browser.emulate("Emulation.setScriptExecutionDisabled", value=True)
    browser.open("data:text/html,<title>off</title><script>document.title = 'on'</script>")
    assert browser.title == "off"
    log_in(browser, site)
    connect(browser, site)
    browser.press(DISCONNECT)
    assert accounts(browser) == ["Mail.Ru"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_mouse_is_needed_and_the_focus_can_be_seen(browser, site, scheme):
    browser.prefer(scheme)
    browser.open(site.url(start_url()))
    enter(browser, button("ok"))
    tab_to(browser, "input[name=person]")
    browser.keys("ARROW_DOWN")
    enter(browser, "button[value=allow]")
    assert_logged_in(browser, site)
    browser.open(site.url(CONNECTIONS))
    enter(browser, button("mailru"))
    enter(browser, "button[value=deny]")
    enter(browser, ".socialgrants-link")
    assert accounts(browser) == ["OK"]


def tab_to(browser, css):
    """Go on with the tabulator to an element; on the way and there its outline has to be visible."""
    while True:
        browser.keys("TAB")
        assert browser.contrasts()["outline"] >= 3
        if browser.run("return document.activeElement.matches(arguments[0])", css):
            return


def enter(browser, css):
    tab_to(browser, css)
    with browser.page_change():
        browser.keys("ENTER")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_can_be_read(browser, site, scheme):
    browser.prefer(scheme)
    for page in every_page(browser, site):
        browser.save_screenshot(f"{page}-{scheme}")
        texts = browser.contrasts()["texts"]
        assert texts
        assert [(page, text, ratio) for text, ratio in texts if ratio < 4.5] == []


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_page_speaks_the_language_of_the_browser_and_fits_a_small_phone(browser, site, language):
    browser.speak(language)
    browser.resize(320, 640)
    for page in every_page(browser, site):
        assert (page, browser.element("html").get_attribute("lang")) == (page, language)
        assert (page, browser.run("return document.documentElement.scrollWidth")) <= (page, 320)


def every_page(browser, site):
    """Go through everything that the package shows; yields the name of the page that is open."""
    browser.open(site.url(start_url()))
    yield "start"
    browser.press(button("ok"))
    yield "consent-ok"
    browser.answer("deny", PERSON["ok"])
    yield "cancelled"
    browser.open(site.url(f"{callback_url()}?code=1&state=2"))
    yield "refusal"
    log_in(browser, site)
    browser.open(site.url(CONNECTIONS))
    browser.press(button("mailru"))
    yield "consent-mailru"
    browser.answer("allow", PERSON["mailru"])
    yield "connections"
    UserToken.objects.update(state="needs_login", profile={"name": "Щ" * 100})
    browser.open(site.url(CONNECTIONS))
    yield "connections-needs-login"
    browser.press(DISCONNECT)
    insist(browser)
    yield "last-login"
    browser.open(site.url(start_url()))
    yield "start-connect"
