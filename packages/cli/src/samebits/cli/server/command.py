"""The command `samebits serve`: it opens a model, listens, and answers until it is told to end.

The first SIGTERM or Ctrl-C lets no more requests in and waits for the answers in work; the second ends at once.
"""

import asyncio
import math
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from samebits.cli.models import open_model
from samebits.cli.server.app import Access, make_app
from samebits.cli.server.engine_thread import EngineThread
from samebits.cli.server.log import LOGGER, configure_log, write_record
from samebits.cli.server.metrics import Metrics
from samebits.cli.server.served import Served, open_served
from samebits.core import Mode, numerics
from samebits.lm.drafts import Draft, ModelDraft, RepeatedDraft
from samebits.lm.engine import Engine
from samebits.lm.prefixes import PrefixCache

__all__ = ["Connection", "Server", "make_thread", "serve_model"]

LOCAL = ("127.0.0.1", "localhost", "[::1]")


QUIET = 30.0
"""So many seconds a connection may stay without a whole request, or a client without reading; at most twice as many."""


def _largest() -> int:
    """The largest number of connections: without files to open for more of them, the event loop would do nothing but report it."""
    if sys.platform == "win32":
        return 512
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 512 if soft == resource.RLIM_INFINITY else min(512, soft // 2)


CONNECTIONS = _largest()


class Connection(H11Protocol):
    """A connection of uvicorn that is closed when there are too many, or when its client neither asks for anything nor reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._look(None)

    def _look(self, before: object) -> None:
        """Close it if nothing has happened since the look before, and look again."""
        idle, unread = self.cycle is None or self.cycle.response_complete, self.transport.get_write_buffer_size()
        now = id(self.cycle), idle, unread
        if now == before and (idle or unread):
            self.transport.abort()
        if not self.transport.is_closing():
            self.loop.call_later(QUIET, self._look, now)


class Server(uvicorn.Server):
    """uvicorn, which ends with status 0 on a signal, and at once on the second."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the answers in work, and say so."""
        if self.server_state.tasks:
            write_record("ending when all is answered, or at a second signal", requests=len(self.server_state.tasks))
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn gives them
        """Obey a signal."""
        if self.should_exit:
            self.force_exit = True
            self._loop.call_soon_threadsafe(self._abort)
        self.should_exit = True

    def _abort(self) -> None:
        """Close all connections, which uvicorn waits for even then."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def serve_model(
    source: Path,
    *,
    host: str,
    port: int,
    key: str | None,
    origins: tuple[str, ...],
    slots: int,
    queue: int,
    tokens: int | None,
    timeout: float,
    prefixes: int,
    folder: Path | None,
    draft: Path | None,
    speculate: bool,
    arithmetic: Mode | None,
    log: Literal["json", "text"] | None,
    now: datetime,
) -> int:
    """Serve a model until a signal; returns the exit status.

    Args:
        source: The model's file, folder or name, or a training run.
        host: The address to listen at.
        port: The port to listen at; 0 for any.
        key: The API key that requests must have.
        origins: The other origins whose pages may use the server.
        slots: The largest number of texts that are written at once.
        queue: The largest number of texts that wait.
        tokens: The largest number of tokens of a text.
        timeout: The largest number of seconds of an answer.
        prefixes: The largest number of bytes of the cache of beginnings of texts; 0 for none.
        folder: Where it is kept for later processes.
        draft: A smaller model with the same tokenizer, to guess tokens with.
        speculate: Whether to guess tokens from the text, if there is no such model.
        arithmetic: The arithmetic; by default that of `samebits.cli.models`.
        log: The form of the log, by default "text" in a terminal and "json" elsewhere.
        now: The date for chat templates that ask for it.

    Raises:
        ValueError: The model cannot be served, or an option is wrong.
        OSError: The model cannot be read, or the address is in use.
    """
    if key == "":  # such as that of a variable that is not set
        raise ValueError("serve: --api-key must not be empty; without it no key is asked for")
    if wrong := [one for one in origins if not re.fullmatch(r"\*|https?://[^/\s]+", one)]:
        raise ValueError(f"serve: --cors must be an origin such as https://example.org, without a path, or *, got {wrong[0]}")
    if folder and not prefixes:
        raise ValueError("serve: --prefix-folder needs a --prefix-cache above 0")
    if draft and not speculate:
        raise ValueError("serve: --draft guesses tokens, which --no-speculate forbids; leave one of them out")
    if timeout == math.inf:
        raise ValueError(f"serve: --timeout must be a finite number of seconds, got {timeout}")
    configure_log(log or ("text" if sys.stderr.isatty() else "json"))
    with _listener(host, port) as listener:
        served, metrics = open_served(source, arithmetic=arithmetic, tokens=tokens, now=now), Metrics()
        hosts = LOCAL if host in {*LOCAL, "::1"} else ()
        if not hosts and key is None:
            LOGGER.warning("everyone in the network may use this server; --api-key asks for a key")
        access = Access(key=key, hosts=hosts, origins=origins)
        if served.arithmetic == "fast":  # whose bits depend on what is computed together
            if draft or folder:
                raise ValueError("serve: --draft and --prefix-folder need exact or int16 arithmetic, got fast")
            prefixes, speculate = 0, False
        guesses = _model_draft(draft, served) if draft else RepeatedDraft() if speculate else None
        with make_thread(
            served, metrics, slots=slots, queue=queue, timeout=timeout, prefixes=prefixes, folder=folder, draft=guesses
        ) as thread:
            config = uvicorn.Config(
                make_app(served, thread, metrics, access),
                http=Connection,
                backlog=CONNECTIONS // 4,  # of which so many are accepted at once
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=math.ceil(timeout) + 5,
            )
            name, port = listener.getsockname()[:2]
            url = f"http://{f'[{name}]' if ':' in name else name}:{port}"
            write_record("serving", url=url, model=served.id, digest=served.digest, arithmetic=served.arithmetic)
            Server(config).run([listener])
    write_record("ended")
    return 0


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens at an address."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise OSError(f"serve: {error.strerror}; --host and --port name another address") from None


def _model_draft(source: Path, served: Served) -> Draft:
    """Another model that guesses tokens."""
    opened = open_model(source)
    if opened.tokenizer.digest != served.tokenizer_digest:
        raise ValueError(f"serve: --draft must be a model with the tokenizer of {served.id}, got {source}")
    return ModelDraft(opened.model, opened.tokenizer)


def make_thread(
    served: Served,
    metrics: Metrics,
    *,
    slots: int,
    queue: int,
    timeout: float,
    prefixes: int = 0,
    folder: Path | None = None,
    draft: Draft | None = None,
) -> EngineThread:
    """The thread that computes the answers of a model.

    Args:
        served: The model.
        metrics: What is counted.
        slots: The largest number of texts that are written at once.
        queue: The largest number of texts that wait.
        timeout: The largest number of seconds of an answer.
        prefixes: The largest number of bytes of the cache of beginnings of texts; 0 for none.
        folder: Where it is kept for later processes.
        draft: Guesses tokens.
    """

    @contextmanager
    def make() -> Iterator[Engine]:
        cache = PrefixCache(served.digest, served.arithmetic, limit=prefixes, folder=folder) if prefixes else None
        try:
            with numerics(served.arithmetic):
                engine = Engine(served.opened.model, served.opened.tokenizer, slots=slots, prefixes=cache, draft=draft)
            yield engine
        finally:
            if cache:
                cache.close()

    def failed(error: Exception) -> None:
        LOGGER.error("the engine failed", exc_info=error)

    return EngineThread(make, most=slots + queue, timeout=timeout, metrics=metrics, failed=failed)
