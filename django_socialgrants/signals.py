"""Signals for other parts of a site.

All except `exchanged` are sent after the change is committed, with `sender=UserToken` and `token`, the row as it
is then (for `disconnected`: as it was). None carries a secret in clear. A receiver that fails is logged and
affects neither the caller nor other receivers: inside a transaction each one runs in a savepoint of its own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.dispatch import Signal

from .exceptions import ProviderError
from .oauth.provider import Provider
from .oauth.values import Request, Response
from .transport.exchange import exchange

if TYPE_CHECKING:
    from .models import UserToken

T = TypeVar("T")


class _Undisturbed(Signal):
    """Calls one receiver after the other, each in a savepoint."""

    def _live_receivers(self, sender: object) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
        sync, asynchronous = super()._live_receivers(sender)
        return [_in_savepoint(receiver) for receiver in (*sync, *map(async_to_sync, asynchronous))], []


granted = _Undisturbed()
"""A user logged in or connected an account, and the network gave a token for it. `recovered` says whether the row
needed a login until then."""
refreshed = _Undisturbed()
"""A token was refreshed."""
needs_login = _Undisturbed()
"""A token can't be refreshed any more: its user must grant again; `token.reason` says why."""
disconnected = _Undisturbed()
"""A user disconnected an account: the row is deleted. `revoked` says whether the network took the grant back:
False if it was asked and failed, None if it can't be asked."""
exchanged = Signal(use_caching=True)
"""A request to a network is over: `announced_exchange` says what it was and how it went, in the thread that made
it and with the provider's class as `sender`. Receivers must not use the database: the threads of a run would open
connections that nobody closes, and a call may be part of somebody's transaction."""


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


def announced_exchange(
    request: Request, parse: Callable[[Response], T], *, provider: Provider, purpose: str, method: str = ""
) -> T:
    """`transport.exchange.exchange`, followed by the signal `exchanged`.

    `purpose` is "token", "refresh", "identity", "call", "keep_alive" or "revoke"; `method` is that of the REST
    API, or "". Besides these a receiver is given `provider` (its id), `status` (HTTP, None without an answer),
    `error` (the class name of the ProviderError, or "") and `seconds`.
    """
    if not exchanged.has_listeners(type(provider)):
        return exchange(request, parse)
    status: int | None = None
    began = time.monotonic()

    def note_and_parse(response: Response) -> T:
        nonlocal status
        status = response.status
        return parse(response)

    def announce(error: str) -> None:
        exchanged.send_robust(
            sender=type(provider),
            provider=provider.id,
            purpose=purpose,
            method=method,
            status=status,
            error=error,
            seconds=time.monotonic() - began,
        )

    try:
        result = exchange(request, note_and_parse)
    except ProviderError as failure:
        status = status or failure.status
        announce(type(failure).__name__)
        raise
    announce("")
    return result
