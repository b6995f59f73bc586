"""A progress bar for commands: on a terminal only."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm


@contextmanager
def progress(total: int, *, label: str = "", shown: bool = True) -> Iterator[Callable[[int], object]]:
    """A bar on stderr while the block runs, unless `shown` is False or stderr is no terminal.

    Gives the function that moves it on: `advance(n)` by n of `total` steps. A terminal that does not know its own
    width, as a container's often is, is taken to have 80 columns: without that lines would be torn.
    """
    columns, rows = (None, None) if _has_size() else (80, 24)
    with tqdm(
        total=total, desc=label or None, ncols=columns, nrows=rows, disable=None if shown else True
    ) as bar:
        yield bar.update


def _has_size() -> bool:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


@contextmanager
def counted_progress(*, label: str = "", shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that is counted only after it has begun.

    Gives `move(done, total)`: the first call opens the bar, each one moves it to `done`.
    """
    advance: Callable[[int], object] | None = None
    position = 0
    with ExitStack() as stack:

        def move(done: int, total: int) -> None:
            nonlocal advance, position
            if advance is None:
                advance = stack.enter_context(progress(total, label=label, shown=shown))
            advance(done - position)
            position = done

        yield move


@contextmanager
def above_progress() -> Iterator[None]:
    """Lines that the block writes to a terminal stand above the bar, not in it."""
    with tqdm.external_write_mode(file=sys.stderr):
        yield
