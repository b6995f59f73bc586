"""manage.py password_grant: an operator types somebody's password, and the token is stored for a user."""

import getpass
import io
import json
import logging
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path
from select import select
from time import monotonic

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections
from django.utils import timezone, translation

from django_socialgrants.exceptions import SocialGrantsError
from django_socialgrants.flows.password import MET, SAID
from django_socialgrants.management.commands.password_grant import Command
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.registry import providers
from tests.conftest import MAILRU_UID, OK_UID, mailru_profile, mailru_token, ok_profile
from tests.fakes import FakeMailRu, FakeOK
from tests.journey import SECRETS, token_of
from tests.network import answer
from tests.test_transport import told_by

THIS = "tests.test_password_grant"
PASSWORD = "correct horse Ёж & 1+1=2%"
LOGIN = json.loads((Path(__file__).parent / "samples/ok_login.json").read_text())
GRANTED = {
    "ok": ("ok", "ivan", OK_UID, LOGIN["session_key"]),
    "mailru": ("mailru", "ivan@mail.example", MAILRU_UID, "mailru-access-token-1"),
}
every_network = pytest.mark.parametrize(
    ("name", "username", "uid", "access_token"), GRANTED.values(), ids=GRANTED
)
PATIENCE = 60
"""Seconds until a process that does not end is a failure."""


@pytest.fixture(autouse=True)
def applications(network, ok_app, mailru_app):
    """OK answers auth.login at the address of its REST API, as any other method."""

    def api(call):
        answer(LOGIN if call.params["method"] == "auth.login" else ok_profile())(call)

    FakeOK.token_endpoints["password"] = FakeOK.api_endpoint
    network.on("/ok/api", api)


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna", email="anna@example.com", password="x")


@pytest.fixture
def typed(monkeypatch):
    """What is typed at the prompt, and what it was asked with."""
    prompts = []

    def prompt(text):
        prompts.append(text)
        return PASSWORD

    monkeypatch.setattr(getpass, "getpass", prompt)
    return prompts


def grant(*arguments):
    """stdout and stderr of the command."""
    out, err = io.StringIO(), io.StringIO()
    call_command("password_grant", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def world():
    return [
        list(model.objects.order_by("pk").values_list()) for model in (User, UserToken, ProviderCredentials)
    ]


def refused(status, words, *arguments):
    """The error of a command that changes nothing."""
    before = world()
    out = io.StringIO()
    with pytest.raises(CommandError, match=words) as caught:
        call_command("password_grant", *arguments, stdout=out, stderr=io.StringIO())
    assert caught.value.returncode == status
    assert out.getvalue() == ""
    assert world() == before
    assert [text for text in told_by(caught.value) if PASSWORD in text] == []
    return caught.value


# --- a token is granted ----------------------------------------------------------------------------------


@every_network
def test_a_password_becomes_a_stored_token(network, anna, typed, name, username, uid, access_token):
    before = timezone.now()
    out, _ = grant(name, username, "--user", "anna")
    row = UserToken.objects.get()
    assert (row.user, row.credentials.name, row.uid) == (anna, name, uid)
    assert (row.grant_type, row.state) == ("password", "active")
    assert row.access_token == access_token
    life = timedelta(seconds={"ok": 1800, "mailru": 86400}[name])
    assert before + life <= row.expires_at <= timezone.now() + life
    assert out == f"uid {uid}, expires {row.expires_at:%Y-%m-%dT%H:%M:%S%z}\n"


def test_the_expiry_is_one_that_scripts_can_read(anna, typed):
    out, _ = grant("mailru", "ivan@mail.example", "--user", "anna")
    expires = datetime.fromisoformat(out.split()[-1])
    assert expires == UserToken.objects.get().expires_at.astimezone(UTC).replace(microsecond=0)


def test_ok_gives_a_session_secret_and_no_refresh_token(anna, typed):
    grant("ok", "ivan", "--user", "anna")
    row = UserToken.objects.get()
    assert row.session_secret == LOGIN["session_secret_key"]
    assert not row.refresh_token
    assert row.next_refresh_at is None
    assert row.profile["name"] == "Иван Петров"


def test_mailru_gives_a_refresh_token(anna, typed):
    grant("mailru", "ivan@mail.example", "--user", "anna")
    row = UserToken.objects.get()
    assert row.refresh_token == "mailru-refresh-token-1"
    assert row.next_refresh_at < row.expires_at


def test_ok_is_sent_the_password_in_the_body_of_a_post(network, anna, typed):
    grant("ok", "ivan", "--user", "anna")
    login, profile = network.calls
    assert (login.method, login.path) == ("POST", "/ok/api")
    assert login.params == {
        "method": "auth.login",
        "application_key": "CGEXAMPLEKEYBABABA",
        "user_name": "ivan",
        "password": PASSWORD,
        "verification_supported": "1",
        "verification_supported_v": "1",
        "format": "json",
    }
    assert (profile.method, profile.path) == ("POST", "/ok/api")
    assert profile.params["method"] == "users.getCurrentUser"
    assert profile.params["access_token"] == LOGIN["session_key"]
    assert "password" not in profile.params


def test_mailru_is_sent_the_password_in_the_body_of_a_post(network, anna, typed):
    grant("mailru", "ivan@mail.example", "--user", "anna")
    [login] = network.calls_to("/mailru/token")
    assert login.method == "POST"
    assert login.params == {
        "grant_type": "password",
        "client_id": "423004",
        "client_secret": "mailru-secret-key",
        "username": "ivan@mail.example",
        "password": PASSWORD,
        "scope": "photos stream",
    }
    [profile] = network.calls_to("/mailru/api")
    assert (profile.params["method"], profile.params["secure"]) == ("users.getInfo", "1")
    assert len(network.calls) == 2


class Native(FakeMailRu):
    """An application whose password grant wants the private key."""

    client_secret_from = {"password": "client_key"}


def test_a_site_can_say_that_mailru_wants_the_private_key(network, anna, typed, settings):
    settings.SOCIALGRANTS_PROVIDERS = [f"{THIS}.Native"]
    grant("mailru", "ivan@mail.example", "--user", "anna")
    assert network.calls[0].params["client_secret"] == "mailru-private-key"
    assert UserToken.objects.exists()


def test_the_scope_that_is_asked_for_is_the_one_that_is_stored(network, anna, typed):
    grant("mailru", "ivan@mail.example", "--user", "anna", "--scope", "events")
    assert network.calls[0].params["scope"] == "events"
    assert UserToken.objects.get().scope == "events"


def test_a_scope_that_the_network_names_wins(network, anna, typed):
    network.on("/mailru/token", answer(mailru_token(scope="photos")))
    grant("mailru", "ivan@mail.example", "--user", "anna", "--scope", "photos events")
    assert UserToken.objects.get().scope == "photos"


def test_the_same_account_gets_the_new_token_and_keeps_its_refresh_token(anna, ok_app, typed):
    row = token_of(
        anna,
        ok_app,
        uid=OK_UID,
        refresh_token="refresh-before",
        session_secret="session-before",
        state="needs_login",
        reason="invalid_grant",
        failures=3,
    )
    grant("ok", "ivan", "--user", "anna")
    row = UserToken.objects.get(pk=row.pk)
    assert (row.grant_type, row.state, row.reason, row.failures) == ("password", "active", "", 0)
    assert row.access_token == LOGIN["session_key"]
    assert row.session_secret == LOGIN["session_secret_key"]
    assert row.refresh_token == "refresh-before"
    assert row.generation == 1
    assert row.next_refresh_at is not None


def test_a_second_account_of_the_same_user_is_a_second_token(anna, ok_app, typed):
    token_of(anna, ok_app, uid="777")
    grant("ok", "ivan", "--user", "anna")
    assert set(UserToken.objects.values_list("uid", flat=True)) == {"777", OK_UID}


# --- where the password comes from -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}\r\n", f"{PASSWORD}\nsecond line\n"], ids=ascii
)
def test_the_first_line_of_stdin_is_the_password(network, anna, monkeypatch, line):
    monkeypatch.setattr(sys, "stdin", io.StringIO(line, newline=""))
    grant("ok", "ivan", "--user", "anna", "--password-stdin")
    assert network.calls[0].params["password"] == PASSWORD


@pytest.mark.parametrize("password", [" ", "  padded  ", "'quoted'"])
def test_the_password_is_taken_as_it_is(network, anna, monkeypatch, password):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
    grant("ok", "ivan", "--user", "anna", "--password-stdin")
    assert network.calls[0].params["password"] == password


def test_without_that_option_nobody_reads_stdin(anna, typed, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    grant("ok", "ivan", "--user", "anna")
    assert typed == ["Password: "]


@pytest.mark.parametrize("stdin", ["", "\n", "\r\n", f"\n{PASSWORD}"])
def test_an_empty_password_is_not_sent(network, anna, monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin, newline=""))
    refused(2, "The password is empty", "ok", "ivan", "--user", "anna", "--password-stdin")
    assert network.calls == []


def test_nothing_typed_is_an_empty_password(network, anna, monkeypatch):
    def end_of_file(prompt):
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", end_of_file)
    refused(2, "The password is empty", "ok", "ivan", "--user", "anna")
    assert network.calls == []


def test_who_thinks_better_of_it_has_sent_nothing(network, anna, monkeypatch):
    def interrupt(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr(getpass, "getpass", interrupt)
    refused(130, "Cancelled", "ok", "ivan", "--user", "anna")
    assert network.calls == []


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_bytes_that_are_no_text_are_not_sent(network, anna, monkeypatch, errors):
    raw = io.BytesIO(PASSWORD.encode() + b"\xff\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw, encoding="utf-8", errors=errors))
    error = refused(2, "not valid text", "ok", "ivan", "--user", "anna", "--password-stdin")
    assert error.__context__ is None
    assert network.calls == []


@pytest.mark.parametrize("option", ["--password", "--password=x", "--pass", "--password-stdin=x", "-p"])
def test_there_is_no_option_for_the_password(network, anna, typed, option):
    with pytest.raises(CommandError):
        grant("ok", "ivan", "--user", "anna", option)
    assert (network.calls, typed) == ([], [])


# --- what is said ----------------------------------------------------------------------------------------


@every_network
def test_a_warning_comes_before_anything_else(network, anna, monkeypatch, name, username, uid, access_token):
    err = io.StringIO()

    def prompt(text):
        assert "RFC 9700" in err.getvalue()
        assert network.calls == []
        return PASSWORD

    monkeypatch.setattr(getpass, "getpass", prompt)
    call_command("password_grant", name, username, "--user", "anna", stdout=io.StringIO(), stderr=err)
    assert "Mail.Ru" in err.getvalue()


def test_the_warning_comes_also_before_a_refusal(db):
    err = io.StringIO()
    with pytest.raises(CommandError):
        call_command("password_grant", "nothing", "ivan", "--user", "anna", stderr=err)
    assert "RFC 9700" in err.getvalue()


def test_data_and_talk_go_separate_ways(anna, typed):
    out, err = grant("ok", "ivan", "--user", "anna")
    assert out.count("\n") == 1
    assert out.startswith("uid ")
    assert "uid" not in err


def test_data_is_the_same_in_every_language(anna, typed):
    with translation.override("ru"):
        out, _ = grant("ok", "ivan", "--user", "anna")
    assert out.startswith(f"uid {OK_UID}, expires ")


def test_the_commands_of_the_readme_are_understood():
    readme = (Path(__file__).parents[1] / "README.rst").read_text()
    examples = re.findall(r"manage\.py password_grant (.+)", readme)
    assert len(examples) >= 2
    for example in examples:
        parsed = Command().create_parser("manage.py", "password_grant").parse_args(shlex.split(example))
        assert (parsed.name, parsed.user) == ("ok", "bot")


# --- refused before anybody is asked ---------------------------------------------------------------------


def refused_unasked(network, typed, words, *arguments, status=2):
    error = refused(status, words, *arguments)
    assert (network.calls, typed) == ([], [])
    return error


def test_an_unknown_application_is_refused(network, anna, typed):
    refused_unasked(network, typed, "no credentials of this name.*'okk'", "okk", "ivan", "--user", "anna")


@pytest.mark.parametrize("user", ["boris", "anna@example.com", "ann"])
def test_an_unknown_user_is_refused(network, anna, typed, user):
    refused_unasked(network, typed, f"no such user.*{user}", "ok", "ivan", "--user", user)


def test_an_inactive_user_is_refused(network, anna, typed):
    User.objects.update(is_active=False)
    refused_unasked(network, typed, "not active.*anna", "ok", "ivan", "--user", "anna")


def test_a_network_that_this_site_has_left_is_refused(network, anna, typed, settings):
    settings.SOCIALGRANTS_PROVIDERS = [f"{THIS}.Native"]
    refused_unasked(network, typed, "not in SOCIALGRANTS_PROVIDERS", "ok", "ivan", "--user", "anna")


def test_a_provider_that_can_not_be_loaded_is_refused(network, anna, typed, settings):
    settings.SOCIALGRANTS_PROVIDERS = ["nowhere.OK"]
    refused_unasked(network, typed, "settings are wrong.*nowhere", "ok", "ivan", "--user", "anna")


@pytest.mark.parametrize(("name", "provider"), [("ok", FakeOK), ("mailru", FakeMailRu)])
def test_a_network_without_this_grant_is_refused(network, anna, typed, monkeypatch, name, provider):
    monkeypatch.setattr(provider, "token_endpoints", {"authorization_code": network.url})
    refused_unasked(network, typed, "does not offer the password grant", name, "ivan", "--user", "anna")


@pytest.mark.parametrize(
    ("name", "field", "called"),
    [
        ("ok", "client_key", "application_key"),
        ("ok", "client_secret", "client_secret"),
        ("mailru", "client_secret", "client_secret"),
        ("mailru", "client_id", "client_id"),
    ],
)
def test_incomplete_credentials_are_refused(network, anna, typed, name, field, called):
    row = ProviderCredentials.objects.get(name=name)
    setattr(row, field, "")
    row.save()
    refused_unasked(network, typed, rf"incomplete. \({called}\)", name, "ivan", "--user", "anna")


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_a_lost_encryption_key_is_said_by_its_fingerprint(network, anna, typed, settings, name):
    settings.SECRET_KEY = "another-secret-key-that-is-long-enough-as-well"
    refused_unasked(
        network, typed, "key [0-9a-f]{8}, which is not configured", name, "ivan", "--user", "anna"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ok"],
        ["ok", "ivan"],
        ["ok", "ivan", "anna"],
        ["ok", "", "--user", "anna"],
        ["ok", "ivan", "--user", ""],
        ["ok", "iv\udcffan", "--user", "anna"],
    ],
)
def test_wrong_usage_is_refused(network, anna, typed, arguments):
    with pytest.raises(CommandError):
        grant(*arguments)
    assert (network.calls, typed) == ([], [])


# --- refused by the network ------------------------------------------------------------------------------


def says_no(network, name, data, status=200):
    """Let the network refuse the password."""
    network.on({"ok": "/ok/api", "mailru": "/mailru/token"}[name], answer(data, status=status))


def refused_by_network(network, name, status, words):
    error = refused(status, words, name, "ivan", "--user", "anna")
    assert len(network.calls) == 1
    return error


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (401, 1, "User name or password is wrong, or the account is blocked"),
        (402, 1, "captcha. Log in through a browser first; do not try again at once"),
        (403, 1, "doubts this login. Log in through a browser first; do not try again at once"),
        (2002, 1, "has blocked this account"),
        (2004, 1, "account at the network was deleted"),
        (10, 2, "moderators have not enabled this grant"),
        (101, 2, "Check its client id, client secret and client key"),
        (104, 2, "Check its client id, client secret and client key"),
        (900, 2, "Check its client id, client secret and client key"),
        (8, 1, "Try again later"),
        (2, 1, "Try again later"),
        (9999, 1, "Try again later"),
        (9, 1, "The network refused"),
        (100, 1, "The network refused"),
        (77777, 1, "The network refused"),
    ],
)
def test_ok_says_no_and_an_operator_reads_what_it_means(network, anna, typed, code, status, words):
    says_no(network, "ok", {"error_code": code, "error_msg": "SOME_NAME : some text", "error_data": None})
    error = refused_by_network(network, "ok", status, words)
    assert str(code) in str(error)
    assert "SOME_NAME : some text" in str(error)


@pytest.mark.parametrize("http", [200, 400, 401])
@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ("invalid_grant", 1, "User name or password is wrong"),
        ("invalid_client", 2, "moderators have enabled this grant"),
        ("unauthorized_client", 2, "moderators have not enabled this grant"),
        ("unsupported_grant_type", 2, "does not offer the password grant"),
        ("invalid_scope", 2, "does not know this scope"),
        ("invalid_request", 1, "The network refused"),
        ("unknown_user", 1, "The network refused"),
    ],
)
def test_mailru_says_no_and_an_operator_reads_what_it_means(network, anna, typed, http, said, status, words):
    says_no(network, "mailru", {"error": said, "error_description": "some text"}, http)
    assert f"({said}: some text)" in str(refused_by_network(network, "mailru", status, words))


@pytest.mark.parametrize("name", ["ok", "mailru"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_network_out_of_order_is_to_be_tried_later(network, anna, typed, name, status):
    says_no(network, name, b"<h1>Oops</h1>", status)
    refused_by_network(network, name, 1, f"Try again later.*HTTP {status}")


@pytest.mark.parametrize("name", ["ok", "mailru"])
def test_a_network_that_says_nothing_is_to_be_tried_later(network, anna, typed, settings, name):
    settings.SOCIALGRANTS_TIMEOUT = 0.3
    network.on({"ok": "/ok/api", "mailru": "/mailru/token"}[name], lambda call: call.hang())
    refused_by_network(network, name, 1, "Try again later.*no answer in time")


@pytest.mark.parametrize("name", ["ok", "mailru"])
@pytest.mark.parametrize("data", [b"<html>", [], {}, {"access_token": 7}, {"session_key": ""}])
def test_nonsense_is_no_token(network, anna, typed, name, data):
    says_no(network, name, data)
    refused_by_network(network, name, 1, "answered something unexpected")


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_password_follows_no_redirect(network, anna, typed, status):
    network.on("/mailru/token", answer({}, status=status, headers={"Location": f"{network.url}/elsewhere"}))
    refused_by_network(network, "mailru", 1, "answered something unexpected")


# --- whose token it is -----------------------------------------------------------------------------------


def test_token_and_profile_must_name_the_same_account(network, anna, typed):
    network.on("/mailru/api", answer([mailru_profile(uid="1")]))
    refused(1, "name different users", "mailru", "ivan", "--user", "anna")


def test_the_word_of_the_token_answer_is_not_enough(network, anna, typed):
    network.on("/mailru/api", answer({"error": {"error_code": 104, "error_msg": "wrong signature"}}))
    refused(2, "Check its client id, client secret", "mailru", "ivan", "--user", "anna")
    network.on("/mailru/api", answer({"error": {"error_code": 102, "error_msg": "authorization failed"}}))
    refused(1, "The network refused.*users.getInfo failed", "mailru", "ivan", "--user", "anna")


def test_what_a_code_means_for_a_password_it_does_not_mean_for_a_profile(network, anna, typed):
    def api(call):
        login = call.params["method"] == "auth.login"
        answer(LOGIN if login else {"error_code": 10, "error_msg": "PERMISSION_DENIED"})(call)

    network.on("/ok/api", api)
    refused(1, "The network refused.*users.getCurrentUser failed", "ok", "ivan", "--user", "anna")


@every_network
def test_an_account_of_somebody_else_is_not_taken(anna, typed, name, username, uid, access_token):
    boris = User.objects.create_user("boris", password="x")
    row = token_of(boris, ProviderCredentials.objects.get(name=name), uid=uid, refresh_token="refresh-before")
    refused(1, "already connected to somebody else", name, username, "--user", "anna")
    row = UserToken.objects.get()
    assert (row.user, row.access_token.reveal()) == (boris, "token-before")


@pytest.mark.parametrize("connected", [False, True])
def test_a_user_who_is_deactivated_while_the_password_is_typed_gets_nothing(
    network, anna, ok_app, monkeypatch, connected
):
    def prompt(text):
        User.objects.update(is_active=False)
        return PASSWORD

    if connected:
        token_of(anna, ok_app, uid=OK_UID)
    monkeypatch.setattr(getpass, "getpass", prompt)
    with pytest.raises(CommandError, match="not active") as caught:
        grant("ok", "ivan", "--user", "anna")
    assert caught.value.returncode == 2
    assert not UserToken.objects.filter(grant_type="password").exists()


def test_a_database_that_is_too_busy_is_to_be_tried_again(network, anna, typed, monkeypatch):
    def save(self, **kwargs):
        raise IntegrityError("somebody else was faster")

    monkeypatch.setattr(UserToken, "save", save)
    refused(1, "Too much is happening at once.*IntegrityError", "ok", "ivan", "--user", "anna")


# --- secrets ---------------------------------------------------------------------------------------------


def quoting(call):
    """A refusal that quotes all that was sent."""
    said = " ".join(call.params.values())
    code = {"error_code": 401, "error_msg": said, "error_data": said}
    answer(code if "auth.login" in said else {"error": "invalid_grant", "error_description": said})(call)


@every_network
@pytest.mark.parametrize("refuses", [False, True])
def test_neither_output_nor_logs_nor_rows_hold_a_secret(
    network, anna, typed, caplog, monkeypatch, name, username, uid, access_token, refuses
):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "django")
    monkeypatch.setattr(connections["default"], "force_debug_cursor", True)  # logs every query
    if refuses:
        network.on("/ok/api", quoting)
        network.on("/mailru/token", quoting)
        found = list(told_by(refused(1, "is wrong.*\\*\\*\\*", name, username, "--user", "anna")))
    else:
        found = list(grant(name, username, "--user", "anna"))
    found += [call.path for call in network.calls]
    found += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    with connection.cursor() as cursor:
        for table in ("socialgrants_usertoken", "socialgrants_providercredentials", "auth_user"):
            cursor.execute(f"SELECT * FROM {table}")
            found += [str(row) for row in cursor.fetchall()]
    assert {"urllib3.connectionpool", "django.db.backends"} <= {record.name for record in caplog.records}
    session = [LOGIN[key] for key in ("session_key", "session_secret_key", "auth_token")]
    secrets = {PASSWORD, access_token, *SECRETS, *session}
    assert [(secret, text) for secret in secrets for text in found if secret in text] == []


# --- as a process ----------------------------------------------------------------------------------------

PROGRAM = f"""
import sys
import django
django.setup()
from django.core.management import execute_from_command_line
from {THIS} import join
join(*sys.argv[1:3])
execute_from_command_line(["manage.py", "password_grant", *sys.argv[3:]])
"""


def join(database, url):
    """In a process of its own: the database and the networks of the test."""
    if sys.stdin.isatty():
        os.open(os.ttyname(0), os.O_RDWR)  # the first one that a session opens becomes its /dev/tty
    connection.settings_dict["NAME"] = database
    site_settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK", "tests.fakes.FakeMailRu"]
    FakeOK.api_endpoint, FakeMailRu.api_endpoint = f"{url}/ok/api", f"{url}/mailru/api"
    FakeOK.token_endpoints = {"password": f"{url}/ok/api"}
    FakeMailRu.token_endpoints = {"password": f"{url}/mailru/token"}


@pytest.fixture
def command(network, transactional_db):
    """The command line of `manage.py password_grant`; warnings of Python are errors."""
    where = [str(connection.settings_dict["NAME"]), network.url]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}

    def run(*arguments, **options):
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, *where, *arguments],
            cwd=Path(__file__).parents[1],
            env=environment,
            start_new_session=True,  # without a terminal, wherever the tests run
            **options,
        )

    return run


def piped(command, stdin, *arguments):
    """Exit status, stdout and stderr of a process that has no terminal."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = command(*arguments, **pipes)
    try:
        out, err = process.communicate(stdin, timeout=PATIENCE)
    finally:
        process.kill()
    assert PASSWORD not in out + err
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.slow
def test_a_password_can_be_piped_in(command, anna):
    status, out, err = piped(command, f"{PASSWORD}\n", "ok", "ivan", "--user", "anna", "--password-stdin")
    assert (status, UserToken.objects.get().user) == (0, anna)
    assert out.startswith(f"uid {OK_UID}, expires 20")
    assert err.startswith("RFC 9700")


@pytest.mark.slow
def test_without_a_terminal_the_other_way_is_named(command, network, anna):
    status, out, err = piped(command, f"{PASSWORD}\n", "ok", "ivan", "--user", "anna")
    assert (status, out) == (2, "")
    assert "--password-stdin" in err
    assert network.calls == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (2, ["ok", "ivan"]),
        (2, ["okk", "ivan", "--user", "anna"]),
        (1, ["mailru", "ivan", "--user", "anna"]),
    ],
)
def test_the_exit_status_tells_usage_and_configuration_from_the_rest(
    command, network, anna, status, arguments
):
    network.on("/mailru/token", answer({"error": "invalid_grant"}, status=400))
    code, out, err = piped(command, f"{PASSWORD}\n", *arguments, "--password-stdin")
    assert (code, out) == (status, "")
    assert err


class Terminal:
    """A terminal with a process in it: all that is to be seen on it ends up in `screen`."""

    def __init__(self, command, *arguments):
        self.screen = ""
        self._ours, theirs = pty.openpty()
        self.process = command(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        self._theirs = theirs  # kept open, so that what was written last is not lost with the process

    def wait_for(self, text):
        """Read on until `text` is on the screen."""
        end = monotonic() + PATIENCE
        while text not in self.screen:
            assert select([self._ours], [], [], end - monotonic())[0], self.screen
            self.screen += os.read(self._ours, 4096).decode()

    def echoes(self):
        return bool(termios.tcgetattr(self._theirs)[3] & termios.ECHO)

    def type(self, text):
        os.write(self._ours, text.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(command):
    terminals = []

    def run(*arguments):
        terminals.append(Terminal(command, *arguments))
        return terminals[-1]

    yield run
    for one in terminals:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--password-stdin"]])
def test_a_password_is_typed_without_echo(terminal, network, anna, options):
    shown = terminal("ok", "ivan", "--user", "anna", *options)
    shown.wait_for("Password: ")
    assert "RFC 9700" in shown.screen
    assert not shown.echoes()
    shown.type(f"{PASSWORD}\n")
    shown.wait_for("expires 20")
    assert shown.process.wait(PATIENCE) == 0
    assert network.calls[0].params["password"] == PASSWORD
    assert "horse" not in shown.screen
    assert shown.echoes()
    assert UserToken.objects.get().uid == OK_UID


@pytest.mark.slow
def test_ctrl_c_at_the_prompt_gives_the_terminal_back(terminal, network, anna):
    shown = terminal("ok", "ivan", "--user", "anna")
    shown.wait_for("Password: ")
    shown.type("half of it\x03")
    shown.wait_for("Cancelled")
    assert shown.process.wait(PATIENCE) == 130
    assert "half" not in shown.screen
    assert "Traceback" not in shown.screen
    assert shown.echoes()
    assert network.calls == []


# --- the tables ------------------------------------------------------------------------------------------


def test_every_word_of_a_network_is_one_that_is_understood():
    for provider in providers().values():
        assert set(provider.password_errors.values()) <= SAID.keys()
        assert all(isinstance(said, str) for said in provider.password_errors)


def test_every_error_of_this_package_has_a_sentence_of_its_own_or_the_last_one():
    met = list(MET)
    assert met[-1] is SocialGrantsError
    for number, kind in enumerate(met):
        assert not any(issubclass(kind, earlier) for earlier in met[:number])


def test_a_status_is_1_or_2():
    assert {status for status, _ in [*SAID.values(), *MET.values()]} == {1, 2}
