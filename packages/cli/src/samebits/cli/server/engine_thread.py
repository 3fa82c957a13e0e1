"""The engine's thread: it computes while there is work, and hands what it has written to the event loop, once for each step.

    event loop:  submit(requests) -> Job        job.cancel()         async for pieces in job
                       |                             |                        ^
    the thread:    engine.add                  engine.cancel        engine.step, all pieces in one call

An exception of a step ends the jobs in work, and a new engine goes on with those that follow.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, NamedTuple, Self

from samebits.cli.server.fields import RequestError
from samebits.cli.server.metrics import Metrics
from samebits.lm.engine import Engine, Request
from samebits.lm.generation import Token

__all__ = ["EngineThread", "Job", "Piece"]


_PAUSE = 0.1  # seconds before the next engine
_FAILURE = "the server failed to compute this answer; its log has the error"


class Piece(NamedTuple):
    """A token of a job's text, and whether the text ends with it."""

    text: int
    """The number of the text in the job."""
    token: Token
    finish: str
    """ "stop" or "length" with the last token, else ""."""


class Job:
    """The texts of one request, while they are written; `EngineThread.submit` makes it. It belongs to the event loop.

    Args:
        thread: The thread that writes them.
        requests: What the engine is asked for.
        timeout: The largest number of seconds.
    """

    def __init__(self, thread: "EngineThread", requests: Sequence[Request], timeout: float) -> None:
        self.requests = requests
        self.cached = [0] * len(requests)
        """How many tokens of each prompt were not read, as the cache had them."""
        self._thread, self._left = thread, len(requests)
        self._pieces: list[Piece] = []
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._began, self._last = perf_counter(), [0.0] * len(requests)
        self._timer = asyncio.get_running_loop().call_later(timeout, self._expire, timeout)

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """All pieces, as many at once as there are.

        Raises:
            RequestError: The engine failed, or refused a request.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            pieces, self._pieces = self._pieces, []
            if pieces:
                yield pieces
            if self._error is not None:
                raise self._error
            if not self._left:
                return

    def cancel(self) -> None:
        """Write no more, and free the slots; a job that has ended stays as it is."""
        if self._left:
            self._end(self._left)
            self._thread.send(_Cancel(self))

    def _expire(self, timeout: float) -> None:
        self._thread.send(_Cancel(self))
        self.fail(RequestError(f"the answer took more than {timeout:g} seconds", status=504, code="timeout"))

    def receive(self, piece: Piece, cached: int) -> None:
        """Take a piece from the engine."""
        now, metrics = perf_counter(), self._thread.metrics
        if not self._left:
            return
        if before := self._last[piece.text]:
            metrics.token_seconds.observe(now - before)
        else:
            self.cached[piece.text] = cached
            metrics.first_token_seconds.observe(now - self._began)
            metrics.read(len(self.requests[piece.text].prompt), cached)
        self._last[piece.text] = now
        metrics.written.inc()
        self._pieces.append(piece)
        if piece.finish:
            self._end(1)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """End with an error."""
        if self._left:
            self._error = error
            self._end(self._left)
        self._changed.set()

    def _end(self, texts: int) -> None:
        self._left -= texts
        self._thread.load -= texts
        if not self._left:
            self._timer.cancel()


class _Cancel(NamedTuple):
    job: Job


class EngineThread:
    """A thread with an engine.

    Args:
        make: Makes the engine, in the thread, and closes what it uses.
        most: The largest number of texts that are in work or wait.
        timeout: The largest number of seconds of a job.
        metrics: What is counted.
        failed: Is told of an exception of the engine, in the thread.

    As a context manager, it runs for the block.
    """

    load: int
    """The number of texts that are in work or wait; it belongs to the event loop."""

    timeout: float
    """The largest number of seconds of a job."""

    def __init__(
        self,
        make: Callable[[], AbstractContextManager[Engine]],
        *,
        most: int,
        timeout: float,
        metrics: Metrics,
        failed: Callable[[Exception], None],
    ) -> None:
        self.load, self.metrics = 0, metrics
        self._make, self._most, self.timeout, self._failed = make, most, timeout, failed
        self._sent: queue.SimpleQueue[Job | _Cancel | None] = queue.SimpleQueue()
        self._started: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places: dict[int, tuple[Job, int]] = {}  # of the engine's requests: the job, and the number in it
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if error := self._started.get():
            raise error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /) -> None:
        self._sent.put(None)
        self._thread.join()

    def submit(self, requests: Sequence[Request]) -> Job:
        """Begin the texts of a request.

        Raises:
            RequestError: So many texts wait that these cannot.
        """
        if self.load + len(requests) > self._most:
            if len(requests) > self._most:
                raise RequestError(
                    f"n must be so small that there are at most {self._most} texts, got {len(requests)}", param="n"
                )
            raise RequestError(
                "too many requests wait to be answered; try again in a moment", status=429, code="rate_limit_exceeded"
            )
        self._loop = asyncio.get_running_loop()
        self.load += len(requests)
        job = Job(self, requests, self.timeout)
        self.send(job)
        return job

    def send(self, what: Job | _Cancel) -> None:
        """Let the thread begin or end a job, before its next step."""
        self._sent.put(what)

    def _run(self) -> None:
        try:
            with self._make() as engine:
                self._started.put(None)
                ended = self._ends(engine)
        except Exception as error:  # noqa: BLE001 - `__enter__` raises it
            self._started.put(error)
            return
        while not ended:
            sleep(_PAUSE)
            try:
                with self._make() as engine:
                    ended = self._ends(engine)
            except Exception as error:  # noqa: BLE001 - the server goes on
                self._failed(error)
                ended = self._refuses()

    def _refuses(self) -> bool:
        """Fail the next job, as there is no engine; returns whether it was the end instead."""
        what = self._sent.get()
        if isinstance(what, Job):
            self._call(what.fail, RequestError(_FAILURE, status=500))
        return what is None

    def _ends(self, engine: Engine) -> bool:
        """Compute until the end or until an exception; returns whether it was the end."""
        try:
            self._work(engine)
        except Exception as error:  # noqa: BLE001 - whatever a step raises, the server goes on
            self._failed(error)
            jobs = {id(job): job for job, _ in self._places.values()}
            self._places = {}
            for job in jobs.values():
                self._call(job.fail, RequestError(_FAILURE, status=500))
            return False
        return True

    def _work(self, engine: Engine) -> None:
        """Compute until the end."""
        self.metrics.watch(engine)
        while True:
            while not (engine.active and self._sent.empty()):
                what = self._sent.get()
                if what is None:
                    return
                if isinstance(what, _Cancel):
                    self._leave(engine, what.job)
                else:
                    self._begin(engine, what)
            pieces = []
            for number, token, finish, error, cached in engine.step():
                if number not in self._places:  # its job has failed in this step
                    continue
                job, place = self._places[number]
                if token is None:
                    self._leave(engine, job)
                    self._call(job.fail, RequestError(error, status=500))
                    continue
                pieces.append((job, Piece(place, token, finish), cached))
                if finish:
                    del self._places[number]
            if pieces:
                self._call(_deliver, pieces)

    def _begin(self, engine: Engine, job: Job) -> None:
        try:
            for place, request in enumerate(job.requests):
                self._places[engine.add(request)] = job, place
        except Exception as error:
            self._leave(engine, job)
            refused = isinstance(error, ValueError)
            self._call(job.fail, RequestError(str(error)) if refused else RequestError(_FAILURE, status=500))
            if not refused:
                raise

    def _leave(self, engine: Engine, job: Job) -> None:
        """Cancel what is left of a job."""
        for number in [number for number, (one, _) in self._places.items() if one is job]:
            engine.cancel(number)
            del self._places[number]

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the event loop of the jobs; when it is closed, they are no longer waited for."""
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)


def _deliver(pieces: list[tuple[Job, Piece, int]]) -> None:
    for job, piece, cached in pieces:
        job.receive(piece, cached)
