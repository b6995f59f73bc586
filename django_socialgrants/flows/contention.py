"""Deciding where others decide at the same time, on a connection that may have been closed meanwhile."""

from collections.abc import Callable
from typing import TypeVar

from django.db import IntegrityError, OperationalError, connections

from .refusal import Refusal

T = TypeVar("T")

_TRIES = 5


def decided(decide: Callable[[], T | None]) -> T:
    """What `decide` returns: called again when it returns None, or when the database does not let it be.

    Then somebody else was faster, or a deadlock was resolved at its expense. It opens its own transaction. Raises
    Refusal when that goes on.
    """
    problem = "overtaken"
    for _ in range(_TRIES):
        try:
            decision = decide()
        except (IntegrityError, OperationalError) as error:
            problem = type(error).__name__
        else:
            if decision is not None:
                return decision
    raise Refusal("conflict", detail=problem)


def reconnect() -> None:
    """Replace connections that a database closed while nobody used them: waiting for a network takes its time."""
    for connection in connections.all(initialized_only=True):
        idle = connection.connection is not None and not connection.in_atomic_block
        if idle and not connection.is_usable():
            connection.close()
