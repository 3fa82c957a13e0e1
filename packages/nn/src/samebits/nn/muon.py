"""`Muon`: the step of a matrix is its orthogonalized momentum, so that all directions of the matrix change alike.

    G = U S Vᵀ   ->   approximately U Vᵀ, by a few Newton-Schulz iterations, which are matrix products alone

It is for the weights of hidden layers; `AdamW` updates embeddings, output layers, biases and gains. `build_optimizer` makes
both as one.
"""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled, current
from samebits.nn.optimizer import Optimizer, Parameters, Slot

__all__ = ["Muon", "orthogonalized"]

Array = npt.NDArray[Any]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at 0, so that small singular values grow quickly


class Muon(Optimizer):
    """Momentum orthogonalized by Newton-Schulz iterations, as in PyTorch (which computes them in bfloat16).

        m = momentum * m + (1 - momentum) * g
        p = p - learning_rate * weight_decay * p
        p = p - learning_rate * sqrt(max(1, rows / columns)) * orthogonalized((1 - momentum) * g + momentum * m)

    With nesterov=False it is ``orthogonalized(m)``. Jordan et al., 2024, Muon: an optimizer for hidden layers in neural networks,
    https://kellerjordan.github.io/posts/muon.

    Args:
        parameters: See `Optimizer`; all must be matrices.
        learning_rate: The step size.
        momentum: The decay rate of the momentum, from 0 to below 1.
        nesterov: Whether to use Nesterov's variant, as in the formula.
        weight_decay: See `AdamW`.
        iterations: The number of Newton-Schulz iterations; with 5 the singular values end between 0.7 and 1.2.

    Raises:
        ValueError: A parameter is not a matrix, or an option is out of range.
        FloatingPointError: In exact arithmetic, a gradient is not finite; that parameter and its momentum are unchanged.

    Example:
        >>> from samebits.autograd import Tensor
        >>> x = Tensor([[1.0, 0.0], [0.0, -2.0]], requires_grad=True)
        >>> optimizer = Muon([x], learning_rate=0.5, weight_decay=0.0)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        iterations: int = 5,
    ) -> None:
        options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay, "iterations": iterations}
        super().__init__(parameters, learning_rate=learning_rate, **options)
        for slot in self.slots:
            if slot.tensor.ndim != 2 or not slot.tensor.size:
                raise ValueError(
                    f"Muon: parameter {slot.name!r} must be a matrix, got shape {slot.tensor.shape}; use AdamW for it"
                )

    def kinds(self, _: SimpleNamespace) -> tuple[str, ...]:
        return ("momentum",)

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        options, m = slot.options, slot.state["momentum"]
        keep, new = options.momentum, 1 - options.momentum
        moved = _blended(m, keep, g, new)
        try:
            direction = orthogonalized(_blended(moved, keep, g, new) if options.nesterov else moved, options.iterations)
        except FloatingPointError as error:
            raise FloatingPointError(f"Muon: the gradient of parameter {slot.name!r} must be finite: {error}") from error
        m[...] = moved
        rows, columns = p.shape
        size = rate * math.sqrt(max(1, rows / columns))
        p[...] = _blended(p, 1 - rate * options.weight_decay, direction, -size)


def orthogonalized(x: Array, iterations: int = 5) -> Array:
    """A matrix with the singular vectors of ``x`` and singular values near 1, of the same shape and dtype.

    ``X = x / max(norm(x), 1e-7)``; then, ``iterations`` times, ``A = X Xᵀ`` and ``X = a X + (b A + c A A) X``, which
    takes each singular value s to ``a s + b s³ + c s⁵``.

    Raises:
        FloatingPointError: ``x`` is not finite.

    Example:
        >>> orthogonalized(np.array([[3, 0, 0], [0, 5, 0]], np.float32)).round(1)
        array([[0.7, 0. , 0. ],
               [0. , 1. , 0. ]], dtype=float32)
    """
    numerics = current()
    a, b, c = COEFFICIENTS
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / np.maximum(numerics.norm(x), x.dtype.type(1e-7))
    for _ in range(iterations):
        squared = numerics.matmul(x, x.T)
        factor = _blended(squared, b, numerics.matmul(squared, squared), c)
        x = _blended(x, a, numerics.matmul(factor, x), 1)
    return x if wide else np.ascontiguousarray(x.T)


def _blended(x: Array, a: float, y: Array, b: float) -> Array:
    """a x + b y."""
    out = np.empty(x.shape, x.dtype)
    compiled.call(_blend, [out], [x, y], [np.array([a, b], x.dtype)])
    return out


@compiled.pair("blend", "f f f f")
def _blend(out: Array, x: Array, y: Array, numbers: Array) -> None:
    np.multiply(x, numbers[0], out=out)
    out += y * numbers[1]
