"""One face, two arithmetics.

A kernel is written once, against the functions of `Numerics`, and runs in the arithmetic of the moment:

- ``exact`` (the default): float32 in and out, float64 inside kernels, the same bits everywhere;
- ``fast``: plain NumPy and BLAS in float32 or float64, for speed and for gradient checks, with no promise.

    with numerics("fast"):
        current().matmul(a, b)

The choice is a context variable: it holds for the block, in this thread or task alone. The functions of `samebits.core`
themselves (`samebits.core.matmul`) are always exact.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from samebits.core import elementary, exponential, fast, indexing, linalg, logarithm, reductions, summation, trigonometry

__all__ = ["Kernels", "Numerics", "current", "numerics"]

Array = npt.NDArray[Any]
Function = Callable[..., Array]
Kernel = Callable[[Array, Array], object]


@dataclass(frozen=True, eq=False)
class Kernels:
    """What a fused kernel computes with inside a block: ``kernel(x, out)`` on working arrays, ``out`` being another array."""

    exp: Kernel
    """To 7e-10 in exact arithmetic: 0.01 ulp of the float32 that the block ends as. The others are float64's own."""
    expm1: Kernel
    log: Kernel
    log1p: Kernel
    tanh: Kernel
    sigmoid: Kernel
    sin: Kernel
    cos: Kernel
    erf: Kernel
    sum: Callable[[Array, int], Array]
    """``sum(x, axis)``, in a new array."""


@dataclass(frozen=True, eq=False)
class Numerics:
    """The functions of one arithmetic, with the signatures of those in `samebits.core`."""

    name: Literal["exact", "fast"]
    dtypes: tuple[type[np.floating[Any]], ...]
    """The dtypes of arrays this arithmetic takes."""
    kernels: Kernels

    prepare: Callable[[Array], Any]
    """``matmul(a, prepare(b))`` is ``matmul(a, b)``, and quicker where one ``b`` serves many products."""
    matmul: Function
    dot: Function
    vecdot: Function
    sum: Function
    mean: Function
    var: Function
    std: Function
    max: Function
    min: Function
    norm: Function
    logsumexp: Function
    cumsum: Function
    argsort: Function
    bincount: Function
    segment_sum: Function
    scatter_add: Callable[[Array, Array, Array], None]
    embedding_gradient: Function
    exp: Function
    expm1: Function
    exp2: Function
    log: Function
    log1p: Function
    log2: Function
    log10: Function
    tanh: Function
    sigmoid: Function
    sin: Function
    cos: Function
    erf: Function
    sqrt: Function
    rsqrt: Function

    def working(self, dtype: npt.DTypeLike) -> np.dtype[Any]:
        """The dtype that kernels compute in for arrays of ``dtype``: float64 in ``exact``, the same in ``fast``."""
        return np.dtype(np.float64) if self.name == "exact" else np.dtype(dtype)


EXACT = Numerics(
    name="exact",
    dtypes=(np.float32,),
    kernels=Kernels(
        exp=exponential.exp_short,
        expm1=exponential.expm1,
        log=logarithm.log,
        log1p=logarithm.log1p,
        tanh=exponential.tanh,
        sigmoid=exponential.sigmoid,
        sin=trigonometry.sin,
        cos=trigonometry.cos,
        erf=exponential.erf,
        sum=summation.pairwise_sum,
    ),
    prepare=linalg.prepare,
    matmul=linalg.matmul,
    dot=linalg.dot,
    vecdot=linalg.vecdot,
    sum=reductions.sum,
    mean=reductions.mean,
    var=reductions.var,
    std=reductions.std,
    max=reductions.max,
    min=reductions.min,
    norm=reductions.norm,
    logsumexp=reductions.logsumexp,
    cumsum=reductions.cumsum,
    argsort=indexing.argsort,
    bincount=indexing.bincount,
    segment_sum=indexing.segment_sum,
    scatter_add=indexing.scatter_add,
    embedding_gradient=indexing.embedding_gradient,
    exp=elementary.exp,
    expm1=elementary.expm1,
    exp2=elementary.exp2,
    log=elementary.log,
    log1p=elementary.log1p,
    log2=elementary.log2,
    log10=elementary.log10,
    tanh=elementary.tanh,
    sigmoid=elementary.sigmoid,
    sin=elementary.sin,
    cos=elementary.cos,
    erf=elementary.erf,
    sqrt=elementary.sqrt,
    rsqrt=elementary.rsqrt,
)

FAST = Numerics(
    name="fast",
    dtypes=(np.float32, np.float64),
    kernels=Kernels(
        exp=fast.exp,
        expm1=fast.expm1,
        log=fast.log,
        log1p=fast.log1p,
        tanh=fast.tanh,
        sigmoid=fast.sigmoid,
        sin=fast.sin,
        cos=fast.cos,
        erf=fast.erf,
        sum=fast.total,
    ),
    prepare=fast.prepare,
    matmul=fast.matmul,
    dot=fast.dot,
    vecdot=fast.vecdot,
    sum=fast.sum,
    mean=fast.mean,
    var=fast.var,
    std=fast.std,
    max=fast.max,
    min=fast.min,
    norm=fast.norm,
    logsumexp=fast.logsumexp,
    cumsum=fast.cumsum,
    argsort=fast.argsort,
    bincount=fast.bincount,
    segment_sum=fast.segment_sum,
    scatter_add=fast.scatter_add,
    embedding_gradient=fast.embedding_gradient,
    exp=fast.exp,
    expm1=fast.expm1,
    exp2=fast.exp2,
    log=fast.log,
    log1p=fast.log1p,
    log2=fast.log2,
    log10=fast.log10,
    tanh=fast.tanh,
    sigmoid=fast.sigmoid,
    sin=fast.sin,
    cos=fast.cos,
    erf=fast.erf,
    sqrt=fast.sqrt,
    rsqrt=fast.rsqrt,
)

_ARITHMETICS = {"exact": EXACT, "fast": FAST}
_CURRENT: ContextVar[Numerics] = ContextVar("numerics", default=EXACT)


def current() -> Numerics:
    """The arithmetic of the moment.

    Example:
        >>> current().name
        'exact'
    """
    return _CURRENT.get()


@contextmanager
def numerics(mode: Literal["exact", "fast"]) -> Iterator[Numerics]:
    """Compute in one arithmetic for the length of a ``with`` block.

    Args:
        mode: ``"exact"`` or ``"fast"``.

    Yields:
        The functions of that arithmetic.

    Raises:
        ValueError: ``mode`` is neither.

    Example:
        >>> import numpy as np
        >>> with numerics("fast") as num:
        ...     num.exp(np.zeros(2))
        array([1., 1.])
    """
    if mode not in _ARITHMETICS:
        raise ValueError(f"numerics: mode must be 'exact' or 'fast', got {mode!r}")
    token = _CURRENT.set(_ARITHMETICS[mode])
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)
