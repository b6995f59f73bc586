"""The views: they read a request, call a flow, and answer. What is decided is decided in `flows`."""

import re
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from .conf import conf
from .exceptions import UnsupportedGrant, clean_text
from .flows import login, state
from .flows.refusal import Refusal
from .models import ProviderCredentials, UserToken
from .oauth.grants import AuthorizationCodeGrant
from .oauth.pkce import code_challenge
from .pages import origin, page, render_page
from .transport import is_loopback

_MAX_QUERY = 8 * 1024
_MAX_NEXT = 2 * 1024
_CODE = re.compile(r"[\x21-\x7e]{1,2048}")  # RFC 6749, appendix A.11, without the space
_TOKEN_NAMES = ("access_token", "refresh_token", "session_key", "session_secret_key")
_SINGLE = ("code", "state", "error")


@page("GET", "POST")
def code(request: HttpRequest, name: str) -> HttpResponseBase:
    """Start the authorization code grant (RFC 6749, section 4.1): a page with one button, which posts here."""
    credentials = _application(name, "authorization_code")
    provider = credentials.get_provider()
    if request.method == "GET":
        context = {"credentials": credentials, "provider": provider, "next": request.GET.get("next", "")}
        return render_page(
            request, "start.html", context, form_origins=[origin(provider.authorization_endpoint)]
        )
    redirect_uri = _redirect_uri(request, "code_callback", name)
    issued = state.issue(
        request, credentials, flow="code", redirect_uri=redirect_uri, next_url=_next_url(request)
    )
    return HttpResponseRedirect(
        provider.authorization_url(
            credentials.to_value(),
            response_type="code",
            redirect_uri=redirect_uri,
            state=issued,
            scope=credentials.scope,
            code_challenge=code_challenge(state.code_verifier(issued)) if provider.pkce else "",
        )
    )


@page("GET")
def code_callback(request: HttpRequest, name: str) -> HttpResponseBase:
    """Finish the authorization code grant (RFC 6749, sections 4.1.2 and 4.1.2.1)."""
    query = _take_query(request)
    credentials = _application(name, "authorization_code")
    if _session_was_withheld(request, query):
        again = {**query.dict(), "bounced": "1"}
        return render_page(request, "bounce.html", {"target": f"?{urlencode(again)}"})
    if len(query.getlist("state")) != 1:
        raise Refusal("malformed_callback")
    returned = query.getlist("state")[0]
    attempt = state.accept(request, returned, credentials, flow="code")
    provider = credentials.get_provider()
    grant = AuthorizationCodeGrant(
        code=_code(query),
        redirect_uri=attempt.redirect_uri,
        code_verifier=state.code_verifier(returned) if provider.pkce else "",
    )
    login.finish(request, attempt, credentials, grant)
    return HttpResponseRedirect(attempt.next_url)


@page("GET")
def connections(request: HttpRequest) -> HttpResponseBase:
    """The user's accounts at the networks, to connect further ones and to disconnect."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    tokens = UserToken.objects.filter(user=request.user).select_related("credentials").order_by("pk")
    applications = ProviderCredentials.objects.usable()
    origins = {origin(application.get_provider().authorization_endpoint) for application in applications}
    back_url = resolve_url(settings.LOGIN_REDIRECT_URL)
    context = {"tokens": tokens, "applications": applications, "back_url": back_url}
    return render_page(request, "connections.html", context, form_origins=sorted(origins))


@page("POST")
def disconnect(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Forget one of the user's own tokens, unless it is the last way to log in."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("socialgrants:connections"))
    own = UserToken.objects.filter(user=request.user)
    with transaction.atomic():
        own.update(generation=F("generation"))  # a lock in every database: of two disconnects one waits
        if not own.filter(pk=pk).exists():
            raise Refusal("not_found")
        if not request.user.has_usable_password() and not own.exclude(pk=pk).exists():
            raise Refusal("last_login")
        own.filter(pk=pk).delete()
    return HttpResponseRedirect(reverse("socialgrants:connections"))


def _application(name: str, grant_type: str) -> ProviderCredentials:
    """The application of that name, if its network offers the grant. Raises SocialGrantsError: 404."""
    credentials = ProviderCredentials.objects.named(name)
    provider = credentials.get_provider()
    if grant_type not in provider.token_endpoints:
        raise UnsupportedGrant(f"{provider.title} does not support the {grant_type} grant")
    return credentials


def _redirect_uri(request: HttpRequest, view: str, name: str) -> str:
    """Where the network sends the browser back to. Raises Refusal for an origin that can't be trusted."""
    path = reverse(f"socialgrants:{view}", args=[name])
    if conf.BASE_URL is None:
        return request.build_absolute_uri(path)
    parts = urlsplit(conf.BASE_URL)
    secure = parts.scheme == "https" or (conf.INSECURE_LOOPBACK and is_loopback(parts.hostname or ""))
    if not secure or not parts.hostname:
        raise Refusal("misconfigured", detail="SOCIALGRANTS_BASE_URL is not an https:// origin")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _next_url(request: HttpRequest) -> str:
    """The `next` of the start, if it is a place on this site; else where Django sends people."""
    wanted = request.POST.get("next", "")
    hosts = {request.get_host(), urlsplit(conf.BASE_URL or "").netloc} - {""}
    fits = len(wanted) <= _MAX_NEXT and url_has_allowed_host_and_scheme(wanted, hosts, request.is_secure())
    if fits:
        return wanted
    connecting = request.user.is_authenticated
    return reverse("socialgrants:connections") if connecting else resolve_url(settings.LOGIN_REDIRECT_URL)


def _take_query(request: HttpRequest) -> QueryDict:
    """The query, taken off the request: codes and states are nothing for debug pages, error mails and logs."""
    oversized = len(request.META.get("QUERY_STRING", "")) > _MAX_QUERY
    query = request.GET
    request.GET = QueryDict()
    request.META["QUERY_STRING"] = ""
    if oversized:
        raise Refusal("malformed_callback")
    return query


def _session_was_withheld(request: HttpRequest, query: QueryDict) -> bool:
    """Whether the browser kept a session cookie with SameSite=Strict back, as it came from another site.

    A page of our own that leads here once more makes the same request come from this site.
    """
    strict = (settings.SESSION_COOKIE_SAMESITE or "").lower() == "strict"
    return strict and settings.SESSION_COOKIE_NAME not in request.COOKIES and "bounced" not in query


def _code(query: QueryDict) -> str:
    """The code in a callback's query; everything else there is refused, what nobody asked for is ignored."""
    doubled = any(len(query.getlist(name)) > 1 for name in _SINGLE)
    unwelcome = any(name in query for name in _TOKEN_NAMES) or any("\0" in value for value in query.values())
    if doubled or unwelcome or ("code" in query) == ("error" in query):
        raise Refusal("malformed_callback")
    if error := query.get("error"):
        cancelled = error == "access_denied"
        raise Refusal("cancelled" if cancelled else "authorization_error", detail=clean_text(error, limit=50))
    code = query.get("code", "")
    if not _CODE.fullmatch(code):
        raise Refusal("malformed_callback")
    return code
