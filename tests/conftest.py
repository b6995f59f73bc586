"""Shared fixtures."""

import os
import signal
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from django_socialgrants.models import ProviderCredentials
from tests.fakes import FakeMailRu, FakeOK, FakeVKID
from tests.network import Network, Server, answer, running

OK_UID = "561234567890"
MAILRU_UID = "12900285598278158001"

COLLECTED = pytest.StashKey[dict[str, None]]()
"""The names of all tests that were found, in their order, before options left some out."""


def pytest_configure():
    """A shell has its background jobs ignore SIGINT, and what the tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """The whole suite keeps every core busy; files that are asked for by name share one process, as do workers."""
    whole = config.args_source is config.ArgsSource.TESTPATHS and not hasattr(config, "workerinput")
    if whole and config.getoption("numprocesses", 0) is None:  # pytest-xdist is there, and -n was not given
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"


def pytest_collection_modifyitems(config, items):
    """Mark what folders and fixtures tell, and leave out what is about another database than the one in use."""
    engine = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2].removesuffix("3")
    left_out = []
    for item in items:
        folder = item.path.parent.name
        if folder in ("browser", "processes"):
            item.add_marker("slow")
        if folder != "browser" and _commits(item):
            item.add_marker("database")
        if any(engine not in mark.args for mark in item.iter_markers("only_on")):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    config.stash[COLLECTED] = dict.fromkeys(item.nodeid for item in items)


def _commits(item):
    """Whether the test has real transactions of its own, which is where databases differ most."""
    mark = item.get_closest_marker("django_db")
    return "transactional_db" in item.fixturenames or bool(mark and mark.kwargs.get("transaction"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With TESTS_MUST_NOT_SKIP=1 a test that skips (no browser, no database) has failed."""
    report = yield
    if report.skipped and os.environ.get("TESTS_MUST_NOT_SKIP") == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """As on SQLite, no commit waits for the disk: what the tests kill are processes, never the machine.

    And the few rows of a test are deleted. TRUNCATE makes new files for a dozen tables and their indexes.
    """
    if connection.vendor == "postgresql":
        connection.ops.sql_flush = lambda style, tables, **options: [
            f"DELETE FROM {connection.ops.quote_name(table)};" for table in tables
        ]
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit TO off")
            connection.close()


@pytest.fixture(scope="session")
def loopback() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def network(loopback, settings, monkeypatch) -> Iterator[Network]:
    """Both networks on loopback, in good health: every code is worth a token of the same person."""
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK", "tests.fakes.FakeMailRu"]
    with loopback.network() as network:
        for provider in (FakeOK, FakeMailRu):
            base = f"{network.url}/{provider.id}"
            monkeypatch.setattr(provider, "authorization_endpoint", f"{base}/authorize")
            monkeypatch.setattr(provider, "api_endpoint", f"{base}/api")
            endpoints = dict.fromkeys(provider.token_endpoints, f"{base}/token")
            monkeypatch.setattr(provider, "token_endpoints", endpoints)
        network.on("/ok/token", answer(ok_token()))
        network.on("/ok/api", answer(ok_profile()))
        network.on("/mailru/token", answer(mailru_token(), content_type="text/javascript"))
        network.on("/mailru/api", answer([mailru_profile()], content_type="text/javascript"))
        yield network


@pytest.fixture
def vkid_app(network, settings, monkeypatch, db) -> ProviderCredentials:
    """A public application of VK ID, which lives at the same server as the other networks."""
    settings.SOCIALGRANTS_PROVIDERS = [*settings.SOCIALGRANTS_PROVIDERS, "tests.fakes.FakeVKID"]
    base = f"{network.url}/vkid"
    monkeypatch.setattr(FakeVKID, "authorization_endpoint", f"{base}/authorize")
    monkeypatch.setattr(FakeVKID, "token_endpoints", dict.fromkeys(FakeVKID.token_endpoints, f"{base}/token"))
    monkeypatch.setattr(FakeVKID, "identity_endpoint", f"{base}/user_info")
    monkeypatch.setattr(FakeVKID, "revocation_endpoint", f"{base}/revoke")
    monkeypatch.setattr(FakeVKID, "api_endpoint", f"{base}/api")
    return ProviderCredentials.objects.create(name="vkid", provider="vkid", client_id="51000001")


def ok_token(**changes: object) -> dict[str, object]:
    """What OK's token endpoint answers: no user id, and seconds as a string."""
    return {
        "access_token": "ok-access-token-1",
        "refresh_token": "ok-refresh-token-1",
        "token_type": "session",
        "expires_in": "1800",
    } | changes


def ok_profile(**changes: object) -> dict[str, object]:
    return {"uid": OK_UID, "first_name": "Иван", "last_name": "Петров", "name": "Иван Петров"} | changes


def mailru_token(**changes: object) -> dict[str, object]:
    return {
        "access_token": "mailru-access-token-1",
        "refresh_token": "mailru-refresh-token-1",
        "token_type": "bearer",
        "expires_in": 86400,
        "x_mailru_vid": MAILRU_UID,
    } | changes


def mailru_profile(**changes: object) -> dict[str, object]:
    return {"uid": MAILRU_UID, "first_name": "Мария", "last_name": "Иванова", "nick": "maria"} | changes


@pytest.fixture
def ok_app(db) -> ProviderCredentials:
    return ProviderCredentials.objects.create(
        name="ok",
        provider="ok",
        client_id="512000000000",
        client_secret="ok-client-secret",
        client_key="CGEXAMPLEKEYBABABA",
        scope="VALUABLE_ACCESS GET_EMAIL",
    )


@pytest.fixture
def other_ok_app(ok_app) -> ProviderCredentials:
    """A second application of the site at the same network."""
    return ProviderCredentials.objects.create(
        name="ok-2",
        provider="ok",
        client_id="512000000001",
        client_secret="ok-client-secret-2",
        client_key="KEY2",
    )


@pytest.fixture
def mailru_app(db) -> ProviderCredentials:
    return ProviderCredentials.objects.create(
        name="mailru",
        provider="mailru",
        client_id="423004",
        client_secret="mailru-secret-key",
        client_key="mailru-private-key",
        scope="photos stream",
    )


@pytest.fixture
def browser_client() -> Client:
    """A client that is held to CSRF, as a browser is."""
    return Client(enforce_csrf_checks=True)
