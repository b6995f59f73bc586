"""What can be told of an application without showing what is secret."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count
from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import MASK, DecryptionError
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Secret
from django_socialgrants.registry import providers
from django_socialgrants.storage.clock import database_time
from django_socialgrants.web.callback import redirect_uri

_SUFFIX = 4
_LONG_ENOUGH = 4 * _SUFFIX
"""Characters from which on the last ones tell one secret from another without giving it away."""


def known_networks() -> list[Provider]:
    """The networks of this site; none where the setting is wrong, which a check tells."""
    try:
        return list(providers().values())
    except ImproperlyConfigured:
        return []


def masked(secret: Secret) -> str:
    """What tells a stored secret from others: "…3F9A"; "***" for a short one, "" for none.

    Raises DecryptionError, or ImproperlyConfigured for a malformed key.
    """
    if not secret:
        return ""
    text = secret.reveal()
    return f"…{text[-_SUFFIX:]}" if len(text) >= _LONG_ENOUGH else MASK


def stored(secret: Secret) -> str:
    """The same in words, whatever there is."""
    try:
        return masked(secret) or _("not set")
    except (DecryptionError, ImproperlyConfigured):
        return _("set, but can't be decrypted")


@dataclass(frozen=True)
class CallbackUrls:
    """What has to be registered at the network: (flow, URL) pairs, or `problem`, a sentence.

    `from_request` says that the origin is that of the page on which they are shown.
    """

    urls: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    from_request: bool = False


def callback_urls(request: HttpRequest, credentials: ProviderCredentials | None) -> CallbackUrls:
    """The URLs of one application; without one those of an application that is called NAME."""
    flows = [flow for flow in ("code", "implicit") if credentials is None or _offers(credentials, flow)]
    if credentials is None:
        flows.remove("implicit")
    titles = {"code": _("Authorization code grant"), "implicit": _("Implicit grant")}
    name = credentials.name if credentials else "NAME"
    try:
        urls = tuple((titles[flow], redirect_uri(request, name, flow=flow)) for flow in flows)
    except NoReverseMatch:
        return CallbackUrls(problem=_("The URLs of django_socialgrants are not part of this site's URLconf."))
    except Refusal:
        return CallbackUrls(problem=_("SOCIALGRANTS_BASE_URL is not an https:// origin."))
    return CallbackUrls(urls, from_request=conf.BASE_URL is None)


def _offers(credentials: ProviderCredentials, flow: str) -> bool:
    return credentials.known_provider() is not None and credentials.offers(flow)


def tokens_by_state(credentials: ProviderCredentials) -> list[dict[str, Any]]:
    """For every state its label, how many tokens are in it, and the query that lists them."""
    counted = UserToken.objects.filter(credentials=credentials).order_by().values_list("state")
    counts = dict(counted.annotate(Count("pk")))
    return [
        {
            "label": state.label,
            "count": counts.get(state.value, 0),
            "query": f"state__exact={state.value}&credentials__id__exact={credentials.pk}",
        }
        for state in UserToken.State
    ]


def trouble(health: ApplicationHealth | None) -> ApplicationHealth | None:
    """The same if it tells of any."""
    return health if health and (health.failures or health.paused_until or health.reason) else None


def reason(health: ApplicationHealth) -> str | Promise:
    return health.get_reason_display() or _("the last refreshes failed")


def paused_until(health: ApplicationHealth) -> datetime | None:
    """None when the pause is over."""
    until = health.paused_until
    return until if until and until > database_time(health._state.db or DEFAULT_DB_ALIAS) else None


def condition(health: ApplicationHealth | None) -> str:
    """In a word or two."""
    if health is None:
        return "-"
    return _("paused") if paused_until(health) else _("in trouble")
