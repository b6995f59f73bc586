"""What the logger "django_socialgrants" tells: each record is about one event, and carries the same attributes.

`event` is an Event; `application` the name of the credentials; `token` a primary key, or None; `reason` a word for
scripts; `reference` what a visitor who was refused read on their page. What does not apply is "".
"""

import logging
from enum import StrEnum

logger = logging.getLogger("django_socialgrants")


class Event(StrEnum):
    """The README has the table. The first ones are called after the views in which somebody is refused."""

    CODE = "code"
    CODE_CALLBACK = "code_callback"
    IMPLICIT = "implicit"
    IMPLICIT_CALLBACK = "implicit_callback"
    EXCHANGE = "exchange"
    CONNECTIONS = "connections"
    DISCONNECT = "disconnect"
    CALL = "call"
    INSECURE_REDIRECT = "insecure_redirect"
    NO_BUTTON = "no_button"
    NOT_KEPT = "not_kept"
    REFRESHED = "refreshed"
    NEEDS_LOGIN = "needs_login"
    NOT_REFRESHED = "not_refreshed"
    NOT_REVOKED = "not_revoked"
    RUN = "run"
    DATABASE = "database"
    NETWORK_CODE = "network_code"


def log(
    event: Event,
    text: str,
    *args: object,
    level: int = logging.WARNING,
    application: str = "",
    token: int | None = None,
    reason: str = "",
    reference: str = "",
    trace: bool = False,
) -> None:
    """Write one record; `trace` adds the exception that is being handled. Nothing of it may hold a secret."""
    attributes = {
        "event": event.value,
        "application": application,
        "token": token,
        "reason": str(reason),  # of choices, which formatters may not know
        "reference": reference,
    }
    logger.log(level, text, *args, extra=attributes, exc_info=trace, stacklevel=2)
