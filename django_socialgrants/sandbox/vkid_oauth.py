"""VK ID's endpoints for grants and for who somebody is, as its SDKs and its documentation use them.

https://id.vk.ru/about/business/go/docs/ru/vkid/latest/vk-id/connection/api-description

Guesses: which of its errors comes with which HTTP status, and how an unknown client is refused.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from .exchange import exchange, grant_type_of
from .failures import CALL
from .gate import endpoint
from .models import AccessToken, Application, RefreshToken
from .networks import VKID, Rotation
from .people import PEOPLE
from .rehearsal import rehearsed
from .tokens import Reason, Refused, Tokens
from .web import Repeated, error_page, single_values

_ERRORS: Mapping[Reason, tuple[int, str, str]] = {
    Reason.MALFORMED: (400, "invalid_request", "a required parameter is missing or doubled"),
    Reason.CLIENT: (401, "invalid_client", "client_id or service_token is invalid"),
    Reason.GRANT_TYPE: (400, "invalid_request", "grant_type is invalid"),
    Reason.GRANT_NOT_ALLOWED: (400, "invalid_client", "the application is blocked"),
    Reason.CODE: (200, "invalid_grant", "code is invalid or expired"),
    Reason.CODE_VERIFIER: (400, "invalid_grant", "code_verifier is invalid"),
    Reason.DEVICE: (400, "invalid_request", "device_id is invalid"),
    Reason.REDIRECT_URI: (400, "invalid_request", "redirect_uri is invalid"),
    Reason.REFRESH_TOKEN: (200, "invalid_request", "refresh_token is missing or invalid"),
    Reason.REFRESH_TOKEN_EXPIRED: (401, "invalid_grant", "refresh_token is missing or invalid"),
    Reason.REFRESH_TOKEN_REUSED: (
        400,
        "invalid_grant",
        "session is compromised because refresh token has already been applied",
    ),
    Reason.ADDRESS: (401, "invalid_token", "access_token was given to another ip address"),
    Reason.SESSION_EXPIRED: (401, "invalid_token", "access_token is missing or invalid"),
    Reason.SLOW_DOWN: (200, "slow_down", "too many requests"),
}


def _refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    if reason is Reason.PARAMETER:  # a page of whatever stands in front of the network
        return error_page(request, VKID, "There is nothing here.", status=404)
    status, error, description = _ERRORS[reason]
    answer = {"error": error, "error_description": description}
    if state := request.POST.get("state"):
        answer["state"] = state
    return JsonResponse(answer, status=status)


@endpoint
@require_POST
@rehearsed(VKID, partial(grant_type_of, VKID), _refusal)
def token(request: HttpRequest, *, rotation: Rotation | None = None) -> HttpResponse:
    """/oauth2/auth: echoes the `state` of the request; the user's id is a number here."""
    try:
        tokens = exchange(VKID, request, rotation)
    except Refused as refused:
        return _refusal(request, refused.reason)
    return JsonResponse({**_answer(tokens), "state": request.POST["state"]})


def _answer(tokens: Tokens) -> Mapping[str, Any]:
    answer = {
        "access_token": tokens.access.value,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "user_id": int(tokens.access.uid),
        "scope": tokens.access.scope,
    }
    return answer | ({"refresh_token": tokens.refresh.value} if tokens.refresh else {})


@endpoint
@require_POST
@rehearsed(VKID, lambda request: CALL, _refusal)
def user_info(request: HttpRequest) -> HttpResponse:
    """/oauth2/user_info: fields that the permissions do not cover are empty strings."""
    try:
        access = _live_token(request)
    except Refused as refused:
        return _refusal(request, refused.reason)
    covered = {"email": "email", "phone": "phone"}
    profile = {
        name: value if covered.get(name, VKID.default_scope) in access.scopes or name == "user_id" else ""
        for name, value in PEOPLE[VKID.id][access.uid].profile.items()
    }
    return JsonResponse({"user": profile}, json_dumps_params={"ensure_ascii": False})


@endpoint
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """/oauth2/revoke: the user takes back everything that this application was granted."""
    return _end(request, everything=True)


@endpoint
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """/oauth2/logout: this session ends, with its refresh token."""
    return _end(request, everything=False)


def _end(request: HttpRequest, *, everything: bool) -> HttpResponse:
    try:
        access = _live_token(request)
    except Refused as refused:
        return _refusal(request, refused.reason)
    refreshing = RefreshToken.objects.filter(application=access.application, uid=access.uid)
    sessions = AccessToken.objects.filter(application=access.application, uid=access.uid)
    if not everything:
        refreshing, sessions = refreshing.filter(access=access), sessions.filter(pk=access.pk)
    for issued in (*refreshing, *sessions):
        issued.retire()
    return JsonResponse({"response": 1})


def _live_token(request: HttpRequest) -> AccessToken:
    """The token in the body of a request, or in its Authorization header (RFC 6750). Raises Refused."""
    try:
        form = single_values(request.POST)
    except Repeated:
        raise Refused(Reason.MALFORMED) from None
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    application = Application.find(VKID, client_id=form.get("client_id", ""))
    if application is None:
        raise Refused(Reason.CLIENT)
    access = AccessToken.find(application, form.get("access_token") or bearer)
    if access is None or not access.alive:
        raise Refused(Reason.SESSION_EXPIRED)
    return access
