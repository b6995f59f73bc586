"""The whole examination, in the order in which a login would meet what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import UnknownProvider
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.web.pages import origin

from .findings import Finding, Status
from .network import examine_credentials, examine_endpoints, examine_token
from .site import examine_site


def examine(names: Sequence[str] = (), *, username: str = "") -> Iterator[Finding]:
    """Look into the applications `names` (none = all) step by step; each step is yielded when it is done.

    With `username` (that of Django) a signed call is made in the name of that user. Sends at most one request to
    each host of a network, and one token request with a made-up code per application. Raises UnknownCredentials.
    """
    can_go_on = True
    for finding in examine_site():
        can_go_on = can_go_on and not (finding.step == "migrations" and finding.status is Status.FAILED)
        yield finding
    if not can_go_on:
        return
    applications = ProviderCredentials.objects.chosen(names)
    if not applications:
        fix = _("Declare one in SOCIALGRANTS_CREDENTIALS and run sync_credentials, or add it in the admin.")
        yield Finding("applications", Status.FAILED, _("There are no applications."), fix)
    for application in applications:
        for finding in _examine(application, username):
            yield replace(finding, application=application.name)


def _examine(application: ProviderCredentials, username: str) -> Iterator[Finding]:
    try:
        provider = application.get_provider()
    except (UnknownProvider, ImproperlyConfigured) as error:
        fix = _("Add the class of this network to SOCIALGRANTS_PROVIDERS.")
        yield Finding("network", Status.FAILED, str(error), fix)
        return
    yield Finding("network", Status.OK, provider.title)
    try:
        callbacks = _callback_urls(application)
    except NoReverseMatch:
        text = _("The URLs of this package are not among those of the site.")
        fix = 'path("social/", include("django_socialgrants.urls"))'
        yield Finding("callbacks", Status.FAILED, text, fix)
        return
    text = _("Register these callback URLs at the network, letter by letter: %(urls)s")
    yield Finding("callbacks", Status.OK, text % {"urls": ", ".join(callbacks)})
    yield from examine_endpoints(application)
    yield from examine_credentials(application, callbacks[0])
    if username:
        yield from examine_token(application, username)


def _callback_urls(application: ProviderCredentials) -> list[str]:
    """As a start would send them: below the base URL, or else below each host that the site answers for."""
    flows = [flow for flow in ("code", "implicit") if application.offers(flow)]
    paths = [reverse(f"socialgrants:{flow}_callback", args=[application.name]) for flow in flows or ["code"]]
    if conf.BASE_URL is not None:
        return [f"{origin(conf.BASE_URL)}{path}" for path in paths]
    hosts = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"] or ["localhost"]
    return [f"https://{host}{path}" for host in hosts for path in paths]
