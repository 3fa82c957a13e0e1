"""Both sides of every documented limit, and both forms of every shape."""

from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.limits import Limit, check_both_sides

from samebits import autograd
from samebits.autograd import Tensor, gradient_check

CUBE = Tensor(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
LOGICAL = CUBE > 3

REDUCTIONS = ("sum", "mean", "var", "std", "max", "min", "logsumexp")
LIMITS: dict[str, Limit] = {
    **{
        name: (lambda v, name=name: getattr(CUBE, name)(v), [-3, 2, (0, 2), (-3, -1), None], [-4, 3, (0, 3)])
        for name in REDUCTIONS
    },
    **{name: (lambda v, name=name: getattr(LOGICAL, name)(v), [-3, 2, None], [-4, 3]) for name in ("all", "any")},
    **{name: (lambda v, name=name: getattr(CUBE, name)(v), [-3, 2], [-4, 3]) for name in ("softmax", "log_softmax")},
    **{name: (lambda v, name=name: getattr(CUBE, name)(v), [-3, 2, None], [-4, 3]) for name in ("argmax", "argmin", "cumsum")},
    "flatten from": (CUBE.flatten, [-3, 2], [-4, 3]),
    "flatten to": (lambda v: CUBE.flatten(0, v), [-3, 2], [-4, 3]),
    "swapaxes": (lambda v: CUBE.swapaxes(0, v), [-3, 2], [-4, 3]),
    "transpose": (lambda v: CUBE.transpose(0, 1, v), [-1, 2], [-4, 3, 0]),
    "expand_dims": (CUBE.expand_dims, [-4, 3, (0, 4), (-5, -1)], [-5, 4, (0, 5), (-6, 0)]),
    "squeeze": (lambda v: CUBE.expand_dims((0, -1)).squeeze(v), [-5, 4, (0, -1), None], [-6, 5, 1]),
    "take along": (lambda v: CUBE.take([0], v), [-3, 2, None], [-4, 3]),
    "take": (lambda v: CUBE.take([v], 2), [-4, 3], [-5, 4]),
    "getitem": (lambda v: CUBE[v], [-2, 1], [-3, 2]),
    "split along": (lambda v: CUBE.split(1, v), [-3, 2], [-4, 3]),
    "split": (lambda v: CUBE.split(v, 2), [1, 2, 4, [0, 4], [9]], [0, -1, 3, 8]),
    "concatenate": (lambda v: autograd.concatenate([CUBE, CUBE], v), [-3, 2], [-4, 3]),
    "stack": (lambda v: autograd.stack([CUBE, CUBE], v), [-4, 3], [-5, 4]),
    "reshape": (CUBE.reshape, [(24,), (-1,), (2, -1, 2), (1, 24)], [(23,), (-1, -1), (5, -1), (0, -1)]),
    "expand": (lambda v: CUBE.expand(v, 2, 3, 4), [1, 5], [-2]),
    "gradient_check": (lambda v: gradient_check(lambda x: x * x, 1.0, order=v), [1, 2], [0, 3]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_inside_of_a_limit_is_accepted_and_the_outside_is_refused(name: str) -> None:
    check_both_sides(LIMITS[name])


@pytest.mark.parametrize("form", [tuple, list])
def test_a_shape_is_given_as_lengths_or_as_one_sequence(form: Any) -> None:
    x, row = Tensor(np.arange(6, dtype=np.float32)), Tensor([[1.0, 2.0, 3.0]])
    assert x.reshape(form((2, 3))).tolist() == x.reshape(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert x.reshape(form((6,))).shape == x.reshape(6).shape == (6,)
    assert row.expand(form((2, 3))).tolist() == row.expand(2, 3).tolist() == [[1, 2, 3]] * 2
    for name in ("transpose", "permute"):
        move = getattr(CUBE, name)
        assert move(form((2, 0, 1))).tolist() == move(2, 0, 1).tolist() == CUBE.numpy().transpose(2, 0, 1).tolist()
    assert CUBE.transpose().shape == CUBE.transpose(()).shape == (4, 3, 2)
    assert row.sum().reshape(()).shape == row.sum().reshape(form(())).shape == ()
    assert autograd.zeros(form((2, 3))).shape == autograd.ones(form((2, 3))).shape == (2, 3)


@pytest.mark.parametrize(
    "index",
    [(slice(None), [2, 0, 2]), (slice(1, None), slice(None), [0, 3, 3]), (slice(None), [0, 1], [1, 3]), ([1, 1],), ([0, 0], 1)],
)
def test_an_index_of_slices_and_lists_is_numpys_and_repeated_elements_get_the_sum_of_their_gradients(index: Any) -> None:
    x = Tensor(CUBE.numpy().copy(), requires_grad=True)
    y = x[index]
    assert y.numpy().tobytes() == x.numpy()[index].tobytes()
    expected = np.zeros(x.shape, np.float32)
    weights = np.arange(1, y.size + 1, dtype=np.float32).reshape(y.shape)
    np.add.at(expected, index, weights)
    (y * weights).sum().backward()
    assert x.grad is not None and x.grad.numpy().tobytes() == expected.tobytes()


def test_a_drawing_is_as_high_as_its_columns() -> None:
    x = Tensor(3.0, requires_grad=True)

    def heights(tensor: Tensor) -> tuple[float, list[float]]:
        svg = ET.fromstring(tensor.draw(form="svg"))
        assert svg.get("viewBox") == f"0 0 {svg.get('width')} {svg.get('height')}"
        boxes = [one for one in svg.iter("{http://www.w3.org/2000/svg}rect") if one.get("rx") == "4"]
        return float(svg.get("height", 0)), sorted({float(one.get("y", 0)) for one in boxes})

    legend, box, gap, margin = 28, 52, 16, 16
    assert heights(x * 2) == (2 * margin + box + legend, [margin])
    assert heights(x * x + x) == (2 * margin + box + gap + 8 + legend, [margin])  # an arrow passes below a box
    assert heights(x * x + x.exp()) == (2 * margin + 2 * box + gap + legend, [margin, margin + box + gap])
    with pytest.raises(ValueError, match="draw: form must be"):
        x.draw(form="")
