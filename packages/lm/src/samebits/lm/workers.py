"""Workers: the processes that compute a run together, what they exchange, and what must be the same for all.

A worker computes some shards of a batch, some windows of an evaluation or some texts; which ones changes no bit. This module has the
interface and a single process; `samebits.cli.mpi` has MPI.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from samebits.core.selftest import run_selftest

__all__ = ["ALONE", "Alone", "Pending", "Workers", "WorkersError", "require_same", "require_same_arithmetic"]


class WorkersError(ValueError):
    """Workers that compute one run together differ; the message names the worker and the difference.

    Example:
        >>> raise WorkersError("worker 2 must have the data of worker 0")
        Traceback (most recent call last):
            ...
        samebits.lm.workers.WorkersError: worker 2 must have the data of worker 0
    """


class Pending(Protocol):
    """An exchange that has begun; mpi4py's requests are such."""

    def Test(self) -> bool:  # noqa: N802 - MPI's name
        """Whether it has ended; the call lets it progress."""
        ...

    def Wait(self) -> object:  # noqa: N802
        """Wait for its end."""
        ...


class Workers(Protocol):
    """The interface of the processes of a run. All of them must make the same calls in the same order."""

    rank: int
    """The number of this one, from 0."""
    size: int
    """How many there are."""

    def maximum(self, values: npt.NDArray[np.uint8]) -> Pending:
        """Begin to replace each element by the largest of all workers, in place."""
        ...

    def total(self, values: npt.NDArray[np.float64]) -> Pending:
        """Begin to replace each element by the sum of all workers, in place, in any order."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """The values of all workers, in the order of their numbers."""
        ...


class Alone:
    """A single process.

    Example:
        >>> ALONE.gather("a"), ALONE.rank, ALONE.size
        (['a'], 0, 1)
    """

    rank, size = 0, 1

    def maximum(self, values: npt.NDArray[np.uint8]) -> "Alone":
        """The values stay as they are."""
        del values
        return self

    def total(self, values: npt.NDArray[np.float64]) -> "Alone":
        """The values stay as they are."""
        del values
        return self

    def gather(self, value: Any) -> list[Any]:
        """The value alone."""
        return [value]

    def Test(self) -> bool:  # noqa: N802 - MPI's name
        """True."""
        return True

    def Wait(self) -> None:  # noqa: N802
        """Return at once."""


ALONE = Alone()
"""A single process, which needs no MPI."""


def require_same(workers: Workers, *facts: tuple[str, str]) -> None:
    """Check that something is the same for all workers.

    Args:
        workers: All of them call this.
        facts: What is compared and its value here, in order; the first that differs is named.

    Raises:
        WorkersError: A worker has another value than worker 0. All workers raise it, with one message.

    Example:
        >>> require_same(ALONE, ("the tokenizer", "ab12"))
    """
    if workers.size == 1 or len(set(workers.gather(hashlib.sha256(repr(facts).encode()).hexdigest()))) == 1:
        return
    first, *others = map(dict, workers.gather(facts))
    for rank, theirs in enumerate(others, 1):
        for name, expected in first.items():
            if theirs.get(name) != expected:
                raise WorkersError(f"worker {rank} must have {name} of worker 0, {expected}, got {theirs.get(name, 'nothing')}")


def require_same_arithmetic(workers: Workers) -> None:
    """Check that all workers have the same version of samebits, and the same results in the self-test.

    Raises:
        WorkersError: A worker differs, as for `require_same`.

    Example:
        >>> require_same_arithmetic(ALONE)
    """
    if workers.size > 1:
        results = [(f"the self-test's result for {one.case!r}", one.digest[:16]) for one in run_selftest()]
        require_same(workers, ("the version of samebits", _version()), *results)


def _version() -> str:
    try:
        return version("samebits-lm")
    except PackageNotFoundError:
        return "of the source tree"
