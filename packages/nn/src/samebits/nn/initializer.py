"""Initializers: how the elements of a new parameter are drawn.

An initializer is a function of a stream and a shape that returns a float32 array. `zeros` and `ones` are initializers;
the other functions here return one. A weight has the shape (outputs, inputs), as in `Linear`.

    weight = parameter(xavier_uniform()(stream.split("weight"), (outputs, inputs)))

A standard deviation of about 1 / sqrt(inputs) keeps the size of signals through the layers; Xavier's and Kaiming's formulas
state it exactly.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.autograd.tensor import wrap
from samebits.core import Stream
from samebits.core.arguments import integer
from samebits.nn.arguments import number_within
from samebits.nn.module import parameter

__all__ = [
    "Initializer",
    "initialized",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "ones",
    "scaled_residual",
    "truncated_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Initializer = Callable[[Stream, Shape], Array]


def zeros(_: Stream, shape: Shape) -> Array:
    """All 0; nothing is drawn, and in `initialized` no memory is written: for a model whose weights are loaded.

    Example:
        >>> zeros(Stream(0), (2,))
        array([0., 0.], dtype=float32)
    """
    return np.zeros(shape, np.float32)


def ones(_: Stream, shape: Shape) -> Array:
    """All 1; nothing is drawn.

    Example:
        >>> ones(Stream(0), (2,))
        array([1., 1.], dtype=float32)
    """
    return np.ones(shape, np.float32)


def initialized(initialize: Initializer, stream: Stream, shape: Shape) -> Tensor:
    """A parameter of a shape whose elements an initializer draws.

    Example:
        >>> initialized(ones, Stream(0), (2,))
        Tensor([1., 1.], requires_grad=True)
    """
    array = initialize(stream, shape)
    if initialize is not zeros:
        return parameter(array)
    tensor = wrap(array, None)  # not copied: the system gives zeroed memory when it is written
    tensor.requires_grad = True
    return tensor


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """Normally distributed numbers.

    Example:
        >>> normal(std=0.02)(Stream(0), (2, 3)).shape
        (2, 3)
    """
    mean, std = number_within("normal", "mean", mean, least=-math.inf), number_within("normal", "std", std)
    return lambda stream, shape: np.asarray(stream.normal(shape, mean=mean, std=std))


def truncated_normal(std: float = 1.0, mean: float = 0.0, cut: float = 2.0) -> Initializer:
    """Normally distributed numbers, drawn again where they are more than ``cut`` times ``std`` from ``mean``.

    (PyTorch's ``trunc_normal_`` has absolute bounds, which a small ``std`` never reaches.)

    Example:
        >>> bool(abs(truncated_normal(std=0.02)(Stream(0), (1000,))).max() <= 0.04)
        True
    """
    mean = number_within("truncated_normal", "mean", mean, least=-math.inf)
    std = number_within("truncated_normal", "std", std, above=0)
    reach = number_within("truncated_normal", "cut", cut, above=0) * std
    return lambda stream, shape: np.asarray(
        stream.truncated_normal(shape, mean=mean, std=std, low=mean - reach, high=mean + reach)
    )


def uniform(low: float = 0.0, high: float = 1.0) -> Initializer:
    """Uniformly distributed numbers from ``low`` (included) to ``high`` (excluded).

    Example:
        >>> bool(uniform(-0.5, 0.5)(Stream(0), (1000,)).min() < -0.49)
        True
    """
    low = number_within("uniform", "low", low, least=-math.inf)
    high = number_within("uniform", "high", high, above=low)
    return lambda stream, shape: np.asarray(stream.uniform(shape, low=low, high=high))


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform, with standard deviation ``gain * sqrt(2 / (inputs + outputs))``: a compromise between forward and backward signals.

    Glorot and Bengio, 2010, Understanding the difficulty of training deep feedforward neural networks, equation 16.

    Example:
        >>> bool(abs(xavier_uniform()(Stream(0), (50, 100))).max() <= 0.2)
        True
    """
    gain = number_within("xavier_uniform", "gain", gain, above=0)
    return lambda stream, shape: _symmetric(stream, shape, gain * math.sqrt(2 / sum(_fans("xavier_uniform", shape))))


def xavier_normal(gain: float = 1.0) -> Initializer:
    """As `xavier_uniform`, normally distributed.

    Example:
        >>> xavier_normal()(Stream(0), (50, 100)).shape
        (50, 100)
    """
    gain = number_within("xavier_normal", "gain", gain, above=0)
    return lambda stream, shape: np.asarray(stream.normal(shape, std=gain * math.sqrt(2 / sum(_fans("xavier_normal", shape)))))


def kaiming_uniform(gain: float = math.sqrt(2), fan: Literal["inputs", "outputs"] = "inputs") -> Initializer:
    """Uniform, with standard deviation ``gain / sqrt(inputs)``: signals keep their size forward (with "outputs": backward).

    He et al., 2015, Delving deep into rectifiers, equations 10 and 14. The gain is sqrt(2) before a ReLU, and 1 without
    an activation; sqrt(1/3) gives numbers up to 1 / sqrt(inputs), PyTorch's default for linear layers.

    Example:
        >>> bool(abs(kaiming_uniform()(Stream(0), (50, 24))).max() <= 0.5)
        True
    """
    gain, axis = number_within("kaiming_uniform", "gain", gain, above=0), _axis("kaiming_uniform", fan)
    return lambda stream, shape: _symmetric(stream, shape, gain / math.sqrt(_fans("kaiming_uniform", shape)[axis]))


def kaiming_normal(gain: float = math.sqrt(2), fan: Literal["inputs", "outputs"] = "inputs") -> Initializer:
    """As `kaiming_uniform`, normally distributed.

    Example:
        >>> kaiming_normal()(Stream(0), (50, 24)).shape
        (50, 24)
    """
    gain, axis = number_within("kaiming_normal", "gain", gain, above=0), _axis("kaiming_normal", fan)
    return lambda stream, shape: np.asarray(stream.normal(shape, std=gain / math.sqrt(_fans("kaiming_normal", shape)[axis])))


def scaled_residual(layers: int, std: float = 0.02) -> Initializer:
    """Normal, with standard deviation ``std / sqrt(2 * layers)``, for the two projections of each block that add to the residual.

    So the sum over all blocks starts as large as one of them without it. Radford et al., 2019, Language models are unsupervised
    multitask learners, section 2.3.

    Example:
        >>> scaled_residual(layers=8)(Stream(0), (4, 4)).shape
        (4, 4)
    """
    count = integer("scaled_residual", "layers", layers, least=1)
    return normal(number_within("scaled_residual", "std", std) / math.sqrt(2 * count))


def _symmetric(stream: Stream, shape: Shape, std: float) -> Array:
    """Uniform around 0 with that standard deviation; the variance is a third of the squared bound."""
    bound = math.sqrt(3) * std
    return np.asarray(stream.uniform(shape, low=-bound, high=bound))


def _axis(function: str, fan: str) -> int:
    """The place of ``fan`` in what `_fans` returns."""
    if fan not in {"inputs", "outputs"}:
        raise ValueError(f"{function}: fan must be 'inputs' or 'outputs', got {fan!r}")
    return int(fan == "outputs")


def _fans(function: str, shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of a weight."""
    if len(shape) != 2 or not all(shape):
        raise ValueError(f"{function}: shape must be (outputs, inputs), neither 0, got {shape}")
    outputs, inputs = shape
    return inputs, outputs
