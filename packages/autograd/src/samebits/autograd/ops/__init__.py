"""Every operation, with its vector-Jacobian product beside it.

The rule of an argument maps the gradient ``g`` of the result to the gradient of that argument: for y = f(x) it is g times
the Jacobian of f, without computing that matrix. Rules are written with operations, so they have rules in turn.
"""

# ruff: noqa: A004 - NumPy's names

from samebits.autograd.ops.contraction import einsum
from samebits.autograd.ops.creation import arange, full, ones, zeros
from samebits.autograd.ops.elementwise import (
    abs,
    add,
    astype,
    clone,
    cos,
    divide,
    erf,
    exp,
    exp2,
    log,
    multiply,
    negative,
    sigmoid,
    sin,
    sqrt,
    subtract,
    tanh,
)
from samebits.autograd.ops.indexing import getitem, scatter, split, take
from samebits.autograd.ops.joining import concatenate, stack
from samebits.autograd.ops.linalg import matmul
from samebits.autograd.ops.powers import power, remainder
from samebits.autograd.ops.probabilities import log_softmax, logsumexp, softmax
from samebits.autograd.ops.reductions import cumsum, expand, mean, std, sum, sum_to, var
from samebits.autograd.ops.selection import argmax, argmin, clip, max, maximum, min, minimum, relu, where
from samebits.autograd.ops.shapes import expand_dims, flatten, reshape, squeeze, swapaxes, transpose
from samebits.autograd.ops.truth import all, any

permute = transpose
clamp = clip
unsqueeze = expand_dims

__all__ = [
    "abs",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "astype",
    "clamp",
    "clip",
    "clone",
    "concatenate",
    "cos",
    "cumsum",
    "divide",
    "einsum",
    "erf",
    "exp",
    "exp2",
    "expand",
    "expand_dims",
    "flatten",
    "full",
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
    "ones",
    "permute",
    "power",
    "relu",
    "remainder",
    "reshape",
    "scatter",
    "sigmoid",
    "sin",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "sum_to",
    "swapaxes",
    "take",
    "tanh",
    "transpose",
    "unsqueeze",
    "var",
    "where",
    "zeros",
]
