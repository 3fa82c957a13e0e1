"""Products with quantized matrices: exact sums of integers in each group, times the group's scale.

    weights of a group    w = s q + m            q an integer of 8 bits, s and m float32 (`block_formats`)
    row x, same group     x = a 2^(e - 15)       a an integer below 2^15

    y = the sum over groups, in order, of  (s sum(q a) + m sum(a)) 2^(e - 15)

A group has 32 weights (Q6_K: 16). e is the least integer, and at least -100, with max |x| < 2^e (1 - 2^-16), of the group's part of x.
So a = round-half-even(x 2^(15 - e)) is at most 32767, and with |q| <= 128

    |sum(q a)| <= 32 2^7 2^15 = 2^27                                int32 holds every partial sum, in any order
    s sum(q a) has at most 24 + 28 bits, m sum(a) 24 + 21           float64 holds both, times a power of two, exactly

The two are added, then the groups, in float64, which rounds; and the result once to float32. All else is exact. A row of x depends on
nothing but itself, so the bits are the same alone and in a batch, and in any split of the rows or outputs.

Rounding moves an element of x by 2^(e - 16) at most, which is 2^-15 of the largest of its group: the result is less than
2^-15 (1 + 2^-14) times the sum of |w| max |x| from the true one, typically 3e-5 of the size of the results. Groups below 2^-100 have the grid of 2^-100.

Q4_0, Q4_1 and Q8_0 are read as they are in the file. The others are repacked once, as integers of 8 bits and float32 scales.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.core.arithmetic import Float32, Float64, Int64
from samebits.core.block_formats import FORMATS, Integers, weights_of
from samebits.core.blocks import row_blocks, store
from samebits.core.compiled import pair
from samebits.core.mixing import power_of_two
from samebits.core.nonfinite import refuse_non_finite

__all__ = ["QuantizedMatrix"]

Array = npt.NDArray[Any]
UInt8 = npt.NDArray[np.uint8]

_BITS = np.int64(15)
_LEAST = np.int64(-100)  # of e
_FEW_ROWS = 96  # of which threads share the outputs, at least so many at a time, as each puts all rows on their grids
_OUTPUTS = 144
_ROWS = 48  # of more, they share the rows
_READING = 3  # weights are read in the time that so many rows take to be multiplied by them
_PER_ELEMENT = 24  # weights and rows that take the time of one element of other kernels
_ZERO = np.array(0, np.float32)
_DECODE = {name: one.decode for name, one in FORMATS.items() if one.decode is not None}
_WIDE = np.dtype([("s", "<f4"), ("m", "<f4"), ("q", "i1", 32)])
_NARROW = np.dtype([("s", "<f4"), ("q", "i1", 16)])


def _wide(blocks: Array) -> Integers:
    return Integers(blocks["q"][:, None], blocks["s"][:, None], blocks["m"][:, None])


def _narrow(blocks: Array) -> Integers:
    return Integers(blocks["q"][:, None], blocks["s"][:, None], None)


# The blocks that kernels read, each of one group, by their numbers there.
_LAYOUTS: list[tuple[np.dtype[Any], Callable[[Array], Integers]]] = [
    *[(FORMATS[name].block, _DECODE[name]) for name in ("Q4_0", "Q4_1", "Q8_0")],
    (_WIDE, _wide),
    (_NARROW, _narrow),
]


class QuantizedMatrix:
    """A matrix (N, K) of weights in a block format.

    Args:
        blocks: Blocks (N, K / weights of a block) of the dtype of the format. They are not copied if they are C-contiguous and the format
            is Q4_0, Q4_1 or Q8_0, and must not be changed then.
        name: The name of the format: one of `FORMATS` with several weights in a block.

    Raises:
        FloatingPointError: A scale is infinite or NaN.
        ValueError: There is no such format, or the blocks have another dtype, do not have two axes, or are empty.

    Example:
        >>> from samebits.core.block_formats import quantize
        >>> weights = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)
        >>> matrix = QuantizedMatrix(quantize(weights, "Q8_0"), "Q8_0")
        >>> matrix
        QuantizedMatrix((2, 64), Q8_0)
        >>> bool(abs(matrix.multiply(weights) - weights @ weights.T).max() < 0.05)
        True
    """

    dtype = np.dtype(np.float32)
    """Of what it is multiplied by, and of the result."""

    def __init__(self, blocks: Array, name: str) -> None:
        if name not in _DECODE:
            raise ValueError(f"QuantizedMatrix: name must be one of {', '.join(_DECODE)}, got {name!r}")
        weights, dtype, _ = FORMATS[name]
        if blocks.dtype != dtype or blocks.ndim != 2 or not blocks.size:
            raise ValueError(
                f"QuantizedMatrix: blocks must be {dtype}, in rows and not empty, for {name}, got {blocks.dtype} of shape {blocks.shape}"
            )
        scales = {field: blocks[field] for field in ("d", "m", "e") if field in (dtype.names or ())}
        for scale in scales.values():
            if ((scale.view("<u2") & np.uint16(0x7C00)) == np.uint16(0x7C00)).any():
                refuse_non_finite("QuantizedMatrix", **scales)
        self.name = name
        self.shape = len(blocks), blocks.shape[1] * weights
        self._blocks = np.ascontiguousarray(blocks) if any(dtype == one for one, _ in _LAYOUTS) else _repacked(blocks, name)
        self._layout = [one for one, _ in _LAYOUTS].index(self._blocks.dtype)
        self._bytes: UInt8 = self._blocks.view(np.uint8)

    def __repr__(self) -> str:
        return f"QuantizedMatrix({self.shape}, {self.name})"

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(self._blocks.nbytes)

    def multiply(self, x: Float32) -> Float32:
        """The product x Wᵀ.

        Args:
            x: float32 (..., K).

        Returns:
            float32 (..., N).

        Raises:
            FloatingPointError: x is not finite.
            TypeError: x is not float32.
            ValueError: x does not have the shape (..., K).
        """
        outputs, length = self.shape
        if x.dtype != self.dtype:
            raise TypeError(f"multiply: x must be float32, got {x.dtype}; convert with x.astype(np.float32)")
        if not x.ndim or x.shape[-1] != length:
            raise ValueError(f"multiply: x must have shape (..., {length}), got {x.shape}")
        rows = x.reshape(x.size // length, length)
        out = np.empty((len(rows), outputs), np.float32)
        few = len(rows) <= _FEW_ROWS
        each = (_READING + len(rows)) * length // _PER_ELEMENT
        work, group = ((outputs, each), _OUTPUTS) if few else ((len(rows), outputs * length // _PER_ELEMENT), _ROWS)
        shared = [self._bytes, compiled.integers(len(rows), length, outputs, self._layout, few)]
        try:
            compiled.call(_multiply, [out], [rows], shared, work, group=group)
        except FloatingPointError:
            refuse_non_finite("multiply", x=x)
        return out.reshape(*x.shape[:-1], outputs)

    def rows(self, ids: Array) -> Float32:
        """The rows at ids (...), float32 (..., K), with the bits of `block_formats.dequantize`."""
        blocks = self._blocks[ids]
        return weights_of(_LAYOUTS[self._layout][1](blocks.reshape(-1))).reshape(*blocks.shape[:-1], self.shape[1])

    def permuted(self, order: Array) -> "QuantizedMatrix":
        """A matrix of the rows at order (n,), copied."""
        found = object.__new__(QuantizedMatrix)
        found.name, found._layout, found._blocks = self.name, self._layout, self._blocks[order]
        found.shape, found._bytes = (len(found._blocks), self.shape[1]), found._blocks.view(np.uint8)
        return found


def _repacked(blocks: Array, name: str) -> Array:
    """Blocks (N, B) as those of one group each, (N, groups), with integers of 8 bits."""
    flat, (weights, _, _), layout = blocks.reshape(-1), FORMATS[name], _NARROW if name == "Q6_K" else _WIDE
    result = np.empty((len(flat), weights // layout["q"].shape[0]), layout)
    for part in row_blocks(len(flat), weights):
        found = _DECODE[name](flat[part])
        result["q"][part], result["s"][part] = found.q, found.scale
        if layout is _WIDE:  # adding -0 changes nothing
            result["m"][part] = np.float32(-0.0) if found.offset is None else found.offset
    return result.reshape(len(blocks), -1)


def _as_integers(x: Float32) -> tuple[Float64, Float64]:
    """The a of groups (..., n), as float64, and their scales (...)."""
    tops = np.maximum.reduce(x.view(np.uint32) & np.uint32(0x7FFFFFFF), axis=-1)
    if (tops >= np.uint32(0x7F800000)).any():
        raise FloatingPointError
    exponents = ((tops + np.uint32(0x100)) >> np.uint32(23)).astype(np.int64) - np.int64(126)
    exponents = np.maximum(exponents, _LEAST)
    integers = np.rint(x * power_of_two(_BITS - exponents)[..., None])
    return integers, power_of_two(exponents - _BITS)


@pair("multiply_quantized", "f f B q")
def _multiply(out: Float32, x: Float32, blocks: UInt8, sizes: Int64) -> None:
    _, length, outputs, number, _ = map(int, sizes)
    dtype, decode = _LAYOUTS[number]
    weights = blocks.view(dtype)
    groups = weights.shape[1]
    for rows in row_blocks(len(x), length):
        integers, scales = _as_integers(x[rows].reshape(-1, groups, length // groups))
        left, sums = integers.swapaxes(0, 1), np.matmul(integers, np.ones(length // groups)) * scales
        for part in row_blocks(outputs, length + scales.size):
            found = decode(weights[part].reshape(-1))
            right = found.q.reshape(-1, groups, length // groups).astype(np.float64)
            terms = np.matmul(left, right.transpose(1, 2, 0))  # (groups, rows, outputs)
            terms *= _by_groups(scales, found.scale)
            if found.offset is not None:
                terms += _by_groups(sums, found.offset)
            total = np.zeros(terms.shape[1:])
            for term in terms:
                total += term
            store(total, out[rows, part])
    out += _ZERO


def _by_groups(of_rows: Float64, of_outputs: Float32) -> Float64:
    """The products (groups, rows, outputs) of (rows, groups) and (outputs * groups)."""
    product: Float64 = of_rows.T[:, :, None] * of_outputs.reshape(-1, of_rows.shape[1]).T[:, None]
    return product
