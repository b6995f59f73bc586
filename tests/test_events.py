"""What is logged: every record is about a documented event, and carries the same attributes."""

import logging
import re
from contextlib import suppress
from pathlib import Path

import pytest

from django_socialgrants.api import SocialAPI
from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import SocialGrantsError
from django_socialgrants.testing import FakeNetwork, grant
from django_socialgrants.web import views
from tests.test_readme import rows

PACKAGE = Path(__file__).parents[1] / "django_socialgrants"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
ATTRIBUTES = ("event", "application", "token", "reason", "reference")


def test_every_event_is_in_the_table_and_nothing_else():
    assert [name.strip("`") for name, _ in rows("Event")] == list(Event)


def test_every_event_happens_somewhere():
    logged = set(re.findall(r"\bEvent\.(\w+)", "".join(SOURCES.values())))
    assert {event.name for event in Event if not hasattr(views, event.value)} == logged


def test_a_record_carries_every_attribute_and_names_the_line_that_wrote_it(caplog):
    log(Event.RUN, "%d of %d", 1, 2, reason="threads")
    [record] = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (
        "django_socialgrants",
        logging.WARNING,
        "1 of 2",
    )
    assert [getattr(record, name) for name in ATTRIBUTES] == ["run", "", None, "threads", ""]
    assert record.filename == "test_events.py"
    assert type(record.event) is str  # also for formatters that know plain values only


def test_a_record_may_hold_the_error_that_is_handled(caplog):
    try:
        raise ValueError("broken")
    except ValueError:
        log(Event.NETWORK_CODE, "it broke", level=logging.ERROR, trace=True)
    assert caplog.records[0].exc_info[0] is ValueError


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "event", "reason"),
    [
        ("", "refreshed", ""),
        ("invalid_grant", "needs_login", "invalid_grant"),
        ("invalid_client", "not_refreshed", "invalid_client"),
    ],
)
def test_a_refresh_is_told_with_its_token_and_application(caplog, django_user_model, error, event, reason):
    caplog.set_level(logging.INFO)
    with FakeNetwork() as network:
        token = grant(django_user_model.objects.create_user("anna"), "ok", expires_in=0)
        if error:
            network.refuses_token(error)
        else:
            network.answers("friends.get", [])
        with suppress(SocialGrantsError):
            SocialAPI(token.user, "ok").friends.get()
    [record] = caplog.records
    told = [getattr(record, name) for name in ATTRIBUTES]
    assert told == [event, "ok", token.pk, reason, ""]
