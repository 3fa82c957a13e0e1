"""Methods and operators of `Tensor`: the operations, under the names that NumPy and PyTorch give them.

Operations make tensors, so `Tensor` itself is defined without them. When the package is imported, everything in the table
`Methods` is attached to it. Type checkers read the table as a base class.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from samebits.autograd import ops
from samebits.autograd.drawing import draw
from samebits.autograd.instead import attribute_error
from samebits.autograd.ops import truth
from samebits.autograd.ops.axes import shape_of
from samebits.autograd.tensor import Tensor, plain

__all__ = ["Methods"]


def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The operator for a tensor on the right-hand side."""

    def reflected(b: Any, a: Any) -> Tensor:
        return function(a, b)

    return reflected


_and, _or, _xor = truth.logical(np.bitwise_and), truth.logical(np.bitwise_or), truth.logical(np.bitwise_xor)


class Methods:
    """What `Tensor` can compute. The functions in `ops` are its methods; those with arguments of their own are written out."""

    __slots__ = ()

    __add__ = ops.add
    __radd__ = _reflected(ops.add)
    __sub__ = ops.subtract
    __rsub__ = _reflected(ops.subtract)
    __mul__ = ops.multiply
    __rmul__ = _reflected(ops.multiply)
    __truediv__ = ops.divide
    __rtruediv__ = _reflected(ops.divide)
    __mod__ = ops.remainder
    __rmod__ = _reflected(ops.remainder)
    __pow__ = ops.power
    __rpow__ = _reflected(ops.power)
    __matmul__ = ops.matmul
    __rmatmul__ = _reflected(ops.matmul)
    __neg__ = ops.negative
    __abs__ = ops.abs

    __eq__ = truth.compared(np.equal)  # type: ignore[assignment]
    __ne__ = truth.compared(np.not_equal)  # type: ignore[assignment]
    __lt__ = truth.compared(np.less)
    __le__ = truth.compared(np.less_equal)
    __gt__ = truth.compared(np.greater)
    __hash__ = object.__hash__
    __ge__ = truth.compared(np.greater_equal)
    __and__, __rand__ = _and, _reflected(_and)
    __or__, __ror__ = _or, _reflected(_or)
    __xor__, __rxor__ = _xor, _reflected(_xor)
    __invert__ = truth.invert

    abs = ops.abs
    all = ops.all
    any = ops.any
    argmax = ops.argmax
    argmin = ops.argmin
    astype = ops.astype
    clamp = clip = ops.clip
    clone = copy = ops.clone
    cos = ops.cos
    cumsum = ops.cumsum
    draw = draw
    erf = ops.erf
    exp = ops.exp
    exp2 = ops.exp2
    expand_dims = unsqueeze = ops.expand_dims
    flatten = ops.flatten
    log = ops.log
    log_softmax = ops.log_softmax
    logsumexp = ops.logsumexp
    matmul = ops.matmul
    max = ops.max
    mean = ops.mean
    min = ops.min
    relu = ops.relu
    sigmoid = ops.sigmoid
    sin = ops.sin
    softmax = ops.softmax
    split = ops.split
    sqrt = ops.sqrt
    squeeze = ops.squeeze
    std = ops.std
    sum = ops.sum
    swapaxes = ops.swapaxes
    take = ops.take
    tanh = ops.tanh
    var = ops.var

    def __getitem__(self: Any, index: Any) -> Tensor:
        return ops.getitem(self, plain(index))

    def reshape(self: Any, *shape: Any) -> Tensor:
        """The elements in C order in another shape; one length may be -1.

        Example:
            >>> Tensor([1.0, 2.0, 3.0, 4.0]).reshape(2, -1)
            Tensor([[1., 2.],
                    [3., 4.]])
        """
        return ops.reshape(self, shape_of(shape))

    def transpose(self: Any, *axes: Any) -> Tensor:
        """The axes in another order, by default reversed. ``permute`` is the same method.

        Example:
            >>> Tensor([[[1.0, 2.0]]]).transpose(2, 0, 1).shape
            (2, 1, 1)
        """
        return ops.transpose(self, shape_of(axes) or None)

    permute = transpose

    def expand(self: Any, *shape: Any) -> Tensor:
        """The tensor stretched to ``shape`` by NumPy's rules of broadcasting; -1 keeps a length.

        Example:
            >>> Tensor([[1.0], [2.0]]).expand(-1, 3)
            Tensor([[1., 1., 1.],
                    [2., 2., 2.]])
        """
        return ops.expand(self, shape_of(shape))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Refuse NumPy's functions, which would return arrays without a graph."""
        name = func.__name__
        ours = f"samebits.autograd.{name}, or " if hasattr(ops, name) else ""
        raise TypeError(f"np.{name} would lose the graph: use {ours}x.numpy()")


for _name, _member in vars(Methods).items():
    if callable(_member):
        setattr(Tensor, _name, _member)
Tensor.__getattr__ = attribute_error  # type: ignore[attr-defined]  # unknown to type checkers, which would allow any name
