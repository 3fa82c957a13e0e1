"""`Tensor`: an array that remembers how it was computed.

A tensor is its ``data`` (a NumPy array, or a NumPy scalar where it has no axes) and its ``node`` in the graph (None if
it requires no gradient). This module holds what a tensor is: its attributes, conversions and the backward pass.
`methods` attaches what can be computed with it, the operations in `ops`. NumPy's names and shape rules hold; where PyTorch
has another name for the same, both work (``permute``, ``expand``, ``dim``).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from samebits.autograd import edits
from samebits.autograd.dtypes import KEPT, fresh, refuse_float64
from samebits.autograd.graph import SMALL, Array, GraphError, Node, clock, recording, run

if TYPE_CHECKING:
    from samebits.autograd.methods import Methods
else:
    Methods = object  # `methods` attaches its members when the package is imported: operations make tensors

__all__ = ["Axis", "Operand", "Tensor", "plain", "seed", "wrap"]

Axis = int | tuple[int, ...] | None


class Tensor(Methods):
    """An array that can be differentiated.

    Args:
        data: Numbers in nested lists, an array or a tensor. It is copied.
        dtype: float32, int64, bool, or float64 under ``numerics("fast")``. By default Python floats become float32, integers
            int64; arrays of float32 and, under ``numerics("fast")``, of float64 keep their dtype.
        requires_grad: Whether ``backward()`` adds to ``grad``.

    Raises:
        TypeError: ``data`` is not numeric; is a float64 array in exact arithmetic and no ``dtype`` is given; is not floating
            and a gradient is required; or is a list of tensors that would lose their gradients.
        OverflowError: An integer is larger than an int64.

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
        if isinstance(data, Tensor):
            if data.requires_grad and recording.get():
                raise GraphError("Tensor: data must not require a gradient, which would be lost; use clone() or detach()")
            data = data.data
        self.data = fresh(data, dtype)
        self.node = None
        if requires_grad:
            self.requires_grad = True

    # Attributes

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self.data.dtype

    @property
    def T(self) -> "Tensor":  # noqa: N802 - NumPy's name
        """The tensor with its axes reversed."""
        return self.transpose()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor. It can be set on leaves."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted == self.requires_grad:
            return
        if not self.is_leaf:
            raise GraphError(
                f"requires_grad can be set on leaves only, and this tensor was computed by {self._origin}: use detach()"
            )
        if self.data.dtype.kind != "f":
            raise TypeError(
                f"requires_grad: a tensor of {self.data.dtype} has no gradient; make it floating, as in Tensor(1.0) or astype('float32')"
            )
        self.node = Node(None, (), (self.data.dtype,), self._pictured()) if wanted else None

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed from tensors that require a gradient."""
        return self.node is None or self.node.operation is None

    @property
    def grad(self) -> "Tensor | None":
        """The sum of the gradients that ``backward()`` added here; None before the first. Set it to None to start over."""
        return self.node.grad if self.node is not None else None

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if self.node is None or self.node.operation is not None:
            raise GraphError("grad can be set only on leaves that require a gradient")
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"grad must be a Tensor or None, got {type(value).__name__}; use Tensor(...)")
        if value is not None and (value.shape != self.shape or value.dtype != self.dtype):
            raise ValueError(f"grad must be {self.dtype} of shape {self.shape}, got {value.dtype} of shape {value.shape}")
        self.node.grad = value if value is None else value.detach()

    # Conversions

    def item(self) -> Any:
        """The element of a tensor of one element, as a Python number.

        Raises:
            ValueError: There is not exactly one element.

        Example:
            >>> Tensor([1.5]).item()
            1.5
        """
        if self.size != 1:
            raise ValueError(f"item: the tensor must have one element, got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The elements as nested Python lists, or one number.

        Example:
            >>> Tensor([[1.0], [2.0]]).tolist()
            [[1.0], [2.0]]
        """
        return self.data.tolist()

    def numpy(self) -> Array:
        """The array, read-only and not copied: write with `edit`, keep with ``numpy().copy()``.

        The graph ends here, as with `detach`. NumPy's own functions refuse a tensor that requires a gradient.

        Example:
            >>> Tensor([1.0, 2.0]).numpy()
            array([1., 2.], dtype=float32)
        """
        view = np.asarray(self.data).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        self._refuse_loss("NumPy")
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"an array of {np.dtype(dtype)} requires a copy of this tensor of {self.dtype}")
        return np.array(self.data, dtype) if copy or dtype is not None else self.numpy()

    @contextmanager
    def edit(self) -> Iterator[Array]:
        """Modify the elements in place inside a ``with`` block; backward passes that need the old elements then refuse.

        Raises:
            GraphError: The tensor was computed from others, and the graph would not know of the change.

        Example:
            >>> x = Tensor([1.0, 2.0])
            >>> with x.edit() as array:
            ...     array *= 2
            >>> x
            Tensor([2., 4.])
        """
        if not self.is_leaf:
            raise GraphError(f"this tensor was computed by {self._origin} and cannot be edited: use detach() and a copy")
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
        """Assign elements, as `edit` does.

        Raises:
            GraphError: Outside of `no_grad`, the tensor or the value requires a gradient: the graph does not see assignments.
        """
        if recording.get() and self.requires_grad:
            raise GraphError(
                "x[index] = value on a tensor that requires a gradient: assign inside `with no_grad():` or `x.edit()`"
            )
        if recording.get() and isinstance(value, Tensor) and value.requires_grad:
            raise GraphError("the graph does not see assignments: use where() or concatenate(), or detach() the value")
        with self.edit() as array:
            array[plain(index)] = value.data if isinstance(value, Tensor) else value

    def detach(self) -> "Tensor":
        """The same elements, not copied, without a graph.

        Example:
            >>> (Tensor(3.0, requires_grad=True) * 2).detach()
            Tensor(6.)
        """
        return wrap(self.data, None)

    # Gradients

    def backward(
        self,
        gradient: "Operand | None" = None,
        *,
        retain_graph: bool = False,
        ready: Callable[[Node], object] | None = None,
    ) -> None:
        """Add this tensor's gradient to the ``grad`` of every leaf it was computed from.

        Args:
            gradient: The gradient of some scalar with respect to this tensor, of its shape; by default 1, for a tensor of one
                element.
            retain_graph: Keep the saved arrays, so that another pass can follow.
            ready: Called with the node of a leaf as soon as its ``grad`` is complete, while the pass goes on. It may take the
                gradient away, to send it elsewhere, but not modify it.

        Raises:
            GraphError: The tensor requires no gradient, an earlier pass has freed the graph, or a saved array was modified.
            ValueError: ``gradient`` is missing or has another shape or dtype.

        Example:
            >>> x = Tensor([1.0, 2.0], requires_grad=True)
            >>> (x * x).backward([1.0, 10.0])
            >>> x.grad
            Tensor([ 2., 40.])
        """
        if self.node is None:
            raise GraphError(
                "backward: the tensor requires no gradient: none of what it was computed from has requires_grad=True"
            )
        root = seed(self, gradient).data
        seen = {id(edits.owner(root))}

        def add(leaf: Node, g: Any) -> None:
            leaf.grad = wrap(edits.own(g, seen) if leaf.grad is None else leaf.grad.data + g, None)
            if ready is not None:
                ready(leaf)

        for leaf, g in run(self.node, root, retain=retain_graph, ready=None if ready is None else add).items():
            add(leaf, g)

    # Python's protocols

    def __repr__(self) -> str:
        text = np.array2string(np.asarray(self.data), separator=", ", prefix="Tensor(", threshold=100)
        notes = [] if self.dtype in KEPT else [f"dtype={self.dtype}"]
        notes += [f"shape={self.shape}"] if self.size == 0 or self.size > 100 else []
        notes += [] if self.node is None else ["requires_grad=True" if self.is_leaf else f"from {self._origin}"]
        return f"Tensor({', '.join([text, *notes])})"

    @property
    def _origin(self) -> str:
        """The name of the operation that computed it."""
        return self.node.name if self.node is not None else "leaf"

    def _pictured(self) -> Any:
        """What its node remembers for pictures."""
        return self.data if self.size <= SMALL else self.shape

    def __format__(self, spec: str) -> str:
        """Format one element as a Python number; a tensor of several elements takes no format specification."""
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(f"a tensor of shape {self.shape} cannot be formatted with {spec!r}: it must have one element")
        return format(self.item(), spec)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def _refuse_loss(self, what: str) -> None:
        """Raise GraphError where a conversion would lose a gradient silently; NumPy calls ``float()`` for ``array[i] = tensor``."""
        if self.requires_grad and recording.get():
            raise GraphError(
                f"{what} would lose the gradient of a tensor: use item() or detach(), or stack() for several tensors"
            )

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous: use any() or all()")
        return bool(self.data)

    def __float__(self) -> float:
        self._refuse_loss("float()")
        return float(self.item())

    def __int__(self) -> int:
        self._refuse_loss("int()")
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "i" or self.shape:
            raise TypeError(f"an index must be an int64 tensor without axes, got {self.dtype} of shape {self.shape}")
        return int(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GraphError("only leaves can be copied or pickled: use detach()")
        return _rebuild, (np.array(self.data), self.requires_grad)

    __hash__ = object.__hash__


Operand: TypeAlias = Tensor | Array | float | Sequence[Any]

_new = object.__new__


def wrap(data: Array, node: Node | None) -> Tensor:
    """The tensor of an array that no one else will modify; nothing is checked or copied."""
    tensor = _new(Tensor)
    tensor.data = data
    tensor.node = node
    return tensor


def plain(index: Any) -> Any:
    """An index without tensors in it."""
    if isinstance(index, tuple):
        return tuple([plain(part) for part in index])
    return index.data if isinstance(index, Tensor) else index


def seed(tensor: Tensor, gradient: Operand | None) -> Tensor:
    """The gradient to begin a pass with."""
    if gradient is None:
        if tensor.size != 1:
            raise ValueError(f"backward() needs a scalar, got shape {tensor.shape}; pass gradient= or reduce first")
        return wrap(np.ones(tensor.shape, tensor.dtype)[()] if tensor.shape else tensor.dtype.type(1), None)
    if isinstance(gradient, Tensor):
        given = gradient
    elif isinstance(gradient, np.ndarray | np.generic):
        refuse_float64("backward: gradient", gradient)
        given = Tensor(gradient)
    else:
        given = Tensor(gradient, tensor.dtype)
    if given.shape != tensor.shape or given.dtype != tensor.dtype:
        raise ValueError(
            f"backward: gradient must be {tensor.dtype} of shape {tensor.shape}, got {given.dtype} of shape {given.shape}"
        )
    return given


def _rebuild(data: Array, requires_grad: bool) -> Tensor:
    """A leaf from a pickle, in either arithmetic."""
    tensor = wrap(data[()], None)
    tensor.requires_grad = requires_grad
    return tensor
