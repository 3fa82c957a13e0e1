"""How a function of arrays becomes an operation on tensors: `operation`, `elementwise`, `kernel`.

An operation is one function, which computes arrays from arrays, and one rule for each tensor argument, which takes the
gradient of the result to the gradient of that argument. A rule names what it needs: the gradient first, then any of the
function's own arguments, and ``out`` for its result. What no rule needs is not kept.

    @operation(lambda g, x, out: g * out / x)
    def my_function(x): ...

Rules are written with operations, so they work on arrays in the first backward pass and on tensors where gradients of
gradients are asked for. A `kernel` has one rule on arrays for all its arguments, where speed asks for it.
Given arrays alone, an operation computes an array.
"""

import inspect
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from samebits.autograd.graph import SMALL, Array, GraphError, Node, Operation, Rule, recording, together, tracing
from samebits.autograd.tensor import Operand, Tensor, wrap

__all__ = ["elementwise", "first_only", "kernel", "linked", "operation", "record"]


def record(operation: Operation, parents: tuple[Node | None, ...], saved: Sequence[Any], data: Array) -> Tensor:
    """The tensor of ``data``, and the node that says where it comes from."""
    node = Node(operation, parents, saved, data if data.size <= SMALL else data.shape)
    if tracing.get():
        node.trace = traceback.format_list(traceback.extract_stack(limit=12)[:-2])
    return wrap(data, node)


def operation(*rules: Rule) -> Callable[[Callable[..., Any]], Callable[..., Tensor]]:
    """Make an operation of a function: ``rules[i]`` is for its i-th argument; further arguments are no tensors.

    The function gets arrays for tensors and returns an array; its rules return fresh arrays, or the gradient itself.

    Raises:
        TypeError: A rule names something that the function has not, or the function has parameters for keywords alone; from
            the operation, if a further argument is a tensor.

    Example:
        >>> from samebits.autograd import Tensor
        >>> @operation(lambda g, x, n: g * x * x.dtype.type(n))
        ... def half_square(x, n):
        ...     return x * x * x.dtype.type(n / 2)
        >>> x = Tensor(3.0, requires_grad=True)
        >>> half_square(x, 2).backward()
        >>> x.grad
        Tensor(6.)
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Tensor]:
        described, keeps = _describe(function, rules)
        count = len(rules)
        bind, length = _binder(function)

        @wraps(function)
        def apply(*arguments: Any, **keywords: Any) -> Any:
            if keywords or len(arguments) < length:
                arguments = bind(arguments, keywords)
            arrays: list[Any] = []
            parents: list[Node | None] = []
            mask, traced = 0, False
            for position, argument in enumerate(arguments[:count]):
                if isinstance(argument, np.ndarray | np.generic):
                    arrays.append(argument)
                    parents.append(None)
                    continue
                tensor = argument if isinstance(argument, Tensor) else Tensor(argument)
                traced = True
                arrays.append(tensor.data)
                parents.append(tensor.node)
                mask |= (tensor.node is not None) << position
            others = arguments[count:]
            for other in others:
                if isinstance(other, Tensor):
                    raise TypeError(
                        f"{described.name}: a tensor was given for an argument without a rule: give a rule or numpy()"
                    )
            data = function(*arrays, *others)
            if not mask or not recording.get():
                return wrap(data, None) if traced else data
            arrays.append(data)
            saved = [array if kept else None for array, kept in zip(arrays, keeps[mask], strict=True)]
            saved += others
            return record(described, tuple(parents), saved, data)

        return apply

    return decorate


def elementwise(rule_a: Rule, rule_b: Rule) -> Callable[[Callable[[Any, Any], Any]], Callable[[Operand, Operand], Tensor]]:
    """Make an operation of a function of two arrays that broadcast, as `operation` does.

    Its rules see both arguments in the shape of the result: a broadcast argument has a node of its own, whose rule is the sum.
    """

    def decorate(function: Callable[[Any, Any], Any]) -> Callable[[Operand, Operand], Tensor]:
        described, keeps = _describe(function, (rule_a, rule_b))

        @wraps(function)
        def apply(a: Any, b: Any) -> Any:
            if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.data.dtype is not b.data.dtype:
                a, b = operands(described.name, a, b)
                if not isinstance(a, Tensor) or not isinstance(b, Tensor):
                    return function(a, b)
            x, y, m, n = a.data, b.data, a.node, b.node
            data = function(x, y)
            if (m is None and n is None) or not recording.get():
                return wrap(data, None)
            keep_x, keep_y, keep_out = keeps[(m is not None) + 2 * (n is not None)]
            shape = data.shape
            if x.shape != shape:
                m = m and broadcast(m, x, shape)
                x = np.broadcast_to(x, shape) if keep_x else x
            if y.shape != shape:
                n = n and broadcast(n, y, shape)
                y = np.broadcast_to(y, shape) if keep_y else y
            saved = (x if keep_x else None, y if keep_y else None, data if keep_out else None)
            return record(described, (m, n), saved, data)

        return apply

    return decorate


def kernel(rule: Rule) -> Callable[[Callable[..., Any]], Callable[..., Tensor]]:
    """Make an operation of a fused kernel, which has first gradients only.

    The function gets arrays for tensors (any positional argument may be one) and returns ``(array, saved)``. The rule is
    ``rule(gradient, *saved)``, on arrays; it returns the gradients of the leading arguments, None where there is none.

    Example:
        >>> from samebits.autograd import Tensor
        >>> @kernel(lambda g, a, b: (g * b, g * a))
        ... def product(a, b):
        ...     return a * b, (a, b)
        >>> x = Tensor(3.0, requires_grad=True)
        >>> product(x, x).backward()
        >>> x.grad
        Tensor(6.)
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Tensor]:
        described = Operation(function.__name__.strip("_"), joint=rule, twice=False)
        bind, _ = _binder(function)

        @wraps(function)
        def apply(*arguments: Any, **keywords: Any) -> Any:
            if keywords:
                arguments = bind(arguments, keywords)
            data, saved = function(*[a.data if isinstance(a, Tensor) else a for a in arguments])
            parents = tuple([a.node if isinstance(a, Tensor) else None for a in arguments])
            if not any(parents) or not recording.get():
                return wrap(data, None) if any(isinstance(a, Tensor) for a in arguments) else data
            return record(described, parents, tuple(saved), data)

        return apply

    return decorate


def _binder(function: Callable[..., Any]) -> tuple[Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]], int]:
    """What makes positional arguments of a call, defaults included, and how many there are."""
    signature = inspect.signature(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind in {parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD}:
            raise TypeError(f"{function.__name__} takes {name!r} by keyword alone, which an operation cannot give it")

    def bind(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
        bound = signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        return bound.args

    return bind, len(signature.parameters)


def _describe(function: Callable[..., Any], rules: Sequence[Rule]) -> tuple[Operation, list[list[bool]]]:
    """Read from the rules' parameters what each one needs, and so what must be kept for each set of arguments."""
    names, count = list(inspect.signature(function).parameters), len(rules)
    places = {name: i for i, name in enumerate([*names[:count], "out", *names[count:]])}
    picked = []
    for rule in rules:
        needs = list(inspect.signature(rule).parameters)[1:]
        unknown = [name for name in needs if name not in places]
        if unknown:
            raise TypeError(f"a rule of {function.__name__} needs {unknown[0]!r}: it can name {', '.join(places)}")
        picked.append((rule, tuple(places[name] for name in needs)))
    keeps = [
        [any(mask >> i & 1 and place in picks for i, (_, picks) in enumerate(picked)) for place in range(count + 1)]
        for mask in range(2**count)
    ]
    return Operation(function.__name__.strip("_"), picked), keeps


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    from samebits.autograd.ops.reductions import sum_to

    return sum_to(g, shape)


_BROADCAST = Operation("broadcast", [(_sum_to, (2,))])


def broadcast(node: Node, array: Array, shape: tuple[int, ...]) -> Node:
    """The node of ``array`` stretched to ``shape``."""
    return Node(_BROADCAST, (node,), (None, None, array.shape), shape)


def linked(node: Node) -> list[Any]:
    """What a node saved, as tensors that know where they come from: what rules need to be recorded themselves."""
    operation, parents = node.operation, node.parents
    if operation is None or parents is None or node.saved is None:
        return []
    saved = list(node.saved)
    for i, origin in enumerate([*parents, node][: operation.tensors + 1] if operation.tensors else ()):
        saved[i] = None if saved[i] is None else wrap(saved[i], origin)
    return saved


def first_only(node: Node, g: Tensor) -> list[Tensor | None]:
    """The gradients of a kernel's arguments as tensors that can be used, and refuse to be differentiated."""
    operation: Any = node.operation

    def refuse(*_: Any) -> Any:
        raise GraphError(f"{operation.name} has no gradients of gradients: its rule is written on arrays")

    ended = Operation(f"gradient of {operation.name}", joint=refuse)
    found = together(operation, g.data, node.saved or ())
    return [None if x is None else record(ended, (g.node, *(node.parents or ())), (), x) for x in found]


def operands(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands in one dtype: numbers and integers take that of the floating operand; float32 and float64 are not mixed.

    Two tensors, unless both are arrays (with numbers).
    """
    if isinstance(a, Tensor):
        b = b if isinstance(b, Tensor) else _constant(name, b, a.data.dtype)
    elif isinstance(b, Tensor):
        a = _constant(name, a, b.data.dtype)
    elif isinstance(a, np.ndarray | np.generic):
        return a, b if isinstance(b, np.ndarray | np.generic) else a.dtype.type(b)
    elif isinstance(b, np.ndarray | np.generic):
        return b.dtype.type(a), b
    else:
        a, b = Tensor(a), Tensor(b)
    dtype, other = a.data.dtype, b.data.dtype
    if dtype == other:
        return a, b
    if dtype.kind == other.kind == "f":
        raise TypeError(f"{name}: {dtype} and {other} are not mixed; convert one operand with astype")
    dtype = next((d for d in (dtype, other) if d.kind == "f"), np.dtype(np.int64))
    return (
        a if a.data.dtype == dtype else wrap(a.data.astype(dtype), None),
        b if b.data.dtype == dtype else wrap(b.data.astype(dtype), None),
    )


def _constant(name: str, x: Any, dtype: np.dtype[Any]) -> Tensor:
    """An operand that is no tensor, as one."""
    if isinstance(x, bool | int | float | np.number | np.bool_):
        fits = dtype.kind == "f" or (dtype.kind == "i" and isinstance(x, int | np.integer | np.bool_))
        return wrap(dtype.type(x), None) if fits else Tensor(x if not isinstance(x, np.floating) else float(x))
    if not isinstance(x, np.ndarray | list | tuple):
        raise TypeError(f"{name}: a tensor, an array or a number is needed, not {type(x).__name__}")
    return Tensor(x)
