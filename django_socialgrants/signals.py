"""What other parts of a site may want to know.

All are sent after the change is committed, with `sender=UserToken` and `token`, the row as it then is (for
`disconnected`: as it was); never with a secret in clear. A receiver that fails is logged and disturbs nobody.
"""

from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.dispatch import Signal

if TYPE_CHECKING:
    from .models import UserToken

granted = Signal()
"""A user logged in or connected an account, and the network gave a token for it."""
refreshed = Signal()
"""A token was refreshed."""
needs_login = Signal()
"""A token can't be refreshed any more: its user must grant again; `token.reason` says why."""
disconnected = Signal()
"""A user disconnected an account: the row is deleted."""


def send(signal: Signal, token: "UserToken") -> None:
    """Tell every receiver now; Django logs those that fail."""
    signal.send_robust(sender=type(token), token=token)


def send_on_commit(signal: Signal, token: "UserToken") -> None:
    """Tell every receiver once the transaction around the caller, if any, is committed."""
    transaction.on_commit(partial(send, signal, token), using=token._state.db)
