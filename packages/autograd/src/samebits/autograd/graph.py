"""The graph of a computation, and the backward pass through it.

Every recorded call of an operation is a `Node`: the operation, the nodes of its arguments, and the arrays its rule needs.
A tensor with ``requires_grad=True`` has a node without an operation: a leaf. Nodes point only to what was computed before
them, so there are no reference cycles, and a graph is freed with its last tensor.

Every node takes a stamp from one clock. Whatever used a node was computed after it, so visiting the nodes by decreasing
stamp visits each one once, when its whole gradient is known: no recursion, no separate sorting pass.

    x = Tensor(3.0)                leaf 1
    y = x * x                      multiply 2   parents (1, 1)
    z = y + x                      add 3        parents (2, 1)
    backward: add 3 gives 1 to 2 and 1 to 1; multiply 2 gives 3 and 3 to 1; leaf 1 has 7
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from samebits.autograd import edits
from samebits.core.settings import Setting

__all__ = ["AnomalyError", "GraphError", "Node", "Operation", "Part", "detect_anomaly", "no_grad"]

Array = npt.NDArray[Any]
Rule = Callable[..., Any]
Value: TypeAlias = Any
"""A tensor argument of an operation: an array inside the function; a tensor, an array or numbers for its callers."""

clock = itertools.count(1)

recording = Setting("recording", True)
tracing = Setting("tracing", False)

SMALL = 16  # elements; a node remembers values up to this size for pictures


class GraphError(RuntimeError):
    """The graph does not allow what was asked for.

    Example:
        >>> from samebits.autograd import Tensor
        >>> Tensor(1.0).backward()
        Traceback (most recent call last):
            ...
        samebits.autograd.graph.GraphError: backward: the tensor requires no gradient: none of what it was computed from has requires_grad=True
    """


class AnomalyError(FloatingPointError):
    """A gradient is NaN; raised under `detect_anomaly`, whose example shows one."""


class Operation:
    """A differentiable operation as the backward pass sees it: a name and its rules.

    With ``rules``, one for each tensor argument: ``rule(gradient, *[saved[i] for i in picks])`` is that argument's gradient.
    They use operations only, so they work on arrays, and on tensors for gradients of gradients.
    With ``joint``, one rule for all: ``joint(gradient, *saved)`` is a sequence of the arguments' gradients, ``None`` where
    there is none. Without ``twice``, it works on arrays only and has first gradients only.
    """

    __slots__ = ("joint", "name", "rules", "twice")

    def __init__(
        self,
        name: str,
        rules: Sequence[tuple[Rule, tuple[int, ...]]] = (),
        *,
        joint: Rule | None = None,
        twice: bool = True,
    ) -> None:
        self.name = name
        self.rules = tuple(rules)  # saved holds as many arguments, then the result, then what is not a tensor
        self.joint = joint
        self.twice = twice


class Node:
    """One call of an operation, or a leaf: ``operation`` is None, ``saved`` its dtype, and ``grad`` its gradient."""

    __slots__ = ("grad", "operation", "parents", "saved", "stamp", "trace", "value")

    def __init__(
        self, operation: Operation | None, parents: tuple["Node | None", ...] | None, saved: Sequence[Any] | None, value: Any
    ) -> None:
        self.stamp = next(clock)
        self.operation = operation
        self.parents = parents
        self.saved = saved
        self.value = value  # for pictures: the array if it is small, otherwise its shape
        self.grad: Any = None
        self.trace: list[str] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.value if isinstance(self.value, tuple) else self.value.shape
        return shape

    @property
    def name(self) -> str:
        return self.operation.name if self.operation else "leaf"


class Part:
    """A gradient that is zero except at ``index`` (integers and slices) of ``shape``.

    The backward pass writes the parts of one array into one buffer, so reading an array slice by slice costs its size once.
    """

    __slots__ = ("index", "shape", "values")

    def __init__(self, values: Array, index: Any, shape: tuple[int, ...]) -> None:
        self.values = values
        self.index = index
        self.shape = shape

    def dense(self) -> Array:
        result = np.zeros(self.shape, self.values.dtype)
        result[self.index] = self.values
        return result


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording: results require no gradient. Also a decorator. It applies to this thread or task only.

    Example:
        >>> from samebits.autograd import Tensor
        >>> x = Tensor([1.0], requires_grad=True)
        >>> with no_grad():
        ...     (x * 2).requires_grad
        False
    """
    with _set(recording, value=False):
        yield


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Record where each operation was called, and stop the backward pass at the first NaN in a gradient.

    Both the computation and its ``backward()`` must be inside. It makes every operation many times slower.

    Raises:
        AnomalyError: From ``backward()``, naming the operation that made the NaN and the line that called it.

    Example:
        >>> from samebits.autograd import Tensor
        >>> x = Tensor(0.0, requires_grad=True)
        >>> with detect_anomaly(), np.errstate(all="ignore"):
        ...     (x.sqrt() * 0.0).backward()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        samebits.autograd.graph.AnomalyError: sqrt: its rule made NaN in the gradient of argument 0, at (); called here:...
    """
    with _set(tracing, value=True):
        yield


@contextmanager
def _set(setting: Setting[bool], *, value: bool) -> Iterator[None]:
    choice = setting.set(value)
    try:
        yield
    finally:
        setting.reset(choice)


def run(
    root: Node,
    gradient: Any,
    *,
    wanted: Collection[Node] = (),
    retain: bool = False,
    link: Callable[[Node], list[Any]] | None = None,
    late: Callable[[Node, Any], Sequence[Any]] | None = None,
    ready: Callable[[Node, Any], None] | None = None,
) -> dict[Node, Any]:
    """Propagate a gradient backward from ``root``.

    Args:
        root: The node to start from.
        gradient: Its gradient: an array, or a tensor with ``link``.
        wanted: The nodes whose gradients are returned; if empty, all leaves.
        retain: Keep what the rules need, for another pass.
        link: Returns a node's saved values as tensors with their nodes; then the pass itself is recorded.
        late: With ``link``, returns the gradients of a node's arguments where the rule works on arrays only; None refuses.
        ready: Called with a leaf and its gradient as soon as that is complete, in the middle of the pass.

    Returns:
        The gradient of each of ``wanted`` (of each leaf) that was reached and for which ``ready`` was not called.

    Raises:
        GraphError: A node was freed by an earlier pass, an array it needs was modified, or it has no second gradients.
    """
    found: dict[Node, Any] = {}
    pending, owned, heap = {root: gradient}, set[Node](), [(-root.stamp, root)]
    oldest = min((node.stamp for node in wanted), default=0)
    traced = tracing.get()
    uses = _uses_of_leaves(root) if ready is not None else {}
    while heap:
        node = heappop(heap)[1]
        if node.stamp < oldest:
            break
        if node.operation is None:
            if node in pending:  # else it was handed over
                found[node] = _fitting(node, pending.pop(node))
            continue
        g = _fitting(node, pending.pop(node))
        if node in wanted:
            found[node] = g
            if node.stamp == oldest:
                continue
        contributions, parents = _contributions(node, g, link, late, traced=traced), node.parents or ()
        if not retain:
            node.parents = node.saved = None
        for parent in _distribute(parents, contributions, pending, owned):
            heappush(heap, (-parent.stamp, parent))
        if ready is not None:
            _hand_over(parents, uses, pending, ready)
    return found


def _distribute(
    parents: Sequence[Node | None], contributions: Sequence[Any], pending: dict[Node, Any], owned: set[Node]
) -> Iterator[Node]:
    """Add contributions to the gradients of a node's arguments; yield the arguments that had none before."""
    for parent, contribution in zip(parents, contributions, strict=False):
        if parent is None or contribution is None:
            continue
        if parent not in pending:
            yield parent
        if parent in pending or type(contribution) is Part:
            _accumulate(pending, owned, parent, contribution)
        else:
            pending[parent] = contribution


def _hand_over(
    visited: Sequence[Node | None], uses: dict[Node, int], pending: dict[Node, Any], ready: Callable[[Node, Any], None]
) -> None:
    """Call ``ready`` for the leaves among a node's arguments that no other node will use."""
    for parent in visited:
        if parent is not None and parent in uses:
            uses[parent] -= 1
            if not uses[parent] and parent in pending:
                ready(parent, _fitting(parent, pending.pop(parent)))


def _uses_of_leaves(root: Node) -> dict[Node, int]:
    """How often each leaf is an argument of the nodes that a pass visits."""
    uses: dict[Node, int] = {}
    seen, left = {root}, [root]
    while left:
        for parent in left.pop().parents or ():
            if parent is None:
                continue
            if parent.operation is None:
                uses[parent] = uses.get(parent, 0) + 1
            elif parent not in seen:
                seen.add(parent)
                left.append(parent)
    return uses


def _contributions(
    node: Node,
    g: Any,
    link: Callable[[Node], list[Any]] | None,
    late: Callable[[Node, Any], Sequence[Any]] | None,
    *,
    traced: bool,
) -> Sequence[Any]:
    """The gradients of a node's arguments; refused if the node was freed or modified, and if ``traced`` when one is NaN."""
    if node.parents is None:
        _refuse_freed(node)
    if node.stamp < edits.last:
        _refuse_modified(node)
    try:
        contributions = _pull(node, g, link, late)
    except Exception as error:
        error.add_note(f"in the backward pass of {node.name}{_called_at(node)}")
        raise
    if traced:
        _refuse_nan(node, contributions)
    return contributions


def _pull(
    node: Node,
    g: Any,
    link: Callable[[Node], list[Any]] | None,
    late: Callable[[Node, Any], Sequence[Any]] | None,
) -> Sequence[Any]:
    operation: Any = node.operation
    saved: Any = node.saved
    if link is not None:
        if not operation.twice and late is not None:
            return late(node, g)
        if not operation.twice:
            raise GraphError(f"{operation.name} has no second gradients: its rule works on arrays only")
        saved = link(node)
    if operation.joint is not None:
        return together(operation, g, saved)
    parents: Any = node.parents
    return [
        None if parent is None else rule(g, *[saved[i] for i in picks])
        for parent, (rule, picks) in zip(parents, operation.rules, strict=True)
    ]


def together(operation: Operation, g: Any, saved: Sequence[Any]) -> Sequence[Any]:
    """The gradients that a joint rule returns."""
    joint: Any = operation.joint
    found = joint(g, *saved)
    if not isinstance(found, tuple | list):
        raise TypeError(
            f"{operation.name}: its rule must return a tuple, a gradient for each argument, got {type(found).__name__}"
        )
    return found


def _accumulate(pending: dict[Node, Any], owned: set[Node], parent: Node, contribution: Any) -> None:
    """Add to a gradient, in place where no one else can see the array."""
    total = pending.get(parent)
    if type(contribution) is Part:
        if total is None:
            total = contribution.dense()
        else:
            total = total if parent in owned and total.shape else np.array(total)  # a NumPy scalar cannot be written to
            total[contribution.index] += contribution.values
    elif parent in owned:
        total += contribution
    else:
        total = total + contribution
    owned.add(parent)
    pending[parent] = total


def _refuse_freed(node: Node) -> NoReturn:
    raise GraphError(
        f"{node.name}: its saved arrays were freed by an earlier backward pass; "
        "pass retain_graph=True to that one, or compute the result again"
    )


def _fitting(node: Node, g: Any) -> Any:
    value = node.value
    if g.shape != (value if type(value) is tuple else value.shape):
        raise GraphError(
            f"{node.name}: its gradient must have shape {node.shape}, got {g.shape}; "
            "the rule of an operation computed from it is wrong, which gradient_check would find"
        )
    if node.operation is None and node.saved and g.dtype != node.saved[0]:
        raise GraphError(
            f"leaf: its gradient must be {node.saved[0]}, got {g.dtype}; a rule mixed dtypes: write numbers as x.dtype.type(...)"
        )
    return g


def _refuse_modified(node: Node) -> None:
    for value in itertools.chain.from_iterable(v if isinstance(v, tuple) else (v,) for v in node.saved or ()):
        if isinstance(value, np.ndarray) and edits.stamp_of(value) > node.stamp:
            raise GraphError(
                f"{node.name}: an array of shape {value.shape} that its gradient needs was modified in place; "
                f"edit after backward(), or use a copy{_called_at(node)}"
            )


def _refuse_nan(node: Node, contributions: Sequence[Any]) -> None:
    for position, contribution in enumerate(contributions):
        if contribution is None:
            continue
        values = contribution.values if type(contribution) is Part else contribution
        bad = np.argwhere(np.isnan(np.asarray(values)))
        if len(bad):
            index = tuple(map(int, bad[0]))
            raise AnomalyError(
                f"{node.name}: its rule made NaN in the gradient of argument {position}, at {index}{_called_at(node)}"
            )


def _called_at(node: Node) -> str:
    return "; called here:\n" + "".join(node.trace).rstrip() if node.trace else ""
