"""Language models: what goes in and out, what they are made of, and what they cost."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samebits.autograd import no_grad
from samebits.core import Stream, numerics
from samebits.lm import (
    CheckpointError,
    ConfigError,
    LanguageModel,
    ModelConfig,
    TrainConfig,
    checkpoint,
    flops_per_token,
    load_model,
    parameter_count,
)

FLAVOURS = ["gpt2", "llama"]
IDS = Stream(0).split("ids").integers(11, size=(2, 8))


def model(flavour: str = "gpt2", **options: Any) -> LanguageModel:
    sizes = {"vocabulary_size": 11, "context": 8, "layers": 2, "heads": 4, "channels": 16}
    return LanguageModel(ModelConfig(flavour=flavour, **{**sizes, **options}), stream=Stream(3))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("options", [{}, {"tied": False}, {"hidden": 24}, {"layers": 1, "dropout": 0.1}])
def test_the_counts_are_those_of_the_model(flavour: str, options: Any) -> None:
    options = {**options, "key_value_heads": 2 if flavour == "llama" else 0}
    one = model(flavour, **options)
    assert parameter_count(one.config) == one.parameter_count()
    looked_up = {"embedding.weight"} if not one.config.tied else set()
    matrices = sum(
        p.size for name, p in one.named_parameters() if p.ndim == 2 and name not in looked_up and "positions" not in name
    )
    assert flops_per_token(one.config) == 6 * matrices + 12 * one.config.layers * 16 * 8


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_new_model_knows_nothing(flavour: str) -> None:
    assert abs(model(flavour).loss(IDS, IDS[:, ::-1].copy()).item() - 2.3979) < 0.05  # ln 11


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_weights_are_drawn_as_those_of_gpt2(flavour: str) -> None:
    one = model(flavour, channels=64, hidden=256, tied=False)
    for name, p in one.named_parameters():
        values = p.numpy()
        if p.ndim == 2:
            wanted = 0.01 if re.search(r"attention\.output|mlp\.(output|down)", name) else 0.02  # 0.02 / sqrt(2 * 2 layers)
            assert abs(values.std() / wanted - 1) < 0.15, name
        else:
            assert (values == (1 if "norm" in name and name.endswith("weight") else 0)).all(), name


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_another_layer_does_not_change_the_others(flavour: str) -> None:
    small, large = model(flavour, layers=2).state_dict(), model(flavour, layers=3).state_dict()
    same = [name for name in small if small[name].tobytes() == large[name].tobytes()]
    assert set(small) - set(same) == {
        name for name in small if re.search(r"attention\.output\.weight|mlp\.(output|down)\.weight", name)
    }


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_row_depends_on_the_tokens_before_it_alone(flavour: str) -> None:
    one = model(flavour, key_value_heads=2 if flavour == "llama" else 0).eval()
    with no_grad():
        whole = one(IDS).numpy()
        for time in (1, 3, 7):
            assert one(IDS[:, :time].copy()).numpy().tobytes() == whole[:, :time].tobytes()
        assert one(IDS[1:]).numpy().tobytes() == whole[1:].tobytes()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_exact_and_fast_are_close(flavour: str) -> None:
    one = model(flavour)
    exact = one(IDS).numpy()
    with numerics("fast"):
        np.testing.assert_allclose(one(IDS).numpy(), exact, rtol=0, atol=1e-6)  # logits are about 0.1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_parameter_has_a_gradient(flavour: str) -> None:
    one = model(flavour, dropout=0.1, tied=False)
    one.loss(IDS, IDS, Stream(0)).backward()
    assert all(p.grad is not None and p.grad.numpy().any() for name, p in one.named_parameters() if not name.endswith("key.bias"))


def test_a_tied_embedding_is_saved_once() -> None:
    assert not any("head" in name for name in model().state_dict())
    assert model(tied=False).state_dict()["head.weight"].shape == (11, 16)


@pytest.mark.parametrize(
    ("ids", "error", "says"),
    [
        (np.array([[0, 11]]), IndexError, r"ids\[0, 1\] must be from 0 to 10, got 11"),
        (np.zeros((1, 9), np.int64), ValueError, "9"),
        (np.zeros((1, 2)), TypeError, "int64"),
        (np.zeros(3, np.int64), ValueError, r"\(B, T\)"),
    ],
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_wrong_tokens_are_refused(flavour: str, ids: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        model(flavour)(ids)


def test_training_with_dropout_needs_a_stream() -> None:
    with pytest.raises((TypeError, ValueError), match="stream"):
        model(dropout=0.1).loss(IDS, IDS)


def test_a_model_needs_a_vocabulary() -> None:
    with pytest.raises(ConfigError, match="vocabulary_size is 0"):
        model(vocabulary_size=0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_saved_model_is_the_same_model(tmp_path: Path, flavour: str) -> None:
    one = model(flavour)
    config = TrainConfig(model=one.config)
    tensors = {f"model.{name}": array for name, array in one.state_dict().items()}
    checkpoint.save(tmp_path / "x", tensors, {"config": config.to_toml()})
    loaded, found = load_model(tmp_path / "x")
    assert found == config and not loaded.training
    assert loaded(IDS).numpy().tobytes() == one(IDS).numpy().tobytes()


def test_what_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x", {})
    with pytest.raises(CheckpointError, match="no config in the metadata"):
        load_model(tmp_path / "x")
    huge = replace(model().config, channels=2**40)  # refused before room is made for it
    checkpoint.save(tmp_path / "x", {"model.x": np.zeros(3, np.float32)}, {"config": TrainConfig(model=huge).to_toml()})
    with pytest.raises(CheckpointError, match=r"needs \d+ parameters, there are 3"):
        load_model(tmp_path / "x")
    checkpoint.save(tmp_path / "x", {}, {"config": TrainConfig(model=model().config).to_toml()})
    with pytest.raises(CheckpointError, match=r"needs \d+ parameters, there are 0"):
        load_model(tmp_path / "x")
