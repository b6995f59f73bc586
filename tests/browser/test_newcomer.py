"""The README followed to the letter, from an empty folder to a page that shows friends."""

import os
import re
import socket
import subprocess
import sys
import textwrap
from time import monotonic, sleep

import pytest

from django_socialgrants.sandbox.people import PEOPLE
from tests.test_readme import ROOT, TEMPLATES, section

PATIENCE_WITH_SERVERS = 60
"""Seconds until a server that does not start is a failure."""

PAGES = """
from django.contrib.auth import get_user
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render


def home(request):
    return render(request, "home.html")


def me(request):
    return HttpResponse('<p id="user">' + get_user(request).get_username() + "</p>")


def people(request):
{}
    return HttpResponse(str(people))


def client_server(request):
{}
    return HttpResponse(str(api))
"""

URLS = """
from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from mysite import views

urlpatterns = [
    path("", views.home),
    path("me/", views.me),
    path("people/", views.people),
    path("friends/", views.friends, name="friends"),
    path("greet/", views.greet),
    path("count/", views.count_friends),
    %s,
]
%s
"""

SECRETS = {
    "OK_CLIENT_ID": "512000000000",
    "OK_CLIENT_SECRET": "ok-secret",
    "OK_CLIENT_KEY": "CGEXAMPLEKEYBABABA",
}


class Newcomer:
    """Somebody with an empty folder, who types what they read."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))
        } | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}

    def types(self, *command, stdin="", **environment):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def read(self, name):
        return (self.folder / name).read_text()

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def newcomer(tmp_path):
    return Newcomer(tmp_path)


@pytest.fixture
def site(newcomer):
    """The site of "Add it to your site" and "Calling a network", and where it is served."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    newcomer.types("-m", "django", "startproject", "mysite", ".")
    untouched = newcomer.read("mysite/settings.py") + "\nTEMPLATES[0]['DIRS'] = [BASE_DIR / 'templates']\n"

    # Every block, in the order in which they stand. One that is new has no place yet, and is an error.
    adding, storing, declaring, developing, _ = [
        *blocks_of("Add it to your site"),
        *blocks_of("Developing without a network"),
        *blocks_of("Which network"),
    ]
    (buttons,) = blocks_of("Add it to your site", "html+django")
    called, middleware, *more = blocks_of("Calling a network")
    views, counting, for_rest, asynchronous, circuit, write_ahead, receiver = more
    (accounts,) = blocks_of("Calling a network", "html+django")

    # 1. Settings and URLs, 2. credentials in either way.
    installed, mounted = adding.split("# urls.py\n")
    newcomer.write("mysite/settings.py", untouched + installed)
    newcomer.types("manage.py", "migrate", "--verbosity", "0")
    newcomer.types("manage.py", "shell", stdin=storing)
    environ = "\nimport environ\n\nenv = environ.Env()\n"
    newcomer.write("mysite/settings.py", untouched + installed + environ + declaring)
    assert "ok" in newcomer.types("manage.py", "sync_credentials", **SECRETS)

    # 3. Buttons, and the sandbox in place of the networks.
    developed, sandbox = developing.replace("8000", port).split("# urls.py\n")
    declared = declaring.partition(" = ")[2].rstrip()
    assert "{...}" in developed
    developed = developed.replace("{...}", textwrap.indent(declared, "    ").strip())
    settings = untouched + installed + environ + developed + middleware + write_ahead
    newcomer.write("mysite/settings.py", settings)
    calls = (textwrap.indent(block, "    ") for block in (called, circuit))
    newcomer.write("mysite/views.py", PAGES.format(*calls) + views + counting + asynchronous + receiver)
    newcomer.write("mysite/errors.py", for_rest)
    newcomer.write("mysite/urls.py", URLS % (mounted.strip(), sandbox))
    for name, text in (TEMPLATES | {"home.html": buttons + accounts}).items():
        newcomer.write(f"templates/{name}", text)
    newcomer.types("manage.py", "check", "--fail-level", "WARNING")
    newcomer.types("manage.py", "migrate", "--verbosity", "0")
    newcomer.types("manage.py", "load_sandbox")

    with open(newcomer.folder / "log", "w") as log:
        command = [sys.executable, "manage.py", "runserver", "--noreload", port]
        server = subprocess.Popen(
            command, cwd=newcomer.folder, env=newcomer.environment, stdout=log, stderr=log
        )
        try:
            wait_for(server, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()
            print(newcomer.read("log"))


def blocks_of(title, language="python"):
    """The code of a section; some of it stands in lists."""
    pattern = rf"^( *)\.\. code-block:: {re.escape(language)}\n\n((?:\1 {{4}}.*\n|\n)+)"
    return [textwrap.dedent(code) for _, code in re.findall(pattern, section(title), re.M)]


def wait_for(server, port):
    ends = monotonic() + PATIENCE_WITH_SERVERS
    while monotonic() < ends:
        assert server.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                return
        sleep(0.05)
    raise AssertionError("nothing is served")


def test_a_newcomer_is_done_and_sees_friends_in_a_browser(newcomer, site, visitor):
    uid = next(iter(PEOPLE["ok"]))
    visitor.open(f"{site}/")
    visitor.press(".socialgrants-button--ok")
    assert visitor.origin == site.replace("127.0.0.1", "localhost")
    visitor.answer("allow", uid)
    assert visitor.path == "/me/"
    assert visitor.text("#user")

    visitor.open(f"{site}/friends/")
    friends = visitor.elements("li")
    assert len(friends) > 0
    assert all(friend.text for friend in friends)
    visitor.open(f"{site}/count/")
    assert visitor.text("body") == str(len(friends))

    newcomer.types("manage.py", "rehearse", "unavailable", "--for", "60")
    visitor.open(f"{site}/count/")
    assert visitor.text("body") == "later"
    visitor.console()  # where Chromium tells of the 503
