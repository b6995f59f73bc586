"""The tasks without Celery: a plain function for any queue, and a task of django.tasks."""

import json
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

from django_socialgrants import tasks
from django_socialgrants.exceptions import RunFailed, UnknownCredentials
from tests.due import TokenEndpoint, columns, row, store_due
from tests.network import answer

pytestmark = pytest.mark.django_db


def python(code):
    """What a process prints that finds neither Celery nor django.tasks."""
    without = """
        import sys
        for name in ("celery", "django_tasks", "django.tasks"):
            sys.modules[name] = None
        import django
        django.setup()
    """
    program = textwrap.dedent(without) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_celery_the_task_is_a_plain_function(monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    assert python("from django_socialgrants import tasks; print(tasks.refresh_tokens is tasks.run)") == "True"


def test_the_autodiscovery_of_other_queues_finds_nothing_that_fails(monkeypatch):
    """As that of Huey and Dramatiq does: every app's `tasks` is imported."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    code = """
        from django.utils.module_loading import autodiscover_modules
        autodiscover_modules("tasks")
        print("django_socialgrants.tasks" in sys.modules)
    """
    assert python(code) == "True"


def test_the_function_refreshes_and_returns_the_document(network, ok_app):
    network.on("/ok/token", TokenEndpoint())
    [token] = store_due(ok_app)
    assert tasks.run(["ok"], workers=1)["refreshed"] == 1
    assert row(token).generation == 1


@pytest.mark.parametrize(
    ("number", "error", "status", "code", "problem"),
    [(1, "invalid_client", 401, 2, "invalid_client"), (60, "invalid_grant", 400, 3, "valve")],
)
def test_it_fails_where_the_command_exits_with_2_or_3(
    network, ok_app, mailru_app, number, error, status, code, problem
):
    network.on("/ok/token", answer({"error": error}, status=status))
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    store_due(ok_app, number)
    [other] = store_due(mailru_app)
    with pytest.raises(RunFailed, match=f"exit code {code}: ok: {problem}") as caught:
        tasks.run()
    assert caught.value.document["exit"] == code
    assert caught.value.document["applications"]["ok"]["problem"] == problem
    assert caught.value.document["applications"]["mailru"]["problem"] == ""
    assert row(other).generation == 1


def test_what_the_next_run_retries_is_no_failure_of_the_task(network, ok_app):
    network.on("/ok/token", answer({}, status=503))
    store_due(ok_app)
    document = tasks.run()
    assert (document["exit"], document["applications"]["ok"]["problem"]) == (1, "failures")


def test_a_pause_is_told_with_its_seconds(network, ok_app):
    network.on("/ok/token", answer({}, status=429, headers={"Retry-After": "100"}))
    store_due(ok_app)
    for _ in range(2):  # by the run that is asked to pause, and by the next
        tally = tasks.run()["applications"]["ok"]
        assert (tally["problem"], 90 < tally["paused_for"] <= 100) == ("paused", True)


def test_names_that_are_a_string_are_refused_with_a_sentence(network, ok_app):
    store_due(ok_app)
    before = columns()
    with pytest.raises(TypeError, match=r"names is a list of applications, as in \['ok'\]"):
        tasks.run("ok")
    assert columns() == before


# --- django.tasks ------------------------------------------------------------------------------------------------


@pytest.fixture
def background(settings):
    name = "django.tasks" if find_spec("django.tasks") else "django_tasks"
    pytest.importorskip(name)
    settings.TASKS = {"default": {"BACKEND": f"{name}.backends.immediate.ImmediateBackend"}}
    from django_socialgrants import background

    return background


def test_it_can_be_enqueued_with_what_the_command_takes(background, network, ok_app, mailru_app):
    network.on("/ok/token", TokenEndpoint())
    [soon] = store_due(ok_app, age=-30)
    store_due(mailru_app)
    result = background.refresh_tokens.enqueue(["ok"], within=60)
    assert result.return_value["refreshed"] == 1
    assert json.loads(json.dumps(result.return_value)) == result.return_value
    assert row(soon).generation == 1
    assert network.calls_to("/mailru/token") == []


def test_a_worker_finds_it_by_its_path(background):
    assert background.refresh_tokens.module_path == "django_socialgrants.background.refresh_tokens"


def test_an_enqueued_run_fails_as_the_function_does(background, ok_app):
    result = background.refresh_tokens.enqueue(["okk"])
    assert result.errors[0].exception_class is UnknownCredentials
