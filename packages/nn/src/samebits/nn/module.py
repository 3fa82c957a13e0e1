"""`Module`: a layer or a model, as a tree of modules and tensors with names.

A tensor or a module that is an attribute of a module is part of it, directly or in lists, tuples and dicts. The path to it
is its name, and the order is that of the attributes. There is no registry: the tree is read from ``vars``.

    model.blocks[0].attention.query.weight   is   "blocks.0.attention.query.weight"

A tensor that requires a gradient is a parameter, any other is a buffer (running statistics, tables); both are saved and loaded.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor

__all__ = ["Module", "parameter"]

Array = npt.NDArray[Any]


def parameter(array: npt.ArrayLike) -> Tensor:
    """A tensor to train: a leaf that requires a gradient, with a copy of a floating ``array``.

    Example:
        >>> parameter([1.0, 2.0])
        Tensor([1., 2.], requires_grad=True)
    """
    return Tensor(array, requires_grad=True)


class Module:
    """A layer or a model. Subclasses create their parts in ``__init__`` and compute in ``__call__``.

    Example:
        >>> class Line(Module):
        ...     def __init__(self) -> None:
        ...         self.slope, self.offset = parameter(2.0), parameter(1.0)
        ...
        ...     def __call__(self, x: Tensor) -> Tensor:
        ...         return self.slope * x + self.offset
        >>> line = Line()
        >>> line(3.0)
        Tensor(7., from add)
        >>> line
        Line  2 parameters: slope (), offset ()
    """

    training: bool = True
    """Whether layers that differ between training and evaluation (dropout, batch normalization) are in training mode."""

    __call__: Callable[..., Any]
    """The computation; what it takes and returns is up to the subclass."""

    draws: bool = False
    """Whether a call takes ``stream=``, from which it draws random numbers in training; `Sequential` passes one on."""

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module, named "", and all below it with their paths; each once, under its first path."""
        return ((name, part) for name, part in _walk("", self, set()) if isinstance(part, Module))

    def modules(self) -> Iterator["Module"]:
        """This module and all below it, as in `named_modules`."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules directly below this one with their names; each once, under its first name."""
        seen: set[int] = set()
        for name, part in _own(self):
            if isinstance(part, Module) and id(part) not in seen:
                seen.add(id(part))
                yield name, part

    def children(self) -> Iterator["Module"]:
        """The modules directly below this one, as in `named_children`."""
        return (module for _, module in self.named_children())

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers with their paths; each once, under its first path (a tied weight has two).

        Raises:
            ValueError: An attribute is a tensor that was computed from others, so it is neither.
        """
        return ((name, part) for name, part in _walk("", self, set()) if isinstance(part, Tensor))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors that require a gradient with their paths, as in `named_tensors`."""
        return ((name, tensor) for name, tensor in self.named_tensors() if tensor.requires_grad)

    def parameters(self) -> Iterator[Tensor]:
        """All tensors that require a gradient, as in `named_tensors`."""
        return (tensor for _, tensor in self.named_parameters())

    def parameter_count(self) -> int:
        """The number of elements of all parameters."""
        return sum(tensor.size for tensor in self.parameters())

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for tensor in self.parameters():
            tensor.grad = None

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` here and in all modules below; returns this module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(mode=False)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name, in order."""
        return {name: np.array(tensor.data) for name, tensor in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Copy arrays into the parameters and buffers of their names. If anything is wrong, nothing is changed.

        Args:
            state: Arrays as `state_dict` gives them.
            strict: Whether the names must be exactly those of this module. Shapes and dtypes must fit in any case.

        Raises:
            ValueError: Names are missing or unexpected, or arrays have another shape or dtype: all of them are listed.
        """
        own = dict(self.named_tensors())
        found = fitting(type(self).__name__, {name: tensor.data for name, tensor in own.items()}, state, strict=strict)
        for name, array in found.items():
            with own[name].edit() as target:
                target[...] = array

    def __repr__(self) -> str:
        """The tree: the class of each module, its options, and its tensors with their shapes."""
        lines = _describe(self, ())
        lines[0] = lines[0].replace(type(self).__name__, f"{type(self).__name__}  {self.parameter_count():,} parameters", 1)
        return "\n".join(lines)


def fitting(owner: str, own: Mapping[str, Array], state: Mapping[str, Any], *, strict: bool = True) -> dict[str, Array]:
    """The arrays of ``state`` with the names of ``own``, or ValueError with a list of all that does not fit."""
    wrong = [f"{name} is missing" for name in own if name not in state] if strict else []
    wrong += [f"{name} is unexpected" for name in state if name not in own] if strict else []
    given = {name: state[name] for name in own if name in state}
    found = {name: np.asarray(x.data if isinstance(x, Tensor) else x) for name, x in given.items()}
    for name, array in found.items():
        if (array.dtype, array.shape) != (own[name].dtype, own[name].shape):
            wrong.append(f"{name} must be {own[name].dtype} {own[name].shape}, got {array.dtype} {array.shape}")
    if wrong:
        raise ValueError(f"load_state_dict: state does not fit this {owner}:\n  " + "\n  ".join(wrong))
    return found


def _parts(name: str, value: Any) -> Iterator[tuple[str, Tensor | Module]]:
    """The tensors and modules that ``value`` is or holds, with their paths."""
    if isinstance(value, Tensor | Module):
        yield name, value
    elif isinstance(value, list | tuple | dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _parts(f"{name}.{key}", item)


def _own(module: Module) -> Iterator[tuple[str, Tensor | Module]]:
    """The tensors and modules right below ``module``."""
    for name, value in vars(module).items():
        yield from _parts(name, value)


def _walk(path: str, part: Tensor | Module, seen: set[int]) -> Iterator[tuple[str, Tensor | Module]]:
    """``part`` and everything below it, depth first, each once."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, Tensor) and not part.is_leaf:
        raise ValueError(f"{path} must be made with parameter() or Tensor(), got a tensor that was computed from others")
    yield path, part
    if isinstance(part, Module):
        for name, below in _own(part):
            yield from _walk(f"{path}.{name}" if path else name, below, seen)


def _describe(module: Module, above: tuple[Module, ...]) -> list[str]:
    """The lines of the tree of a module; one that is below itself is named there and not repeated."""
    if any(module is one for one in above):
        return [f"{type(module).__name__}, as above"]
    notes = [f"{name}={x!r}" for name, x in vars(module).items() if isinstance(x, int | float | str) and name != "training"]
    lines, below = [], []
    for name, part in _own(module):
        if isinstance(part, Module):
            below.append((name, part))
        else:
            shape = ", ".join(map(str, part.shape))
            notes.append(f"{name} ({shape})" if part.requires_grad else f"{name} ({shape}) buffer")
    for i, (name, part) in enumerate(below):
        first, *others = _describe(part, (*above, module))
        last = i == len(below) - 1
        lines += [f"{'└' if last else '├'} {name}: {first}", *[f"{' ' if last else '│'} {line}" for line in others]]
    return [f"{type(module).__name__}: {', '.join(notes)}" if notes else type(module).__name__, *lines]
