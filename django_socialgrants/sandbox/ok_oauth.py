"""OK's token endpoint and how OK words grants: https://apiok.ru/en/ext/oauth/server and .../client.

Guesses, as nothing is published: errors come with HTTP 200, like those of the REST API; wrong clients and
codes are told in the words of RFC 6749.
"""

from collections.abc import Mapping
from functools import partial

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from .exchange import exchange, grant_type_of
from .gate import endpoint
from .networks import OK, Rotation
from .rehearsal import rehearsed
from .tokens import Reason, Refused, Tokens
from .web import error_page

_WRONG_REFRESH_TOKEN = {"error": "invalid_token", "error_description": "Invalid refresh token structure"}
_ERRORS = {
    Reason.CLIENT: {"error": "invalid_client"},
    Reason.GRANT_TYPE: {"error": "unsupported_grant_type"},
    Reason.GRANT_NOT_ALLOWED: {"error": "unauthorized_client"},
    Reason.CODE: {"error": "invalid_grant"},
    Reason.REDIRECT_URI: {"error": "invalid_request", "error_description": "Wrong redirect_uri"},
    Reason.REFRESH_TOKEN: _WRONG_REFRESH_TOKEN,
    Reason.REFRESH_TOKEN_REUSED: _WRONG_REFRESH_TOKEN,
    Reason.REFRESH_TOKEN_EXPIRED: {"error": "access_denied"},
}


def _refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    if reason is Reason.MALFORMED:
        return error_page(request, OK, "Specify all OAuth request parameters in the body of the request")
    return JsonResponse(_ERRORS[reason])


@endpoint
@require_POST
@rehearsed(OK, partial(grant_type_of, OK), _refusal)
def token(request: HttpRequest, *, rotation: Rotation | None = None) -> HttpResponse:
    """A request that makes no sense is answered with HTML in place of JSON, in one case with HTTP 200."""
    client_id = request.POST.get("client_id", "")
    if client_id and not (client_id.isascii() and client_id.isdigit()):
        return error_page(request, OK, f"Failed to convert value “{client_id}” to type Long", status=200)
    try:
        return JsonResponse(_answer(exchange(OK, request, rotation)))
    except Refused as refused:
        return _refusal(request, refused.reason)


def fragment(tokens: Tokens) -> Mapping[str, str]:
    """No refresh token and no user id, but a secret to sign calls with."""
    return {
        "access_token": tokens.access.value,
        "session_secret_key": tokens.access.session_secret,
        "permissions_granted": OK.scope_separator.join(tokens.access.scope.split()),
        "expires_in": str(tokens.expires_in),
    }


def _answer(tokens: Tokens) -> Mapping[str, str]:
    """`expires_in` is a string here, and the user id is missing. A refresh token comes with a code, or to
    an application whose refresh tokens rotate."""
    answer = {
        "access_token": tokens.access.value,
        "token_type": "session",
        "expires_in": str(tokens.expires_in),
    }
    return answer | ({"refresh_token": tokens.refresh.value} if tokens.refresh else {})
