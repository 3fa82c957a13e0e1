"""`Optimizer`: what all optimisers share. `sgd`, `adamw`, `lion` and `muon` say how a gradient changes a parameter.

An update is float32 arithmetic on single elements, + - * / and sqrt, which has the same bits everywhere: exact and fast
are one. It runs in place, all its operations in blocks that stay in the processor's cache, which is what makes it quick.
The few powers, as in 1 - beta^t, are float64 products.

What an optimiser remembers is its `state_dict`: arrays by name, for the same file as the parameters. Options are not in it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.nn.module import fitting

__all__ = ["Optimizer", "Parameters", "Slot", "check_betas", "constants", "in_blocks", "in_range", "named", "power"]

Array = npt.NDArray[Any]
Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Mapping[str, Any]]

BLOCK = 32768  # elements updated at a time


class Slot:
    """A parameter, its options, and what is remembered about it."""

    def __init__(self, name: str, tensor: Tensor, options: SimpleNamespace, kinds: tuple[str, ...]) -> None:
        self.name, self.tensor, self.options = name, tensor, options
        self.step = 0
        self.state = {kind: np.zeros(tensor.shape, tensor.dtype) for kind in kinds}


class Optimizer:
    """What all optimisers share: parameters in groups, steps, and the state.

    Args:
        parameters: Tensors, (name, tensor) pairs as from `Module.named_parameters`, or groups: mappings with either under
            "parameters", and options for these alone. Parameters without names are numbered.
        learning_rate: The step size. A group's own is scaled along when `step` is given another.
        options: The other options, checked by `kinds`.

    Raises:
        ValueError: An option is unknown or out of range, a parameter occurs twice or requires no gradient, there is none.
    """

    def __init__(self, parameters: Parameters, *, learning_rate: float, **options: Any) -> None:
        self.learning_rate = in_range("learning_rate", learning_rate, positive=True)
        defaults = {"learning_rate": learning_rate, **options}
        self.slots: list[Slot] = []
        for group in _groups(parameters):
            unknown = [name for name in group if name not in defaults and name != "parameters"]
            if unknown or "parameters" not in group:
                raise ValueError(f"a group has {', '.join(group)}: it must have parameters, and may have {', '.join(defaults)}")
            own = {name: group[name] for name in group if name != "parameters"}
            merged = SimpleNamespace(**{name: _plain(value) for name, value in {**defaults, **own}.items()})
            in_range("learning_rate", merged.learning_rate, positive=True)
            kinds = self.kinds(merged)
            for name, tensor in named(group["parameters"], first=len(self.slots)):
                self.slots.append(Slot(name, tensor, merged, kinds))
        _refuse_unfit(self.slots)

    def kinds(self, options: SimpleNamespace) -> tuple[str, ...]:
        """The names of the arrays to remember for each parameter; ValueError for an option out of range."""
        raise NotImplementedError

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        """Change C-ordered ``p`` and its state in place, for gradient ``g``; ``slot.step`` counts from 1."""
        raise NotImplementedError

    def step(self, learning_rate: float | None = None) -> None:
        """Change every parameter that has a gradient.

        Args:
            learning_rate: That of this step, as from a schedule; the one given to the constructor if None.

        Raises:
            ValueError: ``learning_rate`` is negative or not finite.
        """
        wanted = self.learning_rate if learning_rate is None else in_range("learning_rate", learning_rate)
        with np.errstate(all="ignore"):
            for slot in self.slots:
                if slot.tensor.grad is None:
                    continue
                own = slot.options.learning_rate
                rate = wanted if own == self.learning_rate else wanted * (own / self.learning_rate)
                slot.step += 1
                with slot.tensor.edit() as target:
                    p = np.asarray(target, order="C")
                    self.update(slot, p, np.asarray(slot.tensor.grad.data, order="C"), rate)
                    if p is not target:
                        target[...] = p

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for slot in self.slots:
            slot.tensor.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Copies of what is remembered: "<parameter>.<kind>", and "<parameter>.step", how often it was changed (int64)."""
        return {name: array.copy() for name, array in self._named_state()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state_dict` gave, exactly. If anything is wrong, nothing is changed.

        Raises:
            ValueError: Names are missing or unexpected, or arrays have another shape or dtype: all of them are listed.
        """
        found = fitting(type(self).__name__, dict(self._named_state()), state)
        for slot in self.slots:
            in_range(f"{slot.name}.step", int(found[f"{slot.name}.step"]))
        for slot in self.slots:
            slot.step = int(found[f"{slot.name}.step"])
            for kind, array in slot.state.items():
                array[...] = found[f"{slot.name}.{kind}"]

    def _named_state(self) -> Iterator[tuple[str, Array]]:
        for slot in self.slots:
            yield from ((f"{slot.name}.{kind}", array) for kind, array in slot.state.items())
            yield f"{slot.name}.step", np.array(slot.step, np.int64)


def in_blocks(*arrays: Array) -> Iterator[list[Array]]:
    """The same stretch of each C-ordered array, flat, block by block; and as much scratch.

    Example:
        >>> [[part.size for part in parts] for parts in in_blocks(np.zeros((5, 8000), np.float32))]
        [[32768, 32768], [7232, 7232]]
    """
    flat = [array.reshape(-1) for array in arrays]
    size = flat[0].size
    scratch = np.empty(min(size, BLOCK), flat[0].dtype)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        yield [*[array[start:stop] for array in flat], scratch[: stop - start]]


@lru_cache(maxsize=8)
def constants(dtype: np.dtype[Any], *values: float) -> list[Array]:
    """Arrays without axes: as operands they are quicker than Python's numbers, and mean the same to every NumPy."""
    return [np.array(value, dtype) for value in values]


@lru_cache(maxsize=8)
def power(base: float, exponent: int) -> float:
    """``base ** exponent`` by products alone: Python's is the C library's.

    Example:
        >>> power(0.5, 10) == 2.0**-10
        True
    """
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base, exponent = base * base, exponent >> 1
    return result


def in_range(name: str, value: float, *, below: float = math.inf, positive: bool = False) -> float:
    """``value``, or ValueError if it is negative, not finite, not below ``below``, or zero where it must be positive."""
    if not 0 <= value < below or (positive and not value):
        raise ValueError(f"{name} is {value}: it must be {'above' if positive else 'at least'} 0 and below {below}")
    return float(value)


def _plain(value: Any) -> Any:
    """A NumPy number, also in a tuple, as Python's: what NumPy's give with others changes with its version."""
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def check_betas(betas: tuple[float, float]) -> None:
    """ValueError unless they are two numbers from 0 to below 1."""
    if len(betas) != 2:
        raise ValueError(f"betas is {betas}: two numbers are needed")
    for i, beta in enumerate(betas):
        in_range(f"betas[{i}]", beta, below=1)


def named(parameters: Any, first: int = 0) -> list[tuple[str, Tensor]]:
    """Tensors or (name, tensor) pairs as pairs; those without names are numbered from ``first``.

    Raises:
        TypeError: ``parameters`` holds something else, or is one.
    """
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(f"parameters is a {type(parameters).__name__}: give a list of tensors, or model.named_parameters()")
    pairs = []
    for i, item in enumerate(parameters, first):
        name, tensor = item if isinstance(item, tuple) and len(item) == 2 else (str(i), item)
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"parameters holds a {type(item).__name__}: tensors, or (name, tensor) pairs, are needed")
        pairs.append((name, tensor))
    return pairs


def _groups(parameters: Any) -> list[Mapping[str, Any]]:
    """The parameters in groups: all in one, unless they are."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        return [{"parameters": named(parameters)}]
    items = list(parameters)
    return items if items and all(isinstance(item, Mapping) for item in items) else [{"parameters": items}]


def _refuse_unfit(slots: list[Slot]) -> None:
    tensors: set[int] = set()
    names: set[str] = set()
    for slot in slots:
        if not slot.tensor.requires_grad or not slot.tensor.is_leaf:
            raise ValueError(f"parameter {slot.name!r} is no leaf that requires a gradient: make it with parameter()")
        if id(slot.tensor) in tensors or slot.name in names:
            raise ValueError(f"parameter {slot.name!r} is given twice")
        tensors.add(id(slot.tensor))
        names.add(slot.name)
    if not slots:
        raise ValueError("parameters is empty: there is nothing to optimise")
