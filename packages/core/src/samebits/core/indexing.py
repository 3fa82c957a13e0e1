"""Sorting and sums by index: `argsort`, `segment_sum`, `scatter_add`, `bincount`, `embedding_gradient`.

A stable sort has one result. The values of one id are summed in float64 in the order they come in, in runs of 64, and the
sums of the runs, if there are several, in the same way. So the order of the additions depends on how often an id occurs,
and on nothing else. The k-th values of all runs are added at once, which is fast:

    ids 2 0 2 2 0    values a b c d e    ->    0: b, 2: a    ->    0: b + e, 2: a + c    ->    2: (a + c) + d

Sums are rounded to float32 once. inf and NaN are kept; NaN is always 0x7fc00000, and zeros are positive. Ids may be
integers of any dtype, or lists of ints.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.core.arguments import axis_index, float_array, integer, integer_array
from samebits.core.arithmetic import Float32, Int64
from samebits.core.grid import rounded

__all__ = ["argsort", "bincount", "embedding_gradient", "least", "scatter_add", "segment_sum", "totals"]

_RUN = 64
_SPARE = 128  # elements that the compiled version of `least` collects before it drops some


def argsort(x: npt.ArrayLike, /, axis: int | None = -1) -> Int64:
    """Indices that sort ``x`` along ``axis``; equal elements keep their order.

    NaNs come last, and -0.0 equals 0.0.

    Args:
        x: float32 or integers of any shape, or Python numbers.
        axis: An int, or None to flatten ``x`` first.

    Returns:
        int64 of the shape of ``x``, or (x.size,) if ``axis`` is None.

    Raises:
        TypeError: ``x`` has another dtype, or ``axis`` is no int.
        ValueError: ``x`` does not have the axis.

    Example:
        >>> import numpy as np
        >>> argsort(np.array([3, np.nan, 1, 3], np.float32)).tolist()
        [2, 0, 3, 1]
    """
    if np.asarray(x).dtype.kind in "iu":
        array: npt.NDArray[Any] = integer_array("argsort", "x", x)
    else:
        array = float_array("argsort", "x", x)
    if axis is None:
        array, axis = array.reshape(-1), -1
    elif axis_index("argsort", axis, array.ndim) != array.ndim - 1:
        return np.ascontiguousarray(argsort(array.swapaxes(axis, -1)).swapaxes(axis, -1))
    return least(array, array.shape[-1])


def least(x: npt.NDArray[Any], count: int) -> Int64:
    """Indices of the least elements of float32 or integer x (..., N) in each row, int64 (..., count): the first that `argsort` gives.

    ``count`` is at least 1.

    >>> import numpy as np
    >>> least(np.array([3, np.nan, 1, 3], np.float32), 2)
    array([2, 0])
    """
    length, lead = x.shape[-1], x.shape[:-1]
    count = min(count, length)
    order, size = np.empty((*lead, count), np.int64), min(length, 2 * count + _SPARE)
    memory, sizes = np.empty((*lead, 2 * size), np.uint64), compiled.integers(count, size)
    compiled.call(_order, [order, memory], [x], [sizes], (math.prod(lead), length))
    return order


@compiled.pair("order_rows", "q Q f q")
def _order(order: Int64, _: npt.NDArray[np.uint64], x: npt.NDArray[Any], __: Int64) -> None:
    order[...] = np.argsort(x, axis=-1, kind="stable")[..., : order.shape[-1]]


def segment_sum(values: npt.ArrayLike, ids: npt.ArrayLike, num_segments: int) -> Float32:
    """Sums of the values with the same id; 0 for ids that do not occur.

    Args:
        values: float32 (N, ...).
        ids: Integers (N,) from 0 to ``num_segments`` - 1.
        num_segments: The length of the result.

    Returns:
        float32 (num_segments, ...).

    Raises:
        TypeError: ``values`` is not float32, ``ids`` not integers, or ``num_segments`` no int.
        ValueError: The shapes do not fit, or ``num_segments`` is negative.
        IndexError: An id is out of range. The message names the first.

    Example:
        >>> import numpy as np
        >>> segment_sum(np.array([1, 2, 4], np.float32), [2, 0, 2], 4)
        array([2., 0., 5., 0.], dtype=float32)
    """
    values = float_array("segment_sum", "values", values)
    segments = integer("segment_sum", "num_segments", num_segments, least=0)
    return _segment_sum("segment_sum", values, _ids("segment_sum", ids), segments)


def scatter_add(target: Float32, ids: npt.ArrayLike, values: npt.ArrayLike) -> None:
    """Add values to the rows of ``target`` with their ids, in place; repeated ids add up.

    A row becomes ``row + (sum of its values)``, in float64 and rounded once. (``target[ids] += values`` in NumPy adds one
    value for each id; ``np.add.at`` is the counterpart.)

    Args:
        target: float32 (V, ...), an array.
        ids: Integers (N,) from 0 to V - 1.
        values: float32 (N, ...).

    Raises:
        TypeError, ValueError, IndexError: As `segment_sum`; ``target`` is unchanged then.

    Example:
        >>> import numpy as np
        >>> target = np.ones(3, np.float32)
        >>> scatter_add(target, [2, 0, 2], np.array([1, 2, 4], np.float32))
        >>> target
        array([3., 1., 6.], dtype=float32)
    """
    if not isinstance(target, np.ndarray) or target.ndim == 0:
        given = f"shape {target.shape}" if isinstance(target, np.ndarray) else type(target).__name__
        raise TypeError(f"scatter_add: target must be an array with at least one axis, got {given}")
    float_array("scatter_add", "target", target)
    values, ids = float_array("scatter_add", "values", values), _ids("scatter_add", ids)
    if target.shape[1:] != values.shape[1:]:
        shape = (*values.shape[:1], *target.shape[1:])
        raise ValueError(f"scatter_add: values must have shape {shape} to fit target {target.shape}, got {values.shape}")
    found, sums = totals("scatter_add", values, ids, len(target))
    with np.errstate(all="ignore"):
        target[found] = rounded(target[found] + sums)


def bincount(ids: npt.ArrayLike, weights: npt.ArrayLike | None = None, minlength: int = 0) -> Int64 | Float32:
    """Number of occurrences of each id, or the sums of their weights.

    Unlike in the other sums by id, the weights of an id are added one after the other, as ``np.bincount`` documents it.

    Args:
        ids: Integers (N,), none negative.
        weights: float32 (N,), or None to count.
        minlength: The least length of the result.

    Returns:
        int64 (max(ids) + 1,), or float32 with ``weights`` (NumPy returns float64 there).

    Raises:
        TypeError, ValueError, IndexError: As `segment_sum`.

    Example:
        >>> bincount([2, 0, 2]).tolist()
        [1, 0, 2]
    """
    ids = _ids("bincount", ids)
    length = max(int(ids.max(initial=-1)) + 1, integer("bincount", "minlength", minlength, least=0))
    _check_range("bincount", ids, length)
    indices = ids.astype(np.intp)
    if weights is None:
        return np.bincount(indices, minlength=length).astype(np.int64)
    weights = float_array("bincount", "weights", weights)
    if weights.shape != ids.shape:
        raise ValueError(f"bincount: weights must have shape {ids.shape}, as ids, got {weights.shape}")
    with np.errstate(all="ignore"):
        return rounded(np.bincount(indices, weights.astype(np.float64), minlength=length).astype(np.float64))


def embedding_gradient(ids: npt.ArrayLike, gradient: npt.ArrayLike, vocabulary_size: int) -> Float32:
    """Gradient of ``embedding[ids]`` for the embedding (V, C): the sums of the rows of ``gradient`` with the same id.

    Args:
        ids: Integers (...) from 0 to V - 1.
        gradient: float32 (..., C).
        vocabulary_size: V.

    Returns:
        float32 (V, C).

    Raises:
        TypeError, ValueError, IndexError: As `segment_sum`.

    Example:
        >>> import numpy as np
        >>> embedding_gradient([[1, 1]], np.ones((1, 2, 3), np.float32), 2)
        array([[0., 0., 0.],
               [2., 2., 2.]], dtype=float32)
    """
    gradient = float_array("embedding_gradient", "gradient", gradient)
    ids = integer_array("embedding_gradient", "ids", ids)
    if gradient.shape[:-1] != ids.shape or gradient.ndim == 0:
        raise ValueError(
            f"embedding_gradient: gradient must have the shape of ids, {ids.shape}, and one axis more, got {gradient.shape}"
        )
    segments = integer("embedding_gradient", "vocabulary_size", vocabulary_size, least=0)
    return _segment_sum("embedding_gradient", gradient.reshape(ids.size, gradient.shape[-1]), ids.reshape(-1), segments)


def _segment_sum(function: str, values: Float32, ids: Int64, segments: int) -> Float32:
    found, sums = totals(function, values, ids, segments)
    result = np.zeros((segments, *values.shape[1:]), np.float32)
    with np.errstate(all="ignore"):
        result[found] = rounded(sums)
    return result


def totals(
    function: str, values: Any, ids: Int64, segments: int, dtype: npt.DTypeLike = np.float64
) -> tuple[Int64, npt.NDArray[Any]]:
    """Return the ids that occur, each once in no particular order, and the sums of their values, taken in ``dtype``."""
    if values.shape[:1] != ids.shape:
        raise ValueError(f"{function}: values must have {len(ids)} rows, one for each id, got shape {values.shape}")
    _check_range(function, ids, segments)
    order = argsort(ids)
    arranged = ids[order]
    starts = np.flatnonzero(np.append(True, arranged[1:] != arranged[:-1])[: len(ids)])
    found, counts = arranged[starts], np.diff(starts, append=len(ids))
    sums = np.empty((len(found), *values.shape[1:]), dtype)
    compiled.call(_sums, [sums], [starts, counts], [values, order], (len(found), math.prod(values.shape[1:])))
    return found, sums


@compiled.pair("segment_sums", "d q q f q")
def _sums(sums: npt.NDArray[Any], starts: Int64, counts: Int64, values: Any, order: Int64) -> None:
    """Sum values[order[start : start + count]] of each segment: runs of _RUN first, then runs of their sums, and so on."""
    rows, dtype = values, sums.dtype
    while True:
        runs = (counts + (_RUN - 1)) // _RUN
        firsts = np.add.accumulate(runs) - runs  # whole numbers
        before = _RUN * (np.arange(int(runs.sum()), dtype=np.int64) - np.repeat(firsts, runs))
        run_starts, run_counts = np.repeat(starts, runs) + before, np.minimum(np.repeat(counts, runs) - before, _RUN)
        longest_first = np.argsort(-run_counts, kind="stable")
        found = _run_sums(rows, order, run_starts[longest_first], run_counts[longest_first], dtype)
        if len(found) == len(sums):
            sums[longest_first] = found
            return
        rows, order, starts, counts = found, np.argsort(longest_first, kind="stable"), firsts, runs


def _run_sums(rows: Any, order: Int64, starts: Int64, counts: Int64, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Sum rows[order[start : start + count]], one after the other; the counts must not increase."""
    sums: npt.NDArray[Any] = rows.take(order[starts], axis=0).astype(dtype, copy=False)
    with np.errstate(all="ignore"):
        for k in range(1, int(counts[0]) if len(counts) else 0):
            longer = starts[: np.count_nonzero(counts > k)]
            sums[: len(longer)] += rows.take(order[longer + k], axis=0)
    return sums


def _ids(function: str, ids: npt.ArrayLike) -> Int64:
    ids = integer_array(function, "ids", ids)
    if ids.ndim != 1:
        raise ValueError(f"{function}: ids must have 1 axis, got shape {ids.shape}")
    return ids


def _check_range(function: str, ids: Int64, segments: int) -> None:
    bad = np.flatnonzero((ids < 0) | (ids >= segments))
    if bad.size:
        raise IndexError(f"{function}: ids[{bad[0]}] must be at least 0 and below {segments}, got {ids[bad[0]]}")
