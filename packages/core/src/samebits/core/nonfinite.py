"""Errors for infinities and NaN, which lie on no grid.

What works on blocks or in the middle of a formula raises a FloatingPointError without a message, by `require_finite` or
as `grid_vectors` does. The public function that called it knows the names of its arguments and finds the place.
"""

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

__all__ = ["refuse_non_finite", "refuse_rows", "require_finite"]

Array = npt.NDArray[Any]


def require_finite(x: Array) -> None:
    """Raise FloatingPointError, without a message, if ``x`` has an infinity or a NaN."""
    if not np.isfinite(x).all():
        raise FloatingPointError


def refuse_non_finite(function: str, **operands: Array) -> NoReturn:
    """Raise FloatingPointError with the first infinity or NaN, in C order, of the first operand that has one.

    Example:
        >>> refuse_non_finite("matmul", a=np.ones(2), b=np.array([[1.0, np.inf]]))
        Traceback (most recent call last):
        FloatingPointError: matmul: b[0, 1] must be finite, got inf
    """
    name, x = next((name, x) for name, x in operands.items() if not np.isfinite(x).all())
    index = tuple(int(i) for i in np.unravel_index(int(np.argmin(np.isfinite(x))), x.shape))
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    raise FloatingPointError(f"{function}: {place} must be finite, got {x[index]}") from None


def refuse_rows(function: str, name: str, x: Array, counted: Array | None = None) -> NoReturn:
    """Raise FloatingPointError for the first row of x (..., n) whose maximum is not finite.

    Args:
        function: The name of the public function.
        name: The name of ``x``.
        x: Floating.
        counted: Which rows to look at, bool, flat; by default all.

    Example:
        >>> refuse_rows("softmax", "x", np.array([[0.0, 1.0], [0.0, np.inf]]))
        Traceback (most recent call last):
        FloatingPointError: softmax: row [1] of x must have a finite maximum, got inf
    """
    rows = x.reshape(-1, x.shape[-1])
    bad = ~np.isfinite(np.maximum.reduce(rows, axis=-1))
    row = int(np.argmax(bad if counted is None else bad & counted))
    place = ", ".join(str(int(i)) for i in np.unravel_index(row, x.shape[:-1])) if x.ndim > 1 else ""
    worst = np.maximum.reduce(rows[row])
    raise FloatingPointError(f"{function}: row [{place}] of {name} must have a finite maximum, got {worst}") from None
