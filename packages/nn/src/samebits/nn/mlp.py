"""Multi-layer perceptrons: linear layers with an activation between them, applied to every token by itself.

MLP       down(activation(up(x)))
SwiGLU    down(silu(gate(x)) * up(x))       (Shazeer, 2020, GLU variants improve transformer, equation 6)
"""

from collections.abc import Callable

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.core.arguments import integer
from samebits.core.random import require_stream
from samebits.nn.activation import gelu, swiglu
from samebits.nn.dense import Linear
from samebits.nn.initializer import Initializer
from samebits.nn.module import Module

__all__ = ["MLP", "SwiGLU"]


class MLP(Module):
    """Two linear layers with an activation between them: down(activation(up(x))).

    Args:
        inputs: The length of the last axis of x.
        hidden: The length of the hidden axis, between the layers.
        outputs: The length of the last axis of the result; by default ``inputs``.
        activation: A function of a tensor, or a module, such as `relu` or ``ReLU()``.
        bias: Whether the linear layers have a bias.
        stream: The parameters are drawn from its sub-streams, by their names.
        initialize: Draws the weight of up; by default as in `Linear`.
        initialize_output: Draws the weight of down; by default as ``initialize``.

    Example:
        >>> MLP(4, 16, 3, stream=Stream(0))(Tensor([[1.0, 2.0, 3.0, 4.0]])).shape
        (1, 3)
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int | None = None,
        *,
        activation: Callable[[Tensor], Tensor] = gelu,
        bias: bool = True,
        stream: Stream | None = None,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> None:
        last = inputs if outputs is None else outputs
        inputs, hidden, last = (
            integer("MLP", name, value, least=1) for name, value in (("inputs", inputs), ("hidden", hidden), ("outputs", last))
        )
        stream = require_stream("MLP", stream)
        self.activation = activation
        self.up = Linear(inputs, hidden, bias=bias, stream=stream.split("up"), initialize=initialize)
        self.down = Linear(hidden, last, bias=bias, stream=stream.split("down"), initialize=initialize_output or initialize)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the perceptron to x (..., inputs); returns (..., outputs)."""
        return self.down(self.activation(self.up(x)))


class SwiGLU(Module):
    """The gated perceptron of Llama's blocks: down(silu(gate(x)) * up(x)).

    Args:
        inputs: The length of the last axis of x and of the result.
        hidden: The length of the hidden axis; with two thirds of an MLP's there are as many parameters.
        bias: Whether the linear layers have a bias.
        stream: The parameters are drawn from its sub-streams, by their names.
        initialize: Draws the weights of gate and up; by default as in `Linear`.
        initialize_output: Draws the weight of down; by default as ``initialize``.

    Example:
        >>> SwiGLU(4, 16, stream=Stream(0))(Tensor([[1.0, 2.0, 3.0, 4.0]])).shape
        (1, 4)
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        bias: bool = False,
        stream: Stream | None = None,
        initialize: Initializer | None = None,
        initialize_output: Initializer | None = None,
    ) -> None:
        inputs, hidden = integer("SwiGLU", "inputs", inputs, least=1), integer("SwiGLU", "hidden", hidden, least=1)
        stream = require_stream("SwiGLU", stream)
        self.gate = Linear(inputs, hidden, bias=bias, stream=stream.split("gate"), initialize=initialize)
        self.up = Linear(inputs, hidden, bias=bias, stream=stream.split("up"), initialize=initialize)
        self.down = Linear(hidden, inputs, bias=bias, stream=stream.split("down"), initialize=initialize_output or initialize)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the perceptron to x (..., inputs); returns (..., inputs)."""
        return self.down(swiglu(self.gate(x), self.up(x)))
