"""Every compiled kernel gives the bytes of its NumPy version, at every CPU level of this machine."""

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samebits import kernels, nn
from samebits.autograd import Tensor
from samebits.autograd.ops import probabilities
from samebits.core import Stream, blocks, compiled, current, elementary, grid, indexing, linalg, mixing, numerics, reductions
from samebits.core.modes import EXACT
from samebits.nn.scaled_dot_product import attend

# what NumPy versions and kernels give with every NumPy, the golden digests show in every cell
pytestmark = pytest.mark.once

Array = NDArray[Any]
Using = Callable[[str | None], Any]
FORMULAS = {pair.name: pair for pair in compiled.pairs() if not pair.name.endswith("_float32")}
BY_ROWS = ["softmax", "log_softmax", "exp_shares", "softmax_gradient", "log_softmax_gradient"]  # one float32 result of a row
UPDATES = {"adam", "lion", "sgd", "sgd_momentum", "sgd_nesterov", "blend"}  # of optimizers
ELEMENTARY = [name.removesuffix("_float32") for name in (pair.name for pair in compiled.pairs()) if name.endswith("_float32")]
# Where functions change their branch, saturate or overflow.
SMALL = [0, 1e-45, 1.1754942e-38, 1.17549435e-38, 2.0**-14, 0.5, 1, 1.5707964, 20]
LARGE = [87.33655, 88.72284, 103.97208, 104, 150, 708, 710, 750, 1000, 2.0**20, 2.0**21, 1e30, 3.4028235e38, np.inf]
EDGES = np.array(SMALL + LARGE, np.float32)
NANS = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
SPECIAL = np.concatenate([EDGES, -EDGES, NANS])


def bits(x: Array) -> list[int]:
    return np.ascontiguousarray(x).view(np.uint32 if x.dtype == np.float32 else np.uint64).ravel().tolist()


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], *, finite: bool = False) -> Array:
    """float32 of a shape: ordinary numbers of some magnitude, any bits, special values; contiguous, strided or reversed."""
    rng = np.random.Generator(np.random.PCG64(draw(st.integers(0, 2**32))))
    spread = (*shape[:-1], shape[-1] * 2 + 1) if shape else shape
    x = (rng.standard_normal(spread) * 10.0 ** draw(st.integers(-6, 6))).astype(np.float32)
    kind = draw(st.sampled_from(["ordinary"] if finite else ["ordinary", "bits", "special"]))
    if kind == "bits":
        x = rng.integers(0, 2**32, spread, np.uint32).view(np.float32)
    elif kind == "special":
        x = np.where(rng.random(spread) < 0.3, SPECIAL[rng.integers(0, len(SPECIAL), spread)], x)
    if not shape:
        return x[()] if isinstance(x, np.float32) else x.reshape(())
    step = draw(st.sampled_from([1, 2, -1]))
    x = x[..., ::step][..., : shape[-1]]
    return np.ascontiguousarray(x) if step == 1 and draw(st.booleans()) else x


sizes = st.one_of(st.integers(0, 40), st.sampled_from([255, 256, 257, 511, 513, 1000, 4097]))


def same(using: Using, level: str, compute: Callable[[], Array | tuple[Array, ...]]) -> None:
    """The results of both versions have the same bytes."""
    with using(None):
        expected = compute()
    with using(level):
        found = compute()
    for right, given_ in zip(
        expected if isinstance(expected, tuple) else (expected,), found if isinstance(found, tuple) else (found,), strict=True
    ):
        assert bits(given_) == bits(right)


def test_every_pair_has_a_compiled_version(level: str) -> None:
    assert [pair.name for pair in compiled.pairs() if kernels.find(pair.name, level) is None] == []
    assert len(ELEMENTARY) == 14


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        x = data.draw(arrays((data.draw(sizes),)))
        same(using, level, lambda: getattr(elementary, name)(x))

    holds()
    same(using, level, lambda: getattr(elementary, name)(SPECIAL))


@pytest.mark.parametrize(
    "name",
    [
        pair.name
        for pair in FORMULAS.values()
        if set(pair.dtypes) == {np.dtype(np.float32)} and pair.name not in {*BY_ROWS, *UPDATES}
    ],
)
def test_fused_elementwise_formulas_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    pair = FORMULAS[name]
    results = 2 if name == "swiglu_gradient" else 1

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        size = data.draw(sizes)
        xs = {f"x{i}": data.draw(arrays((size,))) for i in range(len(pair.dtypes) - results)}
        same(using, level, lambda: current().evaluate(name, pair.numpy, results, **xs))

    holds()


# Arguments, with g = 1, whose results are so near to the middle of two float32 numbers that the quick version cannot decide.
MIDDLES = {
    "silu": [0x3C2875EF, 0xBC2875EF, 0x3C7D9A65],
    "silu_gradient": [0xBC07D706, 0x3C12E6C1, 0xBC229F0F],
    "gelu": [0x3C3497A8, 0xBC3497A8, 0x3C434DEB],
    "gelu_gradient": [0x3C107E2D, 0x3C1A24FA, 0xBC2418A8],
    "gelu_tanh": [0x3C44F1F8, 0xBC44F1F8, 0x3C5BDD7B],
    "gelu_tanh_gradient": [0x3C09FF89, 0xBC150FB2, 0x3C259914],
}


@pytest.mark.parametrize("name", MIDDLES)
def test_what_the_quick_version_cannot_decide_is_decided_by_the_formula(name: str, level: str, using: Using) -> None:
    x = np.linspace(-3, 3, 3000, dtype=np.float32)
    x[[5, 1500, 2900]] = np.array(MIDDLES[name], np.uint32).view(np.float32)
    xs = {"g": np.ones_like(x), "x": x} if name.endswith("_gradient") else {"x": x}
    same(using, level, lambda: current().evaluate(name, FORMULAS[name].numpy, 1, **xs))


rows = st.tuples(st.integers(0, 5), st.one_of(st.integers(1, 40), st.sampled_from([255, 257, 384, 513, 1030, 17000])))


@pytest.mark.parametrize("name", BY_ROWS)
def test_formulas_of_rows_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(rows)
        xs = [data.draw(arrays(shape)) for _ in range(2 if name.endswith("_gradient") else 1)]
        if data.draw(st.booleans()):
            xs[0] = np.where(np.isfinite(xs[0]), xs[0], np.float32(-np.inf))  # masked; sometimes all of a row

        def compute() -> Array:
            out = np.empty(shape, np.float32)
            try:
                EXACT.evaluate_rows(FORMULAS[name].numpy, [out], xs)
            except FloatingPointError:
                out[...] = -1
            return out

        same(using, level, compute)

    holds()


def test_cross_entropy_is_that_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        x = data.draw(arrays(data.draw(rows.filter(lambda shape: shape[0] > 0))))
        rng = np.random.Generator(np.random.PCG64(data.draw(st.integers(0, 99))))
        targets = np.where(rng.random(len(x)) < 0.8, rng.integers(0, x.shape[1], len(x)), -100)
        targets[0] = np.argmax(x[0])

        def compute() -> tuple[Array, ...]:
            logits = Tensor(x, requires_grad=True)
            try:
                with np.errstate(all="ignore"):
                    loss = nn.cross_entropy(logits, targets)
            except FloatingPointError:
                return (np.zeros(0),)
            loss.backward()
            assert logits.grad is not None
            return np.asarray(loss.numpy()), np.asarray(logits.grad.data)

        same(using, level, compute)

    holds()


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_normalizations_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        x = data.draw(arrays(data.draw(rows)))
        with np.errstate(invalid="ignore"):
            shared = [data.draw(arrays(x.shape[1:])).astype(np.float64) for _ in range(2 if name == "layer_norm" else 1)]

        def compute() -> tuple[Array, ...]:
            out, numbers = np.empty(x.shape, np.float32), np.empty((len(shared), len(x)))
            EXACT.evaluate_rows(FORMULAS[name].numpy, [out, *numbers], [x], shared=[*shared, np.array(1e-5)])
            numbers[np.isnan(numbers)] = np.nan  # inside, the bits of a NaN are not defined
            return out, numbers

        same(using, level, compute)

    holds()


def test_blocks_and_threads_change_nothing(level: str, using: Using) -> None:
    x = np.linspace(-90, 90, 1_000_003, dtype=np.float32)
    before = kernels.threads()
    try:
        with using(level):
            kernels.threads(1)
            right = elementary.exp(x)
            for count in (2, 3, 7):
                kernels.threads(count)
                assert elementary.exp(x).tobytes() == right.tobytes()
    finally:
        kernels.threads(before)


def test_a_result_may_overlap_its_argument(level: str, using: Using) -> None:
    with using(level):
        x = np.linspace(-3, 3, 1000, dtype=np.float32)
        right = elementary.tanh(x)
        for out, given_ in ((x.copy(),) * 2, ((wide := np.append(x, x[:1]))[1:], wide[:-1])):
            given_[...] = x
            assert elementary.tanh(given_, out=out).tobytes() == right.tobytes()


def test_arrays_that_are_not_contiguous_are_copied_block_by_block(level: str, using: Using) -> None:
    x = np.linspace(-9, 9, 700 * 300, dtype=np.float32).reshape(300, 700).T
    out = np.empty((300, 700), np.float32).T
    with using(level):
        blocks.evaluate_rows(FORMULAS["softmax"].numpy, [out], [x])
        expected = np.empty((700, 300), np.float32)
        blocks.evaluate_rows(FORMULAS["softmax"].numpy, [expected], [np.ascontiguousarray(x)])
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [1, 17, 300, 5000])
def test_softmax_at_some_places_has_the_bits_of_every_order(size: int, level: str, using: Using) -> None:
    rng, certain = np.random.Generator(np.random.PCG64(size)), 0
    for spread in (0.01, 1, 10, 100):
        x = (rng.standard_normal(size) * spread).astype(np.float32)
        x[rng.random(size) < 0.1] = -np.inf
        x[0] = 0
        ids, order = rng.integers(0, size, 20), rng.permutation(size)
        with using(None):
            expected = np.zeros(size, np.float32)
            expected[order] = np.asarray(probabilities.softmax(x[order]))  # type: ignore[arg-type]
            assert probabilities.softmax_at(x, ids) is None
        with using(level):
            found = probabilities.softmax_at(x, ids)
        certain += found is not None
        assert found is None or found.tobytes() == expected[ids].tobytes()
    assert certain >= 3


def test_softmax_at_some_places_is_not_certain_of_long_or_infinite_rows(level: str, using: Using) -> None:
    with using(level):
        for x in (np.zeros(2**17 + 1, np.float32), np.full(3, -np.inf, np.float32), np.array([1, np.inf, 0], np.float32)):
            assert probabilities.softmax_at(x, np.array([0])) is None
        with numerics("fast"):
            assert probabilities.softmax_at(np.zeros(3, np.float32), np.array([0])) is None


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "min", "norm", "logsumexp", "cumsum"])
def test_reductions_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(
            st.sampled_from(
                [
                    (1,),
                    (7,),
                    (255,),
                    (1000,),
                    (70_001,),
                    (16_400,),
                    (768, 130),
                    (3, 5),
                    (300, 7),
                    (70, 33),
                    (7, 300),
                    (2, 3, 4),
                    (5, 257, 3),
                    (2, 600, 300),
                ]
            )
        )
        x = data.draw(arrays(shape))
        several = [(0, len(shape) - 1)] if len(shape) > 1 and name != "cumsum" else []
        axis = data.draw(st.sampled_from([None, *range(len(shape)), -1, *several]))
        same(using, level, lambda: np.asarray(getattr(reductions, name)(x, axis)))

    holds()


def test_products_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        m, k, n = (data.draw(st.sampled_from([1, 2, 5, 17, 40, 300])) for _ in range(3))
        batch = data.draw(st.sampled_from([(), (1,), (3,)]))
        a, b = data.draw(arrays((*batch, m, k), finite=True)), data.draw(arrays((*batch, k, n), finite=True))
        if data.draw(st.booleans()):
            a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
        if data.draw(st.booleans()):
            b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
        same(using, level, lambda: np.asarray(linalg.matmul(a, b)))

    holds()


def test_products_of_few_rows_and_a_compact_matrix_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        m, k, n = (data.draw(st.sampled_from(some)) for some in ([1, 2, 16], [1, 15, 40, 1500], [1, 7, 300]))
        a, b = data.draw(arrays((m, k))), data.draw(arrays((n, k), finite=True))
        a = np.where(np.isfinite(a), a, np.float32(0)) if data.draw(st.booleans()) else a
        matrix = linalg.compact(np.ascontiguousarray(b).T)
        assert matrix is not None
        bias = data.draw(st.none() | arrays((n,)))

        def compute() -> tuple[Array, ...]:
            found = []
            for right in (matrix, b.T):
                try:
                    found.append(np.asarray(linalg.matmul(a, right) if bias is None else linalg.linear(a, right, bias)))
                except FloatingPointError:
                    found.append(np.zeros(0))
            return tuple(found)

        same(using, level, compute)
        few, many = compute()
        assert few.tobytes() == many.tobytes()

    holds()
    long = linalg.compact(np.ones((3, 20_000), np.float32).T)  # longer than a thread's scratch
    assert long is not None
    same(using, level, lambda: np.asarray(linalg.matmul(np.ones((1, 20_000), np.float32), long)))


@pytest.mark.parametrize("axis", [-1, -2])
def test_grids_are_those_of_numpy_also_where_the_order_of_a_sum_could_decide(axis: Any, level: str, using: Using) -> None:
    x = np.ones((1, 40, 40), np.float32)
    x[0, 3, 4], x[0, :, 9], x[0, 7] = 1e-30, 0, -0.0
    root = float(np.sqrt((4.0**3 / (1 + 2.0**-11) - 36) / 4))  # the squares add up to where the exponent changes
    for place in np.ndindex(2, 2):
        x[0][place] = root
    same(using, level, lambda: grid.grid_vectors(x, axis, 26))
    same(using, level, lambda: grid.grid_vectors(x.astype(np.float64) * 1.1, axis, 26))
    x[0, 5, 5] = np.inf
    with using(level), pytest.raises(FloatingPointError):
        grid.grid_vectors(x, axis, 26)


def test_random_numbers_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**64 - 1), st.lists(st.one_of(st.integers(0, 20), st.integers(0, 3000)), min_size=1, max_size=3))
    def holds(seed: int, sizes_: list[int]) -> None:
        def draws() -> tuple[Array, ...]:
            stream = Stream(seed)
            found = []
            for size in sizes_:  # each continues where the last one ended
                found += [
                    stream.uniform(size, low=-3, high=5),
                    stream.uniform(size, low=1, high=np.nextafter(np.float32(1), np.float32(2))),
                    stream.normal(size, mean=0.5, std=3),
                    stream.normal(size, std=1e38),
                    stream.integers(-5, 2**40, size).view(np.float64),
                    stream.integers(-(2**63), 2**63, size).view(np.float64),
                    stream.integers(0, 2**64 - 2**63, size).view(np.float64),
                    stream.bernoulli(0.3, size).astype(np.float64),
                    stream.bernoulli(1.0, size).astype(np.float64),
                    stream.permutation(size).view(np.float64),
                ]
            return *found, stream.words(1).view(np.float64)

        same(using, level, draws)

    holds()


def test_orders_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        x = data.draw(arrays(data.draw(rows)))
        if data.draw(st.booleans()):
            with np.errstate(all="ignore"):
                x = np.rint(x)  # many are equal
        count = data.draw(st.sampled_from([1, 2, 40, 700, 17000]))
        axis = data.draw(st.sampled_from([None, 0, 1]))
        same(using, level, lambda: indexing.argsort(x, axis))
        same(using, level, lambda: indexing.least(x, count))

    holds()
    same(using, level, lambda: indexing.least(-np.arange(20_000, dtype=np.float32), 3))  # each less than all before


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_weighted_choices_are_those_of_numpy(bad: float, level: str, using: Using) -> None:
    weights = np.abs(Stream(1).normal(1000)) * Stream(2).bernoulli(0.5, 1000)
    same(using, level, lambda: Stream(3).choice(1000, 500, p=weights).view(np.float64))
    same(using, level, lambda: Stream(3).choice(1, 5, p=[1e-300]).view(np.float64))
    weights[[20, 30]] = bad
    for wrong, message in ((weights, r"p\[20\]"), (np.zeros(3), "sum of p"), ([1.7e308, 1.7e308, 0], "got inf")):
        for one in (None, level):
            with using(one), pytest.raises(ValueError, match=message):
                Stream(3).choice(len(wrong), p=wrong)


def test_threads_draw_the_words_of_one(level: str, using: Using) -> None:
    before = kernels.threads()
    try:
        kernels.threads(3)
        for name, arguments in (("uniform", []), ("normal", []), ("bernoulli", [0.5]), ("integers", [0, 9])):
            draw = methodcaller(name, *arguments, size=300_001)
            same(using, level, lambda draw=draw: draw(Stream(1)).astype(np.float64))
    finally:
        kernels.threads(before)


@pytest.mark.parametrize("name", sorted(UPDATES))
def test_updates_of_optimizers_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    results = {"adam": 3, "sgd": 1, "blend": 1}.get(name, 2)
    pair = FORMULAS[name]
    numbers = np.array(
        [0.1, 0.95, 0.05, 0.999, 1e-6, 0.01] if name == "adam" else [0.1, 0.05, 0.999, 0.01, 2.0**-149], np.float32
    )
    rng = np.random.Generator(np.random.PCG64(5))
    start = [rng.standard_normal(70_001).astype(np.float32) for _ in range(len(pair.dtypes) - 1)]
    if name == "adam":
        np.abs(start[2], out=start[2])  # the squares
    start[1][:9] = start[-1][:9] = 0

    def step() -> tuple[Array, ...]:
        arrays_ = [x.copy() for x in start]
        compiled.call(pair.numpy, arrays_[:results], arrays_[results:], [numbers])
        return tuple(arrays_[:results])

    same(using, level, step)


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(nn.SGD, learning_rate=0.1),
        partial(nn.SGD, learning_rate=0.1, momentum=0.9, weight_decay=0.1),
        partial(nn.SGD, learning_rate=0.1, momentum=0.9, nesterov=True),
        partial(nn.Lion, weight_decay=0.1),
        partial(nn.AdamW, learning_rate=0.1),
        nn.Muon,
        partial(nn.Muon, nesterov=False),
    ],
)
def test_optimizers_are_those_of_numpy(optimizer: Any, level: str, using: Using) -> None:
    start = [Stream(i).normal((33, 20)) for i in range(2)]

    def steps() -> tuple[Array, ...]:
        parameters = [Tensor(start[0], requires_grad=True), Tensor(start[0].T.copy(), requires_grad=True)]
        made = optimizer(parameters)
        for _ in range(3):
            made.zero_grad()
            sum(((p - start[1].reshape(p.shape)) ** 2).sum() for p in parameters).backward()
            made.step()
        return (*[p.numpy() for p in parameters], *[x for x in made.state_dict().values() if x.dtype == np.float32])

    same(using, level, steps)


def test_sums_by_id_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        count = data.draw(st.sampled_from([0, 1, 3, 64, 65, 300, 4096, 4097, 9000]))
        columns = data.draw(st.sampled_from([(), (1,), (3,), (2, 2), (300,)] if count < 1000 else [(), (2,)]))
        values = data.draw(arrays((count, *columns)))
        rng = np.random.Generator(np.random.PCG64(data.draw(st.integers(0, 99))))
        ids = rng.integers(0, data.draw(st.sampled_from([1, 2, 50])), count)
        ids[rng.random(count) < 0.5] = 0
        with np.errstate(all="ignore"):
            same(using, level, lambda: indexing.segment_sum(values, ids, 50))

    holds()


def test_dropout_is_that_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=20, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        x = data.draw(arrays(data.draw(rows)))

        def compute() -> tuple[Array, ...]:
            tensor = Tensor(x, requires_grad=True)
            with np.errstate(all="ignore"):
                nn.dropout(tensor, 0.3, Stream(7)).backward(Tensor(x))
            assert tensor.grad is not None
            return np.asarray(nn.dropout(tensor, 0.3, Stream(7)).data), np.asarray(tensor.grad.data)

        same(using, level, compute)

    holds()


def test_rotary_positions_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        batch, heads, time, width = (data.draw(st.sampled_from(some)) for some in ((0, 1, 3), (1, 2), (0, 1, 5, 70), (2, 6, 64)))
        x = data.draw(arrays((batch, heads, time, width)))
        if data.draw(st.booleans()):
            x = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
        offset = data.draw(st.sampled_from([0, 3, np.arange(batch) * 2]))

        def compute() -> tuple[Array, ...]:
            tensor = Tensor(x, requires_grad=True)
            y = nn.Rotary(width)(tensor, offset)
            y.backward(Tensor(x))
            assert tensor.grad is not None
            return np.ascontiguousarray(y.data), np.ascontiguousarray(tensor.grad.data)

        same(using, level, compute)

    holds()


def test_no_product_is_fused_with_a_sum(level: str) -> None:
    rng = np.random.Generator(np.random.PCG64(6))
    p, m, v, g = (np.abs(rng.standard_normal(4096)).astype(np.float32) for _ in range(4))
    numbers = np.array([0.1, 0.95, 0.05, 0.999, 1e-6, 0.01], np.float32)
    distance = g - m
    twice = distance * numbers[0] + m
    once = (distance.astype(np.float64) * numbers[0] + m).astype(np.float32)  # as a fused multiply-add rounds
    assert np.count_nonzero(twice != once) > 100
    kernel = kernels.find("adam", level)
    assert kernel is not None
    kernel(len(p), 1, [p, m, v, g, numbers])
    assert np.array_equal(m, twice)


def test_functions_inside_formulas_are_those_of_numpy(level: str, using: Using) -> None:
    kernels_ = EXACT.kernels

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        with np.errstate(invalid="ignore"):
            x = data.draw(arrays(data.draw(rows))).astype(np.float64) * data.draw(st.sampled_from([1.0, 1.0000001, 1e-30]))
        alone = np.where(np.isnan(x), 0.0, x)

        def compute() -> tuple[Array, ...]:
            with np.errstate(all="ignore"):
                kernels_.exp(alone, powers := np.empty_like(alone))
                kernels_.exp(alone, inside := alone.copy())
                kernels_.exp(strided := alone[..., ::-1], other := np.empty_like(strided))
                sums = kernels_.row_sums(x), kernels_.sum(x, -1), kernels_.sum(x, 0), kernels_.row_sums(x, x[:1].sum(0))
            return powers, inside, np.ascontiguousarray(other), *(np.where(np.isnan(one), np.nan, one) for one in sums)

        same(using, level, compute)

    holds()


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_gradients_of_normalizations_are_those_of_numpy(name: str, level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(st.sampled_from([(1, 1), (0, 5), (5, 3), (32, 64), (33, 65), (100, 257), (64, 700)]))
        x, g = (data.draw(arrays(shape)) for _ in range(2))
        weight = data.draw(arrays(shape[1:])) if data.draw(st.booleans()) else None

        def compute() -> tuple[Array, ...]:
            tensors = [Tensor(one, requires_grad=True) for one in (x, *([] if weight is None else [weight, weight.copy()]))]
            with np.errstate(all="ignore"):
                y = getattr(nn, name)(*(tensors if name == "layer_norm" else tensors[:2]))
                y.backward(Tensor(g))
            return tuple(np.asarray(one.grad.data) for one in tensors if one.grad is not None)

        same(using, level, compute)

    holds()


def test_weights_of_attention_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(st.sampled_from([(1, 1, 3, 1), (2, 3, 32, 5), (1, 2, 7, 16), (1, 1, 32, 300)]))
        scores = data.draw(arrays(shape, finite=True)).astype(np.float64) * 1.1
        for key in range(1, shape[-1], 2):
            scores[..., : key % 7, key] = -np.inf  # masked

        def compute() -> tuple[Array, ...]:
            with np.errstate(all="ignore"):
                totals, logs = mixing.weigh(weights := scores.copy())
                mixing.powers(others := scores.copy(), logs)
            return weights, totals, logs, others

        same(using, level, compute)

    holds()


def test_gradients_of_attention_scores_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(st.sampled_from([(1, 1, 3, 1), (2, 3, 32, 5), (1, 2, 7, 16), (1, 1, 32, 300)]))
        p, dp = (data.draw(arrays(shape, finite=True)).astype(np.float64) for _ in range(2))
        if data.draw(st.booleans()):
            p[..., : shape[-1] // 2] = np.abs(p).max()  # several weights are the largest

        def compute() -> Array:
            mixing.pull(p, found := dp.copy())
            return found

        same(using, level, compute)

    holds()


def test_contexts_of_attention_are_those_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(st.sampled_from([(1, 1, 1, 1), (2, 3, 5, 16), (1, 2, 33, 7), (2, 1, 0, 4)]))
        v = data.draw(arrays(shape))
        v = np.where(np.isfinite(v), v, np.float32(0)) if data.draw(st.booleans()) else v

        def compute() -> tuple[Array, ...]:
            try:
                seen = mixing.context(np.ones(shape, np.float32), v)
            except FloatingPointError:
                return (np.zeros(0),)
            return tuple(seen.arrays)

        with np.errstate(all="ignore"):
            same(using, level, compute)

    holds()


def test_attention_is_that_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        batch, groups, repeats, time, width = (
            data.draw(st.sampled_from(some)) for some in ((1, 2), (1, 3), (1, 2), (1, 7, 70), (1, 8))
        )
        keys = time + data.draw(st.sampled_from([0, 5, 40]))
        q = data.draw(arrays((batch, groups * repeats, time, width), finite=True))
        k, v = (data.draw(arrays((batch, groups, keys, width), finite=True)) for _ in range(2))
        g = data.draw(arrays(q.shape, finite=True))
        causal = data.draw(st.booleans())
        offset = data.draw(st.sampled_from([None, [0, keys - 1][:batch]])) if causal else None
        dropout = data.draw(st.sampled_from([0.0, 0.3]))

        def compute() -> tuple[Array, ...]:
            tensors = [Tensor(x, requires_grad=True) for x in (q, k, v)]
            y = nn.attention(*tensors, causal, offset, dropout=dropout, stream=Stream(1))
            y.backward(Tensor(g))
            return y.numpy(), *(np.asarray(one.grad.data) for one in tensors if one.grad is not None)

        same(using, level, compute)

    holds()


def test_attention_with_a_cache_is_that_of_numpy(level: str, using: Using) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        batch, groups, heads, width = (data.draw(st.sampled_from(some)) for some in ((1, 3), (1, 2), (1, 3), (1, 8, 40)))
        times = data.draw(st.lists(st.sampled_from([1, 2, 9, 40]), min_size=1, max_size=4))
        steps = []
        for time in times:
            shapes = (batch, groups * heads, time, width), (batch, groups, time, width), (batch, groups, time, width)
            counts = data.draw(st.none() | st.lists(st.integers(0, time), min_size=batch, max_size=batch).filter(any))
            steps.append((*(data.draw(arrays(shape, finite=data.draw(st.integers(0, 9)) > 0)) for shape in shapes), counts))

        def compute() -> tuple[Array, ...]:
            cache = nn.KeyValueCache(batch, groups, 200, width)
            found = []
            for q, k, v, counts in steps:
                try:
                    offset = cache.append(k, v, counts)
                    mixed = attend(q, cache.context(), offset, int(cache.lengths.max()))
                except FloatingPointError as error:
                    found.append(np.array(len(str(error)), np.int64))
                    break
                read = q.shape[2] if counts is None else np.array(counts)[:, None, None, None]
                rows = np.arange(q.shape[2]).reshape(1, 1, -1, 1)
                found.append(np.where(rows < read, mixed, np.float32(0)))
            return tuple(found)

        same(using, level, compute)

    holds()
    cache = nn.KeyValueCache(1, 1, 140_000, 1)  # more keys than a thread's scratch holds
    long = np.ones((1, 1, 132_000, 1), np.float32)
    offset = cache.append(long, long)
    same(using, level, lambda: attend(long[:, :, -2:], cache.context(), offset + 131_998, 132_000))


def test_numpy_computes_with_numpy_scalars() -> None:
    x: Any = np.float32(4)
    out = np.zeros((), np.float32)
    assert not compiled.run(FORMULAS["silu"].numpy, [out], [x], work=(1, 1))
