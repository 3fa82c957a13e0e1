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
from samebits.lm.safetensors import written
from samebits.text import CharacterTokenizer, save_tokenizer

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
        (b'{"step": -1}\n', "line 1: step must be at least 0, got -1"),
        (b'{"step": 1}\n{"step": true}\n', "line 2: step must be an integer or a number, got True"),
        (b'{"step": 1}\n\n{"step": 2}\n', "line 2: line 1, column 1 is not JSON"),
    ],
)
def test_a_damaged_line_of_metrics_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.jsonl, " + message):
        read_metrics(tmp_path)
