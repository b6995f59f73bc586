"""System checks: report mistakes in the settings before anybody sees them in a browser."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.transport.names import is_loopback

_EXAMPLE = 'SOCIALGRANTS_SANDBOX_URL = "http://localhost:8000/sandbox"'


def check_sandbox(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Everything that is wrong with the sandbox's settings."""
    return [*_check_debug(), *_check_url(conf.SANDBOX_URL), *_check_declared()]


def _check_debug() -> Iterator[CheckMessage]:
    if settings.DEBUG:
        return
    if getattr(apps.get_app_config("socialgrants_sandbox"), "began_in_debug", False):
        yield Warning(
            _("The sandbox is installed, and tests run with DEBUG off: it answers 404."),
            hint=_(
                "Most tests need no sandbox, but django_socialgrants.testing. Those that do: "
                "manage.py test --debug-mode."
            ),
            id="socialgrants_sandbox.W001",
        )
    else:
        yield Error(
            _("The sandbox is installed, but DEBUG is off."),
            hint=_(
                "Anybody may log in as anybody there. Take django_socialgrants.sandbox out of INSTALLED_APPS "
                "and its classes out of SOCIALGRANTS_PROVIDERS."
            ),
            id="socialgrants_sandbox.E001",
        )


def _check_declared() -> Iterator[CheckMessage]:
    if conf.CREDENTIALS:
        yield Warning(
            _("SOCIALGRANTS_CREDENTIALS declares applications, and the sandbox plays the networks."),
            hint=_(
                "It knows only what load_sandbox registers: sync_credentials would overwrite that, or add buttons "
                "that lead nowhere. Declare the real ones in an else: beside the if that installs the sandbox."
            ),
            id="socialgrants_sandbox.W002",
        )


def _check_url(url: str | None) -> Iterator[CheckMessage]:
    if not url:
        yield Error(
            _("The sandbox is installed, but SOCIALGRANTS_SANDBOX_URL does not say where."),
            hint=_("For example: %(example)s") % {"example": _EXAMPLE},
            id="socialgrants_sandbox.E002",
        )
        return
    scheme, host = _parts(url)
    if scheme not in ("http", "https") or not is_loopback(host):
        yield Error(
            _("SOCIALGRANTS_SANDBOX_URL is not an address of this machine: %(url)s") % {"url": url},
            hint=_("The sandbox is for localhost only. For example: %(example)s") % {"example": _EXAMPLE},
            id="socialgrants_sandbox.E003",
        )
    elif scheme == "http" and not conf.INSECURE_LOOPBACK:
        yield Error(
            _("SOCIALGRANTS_SANDBOX_URL is plain http, which is not allowed."),
            hint=_("For the sandbox: %(setting)s") % {"setting": "SOCIALGRANTS_INSECURE_LOOPBACK = True"},
            id="socialgrants_sandbox.E004",
        )


def _parts(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or ""
    except ValueError:  # an IPv6 address without its bracket
        return "", ""
