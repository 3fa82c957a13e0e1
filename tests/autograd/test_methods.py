"""Methods and operators: NumPy's and PyTorch's names, values compared with NumPy's, and hints for missing names."""

import inspect
from typing import Any

import numpy as np
import pytest

from samebits import autograd
from samebits.autograd import Tensor
from samebits.autograd.instead import INSTEAD
from samebits.autograd.methods import Methods
from samebits.core import numerics

MATRIX = np.array([[3.0, -1.0, 2.0], [0.5, 4.0, -2.0]], np.float32)
BOTH_NAMES = ["all", "any", "argmax", "argmin", "cumsum", "logsumexp", "max", "mean", "min", "std", "sum", "var"]


def grad_of(function: Any, x: Tensor) -> Any:
    x.grad = None
    function(x).sum().backward()
    assert x.grad is not None
    return x.grad.tolist()


@pytest.mark.parametrize("name", BOTH_NAMES)
def test_dim_is_axis_and_keepdim_is_keepdims(name: str) -> None:
    x = Tensor(MATRIX)
    ours, theirs = getattr(x, name)(axis=1), getattr(x, name)(dim=1)
    assert ours.tolist() == theirs.tolist() == getattr(autograd, name)(x, 1).tolist()
    if name != "cumsum":
        assert getattr(x, name)(dim=1, keepdim=True).shape == getattr(x, name)(1, keepdims=True).shape == (2, 1)


def test_dim_is_axis_in_shapes_and_joins() -> None:
    x = Tensor(MATRIX)
    assert x.softmax(dim=0).tolist() == x.softmax(0).tolist() != x.softmax().tolist()
    assert x.log_softmax(dim=0).tolist() == x.log_softmax(0).tolist()
    for call in (lambda: x.sum(0, dim=1), lambda: x.softmax(0, dim=1), lambda: x.split(2, 1, dim=0)):
        with pytest.raises(TypeError, match="dim is another name for axis: pass one of them, got axis="):
            call()
    assert x.unsqueeze(dim=0).shape == x.expand_dims(0).shape == x.unsqueeze(0).shape == (1, 2, 3)
    assert x.unsqueeze(-1).squeeze(dim=-1).shape == (2, 3)
    assert [part.shape for part in x.split(3, dim=1)] == [(2, 1)] * 3
    assert autograd.concatenate([x, x], dim=1).shape == (2, 6)
    assert autograd.stack([x, x], dim=-1).shape == (2, 3, 2)


def test_shapes_are_numpys_and_pytorchs() -> None:
    x = Tensor(np.zeros((2, 3, 4), np.float32))
    assert [x.flatten().shape, x.flatten(1).shape, x.flatten(0, 1).shape] == [(24,), (2, 12), (6, 4)]
    assert Tensor(1.0).flatten().shape == (1,)
    assert x.expand_dims((0, -1)).shape == (1, 2, 3, 4, 1)
    with pytest.raises(np.exceptions.AxisError):
        x.unsqueeze(5)
    with pytest.raises(ValueError, match="flatten: start_dim must not come after end_dim, got 2 and 1"):
        x.flatten(2, 1)
    with pytest.raises(ValueError, match=r"expand_dims: axis must not name an axis twice, got \(0, 0\)"):
        x.expand_dims((0, 0))
    with pytest.raises(TypeError, match="expand_dims: axis must be an int or a tuple of ints, got None"):
        x.expand_dims()


def test_a_clone_has_its_own_memory_and_passes_gradients() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    for y in (x.clone(), x.copy()):
        assert not np.shares_memory(y.numpy(), x.numpy())
        assert y.requires_grad
    assert grad_of(lambda t: t.clone() * t, x) == [2.0, 4.0]


def test_argmax_and_argmin_are_numpys() -> None:
    x = Tensor(MATRIX)
    assert (x.argmax().item(), x.argmin().item()) == (4, 5)
    assert (x.argmax(0).tolist(), x.argmin(-1).tolist()) == ([0, 1, 0], [1, 2])
    assert x.argmax(1, keepdims=True).shape == (2, 1)
    assert x.argmax(1).dtype == x.argmin().dtype == np.int64
    assert Tensor([1.0, float("nan"), 2.0]).argmax().item() == 1
    found: Any = autograd.argmax(MATRIX, 0)  # type: ignore[arg-type]
    assert isinstance(found, np.ndarray)


def test_any_and_all_are_numpys() -> None:
    x = Tensor(MATRIX) > 0
    assert (x.any().item(), x.all().item(), bool(x.any())) == (True, False, True)
    assert (x.all(0).tolist(), x.any((0, 1), keepdims=True).tolist()) == ([True, False, False], [[True]])
    assert (Tensor(np.zeros((0,), bool)).any().item(), Tensor(np.zeros((0,), bool)).all().item()) == (False, True)


def test_booleans_and_integers_have_logic_and_floats_are_refused() -> None:
    a, b = Tensor([True, True, False]), Tensor([True, False, False])
    assert [(a & b).tolist(), (a | b).tolist(), (a ^ b).tolist(), (~a).tolist()] == [
        [True, False, False],
        [True, True, False],
        [False, True, False],
        [False, False, True],
    ]
    assert ((True & a).tolist(), (a & np.array([False, True, True])).tolist()) == ([True, True, False], [False, True, False])
    assert [(Tensor(6) & 3).item(), (6 | Tensor(1)).item(), (~Tensor(5)).item()] == [2, 7, -6]
    for call in (lambda: a & Tensor(1.0), lambda: ~Tensor([1.0]), lambda: a | 0.5):
        with pytest.raises(TypeError, match=r"[a-z_]+: operands must be bool or int64, got float32; compare first"):
            call()


def test_clip_limits_values_and_passes_the_gradient_inside_and_on_the_bounds() -> None:
    x = Tensor([-2.0, -1.0, 0.5, 1.0, 3.0, float("nan")], requires_grad=True)
    for y in (x.clip(-1.0, 1.0), x.clamp(min=-1.0, max=1.0), autograd.clip(x, -1, np.float32(1))):
        assert y.tolist()[:5] == [-1.0, -1.0, 0.5, 1.0, 1.0]
        assert np.isnan(y.numpy()[5])
    assert grad_of(lambda t: t.clip(-1.0, 1.0)[:5], x) == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert x.clip(max=1.0).tolist()[:2] == [-2.0, -1.0]
    assert x.clip().tolist()[:5] == x.tolist()[:5]
    bound = Tensor(0.0, requires_grad=True)
    x[:5].clip(bound).sum().backward()
    assert bound.grad is not None
    assert bound.grad.item() == 2.0
    assert np.signbit(Tensor([-0.0]).clip(0.0, 1.0).numpy()).all()  # as it was: -0 is not below 0


def test_powers_are_the_true_values_rounded() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    base = generator.uniform(0.01, 20, 20_000).astype(np.float32)
    for exponent in (2.5, -1.5, 0.25, 7.3):
        true = np.power(base.astype(np.float64), np.float64(np.float32(exponent)))
        ulp = np.spacing(true.astype(np.float32)).astype(np.float64)
        assert (np.abs((Tensor(base) ** exponent).numpy() - true) / ulp).max() < 0.51
    assert (2 ** Tensor([0.0, 10.0, -1.0, 0.5])).tolist() == [1.0, 1024.0, 0.5, np.float32(np.sqrt(2.0)).item()]
    assert (10 ** Tensor([0.0, 2.0])).tolist() == [1.0, 100.0]


def test_powers_at_the_ends_are_numpys() -> None:
    ends = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 2.5, -2.5, float("inf"), float("-inf"), float("nan")]
    a, b = (grid.reshape(-1) for grid in np.meshgrid(np.array(ends, np.float32), np.array(ends, np.float32)))
    with np.errstate(all="ignore"):
        expected = np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
    found = (Tensor(a) ** Tensor(b)).numpy()
    np.testing.assert_array_max_ulp(found[np.isfinite(expected)], expected[np.isfinite(expected)], 1)
    np.testing.assert_array_equal(found[~np.isfinite(expected)], expected[~np.isfinite(expected)])
    np.testing.assert_array_equal(np.signbit(found)[~np.isnan(found)], np.signbit(expected)[~np.isnan(found)])


def test_gradients_of_powers_at_zero_are_finite() -> None:
    x = Tensor([0.0, 4.0], requires_grad=True)
    assert grad_of(lambda t: t**2.5, x) == [0.0, 20.0]
    assert grad_of(lambda t: t ** Tensor([0.0, 0.0]), x) == [0.0, 0.0]
    exponent = Tensor([2.0, 0.5], requires_grad=True)
    (Tensor([0.0, 1.0]) ** exponent).sum().backward()
    assert exponent.grad is not None
    assert exponent.grad.tolist() == [0.0, 0.0]


def test_powers_of_integers() -> None:
    x = Tensor([1, 2, 3])
    assert ((x**2).dtype, (x**2).tolist()) == (np.int64, [1, 4, 9])
    assert ((x**0.5).dtype, (x**2.5).dtype, (2**x).tolist(), (x**x).tolist()) == (
        np.float32,
        np.float32,
        [2.0, 4.0, 8.0],
        [1.0, 4.0, 27.0],
    )


def test_remainders_have_the_sign_of_the_divisor() -> None:
    values = np.array([5.5, -5.5, 0.0, -0.0, 7.0, float("inf")], np.float32)
    for divisor in (2.0, -2.0, 0.3):
        with np.errstate(invalid="ignore"):
            expected = np.remainder(values, np.float32(divisor))
            np.testing.assert_array_equal((Tensor(values) % divisor).numpy(), expected)
    assert ((7 % Tensor([4, -4])).tolist(), (Tensor([7]) % 4).dtype) == ([3, -1], np.int64)


def test_cumsum_of_integers_is_exact_and_of_floats_cores() -> None:
    assert (Tensor([True, True]).cumsum().tolist(), Tensor([[1, 2], [3, 4]]).cumsum(0).tolist()) == ([1, 2], [[1, 2], [4, 6]])
    assert grad_of(lambda t: t.cumsum(), Tensor([1.0, 2.0, 3.0], requires_grad=True)) == [3.0, 2.0, 1.0]


def test_std_is_the_root_of_var_and_its_gradient_is_zero_where_nothing_varies() -> None:
    x = Tensor(MATRIX)
    np.testing.assert_allclose(x.std(1, ddof=1).numpy(), np.std(MATRIX.astype(np.float64), axis=1, ddof=1), rtol=1e-7)
    assert grad_of(lambda t: t.std(), Tensor([2.0, 2.0], requires_grad=True)) == [0.0, 0.0]


def test_tensors_are_made_of_shapes_and_numbers() -> None:
    assert autograd.zeros(2).tolist() == [0.0, 0.0]
    assert autograd.ones((1, 2), requires_grad=True).requires_grad
    assert (autograd.full(2, 7).dtype, autograd.full(2, 0.5).dtype, autograd.full(2, 7, np.float32).dtype) == (
        np.int64,
        np.float32,
        np.float32,
    )
    assert (autograd.arange(2, 8, 3).tolist(), autograd.arange(3.0).dtype, autograd.arange(3).dtype) == (
        [2, 5],
        np.float32,
        np.int64,
    )
    assert autograd.full(2, np.float64(0.5)).tolist() == [0.5, 0.5]
    assert autograd.arange(0.0, 1.0, 0.1).tolist() == np.arange(0, 1, 0.1).astype(np.float32).tolist()
    assert (autograd.arange(3, 0, -1).tolist(), autograd.arange(1.0, 0.0).tolist()) == ([3, 2, 1], [])
    with pytest.raises(ValueError, match="arange: step must not be 0"):
        autograd.arange(0, 1, 0)
    with pytest.raises(TypeError, match=r"zeros: shape must be an int or a tuple of ints, got \(2\.0, 3\)"):
        autograd.zeros((2.0, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("iijj->ij", [(2, 2, 3, 3)]),
        ("ij,ij->i", [(2, 3), (2, 3)]),
        ("a,b,c->cab", [(2,), (3,), (4,)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
        ("b...d,d->b...", [(2, 3, 4), (4,)]),
        ("ij,kj->ik", [(2, 3), (4, 1)]),
        ("i,i,i->", [(3,), (3,), (3,)]),
        (",i->i", [(), (3,)]),
    ],
)
def test_einsum_is_numpys(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    arrays = [generator.standard_normal(shape) for shape in shapes]
    with numerics("fast"):
        found = autograd.einsum(subscripts, *[Tensor(array) for array in arrays]).numpy()
    expected = np.einsum(subscripts, *[np.broadcast_to(x, (*x.shape[:-1], 3)) if x.shape[-1:] == (1,) else x for x in arrays])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "subscripts must have a part for each operand, got 2 for 1"),
        ("ij", [(2,)], "'ij' must have a label for each axis of its operand, which has 1"),
        ("i", [(2, 3)], "'i' must have a label for each axis of its operand, which has 2"),
        ("ij->k", [(2, 3)], "the result must have labels of the operands, each once, got 'ij->k'"),
        ("ij->ii", [(2, 3)], "the result must have labels of the operands, each once"),
        ("i,i", [(2,), (3,)], "the axes 'i' must have one length, got 2 and 3"),
        ("i1", [(2, 3)], "subscripts must be letters"),
    ],
)
def test_einsum_refuses_subscripts_that_do_not_fit(subscripts: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=f"einsum: {message}"):
        autograd.einsum(subscripts, *[autograd.zeros(shape) for shape in shapes])
    with pytest.raises(TypeError, match="einsum: subscripts must be a string, got Tensor"):
        autograd.einsum(Tensor(1.0))  # type: ignore[arg-type]


def test_an_attribute_error_names_what_to_write_instead() -> None:
    x: Any = Tensor([1.0])
    for name, hint in INSTEAD.items():
        assert not hasattr(x, name)
        with pytest.raises(AttributeError) as caught:
            getattr(x, name)
        assert str(caught.value) == f"'Tensor' object has no attribute {name!r}; use {hint}"
    with pytest.raises(AttributeError, match=r"'Tensor' object has no attribute 'nonsense'$"):
        _ = x.nonsense


def test_every_public_name_has_an_example() -> None:
    missing = [name for name in autograd.__all__ if ">>>" not in (inspect.getdoc(getattr(autograd, name)) or "")]
    assert missing == ["AnomalyError"]  # shown at detect_anomaly, which raises it
    attributes = {name for name in dir(Tensor) if not name.startswith("_")}
    assert [name for name in sorted(attributes) if not inspect.getdoc(getattr(Tensor, name))] == ["data", "node"]
    methods = [name for name in sorted(attributes) if callable(getattr(Tensor, name))]
    assert [name for name in methods if ">>>" not in (getattr(Tensor, name).__doc__ or "")] == []


def test_everything_in_the_table_of_methods_is_attached() -> None:
    assert all(getattr(Tensor, name) is member for name, member in vars(Methods).items() if callable(member))
    assert [name for name in autograd.ops.__all__ if name in dir(Tensor)] != []


def test_operations_keep_names_and_documentation() -> None:
    assert list(inspect.signature(Tensor.sum).parameters) == ["x", "axis", "keepdims", "dim", "keepdim"]
    assert list(inspect.signature(autograd.multiply).parameters) == ["a", "b"]
    assert (autograd.multiply.__doc__ or "").startswith("a * b.")
