"""A site with the Content-Security-Policy that Django 6.0 and later can send with every page."""

import pytest
from django.test import override_settings
from django.utils.csp import CSP

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.sandbox.people import PEOPLE
from tests.journey import callback_url, start_url

PERSON = {network: list(people)[1] for network, people in PEOPLE.items()}
CONNECTIONS = "/social/connections/"
STRICT = {"default-src": [CSP.SELF], "form-action": [CSP.SELF]}


@pytest.fixture
def policy(site, settings, in_force):
    """Strict for every page of the site, the networks' dialogs among them."""
    in_force(
        MIDDLEWARE=["django.middleware.csp.ContentSecurityPolicyMiddleware", *settings.MIDDLEWARE],
        SECURE_CSP=STRICT,
    )


def button(network):
    return f".socialgrants-button--{network}"


def accounts():
    return sorted(UserToken.objects.values_list("credentials__name", flat=True))


@pytest.mark.usefixtures("policy")
def test_our_own_pages_work_under_the_strictest_policy_of_a_site(browser, site):
    browser.open(site.url(start_url("ok")))
    browser.press(button("ok"))
    browser.answer("allow", PERSON["ok"])
    assert (browser.origin, browser.path) == (site.origin, "/")
    browser.open(site.url(CONNECTIONS))
    browser.press(button("mailru"))
    browser.answer("allow", PERSON["mailru"])
    assert (browser.path, accounts()) == (CONNECTIONS, ["mailru", "ok"])
    browser.press(".socialgrants-quiet")
    assert (browser.path, len(accounts())) == (CONNECTIONS, 1)


@pytest.mark.usefixtures("policy")
def test_so_does_the_page_that_reads_a_fragment(browser, site):
    ProviderCredentials.objects.update(implicit_enabled=True)
    browser.open(site.url("/social/ok/implicit/"))
    browser.press(button("ok"))
    browser.answer("allow", PERSON["ok"])
    browser.wait_until(lambda: browser.path == "/")
    assert accounts() == ["ok"]


@pytest.mark.usefixtures("policy")
def test_a_button_on_a_page_of_the_site_is_stopped_unless_its_policy_names_the_network(browser, site):
    browser.open(site.url("/"))
    browser.element(button("ok")).click()
    complaint = browser.wait_until(browser.console)[0]
    assert "form-action 'self'" in complaint
    assert browser.path == "/"

    with override_settings(SECURE_CSP=STRICT | {"form-action": [CSP.SELF, site.network_origin]}):
        browser.open(site.url("/"))
        browser.press(button("ok"))
        browser.answer("allow", PERSON["ok"])
        assert (browser.origin, browser.path, accounts()) == (site.origin, "/", ["ok"])


@pytest.mark.usefixtures("policy")
def test_a_refusal_under_the_policy_of_a_site_shows_its_way_forward(browser, site):
    browser.open(site.url(f"{callback_url()}?code=1&state=2"))
    assert browser.status == 400
    browser.press(".socialgrants-link")
    browser.press(button("ok"))
    assert browser.origin == site.network_origin
