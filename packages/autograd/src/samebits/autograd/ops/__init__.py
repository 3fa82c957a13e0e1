"""Every operation, with its vector-Jacobian product beside it.

The rule of an argument takes the gradient ``g`` of the result and gives the gradient of that argument: for y = f(x) it is
g times the Jacobian of f, without ever making that matrix. Rules are written with operations, so they have rules in turn.
"""

# ruff: noqa: A004 - NumPy's names

from samebits.autograd.ops.elementwise import (
    abs,
    add,
    astype,
    cos,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sin,
    sqrt,
    subtract,
    tanh,
    where,
)
from samebits.autograd.ops.indexing import getitem, scatter, take
from samebits.autograd.ops.linalg import matmul
from samebits.autograd.ops.probabilities import log_softmax, softmax
from samebits.autograd.ops.reductions import expand, logsumexp, max, mean, min, sum, sum_to, var
from samebits.autograd.ops.shapes import concatenate, reshape, split, squeeze, stack, swapaxes, transpose

permute = transpose

__all__ = [
    "abs",
    "add",
    "astype",
    "concatenate",
    "cos",
    "divide",
    "exp",
    "expand",
    "getitem",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "permute",
    "power",
    "relu",
    "reshape",
    "scatter",
    "sigmoid",
    "sin",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "subtract",
    "sum",
    "sum_to",
    "swapaxes",
    "take",
    "tanh",
    "transpose",
    "var",
    "where",
]
