"""Numerics: one interface to three arithmetics.

A formula is written once, against the functions of `Numerics`, and runs in the active arithmetic:

- ``exact`` (the default): float32 in and out, float64 inside kernels, the same bits everywhere;
- ``int16``: the same, but products are exact sums of 16-bit integers (`int16`), quicker and rounded more coarsely;
- ``fast``: plain NumPy and BLAS in float32 or float64, for speed and for gradient checks, without reproducible bits.

    with numerics("fast"):
        current().matmul(a, b)

The choice holds for the block, in this thread or task alone (`settings`). The functions of `samebits.core`
themselves (`samebits.core.matmul`) are always exact. Which functions an arithmetic is made of is decided here and nowhere
else: packages above `core` call what `current` returns, and do not ask for its name.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from samebits.core import (
    attention16,
    blocks,
    elementary,
    exponential,
    fast,
    indexing,
    int16,
    linalg,
    logarithm,
    mixing,
    nonfinite,
    reductions,
    summation,
    trigonometry,
)
from samebits.core.settings import Setting

__all__ = ["Attention", "ColumnSums", "Kernels", "Mixing", "Mode", "Numerics", "Products", "current", "numerics"]

Array = npt.NDArray[Any]
Function = Callable[..., Array]
Formula = Callable[..., object]
Kernel = Callable[[Array, Array], object]


Mode = Literal["exact", "int16", "fast"]
"""The name of an arithmetic."""


def _float64(_: npt.DTypeLike) -> np.dtype[Any]:
    return np.dtype(np.float64)


@dataclass(frozen=True, eq=False)
class Kernels:
    """Functions for use inside a block: ``kernel(x, out)`` on arrays of the working dtype, ``out`` being another array.

    Example:
        >>> x = np.zeros(2)
        >>> _ = current().kernels.exp(x, out := np.empty(2))
        >>> out
        array([1., 1.])
    """

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
    row_sums: Function
    """``row_sums(x)`` or ``row_sums(x, factors)``: the sums of the rows of x (rows, columns), or of x * factors."""
    group_sums: Function
    """``group_sums(x)``: the sums of groups of rows of x (rows, columns), for `ColumnSums`."""
    exp_sums: Callable[[Array], tuple[Array, Array, Array]]
    """``shifts, sums, logs = exp_sums(x)``: the sums of e^(x - shift) over the rows of x, and their logarithms; shifts are finite."""
    require_finite: Callable[[Array], None]
    """Raise FloatingPointError, without a message, if x is not finite; nothing in fast arithmetic."""


@dataclass(frozen=True, eq=False)
class Products:
    """Products of matrices inside a kernel, whose operands are prepared once and used several times.

    ``multiply(operand(a), operand(b, -2))`` is the product of a (..., m, K) and b (..., K, n) in the working dtype. A
    prepared operand may be indexed and transposed, and serves on either side.
    """

    operand: Function
    """``operand(x, axis=-1)``: x as an operand, K being the last axis, or with ``axis=-2`` the one before."""
    multiply: Function
    compact: Callable[[Array], linalg.Prepared | None] | None
    """As `Numerics.prepare`, in the memory of b; None where it is not possible. There is none in fast arithmetic."""


@dataclass(frozen=True, eq=False)
class Mixing:
    """Weighted sums of values, the core of attention; `samebits.core.mixing` has the shapes."""

    context: Callable[[Array, Array], mixing.Context]
    """Prepare keys and values."""
    empty: Callable[..., Any]
    """``empty(batch, groups, places, width, dtype)``: a context for a cache."""
    append: Callable[[Any, Array, Array, Array, Array], None]
    """Append keys and values to those of each sequence in a cache."""
    powers: Callable[[Array, Array], None]
    """e^(scores - shifts), in place."""
    weigh: Callable[[Array], tuple[Array, Array]]
    """Turn scores into weights, in place; return their sums and the log-sum-exp of the scores."""
    mix: Callable[[Array, Array, mixing.Context, Array], Array]
    """Multiply weights and values."""
    pull: Callable[[Array, Array], None]
    """Turn the gradient of weights into that of the scores, in place."""


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention in one step each way, where an arithmetic has it; `samebits.core.attention16` has the shapes."""

    forward: Callable[..., tuple[Array, Array]]
    cached: Callable[[Array, Any, Array, int], Array]
    backward: Callable[..., tuple[Array, Array, Array]]


@dataclass(frozen=True, eq=False)
class Numerics:
    """The functions of one arithmetic, with the signatures of those in `samebits.core`.

    Example:
        >>> isinstance(current(), Numerics)
        True
        >>> float(current().sum(np.ones(3, np.float32)))
        3.0
    """

    name: Mode
    dtypes: tuple[type[np.floating[Any]], ...]
    """The dtypes of arrays this arithmetic takes."""
    working: Callable[[npt.DTypeLike], np.dtype[Any]]
    """``working(dtype)``: the dtype that kernels compute in for such arrays: float64 in ``exact``, the same in ``fast``."""
    kernels: Kernels
    products: Products
    mixing: Mixing
    attention: Attention | None
    """None where attention is made of products and mixing."""

    prepare: Callable[[Array], Any]
    """``matmul(a, prepare(b))`` is ``matmul(a, b)``, and faster where one ``b`` serves many products."""
    matmul: Function
    linear: Function
    """``linear(a, b, bias)`` of matrices: ``matmul(a, b) + bias``, or without bias None; its errors have no message."""
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

    def checked(self, function: str, **arrays: Any) -> "Numerics":
        """Return this arithmetic, or raise TypeError unless the arrays are of one dtype, and one that it takes.

        Example:
            >>> EXACT.checked("linear", x=np.ones(2))
            Traceback (most recent call last):
            TypeError: linear: x must be float32, got float64; convert with x.astype(np.float32)
        """
        first, *others = arrays
        dtype = arrays[first].dtype
        if dtype.type not in self.dtypes:
            required = " or ".join([one.__name__ for one in self.dtypes])
            remedy = f"; convert with {first}.astype(np.float32)" if dtype.kind in "biuf" else ""
            raise TypeError(f"{function}: {first} must be {required}, got {dtype}{remedy}")
        for name in others:
            if arrays[name].dtype != dtype:
                raise TypeError(f"{function}: {name} must be {dtype} as {first} is, got {arrays[name].dtype}")
        return self

    def evaluate(self, function: str, formula: Formula, results: int = 1, **arrays: Array) -> Any:
        """Evaluate a formula at every element of arrays of one shape.

        Args:
            function: The name that errors begin with.
            formula: ``formula(kernels, *outs, *xs)`` fills ``outs`` from ``xs``, blocks of the arrays with one axis in the
                working dtype. ``xs`` must not be written to.
            results: The number of ``outs``.
            arrays: The arguments by name: all of one dtype; boolean arrays are passed unchanged.

        Returns:
            An array of the shape and dtype of the arguments, or a tuple of as many as there are results.

        Raises:
            TypeError: An argument has a dtype that the arithmetic does not take, or another one than the first.

        Example:
            >>> def formula(kernels, out, x, y):
            ...     np.multiply(x, y, out=out)
            >>> EXACT.evaluate("multiply", formula, x=np.full(2, 3, np.float32), y=np.full(2, 5, np.float32))
            array([15., 15.], dtype=float32)
        """
        self.checked(function, **{name: x for name, x in arrays.items() if x.dtype != np.bool_})
        first = next(iter(arrays.values()))
        outs = [np.empty(first.size, first.dtype) for _ in range(results)]
        self.evaluate_rows(formula, outs, [np.reshape(x, -1) for x in arrays.values()])
        if results == 1:
            return outs[0].reshape(first.shape)[()]  # a NumPy scalar where there are no axes
        return tuple(out.reshape(first.shape)[()] for out in outs)

    def evaluate_rows(
        self, formula: Formula, outs: Sequence[Array], xs: Sequence[Array], group: int = 1, *, shared: Sequence[Array] = ()
    ) -> None:
        """Fill ``outs`` by ``formula(kernels, *outs, *xs, *shared)``, block by block of rows, as `blocks.evaluate_rows` does.

        The working dtype is that for the first of ``xs``.
        """
        working = self.working(xs[0].dtype)
        blocks.evaluate_rows(formula, outs, xs, working, group, shared=shared, given=[self.kernels])


class ColumnSums:
    """Sums over all rows of arrays that come block by block, in groups of `GROUP_ROWS` rows.

    The blocks must be whole groups, except the last one: ``evaluate_rows(..., group=GROUP_ROWS)`` cuts them so.

    Args:
        kernels: Those of the arithmetic.
        columns: The number of columns.
        dtype: The working dtype.

    Example:
        >>> sums = ColumnSums(EXACT.kernels, 2, np.float64)
        >>> EXACT.evaluate_rows(lambda kernels, block: sums.add(block), [], [np.ones((100, 2), np.float32)], group=32)
        >>> sums.total()
        array([100., 100.])
    """

    def __init__(self, kernels: Kernels, columns: int, dtype: npt.DTypeLike) -> None:
        self.kernels = kernels
        self.groups: list[Array] = [np.zeros((1, columns), dtype)]

    def add(self, block: Array) -> None:
        """Add a block (rows, columns)."""
        self.groups.append(self.kernels.group_sums(block))

    def total(self) -> Array:
        """Return the sums (columns,)."""
        kernels = self.kernels
        return kernels.sum(np.concatenate(self.groups), 0)


EXACT = Numerics(
    name="exact",
    dtypes=(np.float32,),
    working=_float64,
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
        row_sums=summation.row_sums,
        group_sums=summation.group_sums,
        exp_sums=mixing.exp_sums,
        require_finite=nonfinite.require_finite,
    ),
    products=Products(operand=linalg.operand, multiply=linalg.multiply, compact=linalg.compact),
    mixing=Mixing(
        context=mixing.context,
        empty=mixing.empty,
        append=mixing.append,
        powers=mixing.powers,
        weigh=mixing.weigh,
        mix=mixing.mix,
        pull=mixing.pull,
    ),
    attention=None,
    prepare=linalg.prepare,
    matmul=linalg.matmul,
    linear=linalg.linear,
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

INT16 = replace(
    EXACT,
    name="int16",
    products=Products(operand=int16.operand, multiply=int16.multiply, compact=int16.compact),
    mixing=replace(EXACT.mixing, empty=attention16.empty, append=attention16.append),
    attention=Attention(forward=attention16.forward, cached=attention16.cached, backward=attention16.backward),
    prepare=int16.prepare,
    matmul=int16.matmul,
    linear=int16.linear,
    dot=int16.dot,
    vecdot=int16.vecdot,
)

FAST = Numerics(
    name="fast",
    dtypes=(np.float32, np.float64),
    working=np.dtype,
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
        row_sums=fast.row_sums,
        group_sums=fast.group_sums,
        exp_sums=fast.exp_sums,
        require_finite=fast.accept,
    ),
    products=Products(operand=fast.operand, multiply=fast.matmul, compact=None),
    mixing=Mixing(
        context=fast.context,
        empty=fast.empty,
        append=fast.append,
        powers=fast.powers,
        weigh=fast.weigh,
        mix=fast.mix,
        pull=fast.pull,
    ),
    attention=None,
    prepare=fast.prepare,
    matmul=fast.matmul,
    linear=fast.linear,
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

_ARITHMETICS = {"exact": EXACT, "int16": INT16, "fast": FAST}
_CURRENT = Setting("numerics", EXACT)


def current() -> Numerics:
    """Return the active arithmetic.

    Example:
        >>> current().name
        'exact'
    """
    return _CURRENT.get()


@contextmanager
def numerics(mode: Mode) -> Iterator[Numerics]:
    """Make one arithmetic the active one in a ``with`` block, in this thread or task.

    A generator that yields inside the block suspends it, and does not end it: the caller computes in that arithmetic too,
    until the generator goes on. Put the block around the computation, not around the ``yield``.

    Args:
        mode: ``"exact"``, ``"int16"`` or ``"fast"``.

    Yields:
        The functions of that arithmetic.

    Raises:
        ValueError: ``mode`` is none of these.

    Example:
        >>> import numpy as np
        >>> with numerics("fast") as num:
        ...     num.exp(np.zeros(2))
        array([1., 1.])
    """
    if mode not in _ARITHMETICS:
        raise ValueError(f"numerics: mode must be 'exact', 'int16' or 'fast', got {mode!r}")
    choice = _CURRENT.set(_ARITHMETICS[mode])
    try:
        yield choice.value
    finally:
        _CURRENT.reset(choice)
