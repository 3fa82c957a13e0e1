"""Every operation: its first and second gradients are those of central differences, and exact arithmetic agrees."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tests.autograd.cases import Case, cases

from samebits import autograd
from samebits.autograd import GradientError, Tensor, gradient_check, gradients, operation, ops
from samebits.core import numerics

CASES = cases()
THREE = np.float32(3)
BINARY = [ops.add, ops.subtract, ops.multiply, ops.divide, ops.maximum, ops.minimum]


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_gradients_are_those_of_central_differences(name: str) -> None:
    gradient_check(CASES[name].function, *CASES[name].inputs(), order=2)


@pytest.mark.parametrize("name", CASES)
def test_exact_arithmetic_gives_the_float64_gradients_rounded(name: str) -> None:
    case = CASES[name]
    inputs = [x.astype(np.float32).astype(np.float64) for x in case.inputs(1)]

    def run(dtype: type) -> list[np.ndarray[Any, Any]]:
        tensors = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
        output = case.function(*tensors)
        weights: Any = np.cos(np.arange(output.size, dtype=np.float64)).reshape(output.shape).astype(dtype)
        found = gradients(output, tensors, Tensor(weights))
        return [np.asarray(x.data) for x in [output, *found]]

    exact = run(np.float32)
    with numerics("fast"):
        reference = run(np.float64)
    for mine, right in zip(exact, reference, strict=True):
        assert mine.dtype == np.float32
        # a few roundings of 6e-8 each, and cancellation in sums of a dozen terms
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(right).max(initial=0.0))))


@pytest.mark.once
@given(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), st.sampled_from(BINARY))
def test_gradients_of_broadcasting_operations(shapes: Any, function: Any) -> None:
    a, b = Case(function, shapes.input_shapes, "positive").inputs()
    if a.size and b.size:
        gradient_check(function, a, b * 1.37, order=2)
    else:
        x, y = Tensor(a, np.float32, requires_grad=True), Tensor(b, np.float32, requires_grad=True)
        function(x, y).sum().backward()
        assert x.grad is not None
        assert (x.grad.shape, x.grad.tolist()) == (a.shape, np.zeros(a.shape).tolist())


@pytest.mark.once
@given(npst.array_shapes(min_dims=1, max_dims=3, max_side=3), st.data())
def test_gradients_of_reductions_over_any_axes(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.none() | npst.valid_tuple_axes(len(shape)) | st.integers(-len(shape), len(shape) - 1))
    keepdims = data.draw(st.booleans())
    function = data.draw(st.sampled_from([ops.sum, ops.mean, ops.var, ops.std, ops.max, ops.min, ops.logsumexp]))
    (x,) = Case(function, (shape,)).inputs()
    gradient_check(lambda t: function(t, axis, keepdims=keepdims), x, order=2)
    expected = {"logsumexp": np.max}.get(function.__name__) or getattr(np, function.__name__)
    assert function(Tensor(x, np.float32), axis, keepdims=keepdims).shape == np.shape(expected(x, axis=axis, keepdims=keepdims))


@pytest.mark.once
@given(npst.array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_gradients_of_basic_and_advanced_indexing(shape: tuple[int, ...], data: st.DataObject) -> None:
    (x,) = Case(ops.exp, (shape,)).inputs()
    basic = npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    advanced = npst.integer_array_indices(shape, result_shape=npst.array_shapes(max_dims=2, max_side=3), dtype=np.dtype(np.int64))
    index = data.draw(basic | advanced)
    np.testing.assert_array_equal(Tensor(x, np.float32)[index].numpy(), x.astype(np.float32)[index])
    gradient_check(lambda t: t[index] * t[index], x, order=2)


@pytest.mark.once
@given(npst.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=2, max_side=3))
def test_gradients_of_matrix_products_of_all_shapes(shapes: Any) -> None:
    a, b = Case(ops.matmul, shapes.input_shapes).inputs()
    assert ops.matmul(Tensor(a, np.float32), Tensor(b, np.float32)).shape == shapes.result_shape
    gradient_check(ops.matmul, a, b, order=1)


def test_where_arguments_are_equal_they_share_the_gradient() -> None:
    x = Tensor([1.0, 3.0, 3.0, 2.0], requires_grad=True)
    x.max().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.5, 0.5, 0.0]
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([1.0, 1.0], requires_grad=True)
    (ops.maximum(a, b) + 10 * ops.minimum(a, b)).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad.tolist(), b.grad.tolist()) == ([5.5, 1.0], [5.5, 10.0])


def test_corners_have_the_gradient_between_their_sides() -> None:
    x = Tensor([0.0, -0.0], requires_grad=True)
    (x.relu() + x.abs()).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]


def test_where_passes_no_gradient_to_elements_that_it_did_not_select() -> None:
    x = Tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ops.where(x.numpy() > 0, 1 / x, 0.0).sum().backward()
    assert x.grad is not None
    assert np.isnan(x.grad.numpy()[0])  # 0 times the infinite slope of 1 / x: choose before, not after
    y = Tensor([0.0, 4.0], requires_grad=True)
    (1 / ops.where(y.numpy() > 0, y, 1.0)).sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [0.0, -0.0625]


def test_maximum_and_minimum_of_zeros_are_positive_zeros() -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    for function in (ops.maximum, ops.minimum):
        assert not np.signbit(function(Tensor(zeros), Tensor(zeros[::-1])).numpy()).any()
    assert not np.signbit(ops.relu(Tensor([-0.0, -1.0])).numpy()).any()


def test_reading_an_array_row_by_row_gives_the_gradient_of_reading_it_at_once() -> None:
    x = Tensor(np.arange(12.0).reshape(4, 3), np.float32, requires_grad=True)
    total = Tensor(0.0)
    for row in x:
        total = total + (row * row).sum()
    total.backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), 2 * x.numpy())


def test_repeated_indices_accumulate() -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[np.array([2, 2, -1, 0])].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0, 3.0]


def test_integer_powers_are_numpys() -> None:
    x = Tensor([0.0, 2.0, -3.0, float("inf")], requires_grad=True)
    assert (x**0).tolist() == [1.0] * 4
    (x**0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0] * 4
    assert (x**3).tolist() == [0.0, 8.0, -27.0, float("inf")]


def test_softmax_refuses_rows_without_a_finite_maximum_and_takes_minus_infinity() -> None:
    inf = float("inf")
    assert Tensor([[0.0, -inf]]).softmax().tolist() == [[1.0, 0.0]]
    for row, value in (([0.0, inf], "inf"), ([0.0, float("nan")], "nan"), ([-inf, -inf], "-inf")):
        with pytest.raises(FloatingPointError, match=rf"softmax: row \[1\] of x must have a finite maximum, got {value}"):
            Tensor([[0.0, 0.0], row]).softmax()


def test_operations_on_arrays_return_arrays() -> None:
    x: Any = np.array([1.0, 4.0], np.float32)
    results: list[Any] = [
        ops.sqrt(x),
        ops.add(x, x),
        ops.sum(x, 0, keepdims=True),
        ops.where(x > 1, x, 0.0),
        ops.matmul(x[None], x),
    ]
    for result in results:
        assert isinstance(result, np.ndarray)
        assert result.dtype == np.float32


def test_operations_on_numbers_and_lists_return_tensors() -> None:
    assert ops.exp(0.0).tolist() == 1.0
    assert ops.sqrt([4.0, 9.0]).tolist() == [2.0, 3.0]
    assert ops.maximum([1.0, 2.0], 1.5).tolist() == [1.5, 2.0]


def test_users_add_an_operation_with_one_function_and_one_rule() -> None:
    @operation(lambda g, x, out: g * (out + x * out))
    def x_exp_x(x: Any) -> Any:
        return x * autograd.exp(x)

    with pytest.raises(GradientError, match="x_exp_x: the gradient with respect to argument 0 is wrong"):
        gradient_check(x_exp_x, [0.5, 1.0])

    @operation(lambda g, x, out: g * (out + autograd.exp(x)))
    def right(x: Any) -> Any:
        return x * autograd.exp(x)

    gradient_check(right, [0.5, 1.0], order=2)


def test_parameters_of_a_rule_must_be_arguments_or_out() -> None:
    with pytest.raises(TypeError, match=r"f: a rule's parameters must be among x, out, n, got 'y\'"):

        @operation(lambda g, y: g * y)
        def f(x: Any, n: int) -> Any:
            return x * n


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Tensor([1.0, 2.0]) + Tensor([1.0, 2.0, 3.0]), ValueError, "could not be broadcast"),
        (lambda: Tensor(1.0) + "text", TypeError, "add: b must be a tensor, an array or a number, got str"),
        (lambda: Tensor([1.0]) @ Tensor(1.0), ValueError, "matmul: a and b must have at least one axis"),
        (
            lambda: Tensor([1.0]) @ Tensor([1.0, 2.0]),
            ValueError,
            r"matmul: b must have 1 rows, as a of shape \(1,\) has columns, got shape \(2,\)",
        ),
        (lambda: Tensor([1.0]).sum(1), np.exceptions.AxisError, "axis 1"),
        (lambda: Tensor([1.0, 2.0, 3.0]).split(2), ValueError, "split: sections must divide the length 3 of axis 0, got 2"),
        (lambda: ops.stack([Tensor(1.0), Tensor([1.0])]), ValueError, r"stack: tensors must have one shape, got \(\), \(1,\)"),
        (
            lambda: ops.concatenate([Tensor([1.0]), Tensor([1])]),
            TypeError,
            "concatenate: tensors must have one dtype, got float32, int64",
        ),
        (lambda: Tensor([1.0]).squeeze(0).softmax(), ValueError, "softmax: x must have at least one axis"),
        (lambda: Tensor([float("inf")]) @ Tensor([1.0]), FloatingPointError, "matmul: a"),
        (lambda: Tensor([1]).exp(), TypeError, "int64"),
        (lambda: Tensor([1.0]).take(0, 1), np.exceptions.AxisError, "axis 1"),
        (lambda: Tensor([1.0]).split(1, -2), np.exceptions.AxisError, "axis -2"),
        (lambda: ops.sum(Tensor([1.0]), [0]), TypeError, r"sum: axis must be an int, a tuple of ints or None, got \[0\]"),  # type: ignore[arg-type]
        (lambda: autograd.grad(ops.sum, [0]), TypeError, r"grad: argnums must be an int or a tuple of ints, got \[0\]"),  # type: ignore[arg-type]
        (lambda: Tensor([1]).softmax(), TypeError, "softmax: x must be float32, got int64"),
        (lambda: Tensor([1]).log_softmax(), TypeError, "log_softmax: x must be float32, got int64"),
        (lambda: ops.softmax(np.ones(2)), TypeError, "softmax: x must be float32, got float64"),
        (lambda: ops.concatenate([Tensor([1.0])], None), TypeError, "concatenate: axis must be an int, got None"),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_powers_take_numpy_scalars_and_keep_integers() -> None:
    x = Tensor([4.0, 9.0])
    assert ((x ** np.float32(0.5)).tolist(), (x ** np.float32(2)).tolist()) == ([2.0, 3.0], [16.0, 81.0])
    assert [(Tensor([2]) ** n).dtype.name for n in (0, 1, 2)] == ["int64"] * 3


def test_tensors_and_arrays_are_concatenated() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = ops.concatenate([x, np.array([2.0], np.float32), [3.0]])
    assert (y.tolist(), y.dtype.name) == ([1.0, 2.0, 3.0], "float32")
    assert ops.stack([x, np.array([2.0], np.float32)]).tolist() == [[1.0], [2.0]]


def test_operations_take_defaults_and_keywords() -> None:
    @operation(lambda g, n: g * n)
    def scaled(x: Any, n: Any = THREE) -> Any:
        return x * n

    for y, slope in ((scaled, 3.0), (lambda x: scaled(x, n=np.float32(5)), 5.0), (lambda x: scaled(x=x), 3.0)):
        x = Tensor(2.0, requires_grad=True)
        y(x).backward()  # type: ignore[operator]
        assert x.grad is not None
        assert x.grad.item() == slope
    with pytest.raises(TypeError, match="must not have keyword-only parameters, got 'n'"):
        operation(lambda g: g)(lambda x, *, n: x * n)


def test_a_tensor_as_an_argument_without_a_rule_is_refused() -> None:
    @operation(lambda g, n: g * n)
    def scaled(x: Any, n: Any) -> Any:
        return x * n

    with pytest.raises(TypeError, match="scaled: an argument without a rule must not be a tensor"):
        scaled(Tensor(1.0), Tensor(2.0))
