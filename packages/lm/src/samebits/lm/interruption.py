"""Interruption of a run: Ctrl-C and the signals that end a process are deferred to the end of a training step.

SIGTERM is what a scheduler or a container sends, SIGHUP what a closed terminal sends, SIGUSR1 what a scheduler can be asked to send
some time before the end, and what all MPI launchers hand on to their processes.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "deferred_interrupt"]


class Interrupted(KeyboardInterrupt):
    """The training was interrupted after a step, by Ctrl-C or another signal; the checkpoint is saved if there is a folder.

    Attributes:
        signal: The number of the signal, such as ``signal.SIGTERM``.

    Example:
        >>> try:
        ...     raise Interrupted("interrupted after step 3 of 6")
        ... except KeyboardInterrupt as error:
        ...     print(error)
        interrupted after step 3 of 6
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal = int(number)


SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # Windows has the first two


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], int]]:
    """Defer the first Ctrl-C, SIGTERM, SIGHUP or SIGUSR1: the function given returns its number, 0 as long as there was none.

    A second signal ends the process at once: KeyboardInterrupt after Ctrl-C, otherwise as the signal does by default.
    Signals reach the main thread only; in another thread nothing is changed. Signals that were ignored stay so (``nohup``).

    Example:
        >>> with deferred_interrupt() as interrupted:
        ...     signal.raise_signal(signal.SIGINT)
        ...     interrupted() == signal.SIGINT
        True
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return

    def note(number: int, _: Any) -> None:
        if not seen:
            seen.append(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    deferred = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in deferred}
    try:
        yield lambda: seen[0] if seen else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
