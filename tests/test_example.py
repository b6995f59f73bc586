"""The example project: one command and the whole journey works; the environment makes it a real site."""

import html
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MANAGE = "example_project/manage.py"
PATIENCE = 30
"""Seconds until a server that does not start, or does not end, is a failure."""

TITLES = {"ok": "OK", "mailru": "Mail.Ru", "vkid": "VK ID"}
WAYS = {"vkid": "VK ID", "ok_ru": "OK", "mail_ru": "Mail.Ru"}
PEOPLE = {
    "ok": ("999000000202", "Тимофей Небылицын"),
    "mailru": ("18446744073709551602", "Ефрем Выдумкин"),
    "vkid": ("1000000202", "Игнат Небывальцев"),
}
SIGNED_CALLS = {"ok": "users.getCurrentUser", "mailru": "users.getInfo", "vkid": "users.get"}
SETTINGS = {
    "SANDBOX": "False",
    "OK_CLIENT_ID": "512000000000",
    "OK_CLIENT_SECRET": "ok-client-secret",
    "OK_CLIENT_KEY": "CGEXAMPLEKEYBABABA",
    "MAILRU_CLIENT_ID": "423004",
    "MAILRU_CLIENT_SECRET": "mailru-secret-key",
    "MAILRU_CLIENT_KEY": "mailru-private-key",
    "VKID_CLIENT_ID": "51000001",
}
"""What `.env.example` asks for, for the real networks."""


@dataclass(frozen=True)
class Example:
    """A copy of the project, so that neither a developer's `.env` nor their database has a part in it."""

    folder: Path

    @property
    def database(self):
        return self.folder / "example.sqlite3"

    def environment(self, variables):
        return {"DATABASE_URL": f"sqlite:///{self.database}", "PYTHONPATH": str(ROOT)} | variables

    def manage(self, *arguments, **variables):
        """A command of manage.py and what it said. Warnings of Python are errors."""
        return subprocess.run(
            [sys.executable, "-W", "error", MANAGE, *arguments],
            cwd=self.folder,
            env=self.environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )

    @contextmanager
    def demo(self, **variables):
        """Where `manage.py demo` serves; Ctrl-C ends it in good order."""
        port = unused_port()
        with open(self.folder / "demo.log", "w+") as log:
            server = subprocess.Popen(
                [sys.executable, MANAGE, "demo", str(port)],
                cwd=self.folder,
                env=self.environment(variables),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                wait_for(server, port)
                yield f"http://127.0.0.1:{port}"
                server.send_signal(signal.SIGINT)
                assert server.wait(PATIENCE) == 0
            finally:
                server.kill()
                server.wait()
                log.seek(0)
                print(log.read())

    def secrets(self):
        """Every value in the database by which the networks know an application or a grant."""
        application = "socialgrants_sandbox_application"
        columns = [f"client_secret FROM {application}", f"client_key FROM {application}"]
        columns += [
            f"value FROM socialgrants_sandbox_{kind}" for kind in ("accesstoken", "refreshtoken", "code")
        ]
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute(" UNION ".join(f"SELECT {column}" for column in columns))
            return [value for (value,) in rows]


@dataclass
class Visitor:
    """Somebody with cookies, who can press buttons. Reads English, as no language is asked for."""

    session: requests.Session = field(default_factory=requests.Session)
    read: list[str] = field(default_factory=list)
    """The text of every page so far."""

    def visit(self, url):
        return self._note(self.session.get(url, timeout=PATIENCE))

    def press(self, page, label, kind="", **fields):
        """Buttons of one label differ in their class: the network's id, or the way in."""
        return self._note(self._submit(page, label, kind, fields))

    def location(self, page, label, kind=""):
        """Where a button would lead."""
        return self._submit(page, label, kind, {}, allow_redirects=False).headers["Location"]

    def _submit(self, page, label, kind, fields, **options):
        (form,) = [
            form
            for form in re.findall(r"<form.*?</form>", page.text, re.S)
            if f">{label}</button>" in form and (not kind or f'button--{kind}"' in form)
        ]
        action = re.search(r'<form[^>]* action="([^"]*)"', form)
        url = urljoin(page.url, html.unescape(action[1])) if action else page.url
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
        return self.session.post(url, dict(hidden) | fields, timeout=PATIENCE, **options)

    def _note(self, page):
        assert page.status_code == 200, page.text
        self.read.append(page.text)
        return page


def unused_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(server, port):
    deadline = monotonic() + PATIENCE
    while server.poll() is None and monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.05)
    pytest.fail("the example does not serve")


@pytest.fixture(scope="module")
def make_example(tmp_path_factory):
    """A new copy of the example, without what a developer may have left in it."""

    def make():
        folder = tmp_path_factory.mktemp("example")
        leftovers = shutil.ignore_patterns(".env", "*.sqlite3*", "__pycache__")
        shutil.copytree(ROOT / "example_project", folder / "example_project", ignore=leftovers)
        return Example(folder)

    return make


@pytest.fixture
def example(make_example):
    return make_example()


@pytest.fixture(scope="module")
def served(make_example):
    example = make_example()
    with example.demo() as url:
        yield example, url


@pytest.fixture(scope="module")
def real(make_example):
    with make_example().demo(**SETTINGS) as url:
        yield url


def log_in(url, network):
    """A visitor who has just logged in, and the page where they are."""
    visitor = Visitor()
    home = visitor.visit(f"{url}/")
    assert all(f">Login with {title}</button>" in home.text for title in TITLES.values())
    dialog = visitor.press(home, f"Login with {TITLES[network]}", network)
    return visitor, visitor.press(dialog, "Allow", person=PEOPLE[network][0], decision="allow")


def username(page):
    return re.search(r"<code>(\w+)</code>", page.text)[1]


def test_the_first_command_of_the_readme_is_the_one_that_is_tested_here():
    readme = (ROOT / "README.rst").read_text()
    assert f"python {MANAGE} demo\n" in readme


@pytest.mark.parametrize("network", TITLES)
def test_a_visitor_logs_in_and_sees_what_a_signed_call_answers(served, network):
    example, url = served
    uid, name = PEOPLE[network]
    visitor, me = log_in(url, network)
    assert me.url == f"{url}/me/"
    assert f"Hello, {name}!" in me.text
    assert f"<code>{uid}</code>" in me.text
    assert f"<code>{SIGNED_CALLS[network]}</code>" in me.text
    answer = json.loads(html.unescape(re.search(r"<pre.*?>(.*?)</pre>", me.text, re.S)[1]))
    profile = answer if network == "ok" else answer[0]
    assert (str(profile.get("uid", profile.get("id"))), profile["first_name"]) == (uid, name.split()[0])

    assert name in visitor.visit(f"{url}/social/connections/").text
    assert visitor.press(me, "Log out").url == f"{url}/"
    assert visitor.visit(f"{url}/me/").url == f"{url}/?next=/me/"
    secrets = example.secrets()
    assert len(secrets) >= 7  # of the applications, and of one grant
    assert [secret for secret in secrets if any(secret in page for page in visitor.read)] == []


def test_every_way_into_vk_id_leads_to_the_same_person(served):
    example, url = served
    usernames = set()
    for way, title in WAYS.items():
        visitor = Visitor()
        dialog = visitor.press(visitor.visit(f"{url}/"), f"Login with {title}", way)
        me = visitor.press(dialog, "Allow", person=PEOPLE["vkid"][0], decision="allow")
        usernames.add(username(me))
        assert ("VK ID" if way == "vkid" else f"VK ID, through {title}") in me.text
    assert len(usernames) == 1


@pytest.mark.parametrize("network", ["ok", "mailru"])
def test_a_visitor_sees_their_friends(served, network):
    example, url = served
    visitor, me = log_in(url, network)
    page = visitor.visit(urljoin(url, re.search(r'href="(/friends/[^"]*)"', me.text)[1]))
    assert re.findall(r"<li>(\w+ \w+)</li>", page.text)


def test_whoever_has_not_granted_it_is_sent_to_do_so_and_comes_back(example):
    with example.demo() as url:
        visitor, _ = log_in(url, "ok")
        page = visitor.visit(f"{url}/friends/mailru/")
        assert urlsplit(page.url).path == "/social/mailru/code/"
        dialog = visitor.press(page, re.search(r">([^<]*Mail.Ru)</button>", page.text)[1])
        back = visitor.press(dialog, "Allow", person=PEOPLE["mailru"][0], decision="allow")
        assert back.url == f"{url}/friends/mailru/"


def test_an_outage_can_be_seen(example):
    with example.demo() as url:
        visitor, me = log_in(url, "ok")
        command = re.search(r"<code>manage.py (rehearse [^<]*)</code>", me.text)[1]
        done = example.manage(*command.split())
        assert done.returncode == 0, done.stdout
        assert "The signed call failed: " in visitor.visit(f"{url}/me/").text
        friends = visitor.session.get(f"{url}/friends/ok/", timeout=PATIENCE)
        assert friends.status_code == 503
        assert "The network can't be asked right now: " in friends.text


def test_the_demo_can_be_started_again_and_still_knows_its_visitors(example):
    names = []
    for _ in range(2):
        with example.demo() as url:
            names.append(username(log_in(url, "ok")[1]))
    assert names[0] == names[1]


SILENCE = (0, "System check identified no issues (0 silenced).\n")
PRODUCTION = {
    **SETTINGS,
    "DEBUG": "False",
    "SECRET_KEY": "not-a-secret-but-long-and-with-many-different-characters-0123456789",
    "ENCRYPTION_KEYS": "ih8D18ZcsiCQRP57HZJsqDBf8ea5LQxHoxh7ZdDym8M=",
    "ALLOWED_HOSTS": "site.example",
    "BASE_URL": "https://site.example",
}
"""A real server, by its environment alone."""
DEPLOY = ("check", "--deploy", "--fail-level", "WARNING", "--database", "default")


def test_the_example_passes_the_checks(example):
    done = example.manage("check", "--fail-level", "WARNING", "--database", "default")
    assert (done.returncode, done.stdout) == SILENCE


def test_a_site_with_the_sandbox_can_run_its_tests(example):
    """They run with DEBUG off, whatever the settings say."""
    done = example.manage("test")
    assert done.returncode == 0, done.stdout
    assert "socialgrants_sandbox.W001" in done.stdout


def test_the_sandbox_is_another_site_to_browsers(served):
    """As the networks are: what a policy would stop there is stopped here."""
    _example, url = served
    visitor = Visitor()
    location = visitor.location(visitor.visit(f"{url}/"), "Login with OK", "ok")
    assert urlsplit(url).hostname == "127.0.0.1"
    assert urlsplit(location).hostname == "localhost"


def test_the_example_passes_the_checks_when_it_is_in_use(served):
    done = served[0].manage("check", "--fail-level", "WARNING", "--database", "default")
    assert (done.returncode, done.stdout) == SILENCE


def test_the_environment_makes_it_fit_for_a_real_server(example):
    """Before its first migration, after it, and with its applications in place."""
    for command in (["migrate", "-v0"], ["sync_credentials", "-v0"], ["check"]):
        done = example.manage(*DEPLOY, **PRODUCTION)
        assert (done.returncode, done.stdout) == SILENCE
        done = example.manage(*command, **PRODUCTION)
        assert done.returncode == 0, done.stdout
    with closing(sqlite3.connect(example.database)) as database:
        stored = database.execute("SELECT name, client_id FROM socialgrants_providercredentials ORDER BY id")
        assert stored.fetchall() == [("ok", "512000000000"), ("mailru", "423004"), ("vkid", "51000001")]


@pytest.mark.parametrize(
    ("wrong", "wanted"),
    [
        ({"ENCRYPTION_KEYS": ""}, "socialgrants.W010"),
        ({"ENCRYPTION_KEYS": "nonsense"}, "socialgrants.E003"),
        ({"BASE_URL": "http://site.example"}, "socialgrants.E008"),
        ({"OK_CLIENT_ID": "CGEXAMPLEKEYBABABA"}, "socialgrants.W005"),
        ({"OK_CLIENT_SECRET": ""}, "socialgrants.E018"),
        ({"SANDBOX": "True"}, "socialgrants_sandbox.E001"),
    ],
)
def test_an_environment_with_a_mistake_is_not_fit_for_a_real_server(example, wrong, wanted):
    done = example.manage(*DEPLOY, **PRODUCTION | wrong)
    assert done.returncode == 1
    assert wanted in done.stdout
    assert not any(secret in done.stdout for secret in ("CGEXAMPLEKEYBABABA", "mailru-secret-key"))


def test_a_database_out_of_reach_is_no_failure_of_our_checks(example):
    nowhere = {"DATABASE_URL": "sqlite:////no/such/folder/db.sqlite3"}
    done = example.manage(*DEPLOY, "--tag", "socialgrants", "--tag", "database", **PRODUCTION, **nowhere)
    assert (done.returncode, done.stdout) == SILENCE


def test_a_mistake_in_the_environment_stores_nothing_and_is_exit_code_2(example):
    assert example.manage("migrate", "-v0", **PRODUCTION).returncode == 0
    done = example.manage("sync_credentials", **PRODUCTION | {"OK_CLIENT_SECRET": "MARKER" * 1000})
    assert done.returncode == 2
    assert "ok.client_secret: It is longer" in done.stdout
    assert "MARKER" not in done.stdout
    with closing(sqlite3.connect(example.database)) as database:
        assert database.execute("SELECT * FROM socialgrants_providercredentials").fetchall() == []


def test_a_real_server_does_not_start_without_a_secret_key(example):
    done = example.manage("check", DEBUG="False")
    assert done.returncode != 0
    assert "Set the SECRET_KEY environment variable" in done.stdout


@pytest.mark.parametrize(
    "network, origin",
    [("ok", "https://connect.ok.ru"), ("mailru", "https://connect.mail.ru"), ("vkid", "https://id.vk.ru")],
)
def test_with_credentials_in_the_environment_buttons_lead_to_the_real_networks(real, network, origin):
    visitor = Visitor()
    location = visitor.location(visitor.visit(f"{real}/"), f"Login with {TITLES[network]}", network)
    assert location.startswith(f"{origin}/")
    query = parse_qs(urlsplit(location).query)
    assert query["client_id"] == [SETTINGS[f"{network.upper()}_CLIENT_ID"]]
    assert query["redirect_uri"] == [f"{real}/social/{network}/code/callback/"]


def test_celery_refreshes_tokens_where_there_is_a_broker(example):
    pytest.importorskip("celery")
    script = (
        "from demo.celery import app; app.loader.import_default_modules(); "
        "entry = app.conf.beat_schedule['refresh-tokens']; "
        "print(app.conf.broker_url, entry['task'] in app.tasks, app.tasks[entry['task']](**entry['kwargs']))"
    )
    assert example.manage("migrate").returncode == 0
    done = example.manage("shell", "--verbosity", "0", "--command", script, REDIS_URL="redis://127.0.0.1/7")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("redis://127.0.0.1/7 True {'due': 0, ")


def test_nothing_of_celery_is_needed_without_a_broker(example):
    script = "import demo.urls, sys; print('celery' in sys.modules, 'demo.celery' in sys.modules)"
    done = example.manage("shell", "--verbosity", "0", "--command", script)
    assert (done.returncode, done.stdout) == (0, "False False\n")


def test_the_template_of_the_environment_file_is_understood_as_it_stands(example):
    """Uncomment, fill in, and nothing else: what is said behind a value is no part of it."""
    text = (example.folder / "example_project/.env.example").read_text()
    for name, value in SETTINGS.items():
        text, found = re.subn(rf"^# {name}=(False)?", f"{name}={value}", text, flags=re.M)
        assert found == 1
    (example.folder / "example_project/.env").write_text(text)
    script = (
        "import json; from django.conf import settings as s; print(json.dumps(s.SOCIALGRANTS_CREDENTIALS))"
    )
    done = example.manage("shell", "--verbosity", "0", "--command", script)
    assert done.returncode == 0, done.stdout
    credentials = json.loads(done.stdout)
    named = {
        f"{network}_{name}".upper(): value
        for network, fields in credentials.items()
        for name, value in fields.items()
    }
    assert SETTINGS.items() - {("SANDBOX", "False")} <= named.items()
