"""Functional interface: `grad`, `value_and_grad`, `vjp`, `jvp`, `jacobian`, and `gradients`, which they use.

They do not change the ``grad`` of tensors, and can be nested: where the argument itself is being differentiated, the pass
is recorded, so ``grad(grad(f))`` is the second derivative.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from samebits.autograd import edits
from samebits.autograd.graph import GraphError, Node, clock, recording, run
from samebits.autograd.operations import first_only, linked, operation
from samebits.autograd.ops import add, multiply, reshape, stack
from samebits.autograd.ops import sum as sum_
from samebits.autograd.tensor import Operand, Tensor, seed, wrap

__all__ = ["grad", "gradients", "jacobian", "jvp", "value_and_grad", "vjp"]

_ARGUMENT = "argument of a function being differentiated"  # in what such a leaf saves


@operation(lambda g: g)
def _input(x: Any) -> Any:
    return x


def gradients(
    output: Tensor,
    inputs: Sequence[Tensor],
    gradient: Operand | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> list[Tensor]:
    """The gradients of ``output`` with respect to tensors it was computed from, leaves or not.

    Args:
        output: Any tensor.
        inputs: Tensors that require a gradient.
        gradient: The gradient of some scalar with respect to ``output``, of its shape; by default 1, for a tensor of one
            element.
        create_graph: Record the pass, so that the gradients can be differentiated; it retains the graph too.
        retain_graph: Keep the saved arrays, so that another pass can follow.

    Returns:
        A tensor for each input, of its shape; zeros where ``output`` does not depend on it.

    Raises:
        GraphError: As from `Tensor.backward`; or an operation has no second gradients.

    Example:
        >>> x = Tensor(2.0, requires_grad=True)
        >>> (first,) = gradients(x * x * x, [x], create_graph=True)
        >>> first, gradients(first, [x])
        (Tensor(12., from add), [Tensor(12.)])
    """
    return _gradients(output, inputs, gradient, create_graph=create_graph, retain_graph=retain_graph)


def _gradients(
    output: Tensor,
    inputs: Sequence[Tensor],
    gradient: Operand | None,
    *,
    create_graph: bool,
    retain_graph: bool,
    late: Callable[[Node, Tensor], Sequence[Tensor | None]] | None = None,
) -> list[Tensor]:
    nodes: list[Node] = []
    for i, x in enumerate(inputs):
        if x.node is None:
            raise GraphError(f"gradients: inputs[{i}] must require a gradient: it was not made with requires_grad=True")
        nodes.append(x.node)
    start = seed(output, gradient)
    if output.node is None:
        found: dict[Node, Any] = {}
    elif create_graph:
        token = recording.set(True)
        try:
            found = run(output.node, start, wanted=set(nodes), retain=True, link=linked, late=late)
        finally:
            recording.reset(token)
    else:
        found = run(output.node, start.data, wanted=set(nodes), retain=retain_graph)
    seen = {id(edits.owner(start.data))}
    results = []
    for node, x in zip(nodes, inputs, strict=True):
        g = found.get(node)
        if isinstance(g, Tensor) and g.requires_grad:
            results.append(g)
        elif g is None:
            results.append(wrap(np.zeros(x.shape, x.dtype)[()], None))
        else:
            results.append(wrap(edits.own(g.data if isinstance(g, Tensor) else g, seen), None))
    return results


def grad(f: Callable[..., Tensor], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that computes the gradient of the scalar function ``f`` with respect to one argument, or several.

    Args:
        f: A function that returns a tensor of one element.
        argnums: The index of the argument, or a tuple of indices; then the gradient is a tuple.

    Example:
        >>> grad(lambda x: x * x * x)(2.0)
        Tensor(12.)
        >>> grad(grad(lambda x: x * x * x))(2.0)
        Tensor(12.)
    """
    both = value_and_grad(f, argnums)

    def gradient(*arguments: Any) -> Any:
        return both(*arguments)[1]

    return gradient


def value_and_grad(f: Callable[..., Tensor], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """A function that computes ``(value, gradient)``; otherwise as `grad`.

    Example:
        >>> value_and_grad(lambda x, y: (x * y).sum(), argnums=(0, 1))([1.0, 2.0], 3.0)
        (Tensor(9.), (Tensor([3., 3.]), Tensor(3.)))
    """
    places = _places("grad", argnums)

    def both(*arguments: Any) -> tuple[Tensor, Any]:
        value, pull = _pull(f, arguments, places)
        if value.size != 1:
            raise ValueError(f"grad: f must return a scalar, got shape {value.shape}; use vjp or jacobian")
        found = pull(None)
        return value, found if isinstance(argnums, tuple) else found[0]

    return both


def jacobian(f: Callable[..., Tensor], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that computes the Jacobian of ``f`` with respect to one argument, or several.

    Element [i, j] is the derivative of element i of the value with respect to element j of the argument, so its shape is
    that of the value followed by that of the argument. It takes one backward pass for each element of the value.

    Args:
        f: A function that returns a tensor of any shape.
        argnums: The index of the argument, or a tuple of indices; then the result is a tuple.

    Example:
        >>> jacobian(lambda x: x * x)([1.0, 2.0])
        Tensor([[2., 0.],
                [0., 4.]])
    """
    places = _places("jacobian", argnums)

    def compute(*arguments: Any) -> Any:
        value, pull = _pull(f, arguments, places)
        rows = []
        for i in range(value.size):
            unit = np.zeros(value.size, value.dtype)
            unit[i] = 1
            rows.append(pull(wrap(unit.reshape(value.shape)[()], None)))
        if not rows:
            shapes = [
                np.shape(arguments[place].data if isinstance(arguments[place], Tensor) else arguments[place]) for place in places
            ]
            found = tuple([wrap(np.zeros((*value.shape, *shape), value.dtype), None) for shape in shapes])
        else:
            found = tuple([reshape(stack(column), (*value.shape, *column[0].shape)) for column in zip(*rows, strict=True)])
        return found if isinstance(argnums, tuple) else found[0]

    return compute


def jvp(f: Callable[..., Tensor], arguments: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """``f(*arguments)``, and its derivative in the direction of ``tangents``: the Jacobian-vector product.

    Computed by two backward passes (J. Townsend, *A new trick for calculating Jacobian vector products*, 2017): the pullback
    u -> J^T u is linear, and its own pullback at t is J t. Operations without second gradients refuse.

    Args:
        f: A function that returns a tensor of any shape.
        arguments: Its arguments, all floating.
        tangents: A tangent for each argument, of its shape.

    Example:
        >>> jvp(lambda x, y: x * y, ([1.0, 2.0], 3.0), ([1.0, 0.0], 10.0))
        (Tensor([3., 6.]), Tensor([13., 20.]))
    """
    if len(tangents) != len(arguments):
        raise ValueError(f"jvp: tangents must be as many as arguments, got {len(tangents)} for {len(arguments)}")
    value, pull = vjp(f, *arguments)
    directions = [t if isinstance(t, Tensor) else Tensor(t) for t in tangents]
    u = Tensor(np.zeros(value.shape, value.dtype), value.dtype, requires_grad=True)
    token = recording.set(True)
    try:
        total = wrap(value.dtype.type(0), None)
        for i, (row, direction) in enumerate(zip(pull(u), directions, strict=True)):
            if row.shape != direction.shape:
                raise ValueError(f"jvp: tangents[{i}] must have shape {row.shape}, as its argument, got {direction.shape}")
            total = add(total, sum_(multiply(row, direction)))
        if not total.requires_grad:
            return value, wrap(np.zeros(value.shape, value.dtype)[()], None)
        (result,) = gradients(total, [u], create_graph=value.requires_grad or any(t.requires_grad for t in directions))
    finally:
        recording.reset(token)
    return value, result


def vjp(f: Callable[..., Tensor], *arguments: Any) -> tuple[Tensor, Callable[[Operand | None], tuple[Tensor, ...]]]:
    """``f(*arguments)``, and its pullback: the vector-Jacobian product as a function, which can be called repeatedly.

    The pullback takes the gradient of the value (by default 1, for a scalar) to the gradients of all arguments.

    Example:
        >>> value, pull = vjp(lambda x: x * x, [1.0, 2.0, 3.0])
        >>> pull([1.0, 0.0, 10.0])
        (Tensor([ 2.,  0., 60.]),)
    """
    return _pull(f, arguments, tuple(range(len(arguments))))


def _places(name: str, argnums: Any) -> tuple[int, ...]:
    try:
        return tuple([operator.index(i) for i in (argnums if isinstance(argnums, tuple) else (argnums,))])
    except TypeError:
        raise TypeError(f"{name}: argnums must be an int or a tuple of ints, got {argnums!r}") from None


def _pull(
    f: Callable[..., Tensor], arguments: Sequence[Any], places: Sequence[int]
) -> tuple[Tensor, Callable[[Operand | None], tuple[Tensor, ...]]]:
    """The value of ``f``, without its graph unless that is needed outside, and its pullback."""
    given = list(arguments)
    outer, begin = False, next(clock)
    for place in places:
        x = given[place] if isinstance(given[place], Tensor) else Tensor(given[place])
        if x.requires_grad and recording.get():
            outer = True
            given[place] = _input(x)  # a node of its own: f may use x in another way too
        else:
            given[place] = wrap(x.data, None)
            given[place].requires_grad = True
            given[place].node.saved += (_ARGUMENT,)
    inputs = [given[place] for place in places]
    token = recording.set(True)
    try:
        output = f(*given)
    finally:
        recording.reset(token)
    if not isinstance(output, Tensor):
        raise TypeError(f"f must return a Tensor, got {type(output).__name__}")
    asked = outer
    outer = outer or bool(recording.get() and _uses_others(output.node, {x.node for x in inputs}, begin))

    def pull(gradient: Operand | None = None) -> tuple[Tensor, ...]:
        linking = asked or (isinstance(gradient, Tensor) and gradient.requires_grad)
        late = None if linking else first_only  # a closure's leaf may never be asked for its gradient
        return tuple(_gradients(output, inputs, gradient, create_graph=linking or outer, retain_graph=True, late=late))

    return (output if outer else output.detach()), pull


def _uses_others(root: Node | None, inputs: set[Node | None], begin: int) -> bool:
    """Whether a graph begins at leaves other than ``inputs``: tensors that f took from its closure, or keeps.

    The arguments of functions that were differentiated inside f, after ``begin``, do not count: nothing refers to them.
    """
    seen, todo = {root}, [root]
    while todo:
        node = todo.pop()
        if node is None or node in inputs:
            continue
        if node.operation is None:
            if _ARGUMENT in (node.saved or ()) and node.stamp > begin:
                continue
            return True
        todo += [parent for parent in node.parents or () if parent not in seen]
        seen.update(node.parents or ())
    return False
