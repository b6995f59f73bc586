"""OK's token endpoint and how OK words grants: https://apiok.ru/en/ext/oauth/server and .../client.

Guesses, as nothing is published: errors come with HTTP 200, like those of the REST API; wrong clients and
codes are told in the words of RFC 6749.
"""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from .gate import endpoint
from .networks import OK
from .pages import error_page
from .tokens import Reason, Refused, Tokens, exchange

_ERRORS = {
    Reason.CLIENT: {"error": "invalid_client"},
    Reason.GRANT_TYPE: {"error": "unsupported_grant_type"},
    Reason.CODE: {"error": "invalid_grant"},
    Reason.REDIRECT_URI: {"error": "invalid_request", "error_description": "Wrong redirect_uri"},
    Reason.REFRESH_TOKEN: {"error": "invalid_token", "error_description": "Invalid refresh token structure"},
    Reason.REFRESH_TOKEN_EXPIRED: {"error": "access_denied"},
}


@endpoint
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """Answers in HTML, not JSON, to a request that makes no sense to it; once even with HTTP 200."""
    client_id = request.POST.get("client_id", "")
    if client_id and not (client_id.isascii() and client_id.isdigit()):
        return error_page(request, OK, f"Failed to convert value “{client_id}” to type Long", status=200)
    try:
        tokens = exchange(OK, request)
    except Refused as refused:
        if refused.reason is Reason.MALFORMED:
            return error_page(request, OK, "Specify all OAuth request parameters in the body of the request")
        return JsonResponse(_ERRORS[refused.reason])
    return JsonResponse(_answer(tokens))


def fragment(tokens: Tokens) -> Mapping[str, str]:
    """No refresh token and no user id, but a secret to sign calls with."""
    return {
        "access_token": tokens.access.value,
        "session_secret_key": tokens.access.session_secret,
        "permissions_granted": OK.scope_separator.join(tokens.access.scope.split()),
        "expires_in": str(tokens.expires_in),
    }


def _answer(tokens: Tokens) -> Mapping[str, str]:
    """`expires_in` is a string here, and the user id is missing. A refresh token comes with a code only."""
    answer = {
        "access_token": tokens.access.value,
        "token_type": "session",
        "expires_in": str(tokens.expires_in),
    }
    return answer | ({"refresh_token": tokens.refresh.value} if tokens.refresh else {})
