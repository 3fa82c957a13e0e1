"""A training run has a receipt, the same however often it was interrupted, and any window of its steps can be trained again."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.lm.test_receipts import leaves, other, sealed

from samebits.lm import Interrupted, ModelConfig, TrainConfig, checkpoint, start
from samebits.lm.checkpoint import CheckpointError
from samebits.lm.receipts import Receipt, ReceiptError, TrainingReceipt, read_receipt
from samebits.lm.retraining import read_run_receipt, verify_training
from samebits.lm.sampling import Sampling
from samebits.lm.training import CHECKPOINT, Trainer, kept
from samebits.lm.verification import Verification

pytestmark = pytest.mark.once

MODEL = ModelConfig(architecture="llama", context=8, layers=1, heads=2, channels=16, dropout=0.1)
CONFIG = TrainConfig(data="text.txt", steps=8, warmup=1, batch=4, checkpoint_every=3, evaluate_every=4, model=MODEL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps, of which all checkpoints are kept."""
    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text("so the quick brown fox jumps, and the lazy dog sleeps\n" * 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        start(CONFIG, "whole", keep_checkpoints=True).trainer.train()
    return folder / "whole"


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run."""
    shutil.copytree(whole.parent, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs/whole"


def forged(folder: Path, path: tuple[str | int, ...], value: Any) -> None:
    """Change a value of a run's receipt and compute all digests again."""
    record = json.loads((folder / "receipt.json").read_bytes())
    *before, last = path
    place = record
    for name in before:
        place = place[name]
    place[last] = value
    (folder / "receipt.json").write_bytes(sealed(record))


def test_the_receipt_has_the_digests_of_every_checkpoint_that_is_due(whole: Path) -> None:
    receipt = read_run_receipt(whole)
    assert [one.step for one in receipt.checkpoints] == [3, 6, 8]
    for one in receipt.checkpoints:
        tensors = checkpoint.load(kept(whole, one.step)).tensors
        weights = {name.removeprefix("model."): x for name, x in tensors.items() if name.startswith("model.")}
        assert (one.tensors, one.weights) == (checkpoint.digest(tensors), checkpoint.digest(weights))
    assert TrainConfig.from_toml(receipt.config).steps == 8 and len(receipt.data) == len(receipt.tokenizer) == 64
    assert kept(whole, 8).read_bytes() == (whole / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("stops", [[1, 4, 7], [3, 6], [2, 3]])
def test_an_interrupted_run_has_the_receipt_of_one_that_was_not(run: Path, stops: list[int]) -> None:
    def interrupt(trainer: Trainer, record: Any) -> None:
        del trainer
        if record["step"] in stops:
            signal.raise_signal(signal.SIGINT)

    for _ in stops:
        with pytest.raises(Interrupted):
            start(CONFIG, "cut", [interrupt]).trainer.train()
    start(CONFIG, "cut").trainer.train()
    assert Path("cut/receipt.json").read_bytes() == (run / "receipt.json").read_bytes()


@pytest.mark.parametrize("written", ["receipt.json", CHECKPOINT])
def test_a_run_that_was_killed_while_it_saved_has_the_same_receipt(
    run: Path, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.save

    def killed(*arguments: Any) -> str:
        if Path(arguments[0]).name == CHECKPOINT and arguments[2]["step"] == "6":
            if written == CHECKPOINT:
                save(*arguments)
            raise SystemExit
        return save(*arguments)

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(SystemExit):
        start(CONFIG, "cut").trainer.train()
    monkeypatch.setattr(checkpoint, "save", save)
    assert [one.step for one in read_run_receipt(Path("cut")).checkpoints] == [3, 6]
    start(CONFIG, "cut").trainer.train()
    assert Path("cut/receipt.json").read_bytes() == (run / "receipt.json").read_bytes()


def test_a_run_that_was_prolonged_has_the_receipt_of_one_that_was_not(run: Path) -> None:
    del run
    longer = replace(CONFIG, schedule="constant")
    start(replace(longer, steps=5), "longer").trainer.train()
    assert [one.step for one in read_run_receipt(Path("longer")).checkpoints] == [3, 5]
    start(longer, "longer").trainer.train()
    start(longer, "at once").trainer.train()
    assert Path("longer/receipt.json").read_bytes() == Path("at once/receipt.json").read_bytes()
    assert verify_training(Path("longer"), last=8).difference is None


def test_an_older_run_that_is_continued_has_a_receipt_from_there_on(run: Path) -> None:
    start(replace(CONFIG, schedule="constant", steps=5), "old").trainer.train()
    Path("old/receipt.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"old has no receipt\.json: runs in fast arithmetic and those of older versions"):
        verify_training(Path("old"))
    start(replace(CONFIG, schedule="constant"), "old").trainer.train()
    assert [one.step for one in read_run_receipt(Path("old")).checkpoints] == [6, 8]
    assert verify_training(Path("old")) == Verification(6, 8, None)
    shutil.copy(run / "receipt.json", "old")
    changed = json.loads(Path("old/receipt.json").read_bytes())
    Path("old/receipt.json").write_bytes(sealed({**changed, "data": "0" * 64}))
    with pytest.raises(ReceiptError, match=r"receipt\.json: not the receipt of this run"):
        start(replace(CONFIG, schedule="constant"), "old")


def test_fast_arithmetic_has_no_receipt(run: Path) -> None:
    del run
    start(replace(CONFIG, numerics="fast", steps=2), "fast").trainer.train()
    assert not Path("fast/receipt.json").exists()


def test_a_run_from_the_weights_of_another_is_verified_from_them(run: Path) -> None:
    start(replace(CONFIG, tokenizer=str(run / "tokenizer.json")), "next", init_from=run).trainer.train()
    assert read_run_receipt(Path("next")).initial
    assert verify_training(Path("next"), last=8) == Verification(8, 8, None)
    state, metadata, _ = checkpoint.load("next/initial.safetensors")
    state["norm.weight"][0] += 1
    checkpoint.save("next/initial.safetensors", state, metadata)
    found = verify_training(Path("next")).difference
    assert found and found.field == "initial"


@pytest.mark.parametrize(
    ("first", "last", "checked"), [(0, None, 3), (3, None, 3), (0, 8, 8), (3, 8, 5), (6, None, 2), (0, 6, 6)]
)
def test_every_window_of_steps_is_trained_again(whole: Path, first: int, last: int | None, checked: int) -> None:
    seen: list[tuple[int, int]] = []
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    found = verify_training(whole, first=first, last=last, progress=lambda *numbers: seen.append(numbers))
    assert found == Verification(checked, 8, None)
    assert seen == [(step, checked) for step in range(1, checked + 1)]
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_checkpoints_are_kept_on_request_alone(run: Path) -> None:
    start(CONFIG, "plain").trainer.train()
    assert not Path("plain/checkpoints").exists()
    assert Path("plain/receipt.json").read_bytes() == (run / "receipt.json").read_bytes()
    with pytest.raises(
        FileNotFoundError, match=r"step-000003\.safetensors does not exist, .*; samebits train --keep-checkpoints"
    ):
        verify_training(Path("plain"), first=3)
    with pytest.raises(ValueError, match="verify: steps must be from one checkpoint to a later one, of 0, 3, 6, 8; got 0:5"):
        verify_training(Path("plain"), last=5)
    for first, last in ((8, None), (6, 3), (2, 6)):
        with pytest.raises(ValueError, match="verify: steps must be"):
            verify_training(run, first=first, last=last)


RECORD = {
    "format": "samebits.receipt/1",
    "kind": "training",
    "config": "steps = 8",
    "data": "1" * 64,
    "tokenizer": "2" * 64,
    "initial": "",
    "checkpoints": [{"step": step, "weights": "3" * 64, "tensors": "4" * 64} for step in (3, 6)],
    "versions": {"numpy": "2.5.0"},
}


@pytest.mark.parametrize("path", list(leaves(json.loads(sealed(RECORD)))), ids=str)
def test_a_receipt_with_a_changed_value_is_refused_by_its_field(path: tuple[str | int, ...]) -> None:
    record = json.loads(sealed(RECORD))
    *before, last = path
    place = record
    for name in before:
        place = place[name]
    place[last] = other(place[last])
    with pytest.raises(ReceiptError) as error:
        read_receipt(json.dumps(record).encode(), "r.json")
    field = path[1] if path[0] == "digests" else path[0]
    assert str(error.value).startswith(f"r.json: {field}"), error.value


def test_checkpoints_are_in_order() -> None:
    with pytest.raises(ReceiptError, match=r"checkpoints\[1\]\.step must be above 3, the one before, got 3"):
        read_receipt(sealed({**RECORD, "checkpoints": RECORD["checkpoints"][:1] * 2}))  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("data",), "0" * 64, "data"),
        (("tokenizer",), "0" * 64, "tokenizer"),
        (("initial",), "0" * 64, "initial"),
        (("checkpoints", 0, "weights"), "0" * 64, "checkpoints[0].weights"),
        (("checkpoints", 0, "tensors"), "0" * 64, "checkpoints[0].tensors"),
        (("checkpoints", 2, "tensors"), "0" * 64, "checkpoints[2].tensors"),
    ],
    ids=str,
)
def test_a_forged_receipt_of_a_run_differs_in_its_field(run: Path, path: tuple[str | int, ...], value: Any, field: str) -> None:
    forged(run, path, value)
    if path == ("initial",):
        shutil.copy(run / CHECKPOINT, run / "initial.safetensors")
    found = verify_training(run).difference
    assert found and found.field == field


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("learning_rate = 0.001", "learning_rate = 0.002", "checkpoints[0].tensors.model.blocks.0.attention.key.weight"),
        ("seed = 0", "seed = 1", "checkpoints[0].tensors.model."),
        ("vocabulary_size = ", "vocabulary_size = 1", "config"),
        ("learning_rate = 0.001", "learning_rate = 1e30", "checkpoints[0].tensors"),
    ],
)
def test_a_forged_configuration_is_found_by_its_first_tensor(run: Path, old: str, new: str, field: str) -> None:
    config = read_run_receipt(run).config
    assert old in config, config
    forged(run, ("config",), config.replace(old, new, 1))
    found = verify_training(run).difference
    assert found and found.field.startswith(field[:28]), found


def test_a_configuration_that_is_none_is_refused(run: Path) -> None:
    forged(run, ("config",), "steps = -1")
    with pytest.raises(ReceiptError, match=r"receipt\.json: config: "):
        verify_training(run)


@pytest.mark.parametrize(("step", "first"), [(3, 0), (3, 3), (8, 0), (8, 6), (6, 3)])
def test_a_tampered_checkpoint_is_found(run: Path, step: int, first: int) -> None:
    path = kept(run, step) if step < 8 or first else run / CHECKPOINT
    tensors, metadata, _ = checkpoint.load(path)
    tensors["model.norm.weight"][0] += 1
    checkpoint.save(path, tensors, metadata)
    found = verify_training(run, first=first).difference
    place = {3: 0, 6: 1, 8: 2}[step]
    assert found and found.field == f"checkpoints[{place}].tensors" and path.name in found.got
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=path.name):
        verify_training(run, first=first)


def test_without_its_file_the_digest_of_a_checkpoint_is_named(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    forged(run, ("config",), read_run_receipt(run).config.replace("seed = 0", "seed = 1"))
    found = verify_training(run).difference
    assert found and found.field == "checkpoints[0].tensors" and len(found.got) == 64


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_receipt_that_is_no_file_is_not_waited_for(run: Path) -> None:
    (run / "receipt.json").unlink()
    os.mkfifo(run / "receipt.json")
    for read in (lambda: verify_training(run), lambda: start(CONFIG, run)):
        with pytest.raises(OSError, match=r"receipt\.json must be a file, but is a pipe"):
            read()


def test_the_receipt_of_a_text_is_not_that_of_a_run(run: Path) -> None:
    text = Receipt(model="1" * 64, tokenizer="2" * 64, arithmetic="exact", sampling=Sampling(), texts=[])
    (run / "receipt.json").write_bytes(text.to_json())
    with pytest.raises(ReceiptError, match="kind must be 'training' for the receipt of a run, got 'text'"):
        verify_training(run)
    (run / "receipt.json").write_bytes(TrainingReceipt(config="", data="", tokenizer="", checkpoints=[]).to_json())
    with pytest.raises(ReceiptError, match="checkpoints must have at least one to compare with, got none"):
        verify_training(run)


def test_a_verification_can_be_interrupted(run: Path) -> None:
    with pytest.raises(Interrupted):
        verify_training(run, last=8, progress=lambda step, _: step == 2 and signal.raise_signal(signal.SIGINT))
