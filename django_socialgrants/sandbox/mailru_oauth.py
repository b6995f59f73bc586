"""Mail.Ru's token endpoint and how Mail.Ru words grants: https://api.mail.ru/docs/guides/oauth/sites
and, for the password and refresh grants, https://api.mail.ru/docs/guides/oauth/client-credentials.
"""

from collections.abc import Mapping
from functools import partial

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from .exchange import exchange, grant_type_of
from .gate import endpoint
from .networks import MAILRU, Rotation
from .rehearsal import rehearsed
from .tokens import Reason, Refused, Tokens

CONTENT_TYPE = "text/javascript; charset=utf-8"
"""Of everything that it calls JSON."""

_ERRORS = {
    Reason.MALFORMED: "invalid_request",
    Reason.CLIENT: "invalid_client",
    Reason.GRANT_TYPE: "unsupported_grant_type",
    Reason.GRANT_NOT_ALLOWED: "unauthorized_client",
    Reason.SCOPE: "invalid_scope",
    Reason.CODE: "invalid_grant",
    Reason.REDIRECT_URI: "invalid_grant",
    Reason.PASSWORD: "invalid_grant",
    Reason.REFRESH_TOKEN: "invalid_grant",
    Reason.REFRESH_TOKEN_EXPIRED: "invalid_grant",
    Reason.REFRESH_TOKEN_REUSED: "invalid_grant",
}


def _refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    return JsonResponse({"error": _ERRORS[reason]}, status=400, content_type=CONTENT_TYPE)


@endpoint
@require_POST
@rehearsed(MAILRU, partial(grant_type_of, MAILRU), _refusal)
def token(request: HttpRequest, *, rotation: Rotation | None = None) -> HttpResponse:
    """The answers of RFC 6749, section 5, apart from their content type."""
    try:
        tokens = exchange(MAILRU, request, rotation)
    except Refused as refused:
        return _refusal(request, refused.reason)
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
