"""`{% load socialgrants %}`: buttons that log in with, or connect, an account of a network."""

from typing import Any

from django import template
from django.template.context import RequestContext
from django.urls import reverse
from django.utils.translation import gettext

from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import SocialGrantsError, UnsupportedGrant
from django_socialgrants.models import ProviderCredentials

register = template.Library()


@register.inclusion_tag("socialgrants/login_button.html", takes_context=True)
def login_button(
    context: RequestContext, name: str, next: str = "", flow: str = "code", label: str = "", way: str = ""
) -> dict[str, Any]:
    """One button, a POST form: `{% login_button "ok" next="/me/" flow="code" label="Come in" %}`.

    `name` is that of the credentials, `way` one of their ways in, at a network that has several: "ok_ru". For an
    unknown one nothing is shown and a warning is logged: a page should not fail with its buttons.
    """
    try:
        return _button(context, ProviderCredentials.objects.named(name), next, flow, way, label)
    except SocialGrantsError as error:
        return _no_button(error)


@register.inclusion_tag("socialgrants/login_buttons.html", takes_context=True)
def login_buttons(context: RequestContext, next: str = "", flow: str = "code") -> dict[str, Any]:
    """A button for every way into every application that offers the flow."""
    buttons = [
        _button(context, application, next, flow, way)
        for application in ProviderCredentials.objects.usable(flow)
        for way in application.ways_in()
    ]
    return {"buttons": buttons}


@register.inclusion_tag("socialgrants/login_button.html", takes_context=True)
def application_button(
    context: RequestContext,
    credentials: ProviderCredentials,
    next: str = "",
    flow: str = "code",
    label: str = "",
    way: str = "",
    another: bool = False,
) -> dict[str, Any]:
    """The button of credentials that are at hand, as our own pages have them, or of a further account.

    A way in that is no longer offered becomes the default one.
    """
    try:
        way = way if way in credentials.ways_in() else ""
        return _button(context, credentials, next, flow, way, label, another)
    except SocialGrantsError as error:
        return _no_button(error)


def _button(
    context: RequestContext,
    credentials: ProviderCredentials,
    next: str,
    flow: str,
    way: str,
    label: str = "",
    another: bool = False,
) -> dict[str, Any]:
    provider = credentials.get_provider()
    ways = credentials.ways_in()
    if not credentials.offers(flow):
        raise UnsupportedGrant(f"{credentials.name!r} does not offer the {flow} flow")
    if way and way not in ways:
        raise UnsupportedGrant(f"{credentials.name!r} does not offer the way in {way!r}")
    way = way or ways[0]
    user = getattr(context.get("request"), "user", None)
    if another:
        words = gettext("Connect another %(network)s account")
    elif getattr(user, "is_authenticated", False):
        words = gettext("Connect %(network)s")
    else:
        words = gettext("Login with %(network)s")
    return {
        "action": reverse(f"socialgrants:{flow}", args=[credentials.name]),
        "csrf_token": context.get("csrf_token"),
        "kind": way or provider.id,
        "label": label or words % {"network": provider.ways.get(way, provider.title)},
        "next": next,
        "way": way,
    }


def _no_button(error: SocialGrantsError) -> dict[str, Any]:
    log(Event.NO_BUTTON, "no login button: %s", error, reason=type(error).__name__)
    return {}
