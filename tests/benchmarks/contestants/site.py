"""The same site for every package: users, sessions and a database, nothing else."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from django.core.management import call_command

NETWORK = os.environ.get("BENCHMARK_NETWORK", "")
APPLICATION = {"client_id": "700000", "client_secret": "s" * 32, "client_key": "k" * 32}


def set_up(apps: list[str], urls: str, **more: Any) -> None:
    """Configure Django and make the tables; the database is a file that goes with the process, or as told."""
    database = json.loads(os.environ.get("BENCHMARK_DATABASE", "null"))
    folder = tempfile.TemporaryDirectory()
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder.name) / "db.sqlite3")}
    base = {
        "SECRET_KEY": "benchmarks",
        "ALLOWED_HOSTS": ["*"],
        "USE_TZ": True,
        "ROOT_URLCONF": urls,
        "DATABASES": {"default": database or sqlite},
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "LOGIN_REDIRECT_URL": "/done/",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            *apps,
        ],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            *more.pop("MIDDLEWARE", []),
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                    ]
                },
            }
        ],
    }
    settings.configure(**base, **more)
    settings.benchmark_folder = folder
    django.setup()
    call_command("migrate", verbosity=0)


def logins(start: str, callback: str, tokens: Callable[[], int]) -> Callable[..., int]:
    """The task of logging in `count` people, new ones in every round or the same ones again.

    `start` is posted to; `callback` is visited with the state that the start sent along, and a code that is the
    user id. `tokens` says how many tokens are stored.
    """
    from django.contrib.auth import get_user_model
    from django.test import Client

    def log_in(count: int, round: int, repeat: bool) -> int:
        first = 10_000_000 if repeat else 20_000_000 + 100_000 * round
        before = tokens()
        done = 0
        for uid in range(first, first + count):
            browser = Client()
            location = browser.post(start)["Location"]
            state = parse_qs(urlsplit(location).query)["state"][0]
            response = browser.get(callback, {"code": str(uid), "state": state})
            done += response.status_code == 302 and "_auth_user_id" in browser.session
        if not repeat and tokens() - before != count:
            return 0
        return done if tokens() <= get_user_model().objects.count() and tokens() >= count else 0

    return log_in
