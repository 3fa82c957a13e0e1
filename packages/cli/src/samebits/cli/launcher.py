"""Launcher: ``--workers 4`` starts the same command as four processes with mpiexec, and says how they ended.

mpiexec is that of the installed package mpich, else the one on the path. It is started in a session of its own, so that Ctrl-C in a
terminal reaches this process alone, which hands it on as SIGUSR1: every launcher of MPI passes that to its processes. They end the
step, save, and exit.
"""

import importlib.util
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from samebits.cli.mpi import INSTALL, PROCESSES, launched_size
from samebits.cli.terminal import errors, print_error
from samebits.lm.workers import WorkersError

__all__ = ["run_workers"]

# what mpiexec says of its own, after a line of such characters; nothing follows it
_RULE = re.compile(rb"[=-]{60,}\s*")
_LAST_WORDS = (b"=   BAD TERMINATION", b"prterun ", b"MPI_ABORT was invoked", b"mpiexec ", b"mpirun ")
_ABORT = b"Abort("
_MPICH = re.compile(r"PID \d+ RUNNING AT (?P<node>\S+).*\(signal (?P<signal>\d+)\)", re.DOTALL)
_OPEN_MPI = re.compile(r"rank (?P<rank>\d+) with PID \d+ on\s+node\s+(?P<node>\S+)\s+exited\s+on\s+signal (?P<signal>\d+)")
_MOMENT = 0.001  # seconds within which it is not known which of two workers ended first


def run_workers(count: int | None, command: Sequence[str] = ()) -> int | None:
    """Run a command as several processes.

    Args:
        count: How many; None and 1 start none.
        command: The program and its arguments; by default those of this process.

    Returns:
        The exit status; None if there is nothing to start, as this process is to compute itself.

    Raises:
        WorkersError: MPI is not installed.
    """
    if count is None or count == 1 or launched_size():
        return None
    with tempfile.TemporaryDirectory() as folder:
        arguments = [_mpiexec(), "-n", str(count), *(command or [sys.executable, "-m", "samebits.cli", *sys.argv[1:]])]
        # Open MPI refuses more processes than cores otherwise, and makes a terminal of a pipe
        environment = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", **os.environ, "TERM": "dumb", "NO_COLOR": "1"}
        environment[PROCESSES] = folder
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(arguments, env=environment, start_new_session=True, **pipes) as process:
            said: list[bytes] = []
            with _handed_on(process) as seen:
                streams = (process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)
                threads = [threading.Thread(target=_forward, args=(*pair, said)) for pair in streams]
                for thread in threads:
                    thread.start()
                ended = _first_ended(Path(folder), count, process)
                for thread in threads:
                    thread.join()
                status = process.wait()
        return _status(status, b"".join(said).decode(errors="replace"), seen, ended)


def _mpiexec() -> str:
    """The path of mpiexec: beside this Python, else on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        raise WorkersError(INSTALL)
    return found


@contextmanager
def _handed_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Hand on signals to the processes, and collect their numbers: the first lets them save, another one ends them at once."""
    seen: list[int] = []

    def hand_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM if seen else signal.SIGUSR1)
        seen.append(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = {getattr(signal, name): signal.signal(getattr(signal, name), hand_on) for name in names}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _forward(source: IO[bytes], target: IO[bytes], said: list[bytes]) -> None:
    """Copy lines as they come, but for what mpiexec says of its own."""
    rule, ended = b"", False
    for line in source:
        ended = ended or (bool(rule) and line.startswith(_LAST_WORDS))
        if ended:
            said.append(line)
        elif _RULE.fullmatch(line) and not rule:
            rule = line
        elif not line.startswith(_ABORT):
            with suppress(BrokenPipeError):  # the reader is gone; the workers go on
                target.write(rule + line)
                target.flush()
            rule = b""
    if rule and not ended:
        with suppress(BrokenPipeError):
            target.write(rule)
            target.flush()


def _first_ended(folder: Path, count: int, process: "subprocess.Popen[bytes]") -> str:
    """Wait until a worker or mpiexec ends; return the worker's number, "" if that is not known.

    MPICH kills the others as soon as one has ended, and does not say which was first: ends within a moment have no known order.
    """
    watched: dict[int, str] = {}
    if not hasattr(os, "pidfd_open"):  # Linux has it
        return ""
    try:
        while process.poll() is None:
            for file in folder.iterdir() if len(watched) < count else ():
                if (rank := file.read_text("utf-8")) and rank not in watched.values():
                    watched[os.pidfd_open(int(file.name))] = rank
            ended = select.select(list(watched), [], [], 0.1)[0]
            if ended:  # others that end right after may have been killed, and that one may only have been slower to end
                others = [one for one in watched if one != ended[0]]
                return "" if select.select(others, [], [], _MOMENT)[0] else watched[ended[0]]
    except ProcessLookupError:  # it ended before it could be watched
        return rank
    finally:
        for descriptor in watched:
            os.close(descriptor)
    return ""


def _status(status: int, said: str, seen: Sequence[int], ended: str) -> int:
    """The exit status of the command, after a message about a worker that was killed."""
    killed = _OPEN_MPI.search(said) or _MPICH.search(said)
    if seen:
        if killed:
            errors.print("\nInterrupted; every file is whole.")
        return 128 + seen[0] if status else 0
    if killed is None:
        return status
    number = int(killed["signal"])
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    rank = killed.groupdict().get("rank", ended)
    memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    print_error(
        f"{f'worker {rank}' if rank else 'a worker'} on {killed['node']} was ended by {name}{memory}; the others were ended too. "
        "The last checkpoint is intact; --resume continues from it"
    )
    return 2
