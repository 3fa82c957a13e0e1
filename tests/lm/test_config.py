"""Configurations: a written one is read back unchanged, and errors name the setting."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from samebits.lm.config import ModelConfig, TrainConfig
from samebits.lm.schema import ConfigError, settings, table

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[2] / "docs"
HUGE = "9" * 5000
OPTIMIZERS = ["adamw", "lion", "muon", "sgd"]


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    data=st.text(st.characters(exclude_categories=["Cs"])),
    learning_rate=st.floats(1e-4, 1e300),
    seed=st.integers(0, 2**63 - 1),
    tied=st.booleans(),
)
def test_a_written_configuration_is_read_back_unchanged(data: str, learning_rate: float, seed: int, tied: bool) -> None:
    config = TrainConfig(data=data, learning_rate=learning_rate, seed=seed, model=ModelConfig(tied=tied, dropout=0.1))
    assert TrainConfig.from_toml(config.to_toml()) == config


def test_later_settings_are_written_where_they_differ_from_the_default() -> None:
    model = ModelConfig(architecture="llama", rope_base=1e5, qk_norm=True, rope_scaling="llama3", rope_factor=8)
    lines = TrainConfig(model=model).to_toml().splitlines()
    assert lines[-1] == "rope_factor = 8.0" and "qk_norm = true" in lines and not any("rope_low" in line for line in lines)
    assert TrainConfig.from_toml("\n".join(lines)).model == model


def test_an_empty_file_has_the_defaults() -> None:
    assert TrainConfig.from_toml("") == TrainConfig()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_written_file_explains_each_setting_that_applies(optimizer: str) -> None:
    config = TrainConfig(optimizer=optimizer)
    text = config.to_toml()
    assert TrainConfig.from_toml(text) == config
    for kind in (TrainConfig, ModelConfig):
        for name, (_, _, setting) in settings(kind).items():
            applies = (not setting.optimizers or optimizer in setting.optimizers) and not setting.only_changed
            assert (f"# {setting.meaning}\n{name} = " in text) is applies


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learing_rate = 1", "unknown setting 'learing_rate': did you mean 'learning_rate'?"),
        ("zzz = 1", "unknown setting 'zzz': the settings are data, tokenizer,"),
        ("[model]\nlayer = 1", "unknown setting 'layer' in [model]: did you mean 'layers'?"),
        ("[model]\nflavour = 'llama'", "unknown setting 'flavour' in [model]: it is now called 'architecture'"),
        ("[train]\nsteps = 1", "unknown setting 'train'"),
        ("model = 3", "model must be a table [model], got 3"),
        ("steps = 1.0", "steps must be an integer, got 1.0"),
        ("steps = true", "steps must be an integer, got True"),
        ("steps = '1'", "steps must be an integer, got '1'"),
        ("steps = 0", "steps must be at least 1, got 0"),
        ("learning_rate = 'x'", "learning_rate must be a number, got 'x'"),
        ("learning_rate = 0", "learning_rate must be above 0, got 0.0"),
        ("learning_rate = inf", "learning_rate must be above 0 and finite, got inf"),
        ("weight_decay = nan", "weight_decay must be at least 0 and finite, got nan"),
        ("schedule = 'linear'", 'schedule must be "cosine", "wsd" or "constant", got \'linear\''),
        ("data = 1979-05-27", "data must be a string, got datetime.date(1979, 5, 27)"),
        ("numerics = ['exact']", "numerics must be a string, got ['exact']"),
        ("shards = 5", "shards must divide batch, which is 12, got 5"),
        ("final_learning_rate = 1", "final_learning_rate must be at most learning_rate, which is 0.001, got 1.0"),
        ("warmup = 3000", "warmup must be at most steps, which is 2000, got 3000"),
        ("schedule = 'wsd'\ndecay = 1950", "warmup + decay must be at most steps, which is 2000, got 2050"),
        ("momentum = 0.95", 'momentum is not a setting of the optimizer "adamw", which has beta1, beta2'),
        ("optimizer = 'sgd'\nbeta1 = 0.9", 'beta1 is not a setting of the optimizer "sgd", which has momentum'),
        ("optimizer = 'lion'\nadamw_learning_rate = 1", 'adamw_learning_rate is not a setting of the optimizer "lion"'),
        ("optimizer = 'adam'", 'optimizer must be "adamw", "lion", "muon" or "sgd", got \'adam\''),
        ("[model]\ndropout = 1", "dropout must be at least 0 and below 1, got 1.0"),
        ("[model]\narchitecture = 'gpt3'", 'architecture must be "gpt2" or "llama", got \'gpt3\''),
        ("[model]\nchannels = 130", "channels must be a multiple of heads, which is 4, got 130"),
        ("[model]\nkey_value_heads = 2", 'key_value_heads must be 0 for "gpt2", got 2'),
        ("[model]\narchitecture = 'llama'\nkey_value_heads = 3", "key_value_heads must divide heads, which is 4, got 3"),
        (
            "[model]\narchitecture = 'llama'\nchannels = 12",
            'channels must be a multiple of 2 heads for "llama", which is 8, got 12',
        ),
        ("[model]\nrope_base = 500.0", 'rope_base must be 10000.0 for "gpt2", got 500.0'),
        ("[model]\narchitecture = 'llama'\nhead_channels = 7", "head_channels must be even, got 7"),
        ("[model]\narchitecture = 'llama'\nrope_low = 4", "rope_low must be below rope_high, which is 4.0, got 4.0"),
        ("[model]\ntied = 1", "tied must be true or false, got 1"),
        ("steps = ", "not valid TOML"),
        ("steps = 1\nsteps = 2", "not valid TOML"),
    ],
)
def test_an_error_names_the_setting_and_what_it_must_be(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(f"x.toml: {says}")):
        TrainConfig.read(tmp_path / "x.toml")


def test_a_file_that_is_not_utf_8_is_refused_with_the_position(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"data = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        TrainConfig.read(tmp_path / "x.toml")


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig])
def test_settings_are_frozen_named_and_sound(config: Any) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        config("gpt2")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config(), next(iter(settings(config))), 1)
    for kind, default, setting in settings(config).values():
        assert type(default) is kind and setting.allows(default) and setting.meaning.endswith(".")


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig])
def test_a_chapter_has_every_setting(config: Any) -> None:
    assert any(table(config) in path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("name", ["steps", "learning_rate", "seed"])
def test_an_integer_beyond_toml_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} must be below 2\^63, as in TOML, got an integer of 1329 bits"):
        TrainConfig.from_toml(f"{name} = 1{'0' * 400}")


def test_numpy_scalars_become_python_numbers() -> None:
    model = ModelConfig(layers=np.int64(2), channels=np.int32(8), dropout=np.float32(0.5), tied=np.bool_(False))
    assert model == ModelConfig(layers=2, channels=8, dropout=0.5, tied=False)
    config = TrainConfig(steps=np.uint8(200), learning_rate=np.float32(0.25), clip=np.int64(2), data=np.str_("x"), model=model)
    assert config == TrainConfig(steps=200, learning_rate=0.25, clip=2.0, data="x", model=model)
    for name, (kind, _, _) in settings(TrainConfig).items():
        assert type(getattr(config, name)) is kind
    with pytest.raises(ConfigError, match=r"steps must be an integer, got 2\.0"):
        TrainConfig(steps=np.float64(2.0))


def test_a_setting_of_another_optimizer_may_only_have_its_default() -> None:
    assert TrainConfig(optimizer="sgd", beta1=0.9).optimizer == "sgd"
    with pytest.raises(ConfigError, match='beta1 is not a setting of the optimizer "sgd", which has momentum'):
        TrainConfig(optimizer="sgd", beta1=0.8)


def test_the_model_must_be_a_configuration() -> None:
    with pytest.raises(ConfigError, match="model must be a ModelConfig, got 3"):
        TrainConfig(model=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        f"steps = {HUGE}",
        f"[model]\nlayers = {HUGE}",
        f"data = [0x{HUGE}]",
        "steps = " + "[" * 10**5,
        "steps" + ".a" * 5000 + " = 1",
    ],
)
def test_long_integers_and_deep_values_are_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml: .*(digits|nested too deeply|must be)"):
        TrainConfig.read(file)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"steps": 3}', "a JSON file"),
        (b"PK\x03\x04", "a ZIP archive"),
        ("steps = 3".encode("utf-16"), "UTF-16 text"),
        ((40).to_bytes(8, "little") + b'{"x":{}}', "a safetensors file, such as a checkpoint"),
        (b"<html>", "an HTML page"),
    ],
)
def test_a_file_of_another_kind_is_named(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=f"a.toml: this is {kind}.*, not a TOML file"):
        TrainConfig.read(tmp_path / "a.toml")


def test_a_byte_order_mark_is_taken_off(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes("steps = 300\n".encode("utf-8-sig"))
    assert TrainConfig.read(tmp_path / "a.toml").steps == 300
