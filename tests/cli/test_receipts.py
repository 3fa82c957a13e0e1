"""`samebits generate --receipt`, `chat --receipt` and `verify` as a user runs them."""

import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.cli.small_model import pretrained
from tests.cli.small_run import CONFIG, prepare, run
from tests.lm.test_receipts import sealed

from samebits.cli import chat, generation, models, receipts
from samebits.lm.receipts import Receipt, read_receipt

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, monkeypatch, steps=4)
    one = pretrained()
    for module in (chat, models):
        monkeypatch.setattr(module, "load_pretrained", lambda _: one)


def read(name: str = "r.json") -> Receipt:
    return read_receipt(Path(name).read_bytes(), name)


def forge(path: list[str | int], value: Any) -> None:
    """Change a value of r.json and compute all digests again."""
    record = json.loads(Path("r.json").read_bytes())
    *before, last = path
    place = record
    for name in before:
        place = place[name]
    place[last] = value
    Path("r.json").write_bytes(sealed(record))


def test_generate_writes_a_receipt_that_is_verified() -> None:
    run("train", "small.toml")
    options = ["generate", "runs/small", "--prompt", "the ", "--tokens", "40", "--seed", "1"]
    plain, done = run(*options), run(*options, "--receipt", "r.json")
    assert done.exit_code == 0 and done.stdout == plain.stdout
    assert f"receipt r.json  {read().digest}" in done.stderr
    assert read().source == "runs/small" and read().texts[0].stream == [1] and read().texts[0].text == plain.stdout[4:44]
    found = run("verify", "r.json")
    assert found.exit_code == 0, found.output
    assert (
        read().digest in found.output and "40 of 40 tokens, exact arithmetic" in found.output and "The same bits." in found.output
    )
    again = run(*options, "--receipt", "again.json")
    assert again.exit_code == 0 and Path("again.json").read_bytes() == Path("r.json").read_bytes()


def test_several_texts_are_in_one_receipt() -> None:
    run("train", "small.toml")
    options = ["generate", "runs/small", "--prompt", "the ", "--prompt", "so", "--samples", "2", "--tokens", "20", "--stop", "q"]
    plain, done = run(*options), run(*options, "--receipt", "r.json")
    assert done.exit_code == 0 and done.stdout == plain.stdout
    assert [text.stream for text in read().texts] == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert run("verify", "r.json").exit_code == 0
    part = run("verify", "r.json", "--sample", "0.1", "--seed", "3")
    steps = sum(len(text.tokens) for text in read().texts)
    assert part.exit_code == 0 and f"{-(-steps // 10)} of {steps} tokens, chosen by --sample 0.1 --seed 3" in part.output
    assert re.search(r"--seed [0-9]+", run("verify", "r.json", "--sample", "0.1").output)


def test_a_changed_receipt_is_refused_and_a_forged_one_differs() -> None:
    run("train", "small.toml")
    run("generate", "runs/small", "--tokens", "20", "--receipt", "r.json")
    content = Path("r.json").read_bytes()
    tokens = read().texts[0].tokens
    token = tokens[5]
    Path("r.json").write_bytes(content.replace(b'"arithmetic":"exact"', b'"arithmetic":"int16"'))
    done = run("verify", "r.json")
    assert done.exit_code == 2 and "error  r.json: arithmetic was changed" in done.stderr
    Path("r.json").write_bytes(content)
    forge(["texts", 0, "tokens", 5], (token + 1) % 10)
    done = run("verify", "r.json")
    assert done.exit_code == 1
    assert f"differs  texts[0].tokens[5]: the receipt says {(token + 1) % 10}, computed {token}" in done.output


def test_another_model_differs_and_a_missing_one_is_asked_for() -> None:
    run("train", "small.toml")
    Path("other.toml").write_text(CONFIG.format(steps=4).replace("1e-2", "2e-2"))
    run("train", "other.toml")
    run("generate", "runs/small", "--tokens", "20", "--receipt", "r.json")
    done = run("verify", "r.json", "--model", "runs/other")
    assert done.exit_code == 1 and f"differs  model: the receipt says {read().model}" in done.output
    Path("runs/small").rename("moved")
    done = run("verify", "r.json")
    assert done.exit_code == 2 and "runs/small" in done.stderr and "--model names the model of a receipt" in done.stderr
    assert run("verify", "r.json", "--model", "moved").exit_code == 0


def test_what_no_receipt_can_prove_is_refused_before_anything_is_written() -> None:
    run("train", "small.toml")
    for options, message in (
        (["--numerics", "fast"], "generate: --receipt needs exact or int16 arithmetic"),
        (["--seed", str(2**53)], "generate: --seed must be at most 9007199254740991 for a receipt"),
        (
            ["--prompt", "the lazy dog sleeps"],
            "generate: a prompt must have at most 16 tokens for a receipt, the model's context, got 19",
        ),
    ):
        done = run("generate", "runs/small", "--tokens", "5", "--receipt", "r.json", *options)
        assert done.exit_code == 2 and message in done.stderr and not done.stdout
    assert not Path("r.json").exists()
    assert run("verify", "missing.json").exit_code == 2


def test_several_workers_write_no_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "joined", lambda _: nullcontext(SimpleNamespace(rank=0, size=2)))
    done = run("generate", "runs/small", "--receipt", "r.json")
    assert done.exit_code == 2 and "generate: --receipt is written by one process; leave out --workers" in done.stderr


def test_a_text_that_was_interrupted_has_a_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", "small.toml")
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        if len(written) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(generation, "write_text", write)
    done = run("generate", "runs/small", "--tokens", "20", "--receipt", "r.json")
    assert done.exit_code == 130 and [len(text.tokens) for text in read().texts] == [6]
    assert run("verify", "r.json").exit_code == 0


def test_a_verification_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", "small.toml")
    run("generate", "runs/small", "--tokens", "20", "--receipt", "r.json")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(receipts, "verify_text", interrupted)
    assert run("verify", "r.json").exit_code == 130


def test_a_chat_writes_a_receipt_of_all_its_answers() -> None:
    options = ["chat", "small.gguf", "--tokens", "20", "--receipt", "r.json"]
    done = run(*options, lines="Hello\nWhy?\n/regenerate\nWell\n")
    assert done.exit_code == 0 and f"receipt r.json  {read().digest}" in done.stderr
    assert [text.stream for text in read().texts] == [[0, 0, 0], [0, 1, 1], [0, 2, 0]]
    assert read().arithmetic == "int16" and read().sampling.top_k == 20 and read().source == "small.gguf"
    assert all(one in done.stdout for one in [read().texts[0].text.removesuffix("<e>")])
    found = run("verify", "r.json")
    assert found.exit_code == 0, found.output
    forge(["texts", 2, "prompt", 3], read().texts[2].prompt[3] ^ 1)
    found = run("verify", "r.json")
    assert found.exit_code == 1 and "differs  texts[2].chain[0]" in found.output
    refused = run(*options, "--numerics", "fast", lines="Hello\n")
    assert refused.exit_code == 2 and "chat: --receipt needs exact or int16 arithmetic" in refused.stderr


def test_a_chat_without_a_question_has_an_empty_receipt() -> None:
    assert run("chat", "small.gguf", "--receipt", "r.json").exit_code == 0
    assert read().texts == []
    done = run("verify", "r.json")
    assert done.exit_code == 0 and "0 of 0 tokens" in done.output


def test_a_window_of_a_training_run_is_trained_again() -> None:
    assert run("train", "small.toml", "--keep-checkpoints").exit_code == 0
    kept = sorted(path.name for path in Path("runs/small/checkpoints").iterdir())
    assert kept == ["step-000002.safetensors", "step-000004.safetensors"]
    for what, shown in (
        (["runs/small"], "2 of 4 steps, trained again from step 0 on"),
        (["runs/small/receipt.json", "--steps", "2:4"], "2 of 4 steps, trained again from step 2 on"),
        (["runs/small", "--steps", ":4"], "4 of 4 steps"),
    ):
        done = run("verify", *what)
        assert done.exit_code == 0 and shown in done.output and "The same bits." in done.output, done.output
    Path("r.json").write_bytes(Path("runs/small/receipt.json").read_bytes())
    forge(["checkpoints", 0, "tensors"], "0" * 64)
    Path("runs/small/receipt.json").write_bytes(Path("r.json").read_bytes())
    done = run("verify", "runs/small")
    assert done.exit_code == 1 and f"differs  checkpoints[0].tensors: the receipt says {'0' * 64}" in done.output


def test_options_of_the_other_kind_are_refused() -> None:
    run("train", "small.toml")
    run("generate", "runs/small", "--tokens", "5", "--receipt", "r.json")
    for what, message in (
        (["runs/small", "--sample", "0.5"], "verify: --model, --sample and --seed are for receipts of texts"),
        (["runs/small", "--model", "smollm2"], "verify: --model, --sample and --seed are for receipts of texts"),
        (["runs/small", "--steps", "2"], "verify: --steps must have the form A:B, such as 0:200, got 2"),
        (["runs/small", "--steps", "0:3"], "verify: steps must be from one checkpoint to a later one, of 0, 2, 4; got 0:3"),
        (["r.json", "--steps", "0:2"], "verify: --steps is for receipts of training runs"),
        (["runs"], "runs has no receipt.json"),
        (["small.toml"], "small.toml: line 2, column 1 is not JSON"),
    ):
        done = run("verify", *what)
        assert done.exit_code == 2 and message in done.stderr, done.stderr


def test_fast_runs_have_nothing_to_verify() -> None:
    run("train", "small.toml", "--numerics", "fast")
    done = run("verify", "runs/small")
    assert done.exit_code == 2 and "runs/small has no receipt.json: runs in fast arithmetic" in done.stderr
