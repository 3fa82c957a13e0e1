"""Threads: independent blocks of rows, shared between the caller and a few helpers.

The caller works too: it takes block after block, and so do the helpers as they come. Helpers that have not begun when no
block is left are called off, and where waiting for those that have begun takes long, because the machine is busy, the next
calls do without. Which thread takes a block cannot change a bit of it.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["begin_threads", "each_block", "threads"]

SMALL = 2**17
"""Elements up to which one thread is quicker than waking another."""
BLOCK = 2**15
"""Elements of the least block that is worth a call."""

_PAUSE = 50  # calls without helpers after they made one slower


def _available() -> int:
    """The CPUs this process may use, or SAMEBITS_THREADS."""
    wanted = os.environ.get("SAMEBITS_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Helpers:
    """The threads beside the caller's own."""

    def __init__(self) -> None:
        self.count = _available()
        self.begin: Callable[[], object] | None = None
        self.forget()

    def forget(self) -> None:
        """Start without threads: at first, and in a forked process, which has none."""
        self.executor: Any = None
        self.paused = 0

    def resize(self, count: int) -> None:
        self.count = count
        self.forget()

    def share(self, work: Callable[[], None], count: int) -> None:
        """Run ``work`` in this thread and in helpers, ``count`` in all, until it returns in each that began."""
        executor = self.executor  # another thread may change it at any time
        if executor is None:
            from concurrent.futures import ThreadPoolExecutor  # slow to import

            executor = self.executor = ThreadPoolExecutor(count - 1, "samebits", self.begin)
        errors: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again below, when nothing runs any more
                errors.append(error)

        try:
            others = [executor.submit(guarded) for _ in range(count - 1)]
        except RuntimeError:  # Python is about to end, and begins no more threads
            others = []
        start = time.perf_counter()
        guarded()
        done = time.perf_counter()
        for other in others:
            if not other.cancel():
                other.result()
        if time.perf_counter() - done > (done - start) / 2:
            self.paused = _PAUSE
        if errors:
            raise errors[0]


_HELPERS = _Helpers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_HELPERS.forget)


def begin_threads(function: Callable[[], object]) -> None:
    """Call a function at the beginning of every thread."""
    _HELPERS.begin = function


def threads(count: int | None = None) -> int:
    """Return the number of threads that kernels use, after setting it to ``count``, if given.

    It is at first SAMEBITS_THREADS, or the number of CPUs this process may use. It cannot change a bit of any result.

    Raises:
        TypeError: ``count`` is not an int.
        ValueError: ``count`` is below 1.

    Example:
        >>> before = threads()
        >>> threads(1)
        1
        >>> threads(before) == before
        True
    """
    if count is not None:
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"threads: count must be an int, got {count!r}")
        if count < 1:
            raise ValueError(f"threads: count must be at least 1, got {count}")
        _HELPERS.resize(count)
    return _HELPERS.count


def each_block(run: Callable[[int, int], None], rows: int, columns: int, group: int = 1) -> None:
    """Call ``run(start, stop)`` for blocks that make up all rows of so many elements, whole groups each.

    >>> each_block(lambda start, stop: print(start, stop), 10, 1)
    0 10
    """
    elements, count = rows * max(1, columns), _HELPERS.count
    if count == 1 or elements <= SMALL or rows <= group:
        run(0, rows)
        return
    if _HELPERS.paused > 0:
        _HELPERS.paused -= 1
        run(0, rows)
        return
    size = max(BLOCK, elements // (8 * count))
    step = -(-size // (max(1, columns) * group)) * group
    blocks = deque(range(0, rows, step))

    def work() -> None:
        while blocks:
            try:
                start = blocks.popleft()
            except IndexError:  # another thread took it
                return
            run(start, min(start + step, rows))

    _HELPERS.share(work, count)
