"""`request.social`: signed calls bound to `request.user`; and an answer where a view lets their errors through."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import connections, router
from django.http import HttpRequest, HttpResponse, JsonResponse

from .api import SocialAPI, refresh_ahead
from .decorators import grant_url, redirect_to_grant
from .events import Event
from .exceptions import NeedsLogin, SocialGrantsError
from .flows.refusal import Refusal
from .models import UserToken
from .web.pages import prefers_json, refuse, with_headers

_RETRY_AFTER = 30  # seconds, where nobody names any


class Social:
    """`request.social["ok"]` is the `SocialAPI` of `request.user`, the same one throughout a request."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._apis: dict[str, SocialAPI] = {}

    def __getitem__(self, name: str) -> SocialAPI:
        user = self._request.user
        api = self._apis.get(name)
        if api is None or api.user is not user:  # somebody logged in or out during the request
            api = self._apis[name] = SocialAPI(user, name)
        return api


class SocialGrantsMiddleware:
    """Stands after `AuthenticationMiddleware`; costs nothing before the first call.

    Where `ATOMIC_REQUESTS` opens a transaction around a view of `grant_required`, a stale token is refreshed
    before that: then it needs no second connection. An error of ours that leaves a view gets `answer_to` it.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.process_view: Callable[..., Any] = _refresh_before
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
            self.process_view = _arefresh_before

    def __call__(self, request: HttpRequest) -> Any:
        request.social = Social(request)  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return answer_to(exception, request)


def answer_to(error: Exception, request: HttpRequest, *, as_json: bool | None = None) -> HttpResponse | None:
    """What to tell a visitor whose view did not handle `error`; None for one that is no SocialGrantsError.

    NeedsLogin leads to the grant and back, anything else is a page that says to try again later: 503, with
    Retry-After. In JSON, by default for requests that prefer it, they are

        401 {"error": "needs_login", "application": "ok", "reason": "no_token", "location": "/social/ok/code/"}
        503 {"error": "call_failed", "reference": "1f0c9a2b"}
    """
    if as_json is None:
        as_json = prefers_json(request)
    if isinstance(error, NeedsLogin) and error.application:
        if as_json:
            return with_headers(JsonResponse(_needs_login(error, request), status=401))
        return redirect_to_grant(request, error.application)
    if isinstance(error, SocialGrantsError):
        retry_after = getattr(error, "retry_after", None) or _RETRY_AFTER
        detail = f"{type(error).__name__}: {error}"
        refusal = Refusal("call_failed", detail=detail, retry_after=retry_after)
        return with_headers(refuse(request, refusal, Event.CALL, "", as_json=as_json))
    return None


def _needs_login(error: NeedsLogin, request: HttpRequest) -> dict[str, str]:
    return {
        "error": "needs_login",
        "application": error.application,
        "reason": error.reason,
        "location": grant_url(request, error.application),
    }


def _refresh_before(request: HttpRequest, view: Callable[..., Any], *args: Any) -> None:
    for name in _grants_in_transaction(view):
        refresh_ahead(request.social[name])  # type: ignore[attr-defined]


async def _arefresh_before(request: HttpRequest, view: Callable[..., Any], *args: Any) -> None:
    if _grants_in_transaction(view):
        await sync_to_async(_refresh_before)(request, view)


def _grants_in_transaction(view: Callable[..., Any]) -> set[str]:
    """The applications that a view needs, if Django is going to run it in a transaction."""
    alias = router.db_for_write(UserToken)
    is_atomic = connections[alias].settings_dict["ATOMIC_REQUESTS"]
    if not is_atomic or alias in getattr(view, "_non_atomic_requests", ()):
        return set()
    names: set[str] = getattr(view, "grants_required", set())
    return names
