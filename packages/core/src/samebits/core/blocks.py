"""Evaluation in blocks that fit the processor's cache.

    a block of the rows, in the working dtype  ->  formula(*outs, *xs)  ->  one rounding into the results

A block stays in a core's cache through all operations of a formula, and is large enough to make their calls cheap. A
row of the result depends on its own row of the arguments alone (elements are rows of length 1), so the sizes named here
cannot change a bit: `CACHE_BYTES` and `PRODUCT_BYTES` may be tuned. `GROUP_ROWS` is different: it is part of the
definition of sums over rows. Nothing is shared between calls, so any number of threads may evaluate at once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.core.arithmetic import Float32, Float64

__all__ = [
    "CACHE_BYTES",
    "CACHE_LINE",
    "GROUP_ROWS",
    "PRODUCT_BYTES",
    "aligned",
    "block_elements",
    "evaluate",
    "evaluate_rows",
    "is_whole",
    "row_blocks",
    "store",
]

Array = npt.NDArray[Any]
Formula = Callable[..., object]
Kernel = Callable[[Float64, Float64], object]

CACHE_BYTES = 2**18
"""Bytes of a block of one array: the block and the few temporaries of a formula stay in a core's second-level cache."""
PRODUCT_BYTES = 2**23
"""Bytes of the operands and the result of a matrix product that are worked on together."""
CACHE_LINE = 64
"""Bytes."""
GROUP_ROWS = 32
"""Rows added up together in sums over rows that come block by block. Another number would change their bits."""

_LARGE = 2**18  # bytes of an array whose alignment is worth a few microseconds
_NAN = np.array(0x7FC00000, np.uint32).view(np.float32)


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return an array with any values. A large one begins at a cache line, where kernels write it and read it faster.

    Example:
        >>> aligned((256, 256), np.float32).ctypes.data % CACHE_LINE
        0
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes < _LARGE:
        return np.empty(shape, dtype)
    memory = np.empty(nbytes + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return np.ndarray(shape, dtype, memory, start)


def is_whole(array: Array, owner: Array) -> bool:
    """Return whether an array is all of the array that owns its memory, or was made by `aligned`.

    Example:
        >>> x = aligned((256, 256), np.float32)
        >>> is_whole(x, x.base), is_whole(x[1:], x.base)
        (True, False)
    """
    more = owner.nbytes - array.nbytes
    return more == 0 or (more == CACHE_LINE and owner.dtype == np.uint8)


def block_elements(itemsize: int = 8) -> int:
    """Return how many elements of a size in bytes make a block.

    Example:
        >>> block_elements(8) == CACHE_BYTES // 8
        True
    """
    return max(1, CACHE_BYTES // itemsize)


def row_blocks(count: int, length: int = 1, itemsize: int = 8, group: int = 1) -> list[slice]:
    """Cut ``count`` rows of ``length`` elements into blocks of about `CACHE_BYTES`, whole groups of ``group`` rows each.

    Example:
        >>> row_blocks(10, length=CACHE_BYTES // 32)
        [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
    """
    height = max(1, block_elements(itemsize) // (max(1, length) * group)) * group
    return [slice(start, min(start + height, count)) for start in range(0, count, height)]


def evaluate_rows(
    formula: Formula,
    outs: Sequence[Array],
    xs: Sequence[Array],
    working: npt.DTypeLike = np.float64,
    group: int = 1,
    *,
    shared: Sequence[Array] = (),
    given: Sequence[Any] = (),
) -> None:
    """Fill arrays by a formula, block by block of their rows; by its compiled version where there is one (`compiled`).

    Args:
        formula: ``formula(*given, *outs, *xs, *shared)`` fills the blocks of ``outs`` from those of ``xs``. Floating blocks
            have the working dtype, others their own. The blocks of ``xs`` must not be written to.
        outs: Arrays to fill, perhaps none. They must not overlap ``xs``.
        xs: The arguments; all arrays have one length of their first axis.
        working: The dtype to compute in. The results are rounded from it once, by `store`.
        group: A block is a multiple of so many rows, except the last one.
        shared: Arrays that are the same for all blocks, passed unchanged.
        given: What else the NumPy version is given, such as the functions it is made of.
    """
    count, working = len(xs[0]), np.dtype(working)
    if working == np.float64 and compiled.run(formula, outs, xs, shared, group=group):
        return
    length = max([x.size for x in (*outs, *xs)]) // max(1, count)
    with np.errstate(all="ignore"):
        for part in row_blocks(count, length, working.itemsize, group):
            targets = [out[part] for out in outs]
            # the arguments first: in this order of allocation the results are nearer in the cache
            blocks = [x[part].astype(working, copy=False) if x.dtype.kind == "f" else x[part] for x in xs]
            results = [out if out.dtype == working else np.empty(out.shape, working) for out in targets]
            formula(*given, *results, *blocks, *shared)
            for result, target in zip(results, targets, strict=True):
                store(result, target)


def evaluate(kernel: Kernel, x: Float32, out: Float32 | None = None) -> Float32:
    """Evaluate a float64 kernel at every element of a float32 array.

    Args:
        kernel: ``kernel(x, out)`` on float64 arrays with one axis (`arithmetic`). Here ``out`` is not ``x``.
        x: Float32 of any shape and memory order; not modified, unless it is ``out``.
        out: A float32 array of the shape of ``x``, or None for a new one. It may overlap ``x`` in any way.

    Returns:
        ``out``. Every NaN in it has the bits 0x7fc00000.
    """
    direct = True
    if out is None:
        out = np.empty(x.shape, np.float32)
    else:
        direct = out.flags.c_contiguous and (out is x or not np.may_share_memory(out, x))
    if direct and x.flags.c_contiguous and compiled.run(kernel, [out], [x], work=(x.size, 1)):
        return out
    target = out.reshape(-1) if direct else np.empty(x.size, np.float32)
    flat = x.reshape(-1)
    if not compiled.run(kernel, [target], [flat]):
        evaluate_rows(lambda result, block: kernel(block, result), [target], [flat])
    if not direct:
        out[...] = target.reshape(x.shape)
    return out


def narrow(wide: Float64 | Float32, out: Float32) -> Float32:
    """Round to float32 into ``out``, every NaN to the one with the bits 0x7fc00000."""
    out[...] = wide
    nan = np.isnan(out)
    if np.count_nonzero(nan):
        np.copyto(out, _NAN, where=nan)
    return out


def store(values: Array, out: Array) -> Array:
    """Put values of the working dtype into ``out``, rounded as by `narrow` where that is narrower; return ``out``.

    Example:
        >>> store(np.array([1.0, np.nan]), np.empty(2, np.float32))
        array([ 1., nan], dtype=float32)
    """
    if values.dtype != out.dtype:
        return narrow(values, out)
    if values is not out:
        out[...] = values
    return out
