"""Configurations: what is written is read again, and what is wrong is named."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from samebits.lm.config import ConfigError, ModelConfig, TrainConfig, settings, table

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[2] / "docs"


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    data=st.text(st.characters(exclude_categories=["Cs"])),
    learning_rate=st.floats(1e-4, 1e300),
    seed=st.integers(0, 2**63 - 1),
    tied=st.booleans(),
)
def test_what_is_written_is_read_again(data: str, learning_rate: float, seed: int, tied: bool) -> None:
    config = TrainConfig(data=data, learning_rate=learning_rate, seed=seed, model=ModelConfig(tied=tied, dropout=0.1))
    assert TrainConfig.from_toml(config.to_toml()) == config


def test_an_empty_file_is_the_defaults() -> None:
    assert TrainConfig.from_toml("") == TrainConfig()


def test_a_written_file_says_what_each_setting_means() -> None:
    text = TrainConfig().to_toml()
    for config in (TrainConfig, ModelConfig):
        for name, (_, _, setting) in settings(config).items():
            assert f"# {setting.meaning}\n{name} = " in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learing_rate = 1", "there is no setting 'learing_rate': did you mean 'learning_rate'?"),
        ("zzz = 1", "there is no setting 'zzz': there are data, tokenizer,"),
        ("[model]\nlayer = 1", "there is no setting [model] 'layer': did you mean 'layers'?"),
        ("[train]\nsteps = 1", "there is no setting 'train'"),
        ("model = 3", "model is 3: a table [model] is needed"),
        ("steps = 1.0", "steps is 1.0: a whole number is needed"),
        ("steps = true", "steps is True: a whole number is needed"),
        ("steps = '1'", "steps is '1': a whole number is needed"),
        ("steps = 0", "steps is 0: at least 1 is needed"),
        ("learning_rate = 'x'", "learning_rate is 'x': a number is needed"),
        ("learning_rate = 0", "learning_rate is 0.0: above 0 is needed"),
        ("learning_rate = inf", "learning_rate is inf: above 0 is needed"),
        ("weight_decay = nan", "weight_decay is nan: at least 0 is needed"),
        ("schedule = 'linear'", 'schedule is \'linear\': "cosine" or "wsd" or "constant" is needed'),
        ("data = 1979-05-27", "data is datetime.date(1979, 5, 27): a text is needed"),
        ("numerics = ['exact']", "numerics is ['exact']: a text is needed"),
        ("micro_batches = 5", "micro_batches is 5: a divisor of batch is needed, which is 12"),
        ("final_learning_rate = 1", "final_learning_rate is 1.0: at most learning_rate is needed, which is 0.001"),
        ("warmup = 3000", "warmup is 3000: at most steps is needed, which is 2000"),
        ("[model]\ndropout = 1", "dropout is 1.0: at least 0 and below 1 is needed"),
        ("[model]\nflavour = 'gpt3'", 'flavour is \'gpt3\': "gpt2" or "llama" is needed'),
        ("[model]\nchannels = 130", "channels is 130: a multiple of heads is needed, which is 4"),
        ("[model]\nkey_value_heads = 2", "key_value_heads is 2: 0 is needed, as gpt2 has one for each of its heads"),
        ("[model]\nflavour = 'llama'\nkey_value_heads = 3", "key_value_heads is 3: a divisor of heads is needed, which is 4"),
        ("[model]\nflavour = 'llama'\nchannels = 12", "channels is 12: an even number for each of 4 heads is needed"),
        ("[model]\ntied = 1", "tied is 1: true or false is needed"),
        ("steps = ", "this is no TOML"),
        ("steps = 1\nsteps = 2", "this is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(f"x.toml: {says}")):
        TrainConfig.read(tmp_path / "x.toml")


def test_a_file_that_is_not_utf_8_is_refused_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"data = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        TrainConfig.read(tmp_path / "x.toml")


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig])
def test_settings_are_frozen_and_sound(config: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config(), next(iter(settings(config))), 1)
    for kind, default, setting in settings(config).values():
        assert type(default) is kind and setting.allows(default) and setting.meaning.endswith(".")


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig])
def test_a_chapter_has_every_setting(config: Any) -> None:
    assert any(table(config) in path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("name", ["steps", "learning_rate", "seed"])
def test_a_whole_number_that_toml_has_not_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is a number of 1329 bits"):
        TrainConfig.from_toml(f"{name} = 1{'0' * 400}")
