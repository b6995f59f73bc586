"""System checks: each mistake is told under an id of its own, and what is right is silent."""

import re
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from django_socialgrants.backends import SocialGrantsBackend
from django_socialgrants.middleware import SocialGrantsMiddleware
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.provider import Provider
from tests.third_network import Meadow

ROOT = Path(__file__).parent.parent
OK = "django_socialgrants.providers.ok.OK"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
SOCIAL = "django_socialgrants.middleware.SocialGrantsMiddleware"


def key(material):
    return urlsafe_b64encode(material).decode()


KEY = key(b"k" * 32)
DRAWN = key(bytes.fromhex("8a1f03d7c65be29044fe7b1d926ca8305ff1e6b92d0c47a3187b65d0f29c3ee4"))


class Nameless(Provider):
    """A provider whose author forgot everything."""


class Endless(Provider):
    id = "endless"
    title = "Endless"


class HalfWay(Endless):
    authorization_endpoint = "https://endless.example/authorize"


class CodeLess(HalfWay):
    response_types = ("token",)


class PasswordOnly(HalfWay):
    token_endpoints = {"password": "https://endless.example/token"}


class Broken(Endless):
    @property
    def authorization_endpoint(self):
        raise KeyError("no such setting")


class Clear(Meadow):
    api_endpoint = "http://meadow.example/api"


class Here(Meadow):
    api_endpoint = "http://127.0.0.1:1/api"


class OwnBackend(SocialGrantsBackend):
    """A site's own rules."""


class OwnSessions(SessionMiddleware):
    """A site's own sessions."""


class OwnAuthentication(AuthenticationMiddleware):
    """A site's own users."""


class OwnSocial(SocialGrantsMiddleware):
    """A site's own way to call networks."""


not_a_class = Nameless()

MISTAKES = [
    ("E001", "PROVIDERS", ["no.such.module.OK"]),
    ("E001", "PROVIDERS", ["django_socialgrants.providers.ok.NoSuchClass"]),
    ("E001", "PROVIDERS", ["nonsense"]),
    ("E001", "PROVIDERS", [""]),
    ("E001", "PROVIDERS", ["django_socialgrants.providers.ok"]),
    ("E001", "PROVIDERS", ["django.db.models.Model"]),
    ("E001", "PROVIDERS", ["tests.test_checks.not_a_class"]),
    ("E001", "PROVIDERS", ["tests.test_checks.Nameless"]),
    ("E002", "PROVIDERS", [OK, "tests.fakes.FakeOK"]),
    ("E002", "PROVIDERS", [OK, OK]),
    ("E003", "ENCRYPTION_KEYS", ["too short"]),
    ("E003", "ENCRYPTION_KEYS", [KEY, ""]),
    ("E003", "ENCRYPTION_KEYS", [None]),
    ("E003", "ENCRYPTION_KEYS", [["a list"]]),
    ("E003", "ENCRYPTION_KEYS", KEY),
    ("E003", "ENCRYPTION_KEYS", 32),
    ("E004", "LEASE", 44),
    ("E005", "PROVIDERS", ["tests.test_checks.Endless"]),
    ("E005", "PROVIDERS", ["tests.test_checks.HalfWay"]),
    ("E005", "PROVIDERS", ["tests.test_checks.Broken"]),
    ("E006", "PROVIDERS", ["tests.test_checks.Clear"]),
    ("E007", "TIMEOUT", 0),
    ("E007", "TIMEOUT", "15"),
    ("E007", "TIMEOUT", None),
    ("E007", "TIMEOUT", float("inf")),
    ("E007", "TIMEOUT", float("nan")),
    ("E007", "TIMEOUT", True),
    ("E007", "LEASE", 0),
    ("E007", "LEASE", "60"),
    ("E007", "STATE_AGE", -600),
    ("E007", "STATE_AGE", None),
    ("E007", "REFRESH_BEFORE", 0),
    ("E007", "REFRESH_BEFORE", "120"),
    ("E008", "BASE_URL", ""),
    ("E008", "BASE_URL", "site.example"),
    ("E008", "BASE_URL", "http://site.example"),
    ("E008", "BASE_URL", "https://"),
    ("E008", "BASE_URL", "https://site.example/shop"),
    ("E008", "BASE_URL", "https://site.example?x=1"),
    ("E008", "BASE_URL", "https://site.example/#"),
    ("E008", "BASE_URL", "https://me:password@site.example"),
    ("E008", "BASE_URL", "https://site.example:port"),
    ("E008", "BASE_URL", "https://[::1"),
    ("E008", "BASE_URL", 443),
    ("E009", "CA_BUNDLE", "/no/such/file.pem"),
    ("E009", "CA_BUNDLE", 7),
    ("E010", "USER_FACTORY", "no.such.factory"),
    ("E010", "USER_FACTORY", "tests.test_checks.KEY"),
    ("E010", "USER_FACTORY", "broken_module.factory"),
    ("E010", "USER_FACTORY", ""),
    ("E010", "USER_FACTORY", None),
]
"""Of one setting of ours each."""

RIGHT = [
    {},
    {"PROVIDERS": []},
    {"PROVIDERS": ["tests.fakes.FakeMailRu", OK]},
    {"PROVIDERS": ["tests.test_checks.CodeLess"]},
    {"PROVIDERS": ["tests.test_checks.PasswordOnly"]},
    {"PROVIDERS": ["tests.test_checks.Here"]},
    {"ENCRYPTION_KEYS": [KEY]},
    {"ENCRYPTION_KEYS": (KEY, key(b"-" * 32))},
    {"LEASE": 45},
    {"TIMEOUT": 0.5},
    {"TIMEOUT": 20, "LEASE": 60},
    {"BASE_URL": "https://site.example"},
    {"BASE_URL": "https://site.example:8443/"},
    {"BASE_URL": "http://127.0.0.1:8000"},
    {"CA_BUNDLE": __file__},
    {"CA_BUNDLE": Path(__file__)},
    {"CA_BUNDLE": ""},
    {"USER_FACTORY": "tests.test_checks.key"},
]


def told(**options):
    """(id without the prefix, message) of everything; there is a hint to each, and everything is in words."""
    messages = run_checks(tags=["socialgrants"], **options)
    assert all(message.hint and "%(" not in f"{message.msg}{message.hint}" for message in messages)
    return [(message.id.removeprefix("socialgrants."), message.msg) for message in messages]


def ids(**options):
    return [found for found, _ in told(**options)]


@pytest.fixture(autouse=True)
def _a_module_that_breaks(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


# --- settings of ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "name", "value"), MISTAKES)
def test_a_mistake_is_told_with_its_id_and_a_hint(settings, wanted, name, value):
    setattr(settings, f"SOCIALGRANTS_{name}", value)
    messages = told()
    assert {found for found, _ in messages} == {wanted}
    assert all(f"SOCIALGRANTS_{name}" in message for _, message in messages)


@pytest.mark.parametrize("right", RIGHT)
def test_right_settings_are_silent(settings, right):
    for name, value in right.items():
        setattr(settings, f"SOCIALGRANTS_{name}", value)
    assert told() == []


def test_a_lease_is_measured_by_the_timeout(settings):
    settings.SOCIALGRANTS_LEASE, settings.SOCIALGRANTS_TIMEOUT = 60, 21
    assert ids() == ["E004"]


def test_mistakes_do_not_hide_each_other(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["a.b", "c.d", OK, OK]
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["x"]
    settings.SOCIALGRANTS_LEASE = 1
    settings.SOCIALGRANTS_CREDENTIALS = {"ok": {}}
    settings.MIDDLEWARE = []
    assert sorted(ids()) == ["E001", "E001", "E002", "E003", "E004", "E013", "E014", "E018"]


def test_loopback_has_to_be_allowed(settings):
    settings.SOCIALGRANTS_INSECURE_LOOPBACK = False
    settings.SOCIALGRANTS_BASE_URL = "http://127.0.0.1:8000"
    settings.SOCIALGRANTS_PROVIDERS = ["tests.test_checks.Here"]
    assert sorted(ids()) == ["E006", "E008"]


def test_endpoints_that_wait_for_another_setting_are_left_to_its_check(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.sandbox.providers.OK"]
    settings.SOCIALGRANTS_SANDBOX_URL = None
    assert ids() == []


@pytest.mark.parametrize(
    ("debug", "hosts", "base_url", "wanted"),
    [
        (False, ["*"], None, ["W012"]),
        (False, ["site.example", "*"], None, ["W012"]),
        (False, ["*"], "https://site.example", []),
        (False, [".site.example"], None, []),
        (True, ["*"], None, []),
    ],
)
def test_redirect_uris_should_not_follow_whatever_a_request_names(settings, debug, hosts, base_url, wanted):
    settings.DEBUG, settings.ALLOWED_HOSTS, settings.SOCIALGRANTS_BASE_URL = debug, hosts, base_url
    assert ids() == wanted


def test_neither_keys_nor_passwords_are_shown(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [KEY, KEY[:-2]]
    settings.SOCIALGRANTS_BASE_URL = "https://me:password@site.example"
    messages = run_checks(tags=["socialgrants"], include_deployment_checks=True)
    assert {"socialgrants.E003", "socialgrants.E008"} <= {message.id for message in messages}
    for message in messages:
        assert KEY[:-2] not in str(message)
        assert "password" not in str(message)


# --- keys on a server ------------------------------------------------------------------------------------


def test_a_server_should_have_keys_of_its_own(settings):
    assert ids() == []
    assert ids(include_deployment_checks=True) == ["W010"]
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [DRAWN]
    assert ids(include_deployment_checks=True) == []


@pytest.mark.parametrize(
    "material",
    [
        b"\0" * 32,
        b"k" * 32,
        b"ab" * 16,
        bytes(range(16)) * 2,
        bytes.fromhex("8a1f03d7c65be29044fe7b1d926ca830") * 2,
        bytes(range(32)),
        bytes(range(64, 0, -2)),
    ],
)
def test_a_key_that_was_made_up_is_told_on_a_server(settings, material):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [DRAWN, key(material)]
    [(found, message)] = told(include_deployment_checks=True)
    assert found == "W011"
    assert "[1]" in message
    assert ids() == []


@pytest.mark.parametrize("broken", [["too short"], ["ключ"], [None], [[]], 32, KEY])
def test_a_malformed_key_is_no_weak_one_too(settings, broken):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = broken
    assert ids(include_deployment_checks=True) == ["E003"]


# --- the site --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backends", [["django.contrib.auth.backends.ModelBackend"], [], ["no.such.Backend"]])
def test_without_our_backend_nobody_can_log_in(settings, backends):
    settings.AUTHENTICATION_BACKENDS = backends
    assert ids() == ["E012"]


def test_a_backend_derived_from_ours_will_do(settings):
    settings.AUTHENTICATION_BACKENDS = ["tests.test_checks.OwnBackend"]
    assert ids() == []


@pytest.mark.parametrize(
    ("middleware", "wanted"),
    [
        ([], ["E013", "E014"]),
        ([AUTHENTICATION], ["E013"]),
        ([SESSIONS], ["E014"]),
        ([AUTHENTICATION, SESSIONS], ["E014"]),
        ([SOCIAL, SESSIONS, AUTHENTICATION], ["E015"]),
        ([SESSIONS, SOCIAL, AUTHENTICATION], ["E015"]),
        ([SESSIONS, AUTHENTICATION, SOCIAL], []),
        (["tests.test_checks.OwnSessions", "tests.test_checks.OwnAuthentication"], []),
        (["no.such.Middleware", "tests.test_checks.told", SESSIONS, AUTHENTICATION], []),
    ],
)
def test_sessions_users_and_ours_come_in_this_order(settings, middleware, wanted):
    settings.MIDDLEWARE = middleware
    assert ids() == wanted


def test_a_middleware_derived_from_ours_is_known(settings):
    settings.MIDDLEWARE = ["tests.test_checks.OwnSocial", SESSIONS, AUTHENTICATION]
    assert ids() == ["E015"]


def test_sessions_in_the_database_need_their_app(settings):
    settings.INSTALLED_APPS = [
        app for app in django_settings.INSTALLED_APPS if app != "django.contrib.sessions"
    ]
    assert ids() == ["E011"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert ids() == []


def test_users_need_their_app(settings, monkeypatch):
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: name != "django.contrib.auth")
    assert ids() == ["E011"]


def templates(**changes):
    options = {"context_processors": ["django.template.context_processors.request"]}
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": options,
    }
    return [engine | changes]


LOADERS = [
    "django.template.loaders.filesystem.Loader",
    ("django.template.loaders.cached.Loader", ["django.template.loaders.app_directories.Loader"]),
]


@pytest.mark.parametrize(
    ("configured", "wanted"),
    [
        (templates(), []),
        (templates(APP_DIRS=False, OPTIONS=templates()[0]["OPTIONS"] | {"loaders": LOADERS}), []),
        (templates(APP_DIRS=False, DIRS=[ROOT / "django_socialgrants/templates"]), []),
        ([], ["E016"]),
        (templates(APP_DIRS=False), ["E016"]),
        (templates(OPTIONS={}), ["E017"]),
        (templates(BACKEND="no.such.Engine"), []),  # Django tells
        (templates(OPTIONS={"context_processors": ["no.such.processor"]}), ["E017"]),
        (templates(OPTIONS={"loaders": []}), []),  # Django tells
    ],
)
def test_our_templates_are_found_and_know_the_request(settings, configured, wanted):
    settings.TEMPLATES = configured
    assert ids() == wanted


def test_a_template_of_the_site_with_a_mistake_is_none_of_our_business(settings, tmp_path):
    (tmp_path / "socialgrants").mkdir()
    (tmp_path / "socialgrants/login_button.html").write_text("{% no_such_tag %}")
    settings.TEMPLATES = templates(DIRS=[tmp_path])
    assert ids() == []


# --- all together ----------------------------------------------------------------------------------------


def test_every_id_belongs_to_one_mistake_and_fires_in_a_test():
    sources = [path.read_text() for path in ROOT.glob("django_socialgrants/checks/*.py")]
    known = re.findall(r'id="socialgrants\.(\w\d{3})"', "".join(sources))
    assert len(known) == len(set(known))
    tests = "".join(path.read_text() for path in ROOT.glob("tests/test_checks*.py"))
    assert set(known) <= set(re.findall(r'"([EW]\d{3})"', tests))


@pytest.mark.django_db(databases="__all__")  # Django 6.1 checks them all
def test_a_provider_that_is_gone_is_told_by_check_and_breaks_no_model(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["no.such.module.OK", "tests.fakes.FakeMailRu"]
    assert ProviderCredentials._meta.get_field("provider").flatchoices == [("mailru", "Mail.Ru")]
    with pytest.raises(SystemCheckError, match=r"socialgrants\.E001"):
        call_command("check")


# --- time zones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_tz", [True, False])
def test_local_times_without_zones_are_told(settings, use_tz):
    settings.USE_TZ = use_tz
    told = not use_tz and not connection.features.supports_timezones
    assert ("W019" in ids()) == told
