"""Token requests, as all networks take them: RFC 6749, sections 4.1.3, 4.3.2 and 6, and RFC 7636."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256

from django.db import transaction
from django.http import HttpRequest

from .logins import uid_of
from .models import Application, Code
from .networks import PKCE, Network, Rotation
from .refreshing import refresh
from .tokens import Reason, Refused, Tokens, issue_access, issue_both
from .web import Repeated, single_values

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def exchange(network: Network, request: HttpRequest, rotation: Rotation | None = None) -> Tokens:
    """Carry out a token request; a `rotation` overrules that of the application. Raises Refused."""
    form = _form(request)
    grant_type = form.get("grant_type", "")
    if grant_type and grant_type not in network.grant_types:
        raise Refused(Reason.GRANT_TYPE)
    if not grant_type or not all(form.get(name) for name in network.token_parameters[grant_type]):
        raise Refused(Reason.MALFORMED)
    allowed = network.parameters_allowed(grant_type)
    if allowed is not None and not allowed >= form.keys():
        raise Refused(Reason.PARAMETER)
    application = Application.find(network, client_id=form["client_id"])
    if application is None or not application.is_named_by(form):
        raise Refused(Reason.CLIENT)
    if grant_type == "authorization_code":
        return _redeem(application, form)
    if grant_type == "password":
        return _log_in(application, form["username"], form["password"], form.get("scope", ""))
    return refresh(application, form["refresh_token"], rotation, device_id=form.get("device_id", ""))


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


def _redeem(application: Application, form: Mapping[str, str]) -> Tokens:
    code = Code.find(application, form["code"])
    if code is None or not code.alive:
        raise Refused(Reason.CODE)
    if code.redirect_uri != form["redirect_uri"]:
        raise Refused(Reason.REDIRECT_URI)
    if application.rules.pkce is not PKCE.IGNORED and code.code_challenge != _challenge(form):
        raise Refused(Reason.CODE_VERIFIER)
    if application.rules.binds_device and code.device_id != form["device_id"]:
        raise Refused(Reason.DEVICE)
    with transaction.atomic():
        if not code.retire():
            raise Refused(Reason.CODE)
        if not code.refreshable:
            return Tokens(issue_access(application, code.uid, code.scope), None)
        return issue_both(application, code.uid, code.scope, device_id=code.device_id)


def _challenge(form: Mapping[str, str]) -> str:
    """What S256 makes of the verifier (RFC 7636, section 4.2); "" of one that is absent or malformed."""
    code_verifier = form.get("code_verifier", "")
    if not _VERIFIER.fullmatch(code_verifier):
        return ""
    return urlsafe_b64encode(sha256(code_verifier.encode()).digest()).decode().rstrip("=")


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
