"""The database's clock: UTC, whatever time zones the session, the site and the host have."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.conf import settings as site_settings
from django.db import connection
from django.utils import timezone as django_timezone

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.storage.clock import DatabaseNow
from tests.due import NOW, TokenEndpoint, counts, row, run, store_due

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def now(seconds=0):
    """What the database says, as it comes back into Python."""
    rows = ProviderCredentials.objects.annotate(clock=DatabaseNow(seconds))
    return rows.values_list("clock", flat=True).get()


def is_now(time, seconds=0):
    return abs(time - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(seconds=30)


@pytest.fixture
def session_zone():
    """Sets the time zone of this session in the database, and puts the old one back."""
    statements = {
        "mysql": ("SELECT @@session.time_zone", "SET time_zone = %s"),
        "postgresql": ("SHOW timezone", "SELECT set_config('TimeZone', %s, false)"),
    }
    ask, change = statements[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(ask)
        [before] = cursor.fetchone()
        yield lambda zone: cursor.execute(change, [zone])
        cursor.execute(change, [before])


@pytest.fixture
def no_time_zones(settings):
    """A site with USE_TZ = False in a zone that is far from UTC."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Vladivostok"
    assert abs(datetime.now(UTC).replace(tzinfo=None) - django_timezone.now()) > timedelta(hours=9)


def test_it_is_the_time_in_utc(ok_app):
    assert now().utcoffset() == timedelta(0)
    assert is_now(now())


@pytest.mark.parametrize("seconds", [0, 1, 60, -60, 0.5, 3600 * 24 * 40, -3600 * 24 * 400])
def test_it_can_be_shifted(ok_app, seconds):
    assert is_now(now(seconds), seconds)


def test_parts_of_seconds_are_kept(ok_app):
    rows = ProviderCredentials.objects.annotate(later=DatabaseNow(100.25), sooner=DatabaseNow(100))
    later, sooner = rows.values_list("later", "sooner").get()
    assert timedelta(milliseconds=240) < later - sooner < timedelta(seconds=5)
    seen = {now().microsecond for _ in range(20)}
    assert len(seen) > 1


def test_it_goes_on_within_a_transaction(ok_app):
    """Unlike CURRENT_TIMESTAMP of PostgreSQL, which is when the transaction began."""
    first = now()
    for _ in range(10_000):
        if now() > first:
            break
    assert now() > first


@pytest.mark.only_on("postgresql", "mysql")
@pytest.mark.parametrize("zone", ["+00:00", "+11:00", "-08:00"])
def test_the_zone_of_the_session_does_not_matter(ok_app, session_zone, zone):
    session_zone(zone)
    assert is_now(now())
    [token] = store_due(ok_app, age=60, next_refresh_at=datetime.now(UTC) - timedelta(seconds=60))
    due = UserToken.objects.filter(next_refresh_at__lte=DatabaseNow(-30))
    assert list(due) == [token]
    assert not due.filter(next_refresh_at__lte=DatabaseNow(-90)).exists()


def test_it_compares_with_columns_to_the_second(ok_app):
    for moment in (timedelta(seconds=-2), timedelta(seconds=2)):
        for microseconds in (0, 1, 999_999):
            time = (datetime.now(UTC) + moment).replace(microsecond=microseconds)
            ProviderCredentials.objects.update(created_at=time)
            past = ProviderCredentials.objects.filter(created_at__lt=DatabaseNow())
            assert past.exists() == (moment < timedelta(0))


def test_what_it_writes_is_what_a_column_holds(ok_app):
    ProviderCredentials.objects.update(created_at=DatabaseNow(90))
    ok_app.refresh_from_db()
    assert is_now(ok_app.created_at, 90)
    assert ProviderCredentials.objects.filter(created_at__gt=DatabaseNow(60)).exists()
    assert not ProviderCredentials.objects.filter(created_at__gt=DatabaseNow(120)).exists()


@pytest.mark.parametrize("zone", ["Asia/Vladivostok", "America/Los_Angeles"])
def test_the_zone_of_the_site_does_not_matter(settings, ok_app, zone):
    settings.TIME_ZONE = zone
    assert is_now(now())
    with django_timezone.override(timezone(timedelta(hours=-3))):
        assert is_now(now())


def test_without_time_zones_it_is_the_local_time_of_the_site(no_time_zones, ok_app):
    assert now().tzinfo is None
    assert abs(now() - django_timezone.now()) < timedelta(seconds=30)
    ProviderCredentials.objects.update(created_at=DatabaseNow(90))
    ok_app.refresh_from_db()
    assert abs(ok_app.created_at - django_timezone.now() - timedelta(seconds=90)) < timedelta(seconds=30)


def test_a_site_without_time_zones_has_its_tokens_refreshed_in_time(no_time_zones, network, ok_app):
    endpoint = TokenEndpoint()
    network.on("/ok/token", endpoint)
    [due] = store_due(ok_app, prefix="1", age=60)
    [later] = store_due(ok_app, prefix="2", age=-60)
    soon = NOW() + timedelta(seconds=30)
    [leased] = store_due(ok_app, prefix="3", lease_owner="elsewhere:1:abc", lease_until=soon)
    past = NOW() - timedelta(seconds=1)
    [left_behind] = store_due(ok_app, prefix="4", lease_owner="elsewhere:1:abc", lease_until=past)
    assert counts(run()) == (3, 2, 0, 0, 1)
    assert {token.pk: row(token).generation for token in (due, later, leased, left_behind)} == {
        due.pk: 1,
        later.pk: 0,
        leased.pk: 0,
        left_behind.pk: 1,
    }
    assert abs(row(due).expires_at - NOW() - timedelta(seconds=1800)) < timedelta(seconds=60)
    assert not site_settings.USE_TZ


@pytest.mark.only_on("postgresql", "mysql")
def test_the_hosts_clock_does_not_matter(ok_app, monkeypatch):
    wrong = datetime.now(UTC) + timedelta(minutes=10)
    monkeypatch.setattr(django_timezone, "now", lambda: wrong)
    monkeypatch.setattr("time.time", wrong.timestamp)
    assert is_now(now())


def test_summer_time_of_a_site_without_time_zones_is_that_of_today(settings, ok_app):
    """Berlin is one hour ahead of UTC in winter, and two in summer."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    assert abs(now() - django_timezone.now()) < timedelta(seconds=30)
