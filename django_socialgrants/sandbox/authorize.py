"""The dialog in which a person lets an application in.

It stores nothing: the request stays in the address, and the form adds the person and the decision. Unlike
the real ones it asks every time, so that there is always a choice of person.
"""

import secrets
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from .authorization_request import AuthorizationRequest, Unacceptable
from .gate import page
from .models import Code
from .networks import Network
from .people import PEOPLE
from .tokens import Tokens, grant_implicitly
from .web import error_page, html

Fragment = Callable[[Tokens], Mapping[str, str]]


@page
@require_http_methods(["GET", "HEAD", "POST"])
def authorize(request: HttpRequest, network: Network, fragment: Fragment | None = None) -> HttpResponse:
    """`fragment` says how the network words the answer of the implicit flow, if it has one."""
    try:
        asked = AuthorizationRequest.parse(network, request.GET)
    except Unacceptable as error:
        return error_page(request, network, error)
    if asked.response_type == "token" and not asked.application.implicit_enabled:
        return HttpResponseRedirect(asked.in_query({"error": "invalid_client"}))
    if asked.prompt == "none":  # nobody is ever logged in here
        return HttpResponseRedirect(asked.in_query({"error": "login_required"}))
    if request.method != "POST":
        return _dialog(request, network, asked)
    uid, decision = request.POST.get("person", ""), request.POST.get("decision", "")
    if decision == "deny":
        return HttpResponseRedirect(_denied(asked))
    if decision != "allow" or uid not in PEOPLE[network.id]:
        return error_page(request, network, _("Choose a person, then allow or deny."))
    return HttpResponseRedirect(_allowed(asked, uid, fragment))


def _dialog(request: HttpRequest, network: Network, asked: AuthorizationRequest) -> HttpResponse:
    context = {
        "network": network,
        "application": asked.application,
        "origin": asked.origin,
        "way": network.ways.get(asked.way, ""),
        "permissions": [network.scopes[scope] for scope in asked.scope.split()],
        "people": PEOPLE[network.id].values(),
    }
    return html(request, "authorize", context, form_to=asked.origin)


def _allowed(asked: AuthorizationRequest, uid: str, fragment: Fragment | None) -> str:
    if fragment and asked.response_type == "token":
        return asked.in_fragment(fragment(grant_implicitly(asked.application, uid, asked.scope)))
    rules = asked.application.rules
    code = Code.issue(
        asked.application,
        uid,
        asked.scope,
        rules.code_lifetime,
        redirect_uri=asked.redirect_uri,
        code_challenge=asked.code_challenge,
        device_id=secrets.token_urlsafe(24) if rules.binds_device else "",
        refreshable=asked.refreshable,
    )
    answer = {"code": code.value}
    if rules.binds_device:
        answer |= {
            "device_id": code.device_id,
            "type": "code_v2",
            "expires_in": str(int(rules.code_lifetime.total_seconds())),
        }
    return asked.in_query(answer)


def _denied(asked: AuthorizationRequest) -> str:
    answer = {"error": "access_denied"}
    return asked.in_fragment(answer) if asked.response_type == "token" else asked.in_query(answer)
