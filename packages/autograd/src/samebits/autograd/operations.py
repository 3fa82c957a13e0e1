"""Operations from functions of arrays: the decorators `operation`, `elementwise` and `kernel`.

An operation is one function, which computes arrays from arrays, and one rule for each tensor argument, which maps the
gradient of the result to the gradient of that argument. A rule's parameters say what it needs: the gradient first, then any
of the function's own arguments, and ``out`` for its result. Nothing else is saved.

    @operation(lambda g, x, out: g * out / x)
    def my_function(x): ...

Rules are written with operations, so they work on arrays in the first backward pass, and on tensors for gradients of
gradients. A `kernel` has one rule on arrays for all its arguments, for speed. Given only arrays, an operation returns an
array.
"""

import inspect
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, cast

import numpy as np

from samebits.autograd.dtypes import refuse_float64
from samebits.autograd.graph import SMALL, Array, GraphError, Node, Operation, Rule, recording, together, tracing
from samebits.autograd.tensor import Tensor, wrap

__all__ = ["BROADCAST", "elementwise", "first_only", "kernel", "linked", "operation", "record"]

P = ParamSpec("P")
_FLOAT32 = np.dtype(np.float32)

BROADCAST = Operation("broadcast")
"""The stretching of an operand of `elementwise`. Its rule is a sum, itself an operation, so `ops.reductions` sets it."""


def record(operation: Operation, parents: tuple[Node | None, ...], saved: Sequence[Any], data: Array) -> Tensor:
    """The tensor of ``data``, and the node that says where it comes from."""
    node = Node(operation, parents, saved, data if data.size <= SMALL else data.shape)
    if tracing.get():
        node.trace = traceback.format_list(traceback.extract_stack(limit=12)[:-2])
    return wrap(data, node)


def operation(*rules: Rule) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Turn a function into an operation; ``rules[i]`` belongs to its i-th argument. Further arguments cannot be tensors.

    The function gets arrays in place of tensors and returns an array. Its rules return new arrays, or the gradient itself.
    The operation has the function's parameters, and returns a tensor, or an array where only arrays were given. Annotate
    tensor arguments as ``Any``, because the function sees arrays and its callers pass tensors.

    Raises:
        TypeError: A rule names something that is not a parameter of the function, or the function has keyword-only
            parameters. From the operation: a further argument is a tensor.

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

    def decorate(function: Callable[P, Any]) -> Callable[P, Tensor]:
        compute = cast("Callable[..., Any]", function)
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
                if isinstance(argument, Tensor):
                    tensor = argument
                elif isinstance(argument, np.ndarray | np.generic):
                    arrays.append(argument)
                    parents.append(None)
                    continue
                else:
                    tensor = Tensor(argument)
                traced = True
                arrays.append(tensor.data)
                parents.append(tensor.node)
                mask |= (tensor.node is not None) << position
            others = arguments[count:]
            for other in others:
                if isinstance(other, Tensor):
                    raise TypeError(
                        f"{described.name}: an argument without a rule must not be a tensor; write a rule, or pass x.numpy()"
                    )
            data = compute(*arrays, *others)
            if not mask or not recording.get():
                return wrap(data, None) if traced else data
            arrays.append(data)
            saved = [array if kept else None for array, kept in zip(arrays, keeps[mask], strict=True)]
            saved += others
            return record(described, tuple(parents), saved, data)

        return cast("Callable[P, Tensor]", apply)

    return decorate


def elementwise(rule_a: Rule, rule_b: Rule) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Turn a function of two arrays that broadcast into an operation, as `operation` does.

    Its rules see both arguments in the shape of the result: a broadcast argument gets a node of its own, whose rule is a sum.

    Example:
        >>> from samebits.autograd import Tensor
        >>> @elementwise(lambda g, b: g * b, lambda g, a: g * a)
        ... def product(a, b):
        ...     return a * b
        >>> x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor(3.0, requires_grad=True)
        >>> product(x, y).sum().backward()
        >>> x.grad, y.grad
        (Tensor([3., 3.]), Tensor(3.))
    """

    def decorate(function: Callable[P, Any]) -> Callable[P, Tensor]:
        compute = cast("Callable[[Any, Any], Any]", function)
        described, keeps = _describe(function, (rule_a, rule_b))

        @wraps(function)
        def apply(a: Any, b: Any) -> Any:
            if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.data.dtype is not b.data.dtype:
                a, b = operands(described.name, a, b)
                if not isinstance(a, Tensor) or not isinstance(b, Tensor):
                    return compute(a, b)
            x, y, m, n = a.data, b.data, a.node, b.node
            data = compute(x, y)
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

        return cast("Callable[P, Tensor]", apply)

    return decorate


def kernel(rule: Rule) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Turn a fused kernel into an operation, which has first gradients only.

    The function gets arrays in place of tensors (any positional argument may be one) and returns ``(array, saved)``. The rule
    is ``rule(gradient, *saved)``, on arrays. It returns the gradients of the leading arguments, None where there is none.
    As for `operation`, annotate tensor arguments as ``Any``.

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

    def decorate(function: Callable[P, Any]) -> Callable[P, Tensor]:
        compute = cast("Callable[..., Any]", function)
        described = Operation(function.__name__.strip("_"), joint=rule, twice=False)
        bind, _ = _binder(function)

        @wraps(function)
        def apply(*arguments: Any, **keywords: Any) -> Any:
            if keywords:
                arguments = bind(arguments, keywords)
            arrays: list[Any] = []
            parents: list[Node | None] = []
            traced = required = False
            for argument in arguments:
                if isinstance(argument, Tensor):
                    traced = True
                    required |= argument.node is not None
                    arrays.append(argument.data)
                    parents.append(argument.node)
                else:
                    arrays.append(argument)
                    parents.append(None)
            data, saved = compute(*arrays)
            if not required or not recording.get():
                return wrap(data, None) if traced else data
            return record(described, tuple(parents), tuple(saved), data)

        return cast("Callable[P, Tensor]", apply)

    return decorate


def _binder(function: Callable[..., Any]) -> tuple[Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]], int]:
    """A function that makes positional arguments of a call, defaults included, and how many there are."""
    signature = inspect.signature(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind in {parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD}:
            raise TypeError(f"{function.__name__} must not have keyword-only parameters, got {name!r}")

    def bind(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
        bound = signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        return bound.args

    return bind, len(signature.parameters)


def _describe(function: Callable[..., Any], rules: Sequence[Rule]) -> tuple[Operation, list[list[bool]]]:
    """Read from the rules' parameters what each one needs, and so what to save for each set of arguments."""
    names, count = list(inspect.signature(function).parameters), len(rules)
    places = {name: i for i, name in enumerate([*names[:count], "out", *names[count:]])}
    picked = []
    for rule in rules:
        needs = list(inspect.signature(rule).parameters)[1:]
        unknown = [name for name in needs if name not in places]
        if unknown:
            raise TypeError(f"{function.__name__}: a rule's parameters must be among {', '.join(places)}, got {unknown[0]!r}")
        picked.append((rule, tuple(places[name] for name in needs)))
    keeps = [
        [any(mask >> i & 1 and place in picks for i, (_, picks) in enumerate(picked)) for place in range(count + 1)]
        for mask in range(2**count)
    ]
    return Operation(function.__name__.strip("_"), picked), keeps


def broadcast(node: Node, array: Array, shape: tuple[int, ...]) -> Node:
    """The node of ``array`` stretched to ``shape``."""
    return Node(BROADCAST, (node,), (None, None, array.shape), shape)


def linked(node: Node) -> list[Any]:
    """What a node saved, as tensors with their nodes: with these, the rules themselves are recorded."""
    operation, parents = node.operation, node.parents
    if operation is None or parents is None or node.saved is None:
        return []
    saved = list(node.saved)
    for i, origin in enumerate([*parents, node] if operation.rules else ()):
        saved[i] = None if saved[i] is None else wrap(saved[i], origin)
    return saved


def first_only(node: Node, g: Tensor) -> list[Tensor | None]:
    """The gradients of a kernel's arguments as tensors that refuse to be differentiated."""
    operation: Any = node.operation

    def refuse(*_: Any) -> Any:
        raise GraphError(f"{operation.name} has no second gradients: its rule works on arrays only")

    ended = Operation(f"gradient of {operation.name}", joint=refuse)
    found = together(operation, g.data, node.saved or ())
    return [None if x is None else record(ended, (g.node, *(node.parents or ())), (), x) for x in found]


def operands(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands in one dtype: numbers and integers take that of the floating operand; float32 and float64 are not mixed.

    Two tensors, unless both are arrays (or an array and a number).
    """
    if isinstance(a, Tensor):
        b = b if isinstance(b, Tensor) else _constant(f"{name}: b", b, a.data.dtype)
    elif isinstance(b, Tensor):
        a = _constant(f"{name}: a", a, b.data.dtype)
    elif isinstance(a, np.ndarray | np.generic) or isinstance(b, np.ndarray | np.generic):
        return _arrays(name, a, b)
    else:
        a, b = Tensor(a), Tensor(b)
    dtype, other = a.data.dtype, b.data.dtype
    if dtype == other:
        return a, b
    if dtype.kind == other.kind == "f":
        raise TypeError(f"{name}: a and b must have one dtype, got {dtype} and {other}; convert one with astype")
    dtype = next((d for d in (dtype, other) if d.kind == "f"), np.dtype(np.int64))
    return (
        a if a.data.dtype == dtype else wrap(a.data.astype(dtype), None),
        b if b.data.dtype == dtype else wrap(b.data.astype(dtype), None),
    )


def _arrays(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two arrays, or an array and a number in its dtype."""
    if not isinstance(a, np.ndarray | np.generic):
        a = b.dtype.type(a)
    elif not isinstance(b, np.ndarray | np.generic):
        b = a.dtype.type(b)
    if a.dtype is not _FLOAT32:
        refuse_float64(f"{name}: a", a)
    if b.dtype is not _FLOAT32:
        refuse_float64(f"{name}: b", b)
    return a, b


def _constant(what: str, x: Any, dtype: np.dtype[Any]) -> Tensor:
    """An operand that is not a tensor, as one."""
    if isinstance(x, bool | int | float | np.number | np.bool_):
        if isinstance(x, np.floating):
            refuse_float64(what, x)
        fits = dtype.kind == "f" or (dtype.kind == "i" and isinstance(x, int | np.integer | np.bool_))
        return wrap(dtype.type(x), None) if fits else Tensor(x if not isinstance(x, np.floating) else float(x))
    if isinstance(x, np.ndarray):
        refuse_float64(what, x)
    elif not isinstance(x, list | tuple):
        raise TypeError(f"{what} must be a tensor, an array or a number, got {type(x).__name__}")
    return Tensor(x)
