"""A progress bar for commands: on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm


@contextmanager
def progress(total: int, *, shown: bool = True) -> Iterator[Callable[[int], object]]:
    """A bar on stderr while the block runs, unless `shown` is False or stderr is no terminal.

    Gives the function that moves it on: `advance(n)` by n of `total` steps.
    """
    with tqdm(total=total, disable=None if shown else True) as bar:
        yield bar.update


@contextmanager
def counted_progress(*, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that is counted only after it has begun.

    Gives `move(done, total)`: the first call opens the bar, each one moves it to `done`.
    """
    advance: Callable[[int], object] | None = None
    position = 0
    with ExitStack() as stack:

        def move(done: int, total: int) -> None:
            nonlocal advance, position
            if advance is None:
                advance = stack.enter_context(progress(total, shown=shown))
            advance(done - position)
            position = done

        yield move


@contextmanager
def above_progress() -> Iterator[None]:
    """Lines that the block writes to a terminal stand above the bar, not in it."""
    with tqdm.external_write_mode(file=sys.stderr):
        yield
