"""Multi-layer perceptrons: linear layers with a function between them, for every token by itself.

MLP       down(activation(up(x)))
SwiGLU    down(silu(gate(x)) * up(x))       (Shazeer, 2020, GLU variants improve transformer, equation 6)
"""

from collections.abc import Callable

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn.activation import gelu, swiglu
from samebits.nn.dense import Linear
from samebits.nn.initializer import Initializer
from samebits.nn.module import Module

__all__ = ["MLP", "SwiGLU"]


class MLP(Module):
    """Two linear layers with an activation between them.

    Args:
        inputs: The length of the last axis of x.
        hidden: The length between the two.
        outputs: The length of the last axis of the result; by default ``inputs``.
        activation: A function of tensors, `gelu` by default.
        bias: Whether the layers have one.
        stream: Where the parameters are drawn from.
        initialize: Draws the weight of up; by default as in `Linear`.
        initialize_output: Draws the weight of down; by default as ``initialize``.

    Example:
        >>> import numpy as np
        >>> MLP(4, 16, 3, stream=Stream(0))(Tensor(np.ones((2, 4)))).shape
        (2, 3)
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int | None = None,
        *,
        activation: Callable[[Tensor], Tensor] = gelu,
        bias: bool = True,
        stream: Stream,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> None:
        last = inputs if outputs is None else outputs
        self.activation = activation
        self.up = Linear(inputs, hidden, bias=bias, stream=stream.split("up"), initialize=initialize)
        self.down = Linear(hidden, last, bias=bias, stream=stream.split("down"), initialize=initialize_output or initialize)

    def __call__(self, x: Tensor) -> Tensor:
        """X (..., inputs) -> (..., outputs)."""
        return self.down(self.activation(self.up(x)))


class SwiGLU(Module):
    """The gated layer of Llama's blocks.

    Args:
        inputs: The length of the last axis of x and of the result.
        hidden: The length in between; two thirds of an MLP's make as many parameters.
        bias: Whether the layers have one.
        stream: Where the parameters are drawn from.
        initialize: Draws the weights of gate and up; by default as in `Linear`.
        initialize_output: Draws the weight of down; by default as ``initialize``.

    Example:
        >>> import numpy as np
        >>> SwiGLU(4, 16, stream=Stream(0))(Tensor(np.ones((2, 4)))).shape
        (2, 4)
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        bias: bool = False,
        stream: Stream,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> None:
        self.gate = Linear(inputs, hidden, bias=bias, stream=stream.split("gate"), initialize=initialize)
        self.up = Linear(inputs, hidden, bias=bias, stream=stream.split("up"), initialize=initialize)
        self.down = Linear(hidden, inputs, bias=bias, stream=stream.split("down"), initialize=initialize_output or initialize)

    def __call__(self, x: Tensor) -> Tensor:
        """X (..., inputs) -> (..., inputs)."""
        return self.down(swiglu(self.gate(x), self.up(x)))
