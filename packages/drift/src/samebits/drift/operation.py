"""Operation: one call of NumPy on inputs with fixed bits, and its reproducible counterpart in `samebits.core`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import samebits.core
from samebits.drift import inputs

__all__ = ["Operation", "called_with", "in_both_precisions", "resolve"]


@dataclass(frozen=True)
class Operation:
    """One call of NumPy, and its reproducible counterpart.

    >>> one = Operation("arithmetic", "sqrt", "sqrt", [np.float32(4)], counterpart="sqrt")
    >>> float(one.run()), float(one.run_counterpart())
    (2.0, 2.0)
    """

    group: str
    name: str
    call: str | Callable[..., Any]
    """A function, or the name of one in ``numpy``: some NumPy versions lack some of them."""
    arguments: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    counterpart: str = ""
    """The name of the function in ``samebits.core``; empty if there is none."""
    counterpart_call: Callable[[Any], Any] | None = None
    """Calls that function, its one argument, and returns the result; by default it gets the same arguments as NumPy's."""

    def run(self) -> Any:
        """NumPy's result: an array, a scalar, or a tuple of them."""
        function = resolve(np, self.call) if isinstance(self.call, str) else self.call
        return function(*self.arguments, **self.keywords)

    def run_counterpart(self) -> Any:
        """The result of the counterpart. Raises AttributeError if samebits.core has no such function."""
        function = resolve(samebits.core, self.counterpart)
        return self.counterpart_call(function) if self.counterpart_call else function(*self.arguments, **self.keywords)

    def has_counterpart(self) -> bool:
        """Whether the installed samebits.core has the counterpart."""
        try:
            return bool(self.counterpart) and callable(resolve(samebits.core, self.counterpart))
        except AttributeError:
            return False


def resolve(module: Any, name: str) -> Any:
    """The attribute of a module whose dotted name is ``name``.

    >>> resolve(np, "linalg.norm") is np.linalg.norm
    True
    """
    for part in name.split("."):
        module = getattr(module, part)
    return module


def called_with(*arguments: Any) -> Callable[[Any], Any]:
    """A function that calls its one argument with these arguments.

    >>> called_with(2.0, 3.0)(max)
    3.0
    """
    return lambda function: function(*arguments)


def in_both_precisions(group: str, names: str, *arguments: str, counterparts: str = "") -> Iterator[Operation]:
    """For each name an operation on the float32 and one on the float64 form of the named inputs.

    Counterparts, those of `names` that are also in `counterparts`, exist for float32 alone.

    >>> [one.name for one in in_both_precisions("functions", "exp log", "positive")]
    ['exp float32', 'exp float64', 'log float32', 'log float64']
    """
    for name in names.split():
        for dtype in ("float32", "float64"):
            values = [inputs.named(argument, dtype) for argument in arguments]
            counterpart = name if dtype == "float32" and name in counterparts.split() else ""
            yield Operation(group, f"{name} {dtype}", name, values, counterpart=counterpart)
