"""Redirect URIs: what a start names to a network, and what has to be registered there."""

from django.http import HttpRequest
from django.urls import reverse

from django_socialgrants.conf import conf
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.transport.exchange import is_secure

from .pages import origin


def redirect_uri(request: HttpRequest, name: str, *, flow: str) -> str:
    """Where the network sends the browser back to, for the application of that name and a flow.

    Raises Refusal for an origin that can't be trusted.
    """
    path = reverse(f"socialgrants:{flow}_callback", args=[name])
    if conf.BASE_URL is None:
        return request.build_absolute_uri(path)
    if not is_secure(conf.BASE_URL):
        raise Refusal("misconfigured", detail="SOCIALGRANTS_BASE_URL is not an https:// origin")
    return f"{origin(conf.BASE_URL)}{path}"
