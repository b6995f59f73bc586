"""Settings of the tests. DATABASE_URL chooses the database; without it a file of SQLite is used."""

import os
import tempfile
from pathlib import Path

import environ

env = environ.Env()

SECRET_KEY = "tests-only-secret-key-that-is-long-enough-for-everybody"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"

# A file, not memory: threads and processes of one test run meet in it, and no others.
_FILE = os.environ.setdefault(
    "SOCIALGRANTS_TESTS_FILE", str(Path(tempfile.gettempdir()) / f"socialgrants-tests-{os.getpid()}.sqlite3")
)
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{_FILE}")}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": _FILE}
    # What a commit writes need not survive the machine: waiting for the disk took half the time of a run.
    DATABASES["default"]["OPTIONS"] = {"timeout": 30, "init_command": "PRAGMA synchronous=OFF"}
# A second connection to the same tables: what is written through one is no part of the other's transactions.
DATABASES["second"] = {**DATABASES["default"], "TEST": {"MIRROR": "default"}}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_socialgrants",
    "django_socialgrants.sandbox",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "django_socialgrants.backends.SocialGrantsBackend",
]
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # Django 6.1 and later
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

SOCIALGRANTS_INSECURE_LOOPBACK = True
SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"
SILENCED_SYSTEM_CHECKS = ["socialgrants_sandbox.E001"]  # tests run with DEBUG off
