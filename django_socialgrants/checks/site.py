"""The parts of Django that logging in needs."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.template import TemplateDoesNotExist
from django.template.backends.django import Template
from django.template.loader import get_template
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

_BACKEND = "django_socialgrants.backends.SocialGrantsBackend"
_SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
_AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
_SOCIAL = "django_socialgrants.middleware.SocialGrantsMiddleware"
_REQUEST = "django.template.context_processors.request"
_SESSION_ENGINES_WITH_A_TABLE = (
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.backends.cached_db",
)


@register("socialgrants")
def check_apps(**kwargs: Any) -> Sequence[CheckMessage]:
    """Users and, where they are kept in the database, sessions."""
    wanted = ["django.contrib.auth"]
    if settings.SESSION_ENGINE in _SESSION_ENGINES_WITH_A_TABLE:
        wanted.append("django.contrib.sessions")
    missing = [name for name in wanted if not apps.is_installed(name)]
    text = _("%(app)s is not in INSTALLED_APPS")
    hint = _("Add it, and run migrate: nobody can be logged in without it.")
    return [Error(text % {"app": name}, hint=hint, id="socialgrants.E011") for name in missing]


@register("socialgrants")
def check_backend(**kwargs: Any) -> Sequence[CheckMessage]:
    """Somebody can log in with a network."""
    if place(_BACKEND, settings.AUTHENTICATION_BACKENDS) is not None:
        return []
    text = _("AUTHENTICATION_BACKENDS has neither SocialGrantsBackend nor a class derived from it")
    hint = _("Add %(path)r: without it nobody can log in with a network.") % {"path": _BACKEND}
    return [Error(text, hint=hint, id="socialgrants.E012")]


@register("socialgrants")
def check_middleware(**kwargs: Any) -> Sequence[CheckMessage]:
    """Sessions and users come with a request, in this order, and before what is ours."""
    sessions, authentication, social = (
        place(path, settings.MIDDLEWARE) for path in (_SESSIONS, _AUTHENTICATION, _SOCIAL)
    )
    messages: list[CheckMessage] = []
    if sessions is None:
        text = _("MIDDLEWARE has neither SessionMiddleware nor a class derived from it")
        hint = _("Add %(path)r: a login that was started is remembered in the session.") % {"path": _SESSIONS}
        messages.append(Error(text, hint=hint, id="socialgrants.E013"))
    if authentication is None or (sessions is not None and authentication < sessions):
        text = _("MIDDLEWARE has no AuthenticationMiddleware, or has it before SessionMiddleware")
        hint = _("Put %(path)r after SessionMiddleware.") % {"path": _AUTHENTICATION}
        messages.append(Error(text, hint=hint, id="socialgrants.E014"))
    elif social is not None and social < authentication:
        text = _("MIDDLEWARE has SocialGrantsMiddleware before AuthenticationMiddleware")
        hint = _("Move it behind: request.social belongs to request.user.")
        messages.append(Error(text, hint=hint, id="socialgrants.E015"))
    return messages


@register("socialgrants")
def check_templates(**kwargs: Any) -> Sequence[CheckMessage]:
    """Pages are found, and know for whom they are rendered."""
    try:
        template = get_template("socialgrants/login_button.html")
    except TemplateDoesNotExist:
        text = _("TEMPLATES has no engine that finds the templates of django_socialgrants")
        hint = _('Set "APP_DIRS": True for DjangoTemplates, or add the loader of app directories.')
        return [Error(text, hint=hint, id="socialgrants.E016")]
    except Exception:  # TEMPLATES that Django's own checks explain, or a site's template with a mistake in it
        return []
    if not isinstance(template, Template) or _REQUEST in template.backend.engine.context_processors:
        return []
    text = _("TEMPLATES has no context processor %(path)r") % {"path": _REQUEST}
    hint = _("Add it: buttons and pages have to know whose they are.")
    return [Error(text, hint=hint, id="socialgrants.E017")]


def place(wanted: str, paths: Iterable[str]) -> int | None:
    """Index of the first path that leads to the class named `wanted`, or to one derived from it."""
    for place, path in enumerate(paths):
        if path == wanted or wanted in _bases(path):
            return place
    return None


def _bases(path: str) -> list[str]:
    """Dotted paths of a class and all it is derived from; none for what is no class or can't be imported."""
    try:
        found = import_string(path)
    except Exception:  # Django will say more about it than a check of ours could
        return []
    bases = found.__mro__ if isinstance(found, type) else ()
    return [f"{base.__module__}.{base.__qualname__}" for base in bases]
