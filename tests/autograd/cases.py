"""Every operation as a function that gradients can be checked of, with inputs where it is smooth."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.golden.autograd import block

from samebits import autograd

Float64 = npt.NDArray[np.float64]
IDS = np.array([[1, 0, 1], [-1, 2, 1]], np.int64)


@dataclass(frozen=True)
class Case:
    """A function, and the shapes and the kind of the numbers it is tried with."""

    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    kind: str = "any"  # or "positive"

    def inputs(self, seed: int = 0) -> list[Float64]:
        """Numbers away from corners and from each other, so that differences of 1e-5 meet none."""
        generator = np.random.Generator(np.random.PCG64(seed))
        result = []
        for shape in self.shapes:
            size = int(np.prod(shape))
            values = (generator.permutation(size) - size / 2 + 0.3) / max(size, 1) * 4 + generator.uniform(
                -0.05, 0.05, size
            ) / max(size, 1)
            result.append((np.abs(values) + 0.3 if self.kind == "positive" else values).reshape(shape))
        return result


def halves(n: Any, a: Any) -> Any:
    first, second = n.split(a, 2, 1)
    return first * second + second


def pieces(n: Any, a: Any) -> Any:
    first, _, last = n.split(a, [1, 3], 1)
    return n.sum(first) * last


def cases(n: Any = autograd) -> dict[str, Case]:
    """All operations, of ``n``: samebits.autograd, or a library with the same names."""
    two = ((3, 4), (3, 4))
    stretched = ((2, 1, 4), (3, 1))
    return {
        "add": Case(lambda a, b: a + b, stretched),
        "subtract": Case(lambda a, b: a - b, stretched),
        "multiply": Case(lambda a, b: a * b, stretched),
        "divide": Case(lambda a, b: a / b, stretched, "positive"),
        "number - tensor / number": Case(lambda a: 2 - a / 3 + 1 / (a * a + 1)),
        "negative": Case(lambda a: -a * a),
        "square": Case(lambda a: a**2),
        "power 5": Case(lambda a: a**5),
        "power -3": Case(lambda a: a**-3, kind="positive"),
        "power 0.5": Case(lambda a: a**0.5, kind="positive"),
        "power 2.5": Case(lambda a: a**2.5, kind="positive"),
        "power of tensors": Case(lambda a, b: a**b, stretched, "positive"),
        "2 ** tensor": Case(lambda a: 2**a),
        "3 ** tensor": Case(lambda a: 3**a),
        "remainder": Case(lambda a, b: n.remainder(a, b) * a, stretched, "positive"),
        "erf": Case(n.erf),
        "exp2": Case(n.exp2),
        "clip": Case(lambda a: n.clip(a, -0.71, 1.13) * a),
        "clip from below": Case(lambda a: n.clip(a, -0.71) * a),
        "clone": Case(lambda a: n.clone(a) * a),
        "std": Case(n.std),
        "std of axis 0": Case(lambda a: n.std(a, 0, ddof=1) * a),
        "cumsum": Case(lambda a: n.cumsum(a * a)),
        "cumsum of axis 1": Case(lambda a: n.cumsum(a * a, 1)),
        "flatten": Case(lambda a: n.flatten(a, 1) ** 2, ((2, 3, 2),)),
        "unsqueeze": Case(lambda a: n.unsqueeze(a, 1) ** 2),
        "einsum of a matrix product": Case(partial(n.einsum, "ij,jk->ik"), ((3, 4), (4, 2))),
        "einsum of a batch": Case(partial(n.einsum, "bij,bkj->bik"), ((2, 3, 4), (2, 2, 4))),
        "einsum of three": Case(partial(n.einsum, "ij,j,ik->k"), ((3, 4), (4,), (3, 2))),
        "einsum of a diagonal": Case(partial(n.einsum, "iij->j"), ((3, 3, 2),)),
        "einsum of an ellipsis": Case(partial(n.einsum, "...ij,...j->...i"), ((2, 3, 4), (2, 4))),
        "einsum of sums": Case(partial(n.einsum, "ij,kl->k"), ((2, 3), (2, 4))),
        "exp": Case(n.exp),
        "log": Case(n.log, kind="positive"),
        "tanh": Case(n.tanh),
        "sigmoid": Case(n.sigmoid),
        "sqrt": Case(n.sqrt, kind="positive"),
        "sin": Case(n.sin),
        "cos": Case(n.cos),
        "abs": Case(lambda a: n.abs(a) * a),
        "relu": Case(lambda a: n.relu(a) * a),
        "maximum": Case(lambda a, b: n.maximum(a, b * 1.1) * a, stretched),
        "minimum": Case(lambda a, b: n.minimum(a, b * 1.1) * a, stretched),
        "where": Case(lambda a, b: n.where(np.arange(4) % 2 == 0, a * b, b * b), stretched),
        "sum": Case(lambda a: n.sum(a) * n.sum(a)),
        "sum of axis 0": Case(lambda a: n.sum(a * a, 0)),
        "sum of axes": Case(lambda a: n.sum(a * a, (0, -1), keepdims=True), ((2, 3, 2),)),
        "mean": Case(lambda a: n.mean(a * a)),
        "mean of axis 1": Case(lambda a: n.mean(a, 1, keepdims=True) * a),
        "var": Case(n.var),
        "var of axis 0": Case(lambda a: n.var(a, 0, ddof=1) * a),
        "max": Case(lambda a: n.max(a) * a),
        "max of axis 1": Case(lambda a: n.max(a, 1) * n.sum(a)),
        "min of axis 0": Case(lambda a: n.min(a, 0, keepdims=True) * a),
        "logsumexp": Case(n.logsumexp),
        "logsumexp of axis 0": Case(lambda a: n.logsumexp(a, 0, keepdims=True)),
        "softmax": Case(n.softmax),
        "softmax of axis 0": Case(lambda a: n.softmax(a, 0)),
        "log_softmax": Case(n.log_softmax),
        "matmul": Case(n.matmul, ((3, 4), (4, 2))),
        "matmul of a batch by a weight": Case(n.matmul, ((2, 3, 4), (4, 2))),
        "matmul of broadcast batches": Case(n.matmul, ((2, 1, 2, 3), (3, 3, 2))),
        "matmul of a matrix by a batch": Case(n.matmul, ((2, 3), (3, 3, 2))),
        "matmul of vectors": Case(n.matmul, ((3,), (3,))),
        "matmul of a matrix by a vector": Case(n.matmul, ((2, 3), (3,))),
        "matmul of a vector by a batch": Case(n.matmul, ((3,), (2, 3, 2))),
        "matmul with its own transpose": Case(lambda a: n.matmul(a, n.transpose(a))),
        "reshape": Case(lambda a: n.reshape(a, (2, -1)) ** 2),
        "transpose": Case(lambda a: n.transpose(a) ** 2),
        "permute": Case(lambda a: n.permute(a, (2, 0, 1)) ** 2, ((2, 3, 2),)),
        "swapaxes": Case(lambda a: n.swapaxes(a, 0, -1) ** 2, ((2, 3, 2),)),
        "expand": Case(lambda a: n.expand(a, (2, 3, 4)) ** 2, ((3, 1),)),
        "squeeze": Case(lambda a: n.squeeze(a, 1) ** 2, ((2, 1, 3),)),
        "concatenate": Case(lambda a, b: n.concatenate([a, b, a], 1) ** 2, ((2, 3), (2, 1))),
        "stack": Case(lambda a, b: n.stack([a, b], 1) ** 2, two),
        "split": Case(partial(halves, n)),
        "split at": Case(partial(pieces, n)),
        "take": Case(lambda a: n.take(a, IDS, 0) ** 2),
        "take of axis 1": Case(lambda a: n.take(a, IDS, 1) ** 2),
        "take of all": Case(lambda a: n.take(a, IDS) ** 2),
        "index": Case(lambda a: a[1] * a[:, 1:3][0, 1]),
        "index by slices": Case(lambda a: a[::-2, None, ..., 1] ** 2),
        "index by arrays": Case(lambda a: a[IDS, IDS] ** 2),
        "index by a mask": Case(lambda a: a[np.arange(12).reshape(3, 4) % 3 == 0] ** 2),
        "composed": Case(partial(block, n), ((1, 3, 4), (4, 12), (4, 8), (4,))),
    }
