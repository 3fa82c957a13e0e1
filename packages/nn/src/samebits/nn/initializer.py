"""Initialisers: how the numbers of a new parameter are drawn.

An initialiser is a function of a stream and a shape that returns a float32 array; `zeros` and `ones` are initialisers,
the other functions here make one. A weight has the shape (outputs, inputs), as in `Linear`.

    weight = parameter(xavier_uniform()(stream.split("weight"), (outputs, inputs)))

The spread that keeps signals of one size through the layers is about 1 / sqrt(inputs); Xavier and Kaiming say which.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from samebits.core import Stream

__all__ = [
    "Initializer",
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
    """All 0; nothing is drawn.

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


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """Normally distributed numbers.

    Example:
        >>> normal(std=0.02)(Stream(0), (2, 3)).shape
        (2, 3)
    """
    return lambda stream, shape: np.asarray(stream.normal(shape, mean=mean, std=std))


def truncated_normal(std: float = 1.0, mean: float = 0.0, cut: float = 2.0) -> Initializer:
    """Normally distributed numbers, drawn again where they are more than ``cut`` times ``std`` from ``mean``.

    (PyTorch's ``trunc_normal_`` has absolute bounds, which a small ``std`` never reaches.)

    Example:
        >>> bool(abs(truncated_normal(std=0.02)(Stream(0), (1000,))).max() <= 0.04)
        True
    """
    mean, reach = float(mean), float(cut) * float(std)
    limits = {"low": mean - reach, "high": mean + reach}
    return lambda stream, shape: np.asarray(stream.truncated_normal(shape, mean=mean, std=std, **limits))


def uniform(low: float = 0.0, high: float = 1.0) -> Initializer:
    """Numbers from ``low`` (included) to ``high`` (excluded), all equally likely.

    Example:
        >>> bool(uniform(-0.5, 0.5)(Stream(0), (1000,)).min() < -0.49)
        True
    """
    return lambda stream, shape: np.asarray(stream.uniform(shape, low=low, high=high))


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform with the standard deviation ``gain * sqrt(2 / (inputs + outputs))``: signals keep their size both ways.

    Glorot and Bengio, 2010, Understanding the difficulty of training deep feedforward neural networks, equation 16.

    Example:
        >>> bool(abs(xavier_uniform()(Stream(0), (50, 100))).max() <= 0.2)
        True
    """
    return lambda stream, shape: _symmetric(stream, shape, float(gain) * math.sqrt(2 / sum(_fans(shape))))


def xavier_normal(gain: float = 1.0) -> Initializer:
    """As `xavier_uniform`, normally distributed.

    Example:
        >>> xavier_normal()(Stream(0), (50, 100)).shape
        (50, 100)
    """
    return lambda stream, shape: np.asarray(stream.normal(shape, std=float(gain) * math.sqrt(2 / sum(_fans(shape)))))


def kaiming_uniform(gain: float = math.sqrt(2), fan: Literal["inputs", "outputs"] = "inputs") -> Initializer:
    """Uniform with the standard deviation ``gain / sqrt(inputs)``: signals keep their size forwards (or backwards, by outputs).

    He et al., 2015, Delving deep into rectifiers, equations 10 and 14. The gain is sqrt(2) before a ReLU, 1 before nothing;
    sqrt(1/3) gives numbers up to 1 / sqrt(inputs), PyTorch's default for linear layers.

    Example:
        >>> bool(abs(kaiming_uniform()(Stream(0), (50, 24))).max() <= 0.5)
        True
    """
    return lambda stream, shape: _symmetric(stream, shape, float(gain) / math.sqrt(_fan(fan, shape)))


def kaiming_normal(gain: float = math.sqrt(2), fan: Literal["inputs", "outputs"] = "inputs") -> Initializer:
    """As `kaiming_uniform`, normally distributed.

    Example:
        >>> kaiming_normal()(Stream(0), (50, 24)).shape
        (50, 24)
    """
    return lambda stream, shape: np.asarray(stream.normal(shape, std=float(gain) / math.sqrt(_fan(fan, shape))))


def scaled_residual(layers: int, std: float = 0.02) -> Initializer:
    """Normal with the standard deviation ``std / sqrt(2 * layers)``, for the two projections of each block that end in a sum.

    So the sum over all blocks starts out no larger than one of them. Radford et al., 2019, Language models are unsupervised
    multitask learners, section 2.3.

    Example:
        >>> scaled_residual(layers=8)(Stream(0), (4, 4)).shape
        (4, 4)
    """
    if layers < 1:
        raise ValueError(f"layers is {layers}: at least one is needed")
    return normal(float(std) / math.sqrt(2 * layers))


def _symmetric(stream: Stream, shape: Shape, std: float) -> Array:
    """Uniform around 0 with that standard deviation: a third of the squared bound is the variance."""
    bound = math.sqrt(3) * std
    return np.asarray(stream.uniform(shape, low=-bound, high=bound))


def _fan(name: str, shape: Shape) -> int:
    if name not in {"inputs", "outputs"}:
        raise ValueError(f"fan is {name!r}: 'inputs' or 'outputs' is needed")
    return _fans(shape)[name == "outputs"]


def _fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of a weight."""
    if len(shape) != 2 or not all(shape):
        raise ValueError(f"shape is {shape}: a weight of (outputs, inputs), neither 0, is needed to know its spread")
    outputs, inputs = shape
    return inputs, outputs
