"""`Optimizer`: what all optimizers share. `sgd`, `adamw`, `lion` and `muon` define how a gradient changes a parameter.

An update is float32 arithmetic on single elements, + - * / and sqrt, which has the same bits everywhere: exact and fast
arithmetic give the same result. It is computed in place, in blocks that fit the processor's cache.
Powers, as in 1 - beta^t, are float64 products.

The state of an optimizer is its `state_dict`: arrays by name, for the same file as the parameters. Options are not part of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.autograd import Tensor
from samebits.core import row_blocks
from samebits.core.arguments import integer
from samebits.nn.arguments import flag, number_within
from samebits.nn.module import fitting

__all__ = ["CombinedOptimizer", "Optimizer", "Parameters", "Slot", "constants", "in_blocks", "named", "power"]

Array = npt.NDArray[Any]
Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Mapping[str, Any]]

_MOST_STEPS = 2**53


class Slot:
    """A parameter, the optimizer that updates it, its options, and its state."""

    def __init__(self, owner: "Optimizer", name: str, tensor: Tensor, options: SimpleNamespace) -> None:
        self.owner, self.name, self.tensor, self.options = owner, name, tensor, options
        self.step = 0
        self.state = {kind: np.zeros(tensor.shape, tensor.dtype) for kind in owner.kinds(options)}


class Optimizer:
    """What all optimizers share: parameters in groups, steps, and the state.

    Args:
        parameters: Tensors, (name, tensor) pairs as from `Module.named_parameters`, or groups: mappings with either under
            "parameters", and options for these alone. Parameters without names are numbered.
        learning_rate: The step size, above 0. If `step` is given another, the rate of a group changes in proportion.
        options: The other options. Those of the optimizers here are checked; NumPy scalars become Python numbers.

    Raises:
        TypeError: ``parameters`` holds something else, or an option is not a number.
        ValueError: An option is unknown or out of range, there are no parameters, or one occurs twice or does not require
            a gradient.

    Example:
        >>> class SignSGD(Optimizer):
        ...     def update(self, slot, p, g, rate):
        ...         p -= np.float32(rate) * np.sign(g)
        >>> x = Tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = SignSGD([x], learning_rate=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        Tensor([ 0.5, -1.5], requires_grad=True)
        >>> optimizer
        SignSGD  2 parameters: learning_rate=0.5
    """

    def __init__(self, parameters: Parameters, *, learning_rate: float, **options: Any) -> None:
        name = type(self).__name__
        defaults = {"learning_rate": learning_rate, **options}
        self.learning_rate: float = _checked(name, "learning_rate", learning_rate)
        self.slots: list[Slot] = []
        for group in _groups(name, parameters):
            unknown = [key for key in group if key not in defaults and key != "parameters"]
            if unknown or "parameters" not in group:
                raise ValueError(
                    f"{name}: a group must have parameters, and may have {', '.join(defaults)}, got {', '.join(group)}"
                )
            given = {key: group.get(key, value) for key, value in defaults.items()}
            merged = SimpleNamespace(**{key: _checked(name, key, value) for key, value in given.items()})
            for key, tensor in named(name, group["parameters"], first=len(self.slots)):
                self.slots.append(Slot(self, key, tensor, merged))
        _refuse_unfit(name, self.slots)

    def kinds(self, _: SimpleNamespace) -> tuple[str, ...]:
        """The names of the arrays that are kept for each parameter with these options; none by default."""
        return ()

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        """Change C-ordered ``p`` and ``slot.state`` in place, for gradient ``g``; ``slot.step`` counts from 1."""
        raise NotImplementedError

    def step(self, learning_rate: float | None = None) -> None:
        """Update every parameter that has a gradient.

        Args:
            learning_rate: The rate of this step, as from a schedule; the constructor's if None.

        Raises:
            RuntimeError: No parameter has a gradient.
            ValueError: ``learning_rate`` is negative or not finite.
        """
        wanted = self.learning_rate
        if learning_rate is not None:
            wanted = number_within(f"{type(self).__name__}.step", "learning_rate", learning_rate)
        if all(slot.tensor.grad is None for slot in self.slots):
            raise RuntimeError(f"{type(self).__name__}.step: no parameter has a gradient; call loss.backward() first")
        with np.errstate(all="ignore"):
            for slot in self.slots:
                if slot.tensor.grad is None:
                    continue
                own = slot.options.learning_rate
                rate = wanted if own == self.learning_rate else wanted * (own / self.learning_rate)
                slot.step += 1
                with slot.tensor.edit() as target:
                    p = np.asarray(target, order="C")
                    slot.owner.update(slot, p, np.asarray(slot.tensor.grad.data, order="C"), rate)
                    if p is not target:
                        target[...] = p

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for slot in self.slots:
            slot.tensor.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Copies of the state: "<parameter>.<kind>", and "<parameter>.step", the number of its updates (int64)."""
        return {name: array.copy() for name, array in self._named_state()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore a state from `state_dict`; training continues with the same bits. If anything is wrong, nothing is changed.

        Raises:
            ValueError: Names are missing or unexpected, or arrays have another shape or dtype: all of them are listed.
        """
        name = type(self).__name__
        found = fitting(name, dict(self._named_state()), state)
        for slot in self.slots:
            integer(f"{name}.load_state_dict", f"{slot.name}.step", int(found[f"{slot.name}.step"]), 0, _MOST_STEPS)
        for slot in self.slots:
            slot.step = int(found[f"{slot.name}.step"])
            for kind, array in slot.state.items():
                array[...] = found[f"{slot.name}.{kind}"]

    def __repr__(self) -> str:
        """The options, with the number of parameters that have them; a line for each group if there are several."""
        groups = [list(slots) for _, slots in groupby(self.slots, key=lambda slot: id(slot.options))]
        lines = [_describe(self, slots) for slots in groups]
        if len(lines) == 1:
            return f"{type(self).__name__}  {lines[0]}"
        marks = ["├"] * (len(lines) - 1) + ["└"]
        total = sum(slot.tensor.size for slot in self.slots)
        return "\n".join(
            [f"{type(self).__name__}  {total:,} parameters", *[f"{mark} {line}" for mark, line in zip(marks, lines, strict=True)]]
        )

    def _named_state(self) -> Iterator[tuple[str, Array]]:
        for slot in self.slots:
            yield from ((f"{slot.name}.{kind}", array) for kind, array in slot.state.items())
            yield f"{slot.name}.step", np.array(slot.step, np.int64)


class CombinedOptimizer(Optimizer):
    """Several optimizers as one: each updates its own parameters, with one step, one state and one schedule.

    Args:
        optimizers: At least one, of different parameters. The learning rate is that of the first; if `step` is given
            another, the rates of all change in proportion.

    Raises:
        TypeError: One of them is not an optimizer.
        ValueError: There is none, or two have the same parameter, or parameters with the same name.

    Example:
        >>> from samebits.nn import SGD, AdamW
        >>> x, y = (Tensor([1.0], requires_grad=True) for _ in range(2))
        >>> optimizer = CombinedOptimizer([AdamW([("x", x)], weight_decay=0.0), SGD([("y", y)], learning_rate=0.5)])
        >>> (x + y * y).sum().backward()
        >>> optimizer.step()
        >>> x, y
        (Tensor([0.999], requires_grad=True), Tensor([0.], requires_grad=True))
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        if not isinstance(optimizers, list | tuple):
            raise TypeError(f"CombinedOptimizer: optimizers must be a list of optimizers, got {type(optimizers).__name__}")
        for one in optimizers:
            if not isinstance(one, Optimizer):
                raise TypeError(f"CombinedOptimizer: optimizers must be a list of optimizers, got {type(one).__name__} in it")
        self.slots = [slot for one in optimizers for slot in one.slots]
        _refuse_unfit("CombinedOptimizer", self.slots)
        self.learning_rate = optimizers[0].learning_rate


def in_blocks(*arrays: Array) -> Iterator[list[Array]]:
    """The same stretch of each C-ordered array, flat, block by block; and as much scratch.

    Example:
        >>> [[part.size for part in parts] for parts in in_blocks(np.zeros((5, 8000), np.float32))]
        [[32768, 32768], [7232, 7232]]
    """
    flat = [array.reshape(-1) for array in arrays]
    for part in row_blocks(flat[0].size):
        yield [*[array[part] for array in flat], np.empty(part.stop - part.start, flat[0].dtype)]


@lru_cache(maxsize=8)
def constants(dtype: np.dtype[Any], *values: float) -> list[Array]:
    """Arrays without axes: faster operands than Python numbers, and of a fixed dtype in every NumPy.

    Example:
        >>> constants(np.dtype(np.float32), 0.5, 2.0)
        [array(0.5, dtype=float32), array(2., dtype=float32)]
    """
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


def _betas(function: str, name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        kind = ValueError if isinstance(value, tuple | list) else TypeError
        raise kind(f"{function}: {name} must be two numbers from 0 to below 1, got {value!r}")
    return tuple([number_within(function, f"{name}[{i}]", beta, below=1) for i, beta in enumerate(value)])


_OPTIONS: dict[str, Callable[[str, str, Any], Any]] = {
    "learning_rate": partial(number_within, above=0),
    "betas": _betas,
    "eps": number_within,
    "momentum": partial(number_within, below=1),
    "weight_decay": number_within,
    "nesterov": flag,
    "iterations": partial(integer, least=1),
}


def _checked(owner: str, name: str, value: Any) -> Any:
    """The value of an option as Python's, checked by its name; that of an unknown one as it is."""
    return _OPTIONS[name](owner, name, value) if name in _OPTIONS else value


def named(function: str, parameters: Any, first: int = 0) -> list[tuple[str, Tensor]]:
    """Tensors or (name, tensor) pairs as pairs; those without names are numbered from ``first``.

    Raises:
        TypeError: ``parameters`` is or holds something else.
    """
    required = "parameters must be tensors or (name, tensor) pairs, as from model.named_parameters()"
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(f"{function}: {required}, got {type(parameters).__name__}")
    pairs = []
    for i, item in enumerate(parameters, first):
        name, tensor = item if isinstance(item, tuple) and len(item) == 2 else (str(i), item)
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"{function}: {required}, got {type(item).__name__} in it")
        pairs.append((name, tensor))
    return pairs


def _groups(function: str, parameters: Any) -> list[Mapping[str, Any]]:
    """The parameters in groups: all in one, unless they are."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        return [{"parameters": named(function, parameters)}]
    items = list(parameters)
    return items if items and all(isinstance(item, Mapping) for item in items) else [{"parameters": items}]


def _refuse_unfit(function: str, slots: list[Slot]) -> None:
    tensors: set[int] = set()
    names: set[str] = set()
    for slot in slots:
        if not slot.tensor.requires_grad or not slot.tensor.is_leaf:
            raise ValueError(f"{function}: parameter {slot.name!r} must be a leaf that requires a gradient; use parameter()")
        if id(slot.tensor) in tensors or slot.name in names:
            raise ValueError(f"{function}: parameter {slot.name!r} is given twice")
        tensors.add(id(slot.tensor))
        names.add(slot.name)
    if not slots:
        raise ValueError(f"{function}: parameters must not be empty")


def _describe(whole: Optimizer, slots: list[Slot]) -> str:
    """A group in a line: its optimizer, if that is not the whole, its size, and its options."""
    owner, count = slots[0].owner, sum(slot.tensor.size for slot in slots)
    label = "" if owner is whole else f"{type(owner).__name__}: "
    options = ", ".join(f"{name}={value!r}" for name, value in vars(slots[0].options).items())
    return f"{label}{count:,} parameters: {options}"
