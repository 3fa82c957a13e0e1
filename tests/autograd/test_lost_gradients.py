"""What would lose a gradient silently is refused, with the remedy."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samebits.autograd import GraphError, Tensor, grad, no_grad, stack


def assign(x: Tensor) -> None:
    array = np.zeros(2, np.float32)
    array[1] = x * x


LOSING: dict[str, Callable[[Any], Any]] = {
    "np.array of tensors": lambda x: np.array([x, 3 * x]),
    "np.array of lists of tensors": lambda x: np.array([[x], [3 * x]]),
    "np.asarray": np.asarray,
    "an element of an array": assign,
    "np.sum of tensors": lambda x: np.sum([x, x * x]),
    "np.float32": np.float32,
    "Tensor": Tensor,
    "Tensor of an array": lambda x: Tensor(np.array(x)),
    "Tensor of a list": lambda x: Tensor([x, x]),
    "float": float,
    "math.sqrt": math.sqrt,
    "a product with an array of tensors": lambda x: x * np.array([x, 3 * x]),
    "a product with a list of tensors": lambda x: x * [x, 3 * x],
}


@pytest.mark.parametrize("name", LOSING)
@pytest.mark.parametrize("computed", [False, True])
def test_conversions_that_would_lose_a_gradient_are_refused(name: str, computed: bool) -> None:
    x = Tensor(2.0, requires_grad=True)
    with pytest.raises((GraphError, TypeError, ValueError)) as refused:  # NumPy wraps the error of an assignment in a ValueError
        LOSING[name](x * 1.0 if computed else x)
    errors = [refused.value, refused.value.__cause__]
    assert any(
        isinstance(error, GraphError | TypeError) and re.search("would lose|would be lost", str(error)) for error in errors
    )


@pytest.mark.parametrize("name", [name for name in LOSING if "list" not in name and name != "np.sum of tensors"])
def test_nothing_is_refused_where_there_is_no_gradient_to_lose(name: str) -> None:
    LOSING[name](Tensor(2.0))
    with no_grad():
        LOSING[name](Tensor(2.0, requires_grad=True))


def test_stack_is_the_remedy() -> None:
    assert grad(lambda x: (x * stack([x, 3 * x])).sum())(2.0).item() == 16.0


def test_item_numpy_and_detach_take_the_value_on_purpose() -> None:
    x = Tensor(2.0, requires_grad=True)
    assert (x.item(), x.numpy(), float(x.detach())) == (2.0, 2.0, 2.0)
    assert f"{x:.1f}" == "2.0"
