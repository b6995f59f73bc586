import warnings

import pytest
import requests
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core import checks
from django.db import connection
from django.test import modify_settings, override_settings

from django_socialgrants.sandbox.applications import load

from .logins import at_the_sandbox

SANDBOX = "django_socialgrants.sandbox.providers"
ALLAUTH = "allauth.socialaccount.providers"
PACKAGES = {
    "account": "allauth.account",
    "socialaccount": "allauth.socialaccount",
    "odnoklassniki": f"{ALLAUTH}.odnoklassniki",
    "mailru": f"{ALLAUTH}.mailru",
    "vk": f"{ALLAUTH}.vk",
    "social_django": "social_django",
}
BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    "social_core.backends.odnoklassniki.OdnoklassnikiOAuth2",
    "social_core.backends.mailru.MailruOAuth2",
    "social_core.backends.mailru.MRGOAuth2",
]


@pytest.fixture(scope="package")
def packages(django_db_setup, django_db_blocker):
    """django-allauth and python-social-auth, installed into the site, with their tables."""
    with warnings.catch_warnings(action="ignore"):  # what they import is up to them
        pytest.importorskip("allauth.socialaccount")
        pytest.importorskip("social_core.backends.open_id")
    site = override_settings(
        ROOT_URLCONF="tests.others.urls",
        MIDDLEWARE=[*settings.MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"],
        AUTHENTICATION_BACKENDS=[*settings.AUTHENTICATION_BACKENDS, *BACKENDS],
    )
    in_the_admin, checked = dict(admin.site._registry), set(checks.registry.registry.registered_checks)
    with site, modify_settings(INSTALLED_APPS={"append": ["allauth", *PACKAGES.values()]}):
        models = [model for label in PACKAGES for model in apps.get_app_config(label).get_models()]
        with django_db_blocker.unblock(), connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        yield
        with django_db_blocker.unblock(), connection.schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)
    admin.site._registry = in_the_admin
    checks.registry.registry.registered_checks = checked


@pytest.fixture
def applications(db, settings):
    """Our applications at the sandbox, by network."""
    settings.DEBUG = True
    settings.SOCIALGRANTS_PROVIDERS = [f"{SANDBOX}.{name}" for name in ("OK", "MailRu", "VKID", "MailID")]
    return {application.network: application for application in load(["http://testserver"])}


@pytest.fixture
def played(live_server, applications, settings, monkeypatch):
    """The sandbox on a server, in the place of every host of the networks; our applications."""
    settings.SOCIALGRANTS_SANDBOX_URL = f"{live_server.url}/sandbox"
    send = requests.adapters.HTTPAdapter.send

    def rerouted(adapter, request, **options):
        request.url = at_the_sandbox(request.url)
        return send(adapter, request, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", rerouted)
    return applications


@pytest.fixture
def configured(packages, applications, settings):
    """Both packages know our applications at the networks."""
    ok, mailru = applications["ok"], applications["mailru"]
    settings.SOCIALACCOUNT_STORE_TOKENS = True
    settings.SOCIALACCOUNT_PROVIDERS = {
        "odnoklassniki": {"APP": app_of(ok), "SCOPE": ["VALUABLE_ACCESS"]},
        "mailru": {"APP": app_of(mailru), "SCOPE": ["stream"]},
        "vk": {"APP": app_of(applications["vkid"])},
    }
    settings.SOCIAL_AUTH_MAILRU_KEY = applications["mailid"].client_id
    settings.SOCIAL_AUTH_MAILRU_SECRET = applications["mailid"].client_secret
    settings.SOCIAL_AUTH_MAILRU_SCOPE = ["userinfo", "offline_access"]
    settings.SOCIAL_AUTH_ODNOKLASSNIKI_OAUTH2_KEY = ok.client_id
    settings.SOCIAL_AUTH_ODNOKLASSNIKI_OAUTH2_SECRET = ok.client_secret
    settings.SOCIAL_AUTH_ODNOKLASSNIKI_OAUTH2_PUBLIC_NAME = ok.client_key
    settings.SOCIAL_AUTH_ODNOKLASSNIKI_OAUTH2_SCOPE = ["VALUABLE_ACCESS"]
    settings.SOCIAL_AUTH_MAILRU_OAUTH2_KEY = mailru.client_id
    settings.SOCIAL_AUTH_MAILRU_OAUTH2_SECRET = mailru.client_secret
    return applications


def app_of(application):
    return {
        "client_id": application.client_id,
        "secret": application.client_secret,
        "key": application.client_key,
    }
