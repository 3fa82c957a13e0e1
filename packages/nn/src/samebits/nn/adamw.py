"""`AdamW` and `Adam`: the step of every element is scaled by the size of its own recent gradients."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.nn.optimizer import Optimizer, Parameters, Slot, constants, in_blocks, power

__all__ = ["Adam", "AdamW"]

Array = npt.NDArray[Any]


class AdamW(Optimizer):
    """Adam with decoupled weight decay, as in PyTorch.

        m = m + (1 - beta_1) (g - m)                        the mean of recent gradients
        v = beta_2 v + (1 - beta_2) g²                      and of their squares
        p = p - learning_rate * weight_decay * p
        p = p - learning_rate * m' / (sqrt(v') + eps)       m' = m / (1 - beta_1^t), v' = v / (1 - beta_2^t)

    m and v are kept as ``exp_avg`` and ``exp_avg_sq``, with the values that PyTorch keeps under these names.

    Kingma and Ba, 2015, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter, 2019, arXiv:1711.05101, algorithm 2.

    Args:
        parameters: See `Optimizer`.
        learning_rate: The step size: about how much an element changes in a step.
        betas: The decay rates of the two means, from 0 to below 1.
        eps: A small number that bounds the step where gradients vanish.
        weight_decay: The decay of a parameter in a step, as a multiple of the learning rate.

    Example:
        >>> from samebits.autograd import Tensor
        >>> x = Tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = AdamW([x], learning_rate=0.5, weight_decay=0.0)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        Tensor([ 0.5, -1.5], requires_grad=True)
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, learning_rate=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay)

    def kinds(self, _: SimpleNamespace) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        _update(slot, p, g, rate, keep=1 - rate * slot.options.weight_decay)


class Adam(Optimizer):
    """Adam, with weight decay as a part of the gradient (L2 regularization), as in PyTorch.

        g = g + weight_decay * p

    and then the step of `AdamW` without its decay. Kingma and Ba, 2015, arXiv:1412.6980, algorithm 1.

    Args:
        parameters: See `Optimizer`.
        learning_rate: See `AdamW`.
        betas: See `AdamW`.
        eps: See `AdamW`.
        weight_decay: The factor of the parameter that is added to its gradient.

    Example:
        >>> from samebits.nn import parameter
        >>> Adam([parameter([1.0, -2.0])], betas=(0.9, 0.95))
        Adam  2 parameters: learning_rate=0.001, betas=(0.9, 0.95), eps=1e-08, weight_decay=0.0
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay)

    kinds = AdamW.kinds

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        (decay,) = constants(p.dtype, slot.options.weight_decay)
        _update(slot, p, g + decay * p if decay else g, rate)


def _update(slot: Slot, p: Array, g: Array, rate: float, keep: float = 1.0) -> None:
    """One step of Adam, after a decay of ``p`` to ``keep`` times itself."""
    options, (b1, b2) = slot.options, slot.options.betas
    first = 1 - power(b1, slot.step)
    root = math.sqrt(1 - power(b2, slot.step))
    numbers = np.array([1 - b1, b2, 1 - b2, keep, options.eps * root, rate * root / first], p.dtype)
    moments = [array.reshape(-1) for array in slot.state.values()]
    compiled.call(_adam, [p.reshape(-1), *moments], [g.reshape(-1)], [numbers])


@compiled.pair("adam", "f f f f f")
def _adam(parameters: Array, first: Array, second: Array, gradients: Array, numbers: Array) -> None:
    """One step, with the correction of v's bias taken out of the fraction, block by block; ``t`` is scratch."""
    new_1, beta_2, new_2, keep, eps, size = [numbers[i, ...] for i in range(6)]  # arrays without axes
    for block in in_blocks(parameters, first, second, gradients):
        p, m, v, g, t = block
        np.subtract(g, m, out=t)
        t *= new_1
        m += t
        np.multiply(g, new_2, out=t)
        t *= g
        v *= beta_2
        v += t

        p *= keep
        np.sqrt(v, out=t)
        t += eps
        np.divide(m, t, out=t)
        t *= size
        p -= t
