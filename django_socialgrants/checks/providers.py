"""The networks of SOCIALGRANTS_PROVIDERS."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.registry import load
from django_socialgrants.transport.exchange import is_secure


@register("socialgrants")
def check_providers(**kwargs: Any) -> Sequence[CheckMessage]:
    """Every path of SOCIALGRANTS_PROVIDERS leads to a Provider, and no two have the same id."""
    messages: list[CheckMessage] = []
    seen: dict[str, str] = {}
    for path in conf.PROVIDERS:
        try:
            provider = load(path)
        except ImproperlyConfigured as error:
            hint = _("List dotted paths of classes derived from django_socialgrants.oauth.provider.Provider.")
            messages.append(Error(str(error), hint=hint, id="socialgrants.E001"))
            continue
        if provider.id in seen:
            text = _("SOCIALGRANTS_PROVIDERS: %(path)r and %(other)r have the id %(id)r")
            names = {"path": path, "other": seen[provider.id], "id": provider.id}
            messages.append(Error(text % names, hint=_("Remove one of them."), id="socialgrants.E002"))
        seen[provider.id] = path
        messages.extend(_check_endpoints(path, provider))
    return messages


def _check_endpoints(path: str, provider: Provider) -> Iterator[CheckMessage]:
    """What a flow needs is there, and nothing is called in clear."""
    try:
        urls = _endpoints(provider)
        missing = list(_missing(provider))
    except ImproperlyConfigured:
        return  # an endpoint that depends on a setting, which has a check of its own
    except Exception as error:  # whatever a class of others does
        urls, missing = {}, [_("readable endpoints (%(error)s)") % {"error": type(error).__name__}]
    if missing:
        yield Error(
            _("SOCIALGRANTS_PROVIDERS: %(path)r has no %(missing)s")
            % {"path": path, "missing": ", ".join(missing)},
            hint=_("Add it to the class, or take the flow that needs it out of its response_types."),
            id="socialgrants.E005",
        )
    for name, url in urls.items():
        if url and not (isinstance(url, str) and is_secure(url)):
            yield Error(
                _("SOCIALGRANTS_PROVIDERS: %(path)r has a %(name)s that is not https://")
                % {"path": path, "name": name},
                hint=_(
                    "Networks are called over https. For tests on this machine: "
                    "SOCIALGRANTS_INSECURE_LOOPBACK = True"
                ),
                id="socialgrants.E006",
            )


def _endpoints(provider: Provider) -> dict[str, object]:
    tokens = {f"token_endpoints[{grant!r}]": url for grant, url in provider.token_endpoints.items()}
    return {
        "authorization_endpoint": provider.authorization_endpoint,
        "api_endpoint": provider.api_endpoint,
        **tokens,
    }


def _missing(provider: Provider) -> Iterator[str]:
    """A grant that is absent among the token endpoints is not supported, but where all are one was forgotten."""
    if provider.response_types and not provider.authorization_endpoint:
        yield "authorization_endpoint"
    if "code" in provider.response_types and not any(provider.token_endpoints.values()):
        yield "token_endpoints"
