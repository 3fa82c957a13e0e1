"""`einsum`: sums of products by labeled axes, computed with the operations of this package.

Operands are contracted from left to right, two at a time. An axis that occurs in one of the two only and not in what follows
is summed first. Then the axes are sorted into four groups, and one batched matrix product does the rest:

    a (batch, rows, contracted)  times  b (batch, contracted, columns)  ->  (batch, rows, columns)

Without contracted axes it is a product of elements instead.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from samebits.autograd.ops.elementwise import multiply
from samebits.autograd.ops.indexing import getitem
from samebits.autograd.ops.linalg import matmul
from samebits.autograd.ops.reductions import expand
from samebits.autograd.ops.reductions import sum as sum_
from samebits.autograd.ops.shapes import reshape, transpose
from samebits.autograd.tensor import Tensor

_ELLIPSIS = "0123456789"  # labels for the axes in place of "...", aligned at the last


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sums of products by labeled axes, with NumPy's subscripts: letters, ``...``, ``->``.

    A letter that occurs twice in one operand takes its diagonal. Without ``->`` the result has the letters that occur once,
    in alphabetical order. In exact arithmetic the sums are those of `matmul` and `sum`.

    Raises:
        ValueError: The subscripts do not fit the operands.

    Example:
        >>> a, b = Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([1.0, 10.0])
        >>> einsum("ij,j->i", a, b)
        Tensor([21., 43.])
        >>> einsum("ii", a)
        Tensor(5.)
    """
    tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in operands]
    inputs, output = _parse(subscripts, [x.ndim for x in tensors])
    sizes = _sizes(inputs, tensors)
    terms = [_diagonal(labels, x, sizes) for labels, x in zip(inputs, tensors, strict=True)]
    labels, result = terms[0]
    for i, (others, factor) in enumerate(terms[1:], 2):
        needed = {*output, *"".join(more for more, _ in terms[i:])}
        labels, result = _contract((labels, result), (others, factor), needed)
    labels, result = _summed(labels, result, set(output))
    return result if labels == output else transpose(result, [labels.index(label) for label in output])


def _parse(subscripts: str, dimensions: list[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, one character for each axis."""
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {type(subscripts).__name__}")
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(dimensions):
        raise ValueError(f"einsum: subscripts must have a part for each operand, got {len(parts)} for {len(dimensions)}")
    inputs = [_labels(subscripts, part, ndim) for part, ndim in zip(parts, dimensions, strict=True)]
    dots = "".join(sorted({label for labels in inputs for label in labels if label in _ELLIPSIS}))
    if arrow:
        output = right.replace("...", dots)
        known = {label for labels in inputs for label in labels}
        if len(set(output)) < len(output) or not known.issuperset(output):
            raise ValueError(f"einsum: the result must have labels of the operands, each once, got {subscripts!r}")
    else:
        every = "".join(inputs)
        output = dots + "".join(sorted(label for label in set(every) - set(dots) if every.count(label) == 1))
    return inputs, output


def _labels(subscripts: str, part: str, ndim: int) -> str:
    named = part.replace("...", "", 1)
    covered = ndim - len(named)
    if not all(label.isascii() and label.isalpha() for label in named):
        raise ValueError(f"einsum: subscripts must be letters, '...', ',' and '->', got {subscripts!r}")
    if covered < 0 or (covered and "..." not in part) or covered > len(_ELLIPSIS):
        raise ValueError(f"einsum: {part!r} must have a label for each axis of its operand, which has {ndim}")
    return part.replace("...", _ELLIPSIS[len(_ELLIPSIS) - covered :])


def _sizes(inputs: list[str], tensors: list[Tensor]) -> dict[str, int]:
    """The length of each label; those of length 1 are stretched."""
    sizes: dict[str, int] = {}
    for labels, x in zip(inputs, tensors, strict=True):
        for label, length in zip(labels, x.shape, strict=True):
            if sizes.setdefault(label, length) != length:
                if 1 not in {sizes[label], length}:
                    raise ValueError(f"einsum: the axes {label!r} must have one length, got {sizes[label]} and {length}")
                sizes[label] = max(sizes[label], length) if 0 not in {sizes[label], length} else 0
    return sizes


def _diagonal(labels: str, x: Tensor, sizes: dict[str, int]) -> tuple[str, Tensor]:
    """x with its axes stretched, and with one axis for each label."""
    x = expand(x, tuple([sizes[label] for label in labels]))
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            axes = [i for i, one in enumerate(labels) if one == label]
            rest = [i for i in range(len(labels)) if i not in axes]
            index = np.arange(sizes[label], dtype=np.int64)
            x = getitem(transpose(x, [*axes, *rest]), (index,) * len(axes))
            labels = label + "".join(labels[i] for i in rest)
    return labels, x


def _summed(labels: str, x: Tensor, needed: set[str]) -> tuple[str, Tensor]:
    """x summed over the axes that are not needed."""
    axes = tuple([i for i, label in enumerate(labels) if label not in needed])
    return "".join(label for label in labels if label in needed), sum_(x, axes) if axes else x


def _contract(left: tuple[str, Tensor], right: tuple[str, Tensor], needed: set[str]) -> tuple[str, Tensor]:
    """The product of two operands, summed over the axes that are not needed."""
    a, x = _summed(*left, needed | set(right[0]))
    b, y = _summed(*right, needed | set(a))
    batch = [label for label in a if label in b and label in needed]
    contracted = [label for label in a if label in b and label not in needed]
    rows, columns = [label for label in a if label not in b], [label for label in b if label not in a]
    length = dict(zip(a + b, x.shape + y.shape, strict=True))
    shape = tuple([length[label] for label in (*batch, *rows, *columns)])
    x = _ordered(a, x, (batch, rows, contracted))
    y = _ordered(b, y, (batch, contracted, columns))
    product = matmul(x, y) if contracted else multiply(x, y)
    return "".join((*batch, *rows, *columns)), reshape(product, shape)


def _ordered(labels: str, x: Tensor, groups: Iterable[list[str]]) -> Tensor:
    """x with an axis for each group of labels."""
    shape = [math.prod([x.shape[labels.index(label)] for label in group]) for group in groups]
    return reshape(transpose(x, [labels.index(label) for group in groups for label in group]), tuple(shape))
