"""Elementwise float32 functions evaluated in float64, a block at a time.

    cast a block to float64  ->  kernel(block, result)  ->  cast to float32, the one rounding

A block is small enough to stay in the processor's cache through all the operations of the kernel, and large enough to
make their calls cheap. An element's result depends on that element alone, so the size of the blocks cannot change a
bit. Nothing is shared between calls: any number of threads may evaluate at once.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Kernel = Callable[[NDArray[np.float64], NDArray[np.float64]], object]

BLOCK = 32768
_SINGLE = np.dtype(np.float32)
_NAN = np.array(0x7FC00000, np.uint32).view(np.float32)


def evaluate(kernel: Kernel, x: Singles, out: Singles | None = None, *, block: int = BLOCK) -> Singles:
    """`kernel` at every element of `x`, rounded to float32.

    Args:
        kernel: `kernel(x, out)` on float64 arrays with one axis; see `arithmetic`. Here `out` is not `x`.
        x: float32 of any shape and memory order; not modified, unless it is `out`.
        out: a float32 array of the shape of `x`, or None for a new one. It may overlap `x` in any way.
        block: how many elements are evaluated at a time.

    Returns:
        `out`. Every NaN in it has the bits 0x7fc00000.
    """
    direct = True
    if out is None:
        out = np.empty(x.shape, _SINGLE)
    else:
        direct = out.flags.c_contiguous and (out is x or not np.may_share_memory(out, x))
    source = x.reshape(-1)
    target = out.reshape(-1) if direct else np.empty(x.size, _SINGLE)
    with np.errstate(all="ignore"):
        for start in range(0, x.size, block):
            wide = source[start : start + block].astype(np.float64)
            result = np.empty_like(wide)
            kernel(wide, result)
            narrow(result, target[start : start + block])
    if not direct:
        out[...] = target.reshape(x.shape)
    return out


def narrow(wide: NDArray[np.float64] | Singles, out: Singles) -> Singles:
    """`wide` rounded to float32 into `out`, every NaN the one with the bits 0x7fc00000."""
    out[...] = wide
    nan = np.isnan(out)
    if np.count_nonzero(nan):
        np.copyto(out, _NAN, where=nan)
    return out
