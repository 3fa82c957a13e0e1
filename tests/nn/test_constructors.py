"""Constructors of all layers: sizes, probabilities and streams are checked, and NumPy scalars have the bits of Python numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn import (
    MLP,
    BatchNorm,
    Dropout,
    Embedding,
    KeyValueCache,
    LayerNorm,
    LearnedPositions,
    Linear,
    Module,
    MultiHeadAttention,
    RMSNorm,
    Rotary,
    SinusoidalPositions,
    SwiGLU,
    TransformerBlock,
)

pytestmark = pytest.mark.once

GPT2, LLAMA = TransformerBlock.gpt2, TransformerBlock.llama

DRAWING = [
    (Linear, (3, 2)),
    (Embedding, (3, 2)),
    (LearnedPositions, (3, 2)),
    (MLP, (3, 2)),
    (SwiGLU, (3, 2)),
    (MultiHeadAttention, (4, 2)),
    (GPT2, (4, 2)),
    (LLAMA, (4, 2)),
]


def name_of(make: Any) -> str:
    return str(make.__qualname__)


@pytest.mark.parametrize(("make", "arguments"), DRAWING, ids=lambda value: getattr(value, "__qualname__", None))
def test_a_layer_that_draws_requires_a_stream(make: Any, arguments: tuple[int, ...]) -> None:
    make(*arguments, stream=Stream(0))
    for wrong, given in (({}, "None"), ({"stream": 0}, "0")):
        with pytest.raises(TypeError, match=rf"{name_of(make)}: stream must be a Stream, got {given}; write stream=Stream\(0\)"):
            make(*arguments, **wrong)


SIZES = [
    (LayerNorm, {"channels": 1}, {}),
    (RMSNorm, {"channels": 1}, {}),
    (BatchNorm, {"channels": 1}, {}),
    (KeyValueCache, {"batch": 1, "heads": 1, "capacity": 1, "channels": 1}, {}),
    (Linear, {"inputs": 1, "outputs": 1}, {"stream": Stream(0)}),
    (Embedding, {"entries": 1, "channels": 1}, {"stream": Stream(0)}),
    (LearnedPositions, {"entries": 1, "channels": 1}, {"stream": Stream(0)}),
    (MLP, {"inputs": 1, "hidden": 1, "outputs": 1}, {"stream": Stream(0)}),
    (SwiGLU, {"inputs": 1, "hidden": 1}, {"stream": Stream(0)}),
    (MultiHeadAttention, {"channels": 1, "heads": 1, "key_value_heads": 1}, {"stream": Stream(0)}),
]


@pytest.mark.parametrize(("make", "sizes", "others"), SIZES, ids=lambda value: getattr(value, "__name__", None))
def test_sizes_are_ints_of_at_least_1(make: Any, sizes: dict[str, int], others: dict[str, Any]) -> None:
    make(**sizes, **others)
    for name in sizes:
        with pytest.raises(ValueError, match=f"{make.__name__}: {name} must be at least 1, got 0"):
            make(**{**sizes, name: 0}, **others)
        for wrong in (1.0, (2,), "1", True):
            with pytest.raises(TypeError, match=f"{make.__name__}: {name} must be an int, got"):
                make(**{**sizes, name: wrong}, **others)


@pytest.mark.parametrize("make", [Rotary, SinusoidalPositions])
def test_rotated_channels_are_even(make: Any) -> None:
    make(2)
    with pytest.raises(ValueError, match=f"{make.__name__}: channels must be at least 2, got 0"):
        make(0)
    with pytest.raises(ValueError, match=f"{make.__name__}: channels must be even, got 5"):
        make(5)
    with pytest.raises(ValueError, match=f"{make.__name__}: base must be finite and above 1, got 1"):
        make(2, base=1.0)


BELOW_1 = float(np.nextafter(1, 0))


@pytest.mark.parametrize(
    ("make", "name", "inside", "outside"),
    [
        (Dropout, "Dropout: p", [0, BELOW_1], [-0.1, 1.0]),
        (lambda p: MultiHeadAttention(4, 2, dropout=p, stream=Stream(0)), "MultiHeadAttention: dropout", [0, BELOW_1], [-0.1, 1]),
        (lambda p: GPT2(4, 2, dropout=p, stream=Stream(0)), "MultiHeadAttention: dropout", [0, BELOW_1], [-0.1, 1]),
        (lambda e: LayerNorm(2, eps=e), "LayerNorm: eps", [0, 1.0], [-1e-9, np.inf, np.nan]),
        (lambda e: RMSNorm(2, eps=e), "RMSNorm: eps", [0, 1.0], [-1e-9, np.inf, np.nan]),
        (lambda e: BatchNorm(2, eps=e), "BatchNorm: eps", [0, 1.0], [-1e-9, np.inf, np.nan]),
        (lambda m: BatchNorm(2, momentum=m), "BatchNorm: momentum", [0, 1.0], [-1e-9, 1.001, np.nan]),
    ],
)
def test_numbers_are_within_their_limits(make: Any, name: str, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        make(value)
    for value in outside:
        with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
            make(value)
    with pytest.raises(TypeError, match=f"{name} must be a number, got None"):
        make(None)


def test_heads_are_multiples() -> None:
    for make, name in ((MultiHeadAttention, "MultiHeadAttention"), (LLAMA, "TransformerBlock.llama")):
        with pytest.raises(ValueError, match=f"{name}: channels must be a multiple of heads, got channels=6 and heads=4"):
            make(6, 4, stream=Stream(0))
    with pytest.raises(ValueError, match="heads must be a multiple of key_value_heads, got heads=4 and key_value_heads=3"):
        MultiHeadAttention(8, 4, key_value_heads=3, stream=Stream(0))


def test_a_hidden_size_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="MLP: hidden must be at least 1, got 0"):
        GPT2(4, 2, hidden=0, stream=Stream(0))
    with pytest.raises(ValueError, match="SwiGLU: hidden must be at least 1, got 0"):
        LLAMA(4, 2, hidden=0, stream=Stream(0))


N, F = np.int64, np.float64

PAIRS: list[tuple[Callable[[], Module], Callable[[], Module]]] = [
    (lambda: Linear(N(4), N(4), stream=Stream(0)), lambda: Linear(4, 4, stream=Stream(0))),
    (lambda: LayerNorm(N(4), eps=F(1e-3)), lambda: LayerNorm(4, eps=1e-3)),
    (lambda: RMSNorm(N(4), eps=np.float32(2.0**-9)), lambda: RMSNorm(4, eps=2.0**-9)),
    (lambda: BatchNorm(N(4), momentum=F(0.3)), lambda: BatchNorm(4, momentum=0.3)),
    (lambda: SinusoidalPositions(N(4), base=F(100)), lambda: SinusoidalPositions(4, base=100)),
    (lambda: LearnedPositions(N(8), N(4), stream=Stream(0)), lambda: LearnedPositions(8, 4, stream=Stream(0))),
    (lambda: MLP(N(4), np.int32(6), stream=Stream(0)), lambda: MLP(4, 6, stream=Stream(0))),
    (lambda: SwiGLU(N(4), np.int16(6), stream=Stream(0)), lambda: SwiGLU(4, 6, stream=Stream(0))),
    (
        lambda: GPT2(N(4), N(2), hidden=N(8), dropout=F(0.25), stream=Stream(0)),
        lambda: GPT2(4, 2, hidden=8, dropout=0.25, stream=Stream(0)),
    ),
    (
        lambda: LLAMA(N(4), N(2), key_value_heads=N(1), eps=F(1e-6), stream=Stream(0)),
        lambda: LLAMA(4, 2, key_value_heads=1, eps=1e-6, stream=Stream(0)),
    ),
]


@pytest.mark.parametrize(("given", "expected"), PAIRS)
def test_numpy_scalars_have_the_bits_of_python_numbers(given: Callable[[], Module], expected: Callable[[], Module]) -> None:
    x = Tensor(np.asarray(Stream(1).normal((2, 3, 4))))
    a, b = given(), expected()
    assert repr(a) == repr(b)
    options = {"stream": Stream(2)} if a.draws else {}
    assert a(x, **options).numpy().tobytes() == b(x, **options).numpy().tobytes()
    for module in a.modules():
        for value in vars(module).values():
            assert not isinstance(value, np.generic)
