"""Settings of the example: everything that differs from site to site comes from the environment or `.env`."""

from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env("SECRET_KEY", default="only-for-the-demo" if DEBUG else environ.Env.NOTSET)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"])
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
SANDBOX = env.bool("SANDBOX", default=DEBUG)

INSTALLED_APPS = [
    "demo",
    "django_socialgrants",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_socialgrants.middleware.SocialGrantsMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",  # staff have passwords
    "django_socialgrants.backends.SocialGrantsBackend",
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
ROOT_URLCONF = "demo.urls"
WSGI_APPLICATION = "demo.wsgi.application"
LOGIN_URL = "home"
LOGIN_REDIRECT_URL = "me"
LOGOUT_REDIRECT_URL = "home"
LANGUAGES = [("en", "English"), ("ru", "Русский")]
TIME_ZONE = "Europe/Moscow"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"

SOCIALGRANTS_BASE_URL = env("BASE_URL", default=None)
SOCIALGRANTS_ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS", default=[])

if REDIS_URL := env("REDIS_URL", default=""):
    CELERY_BROKER_URL = REDIS_URL
    CELERY_BEAT_SCHEDULE = {
        "refresh-tokens": {
            "task": "django_socialgrants.refresh_tokens",
            "schedule": 60,
            "kwargs": {"max_time": 50},
            "options": {"expires": 60},
        },
    }

if SANDBOX:
    INSTALLED_APPS += ["django_socialgrants.sandbox"]
    SOCIALGRANTS_PROVIDERS = [
        "django_socialgrants.sandbox.providers.OK",
        "django_socialgrants.sandbox.providers.MailRu",
        "django_socialgrants.sandbox.providers.VKID",
    ]
    SOCIALGRANTS_SANDBOX_URL = (
        "http://localhost:8000/sandbox"  # another site than 127.0.0.1, like the networks
    )
    SOCIALGRANTS_INSECURE_LOOPBACK = True
else:
    SOCIALGRANTS_PROVIDERS = [
        "django_socialgrants.providers.ok.OK",
        "django_socialgrants.providers.mailru.MailRu",
        "django_socialgrants.providers.vkid.VKID",
    ]
    SOCIALGRANTS_CREDENTIALS = {
        name: {"client_id": env(f"{name.upper()}_CLIENT_ID"), **fields}
        for name, fields in {
            "ok": {
                "client_secret": env("OK_CLIENT_SECRET", default=""),
                "client_key": env("OK_CLIENT_KEY", default=""),
                "scope": "VALUABLE_ACCESS",
            },
            "mailru": {
                "client_secret": env("MAILRU_CLIENT_SECRET", default=""),
                "client_key": env("MAILRU_CLIENT_KEY", default=""),
            },
            "vkid": {"ways": "vkid ok_ru mail_ru"},
        }.items()
        if env(f"{name.upper()}_CLIENT_ID", default="")
    }

if not DEBUG:
    CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
