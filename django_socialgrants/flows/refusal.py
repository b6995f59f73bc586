"""A refusal: what was asked for is not going to happen, and what its visitor is told.

Visitors read one fixed sentence and a reference id; everything else goes to the log.
"""

from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation
from django.http.multipartparser import MultiPartParserError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_socialgrants.exceptions import (
    DecryptionError,
    IdentityTaken,
    InvalidGrant,
    LoginRefused,
    ProviderError,
    clean_text,
)

_START_AGAIN = _("This login is no longer valid. Please start again.")
_NETWORK_FAILED = _("The network gave no usable answer. Please try again later.")
_NOT_SET_UP = _("This way to log in is not available at the moment. Please try again later.")

REASONS: dict[str, tuple[int, str | Promise]] = {
    "cancelled": (200, _("You cancelled the login. Nothing was changed.")),
    "unknown_state": (400, _START_AGAIN),
    "used_state": (400, _START_AGAIN),
    "stale_state": (400, _START_AGAIN),
    "foreign_state": (400, _START_AGAIN),
    "malformed_callback": (400, _("The network sent back something unexpected. Please start again.")),
    "authorization_error": (400, _("The network refused this login. Please start again.")),
    "malformed_request": (400, _("This is not what belongs here.")),
    "foreign_redirect_uri": (400, _("This is not what belongs here.")),
    "invalid_grant": (400, _("The network refused this login. Please start again.")),
    "unknown_way": (400, _("There is no such way to log in here.")),
    "user_changed": (403, _("You have logged in or out in the meantime. Please start again.")),
    "csrf_failed": (403, _("This page is too old, or cookies are switched off. Please start again.")),
    "inactive_user": (403, _("This account is not active.")),
    "unknown_identity": (403, _("Nobody on this site is connected to that account.")),
    "refused_by_site": (403, _("This site did not accept the login.")),
    "not_authenticated": (403, _("This site did not accept the login.")),
    "not_found": (404, _("There is nothing here.")),
    "identity_taken": (409, _("That account is already connected to somebody else on this site.")),
    "last_login": (409, _("This is your only way to log in here. Connect another account first.")),
    "unsupported_media_type": (415, _("This is not what belongs here.")),
    "bad_answer": (502, _NETWORK_FAILED),
    "misconfigured": (503, _NOT_SET_UP),
    "no_account": (503, _("This site can't make an account for you.")),
    "conflict": (503, _("Too much is happening at once. Please try again.")),
    "unavailable": (503, _NETWORK_FAILED),
    "call_failed": (503, _("This page needs a network that is of no help now. Please try again later.")),
    "deadline": (504, _("The network took too long to answer. Please try again later.")),
}
"""Status and sentence by reason."""


UNREADABLE = (SuspiciousOperation, BadRequest, MultiPartParserError)
"""What Django raises for a request whose body it does not read."""


class Refusal(Exception):
    """`reason` is a key of REASONS; `detail` is for the log; `retry_after` is in seconds.

    `sentence` is for the visitor, in place of that of the reason.
    """

    def __init__(
        self,
        reason: str,
        *,
        detail: str = "",
        retry_after: int | None = None,
        sentence: str | Promise = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        self.status, usual = REASONS[reason]
        self.sentence = sentence or usual

    @classmethod
    def from_error(cls, error: Exception) -> "Refusal":
        """The refusal that an error of a flow, of the settings or of a request amounts to."""
        if isinstance(error, Refusal):
            return error
        detail = f"{type(error).__name__}: {error}"
        if isinstance(error, IdentityTaken):
            return cls("identity_taken")
        if isinstance(error, LoginRefused):
            sentence = error.args[0] if error.args else ""
            return cls("refused_by_site", detail=clean_text(str(sentence)), sentence=sentence)
        if isinstance(error, InvalidGrant):
            return cls("invalid_grant", detail=detail)
        if isinstance(error, ProviderError):
            reason = {503: "unavailable", 504: "deadline"}.get(error.gateway_status, "bad_answer")
            retry_after = getattr(error, "retry_after", None) or 30
            return cls(reason, detail=detail, retry_after=retry_after if reason == "unavailable" else None)
        if isinstance(error, UNREADABLE):
            return cls("malformed_callback", detail=type(error).__name__)
        if isinstance(error, (DecryptionError, ImproperlyConfigured)):
            return cls("misconfigured", detail=detail)
        return cls("not_found", detail=detail)
