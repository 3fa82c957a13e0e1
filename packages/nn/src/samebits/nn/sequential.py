"""`Sequential`: modules called one after the other; and the activations as modules, to stand between them.

Sequential(Linear(4, 16, stream=...), ReLU(), Linear(16, 3, stream=...))
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from samebits.autograd import Tensor
from samebits.core import Stream
from samebits.nn.activation import gelu, relu, sigmoid, silu, tanh
from samebits.nn.module import Module

__all__ = ["GELU", "ReLU", "Sequential", "SiLU", "Sigmoid", "Tanh"]


class Sequential(Module):
    """Modules, each called with the result of the one before.

    Parameters are named by the position of their module, as in PyTorch: "0.weight". A module is found with ``model[0]``.

    Args:
        modules: At least one.

    Raises:
        TypeError: One of them is not a module.
        ValueError: There is none.

    Example:
        >>> from samebits.nn import Dropout, Linear
        >>> stream = Stream(0)
        >>> model = Sequential(
        ...     Linear(4, 16, stream=stream.split("hidden")),
        ...     ReLU(),
        ...     Dropout(0.1),
        ...     Linear(16, 3, stream=stream.split("output")),
        ... )
        >>> model
        Sequential  131 parameters
        ├ 0: Linear: inputs=4, outputs=16, weight (16, 4), bias (16)
        ├ 1: ReLU
        ├ 2: Dropout: p=0.1
        └ 3: Linear: inputs=16, outputs=3, weight (3, 16), bias (3)
        >>> model(Tensor([[1.0, 2.0, 3.0, 4.0]]), stream=Stream(1)).shape
        (1, 3)
    """

    draws = True

    def __init__(self, *modules: Module) -> None:
        if not modules:
            raise ValueError("Sequential: at least one module is required, got none")
        given: tuple[Any, ...] = modules
        for i, module in enumerate(given):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: module {i} must be a Module, such as ReLU(), got {module!r}")
            setattr(self, str(i), module)

    def __call__(self, x: Any, *, stream: Stream | None = None) -> Tensor:
        """The result of the last module.

        Args:
            x: What the first module takes.
            stream: What modules that draw random numbers in training, such as `Dropout`, draw from: each from the sub-stream
                of its position.
        """
        for i, module in enumerate(self):
            x = module(x, stream=stream and stream.split(str(i))) if module.draws else module(x)
        result: Tensor = x
        return result

    def __len__(self) -> int:
        """The number of modules."""
        return sum(name.isdigit() for name in vars(self))

    def __getitem__(self, index: int) -> Module:
        """The module at a position; negative positions count from the end."""
        return list(self)[index]

    def __iter__(self) -> Iterator[Module]:
        """The modules in order."""
        return (module for name, module in vars(self).items() if name.isdigit())


class _Activation(Module):
    """A function of one tensor as a module."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The function at every element of x, floating, any shape."""
        return type(self).function(x)


class ReLU(_Activation):
    """`relu` as a module.

    Example:
        >>> ReLU()(Tensor([-1.0, 2.0]))
        Tensor([0., 2.])
    """

    function = staticmethod(relu)


class SiLU(_Activation):
    """`silu` as a module.

    Example:
        >>> SiLU()(Tensor([0.0, 2.0]))
        Tensor([0.       , 1.7615942])
    """

    function = staticmethod(silu)


class Sigmoid(_Activation):
    """`sigmoid` as a module.

    Example:
        >>> Sigmoid()(Tensor([0.0, 2.0]))
        Tensor([0.5      , 0.8807971])
    """

    function = staticmethod(sigmoid)


class Tanh(_Activation):
    """`tanh` as a module.

    Example:
        >>> Tanh()(Tensor([0.0, 2.0]))
        Tensor([0.       , 0.9640276])
    """

    function = staticmethod(tanh)


class GELU(Module):
    """`gelu` as a module.

    Args:
        approximate: "none" or "tanh", as in `gelu`.

    Example:
        >>> GELU()(Tensor([0.0, 2.0]))
        Tensor([0.       , 1.9544997])
        >>> GELU("tanh")
        GELU  0 parameters: approximate='tanh'
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        if approximate not in {"none", "tanh"}:
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate: Literal["none", "tanh"] = approximate

    def __call__(self, x: Tensor) -> Tensor:
        """The function at every element of x, floating, any shape."""
        return gelu(x, self.approximate)
