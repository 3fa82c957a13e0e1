"""MPI: the workers of a command are the processes of an MPI job, which exchange arrays through mpi4py.

    samebits train --workers 4             starts mpiexec, which starts four of these commands
    mpiexec -n 4 samebits train            the same; so does srun
    samebits train                         one process, which neither needs nor imports MPI

What the workers compute is in `samebits.lm`; how they are started and ended is in `launcher`.
"""

import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from samebits.cli.terminal import console, errors, message_of, print_error
from samebits.lm.workers import ALONE, Pending, Workers, WorkersError

__all__ = ["INSTALL", "PROCESSES", "joined", "launched_size"]

INSTALL = 'several workers require MPI: python -m pip install "samebits[mpi]", or mpi4py for the MPI of this machine'
PROCESSES = "SAMEBITS_PROCESSES"
"""The environment variable with a folder where each worker leaves a file that has its process number as name."""

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
_RANKS = ("PMI_RANK", "PMIX_RANK")


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes an MPI launcher has started with this one, by its environment; 0 if none did, 1 if it does not say.

    Example:
        >>> launched_size({}), launched_size({"PMI_SIZE": "4", "PMI_RANK": "0"}), launched_size({"PMIX_RANK": "0"})
        (0, 4, 1)
    """
    for name in _SIZES:
        if environment.get(name, "").isdecimal():
            return int(environment[name])
    return int(any(name in environment for name in _RANKS))


@contextmanager
def joined(wanted: int | None) -> Iterator[Workers]:
    """The workers of this command: the processes of its MPI job, or this process alone.

    Only worker 0 prints. If a worker fails, it prints its error with its number, and all of them end.

    Args:
        wanted: How many workers there must be; None takes as many as were started.

    Raises:
        ModuleNotFoundError: mpi4py is not installed, but a launcher has started several processes; the message says so.
        WorkersError: There is another number of processes.
    """
    if not launched_size():
        yield ALONE
        return
    workers = _Processes(wanted)
    if workers.rank:
        console.quiet = True
        warnings.simplefilter("ignore")
    try:
        yield workers
        workers.meet()  # the end of MPI would keep a core busy, while worker 0 still prints
    except (typer.Exit, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the others wait for this one, whatever happened
        workers.end(error)


class _Processes:
    """The processes of an MPI job."""

    def __init__(self, wanted: int | None) -> None:
        try:
            import mpi4py
        except ModuleNotFoundError:
            raise WorkersError(f"an MPI launcher has started this process, but mpi4py is not installed; {INSTALL}") from None
        mpi4py.rc.thread_level = "funneled"  # kernels and BLAS have threads, which never call MPI
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise WorkersError(f"mpi4py does not find the library of MPI ({error}); {INSTALL}") from None
        self._mpi, self._world = MPI, MPI.COMM_WORLD
        self.rank, self.size = self._world.rank, self._world.size
        started = launched_size()
        if started > 1 and self.size == 1:
            raise WorkersError(
                f"the launcher has started {started} processes, but the MPI of mpi4py sees one alone: use the launcher of that MPI, "
                f"{MPI.Get_library_version().splitlines()[0].strip()}"
            )
        if wanted not in {None, self.size}:
            raise WorkersError(
                f"--workers must be the number of processes that the launcher has started, {self.size}, got {wanted}"
            )
        if folder := os.environ.get(PROCESSES):
            Path(folder, str(os.getpid())).write_text(str(self.rank), "utf-8")
        # each kind of exchange has its own order, which is the same for all workers
        self._largest, self._sums = self._world.Dup(), self._world.Dup()

    def maximum(self, values: npt.NDArray[np.uint8]) -> Pending:
        """See `samebits.lm.workers.Workers`."""
        return _Request(self._largest.Iallreduce(self._mpi.IN_PLACE, values, op=self._mpi.MAX))

    def total(self, values: npt.NDArray[np.float64]) -> Pending:
        """See `samebits.lm.workers.Workers`."""
        return _Request(self._sums.Iallreduce(self._mpi.IN_PLACE, values, op=self._mpi.SUM))

    def gather(self, value: Any) -> list[Any]:
        """See `samebits.lm.workers.Workers`."""
        self.meet()
        found: list[Any] = self._world.allgather(value)
        return found

    def meet(self) -> None:
        """Wait for all workers."""
        _Request(self._world.Ibarrier()).Wait()

    def end(self, error: BaseException) -> None:
        """Print an error, and end all workers with status 2.

        Where all of them have the same error, worker 0 is the one that prints it: the others wait until it has ended them.
        """
        time.sleep(min(self.rank, 1) * 0.5)
        message = message_of(error)
        if message is None:
            traceback.print_exception(error)
        place = "" if isinstance(error, WorkersError) else f"worker {self.rank} of {self.size} on {platform.node()}: "
        print_error(f"{place}{message or type(error).__name__}")
        errors.file.flush()
        sys.stdout.flush()
        self._world.Abort(2)


class _Request:
    """An exchange that has begun. Waiting for its end lets other threads and processes compute; MPI's own waiting keeps a core busy."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def Test(self) -> bool:  # noqa: N802 - MPI's name
        """Whether it has ended."""
        return bool(self._request.Test())

    def Wait(self) -> None:  # noqa: N802
        """Wait for its end, first with short pauses."""
        pause = 0.0
        while not self._request.Test():
            time.sleep(pause)
            pause = min(pause + 1e-5, 2e-3)
