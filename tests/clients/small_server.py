"""A server of a small model, in a process of its own, and what the model answers alone."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from tests.cli.small_model import TEMPLATE

from samebits.cli.chat_templates import model_template
from samebits.cli.models import ARITHMETIC
from samebits.core import Stream, numerics
from samebits.lm import LanguageModel, ModelConfig, Sampling
from samebits.lm.conversation import Conversation
from samebits.lm.export import export_hugging_face
from samebits.lm.generation import Token, generate_tokens
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.text import BytePairTokenizer

LETTERS = [b"<e>", *(bytes([one]) for one in range(32, 127))]
"""What the model writes."""
SECONDS = 60
"""How long anything may take before a test fails."""


def write_model(folder: Path) -> Path:
    """A model with random weights that writes letters, and ends about one answer of twenty tokens."""
    tokenizer = BytePairTokenizer([], ["<s>", "<e>"])
    config = ModelConfig(architecture="llama", vocabulary_size=258, context=16384, layers=1, heads=2, channels=32)
    model = LanguageModel(config, stream=Stream(0)).eval()
    with model.embedding.weight.edit() as weight:
        weight[...] *= np.float32(2.5)
        weight[[one not in LETTERS for one in tokenizer.tokens]] = 0
    export_hugging_face(
        Pretrained(
            name="small",
            model=model,
            tokenizer=tokenizer,
            chat_template=TEMPLATE,
            sampling=Sampling(temperature=0.8, top_k=40),
            stop_ids=(257,),
            eos_id=257,
        ),
        folder,
    )
    return folder


class Alone:
    """A model that is asked without a server.

    Args:
        folder: Its folder.
    """

    def __init__(self, folder: Path) -> None:
        self.pretrained = load_pretrained(folder)
        self.digest = self.pretrained.digest

    def answers(self, *questions: str, **options: Any) -> list[str]:
        """The answers to the questions of a conversation, as `samebits chat` gives them; see `conversation`."""
        conversation = self.conversation(**options)
        return ["".join(conversation.ask(question)) for question in questions]

    def attempts(self, question: str, count: int, **options: Any) -> list[str]:
        """The answer to a question, and what it is when it is regenerated."""
        conversation = self.conversation(**options)
        return ["".join(conversation.ask(question)), *("".join(conversation.regenerate()) for _ in range(count - 1))]

    def conversation(self, *, tokens: int, seed: int = 0, system: str | None = None, **sampling: Any) -> Conversation:
        """A conversation, with options of `Sampling` that replace the model's."""
        one = self.pretrained
        with numerics(ARITHMETIC):
            return Conversation(
                one.model,
                one.tokenizer,
                model_template(one, name="small", now=datetime.now(tz=UTC)),
                stop_ids=one.stop_ids,
                sampling=replace(one.sampling, **sampling),
                seed=seed,
                tokens=tokens,
                system=system,
            )

    def text(self, prompt: str, stream: Stream, *, tokens: int) -> str:
        """The continuation of a text, as `samebits generate` gives it."""
        return "".join(token.text for token in self.tokens(prompt, stream, tokens=tokens))

    def tokens(self, prompt: str, stream: Stream, *, tokens: int) -> list[Token]:
        """The tokens of a continuation, with the values of their chain."""
        one = self.pretrained
        chosen: dict[str, Any] = {"tokens": tokens, "stream": stream, "sampling": one.sampling, "stop_ids": one.stop_ids}
        with numerics(ARITHMETIC):
            ids = one.tokenizer.encode_ordinary(prompt)
            return list(generate_tokens(one.model, one.tokenizer, ids, chained=True, **chosen))


class SmallServer:
    """`samebits serve`, on a free port of this machine.

    Args:
        folder: The folder of its model.
        options: Options of the command.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "samebits.cli", "serve", str(folder), "--port", str(self.port), *options]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, env=os.environ)
        end = time.monotonic() + SECONDS
        while not self.answers():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, as a machine that loses its power."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            assert self.process.wait(SECONDS) == 0
        finally:
            self.process.kill()

    def settle(self) -> None:
        """Wait until no text is in work."""
        end = time.monotonic() + SECONDS
        while self.load() != (0, 0):
            assert time.monotonic() < end, "slots are not freed"
            time.sleep(0.02)

    def load(self) -> tuple[int, int]:
        """How many texts are in work, and how many wait, by the server's metrics."""
        found = dict(line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines() if not line.startswith("#"))
        return int(float(found["samebits_running_texts"])), int(float(found["samebits_waiting_texts"]))

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of a page."""
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        """The status and the text of an answer."""
        return self._request("POST", path, json.dumps(body))

    def _request(self, method: str, path: str, body: str | None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()
