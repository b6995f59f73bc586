"""manage.py socialgrants_doctor: what keeps people from logging in is found, and said with its remedy."""

import json
from contextlib import suppress
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from django_socialgrants.management.doctor import examination
from django_socialgrants.management.doctor import network as steps
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.providers.ok import OK
from django_socialgrants.sandbox.applications import load
from django_socialgrants.sandbox.models import AccessToken, Application, Code
from django_socialgrants.sandbox.networks import NETWORKS
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.rehearsal import begin
from tests.test_transport import LOOPBACK, self_signed, serving_tls

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(live_server, settings):
    """A site in good health, with the sandbox as all networks."""
    settings.DEBUG = True
    settings.SOCIALGRANTS_PROVIDERS = [
        f"django_socialgrants.sandbox.providers.{name}" for name in ("OK", "MailRu", "VKID", "MailID")
    ]
    settings.SOCIALGRANTS_SANDBOX_URL = f"{live_server.url}/sandbox"
    settings.SOCIALGRANTS_BASE_URL = live_server.url
    load([live_server.url])
    return live_server


def doctor(*args):
    """Exit status, and the findings that are not fine, as (application, step, status)."""
    out, code = StringIO(), 0
    try:
        call_command("socialgrants_doctor", *args, "--json", stdout=out)
    except SystemExit as error:
        code = error.code
    document = json.loads(out.getvalue())
    assert document["exit"] == code
    wrong = [finding for finding in document["steps"] if finding["status"] != "ok"]
    assert all(finding["fix"] for finding in wrong)
    return code, [(finding["application"], finding["step"], finding["status"]) for finding in wrong]


def text(*args):
    out = StringIO()
    with suppress(SystemExit):
        call_command("socialgrants_doctor", *args, stdout=out)
    return out.getvalue()


def test_a_site_in_good_health_has_nothing_to_mend(site):
    assert doctor() == (0, [])
    assert "[ok] ok: The network knows the application and its secret." in text()


def test_the_callback_urls_to_register_are_said(site):
    assert f"{site.url}/social/ok/code/callback/, {site.url}/social/ok/implicit/callback/" in text("ok")


def test_only_the_applications_that_are_named_are_looked_into(site):
    begin("invalid-client", [NETWORKS["ok"]])
    assert doctor("mailru") == (0, [])
    with pytest.raises(CommandError, match="'mail.ru', 'vk'"):
        doctor("mailru", "vk", "mail.ru")


def test_nothing_is_changed_at_the_network_and_no_secret_is_shown(site):
    told = text()
    assert (Code.objects.count(), AccessToken.objects.count()) == (0, 0)
    for application in Application.objects.all():
        assert application.client_secret not in told
        assert application.client_key not in told


def test_a_wrong_secret_is_told_from_a_right_one(site):
    application = ProviderCredentials.objects.get(name="ok")
    application.client_secret = "wrong"
    application.save()
    assert doctor() == (1, [("ok", "credentials", "failed")])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_wrong_client_id_is_recognised_by_every_network(site, name):
    application = ProviderCredentials.objects.get(name=name)
    application.client_id = "512000000099"
    application.save()
    assert doctor() == (1, [(name, "credentials", "failed")])


@pytest.mark.parametrize("failure", ["invalid-client", "unavailable", "gateway", "rate-limit"])
def test_a_network_that_refuses_or_is_out_of_order_is_recognised(site, failure):
    begin(failure)
    assert doctor("mailru") == (1, [("mailru", "credentials", "failed")])


@pytest.mark.parametrize("failure", ["nonsense", "no-access-token"])
def test_an_answer_that_does_not_tell_is_a_warning(site, failure):
    begin(failure, count=1)
    code, wrong = doctor("mailru")
    assert (code, wrong) == (
        (0, [("mailru", "credentials", "warning")]) if failure == "nonsense" else (0, [])
    )


def test_a_network_that_does_not_answer_in_time_is_recognised(site, settings):
    settings.SOCIALGRANTS_TIMEOUT = 0.5
    begin("slow", seconds=1)
    assert doctor("mailru") == (1, [("mailru", "endpoints", "failed")])


def test_a_network_whose_name_is_not_known_is_recognised(site, settings, monkeypatch):
    monkeypatch.setattr(OK, "authorization_endpoint", "https://connect.invalid/oauth/authorize")
    settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.providers.ok.OK"]

    def unknown(host):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(steps, "addresses", unknown)
    monkeypatch.setattr(examination, "examine_credentials", lambda *args: ())
    code, wrong = doctor("ok")
    assert (code, set(wrong)) == (1, {("ok", "names", "failed")})


def test_a_certificate_that_nobody_vouches_for_is_recognised(site, settings, monkeypatch, tmp_path):
    with serving_tls(self_signed(tmp_path, LOOPBACK)) as running:
        monkeypatch.setattr(OK, "authorization_endpoint", running.url)
        monkeypatch.setattr(OK, "token_endpoints", {"authorization_code": running.url})
        monkeypatch.setattr(OK, "api_endpoint", running.url)
        settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.providers.ok.OK"]
        assert doctor("ok") == (1, [("ok", "endpoints", "failed")])
        assert "certificate verify failed" in text("ok")
        assert running.calls == []


def test_a_clock_that_is_off_is_recognised(site, monkeypatch):
    class Clock:
        monotonic = staticmethod(steps.time.monotonic)

        @staticmethod
        def time():
            return steps_time() + 600

    steps_time = steps.time.time
    monkeypatch.setattr(steps, "time", Clock)
    assert doctor("ok") == (0, [("ok", "clock", "warning")])


@pytest.mark.parametrize("field", ["client_secret", "client_key"])
def test_credentials_that_lack_something_are_recognised_without_asking(site, field):
    application = ProviderCredentials.objects.get(name="ok")
    setattr(application, field, "")
    application.save()
    code, wrong = doctor("ok")
    assert code == 1
    assert ("ok", "credentials", "failed") in wrong


def test_a_lost_key_is_recognised(site, settings):
    settings.SECRET_KEY = "another"
    code, wrong = doctor("ok")
    assert code == 1
    assert ("ok", "credentials", "failed") in wrong


def test_a_network_that_the_site_does_not_know_is_recognised(site, settings):
    settings.SOCIALGRANTS_PROVIDERS = settings.SOCIALGRANTS_PROVIDERS[:1]
    assert doctor("mailru") == (1, [("mailru", "network", "failed")])


def test_a_site_without_applications_or_urls_is_recognised(site, settings):
    settings.ROOT_URLCONF = "django_socialgrants.sandbox.urls"
    assert ("ok", "callbacks", "failed") in doctor("ok")[1]
    ProviderCredentials.objects.all().delete()
    assert doctor() == (1, [("", "applications", "failed")])


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"ALLOWED_HOSTS": ["example.com"]}, ("", "hosts", "failed")),
        ({"SOCIALGRANTS_BASE_URL": None, "DEBUG": False}, ("", "hosts", "warning")),
        ({"SESSION_COOKIE_SECURE": True}, ("", "cookies", "warning")),
        ({"SESSION_COOKIE_SAMESITE": "None"}, ("", "cookies", "failed")),
        ({"SESSION_COOKIE_DOMAIN": ".example.com"}, ("", "cookies", "failed")),
        ({"SOCIALGRANTS_TIMEOUT": "15"}, ("", "checks", "failed")),
    ],
    ids=str,
)
def test_what_is_wrong_with_the_settings_is_recognised(site, settings, monkeypatch, changes, finding):
    monkeypatch.setattr(examination, "_examine", lambda *args: ())
    for name, value in changes.items():
        setattr(settings, name, value)
    code, wrong = doctor("ok")
    assert finding in wrong
    assert code == (finding[2] == "failed")


@pytest.mark.parametrize(
    ("changes", "findings"),
    [
        ({}, [("", "hosts", "warning"), ("", "cookies", "warning")]),
        ({"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}, [("", "cookies", "warning")]),
        (
            {"CSRF_TRUSTED_ORIGINS": ["https://example.com"], "SESSION_COOKIE_SECURE": True},
            [],
        ),
    ],
    ids=str,
)
def test_a_site_behind_a_proxy_is_looked_at(site, settings, monkeypatch, changes, findings):
    monkeypatch.setattr(examination, "_examine", lambda *args: ())
    settings.SOCIALGRANTS_BASE_URL = "https://example.com"
    settings.ALLOWED_HOSTS = ["example.com"]
    settings.SECURE_PROXY_SSL_HEADER = None
    for name, value in changes.items():
        setattr(settings, name, value)
    assert doctor("ok") == (0, findings)


def test_a_database_that_lacks_migrations_ends_the_examination(site):
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("socialgrants", "0001_initial")
    try:
        assert doctor("ok") == (1, [("", "migrations", "failed")])
    finally:
        recorder.record_applied("socialgrants", "0001_initial")


# --- in somebody's name ------------------------------------------------------------------------------------------


@pytest.fixture
def token(site):
    uid = next(iter(PEOPLE["ok"]))
    user = get_user_model().objects.create_user("avrora")
    session = AccessToken.issue(
        Application.objects.get(network="ok"),
        uid,
        "",
        Application.objects.get(network="ok").rules.access_lifetime,
    )
    application = ProviderCredentials.objects.get(name="ok")
    return UserToken.objects.create(user=user, credentials=application, uid=uid, access_token=session.value)


def test_a_call_in_somebodys_name_is_made(token):
    assert doctor("ok", "--user=avrora") == (0, [])
    assert f"in the name of avrora (user id {token.uid})" in text("ok", "--user=avrora")


def test_a_call_that_is_refused_is_recognised(token):
    begin("session-expired")
    assert doctor("ok", "--user=avrora") == (1, [("ok", "call", "failed")])


def test_somebody_who_has_to_log_in_again_is_recognised(token):
    UserToken.objects.update(state="needs_login", reason="invalid_grant")
    assert doctor("ok", "--user=avrora") == (1, [("ok", "call", "failed")])


def test_somebody_who_granted_nothing_is_a_warning(token):
    assert doctor("ok", "--user=nobody") == (0, [("ok", "call", "warning")])
