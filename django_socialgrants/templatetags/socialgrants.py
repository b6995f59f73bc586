"""`{% load socialgrants %}`: buttons that log in with, or connect, an account of a network."""

from typing import Any

from django import template
from django.template.context import RequestContext
from django.urls import reverse
from django.utils.translation import gettext

from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import SocialGrantsError, UnknownCredentials, UnsupportedGrant
from django_socialgrants.models import ProviderCredentials

register = template.Library()


@register.inclusion_tag("socialgrants/login_button.html", takes_context=True)
def login_button(
    context: RequestContext, name: str, next: str = "", flow: str = "code", label: str = ""
) -> dict[str, Any]:
    """One button, a POST form: `{% login_button "ok" next="/me/" flow="code" label="Come in" %}`.

    `name` is that of the credentials. For an unknown one nothing is shown and a warning is logged: a page
    should not fail with its buttons.
    """
    try:
        credentials = ProviderCredentials.objects.named(name)
    except UnknownCredentials as error:
        return _no_button(error)
    return _button(context, credentials, next, flow, label)


@register.inclusion_tag("socialgrants/login_buttons.html", takes_context=True)
def login_buttons(context: RequestContext, next: str = "", flow: str = "code") -> dict[str, Any]:
    """A button for every application that offers the flow."""
    applications = ProviderCredentials.objects.usable(flow)
    return {"buttons": [_button(context, application, next, flow) for application in applications]}


@register.inclusion_tag("socialgrants/login_button.html", takes_context=True)
def application_button(
    context: RequestContext,
    credentials: ProviderCredentials,
    next: str = "",
    flow: str = "code",
    label: str = "",
) -> dict[str, Any]:
    """The button of credentials that are at hand, as our own pages have them."""
    return _button(context, credentials, next, flow, label)


def _button(
    context: RequestContext, credentials: ProviderCredentials, next: str, flow: str, label: str = ""
) -> dict[str, Any]:
    try:
        if not credentials.offers(flow):
            raise UnsupportedGrant(f"{credentials.name!r} does not offer the {flow} flow")
        provider = credentials.get_provider()
    except SocialGrantsError as error:
        return _no_button(error)
    user = getattr(context.get("request"), "user", None)
    connecting = getattr(user, "is_authenticated", False)
    words = gettext("Connect %(network)s") if connecting else gettext("Login with %(network)s")
    return {
        "action": reverse(f"socialgrants:{flow}", args=[credentials.name]),
        "csrf_token": context.get("csrf_token"),
        "label": label or words % {"network": provider.title},
        "next": next,
        "provider": provider,
    }


def _no_button(error: SocialGrantsError) -> dict[str, Any]:
    log(Event.NO_BUTTON, "no login button: %s", error, reason=type(error).__name__)
    return {}
