"""A run in a folder: started, continued and opened; files of other runs are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from samebits.lm import ConfigError, ModelConfig, TrainConfig, open_run, start
from samebits.lm.metrics import read_metrics
from samebits.lm.run import checkpoint_of
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
    with pytest.raises(ValueError, match=r"tokenizer\.json must have \d+ tokens, as the model, got 3"):
        open_run(tmp_path / "run")


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.safetensors does not exist"):
        checkpoint_of(tmp_path)


def test_a_half_written_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"ste')
    assert read_metrics(tmp_path) == [{"step": 1}]
