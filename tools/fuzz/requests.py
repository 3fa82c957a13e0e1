"""Requests to a server, in this process: damaged ones must get an answer or an error of the client, and change no answer that follows.

body -> the application of `samebits serve` -> 2xx, or 4xx with the object that OpenAI's interface has for errors
"""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any

from samebits.cli.server.app import Access, make_app
from samebits.cli.server.command import make_thread
from samebits.cli.server.metrics import Metrics
from samebits.cli.server.served import open_served
from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig
from samebits.lm.export import export_gguf
from samebits.lm.pretrained import Pretrained
from samebits.text import ByteTokenizer

__all__ = ["RefusedError", "Requests"]

_TEMPLATE = "{% for one in messages %}{{ one.role }}: {{ one.content }}{{ eos_token }}{% endfor %}"
_SETTINGS = {
    "model": "small",
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 9,
    "seed": 3,
    "stop": ["a", "bc"],
    "max_tokens": 2,
    "logit_bias": {"65": -1.5},
    "stream": False,
    "user": "me",
    "n": 2,
    "receipt": True,
}
_MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hé"}]}]


class RefusedError(ValueError):
    """A request that got an error of the client; the message names the file of its body."""


class Requests:
    """Sends the bodies in files to a server of a small model.

    Args:
        folder: An empty folder, for the model.
    """

    def __init__(self, folder: Path) -> None:
        config = ModelConfig(architecture="llama", vocabulary_size=257, context=64, layers=1, heads=2, channels=32)
        model = LanguageModel(config, stream=Stream(0)).eval()
        made = Pretrained(name="small", model=model, tokenizer=ByteTokenizer(["<end>"]), eos_id=256, chat_template=_TEMPLATE)
        export_gguf(made, folder / "small.gguf")
        self._served = open_served(folder / "small.gguf", arithmetic=None, tokens=4, now=datetime(2026, 1, 1))  # noqa: DTZ001
        self._app: Callable[..., Any] | None = None
        self._expected: dict[str, Any] = {}

    def bodies(self) -> dict[str, tuple[str, bytes]]:
        """A name, the address and a valid body for each kind of request."""
        completion = {**_SETTINGS, "prompt": ["Hi", "Ho"], "echo": True}
        found = {
            "chat": ("/v1/chat/completions", {**_SETTINGS, "messages": _MESSAGES, "logprobs": True, "top_logprobs": 2}),
            "completion": ("/v1/completions", completion),
            "events": (
                "/v1/completions",
                {"prompt": [72, 105], "logprobs": 1, "stream": True, "stream_options": {"include_usage": True}},
            ),
            "verify": ("/v1/verify", {"receipt": self._ask("/v1/completions", completion)["receipt"], "sample": 0.5, "seed": 1}),
        }
        return {name: (path, json.dumps(body).encode()) for name, (path, body) in found.items()}

    def reader(self, address: str) -> Callable[[Path], None]:
        """Sends the body in a file to an address, and checks what comes back, and an answer after it."""

        def read(path: Path) -> None:
            status, body = asyncio.run(self._post(address, path.read_bytes()))
            expected = self._ask("/v1/chat/completions", {"messages": _MESSAGES})["choices"]
            if self._expected.setdefault("choices", expected) != expected:
                raise AssertionError(f"the next answer must be {self._expected}, got {expected}")
            if 400 <= status < 500:
                error = json.loads(body)["error"]
                fits = set(error) == {"message", "type", "param", "code"} and type(error["message"]) is str
                if not (fits and (error["param"] is None or type(error["param"]) is str)):
                    raise AssertionError(f"an error must have the shape of OpenAI's, got {error}")
                raise RefusedError(f"{path.name}: {status} {error['message']}")
            if status != 200 or b"server_error" in body:
                raise AssertionError(f"an answer must have status 200 or 4xx, got {status} {body[:300]!r}")
            events = body.decode().strip().split("\n\n") if body.startswith(b"data: ") else []
            for text in [event.removeprefix("data: ") for event in events[:-1]] or [body.decode()]:
                json.loads(text, parse_constant=_refuse)

        return read

    def _ask(self, address: str, fields: dict[str, Any]) -> Any:
        status, body = asyncio.run(self._post(address, json.dumps(fields).encode()))
        if status != 200:
            raise AssertionError(f"a valid request must have an answer, got {status} {body!r}")
        return json.loads(body)

    async def _post(self, address: str, body: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer to a request."""
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
        }
        scope |= {"path": address, "raw_path": address.encode(), "query_string": b"", "headers": [], "root_path": ""}
        sent, found, status = [{"type": "http.request", "body": body}], bytearray(), 0
        never = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            if not sent:
                await never.wait()
            return sent.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            found.extend(message.get("body", b""))

        await self._started()(scope, receive, send)
        return status, bytes(found)

    def _started(self) -> Callable[..., Any]:
        """The application, whose thread begins with the first request and ends with this process."""
        if self._app is None:
            metrics = Metrics()
            thread = make_thread(self._served, metrics, slots=4, queue=4, timeout=60, prefixes=2**20).__enter__()
            self._app = make_app(self._served, thread, metrics, Access())
        return self._app


def _refuse(number: str) -> None:
    raise AssertionError(f"JSON must be standard, got {number}")
