"""Token requests, as both networks take them: RFC 6749, sections 4.1.3, 4.3.2 and 6."""

from django.db import transaction
from django.http import HttpRequest

from .logins import uid_of
from .models import Application, Code
from .networks import Network, Rotation
from .refreshing import refresh
from .tokens import Reason, Refused, Tokens, issue_both
from .wire import Repeated, single_values

_PARAMETERS = {
    "authorization_code": ("client_id", "client_secret", "code", "redirect_uri"),
    "password": ("client_id", "client_secret", "username", "password"),
    "refresh_token": ("client_id", "client_secret", "refresh_token"),
}


def exchange(network: Network, request: HttpRequest, rotation: Rotation | None = None) -> Tokens:
    """Carry out a token request; a `rotation` overrules that of the application. Raises Refused."""
    form = _form(request)
    grant_type = form.get("grant_type", "")
    if grant_type and grant_type not in network.grant_types:
        raise Refused(Reason.GRANT_TYPE)
    if not grant_type or not all(form.get(name) for name in _PARAMETERS[grant_type]):
        raise Refused(Reason.MALFORMED)
    application = Application.find(network, client_id=form["client_id"])
    if application is None or not application.has_secret(form["client_secret"]):
        raise Refused(Reason.CLIENT)
    if grant_type == "authorization_code":
        return _redeem(application, form["code"], form["redirect_uri"])
    if grant_type == "password":
        return _log_in(application, form["username"], form["password"], form.get("scope", ""))
    return refresh(application, form["refresh_token"], rotation)


def grant_type_of(network: Network, request: HttpRequest) -> str:
    """What a token request is for; "" where the network has no such grant."""
    grant_type = request.POST.get("grant_type", "")
    return grant_type if grant_type in network.grant_types else ""


def _form(request: HttpRequest) -> dict[str, str]:
    """The parameters, from the body alone (RFC 6749, section 2.3.1): a URL ends up in logs."""
    if request.GET:
        raise Refused(Reason.MALFORMED)
    try:
        return single_values(request.POST)
    except Repeated:
        raise Refused(Reason.MALFORMED) from None


def _redeem(application: Application, value: str, redirect_uri: str) -> Tokens:
    code = Code.find(application, value)
    if code is None or not code.alive:
        raise Refused(Reason.CODE)
    if code.redirect_uri != redirect_uri:
        raise Refused(Reason.REDIRECT_URI)
    with transaction.atomic():
        if not code.retire():
            raise Refused(Reason.CODE)
        return issue_both(application, code.uid, code.scope)


def _log_in(application: Application, user_name: str, password: str, scope: str) -> Tokens:
    if not application.password_enabled:
        raise Refused(Reason.GRANT_NOT_ALLOWED)
    scopes = [scope for scope in scope.split(application.rules.scope_separator) if scope]
    if not application.rules.scopes.keys() >= set(scopes):
        raise Refused(Reason.SCOPE)
    uid = uid_of(application.rules, user_name, password)
    if uid is None:
        raise Refused(Reason.PASSWORD)
    with transaction.atomic():
        return issue_both(application, uid, " ".join(dict.fromkeys(scopes)))
