"""SIGTERM and Ctrl-C ask a command to stop when it can."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """`signal` is the number of the signal that came, 0 before that; a shell expects exit code 128 + signal."""

    signal: int = 0

    def __bool__(self) -> bool:
        return bool(self.signal)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """While the block runs, the first signal interrupts nothing: it is noted, and the block has to look.

    A second one does what it always did. Only the main thread can do that; elsewhere nothing is noted.
    """
    interruption = Interruption()

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    mine = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in mine}
    try:
        yield interruption
    finally:
        restore()
