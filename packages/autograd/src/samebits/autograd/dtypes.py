"""Dtypes of tensors, and arrays from what users pass.

Floating tensors are float32; under ``numerics("fast")`` they may be float64. Integers are int64, and there is bool. In exact
arithmetic float64 arrays and NumPy float64 scalars are refused, because rounding them silently would lose what the caller
computed; Python numbers and lists are converted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd.graph import Array
from samebits.core import current

__all__ = ["KEPT", "fresh", "permitted", "refuse_float64"]

KEPT = {np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)}


def permitted(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype, if tensors may have it in the active arithmetic.

    Raises:
        TypeError: They may not.
    """
    target: np.dtype[Any] = np.dtype(dtype)
    if target not in KEPT and target.type not in current().dtypes:
        names = ", ".join([*(t.__name__ for t in current().dtypes), "int64"])
        remedy = '; float64 requires numerics("fast")' if target == np.float64 else ""
        raise TypeError(f"Tensor: dtype must be {names} or bool, got {target}{remedy}")
    return target


def refuse_float64(what: str, x: Any) -> None:
    """Raise TypeError where an array or a NumPy scalar is wider than the active arithmetic takes."""
    if x.dtype.kind == "f" and x.dtype.itemsize > 4 and x.dtype.type not in current().dtypes:
        name = what.rpartition(" ")[2]
        raise TypeError(f"{what} must be float32, got {x.dtype}; convert with {name}.astype(np.float32)")


def fresh(data: Any, dtype: npt.DTypeLike | None) -> Array:
    """A fresh array of a dtype that tensors may have; a NumPy scalar where it has no axes, which computes faster."""
    if isinstance(data, list | tuple) and _has_graph(data):
        raise TypeError("a list of tensors would lose their gradients: use stack() or concatenate()")
    typed = isinstance(data, np.ndarray | np.generic)
    array = np.array(data, copy=True, order="C")
    if dtype is not None:
        target: np.dtype[Any] = np.dtype(dtype)
    elif array.dtype.kind == "f" or (array.size == 0 and not typed):
        if typed:
            refuse_float64("Tensor: data", array)
        target = array.dtype if typed and array.dtype.type in current().dtypes else np.dtype(np.float32)
    else:
        target = np.dtype({"b": np.bool_, "i": np.int64, "u": np.int64}.get(array.dtype.kind, array.dtype))
    target = permitted(target)
    if target.kind == "i" and array.dtype.kind == "u" and array.size and array.max() > np.iinfo(target).max:
        raise OverflowError(f"Tensor: integers must fit in {target}, got {array.max()}")
    array = array.astype(target, copy=False)
    return array if array.ndim else array[()]


def _has_graph(data: Sequence[Any]) -> bool:
    """Whether a nested list has a tensor in it whose gradient would be lost."""
    return any(_has_graph(x) if isinstance(x, list | tuple) else getattr(x, "requires_grad", False) for x in data)
