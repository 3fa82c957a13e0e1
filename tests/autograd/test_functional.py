"""`grad`, `value_and_grad`, `vjp`, `jvp`, `jacobian`, `gradients`, `gradient_check` and `draw`."""

import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from samebits.autograd import (
    GradientError,
    GraphError,
    Tensor,
    grad,
    gradient_check,
    gradients,
    jacobian,
    jvp,
    kernel,
    no_grad,
    operation,
    sin,
    value_and_grad,
    vjp,
)
from samebits.core import numerics


def test_grad_nests_to_any_order() -> None:
    function: Any = lambda x: x**4  # noqa: E731
    assert [x.item() for x in (function(Tensor(2.0)), grad(function)(2.0), grad(grad(function))(2.0))] == [16.0, 32.0, 48.0]
    assert grad(grad(grad(function)))(2.0).item() == 48.0
    assert grad(grad(grad(grad(grad(function)))))(2.0).item() == 0.0


def test_inner_and_outer_derivatives_are_not_confused() -> None:
    assert grad(lambda x: x * grad(lambda y: x + y)(2.0))(1.0).item() == 1.0
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(3.0).item() == 6.0


def test_grad_of_several_arguments_passes_the_others_unchanged() -> None:
    value, (a, b) = value_and_grad(lambda x, n, y: (x**n * y).sum(), argnums=(0, 2))([1.0, 2.0], 3, 2.0)
    assert (value.item(), a.tolist(), b.item()) == (18.0, [6.0, 24.0], 9.0)
    assert not value.requires_grad


def test_grad_does_not_change_grad_attributes_and_works_under_no_grad() -> None:
    x = Tensor(2.0, requires_grad=True)
    with no_grad():
        assert grad(lambda t: t * t)(x).item() == 4.0
    assert x.grad is None
    assert grad(lambda t: t * t)(x).requires_grad  # x is being differentiated, and so is what depends on it


def test_gradients_of_leaves_and_intermediate_tensors() -> None:
    x = Tensor(2.0, requires_grad=True)
    y = x * x
    z = y * y
    assert [g.item() for g in gradients(z, [x, y, z])] == [32.0, 8.0, 1.0]
    unrelated = Tensor([1.0, 2.0], requires_grad=True)
    assert gradients(x * 2, [unrelated])[0].tolist() == [0.0, 0.0]
    assert grad(lambda _: Tensor(1.0))(2.0).item() == 0.0


def test_a_pullback_can_be_called_again() -> None:
    value, pull = vjp(lambda x, y: x * y, [1.0, 2.0], [3.0, 4.0])
    assert value.tolist() == [3.0, 8.0]
    for scale in (1.0, 10.0):
        assert [g.tolist() for g in pull([scale, 0.0])] == [[3.0 * scale, 0.0], [scale, 0.0]]


def test_grad_requires_a_function_that_returns_a_scalar_tensor() -> None:
    with pytest.raises(ValueError, match=r"grad: f must return a scalar, got shape \(2,\)"):
        grad(lambda x: x)([1.0, 2.0])
    with pytest.raises(TypeError, match="f must return a Tensor, got float"):
        grad(lambda x: x.item())(1.0)


def test_a_gradient_penalty_trains_through_gradients() -> None:
    weight = Tensor([[0.5, -1.0], [2.0, 0.3]], requires_grad=True)
    x = Tensor([[1.0, 2.0]], requires_grad=True)

    def penalty(w: Tensor, t: Tensor) -> Tensor:
        (slope,) = gradients((t @ w).tanh().sum(), [t], create_graph=True)
        return (slope * slope).sum()

    penalty(weight, x).backward()
    assert weight.grad is not None
    with numerics("fast"):
        w64 = weight.numpy().astype(np.float64)
        eps = 1e-5
        numeric = np.zeros((2, 2))
        for index in np.ndindex(2, 2):
            ends = []
            for sign in (1, -1):
                moved = w64.copy()
                moved[index] += sign * eps
                ends.append(penalty(Tensor(moved, requires_grad=True), Tensor(np.array([[1.0, 2.0]]), requires_grad=True)).item())
            numeric[index] = (ends[0] - ends[1]) / (2 * eps)
    np.testing.assert_allclose(weight.grad.numpy(), numeric, rtol=1e-4, atol=1e-5)  # float32 against float64


def test_hessian_vector_products() -> None:
    direction = Tensor([1.0, -1.0])
    product = grad(lambda x: (grad(lambda y: (y * y * y).sum())(x) * direction).sum())([1.0, 2.0])
    assert product.tolist() == [6.0, -12.0]


def test_a_wrong_rule_is_reported_with_the_numeric_gradient() -> None:
    @operation(lambda g, x: g * x)
    def half_right(x: Any) -> Any:
        return x * x

    with pytest.raises(GradientError) as caught:
        gradient_check(half_right, [[1.0, -3.0]])
    message = str(caught.value)
    assert "half_right: the gradient with respect to argument 0 is wrong, worst at (0, 1): analytic" in message
    assert "analytic:\n[[" in message
    assert "numeric:\n[[" in message


def test_a_rule_that_is_wrong_only_in_second_order_is_found() -> None:
    @operation(lambda g, x: g * np.cos(x.data if isinstance(x, Tensor) else x))
    def cut_off(x: Any) -> Any:
        return np.sin(x)

    gradient_check(cut_off, [0.5])
    with pytest.raises(GradientError, match="gradient of cut_off"):
        gradient_check(cut_off, [0.5], order=2)
    gradient_check(sin, [0.5], order=2)


def test_gradient_check_refuses_inputs_that_it_cannot_check() -> None:
    with pytest.raises(ValueError, match="gradient_check: one input must be floating, got none"):
        gradient_check(lambda x: x, 1)
    with pytest.raises(GradientError, match="requires no gradient"):
        gradient_check(lambda x: x.detach(), [1.0])
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        gradient_check(lambda x: x, 1.0, order=3)


def test_a_graph_is_drawn_with_values_and_gradients_and_not_freed() -> None:
    x = Tensor(3.0, requires_grad=True)
    y = x * x + x
    assert y.draw().splitlines() == [
        "add  value 12  gradient 1",
        "├ multiply  value 9  gradient 1",
        "│ ├ #1 leaf  value 3  gradient 7",
        "│ └ #1",
        "└ #1",
    ]
    svg = ET.fromstring(y.draw(form="svg"))
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:3] == ["add", "value 12", "gradient 1"]
    assert x.grad is None
    y.backward()
    with pytest.raises(GraphError, match="draw before backward"):
        y.draw()
    with pytest.raises(GraphError, match="requires no gradient"):
        Tensor(1.0).draw()
    with pytest.raises(ValueError, match="draw: form must be 'text' or 'svg', got 'png'"):
        (x * 2).draw(form="png")


def test_large_values_are_drawn_by_their_shape() -> None:
    x = Tensor(np.ones((10, 10), np.float32), requires_grad=True)
    assert "leaf  value shape (10, 10)  gradient shape (10, 10)" in (x * x).sum().draw()


def test_derivatives_through_closures_are_computed() -> None:
    assert grad(lambda x: grad(lambda y: x * y * y)(3.0))(1.0).item() == 6.0
    assert grad(lambda x: value_and_grad(lambda y: x * y * y)(3.0)[0])(1.0).item() == 9.0
    assert grad(lambda x: vjp(lambda y: x * y * y, 3.0)[1](None)[0])(1.0).item() == 6.0
    assert grad(lambda x: grad(lambda z: grad(lambda y: x * z * y * y)(3.0))(2.0))(1.0).item() == 6.0
    weight = Tensor(2.0, requires_grad=True)
    value, slope = value_and_grad(lambda x: weight * x * x)(3.0)
    (value + slope).backward()
    assert weight.grad is not None
    assert weight.grad.item() == 15.0


def test_results_of_grad_without_outer_tensors_have_no_graph() -> None:
    assert not grad(lambda x: grad(lambda y: x * y * y)(3.0))(1.0).requires_grad
    value, _ = value_and_grad(lambda x: x * grad(lambda y: x * y * y)(3.0))(1.0)
    assert not value.requires_grad


def test_kernels_with_a_leaf_in_a_closure_have_first_gradients_only() -> None:
    @kernel(lambda g, x, w: (g * w, g * x))
    def product(x: Any, w: Any) -> Any:
        return x * w, (x, w)

    weight = Tensor(2.0, requires_grad=True)
    slope = grad(lambda x: product(x, weight))(3.0)
    assert slope.item() == 2.0
    with pytest.raises(GraphError, match="product has no second gradients"):
        slope.backward()


def test_gradients_of_an_intermediate_tensor_do_not_free_its_own_graph() -> None:
    x = Tensor(2.0, requires_grad=True)
    y = x * x
    z = y * y
    assert gradients(z, [y])[0].item() == 8.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 4.0


def test_the_picture_of_an_edited_leaf_shows_its_new_value() -> None:
    x = Tensor(3.0, requires_grad=True)
    with x.edit() as array:
        array[...] = 5.0
    assert "leaf  value 5" in (x + 1).draw()


def test_a_jacobian_has_the_shapes_of_the_value_and_the_argument() -> None:
    matrix = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    assert jacobian(lambda x: Tensor(matrix) @ x)([1.0, 1.0, 1.0]).tolist() == matrix.tolist()
    first, second = jacobian(lambda a, b: a[:, None] * b, argnums=(0, 1))([1.0, 2.0], [3.0, 4.0, 5.0])
    assert (first.shape, second.shape) == ((2, 3, 2), (2, 3, 3))
    assert first[1, :, 1].tolist() == [3.0, 4.0, 5.0]
    assert jacobian(lambda x: x * x)(3.0).item() == 6.0
    assert jacobian(lambda x: x[:0])([1.0, 2.0]).shape == (0, 2)
    with pytest.raises(TypeError, match="jacobian: argnums must be an int or a tuple of ints, got 'x'"):
        jacobian(sin, "x")  # type: ignore[arg-type]


def test_a_hessian_is_the_jacobian_of_the_gradient() -> None:
    hessian = jacobian(grad(lambda x: (x * x * x).sum() + x[0] * x[1]))([1.0, 2.0])
    assert hessian.tolist() == [[6.0, 1.0], [1.0, 12.0]]


def test_a_jvp_is_the_jacobian_times_the_tangent_and_leaves_grad_unchanged() -> None:
    x, t = Tensor([0.5, 1.0, 2.0], requires_grad=True), Tensor([1.0, -1.0, 0.5])

    def function(a: Tensor) -> Tensor:
        return (a * a).exp() / a.sum()

    with no_grad():
        value, tangent = jvp(function, [x], [t])
        expected = jacobian(function)(x) @ t
    np.testing.assert_allclose(tangent.numpy(), expected.numpy(), rtol=1e-6)
    assert (value.tolist(), value.requires_grad, x.grad) == (function(x).tolist(), False, None)
    assert [y.tolist() for y in jvp(lambda a: a * 0.0 + 1.0, ([1.0, 2.0],), ([1.0, 1.0],))] == [[1.0, 1.0], [0.0, 0.0]]
    assert [y.tolist() for y in jvp(lambda _: Tensor([1.0, 2.0]), ([1.0],), ([1.0],))] == [[1.0, 2.0], [0.0, 0.0]]


def test_a_jvp_can_be_differentiated() -> None:
    slope = grad(lambda x: jvp(lambda a: a * a * a, (x,), (1.0,))[1])(2.0)
    assert slope.item() == 12.0
    tangent = Tensor(3.0, requires_grad=True)
    jvp(lambda a: a * a, (2.0,), (tangent,))[1].backward()
    assert tangent.grad is not None
    assert tangent.grad.item() == 4.0


def test_jvp_refuses_tangents_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"jvp: tangents\[0\] must have shape \(2,\), as its argument, got \(\)"):
        jvp(sin, ([1.0, 2.0],), (1.0,))
    with pytest.raises(ValueError, match=r"jvp: tangents must be as many as arguments, got 2 for 1"):
        jvp(sin, ([1.0, 2.0],), (1.0, 1.0))

    @kernel(lambda g, x: (g * x.dtype.type(2),))
    def doubled(x: Any) -> Any:
        return x + x, (x,)

    with pytest.raises(GraphError, match="doubled has no second gradients"):
        jvp(doubled, (1.0,), (1.0,))


SVG = "{http://www.w3.org/2000/svg}"


def test_arrows_do_not_cross_boxes_or_coincide() -> None:
    a, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([0.5, 1.0], requires_grad=True)
    picture = ET.fromstring((((a * w).tanh() + a).sigmoid() * w + (a * a) * a + w).sum().draw(form="svg"))
    boxes = [{name: float(one.get(name, "0")) for name in ("x", "y", "width", "height")} for one in picture.iter(f"{SVG}rect")]
    boxes = [box for box in boxes if box["width"] == 168]
    paths = [one.get("d", "") for one in picture.iter(f"{SVG}path") if one.get("fill") == "none"]
    assert len(set(paths)) == len(paths) == 17
    for path in paths:
        ends = [tuple(map(float, point)) for point in re.findall(r"([\d.]+),([\d.]+)(?= [LC]|$)", path)]
        for (x, y), (to_x, to_y) in itertools.pairwise(ends):
            for box in boxes:
                crosses = x < box["x"] + box["width"] and to_x > box["x"]
                assert not crosses or max(y, to_y) < box["y"] or min(y, to_y) > box["y"] + box["height"]


def test_the_picture_in_the_chapter_is_what_draw_gives() -> None:
    x = Tensor(3.0, requires_grad=True)
    picture = (Path(__file__).parents[2] / "docs/autograd.svg").read_text("utf-8")
    assert picture == (x * x + x).draw(form="svg") + "\n"
