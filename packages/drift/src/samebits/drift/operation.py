"""Operation: one call of NumPy with inputs that are the same everywhere, and the samebits function that takes its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import samebits.core
from samebits.drift import inputs

__all__ = ["Operation", "both", "on", "resolve"]


@dataclass(frozen=True)
class Operation:
    """One call of NumPy, and the samebits function that takes its place."""

    group: str
    name: str
    call: str | Callable[..., Any]
    """A function, or the name of one below ``numpy``: not every NumPy has them all."""
    arguments: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    twin: str = ""
    """The name of a function of ``samebits.core`` that takes the same arguments, if there is one."""
    twin_call: Callable[[Any], Any] | None = None
    """How to call the twin where its arguments are others: given the function, returns the result."""

    def run(self) -> Any:
        """NumPy's result: an array, a scalar, or a tuple of them."""
        function = resolve(np, self.call) if isinstance(self.call, str) else self.call
        return function(*self.arguments, **self.keywords)

    def run_twin(self) -> Any:
        """The twin's result; AttributeError if samebits.core has no such function."""
        function = resolve(samebits.core, self.twin)
        return self.twin_call(function) if self.twin_call else function(*self.arguments, **self.keywords)

    def has_twin(self) -> bool:
        """Whether this samebits.core has the twin; the table may know more than it."""
        try:
            return bool(self.twin) and callable(resolve(samebits.core, self.twin))
        except AttributeError:
            return False


def resolve(module: Any, name: str) -> Any:
    """The function ``name``, dots included, of a module."""
    for part in name.split("."):
        module = getattr(module, part)
    return module


def on(*arguments: Any) -> Callable[[Any], Any]:
    """What calls a function, given later, on these arguments."""
    return lambda function: function(*arguments)


def both(group: str, names: str, *arguments: str, twins: str = "") -> Iterator[Operation]:
    """An operation for every name, on the float32 and on the float64 form of the named inputs; twins for float32 alone."""
    for name in names.split():
        for dtype in ("float32", "float64"):
            values = [inputs.named(argument, dtype) for argument in arguments]
            twin = name if dtype == "float32" and name in twins.split() else ""
            yield Operation(group, f"{name} {dtype}", name, values, twin=twin)
