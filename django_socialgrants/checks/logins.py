"""What logins need of a site's users, URLs and templates."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import override

from django_socialgrants.conf import conf
from django_socialgrants.flows.newcomers import create_user, new_user, unfit_fields
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Identity
from django_socialgrants.transport.names import is_loopback


@register("socialgrants")
def check_user_model(**kwargs: Any) -> Sequence[CheckMessage]:
    """The built-in factory can make users."""
    try:
        built_in = import_string(conf.USER_FACTORY) is create_user
    except Exception:  # E010
        return []
    if not (conf.CREATE_USERS and built_in):
        return []
    user = new_user(Identity("1"), ProviderCredentials(name="check"))
    if not (fields := unfit_fields(user)):
        return []
    text = _("Nobody new can log in: the user model has fields that nothing is known for: %(fields)s")
    hint = _(
        "Give them defaults, or let SOCIALGRANTS_USER_FACTORY make the users. A user name has room for 14 "
        "characters or more."
    )
    return [Warning(text % {"fields": ", ".join(fields)}, hint=hint, id="socialgrants.W020")]


@register("socialgrants")
def check_exchange_response(**kwargs: Any) -> Sequence[CheckMessage]:
    """The function that answers native apps is there."""
    path = conf.EXCHANGE_RESPONSE
    if path is None or is_function(path):
        return []
    text = _("SOCIALGRANTS_EXCHANGE_RESPONSE leads to no function")
    hint = _(
        'It is the dotted path of a function (request, user, token) -> HttpResponse: "accounts.apps.answer"'
    )
    return [Error(text, hint=hint, id="socialgrants.E020")]


def is_function(path: str) -> bool:
    try:
        return callable(import_string(path))
    except Exception:  # whatever a site's module does when it is imported
        return False


@register("socialgrants", Tags.urls)
def check_languages(**kwargs: Any) -> Sequence[CheckMessage]:
    """There is one redirect URI, whatever the language of a page."""
    paths = set()
    for language, _name in settings.LANGUAGES if settings.USE_I18N else ():
        with override(language):
            try:
                paths.add(reverse("socialgrants:connections"))
            except NoReverseMatch:
                return []
    if len(paths) <= 1:
        return []
    text = _("django_socialgrants.urls stands in i18n_patterns(): there is a redirect URI for each language")
    hint = _("Move it out of them, or register each of these URIs at the networks.")
    return [Warning(text, hint=hint, id="socialgrants.W021")]


@register("socialgrants", deploy=True)
def check_proxy(**kwargs: Any) -> Sequence[CheckMessage]:
    """Something tells that visitors come by https, so that redirect URIs say so as well."""
    told = settings.SECURE_PROXY_SSL_HEADER or settings.SECURE_SSL_REDIRECT or conf.BASE_URL is not None
    if settings.DEBUG or told or all(map(is_loopback, settings.ALLOWED_HOSTS)):
        return []
    text = _(
        "Nothing says that visitors come by https: behind a proxy that ends TLS, redirect URIs are http://"
    )
    hint = _("Set SECURE_PROXY_SSL_HEADER, or the origin of all redirect URIs: SOCIALGRANTS_BASE_URL.")
    return [Warning(text, hint=hint, id="socialgrants.W022")]


@register("socialgrants")
def check_pages(**kwargs: Any) -> Sequence[CheckMessage]:
    """A base.html of the site's own shows what our pages hold."""
    try:
        page = render_to_string("socialgrants/fragment.html", {"flow": "code", "forward_url": "/"})
    except (
        Exception
    ):  # no templates (E016), or a mistake in one of the site's, which may need a request to render
        return []
    if "socialgrants/fragment.js" in page:
        return []
    text = _("The site's socialgrants/base.html shows nothing of our pages: it has no block named content")
    hint = _("Put {% block content %}{% endblock %} where they belong; blocks title and head are optional.")
    return [Warning(text, hint=hint, id="socialgrants.W023")]
