"""The check of a site's Content-Security-Policy against the networks that its buttons lead to."""

import pytest
from django.core.checks import run_checks

OURS = "django.middleware.csp.ContentSecurityPolicyMiddleware"
THEIRS = "csp.middleware.CSPMiddleware"
BOTH = ["'self'", "https://connect.ok.ru", "https://connect.mail.ru"]


@pytest.fixture(autouse=True)
def site(settings):
    settings.SOCIALGRANTS_PROVIDERS = [
        "django_socialgrants.providers.ok.OK",
        "django_socialgrants.providers.mailru.MailRu",
    ]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, OURS]


def found(*, deploy=True):
    messages = run_checks(tags=["socialgrants"], include_deployment_checks=deploy)
    return [message for message in messages if message.id.endswith("W018")]


def test_a_policy_that_stops_visitors_is_told_with_what_it_lacks(settings):
    settings.SECURE_CSP = {"form-action": ["'self'", "https://connect.ok.ru"]}
    [message] = found()
    assert message.id.rpartition(".")[2] == "W018"
    assert "SECURE_CSP: form-action does not name https://connect.mail.ru" in message.msg
    assert "Add https://connect.mail.ru to form-action" in message.hint
    assert found(deploy=False) == []


@pytest.mark.parametrize(
    "sources",
    [
        "'self'",
        "'none'",
        ["'self'", "https://connect.ok.ru:8443", "connect.mail.ru.example"],
        ["https://connect.example", "*.connect.ok.ru", "ws://connect.mail.ru"],
        {"'self'"},
        ("'self'",),
    ],
)
def test_sources_that_cover_no_network(settings, sources):
    settings.SECURE_CSP = {"form-action": sources}
    [message] = found()
    assert "https://connect.mail.ru https://connect.ok.ru" in message.msg


@pytest.mark.parametrize(
    "sources",
    [
        BOTH,
        " ".join(BOTH),
        "*",
        "https:",
        ["http:"],
        ["connect.ok.ru", "CONNECT.mail.ru:443"],
        ["https://*.ok.ru", "https://*.mail.ru:*"],
        ["https://connect.ok.ru/oauth/authorize", "http://connect.mail.ru/"],
    ],
)
def test_sources_that_cover_both(settings, sources):
    settings.SECURE_CSP = {"form-action": sources}
    assert found() == []


def test_a_policy_without_the_directive_stops_nobody(settings):
    """There is none that stands in for it."""
    settings.SECURE_CSP = {"default-src": ["'self'"]}
    assert found() == []
    settings.SECURE_CSP["form-action"] = None
    assert found() == []


def test_a_policy_that_nobody_sends_is_not_looked_at(settings):
    settings.SECURE_CSP = {"form-action": ["'self'"]}
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if path != OURS]
    assert found() == []


def test_that_of_django_csp_is_told(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, THEIRS]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"form-action": ["'self'"]}}
    [message] = found()
    assert message.msg.startswith("CONTENT_SECURITY_POLICY: ")
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"form-action": BOTH}}
    assert found() == []


def test_networks_that_can_not_be_loaded_are_told_by_another_check(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["no.such.Network"]
    settings.SECURE_CSP = {"form-action": ["'self'"]}
    assert found() == []
