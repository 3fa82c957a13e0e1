"""`Tensor` as a value: conversions, dtypes, Python protocols."""

import copy
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

from samebits import autograd
from samebits.autograd import GraphError, Tensor, edits, no_grad, where
from samebits.core import matmul, numerics


def test_floats_become_float32_and_integers_int64() -> None:
    given = [
        1.0,
        [1.0, 2.0],
        [np.float64(1)],
        np.ones(2, np.float32),
        np.ones(2, np.float16),
        [],
        1,
        [1, 2],
        np.ones(2, np.uint8),
        True,
        [True],
    ]
    dtypes = [Tensor(x).dtype.name for x in given]
    assert dtypes == ["float32"] * 6 + ["int64"] * 3 + ["bool"] * 2
    assert Tensor([1, 2], dtype=np.float32).dtype == np.float32


def test_float64_arrays_stay_float64_in_fast_arithmetic_only() -> None:
    with numerics("fast"):
        assert Tensor(np.ones(2)).dtype == np.float64
        assert Tensor([1.0]).dtype == np.float32
        assert (Tensor(np.ones(2)) * 2 + 1 / Tensor(np.ones(()))).dtype == np.float64
        with pytest.raises(TypeError, match="add: a and b must have one dtype, got float64 and float32"):
            Tensor(np.ones(2)) + Tensor([1.0])
    with pytest.raises(
        TypeError, match=r"dtype must be float32, int64 or bool, got float64; float64 requires numerics\(\"fast\"\)"
    ):
        Tensor(1.0, dtype=np.float64)


def test_float64_arrays_and_scalars_are_refused_in_exact_arithmetic_with_the_remedy() -> None:
    x, wide = Tensor([1.0, 2.0], requires_grad=True), np.array([1.0, 2.0])
    remedy = r"must be float32, got float64; convert with {0}\.astype\(np\.float32\)"
    for make in (lambda: Tensor(wide), lambda: Tensor(np.float64(1)), lambda: Tensor(np.zeros((0, 2)))):
        with pytest.raises(TypeError, match="Tensor: data " + remedy.format("data")):
            make()
    mixed: list[Any] = [lambda: x * wide, lambda: x * np.float64(2), lambda: where(x > 0, x, wide), lambda: x % np.float64(2)]
    for mix in [*mixed, lambda: x < wide, lambda: x @ wide, lambda: x.clip(0.0, np.float64(1))]:
        with pytest.raises(TypeError, match=r"[a-z]+: b " + remedy.format("b")):
            mix()
    for mix in (lambda: wide - x, lambda: np.float64(1) / x, lambda: autograd.add(wide, np.float32(1))):
        with pytest.raises(TypeError, match=r"[a-z]+: a " + remedy.format("a")):
            mix()
    with pytest.raises(TypeError, match="backward: gradient " + remedy.format("gradient")):
        (x * x).backward(wide)
    with pytest.raises(TypeError, match="Tensor: data"):
        autograd.concatenate([x, wide])
    assert Tensor(wide, np.float32).dtype == Tensor(wide.astype(np.float32)).dtype == np.float32
    with numerics("fast"):
        assert Tensor(wide).dtype == autograd.add(wide, 1.0).dtype == np.float64


def test_numpy_scalars_are_accepted_as_options() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    axis = np.int64(0)
    assert x.sum(axis).tolist() == [4.0, 6.0]  # type: ignore[arg-type]
    assert x.var(ddof=np.int64(1)).item() == x.var(ddof=1).item()  # type: ignore[arg-type]
    assert (x ** np.float64(0.5)).dtype == (x ** np.float64(2.5)).dtype == np.float32
    assert len(x.split(np.int64(2), np.int64(1))) == 2  # type: ignore[arg-type]
    assert autograd.grad(lambda a, b: a * b, np.int64(1))(2.0, 3.0).item() == 2.0  # type: ignore[arg-type]
    assert autograd.zeros((np.int64(2), 1)).shape == (2, 1)  # type: ignore[arg-type]


def test_a_tensor_of_a_tensor_is_a_copy() -> None:
    x = Tensor([1.0, 2.0])
    y = Tensor(Tensor(x))
    assert (y.tolist(), y.requires_grad, type(y.data)) == ([1.0, 2.0], False, np.ndarray)
    y[0] = 9.0
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("wrong", ["text", None, object(), 1j, ["a", 1]])
def test_data_that_is_not_numeric_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"Tensor: dtype must be float32, int64 or bool, got "):
        Tensor(wrong)


def test_integer_tensors_cannot_require_gradients() -> None:
    with pytest.raises(TypeError, match=r"a tensor of int64 has no gradient; make it floating, as in Tensor\(1\.0\)"):
        Tensor([1, 2], requires_grad=True)
    x = Tensor([1, 2])
    with pytest.raises(TypeError, match="int64 has no gradient"):
        x.requires_grad = True
    assert (x + x).dtype == np.int64
    assert (x * Tensor(0.5, requires_grad=True)).dtype == np.float32
    assert (x / 2).tolist() == [0.5, 1.0]
    assert (x * 0.5).dtype == np.float32
    assert [x.sum().dtype.name, (x > 1).sum().item(), x.max().item()] == ["int64", 1, 2]


def test_numpy_arrays_and_numbers_compute_with_tensors_from_both_sides() -> None:
    x, a = Tensor([1.0, 2.0], requires_grad=True), np.array([10.0, 20.0], np.float32)
    for y in (a + x, x + a, a * x, np.float32(2) * x, x * np.float16(2), 2 - x, [1.0, 2.0] * x, a @ x, np.int64(1) / x):
        assert isinstance(y, Tensor)
        assert y.dtype == np.float32
        assert y.requires_grad


def test_comparisons_return_booleans_and_tensors_are_hashed_by_identity() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert (x < 2).tolist() == [True, False]
    assert (x == x.detach()).tolist() == [True, True]
    assert [(x != 1.0).tolist(), (x >= 2).tolist(), (x <= 1).tolist(), (x > [0, 5]).tolist()] == [
        [False, True],
        [False, True],
        [True, False],
        [True, False],
    ]
    assert not (x == 1).requires_grad
    assert {x: 1}[x] == 1
    assert x != "text"
    assert bool(Tensor(1.0) == 1.0)
    with pytest.raises(ValueError, match="truth of a tensor of shape"):
        bool(x)


def test_the_representation_says_value_dtype_and_origin() -> None:
    x = Tensor([1.0, 2.5], requires_grad=True)
    assert repr(x) == "Tensor([1. , 2.5], requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 5.], from multiply)"
    assert repr(Tensor(3)) == "Tensor(3)"
    assert repr(Tensor(np.zeros((0, 2), np.float32))) == "Tensor([], shape=(0, 2))"
    assert repr(Tensor(np.zeros(1000, np.float32))).endswith("shape=(1000,))")
    with numerics("fast"):
        assert repr(Tensor(np.ones(1))) == "Tensor([1.], dtype=float64)"


def test_python_protocols() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert (len(x), [row.tolist() for row in x]) == (2, [[1.0, 2.0], [3.0, 4.0]])
    assert (float(x[0, 1]), int(x[1, 0]), x[1][1].item()) == (2.0, 3, 4.0)
    assert [10, 20][Tensor(1)] == 20
    assert (x.shape, x.ndim, x.size, x.T.tolist()) == ((2, 2), 2, 4, [[1.0, 3.0], [2.0, 4.0]])
    with pytest.raises(ValueError, match="must have one element, got shape"):
        x.item()
    with pytest.raises(TypeError, match="no length"):
        len(Tensor(1.0))
    with pytest.raises(TypeError, match="an index must be an int64 tensor"):
        [1, 2][Tensor(1.0)]


def test_tensors_index_tensors() -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[Tensor([2, 0])].sum() + x[x > 2].sum() + x.take(Tensor([1, 1])).sum() + where(x > 1, x, 0.0).sum()
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 3.0, 3.0]


def test_leaves_are_copied_and_pickled_without_their_gradients() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):  # noqa: S301
        assert (y.tolist(), y.requires_grad, y.grad) == ([1.0, 2.0], True, None)
    with pytest.raises(GraphError, match="only leaves"):
        copy.deepcopy(x * 2)


def test_requires_grad_can_be_changed_on_leaves_only() -> None:
    x = Tensor(1.0)
    x.requires_grad = True
    y = x * 2
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises(GraphError, match="computed by multiply: use detach"):
        y.requires_grad = False
    with pytest.raises(GraphError, match="on leaves"):
        y.grad = None


def test_grad_must_have_the_shape_and_dtype_of_its_tensor() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"grad must be float32 of shape \(2,\), got float32 of shape \(1,\)"):
        x.grad = Tensor([1.0])
    x.grad = Tensor([1.0, 1.0])
    (x * x).sum().backward()
    assert x.grad.tolist() == [3.0, 5.0]


def test_dtypes_are_changed_with_their_gradients() -> None:
    with numerics("fast"):
        x = Tensor([1.0, 2.0], requires_grad=True)
        y = x.astype(np.float64)
        (y * y).sum().backward()
        assert x.grad is not None
        assert [y.dtype.name, x.grad.dtype.name, x.grad.tolist()] == ["float64", "float32", [2.0, 4.0]]
    assert Tensor([1.7, -1.7]).astype(np.int64).tolist() == [1, -1]


def test_tensors_become_arrays() -> None:
    x = Tensor([1.0, 2.0])
    assert np.asarray(x).dtype == np.float32
    assert np.asarray(x, np.float64).tolist() == [1.0, 2.0]
    assert isinstance(Tensor(1.0).numpy(), np.ndarray)
    with no_grad():
        assert x.detach().numpy().base is not None


def test_a_loop_of_steps_learns() -> None:
    x, target = Tensor([[1.0], [2.0], [3.0]]), Tensor([[3.0], [5.0], [7.0]])
    weight, bias = Tensor([[0.0]], requires_grad=True), Tensor([0.0], requires_grad=True)
    for _ in range(500):
        loss = ((x @ weight + bias - target) ** 2).mean()
        loss.backward()
        for p in (weight, bias):
            assert p.grad is not None
            with p.edit() as array:
                array[...] = array - np.float32(0.05) * p.grad.data
            p.grad = None
    assert abs(weight.item() - 2) < 1e-2
    assert abs(bias.item() - 1) < 3e-2


def test_astype_takes_the_dtypes_of_tensors() -> None:
    for dtype in (np.float16, np.float64, np.int32):
        with pytest.raises(TypeError, match="Tensor: dtype must be float32, int64 or bool, got "):
            Tensor([1.0]).astype(dtype)


def test_lists_of_tensors_that_would_lose_their_gradients_are_refused() -> None:
    x = Tensor(1.0, requires_grad=True)
    for nested in ([x, x], [[1.0, x]], (x * 2, 1.0)):
        with pytest.raises(TypeError, match=r"would lose their gradients: use stack\(\) or concatenate\(\)"):
            Tensor(nested)
    assert Tensor([x.detach(), 2.0]).tolist() == [1.0, 2.0]


def test_numpys_functions_are_refused_with_the_function_to_use() -> None:
    x: Any = Tensor([1.0, 2.0], requires_grad=True)
    calls: list[Any] = [lambda: np.sum(x), lambda: np.where(x > 1, x, 0), lambda: np.concatenate([x, x])]
    for name, call in zip(["sum", "where", "concatenate"], calls, strict=True):
        with pytest.raises(TypeError, match=rf"np\.{name} would lose the graph: use samebits\.autograd\.{name}, or x\.numpy\(\)"):
            call()


def test_grad_is_a_tensor_without_a_graph() -> None:
    x: Any = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="grad must be a Tensor or None, got ndarray"):
        x.grad = np.ones(2, np.float32)
    x.grad = x * 2
    assert not x.grad.requires_grad


def test_integers_beyond_int64_are_refused() -> None:
    for large in (2**63, np.array([2**64 - 1], np.uint64)):
        with pytest.raises(OverflowError, match="integers must fit in int64, got"):
            Tensor(large)
    assert Tensor(np.array([2**63 - 1], np.uint64)).tolist() == [2**63 - 1]


def test_one_element_is_formatted_as_a_number_and_tensors_have_weak_references() -> None:
    assert f"{Tensor([1.23456]):.2f} {Tensor(3):03d} {Tensor(3)}" == "1.23 003 Tensor(3)"
    with pytest.raises(TypeError, match=r"shape \(2,\) cannot be formatted with '\.2f'"):
        f"{Tensor([1.0, 2.0]):.2f}"
    x = Tensor(1.0)
    assert weakref.ref(x)() is x


def test_large_gradients_of_products_are_not_copied() -> None:
    g = matmul(np.ones((256, 2), np.float32), np.ones((2, 256), np.float32))
    assert edits.own(g, set()) is g
    seen = {id(edits.owner(g))}
    for view in (g[:255], g.T, g):
        assert not np.may_share_memory(edits.own(view, seen), g)
