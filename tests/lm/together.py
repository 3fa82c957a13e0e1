"""Workers that are threads of one process, for tests: what they exchange arrives when the last of them has sent its part."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")


class Board:
    """Where the threads leave what they exchange."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.sent: dict[tuple[str, int], list[tuple[int, Any]]] = {}
        self.failed = False


class Exchange:
    def __init__(self, board: Board, key: tuple[str, int], values: Any, join: Callable[[list[Any]], Any] | None) -> None:
        self.board, self.key, self.values, self.join = board, key, values, join

    def Test(self) -> bool:  # noqa: N802 - MPI's name
        with self.board.changed:
            ended = len(self.board.sent[self.key]) == self.board.size
        if ended and self.join:
            self.values[...] = self.join([part for _, part in self.board.sent[self.key]])
            self.join = None
        return ended

    def Wait(self) -> None:  # noqa: N802
        with self.board.changed:
            done = self.board.changed.wait_for(
                lambda: self.board.failed or len(self.board.sent[self.key]) == self.board.size, timeout=60
            )
        if self.board.failed or not done:
            raise threading.BrokenBarrierError
        self.Test()


class ThreadWorkers:
    """One of several threads; in ``sent`` are the bytes that it gave to exchanges."""

    def __init__(self, board: Board, rank: int) -> None:
        self.board, self.rank, self.size = board, rank, board.size
        self.calls: dict[str, int] = {}
        self.sent = 0

    def _begin(self, kind: str, values: Any, join: Callable[[list[Any]], Any] | None) -> Exchange:
        key = kind, self.calls.get(kind, 0)
        self.calls[kind] = key[1] + 1
        with self.board.changed:
            self.board.sent.setdefault(key, []).append((self.rank, values.copy() if join else values))
            self.board.changed.notify_all()
        return Exchange(self.board, key, values, join)

    def maximum(self, values: np.ndarray) -> Exchange:
        self.sent += values.nbytes
        return self._begin("maximum", values, np.maximum.reduce)

    def total(self, values: np.ndarray) -> Exchange:
        self.sent += values.nbytes
        return self._begin("total", values, lambda parts: sum(parts[1:], parts[0]))  # in the order in which they came

    def gather(self, value: Any) -> list[Any]:
        exchange = self._begin("gather", value, None)
        exchange.Wait()
        return [part for _, part in sorted(self.board.sent[exchange.key], key=lambda one: one[0])]


def together(size: int, function: Callable[[ThreadWorkers], Result]) -> list[Result]:
    """Call the function in as many threads, each with its workers; the first error is raised again."""
    board = Board(size)

    def call(rank: int) -> Result:
        try:
            return function(ThreadWorkers(board, rank))
        except BaseException:
            with board.changed:
                board.failed = True
                board.changed.notify_all()
            raise

    with ThreadPoolExecutor(size) as pool:
        found = list(pool.map(lambda rank: _outcome(call, rank), range(size)))
    errors = [error for error, _ in found if error is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, threading.BrokenBarrierError)):
        raise error
    return [result for _, result in found]


def _outcome(call: Callable[[int], Any], rank: int) -> tuple[BaseException | None, Any]:
    try:
        return None, call(rank)
    except BaseException as error:  # noqa: BLE001 - raised again by `together`
        return error, None
