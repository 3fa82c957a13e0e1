"""The linear layer: its formula and gradients, and weights cached on their grids, which changes nothing but the time."""

import gc
import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits import core
from samebits.autograd import Tensor, gradient_check, no_grad
from samebits.core import Mode, Stream, numerics
from samebits.nn.dense import Linear, kept_bytes, linear, linears
from samebits.nn.module import parameter


def normal(*shape: int, name: str = "normal") -> Any:
    return np.asarray(Stream(0).split(name).normal(size=shape))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
@pytest.mark.parametrize("biased", [True, False])
def test_values_are_products_and_sums_in_any_shape(shape: tuple[int, ...], biased: bool) -> None:
    x, weight, bias = normal(*shape), normal(5, 3), normal(5) if biased else None
    found = linear(Tensor(x), Tensor(weight), None if bias is None else Tensor(bias)).numpy()
    product = core.matmul(x, weight.T)
    assert found.tobytes() == (product if bias is None else product + bias).tobytes()


def test_gradients_are_those_of_central_differences() -> None:
    gradient_check(linear, normal(2, 4, 3), normal(5, 3), normal(5))
    gradient_check(linear, normal(4, 3), normal(5, 3))
    gradient_check(linear, normal(3), normal(5, 3), normal(5))


def test_gradients_in_exact_arithmetic_are_exact_sums_over_all_rows() -> None:
    x, weight, bias = [Tensor(a, requires_grad=True) for a in (normal(2, 40, 3), normal(5, 3), normal(5))]
    g = normal(2, 40, 5, name="gradient")
    linear(x, weight, bias).backward(g)
    rows = g.reshape(80, 5)
    for tensor, expected in (
        (x, core.matmul(g, weight.numpy())),
        (weight, core.matmul(rows.T, x.numpy().reshape(80, 3))),
        (bias, core.sum(rows, axis=0)),
    ):
        assert tensor.grad is not None
        assert tensor.grad.numpy().tobytes() == expected.tobytes()


def repeated(weight: Tensor, times: int = 3) -> None:
    """Every result, forwards and backwards, is that of a fresh copy of the weight."""
    for rows in [4, 40] * times:  # few and many
        x, g = normal(rows, 6), normal(rows, 5, name="gradient")
        inputs = Tensor(x, requires_grad=True)
        out = linear(inputs, weight)
        assert out.numpy().tobytes() == core.matmul(x, weight.numpy().T.copy()).tobytes()
        out.backward(g)
        assert inputs.grad is not None
        assert inputs.grad.numpy().tobytes() == core.matmul(g, weight.numpy().copy()).tobytes()


def test_a_weight_that_changes_is_never_stale() -> None:
    layer = Linear(6, 5, bias=False, stream=Stream(1))
    repeated(layer.weight)
    with layer.weight.edit() as array:
        array[...] = array * np.float32(3)
    repeated(layer.weight)
    with no_grad():
        layer.weight[0] = 1.0
    repeated(layer.weight)
    layer.load_state_dict({"weight": normal(5, 6)})
    repeated(layer.weight)
    shared = layer.weight.detach()
    with shared.edit() as array:
        array[...] = array + np.float32(1)
    repeated(layer.weight)
    layer.weight = Tensor(normal(5, 6, name="other"), requires_grad=True)
    repeated(layer.weight)


def test_a_kept_weight_cannot_be_written_to_behind_edit_and_edits_reach_who_shares_it() -> None:
    weight = Tensor(normal(5, 6), requires_grad=True)
    shared = weight.detach()
    repeated(weight)
    with pytest.raises(ValueError, match="read-only"):
        weight.data -= np.float32(1)
    before = weight.numpy().copy()
    shared[...] = before + np.float32(1)
    assert weight.numpy().tobytes() == (before + np.float32(1)).tobytes()
    weight.data -= np.float32(1)  # it is not kept now
    repeated(weight)


def test_a_weight_stays_right_through_steps_of_an_optimizer() -> None:
    from samebits.nn.sgd import SGD

    layer = Linear(6, 5, bias=False, stream=Stream(1))
    optimizer = SGD([layer.weight], learning_rate=0.1)
    for _ in range(4):
        repeated(layer.weight, 2)
        optimizer.step()


def test_arrays_that_anyone_may_write_to_are_not_kept() -> None:
    weight = normal(5, 6)
    for _ in range(4):
        out: Any = linear(normal(4, 6), weight)
        assert out.tobytes() == core.matmul(normal(4, 6), weight.T).tobytes()
        weight += np.float32(1)


def test_a_weight_is_kept_when_it_comes_a_second_time_and_goes_with_its_tensor() -> None:
    gc.collect()
    before = kept_bytes()
    weight = Tensor(normal(50, 60))
    with no_grad():
        linear(Tensor(normal(1, 60)), weight)
        assert kept_bytes() == before
        for _ in range(3):
            linear(Tensor(normal(1, 60)), weight)
            assert kept_bytes() == before + 50 * 60 * 4
    del weight
    gc.collect()
    assert kept_bytes() == before


def test_no_more_is_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("samebits.nn.dense"), "MOST_KEPT", kept_bytes() + 5 * 6 * 4)
    before, weights = kept_bytes(), [Tensor(normal(5, 6, name=str(i))) for i in range(3)]
    for weight in weights:
        repeated(weight)
    assert kept_bytes() <= before + 5 * 6 * 4


@pytest.mark.parametrize("outputs", [1, 100, 3000])
def test_few_rows_by_a_kept_weight_have_the_bits_of_matmul(outputs: int) -> None:
    weight = Tensor(normal(outputs, 100))
    for rows in (1, 2, 16, 17):
        x = normal(rows, 100, name=str(rows)) * np.exp(normal(rows, 1)).astype(np.float32)
        for _ in range(2):
            assert linear(Tensor(x), weight).numpy().tobytes() == core.matmul(x, weight.numpy().T).tobytes()
    assert linear(Tensor(x[0]), weight).numpy().tobytes() == core.matmul(x[0], weight.numpy().T).tobytes()


def test_the_largest_weights_are_not_kept() -> None:
    weight, x = Tensor(np.full((2, 600), np.finfo(np.float32).max)), normal(1, 600)
    for _ in range(3):
        assert linear(Tensor(x), weight).numpy().tobytes() == core.matmul(x, weight.numpy().T).tobytes()


@given(st.integers(1, 9), st.integers(0, 8))
def test_a_row_does_not_depend_on_the_others(rows: int, row: int) -> None:
    x, layer = normal(9, 6), Linear(6, 5, stream=Stream(2))
    part = slice(row, row + rows)
    assert layer(Tensor(x[part])).numpy().tobytes() == layer(Tensor(x)).numpy()[part].tobytes()


def test_fast_arithmetic_is_near_exact() -> None:
    x, layer = Tensor(normal(9, 6)), Linear(6, 5, stream=Stream(2))
    exact = layer(x).numpy()
    with numerics("fast"):
        np.testing.assert_allclose(layer(x).numpy(), exact, rtol=1e-5, atol=1e-6)  # a few roundings of float32


def test_initial_values_are_pytorchs_default_or_what_is_asked_for() -> None:
    layer = Linear(100, 50, stream=Stream(0))
    for tensor in layer.parameters():
        assert 0.08 < float(np.abs(tensor.numpy()).max()) <= 0.1
    chosen = Linear(100, 50, stream=Stream(0), initialize=lambda _, shape: np.full(shape, 2, np.float32))
    assert chosen.bias is not None and not chosen.bias.numpy().any() and (chosen.weight.numpy() == 2).all()
    unbiased = Linear(100, 50, bias=False, stream=Stream(0))
    assert [name for name, _ in unbiased.named_tensors()] == ["weight"]
    assert unbiased.weight.numpy().tobytes() == layer.weight.numpy().tobytes()


def test_errors_name_the_argument() -> None:
    x, weight = normal(4, 3), normal(5, 3)
    with pytest.raises(ValueError, match=r"linear: x and weight must have shapes .*, got \(4, 3\) and \(3, 5\)"):
        linear(Tensor(x), Tensor(weight.T))
    with pytest.raises(ValueError, match=r"linear: x and weight must have shapes .*, got \(4, 0\) and \(5, 0\)"):
        linear(Tensor(x[:, :0]), Tensor(weight[:, :0]))
    with pytest.raises(ValueError, match=r"linear: bias must have shape \(5,\), the outputs of weight, got \(3,\)"):
        linear(Tensor(x), Tensor(weight), Tensor(normal(3)))
    with pytest.raises(TypeError, match="weight must be float32 as x is, got int64"):
        linear(Tensor(x), Tensor(np.ones((5, 3), np.int64)))
    with pytest.raises(ValueError, match="Linear: inputs must be at least 1, got 0"):
        Linear(0, 3, stream=Stream(0))
    x[2, 1] = np.nan
    with pytest.raises(FloatingPointError, match=r"linear: x\[2, 1\] must be finite, got nan"):
        linear(Tensor(x), Tensor(weight))
    bad = weight.copy()
    bad[4, 0] = np.inf
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=r"linear: weight\[4, 0\] must be finite, got inf"):
            linear(Tensor(normal(4, 3)), Tensor(bad))
    with pytest.raises(FloatingPointError, match=r"linear: bias\[1\] must be finite, got inf"):
        linear(Tensor(normal(4, 3)), Tensor(weight), Tensor(np.array([0, np.inf, 0, 0, 0], np.float32)))
    out = linear(Tensor(normal(4, 3), requires_grad=True), Tensor(weight))
    with pytest.raises(FloatingPointError, match=r"the gradient of linear: gradient\[0, 0\] must be finite, got nan"):
        out.backward(np.full((4, 5), np.nan, np.float32))


@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 20), st.integers(0, 9), st.integers(1, 3))
def test_exchanging_x_and_weight_transposes_the_result_and_exchanges_the_gradients(
    rows: int, inputs: int, outputs: int, seed: int, times: int
) -> None:
    """(x Wᵀ)ᵀ = W xᵀ to the last bit, whichever of the two is cached on its grid."""
    stream = Stream(seed)
    drawn = [np.asarray(stream.split(name).normal(size=(n, inputs))) for name, n in (("x", rows), ("weight", outputs))]
    x, weight = [Tensor(one * one * one, requires_grad=True) for one in drawn]  # of many sizes
    g = np.asarray(stream.split("g").normal(size=(rows, outputs)))
    for _ in range(times):  # from the second on, the cached weight is used
        found = []
        for first, second, gradient in ((x, weight, g), (weight, x, g.T)):
            x.grad = weight.grad = None
            out = linear(first, second)
            out.backward(gradient)
            assert x.grad is not None
            assert weight.grad is not None
            found.append((out.numpy(), x.grad.numpy(), weight.grad.numpy()))
        (out, dx, dw), (turned, dx2, dw2) = found
        assert out.tobytes() == np.ascontiguousarray(turned.T).tobytes()
        assert (dx.tobytes(), dw.tobytes()) == (dx2.tobytes(), dw2.tobytes())


@pytest.mark.parametrize("biased", [(True, True), (False, False), (True, False)])
def test_several_layers_of_one_x_have_the_bits_of_each(biased: tuple[bool, bool]) -> None:
    layers = [Linear(6, n, bias=bias, stream=Stream(n)) for n, bias in zip((5, 300), biased, strict=True)]
    for shape in [(1, 6), (2, 3, 6), (40, 6), (0, 6), (6,)] * 3:
        x = Tensor(normal(*shape))
        expected = [layer(x) for layer in layers]
        with no_grad():
            found = linears(x, layers)
        assert [y.numpy().tobytes() for y in found] == [y.numpy().tobytes() for y in expected]
        assert [y.shape for y in found] == [y.shape for y in expected]
        with layers[0].weight.edit() as array:
            array[...] = -array if shape == (40, 6) else array
    with numerics("fast"):
        assert [y.shape for y in linears(x, layers)] == [(5,), (300,)]


def test_several_layers_of_one_x_have_gradients_and_name_their_argument() -> None:
    layers = [Linear(6, n, stream=Stream(n)) for n in (5, 7)]
    x = Tensor(normal(4, 6), requires_grad=True)
    for _ in range(3):
        a, b = linears(x, layers)
        (a.sum() + b.sum()).backward()
    assert x.grad is not None
    with no_grad():
        for _ in range(3):
            linears(x, layers)
        with pytest.raises(FloatingPointError, match=r"linear: x\[1, 2\] must be finite, got inf"):
            linears(Tensor(np.where(np.arange(24).reshape(4, 6) == 8, np.float32(np.inf), normal(4, 6))), layers)
        with pytest.raises(ValueError, match="linear: x and weight"):
            linears(Tensor(normal(4, 5)), layers)


@pytest.mark.parametrize("mode", ["exact", "int16"])
def test_a_weight_that_is_not_finite_is_named_at_every_use(mode: core.Mode) -> None:
    layers = [Linear(6, n, stream=Stream(n)) for n in (5, 7)]
    with layers[1].weight.edit() as array:
        array[2, 3] = np.nan
    with numerics(mode), no_grad():
        for _ in range(3):
            assert layers[1](Tensor(normal(0, 6))).shape == (0, 7)
            for use in (lambda x: linears(x, layers), layers[1]):
                with pytest.raises(FloatingPointError, match=r"^linear: weight\[2, 3\] must be finite, got nan$"):
                    use(Tensor(normal(1, 6)))


def test_several_layers_have_the_results_and_errors_of_each_at_every_use() -> None:
    x, layers = Tensor(normal(2, 6)), [Linear(6, n, stream=Stream(n)) for n in (5, 7)]
    layers[0].weight = parameter(normal(3, 6))
    layers[0].bias = None
    other = Linear(4, 5, stream=Stream(0))
    with numerics("fast"):
        wide_x, wide = Tensor(normal(2, 6).astype(np.float64)), [Linear(6, 5, stream=Stream(0)) for _ in range(2)]
        for layer in wide:
            layer.weight, layer.bias = parameter(normal(5, 6).astype(np.float64)), None
    with no_grad():
        for _ in range(3):
            assert [y.numpy().tobytes() for y in linears(x, layers)] == [layer(x).numpy().tobytes() for layer in layers]
            with pytest.raises(ValueError, match=r"^linear: x and weight must have shapes"):
                linears(x, [layers[1], other])
            with pytest.raises(TypeError, match=r"^linear: x must be float32, got float64"):
                linears(wide_x, wide)


@pytest.mark.parametrize("mode", ["exact", "int16"])
def test_an_edit_of_any_tensor_makes_a_cached_weight_be_looked_at_again(mode: Mode) -> None:
    layer, other, x = Linear(3, 2, stream=Stream(0)), Tensor([1.0]), Tensor([[1.0, 2.0, 3.0]])

    def change(tensor: Tensor) -> None:
        with tensor.edit() as array:
            array[...] = array + 1

    with numerics(mode), no_grad():
        before = [layer(x).numpy().copy() for _ in range(3)][-1]
        change(other)
        assert np.array_equal(layer(x).numpy(), before)
        change(layer.weight)
        after = [layer(x).numpy().copy() for _ in range(3)]
        assert all(not np.array_equal(one, before) and np.array_equal(one, after[0]) for one in after)
