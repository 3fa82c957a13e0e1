"""Interruption of a run: Ctrl-C is deferred to the end of a training step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "deferred_interrupt"]


class Interrupted(KeyboardInterrupt):
    """The training was interrupted by Ctrl-C after a step; the checkpoint is saved if there is a folder.

    Example:
        >>> try:
        ...     raise Interrupted("interrupted after step 3 of 6")
        ... except KeyboardInterrupt as error:
        ...     print(error)
        interrupted after step 3 of 6
    """


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C: the function given tells whether there was one. A second one raises KeyboardInterrupt.

    Signals reach the main thread only; in another thread nothing is changed.

    Example:
        >>> with deferred_interrupt() as interrupted:
        ...     signal.raise_signal(signal.SIGINT)
        ...     interrupted()
        True
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)
