"""What the README says is true."""

import inspect
import json
import operator
import re
import shlex
import sys
import textwrap
import types
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_not_required
from django.core.management import call_command, get_commands, load_command_class
from django.db import connections
from django.dispatch import Signal
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory, TestCase
from django.urls import include, path
from django.utils.module_loading import import_string

from django_socialgrants import exceptions, signals, tasks
from django_socialgrants.api import Circuit, SocialAPI, status
from django_socialgrants.conf import Conf, conf
from django_socialgrants.flows import login
from django_socialgrants.flows.refusal import REASONS
from django_socialgrants.middleware import Social
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Identity, Token
from django_socialgrants.providers.mailid import MailID
from django_socialgrants.providers.mailru import MailRu
from django_socialgrants.providers.ok import OK
from django_socialgrants.providers.vkid import VKID
from django_socialgrants.refreshing.report import MISCONFIGURED, RETRY, SETTLED, VALVE_CLOSED, Report, Tally
from django_socialgrants.registry import providers
from django_socialgrants.testing import Call, FakeNetwork, grant
from django_socialgrants.web.pages import origin
from tests.due import store_due
from tests.test_native import app, send  # noqa: F401
from tests.test_ways_in import vkid  # noqa: F401

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()
PACKAGE = ROOT / "django_socialgrants"


def rows(title):
    """First two cells of the rows of the table that begins with `title`."""
    table = re.search(rf"^=+  =+.*\n{title}.*\n=+  =+.*\n((?:.+\n)+?)=+  =+", README, re.MULTILINE)
    return [re.split(r"  +", line)[:2] for line in table[1].splitlines()]


def test_every_setting_is_in_the_table_and_nothing_else():
    documented = [name.strip("`").removeprefix("SOCIALGRANTS_") for name, _ in rows("Setting")]
    assert sorted(documented) == sorted(name for name in vars(Conf) if name.isupper())


@pytest.mark.parametrize(
    ("name", "default"), [row for row in rows("Setting") if row[1].startswith("``")], ids=lambda cell: cell
)
def test_defaults_are_as_documented(settings, name, default):
    if hasattr(settings, name.strip("`")):
        delattr(settings, name.strip("`"))
    if name != "``SOCIALGRANTS_LEASE``":  # None there stands for a multiple of another setting
        assert repr(getattr(conf, name.strip("`").removeprefix("SOCIALGRANTS_"))) == default.strip("`")
    else:
        assert conf.LEASE == 4 * conf.TIMEOUT


def test_every_check_is_in_the_table_and_nothing_else():
    documented = [name.strip("`") for name, _ in rows("Check")]
    modules = [
        *PACKAGE.rglob("checks.py"),
        *PACKAGE.rglob("checks/*.py"),
        PACKAGE / "applications/problems.py",
    ]
    sources = "".join(path.read_text() for path in modules)
    assert documented == sorted(set(documented))
    assert set(documented) == set(re.findall(r'id="(socialgrants\w*\.[EW]\d{3})"', sources))


def section(title):
    return re.search(rf"^{title}\n-+\n(.*?\n)(?=\n\n[A-Z]|\Z)", README, re.S | re.M)[1]


def blocks(title, language="python"):
    """The code in a section, block by block."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?: {{4}}.*\n|\n)+)", section(title), re.M)
    return [re.sub(r"^ {4}", "", code, flags=re.M) for code in found]


def run(code, **names):
    exec(code, names)
    return names


def test_every_error_is_in_the_table_and_nothing_else():
    known = {name for name, kind in vars(exceptions).items() if inspect.isclass(kind)}
    documented = [name.strip("`") for name, _ in rows("Error")]
    assert len(documented) == len(set(documented))
    assert set(documented) == {name for name in known if issubclass(getattr(exceptions, name), Exception)} - {
        "SocialGrantsError"
    }


def test_every_signal_is_in_the_table_and_nothing_else():
    known = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert [name.strip("`") for name, _ in rows("Signal")] == known


def test_its_errors_of_an_exchange_have_the_statuses_of_our_pages():
    table = rows("Error of an exchange")
    assert {name.strip("`"): int(status) for name, status in table}.items() <= {
        reason: status for reason, (status, _) in REASONS.items()
    }.items()
    words = {word.strip("`") for word, _ in table}
    of_browsers = {"cancelled", "authorization_error", "malformed_callback", "user_changed", "csrf_failed"}
    of_browsers |= {
        "unknown_state",
        "used_state",
        "stale_state",
        "foreign_state",
        "unknown_way",
        "last_login",
    }
    assert words == REASONS.keys() - of_browsers - {"call_failed"}


def test_its_native_apps_get_a_session(client, network, app, settings):  # noqa: F811
    names = run(blocks("Native apps")[0])
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = "accounts.apps.log_in_app"
    accounts = types.ModuleType("accounts.apps")
    accounts.log_in_app = names["log_in_app"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "accounts", types.ModuleType("accounts"))
        patch.setitem(sys.modules, "accounts.apps", accounts)
        response = send(client)
    assert response.json() == {"name": "Иван"}
    assert client.session["_auth_user_id"] == str(get_user_model().objects.get().pk)


@pytest.mark.django_db
def test_its_factory_makes_users_and_refuses_in_words(django_user_model):
    make_user = run(textwrap.dedent(blocks_within("What happens to users")[0]))["make_user"]
    anna = Identity("1", email="anna@example.com")
    assert make_user(anna, ProviderCredentials(name="ok")).username == "ok-1"
    with pytest.raises(exceptions.LoginRefused, match="password"):
        make_user(Identity("2", email="Anna@Example.com"), ProviderCredentials(name="ok"))


def blocks_within(title):
    """The code in the lists of a section."""
    return re.findall(r"^ +\.\. code-block:: python\n\n((?: {6}.*\n|\n)+)", section(title), re.M)


@pytest.fixture
def ten_calls(db, django_user_model):
    """Makes ten calls, of which the last is refused."""

    def make():
        user = django_user_model.objects.create_user("metrics")
        with FakeNetwork() as network:
            grant(user, "ok")
            network.answers("friends.get", [])
            network.refuses("users.getInfo", exceptions.PermissionDenied)
            api = SocialAPI(user, "ok")
            for _ in range(9):
                api.friends.get()
            with pytest.raises(exceptions.PermissionDenied):
                api.users.getInfo()

    listening = signals.exchanged.receivers[:]
    yield make
    signals.exchanged.receivers = listening
    signals.exchanged.sender_receivers_cache.clear()


def test_prometheus_counts_requests(ten_calls):
    from prometheus_client import REGISTRY

    names = run(blocks("Metrics")[0])
    try:
        ten_calls()
        labels = {"provider": "ok", "purpose": "call"}
        name = "socialgrants_exchange_seconds_count"
        assert REGISTRY.get_sample_value(name, labels | {"outcome": "200"}) == 9
        assert REGISTRY.get_sample_value(name, labels | {"outcome": "PermissionDenied"}) == 1
    finally:
        REGISTRY.unregister(names["EXCHANGES"])


def test_opentelemetry_counts_requests(ten_calls):
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))  # only the first of a process counts
    names = run(blocks("Metrics")[1])
    ten_calls()
    (resource,) = reader.get_metrics_data().resource_metrics
    (histogram,) = resource.scope_metrics[0].metrics
    counts = {point.attributes["outcome"]: point.count for point in histogram.data.data_points}
    assert counts == {"200": 9, "PermissionDenied": 1}
    assert histogram.name == "socialgrants.exchange.duration"
    assert names["record"]  # receivers are held by weak references


TEMPLATES = {
    "friends.html": "<ul>{% for person in people %}<li>{{ person.name }}{% endfor %}</ul>",
    "greet.html": "<form method='post'>",
    "count.html": "{{ number }}",
    "later.html": "later",
}


@pytest.fixture
def site(settings, monkeypatch):
    """The site of "Calling a network": its views as they stand there, with URLs, templates and the middleware."""
    configured = next(code for code in blocks("Calling a network") if code.startswith("MIDDLEWARE"))
    settings.MIDDLEWARE = run(configured, MIDDLEWARE=[*settings.MIDDLEWARE])["MIDDLEWARE"]
    loaders = [
        ("django.template.loaders.locmem.Loader", TEMPLATES),
        "django.template.loaders.app_directories.Loader",
    ]
    (engine,) = settings.TEMPLATES
    options = {**engine["OPTIONS"], "loaders": loaders}
    settings.TEMPLATES = [{**engine, "APP_DIRS": False, "OPTIONS": options}]
    views = {"__name__": "views"}
    for code in blocks("Calling a network"):
        if "(request" in code and "def " in code:
            exec(code, views)
    urls = types.ModuleType("readme_urls")
    urls.urlpatterns = [
        path("", lambda request: HttpResponse("home")),
        path("friends/", views["friends"]),
        path("greet/", views["greet"]),
        path("count/", views["count_friends"]),
        path("json/", views["friends_as_json"]),
        path("social/", include("django_socialgrants.urls")),
        path("sandbox/", include("django_socialgrants.sandbox.urls")),
    ]
    settings.ROOT_URLCONF = urls
    return views


@pytest.fixture
def sandbox(live_server, settings):
    settings.DEBUG = True
    settings.SOCIALGRANTS_PROVIDERS = [
        f"django_socialgrants.sandbox.providers.{name}" for name in ("OK", "MailRu")
    ]
    settings.SOCIALGRANTS_SANDBOX_URL = f"{live_server.url}/sandbox"
    call_command("load_sandbox", verbosity=0)


@pytest.fixture
def anna(client, django_user_model):
    anna = django_user_model.objects.create_user("anna")
    client.force_login(anna)
    return anna


def test_its_first_call_is_one_that_works(db, anna):
    grant(anna, "ok")
    request = RequestFactory().get("/")
    request.user = anna
    with FakeNetwork() as network:
        network.answers("friends.get", ["1", "2"])
        network.answers("users.getInfo", lambda params: params)
        names = run(blocks("Calling a network")[0], request=request)
    assert names["people"] == {"uids": "1,2", "fields": "uid,name"}


def test_its_friends_are_shown_to_those_who_granted_it(db, client, site, anna):
    grant(anna, "ok")
    answer = client.get("/friends/")
    assert (answer.status_code, answer["Location"]) == (302, "/social/ok/code/?next=/friends/")
    grant(anna, "ok", scope="VALUABLE_ACCESS")
    with FakeNetwork() as network:
        network.answers("friends.get", [])
        assert client.get("/friends/").content == b"<ul></ul>"


def test_its_post_is_in_cyrillic(db, client, site, anna):
    grant(anna, "mailru", scope="stream")
    with FakeNetwork() as network:
        network.answers("stream.post", {"status": "ok"})
        assert client.get("/greet/").status_code == 200
        assert client.post("/greet/")["Location"] == "/"
    assert network.calls == [("mailru", "stream.post", {"user_text": "Привет, мир! Ёж & 1+1=2"})]


def test_its_failures_are_handled(db, client, site, anna):
    grant(anna, "ok", expires_in=0)
    with FakeNetwork() as network:
        network.is_down(retry_after=90)
        answer = client.get("/count/")
        assert (answer.status_code, answer["Retry-After"], answer.content) == (503, "90", b"later")
    grant(anna, "ok")
    with FakeNetwork() as network:
        network.refuses("friends.get", exceptions.RateLimited)
        network.refuses("friends.get", exceptions.SessionExpired)
        network.refuses_token()
        answer = client.get("/count/")
        assert (answer.status_code, answer["Retry-After"]) == (503, "60")
        answer = client.get("/count/")
        assert (answer.status_code, answer["Location"]) == (302, "/social/ok/code/?next=/count/")
    grant(anna, "ok")
    with FakeNetwork() as network:
        network.answers("friends.get", ["1", "2"])
        assert client.get("/count/").content == b"2"


@pytest.mark.parametrize("failure", ["cut", "nonsense", "session-expired", "unavailable"])
def test_its_views_survive_what_can_be_rehearsed(client, site, sandbox, anna, failure):
    """Also where a view has no handler, or none for that."""
    call_command("rehearse", failure, verbosity=0)
    for place in ("/friends/", "/count/"):
        grant(anna, "ok", scope="VALUABLE_ACCESS")
        answer = client.get(place)
        assert answer.status_code == (302 if failure == "session-expired" else 503), place


def test_its_handler_for_rest_framework_answers_in_json(db, client, settings, anna, monkeypatch):
    from rest_framework.response import Response
    from rest_framework.views import APIView

    (code,) = [code for code in blocks("Calling a network") if "rest_framework" in code]
    names = run(code)

    class Friends(APIView):
        def get_exception_handler(self):
            return names["handle"]

        def get(self, request):
            get_user_model().objects.create_user("undone")
            return Response(SocialAPI(request.user, "ok").friends.get())

    urls = types.ModuleType("rest_urls")
    urls.urlpatterns = [path("", Friends.as_view()), path("social/", include("django_socialgrants.urls"))]
    settings.ROOT_URLCONF = urls
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    token = grant(anna, "ok")
    with FakeNetwork() as network:
        network.answers("friends.get", ["1"])
        assert client.get("/").json() == ["1"]
        get_user_model().objects.get(username="undone").delete()
        network.refuses("friends.get", exceptions.PermissionDenied)
        answer = client.get("/")
        assert (answer.status_code, answer.json()["error"]) == (503, "call_failed")
    token.delete()
    answer = client.get("/")
    assert (answer.status_code, answer.json()["error"]) == (401, "needs_login")
    assert not get_user_model().objects.filter(username="undone").exists()


def test_its_template_shows_accounts(db, anna, site):
    (code,) = blocks("Calling a network", r"html\+django")
    granted_to = grant(anna, "ok", scope="VALUABLE_ACCESS")
    granted_to.profile = {"name": "Анна Ёж"}
    granted_to.save()
    request = RequestFactory().get("/")
    request.user = anna
    request.social = Social(request)
    page = Template(code.replace("{% url 'friends' %}", "/friends/")).render(
        Context({"request": request, "user": anna})
    )
    assert " ".join(page.split()) == '<a href="/friends/">Your friends</a> OK: Анна Ёж'
    named = re.findall(r"``token\.([\w.]+)``", section("Calling a network").split("**When it fails.**")[0])
    assert len(named) == 8
    for name in named:
        operator.attrgetter(name)(granted_to)


@pytest.mark.parametrize("is_login", [False, True])
def test_its_words_about_login_required_are_true(client, site, ok_app, settings, is_login):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    if is_login:
        settings.ROOT_URLCONF.urlpatterns[0] = path("", login_not_required(site["friends"]))
    place = client.get("/" if is_login else "/friends/")["Location"]
    assert urlsplit(place).path == ("/social/ok/code/" if is_login else settings.LOGIN_URL)


def test_its_receivers_ask_once_to_come_back_and_say_thanks(
    db, client, site, anna, mailoutbox, django_capture_on_commit_callbacks
):
    (code,) = [code for code in blocks("Calling a network") if "@receiver" in code]
    assert len(code.splitlines()) <= 20  # with imports, both
    names = run(code)
    anna.email = "anna@example.org"
    anna.save()
    token = grant(anna, "ok", expires_in=0)
    with FakeNetwork() as network:
        network.refuses_token()
        for _ in range(3):
            client.get("/count/")
        (mail,) = mailoutbox
        assert mail.to == ["anna@example.org"]
        (link,) = re.findall(r"https://example.com(\S+)", mail.body)
        assert client.get(link).status_code == 200  # a page with the button
    names["say_thanks"](token=token, recovered=False)
    assert len(mailoutbox) == 1
    with django_capture_on_commit_callbacks(execute=True):
        new = Token("new", "newer", 1800)
        login.link(login.Granted(token.credentials, new, Identity(token.uid), "authorization_code"))
    assert [mail.subject for mail in mailoutbox] == ["Please connect again", "Thank you"]


def test_its_disconnecting_forgets(db, anna):
    (code,) = blocks("Disconnecting")
    grant(anna, "ok")
    grant(anna, "mailru")
    run(code, user=anna)
    assert not anna.social_tokens.exists()


def test_its_async_view_is_served_by_a_synchronous_server_too(db, client, site, anna):
    grant(anna, "ok")
    with FakeNetwork() as network:
        network.answers("friends.get", ["1"])
        assert client.get("/json/").json() == {"uids": ["1"]}


def test_its_async_view_runs_in_a_loop(db, client, site, anna):
    grant(anna, "ok")
    request = RequestFactory().get("/json/")
    request.user = anna
    request.social = Social(request)
    with FakeNetwork() as network:
        network.answers("friends.get", ["1"])
        assert async_to_sync(site["friends_as_json"])(request).content == b'{"uids": ["1"]}'


def test_its_circuit_is_one(db, anna):
    (code,) = [code for code in blocks("Calling a network") if "Circuit" in code]
    grant(anna, "mailru")
    request = RequestFactory().get("/")
    request.user = anna
    with FakeNetwork() as network:
        network.answers("friends.get", [])
        assert run(code, request=request)["api"].friends.get() == []
        for circuit in re.findall(r'\(``"(.*?)"', section("Calling a network")):
            assert SocialAPI(anna, "mailru", circuit=Circuit(circuit)).friends.get() == []


def test_its_option_switches_on_the_log_of_sqlite(db, tmp_path):
    (code,) = [code for code in blocks("Calling a network") if "journal_mode" in code]
    database = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3"}
    database |= {"NAME": str(tmp_path / "site.sqlite3"), "OPTIONS": {}}
    run(code, DATABASES={"default": database})
    backend = import_string(f"{database['ENGINE']}.base.DatabaseWrapper")
    connection = backend(database, "readme")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
    connection.close()


# --- Refreshing tokens -----------------------------------------------------------------------------------


def test_every_command_line_is_one_that_is_understood():
    lines = re.findall(r"(?:manage\.py|^|``)\s*(refresh_tokens [-\w ]+?)(?: 2>|``|$)", README, re.M)
    assert len(lines) >= 2
    for line in lines:
        name, *arguments = shlex.split(line)
        command = load_command_class(get_commands()[name], name)
        command.create_parser("manage.py", name).parse_args(arguments)


def test_its_schedule_names_a_task_and_arguments_that_it_takes():
    tasks = pytest.importorskip("django_socialgrants.tasks")
    code = next(code for code in blocks("Refreshing tokens") if "CELERY_BEAT_SCHEDULE" in code)
    (entry,) = run(code)["CELERY_BEAT_SCHEDULE"].values()
    assert entry["task"] == tasks.refresh_tokens.name
    inspect.signature(tasks.refresh_tokens.run).bind(**entry["kwargs"])


@pytest.mark.django_db
def test_its_task_can_be_enqueued(settings):
    name = "django.tasks" if find_spec("django.tasks") else "django_tasks"
    pytest.importorskip(name)
    settings.TASKS = {"default": {"BACKEND": f"{name}.backends.dummy.DummyBackend"}}
    code = next(code for code in blocks("Refreshing tokens") if "enqueue" in code)
    task = run(code)["refresh_tokens"]
    [result] = task.get_backend().results
    inspect.signature(tasks.run).bind(*result.args, **result.kwargs)


def test_its_document_has_the_fields_of_a_real_one():
    (sample,) = blocks("Refreshing tokens", "json")
    real = Report(applications={"ok": Tally()}).to_json()
    sample = json.loads(sample)
    assert (list(sample), list(sample["applications"]["ok"])) == (
        list(real),
        list(real["applications"]["ok"]),
    )


def test_every_exit_code_of_a_run_is_in_its_table():
    table = re.search(r"\nExit code .*\n=.*\n((?:.+\n)+?)=", section("Refreshing tokens"))[1]
    codes = [line.split("  ")[0] for line in table.splitlines()]
    assert codes == [*map(str, (SETTLED, RETRY, MISCONFIGURED, VALVE_CLOSED)), "128 + n"]


# --- Testing your site -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_its_tests_pass(db, client, site, django_user_model, number):
    names = run(blocks("Testing your site")[0])
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    tests[number](client, django_user_model)


def test_its_strangers_and_newcomers(client, db):
    names = run(blocks("Testing your site")[1])
    names["test_strangers_see_a_button"](client)
    names["test_somebody_new_logs_in"](client)


def test_its_token_is_stale(anna):
    grant(anna, "ok")
    run(blocks("Testing your site")[2], UserToken=UserToken)
    with FakeNetwork() as network:
        network.answers("friends.get", [])
        SocialAPI(anna, "ok").friends.get()
    assert network.token_requests == [("ok", "refresh_token")]


def test_its_fixture_and_test_case_work(db, anna):
    names = run(blocks("Testing your site")[3], pytest=pytest, TestCase=TestCase, FakeNetwork=FakeNetwork)
    grant(anna, "ok")
    case = names["FriendsTest"]()
    case.setUp()
    case.network.answers("friends.get", [])
    assert SocialAPI(anna, "ok").friends.get() == []
    case.doCleanups()


# --- Which network ---------------------------------------------------------------------------------------


def test_every_network_is_in_its_table_with_its_class():
    table = re.findall(r"^\S.*?  ``(\w+)``  +``(\S+)``$", section("Which network"), re.M)
    named = {id: import_string(f"django_socialgrants.{path}") for id, path in table}
    assert named == {provider.id: provider for provider in (OK, MailRu, VKID, MailID)}


def test_its_application_of_vk_id_shows_a_button_for_each_way_in(settings, db):
    (code,) = blocks("Which network")
    names = run(code, env=lambda name: "51000001")
    settings.SOCIALGRANTS_PROVIDERS = names["SOCIALGRANTS_PROVIDERS"]
    settings.SOCIALGRANTS_CREDENTIALS = names["SOCIALGRANTS_CREDENTIALS"]
    call_command("sync_credentials", verbosity=0)
    application = ProviderCredentials.objects.get()
    assert application.ways.split() == [*application.get_provider().ways]
    assert application.get_provider().id == "vkid"
    application.full_clean()


# --- Another network -------------------------------------------------------------------------------------


def test_the_policies_for_pages_with_buttons_name_the_networks():
    title = "If your site has a Content-Security-Policy"
    (header,) = re.findall(r"``form-action (.+)``", section(title))
    networks = sorted(origin(provider.authorization_endpoint) for provider in (MailRu, OK))
    assert sorted(header.split()) == ["'self'", *networks]
    for provider in (VKID, MailID):
        assert f"``{origin(provider.authorization_endpoint)}``" in section(title)
    (code,) = blocks(title)
    named = run(code, CSP=types.SimpleNamespace(SELF="'self'"))  # as in django.utils.csp, where Django has it
    assert named["SECURE_CSP"]["form-action"] == header.split()


@pytest.fixture
def example(settings, monkeypatch):
    """The network of "Another network", as the setting names it."""
    listed, code = blocks("Another network")
    settings.SOCIALGRANTS_PROVIDERS = run(listed)["SOCIALGRANTS_PROVIDERS"]
    module = types.ModuleType("mysite.networks")
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "mysite", types.ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.networks", module)
    return module.Example


def test_the_networks_that_come_with_the_package_are_named_with_their_paths(example):
    assert [provider.id for provider in providers().values()] == ["ok", "mailru", "vkid", "mailid", "example"]


def test_its_network_is_sent_values_in_their_form_and_the_token_in_a_header(example, anna):
    params = {
        "ids": [1, "b"],
        "yes": True,
        "no": False,
        "zero": 0,
        "empty": "",
        "none": None,
        "deep": {"a": 1},
    }
    wire = {"ids": "1,b", "yes": "true", "no": "false", "zero": "0", "empty": "", "deep": '{"a":1}'}
    with FakeNetwork() as network:
        grant(anna, "example")
        network.answers("things.list", {"done": True})
        assert SocialAPI(anna, "example").things.list(**params) == {"done": True}
        (sent,) = [call.request for call in network.responses.calls]
    assert network.calls == [Call("example", "things.list", wire)]
    assert sent.headers["Authorization"] == "Bearer access-token"
    assert "access-token" not in sent.body


def test_its_network_refreshes_a_token_that_is_called_invalid(example, anna):
    with FakeNetwork() as network:
        grant(anna, "example")
        network.refuses("me", exceptions.SessionExpired)
        network.answers("me", {"id": "anna-7"})
        assert SocialAPI(anna, "example").me() == {"id": "anna-7"}
    assert network.token_requests == [("example", "refresh_token")]


@pytest.mark.parametrize("name", ["sig", "access_token", "METHOD"])
def test_its_network_keeps_the_names_that_are_reserved(example, anna, name):
    with FakeNetwork(), pytest.raises(ValueError, match="reserved"):
        grant(anna, "example")
        SocialAPI(anna, "example").call("me", **{name: "x"})


def test_its_network_knows_who_somebody_is(example, anna):
    assert example().identity_call() == ("me", {"fields": ["name", "email"]})
    identity = example().parse_identity({"id": "anna-7", "first_name": "Anna", "vip": True})
    assert (identity.uid, identity.name, identity.profile) == ("anna-7", "Anna", {"vip": True})


def test_its_health_check_tells_of_tokens_that_wait_and_of_trouble(db, client, settings, monkeypatch, ok_app):
    pytest.importorskip("health_check")
    check, urls = blocks("Watching the tokens")
    module, site = types.ModuleType("accounts.health"), types.ModuleType("readme_urls")
    monkeypatch.setitem(sys.modules, "accounts", types.ModuleType("accounts"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(check, module.__dict__)
    site.__dict__.update(run(urls, urlpatterns=[]))
    settings.ROOT_URLCONF = site

    def health():
        answer = client.get("/health/?format=json")
        return answer.status_code, *answer.json().values()

    assert health() == (200, "OK")
    store_due(ok_app, age=200)
    assert health() == (200, "OK")
    store_due(ok_app, age=400, prefix="5")
    code, said = health()
    assert code == 500
    assert said.startswith("Unavailable: ok: tokens have been due for 4")
    UserToken.objects.all().delete()
    ApplicationHealth.objects.create(credentials=ok_app, reason="outage")
    assert health() == (500, "Warning: ok: outage")


def test_its_document_is_that_of_the_status(db, ok_app):
    store_due(ok_app)
    [example] = [json.loads(code) for code in blocks("Watching the tokens", "json")]
    document = status()
    assert example.keys() == document.keys()
    assert example["applications"]["ok"].keys() == document["applications"]["ok"].keys()
