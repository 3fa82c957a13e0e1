"""Optimizers: beside naive float64 implementations, the same bits in any blocks, layout and arithmetic, restored states, errors."""

import math

import numpy as np
import pytest

from samebits.autograd import Tensor
from samebits.core import Stream, blocks, numerics
from samebits.nn import SGD, Adam, AdamW, Lion, Module, Muon, clip_gradient_norm, optimizer, parameter
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
        x.grad = Tensor(normal(f"g{i}", *x.shape) * np.float32(0.1 + step % 3) + np.float32(0.3) * x.numpy())


def train(tensors, one, steps, first=0):
    for step in range(first, first + steps):
        set_gradients(tensors, step)
        one.step()


# The naive implementations: one step in float64, on parameter, gradient and a dict of state


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


def adam(p, g, s, t, *, learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    g = g + weight_decay * p
    return adamw(p, g, s, t, learning_rate=learning_rate, betas=betas, eps=eps, weight_decay=0.0)


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
    "Adam": (Adam, adam, {}),
    "Adam with other options": (Adam, adam, {"learning_rate": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    "Lion": (Lion, lion, {"learning_rate": 0.003, "weight_decay": 0.1}),
    "Muon": (Muon, muon, {"learning_rate": 0.02}),
    "Muon without Nesterov": (Muon, muon, {"learning_rate": 0.02, "nesterov": False, "momentum": 0.9}),
}


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_are_those_of_the_naive_implementation(name):
    """A step rounds the parameter twice, and 1 - rate * decay once, at 3e-8 on average: 4e-6 in 50 steps if all went one way."""
    kind, naive, options = CASES[name]
    tensors, one = make(kind, SHAPES[:2] if kind is Muon else SHAPES, **options)
    wide = [x.numpy().astype(np.float64) for x in tensors]
    states = [{} for _ in tensors]
    for step in range(50):
        set_gradients(
            tensors, step
        )  # the naive one gets the gradients at our parameters, so differences do not feed on themselves
        wide = [
            naive(p, x.grad.numpy().astype(np.float64), s, step + 1, **options)
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
        monkeypatch.setattr(blocks, "CACHE_BYTES", block * 8)
        tensors, one = make(kind, **options)
        for x in tensors:
            x.data = np.array(x.data, order=order)
        with numerics(mode):
            train(tensors, one, 4)
        results.append(b"".join(x.numpy().tobytes() for x in tensors))
    assert len(set(results)) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_restored_state_continues_with_the_same_bits(name):
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
        "w.exp_avg": (1, 1),
        "w.exp_avg_sq": (1, 1),
        "w.step": (),
        "b.exp_avg": (1,),
        "b.exp_avg_sq": (1,),
        "b.step": (),
    }
    assert list(SGD([parameter([1.0])], learning_rate=1.0).state_dict()) == ["0.step"]


def test_a_wrong_state_is_refused_and_changes_nothing():
    tensors, one = make(AdamW)
    train(tensors, one, 1)
    before = one.state_dict()
    state = {name: array * 2 for name, array in before.items()}
    state["1.exp_avg"] = state["1.exp_avg"][:1]
    del state["2.step"]
    with pytest.raises(
        ValueError,
        match=r"does not fit this AdamW:\n  2.step is missing\n  1.exp_avg must be float32 \(50, 30\), got float32 \(1, 30\)",
    ):
        one.load_state_dict(state)
    assert all(np.array_equal(array, before[name]) for name, array in one.state_dict().items())


@pytest.mark.parametrize("step", [-1, 2**53 + 1, 2**63 - 1])
def test_a_number_of_steps_that_cannot_be_is_refused_and_changes_nothing(step):
    tensors, one = make(AdamW)
    train(tensors, one, 1)
    before = one.state_dict()
    state = {name: array * 0 + (step if name.endswith(".step") else 2) for name, array in before.items()}
    with pytest.raises(ValueError, match=rf"AdamW.load_state_dict: 0\.step must be from 0 to 9007199254740992, got {step}"):
        one.load_state_dict(state)
    assert all(np.array_equal(array, before[name]) for name, array in one.state_dict().items())
    one.load_state_dict({**before, "0.step": np.array(2**53, np.int64)})
    train(tensors, one, 1)


def test_numpy_options_have_the_bits_of_python_numbers():
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
    with pytest.raises(FloatingPointError, match="Muon: the gradient of parameter '0' must be finite"):
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


def test_a_parameter_without_a_gradient_does_not_change_and_counts_its_own_steps():
    x, y = parameter([1.0]), parameter([1.0])
    one = AdamW([("x", x), ("y", y)], learning_rate=0.1, weight_decay=0.0)
    x.grad = Tensor([2.0])
    one.step()
    y.grad = Tensor([2.0])
    one.step()
    assert [int(one.state_dict()[f"{name}.step"]) for name in "xy"] == [2, 1]
    assert abs(y.item() - 0.9) < 1e-6  # the first step of Adam is the learning rate


def test_a_step_without_any_gradient_is_refused():
    x = parameter([1.0])
    one = AdamW([x])
    with pytest.raises(RuntimeError, match=r"AdamW\.step: no parameter has a gradient; call loss\.backward\(\) first"):
        one.step()
    assert one.state_dict()["0.step"] == 0


def test_adam_without_decay_is_adamw_without_decay():
    a, first = make(Adam)
    b, second = make(AdamW, weight_decay=0.0)
    train(a, first, 3)
    train(b, second, 3)
    assert all(x.numpy().tobytes() == y.numpy().tobytes() for x, y in zip(a, b, strict=True))


def test_the_representation_has_the_options():
    x, y = parameter([1.0, 2.0]), parameter([[1.0]])
    assert repr(SGD([x], learning_rate=np.float64(0.1))) == (
        "SGD  2 parameters: learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0"
    )
    one = Lion([{"parameters": [x], "betas": (0.5, 0.6)}, {"parameters": [y]}])
    assert repr(one).splitlines() == [
        "Lion  3 parameters",
        "├ 2 parameters: learning_rate=0.0001, betas=(0.5, 0.6), weight_decay=0.0",
        "└ 1 parameters: learning_rate=0.0001, betas=(0.9, 0.99), weight_decay=0.0",
    ]


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


def test_zero_grad_sets_all_gradients_to_none():
    tensors, one = make(SGD, learning_rate=0.1)
    set_gradients(tensors, 0)
    one.zero_grad()
    assert all(x.grad is None for x in tensors)


def test_steps_with_infinite_gradients_give_no_warning():
    x = parameter([1.0, 2.0])
    one = AdamW([x])
    x.grad = Tensor([math.inf, math.nan])
    one.step()
    one.step()
    assert not np.isfinite(x.numpy()).any()


def test_lion_takes_the_sign_of_every_number_and_of_zero_0():
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


def test_a_norm_above_the_limit_is_scaled_to_it():
    gradients = [normal(str(i), 40, 50) for i in range(3)]
    norm, found = clipped(1.0, *gradients)
    expected = np.linalg.norm(np.concatenate([g.reshape(-1) for g in gradients]).astype(np.float64))
    assert abs(norm / expected - 1) < 2**-24  # each tensor's norm is rounded to float32
    for g, f in zip(gradients, found, strict=True):
        np.testing.assert_allclose(f, g / (expected + 1e-6), rtol=2e-7)


def test_a_numpy_limit_has_the_bits_of_a_python_float():
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
    with pytest.raises(FloatingPointError, match=r"the gradient of parameter 'w' must be finite, got -inf at \(1, 1\)"):
        clip_gradient_norm([("b", x), ("w", y)], 1.0)
    assert x.grad.tolist() == [9.0]
    with pytest.raises(FloatingPointError, match="the norm of the gradient of parameter '0' must be finite in float32"):
        clipped(1.0, np.full(9, 3e38, np.float32))


# Refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: AdamW([x], learning_rate=0.0), "AdamW: learning_rate must be finite and above 0, got 0.0"),
        (lambda x: AdamW([x], learning_rate=math.nan), "AdamW: learning_rate must be finite and above 0, got nan"),
        (lambda x: AdamW([x], betas=(0.9, 1.0)), r"AdamW: betas\[1\] must be at least 0 and below 1, got 1.0"),
        (lambda x: AdamW([x], betas=(-0.1, 0.9)), r"AdamW: betas\[0\] must be at least 0 and below 1, got -0.1"),
        (
            lambda x: SGD([x], learning_rate=1.0, momentum=1.0),
            "SGD: momentum must be at least 0 and below 1, got 1.0",
        ),
        (lambda x: Muon([x], iterations=0), "Muon: iterations must be at least 1, got 0"),
        (lambda x: AdamW([x], betas=(0.9,)), r"AdamW: betas must be two numbers from 0 to below 1, got \(0.9,\)"),
        (lambda x: AdamW([x], eps=-1.0), "AdamW: eps must be finite and at least 0, got -1.0"),
        (lambda x: Lion([x], weight_decay=-1.0), "Lion: weight_decay must be finite and at least 0, got -1.0"),
        (lambda x: SGD([x], learning_rate=1.0, nesterov=True), "SGD: momentum must be above 0 with nesterov=True, got 0.0"),
        (
            lambda x: SGD([x], learning_rate=1.0).step(-1.0),
            "SGD.step: learning_rate must be finite and at least 0, got -1.0",
        ),
        (lambda x: SGD([x, x], learning_rate=1.0), "parameter '1' is given twice"),
        (lambda x: SGD([("a", x), ("a", parameter([1.0]))], learning_rate=1.0), "parameter 'a' is given twice"),
        (lambda _: SGD([Tensor([1.0])], learning_rate=1.0), "SGD: parameter '0' must be a leaf that requires a gradient"),
        (lambda x: SGD([x * 2], learning_rate=1.0), "SGD: parameter '0' must be a leaf"),
        (lambda _: SGD([], learning_rate=1.0), "SGD: parameters must not be empty"),
        (
            lambda x: SGD([{"parameters": [x], "momentums": 1}], learning_rate=1.0),
            "SGD: a group must have parameters, and may have .*, got parameters, momentums",
        ),
        (lambda _: SGD([{"learning_rate": 1.0}], learning_rate=1.0), "SGD: a group must have parameters, .* got learning_rate"),
        (lambda x: Muon([("bias", x)]), r"Muon: parameter 'bias' must be a matrix, got shape \(1,\)"),
        (lambda x: clip_gradient_norm([x], 0.0), "clip_gradient_norm: limit must be finite and above 0, got 0.0"),
    ],
)
def test_errors_name_the_optimizer_and_the_option(call, message):
    with pytest.raises(ValueError, match=message):
        call(parameter([1.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: AdamW([x], betas=0.9), "AdamW: betas must be two numbers from 0 to below 1, got 0.9"),
        (lambda x: AdamW([x], betas="ab"), "AdamW: betas must be two numbers"),
        (lambda x: AdamW([x], betas=("a", 0.9)), r"AdamW: betas\[0\] must be a number, got 'a'"),
        (lambda x: Adam([x], learning_rate="fast"), "Adam: learning_rate must be a number, got 'fast'"),
        (lambda x: SGD([x], learning_rate=0.1, momentum=0.9, nesterov=1), "SGD: nesterov must be True or False, got 1"),
        (lambda x: Muon([x], iterations=2.5), "Muon: iterations must be an int, got 2.5"),
        (lambda x: AdamW([{"parameters": [x], "eps": None}]), "AdamW: eps must be a number, got None"),
        (lambda x: AdamW([x]).step("0.1"), "AdamW.step: learning_rate must be a number, got '0.1'"),
    ],
)
def test_options_of_a_wrong_type_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(parameter([1.0]))


@pytest.mark.parametrize("wrong", [Module(), parameter([1.0]), ["w"], [("w", 1.0)], [(1, parameter([1.0]))]])
def test_arguments_that_are_not_parameters_are_refused(wrong):
    for call in (lambda: SGD(wrong, learning_rate=1.0), lambda: clip_gradient_norm(wrong, 1.0)):
        with pytest.raises(TypeError, match=r"parameters must be tensors or \(name, tensor\) pairs"):
            call()


def test_adamw_keeps_means_so_that_large_gradients_do_not_overflow() -> None:
    p = parameter(np.array([1.0], np.float32))
    one = AdamW([p], learning_rate=0.1, weight_decay=0.0)
    for _ in range(1000):
        p.grad = Tensor(np.array([1e18], np.float32))
        one.step()
    assert p.item() == pytest.approx(-99.0, abs=0.01)


def test_adam_keeps_what_pytorch_keeps() -> None:
    p = parameter(np.array([1.0], np.float32))
    one = AdamW([("w", p)], betas=(0.9, 0.99))
    for g in (1.0, 3.0):
        p.grad = Tensor([g])
        one.step()
    state = one.state_dict()
    assert state["w.exp_avg"] == pytest.approx(0.1 * 0.9 * 1 + 0.1 * 3)
    assert state["w.exp_avg_sq"] == pytest.approx(0.01 * 0.99 * 1 + 0.01 * 9)


@pytest.mark.parametrize("size", [2e19, 1e-30])
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_clipping_neither_overflows_nor_vanishes(size: float, mode: str) -> None:
    with numerics(mode):
        p = parameter(np.zeros(2, np.float32))
        p.grad = Tensor(np.array([3 * size, 4 * size], np.float32))
        assert clip_gradient_norm([p], size) == pytest.approx(5 * size, rel=1e-6)
        if size > 1:
            np.testing.assert_allclose(p.grad.numpy(), [0.6 * size, 0.8 * size], rtol=1e-6)
