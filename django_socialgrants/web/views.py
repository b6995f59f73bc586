"""The views: they read a request, call a flow, and answer. What is decided is decided in `flows`."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.module_loading import import_string

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import UnsupportedGrant
from django_socialgrants.flows import accounts, login, native, state
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import code_challenge

from .callback import AuthorizationResponse, redirect_uri
from .pages import keep, origin, page, prefers_json, render_page

_MAX_NEXT = 2 * 1024
_RESPONSE_TYPES = {"code": "code", "implicit": "token"}


@page("GET", "POST", scripted=True)
def code(request: HttpRequest, name: str) -> HttpResponseBase:
    """Start the authorization code grant (RFC 6749, section 4.1)."""
    return _start(request, _application(name, "code"), "code")


@page("GET", "POST", scripted=True)
def implicit(request: HttpRequest, name: str) -> HttpResponseBase:
    """Start the implicit grant (RFC 6749, section 4.2)."""
    return _start(request, _application(name, "implicit"), "implicit")


@page("GET")
def code_callback(request: HttpRequest, name: str) -> HttpResponseBase:
    """Finish the authorization code grant (RFC 6749, sections 4.1.2 and 4.1.2.1)."""
    response = AuthorizationResponse.take(request)
    credentials = _application(name, "code")
    if response.is_bare:  # OK may put an error into the fragment
        return _fragment_page(request, name, "code")
    if target := response.bounce(request):
        return render_page(request, "bounce.html", {"target": target})
    return HttpResponseRedirect(_finish(request, response, credentials, "code"))


@page("GET", "POST")
def implicit_callback(request: HttpRequest, name: str) -> HttpResponseBase:
    """Finish the implicit grant (RFC 6749, section 4.2.2): a page whose script posts the fragment back here."""
    response = AuthorizationResponse.take(request)
    response.refuse_tokens()
    credentials = _application(name, "implicit")
    if request.method == "GET":
        return _fragment_page(request, name, "implicit")
    next_url = _finish(request, response, credentials, "implicit")
    if prefers_json(request):
        return JsonResponse({"location": next_url})  # a script can't read where a redirect leads
    return HttpResponseRedirect(next_url)


@page("POST", cookies=False)
def exchange(request: HttpRequest, name: str) -> HttpResponseBase:
    """Redeem the code that a native app was sent; the site's own function makes the answer."""
    credentials = native.application_for_apps(name)
    if request.content_type != "application/json":
        raise Refusal("unsupported_media_type")
    answer = import_string(conf.EXCHANGE_RESPONSE or "")
    user, token = native.log_in_app(request, credentials)
    response: HttpResponseBase = answer(request, user, token)
    return response


@page("GET")
def connections(request: HttpRequest) -> HttpResponseBase:
    """The user's accounts at the networks, to connect further ones and to disconnect."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    tokens = UserToken.objects.filter(user=request.user).select_related("credentials").order_by("pk")
    applications = ProviderCredentials.objects.usable()
    origins = {origin(application.get_provider().authorization_endpoint) for application in applications}
    context = {
        "tokens": tokens,
        "applications": applications,
        "connected": {token.credentials_id for token in tokens},
        "only_ways": [
            token.pk for token in tokens if accounts.locked_out_without(tokens.filter(pk=token.pk))
        ],
        "back_url": resolve_url(settings.LOGIN_REDIRECT_URL),
    }
    return render_page(request, "connections.html", context, form_origins=sorted(origins))


@page("POST")
def disconnect(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Forget one of the user's own tokens, unless it is the last way to log in."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("socialgrants:connections"))
    accounts.disconnect(request.user, pk)
    return HttpResponseRedirect(reverse("socialgrants:connections"))


def _application(name: str, flow: str) -> ProviderCredentials:
    """The application of that name, if it and its network offer the flow. Raises SocialGrantsError: 404."""
    credentials = ProviderCredentials.objects.named(name)
    if not credentials.offers(flow):
        raise UnsupportedGrant(f"{name!r} does not offer the {flow} flow")
    return credentials


def _start(request: HttpRequest, credentials: ProviderCredentials, flow: str) -> HttpResponseBase:
    """A page with a button for each way in, which posts here; then off to the network, with a new state."""
    provider = credentials.get_provider()
    asked = request.GET if request.method == "GET" else request.POST
    ways = _ways(asked.get("way", ""), credentials)
    if request.method == "GET":
        context = {"credentials": credentials, "provider": provider, "flow": flow, "ways": ways}
        context["next"] = asked.get("next", "")
        return render_page(
            request, "start.html", context, form_origins=[origin(provider.authorization_endpoint)]
        )
    uri = redirect_uri(request, credentials.name, flow=flow)
    next_url = _next_url(request)
    scope = state.wanted_scope(request, credentials)
    issued = state.issue(
        request, credentials, flow=flow, redirect_uri=uri, next_url=next_url, scope=scope, way=ways[0]
    )
    pkce = provider.pkce and flow == "code"
    location = provider.authorization_url(
        credentials.to_value(),
        response_type=_RESPONSE_TYPES[flow],
        redirect_uri=uri,
        state=issued.reveal(),
        scope=scope,
        code_challenge=code_challenge(state.code_verifier(issued).reveal()) if pkce else "",
        way=ways[0],
    )
    return JsonResponse({"location": location}) if prefers_json(request) else HttpResponseRedirect(location)


def _ways(way: str, credentials: ProviderCredentials) -> list[str]:
    """The way in that was asked for, or all that the application offers. Raises Refusal for any other."""
    offered = credentials.ways_in()
    if way and way not in offered:
        raise Refusal("unknown_way")
    return [way] if way else offered


def _finish(
    request: HttpRequest, response: AuthorizationResponse, credentials: ProviderCredentials, flow: str
) -> str:
    """Log in or connect; where to go on."""
    attempt = response.accept(request, credentials, flow=flow)
    keep(request, next=attempt.next_url, way=attempt.way)
    grant = response.grant(attempt, credentials)
    login.finish(request, attempt, credentials, grant)
    return attempt.next_url or (
        resolve_url(settings.LOGIN_REDIRECT_URL) if attempt.login else reverse("socialgrants:connections")
    )


def _fragment_page(request: HttpRequest, name: str, flow: str) -> HttpResponseBase:
    """The page whose script reads what no server is sent."""
    # With CSRF tokens in sessions, one made now would replace a session whose cookie was kept back (SameSite).
    has_token = not settings.CSRF_USE_SESSIONS or settings.SESSION_COOKIE_NAME in request.COOKIES
    forward_url = reverse(f"socialgrants:{flow}", args=[name])
    context = {"flow": flow, "forward_url": forward_url, "has_token": has_token}
    return render_page(request, "fragment.html", context)


def _next_url(request: HttpRequest) -> str:
    """The `next` of the start, if it is a place on this site; else ""."""
    wanted = request.POST.get("next", "")
    hosts = {request.get_host(), urlsplit(conf.BASE_URL or "").netloc} - {""}
    https = request.is_secure() or (conf.BASE_URL or "").startswith("https:")
    if len(wanted) <= _MAX_NEXT and url_has_allowed_host_and_scheme(wanted, hosts, require_https=https):
        return wanted
    return ""
