"""64 clients with 20 requests each: some are killed in the middle, the server once; every answer has the digest that it has alone."""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.small_server import SECONDS, Alone, SmallServer

from samebits.core import Stream

CLIENTS, REQUESTS, DISTINCT = 64, 20, 40
ANSWERS = CLIENTS * REQUESTS * 4 // 5  # to the clients that are not killed
TOKENS = 24
SYSTEM = "You are asked by many at once, and answer each of them as if nobody else were there. " * 3


@dataclass(frozen=True)
class Task:
    """One of the distinct requests."""

    number: int

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.number % 4 else "/v1/completions"

    @property
    def question(self) -> str:
        return f"Question {self.number % 7}: " + "why " * (self.number % 11)

    @property
    def body(self) -> dict[str, Any]:
        body = {"max_tokens": TOKENS, "seed": self.number, "stream": self.number % 3 == 0}
        if self.number % 4:
            return {**body, "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": self.question}]}
        return {**body, "prompt": self.question, "receipt": True}

    def alone(self, model: Alone) -> str:
        """The digest of what the model writes alone."""
        if self.number % 4:
            return digest(*model.answers(self.question, system=SYSTEM, seed=self.number, tokens=TOKENS))
        tokens = model.tokens(self.question, Stream(self.number), tokens=TOKENS)
        return digest("".join(token.text for token in tokens), tokens[-1].chain)


def digest(text: str, chain: str = "") -> str:
    return hashlib.sha256(f"{text} {chain}".encode()).hexdigest()


def digest_of(answer: str, *, stream: bool) -> str:
    """The digest of a whole answer's text, and of its logits if it has a receipt.

    Raises:
        ValueError: The answer is cut.
    """
    *lines, last = answer.split("\n\n")[:-1] if stream else [answer, "data: [DONE]"]
    if last != "data: [DONE]":
        raise ValueError(f"an answer must not be cut, got {answer[-80:]!r}")
    text = chain = ""
    for found in (json.loads(line.removeprefix("data: ")) for line in lines):
        for one in found["choices"]:
            text += one["text"] if "text" in one else one.get("delta", one.get("message")).get("content") or ""
        if "receipt" in found:
            chain = found["receipt"]["texts"][0]["chain"][-1]
    return digest(text, chain)


class Load:
    """Clients of one server, and what they have seen."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: list[tuple[Task, str]] = []
        self.half = asyncio.Event()
        """Half of the answers are there."""
        self.killed = self.refused = self.failed = 0

    async def send(self, task: Task) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = json.dumps(task.body).encode()
        head = f"POST {task.path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        writer.write(head.encode() + b"\r\n\r\n" + data)
        return reader, writer

    async def ask(self, task: Task) -> None:
        """Ask until there is an answer: the server may be busy, or dead."""
        while True:
            try:
                reader, writer = await self.send(task)
                answer = (await reader.read()).decode()
                writer.close()
                head, _, body = answer.partition("\r\n\r\n")
                if head.startswith("HTTP/1.1 429"):
                    self.refused += 1
                else:
                    assert head.startswith("HTTP/1.1 200") or not head, head
                    self.answers.append((task, digest_of(body, stream=task.body["stream"])))
                    if len(self.answers) == ANSWERS // 2:
                        self.half.set()
                    return
            except (OSError, ValueError):
                self.failed += 1
            await asyncio.sleep(0.05)

    async def die(self, task: Task, size: int) -> None:
        """Ask, and be killed when some of the answer is there."""
        try:
            reader, writer = await self.send(task)
            await reader.read(size)
            writer.transport.abort()
            self.killed += 1
        except OSError:
            self.failed += 1

    async def client(self, number: int) -> None:
        for i in range(REQUESTS):
            task = Task((number * 7 + i * 3) % DISTINCT)
            if (number + i) % 5:
                await self.ask(task)
            else:
                await self.die(task, (number * i) % 700)

    async def run(self, server: SmallServer) -> None:
        """All clients at once; the server is killed in the middle and started again."""

        async def kill() -> None:
            await self.half.wait()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

        async with asyncio.timeout(3 * SECONDS), asyncio.TaskGroup() as group:
            group.create_task(kill())
            for number in range(CLIENTS):
                group.create_task(self.client(number))


def test_every_answer_under_load_is_that_of_the_model_alone(folder: Path, alone: Alone, tmp_path: Path) -> None:
    expected = {Task(number): Task(number).alone(alone) for number in range(DISTINCT)}
    assert len(set(expected.values())) == DISTINCT
    options = ("--slots", "8", "--queue", "40", "--prefix-folder", str(tmp_path), "--log-format", "json")
    with SmallServer(folder, *options) as server:
        load = Load(server.port)
        asyncio.run(load.run(server))
        server.settle()
        assert [task for task, found in load.answers if found != expected[task]] == []
        assert len(load.answers) == ANSWERS
        assert {task for task, _ in load.answers} == set(expected)
        assert load.failed and load.refused and load.killed > 100  # the server was dead, busy, and left alone
    with SmallServer(folder, *options) as server:  # what was read is still known after another start
        task = Task(1)
        answer = json.loads(server.post(task.path, task.body)[1])
        assert digest(answer["choices"][0]["message"]["content"]) == expected[task]
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > len(SYSTEM) // 2
