"""Busy machine: notice that training waits for processors, and say what helps.

The threads of a BLAS wait for each other. Where other programs use the processors too, that takes several times as long as one
thread would. Such steps last longer than the processor time that they take, which an idle machine's never do.
"""

import os
import time

__all__ = ["BusyMachine"]

_SLOW = 1.5  # times the processor time; on an idle machine it is at most 1
_STEPS, _SECONDS = 10, 5.0  # what is judged at once, at least


class BusyMachine:
    """Compares how long steps take with their processor time.

    Example:
        >>> BusyMachine().after_step()
        ''
    """

    def __init__(self) -> None:
        self._quiet = _one_thread()
        self._first = self._last = _now()
        self._steps = self._slow = 0

    def after_step(self) -> str:
        """A note, once, if most steps have to wait; otherwise empty."""
        if self._quiet:
            return ""
        before, self._last = self._last, _now()
        self._steps += 1
        self._slow += self._last[0] - before[0] > _SLOW * (self._last[1] - before[1])
        wall, processor = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if self._steps < _STEPS or wall < _SECONDS:
            return ""
        self._quiet = 2 * self._slow > self._steps
        self._restart()
        if not self._quiet:
            return ""
        return (
            f"this machine is busy: steps take {wall / max(processor, 1e-9):.1f} times their processor time. With the environment "
            "variable OPENBLAS_NUM_THREADS=1 they are often faster, as threads need not wait for each other; it changes no bit"
        )

    def _restart(self) -> None:
        self._first = self._last = _now()
        self._steps = self._slow = 0


def _now() -> tuple[float, float]:
    """The time and this process's processor time, in seconds."""
    return time.perf_counter(), time.process_time()


def _one_thread() -> bool:
    """Whether the BLAS has one thread only."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return processors == 1 or "1" in {os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("OMP_NUM_THREADS")}
