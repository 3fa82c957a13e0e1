"""`SGD`: stochastic gradient descent, with optional momentum."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import compiled
from samebits.core.compiled import pair
from samebits.nn.optimizer import Optimizer, Parameters, Slot, in_blocks

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
        numbers = np.array([options.weight_decay, options.momentum, rate], p.dtype)
        function = _nesterov if options.nesterov else _momentum if options.momentum else _sgd
        memory = [array.reshape(-1) for array in slot.state.values()]
        compiled.call(function, [p.reshape(-1), *memory], [g.reshape(-1)], [numbers])


def _decayed(p: Array, g: Array, decay: Array, t: Array) -> None:
    """t = g + weight_decay * p."""
    np.multiply(p, decay, out=t)
    t += g


@pair("sgd", "f f f")
def _sgd(parameters: Array, gradients: Array, numbers: Array) -> None:
    decay, _, size = [numbers[i, ...] for i in range(3)]  # arrays without axes
    for block in in_blocks(parameters, gradients):
        p, g, t = block
        _decayed(p, g, decay, t)
        t *= size
        p -= t


@pair("sgd_momentum", "f f f f")
def _momentum(parameters: Array, memory: Array, gradients: Array, numbers: Array) -> None:
    decay, momentum, size = [numbers[i, ...] for i in range(3)]
    for block in in_blocks(parameters, memory, gradients):
        p, m, g, t = block
        _decayed(p, g, decay, t)
        m *= momentum
        m += t
        np.multiply(m, size, out=t)
        p -= t


@pair("sgd_nesterov", "f f f f")
def _nesterov(parameters: Array, memory: Array, gradients: Array, numbers: Array) -> None:
    decay, momentum, size = [numbers[i, ...] for i in range(3)]
    for block in in_blocks(parameters, memory, gradients):
        p, m, g, t = block
        _decayed(p, g, decay, t)
        m *= momentum
        m += t
        t *= size
        p -= t
        np.multiply(m, momentum, out=t)
        t *= size
        p -= t
