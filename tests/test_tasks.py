"""The Celery task, called directly: it does what the command does, and its messages give nothing away."""

import inspect
import json

import pytest

from tests.due import TokenEndpoint, columns, row, store_due
from tests.journey import SECRETS
from tests.network import answer

celery = pytest.importorskip("celery")

from django_socialgrants.exceptions import UnknownCredentials  # noqa: E402
from django_socialgrants.tasks import refresh_tokens  # noqa: E402

pytestmark = pytest.mark.django_db

TALLY = {"due", "refreshed", "needs_login", "failed", "skipped", "seconds"}


@pytest.fixture
def tokens(network, ok_app, mailru_app):
    network.on("/ok/token", TokenEndpoint())
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    return [*store_due(ok_app, 3), *store_due(mailru_app, 2)]


def document(*arguments, **options):
    """The result, as a result backend would keep it."""
    done = refresh_tokens.apply(arguments, options)
    assert done.successful(), done.traceback
    return json.loads(json.dumps(done.result))


def test_it_refreshes_and_returns_the_document_of_the_command(tokens):
    found = document()
    assert set(found) == TALLY | {"exit", "applications"}
    assert set(found["applications"]) == {"ok", "mailru"}
    assert all(set(tally) == TALLY | {"problem", "paused_for"} for tally in found["applications"].values())
    assert (found["due"], found["refreshed"], found["failed"]) == (5, 5, 0)
    assert {row(token).generation for token in tokens} == {1}


def test_its_arguments_are_those_of_the_command(tokens):
    assert document(["mailru"], limit=1, workers=1)["refreshed"] == 1
    assert document(["ok"], within=3600.0, max_time=600)["refreshed"] == 3
    assert document(["mailru"])["refreshed"] == 1


def test_every_argument_may_be_left_out_and_travels_as_json():
    """So `apply_async` and a beat schedule need no serializer of their own."""
    parameters = inspect.signature(refresh_tokens.run).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    assert json.loads(json.dumps(defaults)) == {**defaults, "names": list(defaults["names"])}


def test_neither_result_nor_logs_hold_a_secret(tokens, network, caplog):
    caplog.set_level("DEBUG")

    def quote(call):
        answer({"error": "invalid_grant", "error_description": " ".join(call.params.values())})(call)

    network.on("/ok/token", quote)
    shown = json.dumps(document()) + caplog.text
    assert "invalid_grant" in shown
    found = [secret for secret in (*SECRETS, "access-4", "refresh-4") if secret in shown]
    assert found == []


def test_an_unknown_name_fails_the_task_and_refreshes_nothing(tokens):
    before = columns()
    done = refresh_tokens.apply([["ok", "okk"]])
    assert done.failed()
    assert isinstance(done.result, UnknownCredentials)
    assert columns() == before


def test_it_is_known_by_a_name_of_its_own():
    """Which a schedule in the settings of a site names, and which does not change with our modules."""
    assert refresh_tokens.name == "django_socialgrants.refresh_tokens"
