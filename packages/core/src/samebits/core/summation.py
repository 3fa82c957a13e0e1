"""Sums in a fixed order: the halving tree.

While there are n > 1 terms, the last h = n // 2 are added to the first h, all at once; the one in the middle waits if n
is odd. The order depends on n alone: memory layout, blocks and threads cannot change it, as each step is an
elementwise addition. Nine terms:

    0 1 2 3 4 5 6 7 8  ->  05 16 27 38 4  ->  0538 164 27  ->  053827 164  ->  all

`pairwise_sum` adds up float64 blocks, for kernels that have them; `fold` sums arrays of any size and layout in
blocks that fit the cache. Both keep inf and NaN, and leave the rounding of the float64 result to the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samebits.core import compiled
from samebits.core.arithmetic import Float32, Float64
from samebits.core.blocks import GROUP_ROWS, block_elements

Part = tuple[slice, slice]
Term = Callable[[Float64, Part], object]

_LANES = 64  # shorter runs are slow to read
_SHORT = 96  # terms in a row that are worth a transposed copy: NumPy adds contiguous arrays three times as fast


def pairwise_sum(x: Float64, axis: int = -1) -> Float64:
    """Sum over one axis of float64 x by the halving tree; return float64 without that axis. An empty sum is 0.

    >>> import numpy as np
    >>> pairwise_sum(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    array([ 6., 15.])
    """
    if axis in {-1, x.ndim - 1} and x.ndim > 1:
        sums = np.empty(x.shape[:-1])
        compiled.call(_row_sums, [sums], [x], [], (sums.size, x.shape[-1]))
        return sums
    return _tree(x, axis)


@compiled.pair("row_sums", "d d")
def _row_sums(sums: Float64, x: Float64) -> None:
    sums[...] = _tree(x, -1)


def _tree(x: Float64, axis: int) -> Float64:
    lanes = np.moveaxis(x, axis, 0)
    if len(lanes) == 0:
        return np.zeros(lanes.shape[1:])
    terms, in_rows = lanes, lanes.ndim > 1 and lanes.strides[0] == lanes.itemsize
    while len(terms) > _SHORT if in_rows else terms is lanes:  # into new arrays: faster where parts of rows overlap
        n, half = len(terms), len(terms) // 2
        sums = np.empty_like(terms[half:])
        np.add(terms[:half], terms[n - half :], out=sums[:half])
        sums[half:] = terms[half : n - half]
        terms = sums
    return _halve(terms.copy(order="C") if in_rows else terms, 1).reshape(lanes.shape[1:])


def _halve(lanes: Float64, until: int) -> Float64:
    """Halve the first axis until it has `until` terms or fewer; return those."""
    n = len(lanes)
    while n > until:
        half = n // 2
        lanes[:half] += lanes[n - half : n]
        n -= half
    return lanes[:n]


def row_sums(x: Float64, factors: Float64 | None = None) -> Float64:
    """Sum the rows of float64 x (rows, columns), or their products with `factors` (columns,), by the halving tree."""
    return pairwise_sum(x if factors is None else x * factors, -1)


def group_sums(x: Float64) -> Float64:
    """Sum each GROUP_ROWS rows of float64 x (rows, columns) that follow each other, and the rest, by the halving tree."""
    groups = len(x) // GROUP_ROWS
    whole = groups * GROUP_ROWS
    sums = pairwise_sum(x[:whole].reshape(groups, GROUP_ROWS, x.shape[1]), 1)
    return np.concatenate([sums, pairwise_sum(x[whole:], 0)[None]]) if whole < len(x) else sums


def fold(x: Float32, term: Term | None = None) -> Float64:
    """Sum float32 x (n, outer, inner) over n by the halving tree, in float64; return (outer, inner).

    `term(values, part)`, if given, turns a float64 block of x into the terms to sum, in place; `part` is where it lies
    in (outer, inner).
    """
    n, outer, inner = x.shape
    result = np.zeros((outer, inner))
    if x.size == 0:
        return result
    most = block_elements()
    wide = min(inner, most)
    deep = min(outer, max(1, most // (_LANES * wide)))
    sizes = [n]
    while sizes[-1] * deep * wide > most and sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    deep = min(outer, max(1, most // (sizes[-1] * wide)))
    scratch = np.empty((len(sizes) + 1, sizes[-1] * deep * wide))
    for i in range(0, outer, deep):
        for j in range(0, inner, wide):
            part = slice(i, i + deep), slice(j, j + wide)
            result[part] = _Block(x[:, part[0], part[1]], part, term, sizes, scratch).total()
    return result


@dataclass(frozen=True, eq=False)
class _Block:
    """The tree over a part of x, depth first: early levels a few lanes at a time, so that these stay in the cache."""

    x: Float32
    part: Part
    term: Term | None
    sizes: list[int]  # terms left after 0, 1, 2, ... halvings, until a block holds them
    scratch: Float64  # a row for each of these, and one more

    def total(self) -> Float64:
        lanes = self._lanes(len(self.sizes) - 1, 0, self.sizes[-1], 0)
        if not lanes.flags.c_contiguous:
            transposed = self.scratch[-1, : lanes.size].reshape(lanes.shape)
            np.copyto(transposed, lanes)
            lanes = transposed
        return _halve(lanes, 1)

    def _lanes(self, level: int, start: int, stop: int, free: int) -> Float64:
        """Compute terms start to stop of those left after `level` halvings, in the scratch from row `free` on."""
        if level == 0:
            return self._terms(start, stop, self.scratch[free])
        size, before = self.sizes[level], self.sizes[level - 1]
        values = self._lanes(level - 1, start, stop, free)
        stop = min(stop + size, before)
        if start + size < stop:
            values[: stop - start - size] += self._lanes(level - 1, start + size, stop, free + 1)
        return values

    def _terms(self, start: int, stop: int, scratch: Float64) -> Float64:
        x = self.x[start:stop]
        flat = scratch[: x.size]
        values = flat.reshape(x.shape[::-1]).T if x.shape[2] == 1 else flat.reshape(x.shape)  # as x lies in memory
        np.copyto(values, x)
        if self.term is not None:
            self.term(values, self.part)
        return values
