"""Optimisers: beside naive twins in float64, the same bits in any blocks, layout and mode, states that come back, refusals."""

import math

import numpy as np
import pytest

from samebits.autograd import Tensor
from samebits.core import Stream, numerics
from samebits.nn import SGD, AdamW, Lion, Module, Muon, clip_gradient_norm, optimizer, parameter
from samebits.nn.muon import COEFFICIENTS, orthogonalized

pytestmark = pytest.mark.once

SHAPES = [(30, 50), (50, 30), (7, 7)]


def normal(name, *shape):
    return np.asarray(Stream(5).split(name).normal(size=shape))


def make(kind, shapes=SHAPES, **options):
    tensors = [parameter(normal(f"p{i}", *shape)) for i, shape in enumerate(shapes)]
    return tensors, kind(tensors, **options)


def set_gradients(tensors, step):
    for i, x in enumerate(tensors):
        x.grad = Tensor(normal(f"g{i}", *x.shape) * np.float32(0.1 + step % 3) + 0.3 * x.numpy())


def train(tensors, one, steps, first=0):
    for step in range(first, first + steps):
        set_gradients(tensors, step)
        one.step()


# The naive twins: one step in float64, on parameter, gradient and a dict of state


def sgd(p, g, s, _, *, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * p
    s["m"] = momentum * s.get("m", 0) + g
    return p - learning_rate * (g + momentum * s["m"] if nesterov else s["m"])


def adamw(p, g, s, t, *, learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    (a, b) = betas
    s["m"] = a * s.get("m", 0) + (1 - a) * g
    s["v"] = b * s.get("v", 0) + (1 - b) * g * g
    p = p - learning_rate * weight_decay * p
    return p - learning_rate * (s["m"] / (1 - a**t)) / (np.sqrt(s["v"] / (1 - b**t)) + eps)


def lion(p, g, s, _, *, learning_rate=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    m = s.get("m", 0)
    s["m"] = betas[1] * m + (1 - betas[1]) * g
    return p - learning_rate * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)


def newton_schulz(x):
    a, b, c = COEFFICIENTS
    x = x.T if x.shape[0] > x.shape[1] else x
    y = x / max(np.linalg.norm(x), 1e-7)
    for _ in range(5):
        square = y @ y.T
        y = a * y + (b * square + c * square @ square) @ y
    return y


def muon(p, g, s, _, *, learning_rate=1e-3, momentum=0.95, nesterov=True, weight_decay=0.1):
    s["m"] = momentum * s.get("m", 0) + (1 - momentum) * g
    d = newton_schulz(momentum * s["m"] + (1 - momentum) * g if nesterov else s["m"])
    d = d if d.shape == p.shape else d.T
    return p * (1 - learning_rate * weight_decay) - learning_rate * math.sqrt(max(1, p.shape[0] / p.shape[1])) * d


CASES = {
    "SGD": (SGD, sgd, {"learning_rate": 0.01}),
    "SGD with momentum": (SGD, sgd, {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    "SGD with Nesterov's momentum": (SGD, sgd, {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True}),
    "AdamW": (AdamW, adamw, {}),
    "AdamW with other options": (
        AdamW,
        adamw,
        {"learning_rate": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "Lion": (Lion, lion, {"learning_rate": 0.003, "weight_decay": 0.1}),
    "Muon": (Muon, muon, {"learning_rate": 0.02}),
    "Muon without Nesterov": (Muon, muon, {"learning_rate": 0.02, "nesterov": False, "momentum": 0.9}),
}


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_are_those_of_the_naive_twin(name):
    """A step rounds the parameter twice, and 1 - rate * decay once, at 3e-8 on average: 4e-6 in 50 steps if all went one way."""
    kind, twin, options = CASES[name]
    tensors, one = make(kind, SHAPES[:2] if kind is Muon else SHAPES, **options)
    wide = [x.numpy().astype(np.float64) for x in tensors]
    states = [{} for _ in tensors]
    for step in range(50):
        set_gradients(tensors, step)  # the twin sees the gradients at our parameters, so differences do not feed on themselves
        wide = [
            twin(p, x.grad.numpy().astype(np.float64), s, step + 1, **options)
            for p, x, s in zip(wide, tensors, states, strict=True)
        ]
        one.step()
    for x, p in zip(tensors, wide, strict=True):
        assert np.abs(x.numpy() - p).max() <= 2e-6 * np.abs(p).max()


@pytest.mark.parametrize("name", CASES)
def test_blocks_layout_and_mode_cannot_change_a_bit(name, monkeypatch):
    kind, _, options = CASES[name]
    results = []
    for block, mode, order in ((32768, "exact", "C"), (7, "exact", "C"), (100, "exact", "F"), (32768, "fast", "C")):
        if kind is Muon and mode == "fast":
            continue  # its products are BLAS's
        monkeypatch.setattr(optimizer, "BLOCK", block)
        tensors, one = make(kind, **options)
        for x in tensors:
            x.data = np.array(x.data, order=order)
        with numerics(mode):
            train(tensors, one, 4)
        results.append(b"".join(x.numpy().tobytes() for x in tensors))
    assert len(set(results)) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_state_goes_on_bit_for_bit(name):
    kind, _, options = CASES[name]
    tensors, one = make(kind, **options)
    train(tensors, one, 3)
    state, values = one.state_dict(), [x.numpy().copy() for x in tensors]
    train(tensors, one, 3, first=3)

    others = [parameter(value) for value in values]
    other = kind(others, **options)
    other.load_state_dict(state)
    train(others, other, 3, first=3)
    assert all(np.array_equal(x.numpy(), y.numpy()) for x, y in zip(tensors, others, strict=True))
    expected, found = one.state_dict(), other.state_dict()
    assert list(expected) == list(found)
    assert all(np.array_equal(expected[key], found[key]) and expected[key].dtype == found[key].dtype for key in expected)


def test_a_state_is_flat_arrays_under_the_parameters_names():
    one = AdamW([("w", parameter([[1.0]])), ("b", parameter([1.0]))])
    assert {name: array.shape for name, array in one.state_dict().items()} == {
        "w.first_moment": (1, 1),
        "w.second_moment": (1, 1),
        "w.step": (),
        "b.first_moment": (1,),
        "b.second_moment": (1,),
        "b.step": (),
    }
    assert list(SGD([parameter([1.0])], learning_rate=1.0).state_dict()) == ["0.step"]


def test_a_wrong_state_is_refused_and_changes_nothing():
    tensors, one = make(AdamW)
    train(tensors, one, 1)
    before = one.state_dict()
    state = {name: array * 2 for name, array in before.items()}
    state["1.first_moment"] = state["1.first_moment"][:1]
    del state["2.step"]
    with pytest.raises(ValueError, match=r"does not fit this AdamW:\n  2.step is missing\n  1.first_moment is float32 \(1, 30\)"):
        one.load_state_dict(state)
    assert all(np.array_equal(array, before[name]) for name, array in one.state_dict().items())


def test_a_negative_step_is_refused_and_changes_nothing():
    tensors, one = make(AdamW)
    train(tensors, one, 1)
    state = {name: array * -1 for name, array in one.state_dict().items()}
    with pytest.raises(ValueError, match=r"0\.step is -1: it must be at least 0"):
        one.load_state_dict(state)
    assert one.state_dict()["0.step"] == 1 and np.array_equal(one.state_dict()["0.first_moment"], -state["0.first_moment"])


def test_options_that_are_numpy_numbers_are_taken_as_pythons():
    b1, b2, decay = np.float32(0.9), np.float32(0.999), np.float32(0.1)  # 1 - b2 differs between versions of NumPy
    given, as_arrays = make(AdamW, betas=(b1, b2), weight_decay=decay)
    plain, as_floats = make(AdamW, betas=(float(b1), float(b2)), weight_decay=float(decay))
    train(given, as_arrays, 3)
    train(plain, as_floats, 3)
    assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(given, plain, strict=True))
    assert all(type(x) is float for x in (*as_arrays.slots[0].options.betas, as_arrays.slots[0].options.weight_decay))


def test_muon_names_a_gradient_that_is_not_finite_and_keeps_its_momentum():
    tensors, one = make(Muon)
    train(tensors, one, 1)
    before = one.state_dict()["0.momentum"]
    tensors[0].grad = Tensor(np.full(SHAPES[0], np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="the gradient of parameter '0' cannot be made orthogonal"):
        one.step()
    assert one.state_dict()["0.momentum"].tobytes() == before.tobytes()


def test_without_axes_and_without_elements():
    tensors = [parameter(2.0), parameter(np.zeros((0, 3), np.float32))]
    one = AdamW(tensors, learning_rate=0.5, weight_decay=0.0)
    train(tensors, one, 1)
    assert tensors[0].shape == () and tensors[0].item() == 1.5


def test_float64_parameters_stay_float64_in_fast():
    with numerics("fast"):
        x = parameter(np.array([1.0]))
        one = AdamW([x], learning_rate=0.1)
        x.grad = Tensor(np.array([1e-3]))
        one.step()
        assert x.dtype == np.float64
        assert abs(x.item() - adamw(1.0, 1e-3, {}, 1, learning_rate=0.1)) < 1e-15


def test_a_parameter_without_a_gradient_is_left_alone_and_counts_its_own_steps():
    x, y = parameter([1.0]), parameter([1.0])
    one = AdamW([("x", x), ("y", y)], learning_rate=0.1, weight_decay=0.0)
    x.grad = Tensor([2.0])
    one.step()
    y.grad = Tensor([2.0])
    one.step()
    assert [int(one.state_dict()[f"{name}.step"]) for name in "xy"] == [2, 1]
    assert abs(y.item() - 0.9) < 1e-6  # the first step of Adam is the learning rate


def test_groups_have_options_of_their_own_and_rates_in_proportion():
    x, y, z = (parameter([1.0]) for _ in range(3))
    one = SGD(
        [{"parameters": [x]}, {"parameters": [("y", y)], "learning_rate": 0.2}, {"parameters": [z], "weight_decay": 1.0}],
        learning_rate=0.1,
    )
    for tensor in (x, y, z):
        tensor.grad = Tensor([1.0])
    one.step()
    assert [round(t.item(), 6) for t in (x, y, z)] == [0.9, 0.8, 0.8]
    one.step(0.05)
    assert [round(t.item(), 6) for t in (x, y, z)] == [0.85, 0.7, 0.71]
    one.step(0.0)
    assert [round(t.item(), 6) for t in (x, y, z)] == [0.85, 0.7, 0.71]


def test_zero_grad_lets_go_of_all_gradients():
    tensors, one = make(SGD, learning_rate=0.1)
    set_gradients(tensors, 0)
    one.zero_grad()
    assert all(x.grad is None for x in tensors)


def test_steps_over_infinite_gradients_give_no_warning():
    x = parameter([1.0, 2.0])
    one = AdamW([x])
    x.grad = Tensor([math.inf, math.nan])
    one.step()
    one.step()
    assert not np.isfinite(x.numpy()).any()


def test_lion_takes_the_sign_of_every_number_and_leaves_zeros_alone():
    x = parameter(np.zeros(6, np.float32))
    one = Lion([x], learning_rate=1.0, betas=(0.0, 0.0))
    x.grad = Tensor([1e-45, -1e-45, 3e38, -2.5, 0.0, -0.0])
    one.step()
    assert x.tolist() == [-1, 1, -1, 1, 0, 0]


def test_orthogonalized_singular_values_are_near_one():
    for shape in SHAPES:
        x = orthogonalized(normal("x", *shape))
        assert x.shape == shape and x.dtype == np.float32 and x.flags.c_contiguous
        values = np.linalg.svd(x, compute_uv=False)
        assert values.min() > 0.2 and values.max() < 1.3  # five steps have not raised the smallest ones all the way
    assert not orthogonalized(np.zeros((2, 3), np.float32)).any()


def test_power_is_a_power():
    assert [optimizer.power(0.999, n) for n in (0, 1)] == [1.0, 0.999]
    for n in (2, 3, 10, 1000, 12345):
        assert math.isclose(optimizer.power(0.999, n), 0.999**n, rel_tol=1e-12)  # squaring doubles what was rounded off


# Clipping


def clipped(limit, *gradients):
    tensors = [parameter(np.zeros(np.shape(g), np.float32)) for g in gradients]
    for x, g in zip(tensors, gradients, strict=True):
        x.grad = Tensor(g)
    return clip_gradient_norm(tensors, limit), [x.grad.numpy() for x in tensors]


def test_a_norm_above_the_limit_is_brought_to_it():
    gradients = [normal(str(i), 40, 50) for i in range(3)]
    norm, found = clipped(1.0, *gradients)
    expected = np.linalg.norm(np.concatenate([g.reshape(-1) for g in gradients]).astype(np.float64))
    assert abs(norm / expected - 1) < 2**-24  # each tensor's norm is rounded to float32
    for g, f in zip(gradients, found, strict=True):
        np.testing.assert_allclose(f, g / (expected + 1e-6), rtol=2e-7)


def test_a_limit_that_is_a_numpy_number_is_taken_as_pythons():
    g = normal("g", 100)
    for limit in (np.linspace(0.1, 2, 20) / 3).astype(np.float32):
        assert clipped(limit, g)[1][0].tobytes() == clipped(float(limit), g)[1][0].tobytes()


def test_a_norm_below_the_limit_changes_nothing():
    gradient = normal("g", 9)
    norm, (found,) = clipped(100.0, gradient)
    assert 0 < norm < 100 and np.array_equal(found, gradient)
    assert clip_gradient_norm([parameter([1.0])], 1.0) == 0.0  # no gradient at all


def test_the_order_of_parameters_cannot_change_the_norm():
    gradients = [normal(str(i), 5 + i) * np.float32(10.0**i) for i in range(5)]
    assert clipped(1.0, *gradients)[0] == clipped(1.0, *gradients[::-1])[0]


def test_a_gradient_that_is_not_finite_is_named_and_none_is_changed():
    x, y = parameter([0.0]), parameter(np.zeros((2, 3), np.float32))
    x.grad, y.grad = Tensor([9.0]), Tensor(np.array([[0, 0, 0], [0, -np.inf, np.nan]], np.float32))
    with pytest.raises(FloatingPointError, match=r"the gradient of parameter 'w' is -inf at \(1, 1\)"):
        clip_gradient_norm([("b", x), ("w", y)], 1.0)
    assert x.grad.tolist() == [9.0]
    with pytest.raises(FloatingPointError, match=r"parameter '0' has a norm beyond the range of float32"):
        clipped(1.0, np.full(9, 3e38, np.float32))


# Refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: AdamW([x], learning_rate=0.0), "learning_rate is 0.0: it must be above 0"),
        (lambda x: AdamW([x], learning_rate=math.nan), "learning_rate is nan"),
        (lambda x: AdamW([x], betas=(0.9, 1.0)), r"betas\[1\] is 1.0: it must be at least 0 and below 1"),
        (lambda x: AdamW([x], betas=(0.9,)), r"betas is \(0.9,\): two numbers"),
        (lambda x: AdamW([x], eps=-1.0), "eps is -1.0"),
        (lambda x: Lion([x], weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda x: SGD([x], learning_rate=1.0, nesterov=True), "nesterov is True and momentum 0"),
        (lambda x: SGD([x], learning_rate=1.0).step(-1.0), "learning_rate is -1.0"),
        (lambda x: SGD([x, x], learning_rate=1.0), "parameter '1' is given twice"),
        (lambda x: SGD([("a", x), ("a", parameter([1.0]))], learning_rate=1.0), "parameter 'a' is given twice"),
        (lambda _: SGD([Tensor([1.0])], learning_rate=1.0), "parameter '0' is no leaf that requires a gradient"),
        (lambda x: SGD([x * 2], learning_rate=1.0), "parameter '0' is no leaf"),
        (lambda _: SGD([], learning_rate=1.0), "parameters is empty"),
        (lambda x: SGD([{"parameters": [x], "momentums": 1}], learning_rate=1.0), "a group has parameters, momentums: it must"),
        (lambda _: SGD([{"learning_rate": 1.0}], learning_rate=1.0), "a group has learning_rate: it must have parameters"),
        (lambda x: Muon([("bias", x)]), r"parameter 'bias' has shape \(1,\): Muon needs matrices"),
        (lambda x: clip_gradient_norm([x], 0.0), "limit is 0.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(parameter([1.0]))


@pytest.mark.parametrize("wrong", [Module(), parameter([1.0]), ["w"], [("w", 1.0)], [(1, parameter([1.0]))]])
def test_what_is_no_parameter_is_refused(wrong):
    for call in (lambda: SGD(wrong, learning_rate=1.0), lambda: clip_gradient_norm(wrong, 1.0)):
        with pytest.raises(TypeError, match=r"parameters (is|holds) a"):
            call()
