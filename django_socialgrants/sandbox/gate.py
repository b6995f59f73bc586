"""What every view of the sandbox passes through."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import Http404
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt, csrf_protect

P = ParamSpec("P")

_HEADERS = {
    "Cache-Control": "no-store",
    # Not "no-referrer": browsers then send "Origin: null" with the dialog's form, which Django refuses.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """A view for people: forms need a CSRF token, whatever middleware the site has."""
    return _gated(csrf_protect(view))


def endpoint(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """A view for programs, which have no cookies to be forged with."""
    return _gated(csrf_exempt(view))


def _gated(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """404 outside of development; open to those who are not logged in yet; headers.

    Not in the site's transaction per request: on SQLite one that reads before it writes can't wait for its
    turn to write, and two uses of one code would end in "database is locked" instead of one refusal.
    """

    @wraps(view)
    def gated(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not settings.DEBUG:
            raise Http404("The sandbox needs DEBUG = True.")
        response = view(*args, **kwargs)
        for name, value in _HEADERS.items():
            response.setdefault(name, value)
        return response

    return transaction.non_atomic_requests(login_not_required(gated))
