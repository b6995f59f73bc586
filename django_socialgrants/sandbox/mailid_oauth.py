"""OAuth Mail, where Mail ID lives: https://id.vk.ru/about/business/go/docs/ru/vkid/latest/oauth/oauth-mail/index.

Its errors are not those of RFC 6749: they contain spaces, have a number beside them, and come with HTTP 200 except
for a wrong client. A guess: which of the numbers a wrong code has.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods, require_POST

from .exchange import exchange, grant_type_of
from .failures import CALL
from .gate import endpoint
from .models import AccessToken
from .networks import MAILID, Rotation
from .people import PEOPLE
from .rehearsal import rehearsed
from .tokens import Reason, Refused, Tokens
from .web import Repeated, single_values

_INVALID_REQUEST = "invalid request", 2
_INVALID_CREDENTIALS = "invalid username or password", 3
_ERRORS: Mapping[Reason, tuple[str, int]] = {
    Reason.MALFORMED: _INVALID_REQUEST,
    Reason.CLIENT: ("invalid client", 1),
    Reason.GRANT_TYPE: _INVALID_REQUEST,
    Reason.GRANT_NOT_ALLOWED: ("invalid client", 1),
    Reason.CODE: _INVALID_CREDENTIALS,
    Reason.CODE_VERIFIER: _INVALID_CREDENTIALS,
    Reason.REDIRECT_URI: _INVALID_REQUEST,
    Reason.REFRESH_TOKEN: ("token not found", 6),
    Reason.REFRESH_TOKEN_EXPIRED: ("token not found", 6),
    Reason.SESSION_EXPIRED: ("token not found", 6),
}


def _refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    return _error(*_ERRORS[reason], status=401 if reason is Reason.CLIENT else 200)


def _error(error: str, code: int, description: str = "", *, status: int = 200) -> HttpResponse:
    answer = {"error": error, "error_code": code, "error_description": description or error}
    return JsonResponse(answer, status=status)


@endpoint
@require_POST
@rehearsed(MAILID, partial(grant_type_of, MAILID), _refusal)
def token(request: HttpRequest, *, rotation: Rotation | None = None) -> HttpResponse:
    """A refresh brings no refresh token: the old one stays."""
    if not request.headers.get("User-Agent"):
        return _error(*_INVALID_REQUEST, "missing user agent")
    try:
        return JsonResponse(_answer(exchange(MAILID, request, rotation)))
    except Refused as refused:
        return _refusal(request, refused.reason)


def _answer(tokens: Tokens) -> Mapping[str, Any]:
    answer = {
        "access_token": tokens.access.value,
        "expires_in": tokens.expires_in,
        "token_type": "Bearer",
    }
    return answer | ({"refresh_token": tokens.refresh.value} if tokens.refresh else {})


@endpoint
@require_http_methods(["GET", "POST"])
@rehearsed(MAILID, lambda request: CALL, _refusal)
def userinfo(request: HttpRequest) -> HttpResponse:
    """The token is a parameter, headers are ignored. The answer also names the application."""
    try:
        value = single_values(request.GET, request.POST).get("access_token", "")
    except Repeated:
        value = ""
    if not value:
        return _error(*_INVALID_REQUEST, "missing request parameter: access_token")
    access = AccessToken.objects.filter(application__network=MAILID.id, value=value).first()
    if access is None or access.value != value or not access.alive:
        return _refusal(request, Reason.SESSION_EXPIRED)
    profile = {**PEOPLE[MAILID.id][access.uid].profile, "client_id": access.application.client_id}
    return JsonResponse(profile, json_dumps_params={"ensure_ascii": False})
