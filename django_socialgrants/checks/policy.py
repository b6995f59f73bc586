"""A Content-Security-Policy of the site's own, which must not stop visitors on their way to a network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from django_socialgrants.registry import providers

from .site import place

_MIDDLEWARE = {
    "SECURE_CSP": "django.middleware.csp.ContentSecurityPolicyMiddleware",  # Django 6.0 and later
    "CONTENT_SECURITY_POLICY": "csp.middleware.CSPMiddleware",  # django-csp 4
}
"""Which class sends the policy of which setting."""


@register("socialgrants", deploy=True)
def check_form_action(**kwargs: Any) -> Sequence[CheckMessage]:
    """A form that starts a login may redirect to every network: browsers hold `form-action` against that, too."""
    hint = _(
        "Without it browsers stop whoever presses a button. Add %(origins)s to form-action, or take networks that "
        "you don't use out of SOCIALGRANTS_PROVIDERS. A page with a policy of its own needs the same."
    )
    return [
        Warning(
            _("%(setting)s: form-action does not name %(origins)s") % {"setting": name, "origins": origins},
            hint=hint % {"origins": origins},
            id="socialgrants.W018",
        )
        for name, sources in _form_actions()
        if (origins := " ".join(url for url in _origins() if not _allows(sources, urlsplit(url))))
    ]


def _form_actions() -> Iterator[tuple[str, list[str]]]:
    """By setting, what the directive lists, where there is one: nothing stands in for it, default-src included."""
    for name, middleware in _MIDDLEWARE.items():
        policy = getattr(settings, name, None)
        if place(middleware, settings.MIDDLEWARE) is None or not isinstance(policy, Mapping):
            continue
        sources = policy.get("DIRECTIVES", policy).get("form-action")
        if sources:
            yield name, [sources] if isinstance(sources, str) else [str(source) for source in sources]


def _origins() -> list[str]:
    try:
        networks = providers().values()
        endpoints = [urlsplit(network.authorization_endpoint) for network in networks]
    except (ImproperlyConfigured, ValueError):  # which other checks tell
        return []
    return sorted({f"{url.scheme}://{url.netloc}" for url in endpoints if url.netloc})


def _allows(sources: list[str], origin: SplitResult) -> bool:
    return any(_matches(source.lower(), origin) for listed in sources for source in listed.split())


def _matches(source: str, origin: SplitResult) -> bool:
    """Whether a source covers an origin (CSP, section 6.7.2.8); its path says nothing about a redirect."""
    schemes = {origin.scheme, "http"}  # a source that says http:// covers https:// as well
    if source == "*" or source.removesuffix(":") in schemes:
        return True
    scheme, found, rest = source.rpartition("://")
    host, _colon, port = rest.partition("/")[0].partition(":")
    if (found and scheme not in schemes) or port not in ("", "*", str(origin.port or 443)):
        return False
    return host == origin.hostname or (host.startswith("*.") and str(origin.hostname).endswith(host[1:]))
