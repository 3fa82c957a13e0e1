"""`SGD`: stochastic gradient descent, with optional momentum."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.nn.optimizer import Optimizer, Parameters, Slot, constants, in_blocks

__all__ = ["SGD"]

Array = npt.NDArray[Any]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it, as in PyTorch.

        g = g + weight_decay * p
        m = momentum * m + g
        p = p - learning_rate * m            or, with nesterov, p - learning_rate * (g + momentum * m)

    Robbins and Monro, 1951, doi:10.1214/aoms/1177729586; Sutskever et al., 2013, On the importance of initialization and
    momentum in deep learning, section 2.

    Args:
        parameters: See `Optimizer`.
        learning_rate: The step size.
        momentum: The decay of the sum of gradients, from 0 to below 1; with 0 there is none.
        nesterov: Whether to use Nesterov's variant; it requires a momentum above 0.
        weight_decay: The factor of the parameter that is added to its gradient (L2 regularization).

    Example:
        >>> from samebits.autograd import Tensor
        >>> x = Tensor(1.0, requires_grad=True)
        >>> optimizer = SGD([x], learning_rate=0.25)
        >>> (x * x).backward()
        >>> optimizer.step()
        >>> x
        Tensor(0.5, requires_grad=True)
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(parameters, learning_rate=learning_rate, **options)

    def kinds(self, options: SimpleNamespace) -> tuple[str, ...]:
        if options.nesterov and not options.momentum:
            raise ValueError("SGD: momentum must be above 0 with nesterov=True, got 0.0")
        return ("momentum",) if options.momentum else ()

    def update(self, slot: Slot, p: Array, g: Array, rate: float) -> None:
        options = slot.options
        numbers = constants(p.dtype, options.weight_decay, options.momentum, rate)
        for block in in_blocks(p, g, *slot.state.values()):
            _sgd(block, numbers, nesterov=options.nesterov)


def _sgd(block: list[Array], numbers: list[Array], *, nesterov: bool) -> None:
    """One step of a block; ``t`` is scratch, and there is a momentum or not."""
    p, g, *memory, t = block
    decay, momentum, size = numbers

    np.multiply(p, decay, out=t)
    t += g
    if memory:
        m = memory[0]
        m *= momentum
        m += t
        if nesterov:
            t *= size
            p -= t
            np.multiply(m, momentum, out=t)
        else:
            t[...] = m
    t *= size
    p -= t
