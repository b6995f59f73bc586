"""For views that call a network."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.urls import reverse

from .api import SocialAPI
from .flows import state
from .models import ProviderCredentials

View = Callable[..., Any]


def grant_required(name: str, *, scope: str = "") -> Callable[[View], View]:
    """The user has granted the application `name` everything in `scope` (separated by spaces).

    Whoever has not, logged in or not, is sent to grant what is missing, and comes back. For views and async views;
    their attribute `grants_required` names the applications.
    """

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                missing = await sync_to_async(_ask_for_grant)(request, name, scope)
                return missing or await view(request, *args, **kwargs)

        else:

            @wraps(view)
            def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                return _ask_for_grant(request, name, scope) or view(request, *args, **kwargs)

        guarded.grants_required = {*getattr(view, "grants_required", ()), name}  # type: ignore[attr-defined]
        return guarded

    return decorate


def redirect_to_grant(request: HttpRequest, name: str, *, scope: str = "") -> HttpResponseRedirect:
    """To the page where a visitor grants the application `name` what it has and `scope`, and back to here, by GET.

    What to answer when `NeedsLogin` is raised.
    """
    back = QueryDict(mutable=True)
    back["next"] = request.get_full_path()
    return HttpResponseRedirect(f"{grant_url(request, name, scope=scope)}?{back.urlencode(safe='/')}")


def grant_url(request: HttpRequest, name: str, *, scope: str = "") -> str:
    """Where a visitor grants the application `name` what it has and `scope`. Raises UnknownCredentials."""
    state.want(request, name, f"{_api(request, name).granted_scope()} {scope}".strip())
    application = ProviderCredentials.objects.named(name)
    flow = "implicit" if application.offers("implicit") and not application.offers("code") else "code"
    return reverse(f"socialgrants:{flow}", args=[name])


def _ask_for_grant(request: HttpRequest, name: str, scope: str) -> HttpResponseRedirect | None:
    if _api(request, name).is_granted(scope):
        return None
    return redirect_to_grant(request, name, scope=scope)


def _api(request: HttpRequest, name: str) -> SocialAPI:
    """With the middleware the one that the view is going to use, so that the token is read once."""
    social = getattr(request, "social", None)
    return social[name] if social else SocialAPI(request.user, name)
