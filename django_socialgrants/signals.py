"""What other parts of a site may want to know.

All are sent after the change is committed, with `sender=UserToken` and `token`, the row as it then is (for
`disconnected`: as it was); never with a secret in clear. A receiver that fails is logged and disturbs nobody: in a
transaction of the caller each has a savepoint of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.dispatch import Signal

if TYPE_CHECKING:
    from .models import UserToken


class _Undisturbed(Signal):
    """Calls one receiver after the other, each in a savepoint."""

    def _live_receivers(self, sender: object) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
        sync, asynchronous = super()._live_receivers(sender)  # type: ignore[misc]  # no part of its stubs
        return [_in_savepoint(receiver) for receiver in (*sync, *map(async_to_sync, asynchronous))], []


granted = _Undisturbed()
"""A user logged in or connected an account, and the network gave a token for it; `recovered` is True if that put an
end to `needs_login`."""
refreshed = _Undisturbed()
"""A token was refreshed."""
needs_login = _Undisturbed()
"""A token can't be refreshed any more: its user must grant again; `token.reason` says why."""
disconnected = _Undisturbed()
"""A user disconnected an account: the row is deleted. `revoked` says whether the network was told so: False if that
failed, None if it does not want to know."""


def send(signal: Signal, token: "UserToken", **facts: object) -> None:
    """Tell every receiver now; Django logs those that fail."""
    signal.send_robust(sender=type(token), token=token, **facts)


def send_on_commit(signal: Signal, token: "UserToken", **facts: object) -> None:
    """Tell every receiver once the transaction around the caller, if any, is committed."""
    transaction.on_commit(partial(send, signal, token, **facts), using=token._state.db)


def _in_savepoint(receiver: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(receiver)
    def undisturbed(**facts: Any) -> Any:
        with _savepoints():
            return receiver(**facts)

    return undisturbed


@contextmanager
def _savepoints() -> Iterator[None]:
    """A savepoint in every transaction that is open, in whatever database."""
    with ExitStack() as savepoints:
        for connection in connections.all(initialized_only=True):
            is_open = connection.in_atomic_block or not connection.autocommit
            if connection.connection is not None and is_open and connection.is_usable():
                savepoints.enter_context(transaction.atomic(using=connection.alias))
        yield
