"""What all answers of our views have in common: their headers, and the page that says no."""

import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseForbidden,
    JsonResponse,
    UnreadablePostError,
)
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils.decorators import decorator_from_middleware
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import SocialGrantsError, clean_text
from django_socialgrants.flows.refusal import UNREADABLE, Refusal
from django_socialgrants.flows.state import set_cookies

MAX_BODY = 8 * 1024
"""Bytes of a request's body."""

View = Callable[..., HttpResponseBase]
R = TypeVar("R", bound=HttpResponseBase)


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check, with a page of ours for who fails it: an old tab, or cookies that are switched off."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponseForbidden:
        raise Refusal("csrf_failed", detail=clean_text(reason))


_csrf_protect = decorator_from_middleware(_CsrfCheck)


def page(*methods: str, scripted: bool = False, cookies: bool = True) -> Callable[[View], View]:
    """A view of ours: takes only `methods`, checks CSRF, turns refusals into pages, sets our headers on all.

    Refusals are JSON where `scripted` pages may post and prefer it, and wherever no `cookies` count: then there is
    no session either, and nothing that CSRF could abuse.

    None of this is left to a site's middleware, which may be absent or come first: so it is exempt from the
    site's own CSRF check (ours runs inside, where its answer gets our headers too), needs no login where a
    site demands one everywhere, and is in no transaction while it waits for a network.
    """

    def decorate(view: View) -> View:
        event = Event(view.__name__)
        checked = sensitive_post_parameters()(view)
        protected = require_http_methods(methods)(_csrf_protect(checked) if cookies else checked)

        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                _read_body(request, else_raise="malformed_callback" if cookies else "malformed_request")
                response = protected(request, *args, **kwargs)
                if cookies:
                    _save_session(request)
            except (Refusal, SocialGrantsError, ImproperlyConfigured, *UNREADABLE) as error:
                as_json = not cookies or (scripted and request.method == "POST" and prefers_json(request))
                refusal, name = Refusal.from_error(error), kwargs.get("name", "")
                response = refuse(request, refusal, event, name, as_json=as_json)
                if cookies:
                    with suppress(Refusal):  # it is one
                        _save_session(request)
            set_cookies(request, response)
            return with_headers(response)

        for alias in connections:
            answer = transaction.non_atomic_requests(using=alias)(answer)
        return csrf_exempt(login_not_required(answer))

    return decorate


def render_page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    form_origins: Iterable[str] | None = None,
) -> HttpResponse:
    """A page of ours. One that holds a form says in `form_origins` where its form's redirects may lead.

    Such a page sends its origin to our own site: without it the browser posts `Origin: null`, which Django's
    CSRF check refuses. And its CSP names those origins, as Chromium holds redirects of a form against it.
    """
    response = render(request, f"socialgrants/{template}", context, status=status)
    response.headers["Content-Security-Policy"] = _csp(form_origins or ())
    if form_origins is not None:
        response.headers["Referrer-Policy"] = "same-origin"
    return response


def keep(request: HttpRequest, **query: str) -> None:
    """Let a page that says no lead to the start once more, with `query`."""
    vars(request)["_socialgrants_kept"] = query


def prefers_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def refuse(
    request: HttpRequest, refusal: Refusal, event: Event, application: str, *, as_json: bool = False
) -> HttpResponse:
    """The page or the JSON for `refusal`, with a reference id that leads to its one record in the log."""
    reference = secrets.token_hex(4)
    log(
        event,
        "%s refused: %s (application %s, reference %s) %s",
        *(event, refusal.reason, application or "-", reference, refusal.detail),
        application=application,
        reason=refusal.reason,
        reference=reference,
    )
    response: HttpResponse
    if as_json:
        response = JsonResponse({"error": refusal.reason, "reference": reference}, status=refusal.status)
    else:
        forward_url, forward_label = _way_forward(request, event, refusal, application)
        context = {
            "refusal": refusal,
            "reference": reference,
            "forward_url": forward_url,
            "forward_label": forward_label,
        }
        response = render_page(request, "refusal.html", context, status=refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    # It is logged. Django would do so once more, and mail a 5xx to the admins together with the request.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _read_body(request: HttpRequest, *, else_raise: str) -> None:
    """No form of ours is large; Django would read a large one to its end, and tell none that comes in chunks."""
    too_large = Refusal(else_raise, detail="the body is too large")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_BODY:
        raise too_large
    if not hasattr(request, "_body"):  # nobody has read it before us
        try:
            request._body = request.read(MAX_BODY + 1)
        except UnreadablePostError:
            raise Refusal(else_raise, detail="the body broke off") from None
        request._stream = BytesIO(request._body)
    if len(request._body) > MAX_BODY:
        raise too_large


def _save_session(request: HttpRequest) -> None:
    """Save a session that has changed, or would be saved anyway, while there still can be a page of ours.

    If it was deleted meanwhile, somebody logged out in another tab. SessionMiddleware would answer that with a
    page of Django's. A session that is new in this request can't have been, and is left to it. Raises Refusal.
    """
    session = request.session
    known = session.session_key is not None and session.session_key == request.COOKIES.get(
        settings.SESSION_COOKIE_NAME
    )
    if known and (session.modified or settings.SESSION_SAVE_EVERY_REQUEST) and not session.is_empty():
        try:
            session.save()
        except UpdateError:
            request.session = type(session)()
            request.user = AnonymousUser()
            raise Refusal("user_changed", detail="the session was deleted meanwhile") from None


def _way_forward(request: HttpRequest, event: str, refusal: Refusal, application: str) -> tuple[str, str]:
    """Where to go on, and what that is called: one's accounts, the start of what was refused, or home."""
    kept = vars(request).get("_socialgrants_kept", {})
    if not kept.get("next") and request.user.is_authenticated:
        return reverse("socialgrants:connections"), gettext("My accounts")
    if application and refusal.reason not in ("not_found", "call_failed"):
        start = reverse(f"socialgrants:{event.removesuffix('_callback')}", args=[application])
        query = urlencode({name: value for name, value in kept.items() if value})
        return f"{start}?{query}" if query else start, gettext("Start again")
    return get_script_prefix(), gettext("Back to the site")


def with_headers(response: R) -> R:
    """The headers that all our answers have."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Content-Security-Policy", _csp(()))
    return response


def _csp(form_origins: Iterable[str]) -> str:
    """Nothing but our own origin, and that of static files when they live elsewhere."""
    own = " ".join(["'self'", *filter(None, [origin(settings.STATIC_URL or "")])])
    forms = " ".join(["'self'", *form_origins])
    return (
        f"default-src {own}; form-action {forms}; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    )


def origin(url: str) -> str:
    """The origin of an absolute URL; "" for any other."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
