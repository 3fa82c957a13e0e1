"""A server of the small model on a free port, in a thread, and what asks it."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import uvicorn
from tests.cli.small_model import TEMPLATE, pretrained

from samebits.cli import models
from samebits.cli.server.app import Access, make_app
from samebits.cli.server.command import Connection, make_thread
from samebits.cli.server.engine_thread import EngineThread
from samebits.cli.server.metrics import Metrics
from samebits.cli.server.served import Served, open_served

__all__ = ["HELLO", "NOW", "Answered", "Serving", "served", "serving", "until"]

NOW = datetime(2026, 1, 1)  # noqa: DTZ001 - of the place
HELLO = [{"role": "user", "content": "Hello"}]


class Answered(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Serving(NamedTuple):
    """A server that runs."""

    port: int
    served: Served
    thread: EngineThread

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, path: str, body: Any = None, *, method: str = "", **headers: str) -> Answered:
        """Ask for something: GET, or POST with a body, which becomes JSON if it is not bytes."""
        connection = self.connect()
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, sent, named)
        answer = connection.getresponse()
        found = Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def chat(self, messages: Any = HELLO, **fields: Any) -> Any:
        """An answer's object."""
        answered = self.ask("/v1/chat/completions", {"messages": messages, **fields})
        assert answered.status == 200, answered
        return answered.json

    def complete(self, prompt: Any, **fields: Any) -> Any:
        """The object of a continuation."""
        answered = self.ask("/v1/completions", {"prompt": prompt, **fields})
        assert answered.status == 200, answered
        return answered.json

    def events(self, path: str, **fields: Any) -> list[Any]:
        """The chunks of a stream, without the last event."""
        answered = self.ask(path, {**fields, "stream": True})
        assert answered.status == 200 and answered.headers["content-type"].startswith("text/event-stream"), answered
        *lines, last = answered.body.decode().strip().split("\n\n")
        assert last == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    def settle(self) -> None:
        """Wait until no text is in work."""
        until(lambda: self.thread.load == 0)


def until(done: Any) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


def served(template: str | None = TEMPLATE, **options: Any) -> Served:
    """The small model."""
    one = pretrained(template)
    with mock.patch.object(models, "load_pretrained", return_value=one):
        settings = {"arithmetic": None, "tokens": None, "now": NOW}
        return open_served(Path("small.gguf"), **(settings | options))


@contextmanager
def serving(
    one: Served | None = None,
    access: Access | None = None,
    *,
    slots: int = 4,
    queue: int = 8,
    timeout: float = 20.0,
    **options: Any,
) -> Iterator[Serving]:
    """A server, for a block."""
    model, metrics = one or served(), Metrics()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        make_thread(model, metrics, slots=slots, queue=queue, timeout=timeout, **options) as engine,
    ):
        app = make_app(model, engine, metrics, access or Access())
        server = uvicorn.Server(
            uvicorn.Config(app, http=Connection, log_config=None, access_log=False, lifespan="off", ws="none")
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            yield Serving(listener.getsockname()[1], model, engine)
        finally:
            server.should_exit = True
            thread.join()
