"""Gradient check by central differences.

For each element x_i of each input, with a fixed random direction v in the space of results,

    d/dx_i <v, f(x)>    is compared with    (<v, f(x + h e_i)> - <v, f(x - h e_i)>) / 2h

in float64 under ``numerics("fast")``. With h = 6e-6 max(1, |x_i|), about the cube root of float64's precision, the
truncation and rounding errors of the difference are both near 1e-10 of the values, so 1e-6 separates right rules from wrong
ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd.functional import gradients
from samebits.autograd.graph import recording
from samebits.autograd.ops import concatenate, reshape
from samebits.autograd.tensor import Tensor, wrap
from samebits.core import Stream, current, numerics

__all__ = ["GradientError", "gradient_check"]

_STEP = 6e-6
Float64 = npt.NDArray[np.float64]


class GradientError(AssertionError):
    """A gradient differs from central differences; `gradient_check` raises it.

    Example:
        >>> from samebits.autograd import operation
        >>> @operation(lambda g, x: g)
        ... def square(x):
        ...     return x * x
        >>> gradient_check(square, [3.0])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        samebits.autograd.check.GradientError: square: the gradient with respect to argument 0 is wrong, worst at (0,): ...
    """


@dataclass(frozen=True, eq=False)
class _Mismatch:
    argument: int
    analytic: Float64
    numeric: Float64
    difference: Float64

    def message(self, name: str, tolerance: float) -> str:
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(self.difference)), self.difference.shape))
        return (
            f"{name}: the gradient with respect to argument {self.argument} is wrong, worst at {index}: "
            f"analytic {self.analytic[index]!s}, numeric {self.numeric[index]!s}; "
            f"they differ by {self.difference[index]:.3g} of the scale, and {tolerance:g} is allowed\n"
            f"analytic:\n{self.analytic}\nnumeric:\n{self.numeric}"
        )


def gradient_check(f: Callable[..., Tensor], *inputs: Any, order: int = 1, tolerance: float = 1e-6) -> None:
    """Raise unless the gradients of ``f`` agree with central differences.

    Args:
        f: A function of tensors that computes a tensor of any shape. It is called twice per element of the inputs.
        inputs: Arrays, tensors or nested lists. Floating inputs become float64 tensors; others are passed on unchanged.
        order: 1 for gradients, 2 for gradients of gradients too.
        tolerance: The largest difference, relative to max(1, the largest gradient).

    Raises:
        GradientError: They differ. The message has the operation, the worst index, the analytic and the numeric gradient.
        ValueError: No input is floating, or ``order`` is neither 1 nor 2.

    Example:
        >>> gradient_check(lambda x: x.tanh() * x, [0.5, -1.0], order=2)
    """
    if order not in {1, 2}:
        raise ValueError(f"gradient_check: order must be 1 or 2, got {order}")
    token = recording.set(True)
    try:
        with numerics("fast"):
            given = [_float64(x) for x in inputs]
            places = [i for i, x in enumerate(given) if isinstance(x, np.ndarray) and x.dtype == np.float64]
            if not places:
                raise ValueError("gradient_check: one input must be floating, got none")
            name = getattr(f, "__name__", "f")
            _check(f, given, places, name, tolerance)
            if order == 2:
                _check(_first_gradients(f, places), given, places, f"gradient of {name}", tolerance)
    finally:
        recording.reset(token)


def _check(f: Callable[..., Tensor], given: list[Any], places: list[int], name: str, tolerance: float) -> None:
    """Compare at each element of ``given[i]`` for i in ``places``."""
    tensors = [Tensor(x, requires_grad=i in places) if i in places else x for i, x in enumerate(given)]
    output = f(*tensors)
    direction = Stream(0).split("direction").normal(size=output.shape)
    weights = np.asarray(direction).astype(output.dtype)
    if output.node is None:
        raise GradientError(f"{name}: its result requires no gradient: it has no rule, or computed with arrays")
    name = f"{name} ({output.node.name})" if output.node.name not in name else name
    analytic = gradients(output, [tensors[i] for i in places], wrap(weights, None))
    for place, tensor in zip(places, analytic, strict=True):
        numeric = np.zeros_like(given[place])
        for index in np.ndindex(numeric.shape):
            step = _STEP * max(1.0, float(np.abs(given[place][index])))
            ends = []
            for shift in (step, -step):
                moved = given[place].copy()
                moved[index] += shift
                arguments = [
                    Tensor(moved if i == place else x, requires_grad=True) if i in places else x for i, x in enumerate(given)
                ]
                ends.append(f(*arguments).data)
            numeric[index] = float(current().sum((ends[0] - ends[1]) * weights)) / (2 * step)
        found = np.asarray(tensor.data)
        scale = max(1.0, float(np.max(np.abs(numeric), initial=0.0)))
        difference = np.where(np.isnan(found) | np.isnan(numeric), np.inf, np.abs(found - numeric) / scale)
        if found.shape != numeric.shape or np.max(difference, initial=0.0) > tolerance:
            raise GradientError(_Mismatch(place, found, numeric, difference).message(name, tolerance))


def _first_gradients(f: Callable[..., Tensor], places: list[int]) -> Callable[..., Tensor]:
    """A function that returns all gradients of f in one row, so that its gradients are f's second gradients."""

    def first(*arguments: Any) -> Tensor:
        output = f(*arguments)
        direction = np.asarray(Stream(1).split("direction").normal(size=output.shape)).astype(output.dtype)
        found = gradients(output, [arguments[i] for i in places], wrap(direction, None), create_graph=True)
        zeros = [arguments[i] * 0.0 for i in places]  # so that a linear f has a graph too
        return concatenate([reshape(g + zero, (g.size,)) for g, zero in zip(found, zeros, strict=True)])

    return first


def _float64(x: Any) -> Any:
    """A fresh float64 array if ``x`` is floating, otherwise ``x``."""
    array = np.array(x.data if isinstance(x, Tensor) else x)
    return array.astype(np.float64) if array.dtype.kind == "f" else x
