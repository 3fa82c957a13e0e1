"""`Lion`: every element changes by the same amount, in the direction of the sign of its momentum."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.nn.optimizer import Optimizer, Parameters, Slot, in_blocks

__all__ = ["Lion"]

Array = npt.NDArray[Any]

LEAST = 2.0**-149  # the smallest float32 above 0


class Lion(Optimizer):
    """Evolved sign momentum: half the memory of AdamW.

        c = beta_1 m + (1 - beta_1) g
        p = p - learning_rate * (sign(c) + weight_decay * p)
        m = beta_2 m + (1 - beta_2) g

    Chen et al., 2023, Symbolic discovery of optimization algorithms, arXiv:2302.06675, algorithm 2. Compared with AdamW, use a
    learning rate 3 to 10 times smaller, and a weight decay larger by the same factor (section 5).

    Args:
        parameters: See `Optimizer`.
        learning_rate: The step size: how much an element changes in a step.
        betas: The decay rates of the momentum in the direction of the step, and in the momentum itself; from 0 to below 1.
        weight_decay: See `AdamW`.

    Example:
        >>> from samebits.autograd import Tensor
        >>> x = Tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = Lion([x], learning_rate=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        Tensor([ 0.5, -1.5], requires_grad=True)
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate=learning_rate, betas=betas, weight_decay=weight_decay)

    def kinds(self, _: SimpleNamespace) -> tuple[str, ...]:
        return ("momentum",)

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        b1, b2 = slot.options.betas
        numbers = np.array([1 - b1, 1 - b2, 1 - rate * slot.options.weight_decay, rate, LEAST], p.dtype)
        compiled.call(_lion, [p.reshape(-1), slot.state["momentum"].reshape(-1)], [g.reshape(-1)], [numbers])


@compiled.pair("lion", "f f f f")
def _lion(parameters: Array, memory: Array, gradients: Array, numbers: Array) -> None:
    """One step, block by block; ``t`` is scratch."""
    new_1, new_2, keep, size, least = [numbers[i, ...] for i in range(5)]  # arrays without axes
    for block in in_blocks(parameters, memory, gradients):
        p, m, g, t = block
        np.subtract(g, m, out=t)
        t *= new_1
        t += m
        t /= np.maximum(np.abs(t), least)  # the sign: np.sign branches at every element, five times slower
        t *= size
        p *= keep
        p -= t

        np.subtract(g, m, out=t)
        t *= new_2
        m += t
