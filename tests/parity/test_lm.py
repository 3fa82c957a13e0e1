"""Language models beside a reference written with PyTorch, and checkpoints beside the `safetensors` package.

Run by `nox -s parity` alone, which installs both. The reference computes in float64 with our weights, so what differs is our rounding:
some dozen roundings of 6e-8 each on the way through two blocks, relative to the largest element of each array: 5e-6.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import numpy as reference
from torch.nn import functional

from samebits.core import Stream
from samebits.lm import LanguageModel, ModelConfig, TrainConfig, Trainer, checkpoint, learning_rate
from samebits.text import Batches

IDS = Stream(0).split("ids").integers(61, size=(3, 33))
TENSORS = {
    "weight": Stream(0).normal(size=(3, 5)),
    "half": np.arange(5, dtype=np.float16),
    "double": np.array(2.5),
    "ids": np.arange(6, dtype=np.int64).reshape(2, 1, 3),
    "small": np.array([-1, 1], np.int8),
    "bytes": np.arange(3, dtype=np.uint8),
    "flags": np.array([True, False, True]),
    "empty": np.zeros((0, 4), np.float32),
    'odd "name" \\ é €': np.arange(2, dtype=np.uint16),
}


def norm(x: Any, w: dict[str, Any], name: str) -> Any:
    if f"{name}.bias" in w:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])
    return functional.rms_norm(x, x.shape[-1:], w[f"{name}.weight"], eps=1e-5)


def layer(x: Any, w: dict[str, Any], name: str) -> Any:
    return functional.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def rotated(x: Any) -> Any:
    time, half = x.shape[2], x.shape[3] // 2
    angles = torch.arange(time)[:, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def attended(x: Any, w: dict[str, Any], name: str, config: ModelConfig) -> Any:
    heads = [
        layer(x, w, f"{name}.{part}").unflatten(-1, (-1, config.head_size)).transpose(1, 2) for part in ("query", "key", "value")
    ]
    if config.architecture == "llama":
        heads[:2] = map(rotated, heads[:2])
    joined = functional.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2)
    return layer(joined, w, f"{name}.output")


def reference_logits(ids: Any, w: dict[str, Any], config: ModelConfig) -> Any:
    x = w["embedding.weight"][ids]
    if config.architecture == "gpt2":
        x = x + w["positions.weight"][: ids.shape[1]]
    for i in range(config.layers):
        x = x + attended(norm(x, w, f"blocks.{i}.norm_1"), w, f"blocks.{i}.attention", config)
        h, mlp = norm(x, w, f"blocks.{i}.norm_2"), f"blocks.{i}.mlp"
        h = (
            functional.gelu(layer(h, w, f"{mlp}.up"), approximate="tanh")
            if config.architecture == "gpt2"
            else functional.silu(layer(h, w, f"{mlp}.gate")) * layer(h, w, f"{mlp}.up")
        )
        x = x + layer(h, w, f"{mlp}.down")
    return norm(x, w, "norm") @ w.get("head.weight", w["embedding.weight"]).T


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_logits_and_gradients_are_those_of_the_reference(architecture: str, tied: bool) -> None:
    groups = 2 if architecture == "llama" else 0
    config = ModelConfig(
        architecture=architecture,
        vocabulary_size=61,
        context=32,
        layers=2,
        heads=4,
        key_value_heads=groups,
        channels=32,
        tied=tied,
    )
    ours = LanguageModel(config, stream=Stream(1))
    for name, p in ours.named_parameters():  # larger than a new model's, so that attention and the perceptrons matter
        with p.edit() as values:
            np.add(values, Stream(2).split(name).normal(p.shape, std=0.2), out=values)
    weights = {name: torch.tensor(p.numpy().astype(np.float64), requires_grad=True) for name, p in ours.named_parameters()}
    inputs, targets = IDS[:, :-1].copy(), IDS[:, 1:].copy()

    logits = ours(inputs)
    wanted = reference_logits(torch.tensor(inputs), weights, config)
    assert abs(logits.numpy() - wanted.detach().numpy()).max() <= 5e-6 * abs(wanted).max().item()

    loss = ours.loss(inputs, targets)
    expected = functional.cross_entropy(wanted.flatten(0, 1), torch.tensor(targets).flatten())
    assert abs(loss.item() - expected.item()) <= 5e-6 * expected.item()
    loss.backward()
    expected.backward()
    for name, p in ours.named_parameters():
        found, right = p.grad, weights[name].grad.numpy()
        assert found is not None
        scale = (
            abs(right).max() if not name.endswith("key.bias") else abs(weights[name.replace("key", "query")].grad).max().item()
        )
        assert abs(found.numpy() - right).max() <= 5e-6 * scale, name  # the gradient of a key's bias is 0, but for rounding


def test_what_we_write_the_reference_reads(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x", TENSORS, {"step": "7", "by": "é"})
    found = reference.load_file(tmp_path / "x")
    assert sorted(found) == sorted(TENSORS)
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_what_the_reference_writes_we_read(tmp_path: Path) -> None:
    reference.save_file(TENSORS, tmp_path / "x", {"step": "7"})
    found = checkpoint.load(tmp_path / "x")
    assert found.metadata == {"step": "7"} and sorted(found.tensors) == sorted(TENSORS)
    for name, array in TENSORS.items():
        assert found.tensors[name].dtype == array.dtype and found.tensors[name].shape == array.shape
        assert found.tensors[name].tobytes() == array.tobytes()


def test_we_write_the_bytes_that_the_reference_writes(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "ours", TENSORS)
    reference.save_file(TENSORS, tmp_path / "theirs", checkpoint.read_header(tmp_path / "ours")[1])
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_training_goes_as_that_of_the_reference() -> None:
    model = ModelConfig(vocabulary_size=61, context=32, layers=1, heads=2, channels=32)
    config = TrainConfig(steps=20, warmup=5, learning_rate=0.01, batch=4, shards=2, model=model)
    ours = LanguageModel(model, stream=Stream(1))
    weights = {name: torch.tensor(p.numpy().astype(np.float64), requires_grad=True) for name, p in ours.named_parameters()}
    plain = [p for p in weights.values() if p.ndim < 2]
    groups = [
        {"params": [p for p in weights.values() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    batches = Batches(np.arange(2000, dtype=np.int64) ** 2 // 7 % 61, batch=4, time=32, stream=Stream(2))
    losses: list[float] = []
    Trainer(config, ours, batches, callbacks=[lambda _, record: losses.append(record["loss"])]).train()
    for step, found in enumerate(losses):
        inputs, targets = map(torch.tensor, batches.batch(step))
        loss = functional.cross_entropy(reference_logits(inputs, weights, model).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        optimizer.step()
        assert abs(found - loss.item()) <= 1e-5 * loss.item(), step
