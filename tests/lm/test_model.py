"""Language models: shapes, initialization, causality, costs, and saved models."""

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
from samebits.nn import initializer

ARCHITECTURES = ["gpt2", "llama"]
IDS = Stream(0).split("ids").integers(11, size=(2, 8))


def model(architecture: str = "gpt2", **options: Any) -> LanguageModel:
    sizes = {"vocabulary_size": 11, "context": 8, "layers": 2, "heads": 4, "channels": 16}
    return LanguageModel(ModelConfig(architecture=architecture, **{**sizes, **options}), stream=Stream(3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("options", [{}, {"tied": False}, {"hidden": 24}, {"layers": 1, "dropout": 0.1}])
def test_the_counts_are_those_of_the_model(architecture: str, options: Any) -> None:
    options = {**options, "key_value_heads": 2 if architecture == "llama" else 0}
    one = model(architecture, **options)
    assert parameter_count(one.config) == one.parameter_count()
    looked_up = {"embedding.weight"} if not one.config.tied else set()
    matrices = sum(
        p.size for name, p in one.named_parameters() if p.ndim == 2 and name not in looked_up and "positions" not in name
    )
    assert flops_per_token(one.config) == 6 * matrices + 12 * one.config.layers * 16 * 8


@pytest.mark.parametrize("options", [{"head_channels": 6}, {"qkv_bias": True}, {"qk_norm": True, "head_channels": 8}])
def test_the_counts_of_other_blocks_are_those_of_the_model(options: Any) -> None:
    one = model("llama", key_value_heads=2, **options)
    assert parameter_count(one.config) == one.parameter_count()
    matrices = sum(p.size for p in one.parameters() if p.ndim == 2)
    assert flops_per_token(one.config) == 6 * matrices + 12 * 2 * 4 * one.config.head_size * 8


@pytest.mark.parametrize(
    "options",
    [
        {"head_channels": 6, "qk_norm": True, "qkv_bias": True},
        {"rope_base": 500.0},
        {"norm_eps": 0.1},
        {"rope_scaling": "linear", "rope_factor": 4.0},
        {"rope_scaling": "llama3", "rope_factor": 4.0, "rope_context": 16},
    ],
)
def test_each_setting_changes_the_logits_and_a_cache_does_not(options: Any) -> None:
    one = model("llama", key_value_heads=2, **options).eval()
    plain = model("llama", key_value_heads=2, head_channels=options.get("head_channels", 0))
    for each in (one, plain):
        for p in each.parameters():
            with p.edit() as values:
                values[...] += np.float32(0.3) * np.cos(np.arange(p.size, dtype=np.float32)).reshape(p.shape)
    with no_grad():
        whole = one(IDS).numpy()
        assert abs(whole - plain(IDS).numpy()).max() > 1e-3
        caches = [block.cache(2, 8) for block in one.blocks]
        steps = [one(IDS[:, i : i + 1], caches).numpy() for i in range(8)]
    assert np.concatenate(steps, axis=1).tobytes() == whole.tobytes()
    one.loss(IDS, IDS).backward()
    assert all(p.grad is not None and p.grad.numpy().any() for name, p in one.named_parameters() if not name.endswith("key.bias"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_can_be_made_without_drawing_its_weights(architecture: str) -> None:
    drawn = model(architecture, tied=False)
    zeros = LanguageModel(drawn.config, stream=Stream(0), initialize=initializer.zeros)
    assert not any(p.numpy().any() for p in zeros.parameters() if p.ndim == 2)
    zeros.load_state_dict(drawn.state_dict())
    assert zeros(IDS).numpy().tobytes() == drawn(IDS).numpy().tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_model_has_the_loss_of_guessing(architecture: str) -> None:
    assert abs(model(architecture).loss(IDS, IDS[:, ::-1].copy()).item() - 2.3979) < 0.05  # ln 11


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_are_initialized_as_in_gpt2(architecture: str) -> None:
    one = model(architecture, channels=64, hidden=256, tied=False)
    for name, p in one.named_parameters():
        values = p.numpy()
        if p.ndim == 2:
            wanted = 0.01 if re.search(r"attention\.output|mlp\.(output|down)", name) else 0.02  # 0.02 / sqrt(2 * 2 layers)
            assert abs(values.std() / wanted - 1) < 0.15, name
        else:
            assert (values == (1 if "norm" in name and name.endswith("weight") else 0)).all(), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_added_layer_does_not_change_the_weights_of_the_others(architecture: str) -> None:
    small, large = model(architecture, layers=2).state_dict(), model(architecture, layers=3).state_dict()
    same = [name for name in small if small[name].tobytes() == large[name].tobytes()]
    assert set(small) - set(same) == {
        name for name in small if re.search(r"attention\.output\.weight|mlp\.(output|down)\.weight", name)
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_depend_on_earlier_tokens_only(architecture: str) -> None:
    one = model(architecture, key_value_heads=2 if architecture == "llama" else 0).eval()
    with no_grad():
        whole = one(IDS).numpy()
        for time in (1, 3, 7):
            assert one(IDS[:, :time].copy()).numpy().tobytes() == whole[:, :time].tobytes()
        assert one(IDS[1:]).numpy().tobytes() == whole[1:].tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_logits_of_one_position_have_the_same_bits_alone(architecture: str) -> None:
    one = model(architecture)
    whole, found = one(IDS), one(IDS, at=[7, 2])
    assert found.shape == (2, 1, 11)
    assert found.numpy()[:, 0].tobytes() == whole.numpy()[[0, 1], [7, 2]].tobytes()
    several = one(IDS, at=[[7, 0, 1], [2, 3, 3]])
    assert several.numpy().tobytes() == whole.numpy()[[[0], [1]], [[7, 0, 1], [2, 3, 3]]].tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_exact_and_fast_are_close(architecture: str) -> None:
    one = model(architecture)
    exact = one(IDS).numpy()
    with numerics("fast"):
        np.testing.assert_allclose(one(IDS).numpy(), exact, rtol=0, atol=1e-6)  # logits are about 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_has_a_gradient(architecture: str) -> None:
    one = model(architecture, dropout=0.1, tied=False)
    one.loss(IDS, IDS, Stream(0)).backward()
    assert all(p.grad is not None and p.grad.numpy().any() for name, p in one.named_parameters() if not name.endswith("key.bias"))


def test_a_tied_embedding_is_saved_once() -> None:
    assert not any("head" in name for name in model().state_dict())
    assert model(tied=False).state_dict()["head.weight"].shape == (11, 16)


@pytest.mark.parametrize(
    ("ids", "error", "says"),
    [
        (np.array([[0, 11]]), IndexError, r"ids\[0, 1\] must be from 0 to 10, got 11"),
        (np.zeros((1, 9), np.int64), ValueError, r"LanguageModel: ids must have shape \(B, T\), T at most 8, got \(1, 9\)"),
        (np.zeros((1, 2)), TypeError, "LanguageModel: ids must be integers, got float64"),
        (np.zeros(3, np.int64), ValueError, r"LanguageModel: ids must have shape \(B, T\), T at most 8, got \(3,\)"),
    ],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_wrong_tokens_are_refused(architecture: str, ids: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        model(architecture)(ids)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lists_and_narrow_integers_are_accepted(architecture: str) -> None:
    one = model(architecture)
    expected, loss = one(IDS).numpy(), one.loss(IDS, IDS).item()
    for ids in (IDS.tolist(), IDS.astype(np.int32), IDS.astype(np.uint8)):
        assert one(ids).numpy().tobytes() == expected.tobytes()
        assert one.loss(ids, ids).item() == loss


def test_training_with_dropout_needs_a_stream() -> None:
    with pytest.raises((TypeError, ValueError), match="stream"):
        model(dropout=0.1).loss(IDS, IDS)


def test_a_model_needs_a_vocabulary() -> None:
    with pytest.raises(ConfigError, match="vocabulary_size must be above 0"):
        model(vocabulary_size=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_is_the_same_model(tmp_path: Path, architecture: str) -> None:
    one = model(architecture)
    config = TrainConfig(model=one.config)
    tensors = {f"model.{name}": array for name, array in one.state_dict().items()}
    checkpoint.save(tmp_path / "x", tensors, {"config": config.to_toml()})
    loaded, found = load_model(tmp_path / "x")
    assert found == config and not loaded.training
    assert loaded(IDS).numpy().tobytes() == one(IDS).numpy().tobytes()


def test_a_checkpoint_that_is_not_of_a_model_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x", {})
    with pytest.raises(CheckpointError, match="not a checkpoint of a training run"):
        load_model(tmp_path / "x")
    huge = replace(model().config, channels=2**40)  # refused before memory is allocated
    checkpoint.save(tmp_path / "x", {"model.x": np.zeros(3, np.float32)}, {"config": TrainConfig(model=huge).to_toml()})
    with pytest.raises(CheckpointError, match=r"must have \d+ parameters, as its config says, got 3"):
        load_model(tmp_path / "x")
    checkpoint.save(tmp_path / "x", {}, {"config": TrainConfig(model=model().config).to_toml()})
    with pytest.raises(CheckpointError, match=r"must have \d+ parameters, as its config says, got 0"):
        load_model(tmp_path / "x")
