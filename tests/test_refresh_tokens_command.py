"""`manage.py refresh_tokens` as an operator, a script and cron see it: output, exit codes, and nothing secret."""

import io
import json
import os
import pty
import subprocess
import sys
import termios
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import TestCase

from django_socialgrants.exceptions import UnsafeTransaction
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from tests.due import TokenEndpoint, columns, row, store_due
from tests.journey import SECRETS
from tests.network import answer
from tests.test_races import PATIENCE, together
from tests.test_refresh_failures import for_tokens, invalid_grant, out_of_order

pytestmark = pytest.mark.django_db

TALLY = {"due", "refreshed", "needs_login", "failed", "skipped", "seconds"}


@pytest.fixture
def well(network):
    """Both networks refresh whatever they are asked for."""
    network.on("/ok/token", TokenEndpoint())
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    return network


def refresh(*options, **named):
    """Exit code, stdout and stderr of the command, run in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("refresh_tokens", *options, stdout=out, stderr=err, **named)
    except CommandError as error:
        code = error.returncode
        err.write(f"CommandError: {error}")
    except SystemExit as end:
        code = end.code
    return code, out.getvalue(), err.getvalue()


def document(*options, **named):
    code, out, _ = refresh("--json", *options, **named)
    found = json.loads(out)
    return code, found


# --- what is printed --------------------------------------------------------------------------------------


def test_the_summary_counts_by_application_and_by_reason(network, ok_app, mailru_app):
    network.on("/ok/token", for_tokens("2", invalid_grant, TokenEndpoint()))
    network.on("/mailru/token", out_of_order)
    store_due(ok_app, 3, prefix="1")
    store_due(ok_app, 2, prefix="2")
    store_due(mailru_app, 1)
    code, out, err = refresh()
    *lines, last = out.splitlines()
    assert lines == [
        "ok: 5 due, 3 refreshed, 2 need a login, 0 failed, 0 skipped",
        "    invalid_grant: 2",
        "mailru: 1 due, 0 refreshed, 0 need a login, 1 failed, 0 skipped",
        "    ProviderUnavailable: 1",
    ]
    assert last.endswith(" s")
    assert float(last.removesuffix(" s")) >= 0
    assert err == ""
    assert code == 1


def test_the_document_has_these_keys_and_no_others(well, ok_app, mailru_app):
    store_due(ok_app, 3)
    store_due(mailru_app, 2)
    code, found = document()
    assert code == 0
    assert set(found) == TALLY | {"exit", "applications"}
    assert set(found["applications"]) == {"ok", "mailru"}
    for tally in found["applications"].values():
        assert set(tally) == TALLY | {"problem", "paused_for"}
    counted = {key: found[key] for key in TALLY - {"seconds"}}
    assert counted == {"due": 5, "refreshed": 5, "needs_login": 0, "failed": 0, "skipped": 0}
    assert found["applications"]["ok"]["refreshed"] == 3
    assert all(isinstance(number, int) for number in counted.values())
    assert 0 <= found["applications"]["ok"]["seconds"] <= found["seconds"]


def test_the_totals_are_the_sums_of_the_applications(network, ok_app, other_ok_app, mailru_app):
    network.on("/ok/token", for_tokens("2", invalid_grant, TokenEndpoint()))
    network.on("/mailru/token", answer({}, status=429))
    store_due(ok_app, 3, prefix="1")
    store_due(other_ok_app, 2, prefix="2")
    store_due(mailru_app, 20)
    code, found = document("--workers", "3")
    assert code == 1
    for key in TALLY - {"seconds"}:
        assert found[key] == sum(tally[key] for tally in found["applications"].values())
    for tally in (found, *found["applications"].values()):
        parts = ("refreshed", "needs_login", "failed", "skipped")
        assert tally["due"] == sum(tally[key] for key in parts)


def test_json_is_one_document_and_nothing_else_on_stdout(network, ok_app, capfd):
    """What an operator has to know of besides goes to stderr."""
    network.on("/ok/token", answer({"error": "invalid_client"}, status=401))
    store_due(ok_app, 3)
    code, out, err = refresh("--json")
    assert code == 2
    assert out.count("\n") == 1
    assert json.loads(out)["refreshed"] == 0
    assert err.startswith("ok: stopped: ")
    assert err.count("\n") == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("behaviour", "code", "problem"),
    [
        (TokenEndpoint(), 0, ""),
        (out_of_order, 1, "failures"),
        (answer({}, status=429), 1, "paused"),
        (answer({"error": "invalid_client"}, status=401), 2, "invalid_client"),
    ],
)
def test_the_document_names_exit_code_and_problem(network, ok_app, mailru_app, behaviour, code, problem):
    network.on("/ok/token", behaviour)
    network.on("/mailru/token", TokenEndpoint(rotates=True))
    store_due(ok_app, 3)
    store_due(mailru_app, 2)
    ended, found = document()
    assert (ended, found["exit"]) == (code, code)
    assert {name: tally["problem"] for name, tally in found["applications"].items()} == {
        "ok": problem,
        "mailru": "",
    }


def test_an_outage_is_named_with_its_seconds(network, ok_app):
    network.on("/ok/token", out_of_order)
    store_due(ok_app, 30)
    for _ in range(2):  # the run that notices it, and the next
        code, found = document("--workers", "1")
        tally = found["applications"]["ok"]
        assert (code, tally["problem"], 0 < tally["paused_for"] <= 30) == (1, "outage", True)


def test_a_site_without_applications_gets_an_empty_document(db):
    code, found = document()
    assert code == 0
    assert (found["due"], found["applications"]) == (0, {})


def test_what_is_wrong_is_said_on_stderr_with_the_name_of_the_application(well, ok_app, mailru_app, settings):
    store_due(ok_app, 3)
    store_due(mailru_app, 1)
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    code, out, err = refresh()
    assert code == 2
    assert out.splitlines()[:2] == [
        "ok: 3 due, 0 refreshed, 0 need a login, 0 failed, 3 skipped",
        "mailru: 1 due, 1 refreshed, 0 need a login, 0 failed, 0 skipped",
    ]
    assert err == "ok: unknown provider 'ok'; known: mailru\n"


# --- options ----------------------------------------------------------------------------------------------


def test_names_choose_applications(well, ok_app, other_ok_app, mailru_app):
    for application in (ok_app, other_ok_app, mailru_app):
        store_due(application, 1)
    _, found = document("ok-2", "mailru")
    assert set(found["applications"]) == {"ok-2", "mailru"}
    assert found["refreshed"] == 2


def test_an_unknown_name_is_a_matter_of_configuration(well, ok_app):
    store_due(ok_app, 1)
    before = columns()
    code, out, err = refresh("ok", "okk")
    assert (code, out) == (2, "")
    assert "'okk'" in err
    assert columns() == before


def test_within_limit_and_dry_run_reach_the_run(well, ok_app):
    store_due(ok_app, 4, prefix="1")
    store_due(ok_app, 4, prefix="2", age=-300)
    before = columns()
    assert document("--dry-run")[1]["due"] == 4
    assert document("--dry-run", "--within", "600")[1]["due"] == 8
    assert columns() == before
    assert well.connections == 0

    code, found = document("--within", "600", "--limit", "3")
    assert (code, found["refreshed"], found["skipped"]) == (1, 3, 5)
    code, found = document("--within=600", "--max-time=3000", "--no-progress")
    assert (code, found["due"], found["refreshed"]) == (0, 5, 5)


def test_workers_bound_the_requests_at_once(well, ok_app):
    store_due(ok_app, 20)
    assert document("--workers", "1")[1]["refreshed"] == 20
    assert well.connections == 1


def test_options_may_be_named_by_a_caller(well, ok_app):
    store_due(ok_app, 3)
    code, out, _ = refresh("ok", workers=2, limit=2, json=True)
    assert (code, json.loads(out)["refreshed"]) == (1, 2)


def test_a_mass_revocation_ends_with_3_until_an_operator_accepts_it(network, ok_app):
    network.on("/ok/token", invalid_grant)
    store_due(ok_app, 110)
    code, _, err = refresh("--workers", "2")
    assert code == 3
    assert err == "ok: tokens are refused in masses: see --accept-mass-revocation\n"
    assert UserToken.objects.filter(state="needs_login").count() <= 50
    UserToken.objects.filter(state="active").update(next_refresh_at="2020-01-01T00:00Z")
    code, out, err = refresh("--accept-mass-revocation")
    assert (code, err) == (0, "")
    assert UserToken.objects.filter(state="needs_login").count() == 110


@pytest.mark.parametrize(
    "options",
    [
        ["--within", "-1"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--limit", "0"],
        ["--max-time", "-5"],
        ["--max-time", "0"],
        ["--within"],
        ["--nonsense"],
    ],
)
def test_wrong_options_are_refused_before_anything_happens(well, ok_app, options):
    store_due(ok_app, 1)
    before = columns()
    with pytest.raises(CommandError):
        call_command("refresh_tokens", *options)
    assert well.connections == 0
    assert columns() == before


# --- called by others -------------------------------------------------------------------------------------


class InATestCase(TestCase):
    """A site's own tests may call the command."""

    @pytest.fixture(autouse=True)
    def _network(self, well):
        pass

    @classmethod
    def setUpTestData(cls):
        cls.application = ProviderCredentials.objects.create(
            name="ok", provider="ok", client_id="1", client_secret="ok-client-secret"
        )

    def test_tokens_of_the_test_are_refreshed(self):
        [token] = store_due(self.application, 1)
        assert document()[1]["refreshed"] == 1
        assert row(token).generation == 1

    def test_also_inside_of_its_own_transaction(self):
        with transaction.atomic():
            [token] = store_due(self.application, 1)
            assert document()[1]["refreshed"] == 1
        assert row(token).generation == 1


@pytest.fixture
def write_ahead_log(transactional_db):
    """SQLite as it has to be for refreshes inside of transactions; the other databases are so anyway."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=wal")
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=delete")


@pytest.mark.django_db(transaction=True)
def test_what_was_refreshed_inside_a_transaction_stays_when_that_rolls_back(
    well, write_ahead_log, mailru_app
):
    tokens = store_due(mailru_app, 5)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert document()[1]["refreshed"] == 5
        raise ZeroDivisionError
    for token in tokens:
        assert row(token).refresh_token == f"refresh-{token.uid}-1"


@pytest.mark.only_on("sqlite")  # elsewhere a second connection can write beside any transaction
@pytest.mark.django_db(transaction=True)
def test_where_a_transaction_could_undo_a_refresh_nothing_is_sent(well, mailru_app):
    store_due(mailru_app, 5)
    before = columns()
    with pytest.raises(UnsafeTransaction), transaction.atomic():
        call_command("refresh_tokens")
    assert well.connections == 0
    assert columns() == before


@pytest.mark.django_db(transaction=True)
def test_a_thread_may_call_it(well, ok_app):
    """Where no signal handler can be installed."""
    store_due(ok_app, 3)
    [(code, found)] = together([document])
    assert (code, found["refreshed"]) == (0, 3)


# --- a process --------------------------------------------------------------------------------------------

MANAGE = """
import logging, sys
from django.conf import settings
url, level, *options = sys.argv[1:]
if level:
    logging.basicConfig(level=level)
    settings.DEBUG, settings.LOGGING_CONFIG = True, None
settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK", "tests.fakes.FakeMailRu"]
from tests.fakes import FakeMailRu, FakeOK
for provider in (FakeOK, FakeMailRu):
    provider.token_endpoints = dict.fromkeys(provider.token_endpoints, f"{url}/{provider.id}/token")
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *options])
"""


def command_line(network, *options, logging=""):
    program = [sys.executable, "-W", "error", "-c", MANAGE, network.url, logging]
    return [*program, *(options or ["refresh_tokens"])]


def environment(url=None):
    """That of a process which works on the database of this test, or on another one."""
    name = connection.settings_dict["NAME"]
    server = os.environ.get("DATABASE_URL", "").rpartition("/")[0]
    ours = f"{server}/{name}" if server and connection.vendor != "sqlite" else f"sqlite:///{name}"
    return os.environ | {"DATABASE_URL": url or ours, "DJANGO_SETTINGS_MODULE": "tests.settings"}


def process(network, *options, url=None, **named):
    """Exit code, stdout and stderr of the command in a process of its own."""
    done = subprocess.run(
        command_line(network, "refresh_tokens", *options, **named),
        env=environment(url),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def terminal(size=(24, 80)):
    """What is written to a terminal: file descriptor to write to, and a function that reads it all."""
    mine, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, size)

    def read():
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(mine, 4096):
                text += chunk
        except OSError:  # Linux says the end like this
            pass
        return text.decode()

    try:
        yield theirs, read
    finally:
        os.close(mine)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("behaviour", "number", "code"),
    [
        (TokenEndpoint(), 3, 0),
        (invalid_grant, 3, 0),
        (out_of_order, 3, 1),
        (answer({"error": "invalid_client"}, status=401), 3, 2),
        (invalid_grant, 60, 3),
    ],
)
def test_exit_codes(network, ok_app, behaviour, number, code):
    network.on("/ok/token", behaviour)
    store_due(ok_app, number)
    ended, out, err = process(network, "--json")
    assert ended == code, err
    assert json.loads(out)["due"] == number
    assert "Traceback" not in err
    assert not UserToken.objects.exclude(lease_owner="").exists()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("options", [["okk"], ["--workers", "0"], ["--limit", "some"], ["--nonsense"]])
def test_what_is_wrong_with_the_command_line_ends_with_2(network, ok_app, options):
    code, out, err = process(network, *options)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_settings_that_fail_the_system_checks_end_with_2(well, ok_app, monkeypatch):
    """As any other mistake in the configuration does: trying again will not help."""
    store_due(ok_app, 1)
    monkeypatch.setitem(globals(), "MANAGE", MANAGE.replace('"tests.fakes.FakeOK"', '"tests.fakes.Nobody"'))
    code, out, err = process(well)
    assert (code, out) == (2, "")
    assert "tests.fakes.Nobody" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("migrated", ["nothing", "partly"])
def test_a_database_that_lacks_migrations_ends_with_2(network, tmp_path, migrated):
    url = f"sqlite:///{tmp_path}/new.sqlite3"
    if migrated != "nothing":
        prepare = "from tests.test_refresh_tokens_command import prepare; prepare()"
        shell = ["shell", "--verbosity=0", "-c", prepare]
        subprocess.run(command_line(network, *shell), env=environment(url), check=True, timeout=PATIENCE)
    code, out, err = process(network, url=url)
    assert (code, out) == (2, "")
    assert "manage.py migrate" in err
    assert "Traceback" not in err


def prepare():
    """A due token in a database that lacks what a later migration will add."""
    call_command("migrate", verbosity=0)
    application = ProviderCredentials.objects.create(
        name="ok", provider="ok", client_id="1", client_secret="ok-client-secret"
    )
    store_due(application, 1)
    with connection.schema_editor() as editor:
        editor.delete_model(ApplicationHealth)
    MigrationRecorder(connection).record_unapplied("socialgrants", "0001_initial")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:////nowhere/at/all.sqlite3", "sqlite3"),
        ("postgres://operator:the-database-password@127.0.0.1:1/site", "psycopg"),
        ("mysql://operator:the-database-password@127.0.0.1:1/site", "MySQLdb"),
    ],
)
def test_a_database_that_is_away_ends_with_1(network, url, driver):
    pytest.importorskip(driver)
    code, out, err = process(network, url=url)
    assert (code, out) == (1, "")
    assert "OperationalError" in err
    assert "the-database-password" not in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("options", "shown"), [([], True), (["--json"], True), (["--no-progress"], False)], ids=str
)
def test_a_terminal_shows_a_progress_bar_unless_it_is_unwanted(well, ok_app, options, shown):
    store_due(ok_app, 7)
    with terminal() as (descriptor, read):
        done = subprocess.run(
            command_line(well, "refresh_tokens", *options),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=descriptor,
            text=True,
            timeout=PATIENCE,
        )
        bar = read()
    assert done.returncode == 0, bar
    assert ("7/7" in bar) == shown
    assert "7/7" not in done.stdout
    if "--json" in options:
        assert json.loads(done.stdout)["refreshed"] == 7


def shown_on(size, well, *options):
    """What a terminal of that size is shown."""
    with terminal(size) as (descriptor, read):
        subprocess.run(
            command_line(well, "refresh_tokens", *options),
            env=environment() | {"COLUMNS": "", "LINES": ""},
            stdout=subprocess.PIPE,
            stderr=descriptor,
            timeout=PATIENCE,
        )
        return read()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", [(24, 80), (0, 0)], ids=["wide", "without width"])
def test_the_bar_has_a_label_and_ends_at_the_limit(well, ok_app, size):
    store_due(ok_app, 7)
    bar = shown_on(size, well, "--limit", "3")
    first, *_ = bar.split("\r")[1:]
    assert first.startswith("Refreshing tokens:   0%|")
    assert "| 0/3 [" in first
    assert "| 3/3 [" in bar
    assert len(first.rstrip()) <= 80


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_shows_no_progress(well, ok_app):
    store_due(ok_app, 7)
    assert shown_on((24, 80), well, "--dry-run") == ""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_file_or_a_pipe_gets_no_progress_bar(well, ok_app):
    store_due(ok_app, 7)
    code, out, err = process(well)
    assert (code, err) == (0, "")
    assert out.startswith("ok: 7 due, 7 refreshed")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_no_output_holds_a_secret_however_much_is_asked_for(network, ok_app, mailru_app):
    """Networks that quote what they were sent, and logs at DEBUG with every query."""
    sent = []

    def quote(call):
        sent.extend(call.params.values())
        body = {"error": "invalid_request", "error_description": " ".join(call.params.values())}
        answer(body, status=400)(call)

    network.on("/ok/token", for_tokens("1", TokenEndpoint(), for_tokens("2", invalid_grant, quote)))
    network.on("/mailru/token", answer(b"refresh-4000000-0 mailru-secret-key", content_type="text/html"))
    for prefix in "123":
        store_due(ok_app, 2, prefix=prefix, session_secret="the-session-secret")
    store_due(mailru_app, 1)
    code, out, err = process(network, "--traceback", "-v", "3", logging="DEBUG")
    assert code == 1
    assert "urllib3" in err  # it was at DEBUG
    assert "UPDATE" in err
    secrets = [*SECRETS, "access-", "refresh-1", "refresh-2", "refresh-3", "refresh-4", "the-session-secret"]
    assert any("refresh-3" in value for value in sent)
    assert [secret for secret in secrets if secret in out + err] == []
