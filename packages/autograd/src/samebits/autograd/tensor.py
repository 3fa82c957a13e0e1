"""`Tensor`: an array that remembers how it was computed.

A tensor is its ``data`` (a NumPy array, or a NumPy scalar where it has no axes) and its ``node`` in the graph (None if
nothing needs its gradient). All that can be computed with it is in `ops`; the operators and methods here only name it.
NumPy's names and rules for shapes hold; where PyTorch has another name for the same, both work (``permute``, ``expand``).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from samebits.autograd import edits
from samebits.autograd.graph import SMALL, Array, GraphError, Node, clock, run
from samebits.core import current

__all__ = ["Operand", "Tensor", "own", "permitted", "seed", "wrap"]

Axis = int | tuple[int, ...] | None

_KEPT = {np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)}


class Tensor:
    """An array that can be differentiated.

    Args:
        data: Numbers in nested lists, an array or a tensor; it is copied, so that no one else can change it.
        dtype: float32, int64, bool, or float64 under ``numerics("fast")``. By default floating numbers become float32
            (under ``numerics("fast")`` float64 arrays stay), whole numbers int64.
        requires_grad: Whether ``backward()`` should leave a gradient in ``grad``.

    Raises:
        TypeError: ``data`` is not numeric, is not floating and a gradient is required, or is a list of tensors that would lose
            their gradients.
        OverflowError: A whole number is larger than an int64.

    Example:
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4.])
    """

    __slots__ = ("__weakref__", "data", "node")
    __array_ufunc__: ClassVar[None] = None  # so that NumPy leaves array * tensor to us
    data: Array
    node: Node | None

    def __init__(self, data: Any, dtype: npt.DTypeLike | None = None, *, requires_grad: bool = False) -> None:
        self.data = _array(data, dtype)
        self.node = None
        if requires_grad:
            self.requires_grad = True

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def T(self) -> "Tensor":  # noqa: N802 - NumPy's name
        return self.transpose()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor. It can be set on a tensor that was not computed from others."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted == self.requires_grad:
            return
        if not self.is_leaf:
            raise GraphError(f"requires_grad is {wanted}, but this tensor was computed by {self.node.name}: use detach()")  # type: ignore[union-attr]
        if self.data.dtype.kind != "f":
            raise TypeError(
                f"a tensor of {self.data.dtype} has no gradient: make it floating, as in Tensor(1.0) or astype('float32')"
            )
        self.node = Node(None, (), (self.data.dtype,), self._pictured()) if wanted else None

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed from tensors that require a gradient."""
        return self.node is None or self.node.operation is None

    @property
    def grad(self) -> "Tensor | None":
        """The sum of the gradients that ``backward()`` left here, None if there is none yet. Set it to None to begin anew."""
        return self.node.grad if self.node is not None else None

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if self.node is None or self.node.operation is not None:
            raise GraphError("grad can be set on leaves that require a gradient only")
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"grad is a tensor or None, not {type(value).__name__}: use Tensor(...)")
        if value is not None and (value.shape != self.shape or value.dtype != self.dtype):
            raise ValueError(f"grad has {value.dtype} and shape {value.shape}, not {self.dtype} and {self.shape} as its tensor")
        self.node.grad = value if value is None else value.detach()

    # What it holds

    def item(self) -> Any:
        """The one element, as a Python number.

        Raises:
            ValueError: There is not one element.
        """
        if self.size != 1:
            raise ValueError(f"item() needs a tensor of one element, not of shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def numpy(self) -> Array:
        """The array, read-only and without a copy: use `edit` to write, ``numpy().copy()`` to keep."""
        view = np.asarray(self.data).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"an array of {np.dtype(dtype)} needs a copy of this tensor of {self.dtype}")
        return np.array(self.data, dtype) if copy or dtype is not None else self.numpy()

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Refuse ``np.sum(x)`` and its kind, which would go on with the array alone."""
        name = func.__name__
        ours = f"samebits.autograd.{name}, or " if hasattr(ops, name) else ""
        raise TypeError(f"np.{name} would lose the graph: use {ours}numpy()")

    @contextmanager
    def edit(self) -> Iterator[Array]:
        """Modify the elements in place, for the length of a ``with`` block; backward passes that need the old ones refuse.

        Raises:
            GraphError: The tensor was computed from others: the graph would not know of the change.

        Example:
            >>> x = Tensor([1.0, 2.0])
            >>> with x.edit() as array:
            ...     array *= 2
            >>> x
            Tensor([2., 4.])
        """
        if not self.is_leaf:
            raise GraphError(f"this tensor was computed by {self.node.name} and cannot be edited: use detach() and a copy")  # type: ignore[union-attr]
        data = np.asarray(self.data)
        edits.thaw(data)
        self.data = data if data.flags.writeable else data.copy()
        if self.node is not None:
            self.node.value = self._pictured()
        view = self.data.view()
        edits.note(self.data, next(clock))
        try:
            yield view
        finally:
            view.flags.writeable = False
            edits.note(self.data, next(clock))

    def __setitem__(self, index: Any, value: "Operand") -> None:
        """As `edit`. A value that requires a gradient would lose it, and is refused."""
        if isinstance(value, Tensor) and value.requires_grad:
            raise GraphError("the graph does not see assignments: use where() or concatenate(), or detach() the value")
        with self.edit() as array:
            array[_plain(index)] = value.data if isinstance(value, Tensor) else value

    def detach(self) -> "Tensor":
        """The same elements (not copied) without a graph."""
        return wrap(self.data, None)

    def astype(self, dtype: npt.DTypeLike) -> "Tensor":
        """Another dtype. The gradient comes back in this one; to and from integers there is none."""
        return ops.astype(self, np.dtype(dtype))

    # Gradients

    def backward(self, gradient: "Operand | None" = None, *, retain_graph: bool = False) -> None:
        """Add this tensor's gradient to the ``grad`` of every leaf it was computed from.

        Args:
            gradient: The gradient of some scalar with respect to this tensor, of its shape; 1 for a tensor of one element.
            retain_graph: Keep the saved arrays, so that another pass can follow.

        Raises:
            GraphError: The tensor needs no gradient, a pass has freed the graph, or an array it needs was modified.
            ValueError: ``gradient`` is missing or has another shape.
        """
        if self.node is None:
            raise GraphError(
                "backward() on a tensor that needs no gradient: none of what it was computed from has requires_grad=True"
            )
        root = seed(self, gradient).data
        seen = {id(edits.owner(root))}
        for leaf, g in run(self.node, root, retain=retain_graph).items():
            leaf.grad = wrap(own(g, seen) if leaf.grad is None else leaf.grad.data + g, None)

    def draw(self, gradient: "Operand | None" = None, *, form: str = "text") -> str:
        """A picture of the graph with values and gradients, ``"text"`` or ``"svg"``; before ``backward()`` frees it."""
        from samebits.autograd.drawing import draw

        return draw(self, gradient, form=form)

    # Python's protocols

    def __repr__(self) -> str:
        text = np.array2string(np.asarray(self.data), separator=", ", prefix="Tensor(", threshold=100)
        notes = [] if self.dtype in {np.dtype(np.float32), np.dtype(np.int64), np.dtype(bool)} else [f"dtype={self.dtype}"]
        notes += [f"shape={self.shape}"] if self.size == 0 or self.size > 100 else []
        notes += [] if self.node is None else ["requires_grad=True" if self.is_leaf else f"from {self.node.name}"]
        return f"Tensor({', '.join([text, *notes])})"

    def _pictured(self) -> Any:
        """What its node remembers for pictures."""
        return self.data if self.size <= SMALL else self.shape

    def __format__(self, spec: str) -> str:
        """Of one element, as Python's number; of more, without a ``spec`` alone."""
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(f"a tensor of shape {self.shape} cannot be written as {spec!r}: one element can")
        return format(self.item(), spec)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous: use (x > 0).numpy().any() or all()")
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "i" or self.shape:
            raise TypeError(f"a tensor of {self.dtype} and shape {self.shape} is no index")
        return int(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GraphError("only leaves can be copied or pickled: use detach()")
        return _rebuild, (np.array(self.data), self.requires_grad)

    __hash__ = object.__hash__

    # Arithmetic: in `ops`, every operation with its rule

    def __add__(self, other: Any) -> "Tensor":
        return ops.add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return ops.add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops.divide(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops.matmul(other, self)

    def __neg__(self) -> "Tensor":
        return ops.negative(self)

    def __pow__(self, exponent: float) -> "Tensor":
        return ops.power(self, exponent)

    def __abs__(self) -> "Tensor":
        return ops.abs(self)

    def __getitem__(self, index: Any) -> "Tensor":
        return ops.getitem(self, _plain(index))

    def __eq__(self, other: object) -> "Tensor":  # type: ignore[override]
        return _compared(np.equal, self, other)

    def __ne__(self, other: object) -> "Tensor":  # type: ignore[override]
        return _compared(np.not_equal, self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return _compared(np.less, self, other)

    def __le__(self, other: Any) -> "Tensor":
        return _compared(np.less_equal, self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return _compared(np.greater, self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return _compared(np.greater_equal, self, other)

    # The operations as methods; `ops` documents them

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> "Tensor":
        return ops.sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> "Tensor":
        return ops.mean(self, axis, keepdims=keepdims)

    def var(self, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> "Tensor":
        return ops.var(self, axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> "Tensor":
        return ops.max(self, axis, keepdims=keepdims)

    def min(self, axis: Axis = None, *, keepdims: bool = False) -> "Tensor":
        return ops.min(self, axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, *, keepdims: bool = False) -> "Tensor":
        return ops.logsumexp(self, axis, keepdims=keepdims)

    def softmax(self, axis: int = -1) -> "Tensor":
        return ops.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> "Tensor":
        return ops.log_softmax(self, axis)

    def reshape(self, *shape: Any) -> "Tensor":
        return ops.reshape(self, _flat(shape))

    def transpose(self, *axes: Any) -> "Tensor":
        return ops.transpose(self, _flat(axes) or None)

    permute = transpose

    def swapaxes(self, axis1: int, axis2: int) -> "Tensor":
        return ops.swapaxes(self, axis1, axis2)

    def expand(self, *shape: Any) -> "Tensor":
        return ops.expand(self, _flat(shape))

    def squeeze(self, axis: Axis = None) -> "Tensor":
        return ops.squeeze(self, axis)

    def split(self, sections: int | Sequence[int], axis: int = 0) -> "list[Tensor]":
        return ops.split(self, sections, axis)

    def take(self, indices: Any, axis: int | None = None) -> "Tensor":
        return ops.take(self, indices, axis)

    def exp(self) -> "Tensor":
        return ops.exp(self)

    def log(self) -> "Tensor":
        return ops.log(self)

    def tanh(self) -> "Tensor":
        return ops.tanh(self)

    def sigmoid(self) -> "Tensor":
        return ops.sigmoid(self)

    def sqrt(self) -> "Tensor":
        return ops.sqrt(self)

    def sin(self) -> "Tensor":
        return ops.sin(self)

    def cos(self) -> "Tensor":
        return ops.cos(self)

    def relu(self) -> "Tensor":
        return ops.relu(self)

    def abs(self) -> "Tensor":
        return ops.abs(self)


Operand: TypeAlias = Tensor | Array | float | Sequence[Any]

_new = object.__new__


def wrap(data: Array, node: Node | None) -> Tensor:
    """The tensor of an array that no one else will modify; nothing is checked or copied."""
    tensor = _new(Tensor)
    tensor.data = data
    tensor.node = node
    return tensor


def _array(data: Any, dtype: npt.DTypeLike | None) -> Array:
    """A fresh array of a dtype that tensors may have; a NumPy scalar where it has no axes, which computes faster."""
    if isinstance(data, Tensor):
        data = data.data
    elif isinstance(data, list | tuple) and _has_graph(data):
        raise TypeError("a list of tensors would lose their gradients: use stack() or concatenate()")
    typed = isinstance(data, np.ndarray | np.generic)
    array = np.array(data, copy=True, order="C")
    if dtype is not None:
        target: np.dtype[Any] = np.dtype(dtype)
    elif array.dtype.kind == "f" or (array.size == 0 and not typed):
        target = array.dtype if typed and array.dtype.type in current().dtypes else np.dtype(np.float32)
    else:
        target = np.dtype({"b": np.bool_, "i": np.int64, "u": np.int64}.get(array.dtype.kind, array.dtype))
    target = permitted(target)
    if target.kind == "i" and array.dtype.kind == "u" and array.size and array.max() > np.iinfo(target).max:
        raise OverflowError(f"{array.max()} is larger than an {target}, the dtype of whole numbers, can be")
    array = array.astype(target, copy=False)
    return array if array.ndim else array[()]


def permitted(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype, if tensors may have it in the arithmetic of the moment.

    Raises:
        TypeError: They may not.
    """
    target: np.dtype[Any] = np.dtype(dtype)
    if target not in _KEPT and target.type not in current().dtypes:
        names = ", ".join([*(t.__name__ for t in current().dtypes), "int64", "bool"])
        raise TypeError(
            f"a tensor of {target} is not possible here: {names} are"
            + ('; float64 needs numerics("fast")' if target == np.float64 else "")
        )
    return target


def _has_graph(data: Sequence[Any]) -> bool:
    """Whether a nested list has a tensor in it whose gradient would be lost."""
    return any(x.requires_grad if isinstance(x, Tensor) else isinstance(x, list | tuple) and _has_graph(x) for x in data)


def _rebuild(data: Array, requires_grad: bool) -> Tensor:
    """A leaf out of a pickle, whatever arithmetic is on."""
    tensor = wrap(data[()], None)
    tensor.requires_grad = requires_grad
    return tensor


def seed(tensor: Tensor, gradient: Operand | None) -> Tensor:
    """The gradient to begin a pass with."""
    if gradient is None:
        if tensor.size != 1:
            raise ValueError(
                f"a tensor of shape {tensor.shape} is no scalar: give gradient=, of that shape, or reduce it, as with sum()"
            )
        return wrap(np.ones(tensor.shape, tensor.dtype)[()] if tensor.shape else tensor.dtype.type(1), None)
    given = gradient if isinstance(gradient, Tensor) else Tensor(gradient, tensor.dtype)
    if given.shape != tensor.shape or given.dtype != tensor.dtype:
        raise ValueError(
            f"gradient has {given.dtype} and shape {given.shape}, not {tensor.dtype} and {tensor.shape} as its tensor"
        )
    return given


def own(g: Array, seen: set[int]) -> Array:
    """``g``, copied if another gradient has its memory, or if it is a window on more memory than its own."""
    if not g.shape:
        return g[()]
    whole = edits.owner(g)
    if id(whole) in seen or whole.nbytes != g.nbytes or not (g.flags.c_contiguous and g.flags.writeable):
        return np.array(g, order="C")
    seen.add(id(whole))
    return g


def _plain(index: Any) -> Any:
    """An index without tensors in it."""
    if isinstance(index, tuple):
        return tuple([_plain(part) for part in index])
    return index.data if isinstance(index, Tensor) else index


def _flat(numbers: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(numbers[0]) if len(numbers) == 1 and isinstance(numbers[0], tuple | list) else numbers


def _compared(function: Callable[[Any, Any], Any], a: Tensor, b: Any) -> Tensor:
    if not isinstance(b, Tensor | np.ndarray | np.generic | bool | int | float | list | tuple):
        return NotImplemented  # type: ignore[no-any-return]
    x, y = operands(function.__name__, a, b)
    return wrap(function(x.data, y.data), None)


from samebits.autograd import ops  # noqa: E402 - operations make tensors, and tensors name operations
from samebits.autograd.operations import operands  # noqa: E402
