"""The pool: every row once, whatever the threads; errors reach the caller when nothing runs any more."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from samebits import kernels
from samebits.kernels import pool


@pytest.fixture(autouse=True)
def four() -> Iterator[None]:
    before = kernels.threads()
    kernels.threads(4)
    yield
    kernels.threads(before)


@pytest.mark.parametrize(
    ("rows", "columns", "group"), [(1, 1, 1), (5, 10**6, 1), (10**6, 1, 1), (1000, 1000, 32), (33, 10**5, 32)]
)
def test_every_row_is_computed_once_in_whole_groups(rows: int, columns: int, group: int) -> None:
    seen: list[tuple[int, int]] = []
    pool.each_block(lambda start, stop: seen.append((start, stop)), rows, columns, group)
    ends = sorted(seen)
    assert [start for start, _ in ends] == [0, *[stop for _, stop in ends[:-1]]]
    assert ends[-1][1] == rows
    assert all(start % group == 0 for start, _ in ends)


def test_an_error_is_raised_after_all_threads_are_done() -> None:
    running = 0
    lock = threading.Lock()

    def run(start: int, _: int) -> None:
        nonlocal running
        with lock:
            running += 1
        time.sleep(0.001)
        with lock:
            running -= 1
        if start == 0:
            raise MemoryError

    with pytest.raises(MemoryError):
        pool.each_block(run, 10**6, 1)
    assert running == 0


def test_helpers_that_made_a_call_slower_are_left_out_for_a_while() -> None:
    caller, begun, begin = threading.get_ident(), threading.Event(), time.perf_counter()

    def slow_helpers(*_: int) -> None:
        if threading.get_ident() == caller:
            begun.wait(30)  # on a busy machine a helper that has not begun would be called off
        else:
            begun.set()
            time.sleep(0.1 + 3 * (time.perf_counter() - begin))

    pool.each_block(slow_helpers, 10**6, 1)
    seen: list[int] = []
    pool.each_block(lambda *_: seen.append(threading.get_ident()), 10**6, 1)
    assert seen == [caller]


def test_kernels_may_be_used_when_python_ends() -> None:
    code = "import atexit; from samebits.kernels import pool, threads; threads(4)\n"
    code += (
        "atexit.register(lambda: pool.each_block(lambda start, stop: seen.append(stop - start), 10**6, 1) or print(sum(seen)))\n"
    )
    code += "seen = []; pool.each_block(lambda *_: None, 10**6, 1)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1000000\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_starts_its_own_threads() -> None:
    pool.each_block(lambda *_: None, 10**6, 1)
    child = os.fork()
    if child == 0:
        seen: list[int] = []
        pool.each_block(lambda start, stop: seen.append(stop - start), 10**6, 1)
        os._exit(0 if sum(seen) == 10**6 else 1)
    assert os.waitpid(child, 0)[1] == 0


def rows_seen(rows: int) -> int:
    seen: list[int] = []
    pool.each_block(lambda start, stop: seen.append(stop - start), rows, 1)
    return sum(seen)


def test_the_number_of_threads_may_change_while_they_work() -> None:
    errors: list[BaseException] = []
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set() and not errors:
            try:
                assert rows_seen(10**6) == 10**6
            except BaseException as error:  # noqa: BLE001 - shown below
                errors.append(error)

    callers, interval = [threading.Thread(target=compute) for _ in range(4)], sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for caller in callers:
            caller.start()
        for i in range(300):
            kernels.threads(1 + i % 3)
            time.sleep(0.0005)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for caller in callers:
            caller.join()
    assert errors == []
    assert pool._HELPERS.paused >= 0
