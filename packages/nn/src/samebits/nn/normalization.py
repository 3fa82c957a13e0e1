"""Normalization: activations with mean 0 and variance 1, or root mean square 1, then scaled and shifted.

    y = (x - mean) / sqrt(variance + eps) * weight + bias      mean and variance (over n, not n - 1):

`layer_norm` computes them over the channels of each position, `batch_norm` over all positions for each channel; `rms_norm`
takes 0 for the mean. Channels are the last axis. Kernels are fused: in exact arithmetic they are float64 inside, with one
rounding. For the gradients they keep x and two numbers for each row (or channel), and compute the rest again.
"""

# ruff: noqa: PLR0917 - the arguments of kernels and rules are positional

from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor, kernel
from samebits.core import GROUP_ROWS, ColumnSums, Kernels, Numerics, compiled, current, store
from samebits.core.arguments import integer
from samebits.core.compiled import pair
from samebits.nn.arguments import number_within
from samebits.nn.module import Module, parameter

__all__ = ["BatchNorm", "LayerNorm", "RMSNorm", "batch_norm", "layer_norm", "rms_norm"]

Array = npt.NDArray[Any]


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Layer normalization (Ba, Kiros and Hinton, 2016).

    Args:
        x: Floating (..., C).
        weight: (C,), or None for ones.
        bias: (C,), or None for zeros.
        eps: Added to the variance.

    Returns:
        A tensor of the shape and dtype of ``x``.

    Raises:
        ValueError: The shape of ``weight`` or ``bias`` is not (C,), or ``x`` has no axes.
        TypeError: The dtypes differ.

    Example:
        >>> layer_norm(Tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]))
        Tensor([[-1.2247357,  0.       ,  1.2247357],
                [-1.2247448,  0.       ,  1.2247448]])
    """
    return _normalize(x, weight, bias, number_within("layer_norm", "eps", eps), "layer_norm")


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Root mean square normalization (Zhang and Sennrich, 2019): x / sqrt(mean(x^2) + eps) * weight; otherwise as `layer_norm`.

    Example:
        >>> rms_norm(Tensor([3.0, 4.0]))
        Tensor([0.8485278, 1.1313704])
    """
    return _normalize(x, weight, None, number_within("rms_norm", "eps", eps), "rms_norm")


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalization (Ioffe and Szegedy, 2015).

    Args:
        x: Floating (..., C): the channels are last, where PyTorch has them second.
        weight: (C,), or None for ones.
        bias: (C,), or None for zeros.
        running_mean: (C,). In training it becomes ``(1 - momentum) * running_mean + momentum * mean``, with the mean of the
            batch; in evaluation it is the mean.
        running_var: (C,), likewise for the variance, with the unbiased estimate (over n - 1).
        training: Whether mean and variance are those of the batch.
        momentum: The weight of a batch in the running values, from 0 to 1.
        eps: Added to the variance.

    Returns:
        A tensor of the shape and dtype of ``x``.

    Raises:
        ValueError: The shape of a vector is not (C,); in training, the batch has less than two positions; in evaluation, a
            running value is None.
        TypeError: The dtypes differ.

    Example:
        >>> batch_norm(Tensor([[1.0, 10.0], [3.0, 10.0]]))
        Tensor([[-0.999995,  0.      ],
                [ 0.999995,  0.      ]])
    """
    values, running = _array(x), {"running_mean": running_mean, "running_var": running_var}
    arrays = {name: None if tensor is None else _array(tensor) for name, tensor in running.items()}
    numerics = _check_channels("batch_norm", values, weight=weight, bias=bias, **arrays)
    working, eps = numerics.working(values.dtype), number_within("batch_norm", "eps", eps)
    momentum = number_within("batch_norm", "momentum", momentum, most=1)
    if not training:
        missing = [name for name, array in arrays.items() if array is None]
        if missing:
            raise ValueError(f"batch_norm: {missing[0]} must be a tensor in evaluation, got None")
        mean, variance = [np.asarray(array).astype(working) for array in arrays.values()]
        return _batch_norm(x, weight, bias, mean, variance, eps, training)
    count = values.size // values.shape[-1]
    if count < 2:
        raise ValueError(f"batch_norm: x must have at least two values for each channel in training, got shape {values.shape}")
    mean, variance = _statistics(numerics, values.reshape(-1, values.shape[-1]))
    unbiased = variance * working.type(count / (count - 1))
    for tensor, found in ((running_mean, mean), (running_var, unbiased)):
        if tensor is not None:
            with tensor.edit() as array, np.errstate(all="ignore"):
                store(array.astype(working) * working.type(1 - momentum) + found * working.type(momentum), array)
    return _batch_norm(x, weight, bias, mean, variance, eps, training)


def _array(x: Any) -> Array:
    return x if isinstance(x, np.ndarray) else np.asarray(x.data if isinstance(x, Tensor) else x)


def _check_channels(function: str, x: Array, **vectors: Any) -> Numerics:
    """Return the active arithmetic if the shapes and dtypes fit."""
    if not x.ndim:
        raise ValueError(f"{function}: x must have an axis of channels, got shape ()")
    if not x.shape[-1]:
        raise ValueError(f"{function}: x must have at least one channel, got shape {x.shape}")
    given, channels = {"x": x}, x.shape[-1:]
    for name, vector in vectors.items():
        if vector is not None:
            given[name] = _array(vector)
            if vector.shape != channels:
                raise ValueError(
                    f"{function}: {name} must have shape {channels}, the channels of x {x.shape}, got {vector.shape}"
                )
    return current().checked(function, **given)


def _vectors(working: Any, weight: Array | None, bias: Array | None, channels: int) -> tuple[Array, Array]:
    """Factors and shifts in the working dtype."""
    factors = np.ones(channels, working) if weight is None else weight.astype(working)
    return factors, np.zeros(channels, working) if bias is None else bias.astype(working)


def _narrowed(sums: Array, x: Array) -> Array:
    """The sums in the dtype of x, zeros positive."""
    with np.errstate(all="ignore"):
        out = store(sums, np.empty(x.shape[-1], x.dtype))
        out += x.dtype.type(0)
    return out


def _normalize_gradient(
    g: Array, x: Array, weight: Array | None, means: Array | None, scales: Array, biased: bool
) -> tuple[Array | None, ...]:
    """With h = (x - mean) s and a = g weight: the gradient of x is s (a - mean(a) - h mean(a h)), without mean(a) in `rms_norm`."""
    channels = x.shape[-1]
    out = np.empty(x.shape, x.dtype)
    factors, _ = _vectors(scales.dtype, weight, None, channels)
    target, *arguments = [array.reshape(-1, channels) for array in (out, g, x)]
    groups = -(-len(target) // GROUP_ROWS)
    sums = np.empty((2, groups, channels), scales.dtype)
    function = _rms_norm_gradient if means is None else _layer_norm_gradient
    arguments += [scales] if means is None else [scales, means]
    sizes = compiled.integers(*target.shape)
    compiled.call(function, [target, *sums], arguments, [factors, sizes], (groups, GROUP_ROWS * channels))
    wanted = weight is not None, biased
    to_weight, to_bias = [_narrowed(_total(some), x) if want else None for some, want in zip(sums, wanted, strict=True)]
    return out, to_weight, to_bias


def _total(groups: Array) -> Array:
    """The sum of the sums of groups of rows."""
    kernels = current().kernels
    with np.errstate(all="ignore"):
        return kernels.sum(np.concatenate([np.zeros((1, groups.shape[1]), groups.dtype), groups]), 0)


@pair("layer_norm_gradient", "f d d f f d d d q")
def _layer_norm_gradient(
    out: Array, to_weight: Array, to_bias: Array, g: Array, x: Array, scales: Array, means: Array, factors: Array, _: Array
) -> None:
    def formula(kernels: Kernels, target: Array, gradient: Array, values: Array, scale: Array, mean: Array) -> None:
        h = values - mean[:, None]
        h *= scale[:, None]
        shares = _shares(kernels, gradient * h, factors, weights)
        np.multiply(gradient, factors, out=target)
        target -= kernels.row_sums(target)[:, None] / target.dtype.type(len(factors))
        h *= shares
        target -= h
        target *= scale[:, None]
        biases.append(kernels.group_sums(gradient))

    weights: list[Array] = []
    biases: list[Array] = []
    current().evaluate_rows(formula, [out], [g, x, scales, means], GROUP_ROWS)
    _put(weights, to_weight)
    _put(biases, to_bias)


@pair("rms_norm_gradient", "f d d f f d d q")
def _rms_norm_gradient(
    out: Array, to_weight: Array, _: Array, g: Array, x: Array, scales: Array, factors: Array, __: Array
) -> None:
    def formula(kernels: Kernels, target: Array, gradient: Array, values: Array, scale: Array) -> None:
        h = values * scale[:, None]
        shares = _shares(kernels, gradient * h, factors, weights)
        np.multiply(gradient, factors, out=target)
        h *= shares
        target -= h
        target *= scale[:, None]

    weights: list[Array] = []
    current().evaluate_rows(formula, [out], [g, x, scales], GROUP_ROWS)
    _put(weights, to_weight)


def _put(sums: list[Array], groups: Array) -> None:
    """Put the sums of blocks into those of groups, of which fast arithmetic makes fewer."""
    found = np.concatenate([groups[:0], *sums])
    groups[: len(found)], groups[len(found) :] = found, 0


def _shares(kernels: Kernels, product: Array, factors: Array, weights: list[Array]) -> Array:
    """mean(a h) of the rows, from g h; its sums over groups of rows are added to ``weights``."""
    weights.append(kernels.group_sums(product))
    shares: Array = kernels.row_sums(product, factors)[:, None] / product.dtype.type(len(factors))
    return shares


@pair("layer_norm", "f d d f d d d")
def _layer_norm_formula(
    kernels: Kernels, target: Array, scale: Array, mean: Array, values: Array, weight: Array, bias: Array, eps: Array
) -> None:
    np.divide(kernels.row_sums(values), mean.dtype.type(len(weight)), out=mean)
    np.subtract(values, mean[:, None], out=target)
    _scale_rows(kernels, target, scale, target, weight, eps)
    target += bias


@pair("rms_norm", "f d f d d")
def _rms_norm_formula(kernels: Kernels, target: Array, scale: Array, values: Array, weight: Array, eps: Array) -> None:
    _scale_rows(kernels, target, scale, values, weight, eps)


def _scale_rows(kernels: Kernels, target: Array, scale: Array, values: Array, weight: Array, eps: Array) -> None:
    """Multiply rows by 1 / sqrt(mean(values^2) + eps), which is put into ``scale``, and by the weight."""
    squares = kernels.row_sums(values * values) / scale.dtype.type(len(weight))
    np.divide(scale.dtype.type(1), np.sqrt(squares + eps), out=scale)
    np.multiply(values, scale[:, None], out=target)
    target *= weight


@kernel(_normalize_gradient)
def _normalize(x: Any, weight: Any, bias: Any, eps: float, function: str) -> tuple[Array, tuple[Any, ...]]:
    numerics = _check_channels(function, x, weight=weight, bias=bias)
    working, channels = numerics.working(x.dtype), x.shape[-1]
    out = np.empty(x.shape, x.dtype)
    rows, results = [array.reshape(-1, channels) for array in (x, out)]
    factors, shifts = _vectors(working, weight, bias, channels)
    scales, means = np.empty((2, len(rows)), working)
    if function == "layer_norm":
        if bias is None:
            np.negative(shifts, out=shifts)  # x + -0.0 is x, also for a negative zero
        shared = [factors, shifts, np.array(eps, working)]
        numerics.evaluate_rows(_layer_norm_formula, [results, scales, means], [rows], shared=shared)
        return out, (x, weight, means, scales, bias is not None)
    numerics.evaluate_rows(_rms_norm_formula, [results, scales], [rows], shared=[factors, np.array(eps, working)])
    return out, (x, weight, None, scales, False)


def _statistics(numerics: Numerics, rows: Array) -> tuple[Array, Array]:
    """Mean and variance of each column, in the working dtype."""
    working = numerics.working(rows.dtype)
    count = working.type(len(rows))
    sums, squares = [ColumnSums(numerics.kernels, rows.shape[1], working) for _ in range(2)]
    numerics.evaluate_rows(lambda _, values: sums.add(values), [], [rows], GROUP_ROWS)
    with np.errstate(all="ignore"):
        mean = sums.total() / count

    def formula(_: Kernels, values: Array) -> None:
        centered = values - mean
        centered *= centered
        squares.add(centered)

    numerics.evaluate_rows(formula, [], [rows], GROUP_ROWS)
    with np.errstate(all="ignore"):
        return mean, squares.total() / count


def _batch_norm_gradient(
    g: Array, x: Array, weight: Array | None, biased: bool, mean: Array, scale: Array, training: bool
) -> tuple[Array | None, ...]:
    """With h = (x - mean) s: s weight (g - mean(g) - h mean(g h)); without the means where mean and s are constants."""
    numerics, working, channels = current(), scale.dtype, x.shape[-1]
    out = np.empty(x.shape, x.dtype)
    results, gradients, rows = [array.reshape(-1, channels) for array in (out, g, x)]
    to_weight, to_bias = [ColumnSums(numerics.kernels, channels, working) for _ in range(2)]

    def sums(_: Kernels, gradient: Array, values: Array) -> None:
        h = (values - mean) * scale
        h *= gradient
        to_weight.add(h)
        to_bias.add(gradient)

    numerics.evaluate_rows(sums, [], [gradients, rows], GROUP_ROWS)
    count = working.type(max(1, len(rows)))
    with np.errstate(all="ignore"):
        shares, shift = to_weight.total() / count, to_bias.total() / count
        factors = scale if weight is None else scale * weight

    def formula(_: Kernels, target: Array, gradient: Array, values: Array) -> None:
        if training:
            h = (values - mean) * scale
            h *= shares
            gradient = np.subtract(gradient, shift, out=target)
            gradient -= h
        np.multiply(gradient, factors, out=target)

    numerics.evaluate_rows(formula, [results], [gradients, rows])
    return out, None if weight is None else _narrowed(to_weight.total(), x), _narrowed(to_bias.total(), x) if biased else None


@kernel(_batch_norm_gradient)
def _batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float, training: bool
) -> tuple[Array, tuple[Any, ...]]:
    channels, working = x.shape[-1], mean.dtype
    out = np.empty(x.shape, x.dtype)
    factors, shifts = _vectors(working, weight, bias, channels)
    with np.errstate(all="ignore"):
        scale = working.type(1) / np.sqrt(variance + working.type(eps))

    def formula(_: Kernels, target: Array, values: Array) -> None:
        np.subtract(values, mean, out=target)
        target *= scale
        target *= factors
        target += shifts

    current().evaluate_rows(formula, [out.reshape(-1, channels)], [x.reshape(-1, channels)])
    return out, (x, weight, bias is not None, mean, scale, training)


class LayerNorm(Module):
    """`layer_norm` with its weight (C,), initially ones, and bias (C,), initially zeros.

    Args:
        channels: C, the length of the last axis.
        eps: Added to the variance.
        bias: Whether there is a bias.

    Example:
        >>> LayerNorm(2)(Tensor([[1.0, 3.0]])).numpy()
        array([[-0.999995,  0.999995]], dtype=float32)
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, bias: bool = True) -> None:
        channels, self.eps = integer("LayerNorm", "channels", channels, least=1), number_within("LayerNorm", "eps", eps)
        self.weight = parameter(np.ones(channels, np.float32))
        self.bias = parameter(np.zeros(channels, np.float32)) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize x (..., C)."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """`rms_norm` with its weight (C,), initially ones.

    Args:
        channels: C, the length of the last axis.
        eps: Added to the mean square.

    Example:
        >>> RMSNorm(2)(Tensor([[3.0, 4.0]])).numpy()
        array([[0.8485278, 1.1313704]], dtype=float32)
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        channels, self.eps = integer("RMSNorm", "channels", channels, least=1), number_within("RMSNorm", "eps", eps)
        self.weight = parameter(np.ones(channels, np.float32))

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize x (..., C)."""
        return rms_norm(x, self.weight, self.eps)


class BatchNorm(Module):
    """`batch_norm` with weight and bias (C,), and buffers for the running mean and variance, initially 0 and 1.

    Args:
        channels: C, the length of the last axis.
        eps: Added to the variance.
        momentum: The weight of a batch in the running values, from 0 to 1.

    Example:
        >>> layer = BatchNorm(1)
        >>> layer(Tensor([[0.0], [10.0]])).shape, layer.running_mean
        ((2, 1), Tensor([0.5]))
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        channels, self.eps = integer("BatchNorm", "channels", channels, least=1), number_within("BatchNorm", "eps", eps)
        self.momentum = number_within("BatchNorm", "momentum", momentum, most=1)
        self.weight, self.bias = parameter(np.ones(channels, np.float32)), parameter(np.zeros(channels, np.float32))
        self.running_mean, self.running_var = Tensor(np.zeros(channels, np.float32)), Tensor(np.ones(channels, np.float32))

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize x (..., C); in training the running values change."""
        options: Any = {"training": self.training, "momentum": self.momentum, "eps": self.eps}
        return batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, **options)
