"""Mail.Ru's token endpoint and how Mail.Ru words grants: https://api.mail.ru/docs/guides/oauth/sites."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from .gate import endpoint
from .networks import MAILRU
from .tokens import Reason, Refused, Tokens, exchange

CONTENT_TYPE = "text/javascript; charset=utf-8"
"""Of everything that it calls JSON."""

_ERRORS = {
    Reason.MALFORMED: "invalid_request",
    Reason.CLIENT: "invalid_client",
    Reason.GRANT_TYPE: "unsupported_grant_type",
    Reason.CODE: "invalid_grant",
    Reason.REDIRECT_URI: "invalid_grant",
    Reason.REFRESH_TOKEN: "invalid_grant",
    Reason.REFRESH_TOKEN_EXPIRED: "invalid_grant",
}


@endpoint
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """The answers of RFC 6749, section 5, apart from their content type."""
    try:
        tokens = exchange(MAILRU, request)
    except Refused as refused:
        return JsonResponse({"error": _ERRORS[refused.reason]}, status=400, content_type=CONTENT_TYPE)
    answer: dict[str, str | int] = {**fragment(tokens), "expires_in": tokens.expires_in}
    return JsonResponse(answer, content_type=CONTENT_TYPE)


def fragment(tokens: Tokens) -> Mapping[str, str]:
    """The same in the fragment as in the answer of the token endpoint, refresh token included."""
    answer = {
        "access_token": tokens.access.value,
        "token_type": "bearer",
        "expires_in": str(tokens.expires_in),
        "x_mailru_vid": tokens.access.uid,
    }
    return answer | ({"refresh_token": tokens.refresh.value} if tokens.refresh else {})
