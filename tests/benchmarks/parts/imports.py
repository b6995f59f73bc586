"""What a site gets when it adds the package: packages, and the time that the app takes to be imported."""

import resource
import subprocess
from collections.abc import Iterator

from tests.benchmarks.environments import PACKAGES, installed, python_of
from tests.benchmarks.options import Options
from tests.benchmarks.rounds import Row, ratios

_APPS = {
    "django_socialgrants": ["django_socialgrants"],
    "django-allauth": [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.mailru",
        "allauth.socialaccount.providers.odnoklassniki",
    ],
    "social-auth": ["social_django"],
}
_URLS = {
    "django_socialgrants": "django_socialgrants.urls",
    "django-allauth": "allauth.urls",
    "social-auth": "social_django.urls",
}
_PROGRAM = """
import django, importlib
from django.conf import settings
settings.configure(SECRET_KEY="benchmarks", INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions", "django.contrib.messages", *{apps!r}],
    MIDDLEWARE={middleware!r}, ROOT_URLCONF={urls!r})
django.setup()
importlib.import_module({urls!r})
"""


def rows(options: Options) -> Iterator[Row]:
    took: dict[str, list[float]] = {name: [] for name in _APPS}
    for number in range(options.rounds + 1):
        for name in _APPS:
            seconds = _import(name)
            if number:
                took[name].append(seconds)
    lighter = ratios(took["django_socialgrants"], took["django-allauth"], took["social-auth"])
    yield Row("import of the app, CPU", "lighter of allauth, social-auth", lighter, 1.1)
    counts = {name: installed(name) for name in PACKAGES if name in _APPS}
    ours = _runtime_requirements()
    fewest = min(counts.values())
    note = f"{ours} of {fewest}"
    yield Row("packages installed", "lighter of allauth, social-auth", [ours / fewest], 1.1, note=note)


def _import(name: str) -> float:
    """Seconds of CPU."""
    middleware = ["allauth.account.middleware.AccountMiddleware"] if "allauth" in _APPS[name] else []
    program = _PROGRAM.format(apps=_APPS[name], urls=_URLS[name], middleware=middleware)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python_of(name), "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _runtime_requirements() -> int:
    """How many distributions our own come to, with what they need in turn."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = ["django-socialgrants"]
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [it.name for it in needed if not it.marker or it.marker.evaluate({"extra": ""})]
    return len(found)
