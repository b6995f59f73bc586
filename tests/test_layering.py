"""The house: which module may import which, read from the source."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = "django_socialgrants"
ROOT = Path(__file__).parents[1] / PACKAGE

PURE = """
    exceptions
    oauth.values
    oauth.grants oauth.parameters
    oauth.reading
    oauth.provider
    providers.signing
    providers.ok providers.mailru providers.vkid providers.mailid
"""
IMPURE = """
    conf events
    registry crypto
    storage.clock storage.fields
    storage.rotation
    models.validators models.used_state
    models.application
    models.token
    models
    transport.environment transport.names transport.socks
    transport.connections
    transport.exchange
    signals
    applications.declared applications.problems
    applications.sync
    refreshing.committed refreshing.report refreshing.workers
    refreshing.health refreshing.lease refreshing.request
    refreshing.due refreshing.settlement refreshing.turn
    refreshing.lane
    flows.refusal flows.kept_query flows.revocation
    flows.contention flows.newcomers
    flows.accounts flows.import_sources flows.status
    flows.state flows.importing
    flows.refresh flows.refresh_due
    flows.call
    flows.login
    flows.password flows.native
    api
    backends decorators
    web.pages
    web.callback
    middleware templatetags web.views
    urls
    checks.credentials checks.database checks.keys checks.logins checks.providers checks.settings checks.site
    checks.policy
    administration.facts administration.filters administration.refreshing
    administration.forms
    administration.credentials administration.tokens
    admin
    tasks
    background testing
    apps
    migrations
    management
    sandbox
"""
"""Each line imports only from the lines above it. A folder stands for all modules in it."""

HOUSE = [line.split() for line in (PURE + IMPURE).split("\n") if line.strip()]

FOR_DJANGO = {"apps", "admin", "urls", "models"}
FOR_SITES = {
    *("exceptions", "conf", "events", "signals", "registry", "crypto"),
    *("api", "middleware", "decorators", "backends", "tasks", "background", "testing"),
}

OUT_OF_REACH = {
    "http",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "ssl",
    "subprocess",
    "time",
}
"""Parts of the standard library with which a pure module would no longer be one."""


def modules():
    """Dotted name below the package -> path; folders by the name of their __init__."""
    names = {path: path.relative_to(ROOT).with_suffix("").parts for path in sorted(ROOT.rglob("*.py"))}
    return {".".join(part for part in parts if part != "__init__"): path for path, parts in names.items()}


def imported(name, path):
    """Absolute dotted names of everything that a module imports, anywhere in it: `from a import b` is "a.b"."""
    package = f"{PACKAGE}.{name}".strip(".")
    if path.name != "__init__.py":
        package = package.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def module_of(dotted):
    """The module of ours that a dotted name leads into, or None."""
    parts = dotted.split(".")
    if parts.pop(0) != PACKAGE:
        return None
    while ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def place(module):
    """Line of the house, and the entry in it."""
    for number, line in enumerate(HOUSE):
        for entry in line:
            if f"{module}.".startswith(f"{entry}."):
                return number, entry
    return None


MODULES = modules()
IMPORTS = {name: set(imported(name, path)) for name, path in MODULES.items()}
GRAPH = {name: {module_of(dotted) for dotted in found} - {None} for name, found in IMPORTS.items()}
PURE_MODULES = [name for name in MODULES if name == "exceptions" or name.startswith(("oauth", "providers"))]

FOLDERS = [name for name, path in MODULES.items() if path.name == "__init__.py" and name != "models"]
"""Names without anything in them; `models` is the one that Django looks into."""
ROOMS = [name for name in MODULES if name not in FOLDERS]


def outside(name):
    """Top-level names of what a module imports from elsewhere."""
    return {dotted.split(".")[0] for dotted in IMPORTS[name]} - {PACKAGE}


@pytest.mark.parametrize("name", ROOMS)
def test_a_module_imports_only_from_the_lines_above_its_own(name):
    assert place(name), f"{name} has no place in the house"
    number, entry = place(name)
    below = {other for other in GRAPH[name] if other in ROOMS and place(other) and place(other)[0] >= number}
    assert {other for other in below if place(other)[1] != entry} == set()


def test_the_house_has_no_empty_rooms():
    occupied = {place(name)[1] for name in MODULES if place(name)}
    assert [entry for line in HOUSE for entry in line if entry not in occupied] == []


def test_folders_are_names_only():
    assert {name: IMPORTS[name] for name in FOLDERS if IMPORTS[name]} == {}
    assert {name: GRAPH[name] & set(FOLDERS) for name in MODULES if GRAPH[name] & set(FOLDERS)} == {}


def test_nobody_imports_in_a_circle():
    TopologicalSorter(GRAPH).prepare()


def test_pure_modules_reach_nothing_but_the_standard_library_and_each_other():
    for name in PURE_MODULES:
        assert outside(name) <= sys.stdlib_module_names - OUT_OF_REACH, name
        assert GRAPH[name] <= set(PURE_MODULES), name


def test_the_line_between_pure_and_impure_is_where_it_is_drawn():
    drawn = PURE.split()
    assert sorted(drawn) == sorted(name for name in PURE_MODULES if name in ROOMS)


def test_pure_modules_are_importable_where_django_and_requests_are_not():
    names = ", ".join(f"{PACKAGE}.{name}" for name in PURE_MODULES)
    program = f"import sys; sys.modules.update(django=None, requests=None, urllib3=None); import {names}"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT.parent, check=True)


def test_only_the_transport_imports_an_http_library():
    libraries = {"aiohttp", "http", "httpx", "requests", "socket", "ssl", "urllib3"}
    doors = {name for name in MODULES if outside(name) & libraries}
    assert doors and all(name.startswith("transport.") for name in doors)


def test_nothing_is_logged_without_an_event():
    """There is one way to the logger: `events.log`."""
    assert [name for name, path in MODULES.items() if "getLogger" in path.read_text()] == ["events"]


def test_a_file_at_the_top_is_what_a_site_imports_or_django_looks_for():
    top = {name for name in MODULES if name in ROOMS and "." not in name}
    assert top == FOR_DJANGO | FOR_SITES


def test_nothing_outside_of_the_sandbox_imports_it():
    outsiders = {name for name in MODULES if not f"{name}.".startswith("sandbox.")}
    assert {name for name in outsiders for other in GRAPH[name] if other.startswith("sandbox")} == set()


def test_the_sandbox_plays_the_networks_without_help_from_their_clients():
    clients = {name for name in MODULES if name.startswith("providers.")}
    helped = {name for name in MODULES if name.startswith("sandbox.") and GRAPH[name] & clients}
    assert helped == {"sandbox.providers"}
