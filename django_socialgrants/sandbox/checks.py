"""System checks: mistakes in the settings, told before anybody meets them in a browser."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from django_socialgrants.conf import conf
from django_socialgrants.transport.connections import is_loopback

_EXAMPLE = 'SOCIALGRANTS_SANDBOX_URL = "http://127.0.0.1:8000/sandbox"'


def check_sandbox(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Everything that is wrong with the sandbox's settings."""
    return [*_check_debug(), *_check_url(conf.SANDBOX_URL)]


def _check_debug() -> Iterator[CheckMessage]:
    if not settings.DEBUG:
        yield Error(
            "The sandbox is installed, but DEBUG is off.",
            hint=(
                "Anybody may log in as anybody there. Take django_socialgrants.sandbox out of INSTALLED_APPS "
                "and its classes out of SOCIALGRANTS_PROVIDERS. (manage.py test switches DEBUG off: "
                "add --debug-mode.)"
            ),
            id="socialgrants_sandbox.E001",
        )


def _check_url(url: str | None) -> Iterator[CheckMessage]:
    if not url:
        yield Error(
            "The sandbox is installed, but SOCIALGRANTS_SANDBOX_URL does not say where.",
            hint=f"For example: {_EXAMPLE}",
            id="socialgrants_sandbox.E002",
        )
        return
    scheme, host = _parts(url)
    if scheme not in ("http", "https") or not is_loopback(host):
        yield Error(
            f"SOCIALGRANTS_SANDBOX_URL is not an address of this machine: {url}",
            hint=f"The sandbox is for localhost only. For example: {_EXAMPLE}",
            id="socialgrants_sandbox.E003",
        )
    elif scheme == "http" and not conf.INSECURE_LOOPBACK:
        yield Error(
            "SOCIALGRANTS_SANDBOX_URL is plain http, which is not allowed.",
            hint="For the sandbox: SOCIALGRANTS_INSECURE_LOOPBACK = True",
            id="socialgrants_sandbox.E004",
        )


def _parts(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or ""
    except ValueError:  # an IPv6 address without its bracket
        return "", ""
