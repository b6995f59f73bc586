"""The steps that need no network: settings, database, addresses and cookies."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http.request import validate_host
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.models import UserToken
from django_socialgrants.transport.names import is_loopback

from .findings import Finding, Status


def examine_site() -> Iterator[Finding]:
    """Everything that concerns all applications alike."""
    yield from _checks()
    yield from _migrations()
    yield from _hosts()
    yield from _cookies()


def _checks() -> Iterator[Finding]:
    """The system checks of this package, as `manage.py check` has them."""
    found = [
        message
        for message in checks.run_checks(databases=[router.db_for_write(UserToken)])
        if str(message.id).startswith("socialgrants") and not message.is_silenced()
    ]
    for message in found:
        status = Status.FAILED if message.level >= checks.ERROR else Status.WARNING
        yield Finding("checks", status, f"{message.id}: {message.msg}", str(message.hint or ""))
    if not found:
        yield Finding("checks", Status.OK, _("The system checks have nothing to say."))


def _migrations() -> Iterator[Finding]:
    connection = connections[router.db_for_write(UserToken)]
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes("socialgrants"))
    except DatabaseError as error:
        text = _("The database does not answer: %(error)s.") % {"error": type(error).__name__}
        yield Finding("migrations", Status.FAILED, text, _("See whether it is running, and check DATABASES."))
        return
    if plan:
        text = _("The database lacks migrations.")
        yield Finding("migrations", Status.FAILED, text, "manage.py migrate socialgrants")
    else:
        yield Finding("migrations", Status.OK, _("All migrations are applied."))


def _hosts() -> Iterator[Finding]:
    """Where networks send people back to is a host that this site answers for."""
    if conf.BASE_URL is None:
        text = _("Callback URLs are made of the host and scheme of each request.")
        status = Status.OK if settings.DEBUG else Status.WARNING
        fix = _("Behind a proxy both may be wrong. Name the origin: SOCIALGRANTS_BASE_URL.")
        yield Finding("hosts", status, text, "" if status is Status.OK else fix)
        return
    parts = urlsplit(conf.BASE_URL)
    host = parts.hostname or ""
    if not validate_host(host, settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else [])):
        text = _("SOCIALGRANTS_BASE_URL leads to %(host)s, which ALLOWED_HOSTS does not name.") % {
            "host": host
        }
        yield Finding("hosts", Status.FAILED, text, _("Add it to ALLOWED_HOSTS, or correct the base URL."))
        return
    trusted = settings.SECURE_PROXY_SSL_HEADER or conf.BASE_URL.rstrip("/") in settings.CSRF_TRUSTED_ORIGINS
    if parts.scheme == "https" and not trusted:
        text = _("The site is reached over https; Django is not told so by a proxy.")
        fix = _(
            "If a proxy ends TLS, set SECURE_PROXY_SSL_HEADER: else forms are refused (403), as their origin is "
            "not the one that Django sees. Where Django's server ends TLS itself, there is nothing to do."
        )
        yield Finding("hosts", Status.WARNING, text, fix)
        return
    yield Finding("hosts", Status.OK, _("%(url)s is a host of this site.") % {"url": conf.BASE_URL})


_DEBUG_HOSTS = [".localhost", "127.0.0.1", "[::1]"]
"""What Django allows when DEBUG is on and ALLOWED_HOSTS is empty."""


def _cookies() -> Iterator[Finding]:
    """Browsers bring the session back from the network: it holds the state of the login."""
    found = [*_cookie_problems()]
    yield from found
    if not found:
        yield Finding("cookies", Status.OK, _("Session and CSRF cookies fit the way the site is served."))


def _cookie_problems() -> Iterator[Finding]:
    parts = urlsplit(conf.BASE_URL or "")
    host, is_https = parts.hostname or "", parts.scheme == "https"
    same_site = str(settings.SESSION_COOKIE_SAMESITE or "").lower()
    secure = {"SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"}
    if parts.scheme == "http" and any(getattr(settings, name) for name in secure):
        text = _("Cookies are Secure, and the site is reached over http.")
        fix = _(
            "Not every browser keeps them on this machine: switch SESSION_COOKIE_SECURE and "
            "CSRF_COOKIE_SECURE off there."
        )
        yield Finding("cookies", Status.WARNING if is_loopback(host) else Status.FAILED, text, fix)
    if same_site == "none" and not settings.SESSION_COOKIE_SECURE:
        text = _("SESSION_COOKIE_SAMESITE is “None”, and the cookie is not Secure: browsers refuse it.")
        yield Finding("cookies", Status.FAILED, text, "SESSION_COOKIE_SECURE = True")
    elif is_https and not settings.SESSION_COOKIE_SECURE:
        text = _("The session cookie is not Secure, and the site is reached over https.")
        yield Finding("cookies", Status.WARNING, text, "SESSION_COOKIE_SECURE = True")
    domain = (settings.SESSION_COOKIE_DOMAIN or "").lstrip(".")
    if domain and host and host != domain and not host.endswith(f".{domain}"):
        text = _("The session cookie is for %(domain)s, and people come back to %(host)s.")
        fix = _("Leave SESSION_COOKIE_DOMAIN out, or let it cover that host.")
        yield Finding("cookies", Status.FAILED, text % {"domain": domain, "host": host}, fix)
