"""A run in a folder: started, continued and opened; files of other runs are refused."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samebits.core.files import replace_file
from samebits.lm import CheckpointError, ConfigError, ModelConfig, TrainConfig, checkpoint, open_run, start
from samebits.lm.metrics import read_metrics
from samebits.lm.run import checkpoint_of
from samebits.lm.safetensors import portable, written
from samebits.text import CharacterTokenizer, load_ranks, save_tokenizer

pytestmark = pytest.mark.once


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 40, newline="\n")
    model = ModelConfig(architecture="llama", context=8, layers=1, heads=2, channels=16)
    return TrainConfig(data=str(tmp_path / "text.txt"), steps=4, warmup=1, batch=2, model=model)


def test_a_run_is_started_trained_and_opened(config: TrainConfig, tmp_path: Path) -> None:
    run = start(config, tmp_path / "run")
    run.trainer.train()
    model, read, tokenizer = open_run(tmp_path / "run")
    assert read.model.vocabulary_size == tokenizer.vocabulary_size == model.config.vocabulary_size
    assert {name: array.tobytes() for name, array in model.state_dict().items()} == {
        name: array.tobytes() for name, array in run.trainer.model.state_dict().items()
    }
    assert start(config, tmp_path / "run").trainer.step == 4
    assert TrainConfig.read(tmp_path / "run/config.toml") == config


def test_a_vocabulary_that_is_not_the_tokenizers_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocabulary_size must be that of the tokenizer, 1\d, or 0, got 99"):
        start(replace(config, model=replace(config.model, vocabulary_size=99)), tmp_path / "run")


def test_a_tokenizer_of_another_size_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run").trainer.train()
    save_tokenizer(CharacterTokenizer("abc"), tmp_path / "run/tokenizer.json")
    with pytest.raises(ValueError, match=r"tokenizer\.json must be the tokenizer that the model was trained with, of \d+ tokens"):
        open_run(tmp_path / "run")


def test_another_tokenizer_of_the_same_size_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run").trainer.train()
    size = open_run(tmp_path / "run").tokenizer.vocabulary_size
    save_tokenizer(CharacterTokenizer("".join(chr(0x4E00 + i) for i in range(size))), tmp_path / "run/tokenizer.json")
    with pytest.raises(ValueError, match="must be the tokenizer that the model was trained with"):
        open_run(tmp_path / "run")
    with pytest.raises(ValueError, match="another tokenizer"):
        start(config, tmp_path / "run")


def test_a_checkpoint_without_its_digest_or_with_nan_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run").trainer.train()
    file = tmp_path / "run/checkpoint.safetensors"
    tensors, metadata, _ = checkpoint.load(file)
    with replace_file(file) as draft:
        draft.writelines(written(tensors, metadata))
    assert checkpoint.load(file).tensors  # as a foreign file
    for use in (open_run, lambda folder: start(config, folder)):
        with pytest.raises(CheckpointError, match=r"must have the digest 'samebits\.digest'"):
            use(tmp_path / "run")
    name = next(name for name in tensors if name.startswith("model."))
    checkpoint.save(file, tensors | {name: np.full_like(tensors[name], np.nan)}, metadata)
    with pytest.raises(CheckpointError, match="the weights must be finite"):
        open_run(tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes here")
def test_a_dangling_link_a_folder_or_a_pipe_is_no_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run").trainer.train()
    file = tmp_path / "run/checkpoint.safetensors"
    file.unlink()
    file.symlink_to(tmp_path / "gone")
    for use in (open_run, lambda folder: start(config, folder)):
        with pytest.raises(FileNotFoundError, match=r"is a link to .*gone, which does not exist"):
            use(tmp_path / "run")
    file.unlink()
    os.mkfifo(file)
    for use in (open_run, lambda folder: start(config, folder)):
        with pytest.raises(OSError, match="must be a file, but is a pipe or device"):
            use(tmp_path / "run")


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.safetensors does not exist"):
        checkpoint_of(tmp_path)


def test_a_half_written_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"ste')
    assert read_metrics(tmp_path) == [{"step": 1}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"step": 1}\r{"step": 2}\n', "line 1: line 1, column 13 is not JSON"),  # a line ends with "\n" alone
        (b'{"step": 1}\r\n{"step": 1}\n', "line 2: step must be above 1, that of the line before, got 1"),
        (b'{"step": 2}\n{"step": 1}\n', "line 2: step must be above 2, that of the line before, got 1"),
        (b'{"step": 0}\n{"step": 2}\n{"step": 1}\n', "line 3: step must be above 2, that of the line before, got 1"),
        (b'{"step": -1}\n', "line 1: step must be at least 0, got -1"),
        (b'{"step": 1}\n{"step": true}\n', "line 2: step must be an integer or a number, got True"),
        (b'{"step": 1}\n\n{"step": 2}\n', "line 2: line 1, column 1 is not JSON"),
    ],
)
def test_a_damaged_line_of_metrics_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.jsonl, " + message):
        read_metrics(tmp_path)


def test_a_run_starts_from_the_weights_of_another(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "first").trainer.train()
    first = open_run(tmp_path / "first")
    (tmp_path / "other.txt").write_text("on the mat sat the cat. " * 40, newline="\n")
    other = replace(config, data=str(tmp_path / "other.txt"), tokenizer=str(tmp_path / "first/tokenizer.json"), seed=5)
    run = start(other, tmp_path / "second", init_from=tmp_path / "first")
    assert checkpoint.digest(run.trainer.model.state_dict()) == checkpoint.digest(first.model.state_dict())
    assert run.trainer.step == 0 and run.trainer.initial
    again = start(other, tmp_path / "second")  # as if it was killed before its first checkpoint
    assert again.trainer.initial == run.trainer.initial
    again.trainer.train()
    run = start(other, tmp_path / "third", init_from=tmp_path / "first/checkpoint.safetensors")
    run.trainer.train()
    files = [tmp_path / name / "checkpoint.safetensors" for name in ("second", "third")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert checkpoint.read_header(files[0])[1]["initial"] == run.trainer.initial
    (tmp_path / "second/initial.safetensors").unlink()  # it is of no use after the first checkpoint
    assert start(other, tmp_path / "second").trainer.initial == run.trainer.initial
    with pytest.raises(ValueError, match=r"init_from starts a new run, but .*second has a checkpoint"):
        start(other, tmp_path / "second", init_from=tmp_path / "first")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_run_starts_from_a_plain_file_with_our_names(config: TrainConfig, tmp_path: Path, dtype: str) -> None:
    weights = {name: x.astype(dtype) for name, x in start(config, tmp_path / "first").trainer.model.state_dict().items()}
    with replace_file(tmp_path / "plain.safetensors") as file:
        file.writelines(written({name: portable(name, x) for name, x in weights.items()}, {"format": "pt"}))
    run = start(config, tmp_path / "run", init_from=tmp_path / "plain.safetensors")
    for name, x in run.trainer.model.state_dict().items():
        assert x.dtype == np.float32 and np.array_equal(x, weights[name].astype(np.float32))


def test_weights_that_do_not_fit_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "first").trainer.train()
    with pytest.raises(CheckpointError, match=r"(?s)checkpoint\.safetensors: load_state_dict: .*is missing"):
        start(replace(config, model=replace(config.model, layers=2)), tmp_path / "run", init_from=tmp_path / "first")
    with pytest.raises(ConfigError, match=r'tokenizer must be that of the initial weights.*set it .* "[^"]*tokenizer\.json"'):
        start(replace(config, tokenizer="byte"), tmp_path / "bytes", init_from=tmp_path / "first")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        start(config, tmp_path / "none", init_from=tmp_path / "nothing")
    assert not (tmp_path / "none").exists()
    model, _, _ = open_run(tmp_path / "first")
    bad = {name: np.full_like(x, np.inf) for name, x in model.state_dict().items()}
    checkpoint.save(tmp_path / "bad.safetensors", bad)
    with pytest.raises(CheckpointError, match="the weights must be finite"):
        start(config, tmp_path / "none", init_from=tmp_path / "bad.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes here")
@pytest.mark.parametrize("kind", ["pipe or device", "folder"])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused_and_never_blocks(
    config: TrainConfig, tmp_path: Path, kind: str
) -> None:
    start(config, tmp_path / "run").trainer.train()

    def train() -> None:
        start(config, tmp_path / "run").trainer.train()

    uses = {
        "data.json": lambda: start(config, tmp_path / "run"),
        "tokenizer.json": lambda: open_run(tmp_path / "run"),
        "training.tokens": lambda: start(config, tmp_path / "run"),
        "checkpoint.safetensors": lambda: open_run(tmp_path / "run"),
        "metrics.jsonl": train,
        "config.toml": lambda: TrainConfig.read(tmp_path / "run/config.toml"),
        "gpt2.tiktoken": lambda: load_ranks(tmp_path / "run/gpt2.tiktoken"),
    }
    for name, use in uses.items():
        file, aside = tmp_path / "run" / name, tmp_path / name
        if file.exists():
            file.rename(aside)
        (file.mkdir if kind == "folder" else lambda file=file: os.mkfifo(file))()
        with pytest.raises(OSError, match=rf"{name} must be a file, but is a {kind}"):
            use()
        (file.rmdir if kind == "folder" else file.unlink)()
        if aside.exists():
            aside.rename(file)


def test_a_checkpoint_that_names_no_tokenizer_is_opened_with_a_warning(config: TrainConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run").trainer.train()
    tensors, metadata, _ = checkpoint.load(tmp_path / "run/checkpoint.safetensors")
    checkpoint.save(tmp_path / "run/checkpoint.safetensors", tensors, {**metadata, "tokenizer": ""})
    with pytest.warns(UserWarning, match="does not say which tokenizer it was trained with"):
        open_run(tmp_path / "run")
