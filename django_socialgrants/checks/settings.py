"""Settings that hold something else than they should."""

import math
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections, router
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.models import UserToken
from django_socialgrants.transport.exchange import is_secure


@register("socialgrants")
def check_times(**kwargs: Any) -> Sequence[CheckMessage]:
    """Times are numbers, and a lease outlives what is done under it: two exchanges, and the storing of a token."""
    times: dict[str, Any] = {name: getattr(conf, name) for name in ("TIMEOUT", "STATE_AGE", "REFRESH_BEFORE")}
    if (lease := getattr(settings, "SOCIALGRANTS_LEASE", None)) is not None:
        times["LEASE"] = lease
    if wrong := [name for name, value in times.items() if not _is_time(value)]:
        text = _("SOCIALGRANTS_%(name)s must be a number of seconds above 0")
        hint = _("Leave it out for its default. From the environment it has to be read as a number.")
        return [Error(text % {"name": name}, hint=hint, id="socialgrants.E007") for name in wrong]
    if conf.LEASE >= 3 * conf.TIMEOUT:
        return []
    text = _("SOCIALGRANTS_LEASE is %(lease)s s, less than 3 x SOCIALGRANTS_TIMEOUT (%(timeout)s s)")
    hint = _("Raise SOCIALGRANTS_LEASE, or leave it out: then it is 4 x SOCIALGRANTS_TIMEOUT.")
    numbers = {"lease": conf.LEASE, "timeout": conf.TIMEOUT}
    return [Error(text % numbers, hint=hint, id="socialgrants.E004")]


def _is_time(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


@register("socialgrants")
def check_time_zones(**kwargs: Any) -> Sequence[CheckMessage]:
    """Times stay times when a clock is put back."""
    connection = connections[router.db_for_write(UserToken)]
    if settings.USE_TZ or connection.features.supports_timezones:
        return []
    text = _("USE_TZ is False, and the database keeps local times without their zones")
    hint = _(
        "When summer time begins or ends, tokens expire an hour too early or too late, and refreshes wait for an "
        "hour. Set USE_TZ = True."
    )
    return [Warning(text, hint=hint, id="socialgrants.W019")]


@register("socialgrants")
def check_base_url(**kwargs: Any) -> Sequence[CheckMessage]:
    """The base URL is an origin that a network may send visitors back to."""
    if conf.BASE_URL is None or _is_origin(conf.BASE_URL):
        return []
    text = _("SOCIALGRANTS_BASE_URL is not an https:// origin")
    hint = _(
        'Scheme and host, and nothing behind them: "https://example.com". http:// only on this machine, with '
        "SOCIALGRANTS_INSECURE_LOOPBACK = True."
    )
    return [Error(text, hint=hint, id="socialgrants.E008")]


def _is_origin(url: Any) -> bool:
    if not isinstance(url, str) or not is_secure(url):
        return False
    try:
        parts = urlsplit(url)
        plain = f"{parts.scheme}://{parts.netloc}" == url.removesuffix("/") and "@" not in parts.netloc
        return plain and parts.port != 0
    except ValueError:  # of a port that is none
        return False


@register("socialgrants")
def check_hosts(**kwargs: Any) -> Sequence[CheckMessage]:
    """Who visits does not decide where the networks send people back to."""
    if settings.DEBUG or conf.BASE_URL is not None or "*" not in settings.ALLOWED_HOSTS:
        return []
    text = _("ALLOWED_HOSTS allows every host, and redirect URIs are made of the host that a request names")
    hint = _(
        'Name your hosts, or the origin of all redirect URIs: SOCIALGRANTS_BASE_URL = "https://example.com"'
    )
    return [Warning(text, hint=hint, id="socialgrants.W012")]


@register("socialgrants")
def check_ca_bundle(**kwargs: Any) -> Sequence[CheckMessage]:
    """The certificate authorities are where the setting says."""
    path = conf.CA_BUNDLE
    if not path or (isinstance(path, (str, os.PathLike)) and os.path.exists(path)):
        return []
    text = _("SOCIALGRANTS_CA_BUNDLE is not the path of a file or folder that exists")
    hint = _("Without the setting the authorities of requests are trusted (package certifi).")
    return [Error(text, hint=hint, id="socialgrants.E009")]


@register("socialgrants")
def check_user_factory(**kwargs: Any) -> Sequence[CheckMessage]:
    """The function that makes users is there."""
    try:
        if callable(import_string(conf.USER_FACTORY)):
            return []
        problem = _("it can't be called")
    except Exception as error:  # whatever a site's module does when it is imported
        problem = type(error).__name__
    text = _("SOCIALGRANTS_USER_FACTORY leads to no function: %(problem)s") % {"problem": problem}
    hint = _(
        'It is the dotted path of a function (identity, credentials) -> user: "accounts.social.make_user"'
    )
    return [Error(text, hint=hint, id="socialgrants.E010")]
