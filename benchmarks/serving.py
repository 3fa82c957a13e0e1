"""Serving: what it costs to write texts side by side, to begin with a cached prompt, to verify, and to answer by HTTP.

    ./nox -s benchmark -- serving [--model smollm2] [--threads 1 2] [--tokens 256]

- throughput: the tokens of several texts in a second, beside those of one, by the best step of an engine. The last column is the same
  ratio of the processor time of a step.
- first token: of a prompt of so many tokens, read again and with its keys and values cached.
- verification: of a receipt of so many tokens, beside writing them.
- server: what a token takes by HTTP, streamed, beside the engine alone, with a model so small that it takes nearly no time.

The last three have one thread for kernels, take turns, and are the best processor times of all threads: other processes disturb these
least. The client of the server is another process.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from samebits import kernels
from samebits.cli.models import OpenModel, open_model
from samebits.cli.server.app import Access, make_app
from samebits.cli.server.command import make_thread
from samebits.cli.server.metrics import Metrics
from samebits.cli.server.served import Served
from samebits.core import Stream, numerics
from samebits.drift.record import describe_surroundings
from samebits.lm import LanguageModel, ModelConfig, Sampling, TrainConfig, generate_tokens
from samebits.lm.engine import Engine, Request
from samebits.lm.prefixes import PrefixCache
from samebits.lm.receipts import Receipt, WrittenText
from samebits.lm.verification import verify_text
from samebits.text import ByteTokenizer

STORY = "Once upon a time, in a village between two rivers, there lived a clockmaker who never slept. "
ROUNDS = 3
CLIENT = """import sys
from http.client import HTTPConnection
connection = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
connection.request("POST", "/v1/completions", sys.argv[2])
answer = connection.getresponse().read()
sys.exit(0 if answer.endswith(b"data: [DONE]\\n\\n") else f"no whole answer: {answer[-200:]!r}")
"""


def best(*sides: Callable[[], Any]) -> list[float]:
    """The shortest time of each side, in seconds, which take turns."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(ROUNDS):
        for side, times in zip(sides, taken, strict=True):
            start = time.process_time()
            side()
            times.append(time.process_time() - start)
    return [min(times) for times in taken]


def step(one: OpenModel, texts: int) -> tuple[float, float]:
    """The shortest time, and the least processor time, of a step in which several texts get a token each."""
    engine, taken = Engine(one.model, one.tokenizer, slots=texts), []
    for number in range(texts):
        prompt = one.tokenizer.encode(f"{number}. {STORY}").tolist()
        engine.add(Request(prompt=prompt, tokens=400, stream=Stream(number), sampling=one.sampling))
    while len(engine.step()) < texts:
        pass
    for _ in range(30):
        start = time.perf_counter(), time.process_time()
        engine.step()
        taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return min(wall for wall, _ in taken), min(processor for _, processor in taken)


def throughput(one: OpenModel, threads: list[int]) -> None:
    counts = (1, 2, 4, 8, 16)
    print("| texts | threads |", *(f"{count} |" for count in counts), "8 / 1 | of processor time |")
    print("| --- | ---: |", *("---: |" for _ in counts), "---: | ---: |")
    for count in threads:
        kernels.threads(count)
        steps = {texts: [step(one, texts) for _ in range(ROUNDS)] for texts in counts}
        wall, processor = ({texts: texts / min(times[i] for times in steps[texts]) for texts in counts} for i in range(2))
        speeds = [f"{speed:.0f} |" for speed in wall.values()]
        print(f"| tokens/s | {count} |", *speeds, f"{wall[8] / wall[1]:.2f} | {processor[8] / processor[1]:.2f} |", flush=True)
    kernels.threads(1)
    print()


def first_token(one: OpenModel) -> None:
    prompt = one.tokenizer.encode(STORY * 100)[:512].tolist()
    prefixes = PrefixCache(one.digest, one.arithmetic)

    def answer(prefixes: PrefixCache | None = None) -> Engine:
        engine = Engine(one.model, one.tokenizer, prefixes=prefixes)
        engine.add(Request(prompt=prompt, tokens=2, stream=Stream(0)))
        while not engine.step():
            pass
        return engine

    kept = answer(prefixes)
    while kept.active:  # then its keys and values are in the cache
        kept.step()
    again, cached = best(answer, lambda: answer(prefixes))
    print(f"first token after {len(prompt)} tokens: read again {again * 1e3:.0f} ms, cached {cached * 1e3:.0f} ms\n", flush=True)


def verification(one: OpenModel, tokens: int) -> None:
    prompt = one.tokenizer.encode(STORY).tolist()
    digests: dict[str, Any] = {"model": one.digest, "tokenizer": one.tokenizer.digest, "arithmetic": one.arithmetic}

    def write() -> Receipt:
        stream, sampling = Stream(0), one.sampling
        found = list(
            generate_tokens(one.model, one.tokenizer, prompt, tokens=tokens, stream=stream, sampling=sampling, chained=True)
        )
        ids, text = [token.id for token in found], "".join(token.text for token in found)
        written = WrittenText(prompt=prompt, stream=[0], tokens=ids, chain=[token.chain for token in found], text=text)
        return Receipt(**digests, sampling=one.sampling, texts=[written])

    def verify(sample: float = 1.0) -> None:
        found = verify_text(receipt, one.model, one.tokenizer, model_digest=one.digest, sample=sample)
        if found.difference:
            raise RuntimeError(f"a receipt differs: {found.difference}")

    receipt = write()
    writing, every, tenth = best(write, verify, lambda: verify(0.1))
    print(
        f"receipt of {tokens} tokens: written in {writing:.2f} s, verified in {every:.2f} s ({writing / every:.1f} times as "
        f"quick), a tenth of its steps in {tenth:.2f} s ({writing / tenth:.1f} times)\n",
        flush=True,
    )


def server(tokens: int = 1000) -> None:
    config = ModelConfig(vocabulary_size=256, context=2048, layers=1, heads=2, channels=16)
    model, sampling = LanguageModel(config, stream=Stream(0)).eval(), Sampling()
    tiny = OpenModel(model, ByteTokenizer(), TrainConfig(model=config), "int16", sampling)
    served, metrics = Served("tiny", tiny, "int16", None, config.context), Metrics()

    def alone() -> None:
        with numerics("int16"):
            engine = Engine(model, tiny.tokenizer)
            engine.add(Request(prompt=list(b"Once"), tokens=tokens, stream=Stream(0), sampling=sampling))
            while engine.active:
                engine.step()

    def by_http() -> None:
        asked = {"prompt": "Once", "max_tokens": tokens, "temperature": 1, "seed": 0, "stream": True}
        subprocess.run([sys.executable, "-c", CLIENT, str(port), json.dumps(asked)], check=True)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        make_thread(served, metrics, slots=8, queue=8, timeout=60) as engine_thread,
    ):
        port = listener.getsockname()[1]
        app = make_app(served, engine_thread, metrics, Access())
        http = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))
        thread = threading.Thread(target=http.run, args=([listener],))
        thread.start()
        while not http.started:
            time.sleep(0.01)
        try:
            engine, whole = best(alone, by_http)
        finally:
            http.should_exit = True
            thread.join()
    each = [1e3 * seconds / tokens for seconds in (whole, engine, whole - engine)]
    print("a streamed token of a tiny model: {:.2f} ms by HTTP, {:.2f} ms in the engine alone, {:.2f} ms more".format(*each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("smollm2"))
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--tokens", type=int, default=256, help="of the receipt")
    options = parser.parse_args()
    print(f"{describe_surroundings()['processor']}, {os.cpu_count()} CPUs\n")
    one = open_model(options.model)
    with numerics(one.arithmetic):
        throughput(one, options.threads)
        first_token(one)
        verification(one, options.tokens)
    server()


if __name__ == "__main__":
    main()
