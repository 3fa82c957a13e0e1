"""The transformer block: the formula, both architectures, and a token's result depends on what it sees alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor, gradients, no_grad
from samebits.core import Stream, numerics
from samebits.nn.block import TransformerBlock
from samebits.nn.mlp import MLP, SwiGLU
from samebits.nn.multihead import MultiHeadAttention
from samebits.nn.normalization import LayerNorm, RMSNorm
from samebits.nn.positions import Rotary

Make = Callable[..., TransformerBlock]


def gpt2(**options: Any) -> TransformerBlock:
    return TransformerBlock.gpt2(24, 4, stream=Stream(3), **options)


def llama(**options: Any) -> TransformerBlock:
    return TransformerBlock.llama(24, 4, key_value_heads=2, stream=Stream(3), **options)


def qwen2(**options: Any) -> TransformerBlock:
    return llama(qkv_bias=True, **options)


def qwen3(**options: Any) -> TransformerBlock:
    return llama(qk_norm=True, head_channels=8, **options)


ARCHITECTURES = [gpt2, llama, qwen2, qwen3]


def normal(*shape: int, name: str = "normal") -> Any:
    return np.asarray(Stream(0).split(name).normal(size=shape))


@pytest.mark.parametrize("make", ARCHITECTURES)
def test_results_of_both_parts_are_added_to_their_input(make: Make) -> None:
    block, x = make(), Tensor(normal(2, 9, 24))
    y = x + block.attention(block.norm_1(x))
    y = y + block.mlp(block.norm_2(y))
    assert block(x).numpy().tobytes() == y.numpy().tobytes()


def test_architectures_have_the_names_of_their_parts() -> None:
    norms = [f"norm_{i}.{name}" for i in (1, 2) for name in ("weight", "bias")]
    projections = [f"attention.{part}.{name}" for part in ("query", "key", "value", "output") for name in ("weight", "bias")]
    layers = [f"mlp.{part}.{name}" for part in ("up", "down") for name in ("weight", "bias")]
    assert [name for name, _ in gpt2().named_parameters()] == norms[:2] + projections + norms[2:] + layers
    assert [name for name, _ in llama().named_parameters()] == [
        "norm_1.weight",
        *[f"attention.{part}.weight" for part in ("query", "key", "value", "output")],
        "norm_2.weight",
        *[f"mlp.{part}.weight" for part in ("gate", "up", "down")],
    ]
    assert not [name for name, _ in gpt2(bias=False).named_parameters() if name.endswith("bias")]
    assert llama().mlp.down.weight.shape == (24, 64)
    added = {name for name, _ in qwen2().named_parameters()} - {name for name, _ in llama().named_parameters()}
    assert added == {f"attention.{part}.bias" for part in ("query", "key", "value")}
    added = {name for name, _ in qwen3().named_parameters()} - {name for name, _ in llama().named_parameters()}
    assert added == {f"attention.{part}_norm.weight" for part in ("query", "key")}


@pytest.mark.parametrize("make", ARCHITECTURES)
def test_tokens_read_one_by_one_have_the_bits_of_the_whole(make: Make) -> None:
    block, x = make(), normal(2, 20, 24)
    with no_grad():
        whole, cache = block(Tensor(x)).numpy(), block.cache(2, 20)
        pieces = [block(Tensor(x[:, :5]), cache), *[block(Tensor(x[:, i : i + 1]), cache) for i in range(5, 20)]]
    assert np.concatenate([piece.numpy() for piece in pieces], axis=1).tobytes() == whole.tobytes()
    assert block(Tensor(x[1:, :7])).numpy().tobytes() == whole[1:, :7].tobytes()


@pytest.mark.parametrize("make", ARCHITECTURES)
def test_exact_arithmetic_is_near_float64(make: Make) -> None:
    """Values and the gradients of all parameters, within some dozen roundings of 6e-8 of the largest element."""
    x, g = normal(2, 9, 24), normal(2, 9, 24, name="g")

    def run(dtype: Any) -> list[Any]:
        block = make()
        for module in [m for _, m in block.named_modules()]:
            for name, tensor in list(vars(module).items()):
                if isinstance(tensor, Tensor):
                    setattr(module, name, Tensor(tensor.numpy().astype(dtype), requires_grad=True))
        inputs = Tensor(x.astype(dtype), requires_grad=True)
        out = block(inputs)
        return [t.numpy() for t in (out, *gradients(out, [inputs, *block.parameters()], Tensor(g.astype(dtype))))]

    exact = run(np.float32)
    with numerics("fast"):
        right = run(np.float64)
    largest = max(float(np.abs(x).max()) for x in right[1:])
    for i, (mine, expected) in enumerate(zip(exact, right, strict=True)):
        # the gradient of key.bias is 0: only rounding is there, of the size of other gradients
        np.testing.assert_allclose(mine, expected, rtol=0, atol=5e-7 * (np.abs(expected).max() if i == 0 else largest))


@pytest.mark.parametrize("make", ARCHITECTURES)
def test_dropout_draws_from_streams_of_its_own_and_only_in_training(make: Make) -> None:
    block, x = make(dropout=0.5), Tensor(normal(1, 6, 24))
    first, again, other = (block(x, stream=Stream(seed)).numpy().tobytes() for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(ValueError, match="stream"):
        block(x)
    assert block.eval()(x).numpy().tobytes() == make()(x).numpy().tobytes()


def test_any_parts_make_a_block() -> None:
    stream = Stream(4)
    block = TransformerBlock(
        norm_1=RMSNorm(8),
        attention=MultiHeadAttention(8, 2, rotary=Rotary(4), stream=stream.split("attention")),
        norm_2=LayerNorm(8),
        mlp=SwiGLU(8, 12, stream=stream.split("mlp")),
    )
    assert block(Tensor(normal(1, 3, 8))).shape == (1, 3, 8)
    block.mlp = MLP(8, 12, stream=stream.split("mlp"))
    assert block(Tensor(normal(1, 3, 8))).shape == (1, 3, 8)
