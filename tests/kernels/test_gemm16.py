"""Products on grids of 15 bits give the bytes of their definition in int64, at every CPU level, with and without fused instructions."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from samebits import kernels

Array = NDArray[Any]
Multiply = Callable[..., Array]
CHUNK, PANEL, GROUP = 256, 16, 48
F32 = np.float32
SHAPES = [(1, 1, 1), (5, 3, 17), (2, 128, 512), (1, 384, 700), (3, 50, 200), (4, 513, 33), (12, 256, 32), (48, 300, 65)]
SHAPES += [(13, 255, 47), (100, 700, 50), (97, 1025, 31), (7, 20_000, 20), (193, 8, 16)]


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def exponents(x: Array) -> Array:
    """e of the rows of a chunk, from the true sums of squares."""
    sums = np.array([math.fsum(row) for row in (x.astype(np.float64) ** 2).tolist()])
    return ((sums * (1 + 2**-11)).view(np.int64) - (1021 << 52)) >> 53


def chunks(x: Array) -> Iterator[tuple[Array, Array]]:
    """The integers and the scales of the rows of x, chunk by chunk."""
    for start in range(0, x.shape[1], CHUNK):
        part = x[:, start : start + CHUNK]
        e = exponents(part)
        q = np.rint(np.ldexp(part.astype(np.float64), 15 - e[:, None])).astype(np.int64)
        assert np.abs(q).max(initial=0) <= 2**15 - 1
        yield q, np.ldexp(1.0, e - 15)


def product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """The definition: a (m, K) by the rows of b (n, K)."""
    total = np.zeros((len(a), len(b)))
    for (qa, sa), (qb, sb) in zip(chunks(a), chunks(b), strict=True):
        exact = qa @ qb.T
        assert np.abs(exact).max() < 2**31
        total += exact * (sa[:, None] * sb)
    with np.errstate(over="ignore"):
        result = total.astype(F32) + F32(0)
    return result if bias is None else result + bias


def kernel(name: str, level: str) -> Any:
    found = kernels.find(name, level)
    assert found is not None
    return found


def pack(b: Array, level: str, name: str = "pack16") -> list[Array]:
    """Panels and scales of b (n, K), or of b (K, n) by columns."""
    length, n = b.shape if name == "pack16_columns" else b.shape[::-1]
    count = -(-n // PANEL)
    packed = [np.full((count, (length + 1) // 2, PANEL, 2), 7, np.int16), np.full((-(-length // CHUNK), PANEL * count), np.nan)]
    assert kernel(name, level)(count, PANEL * length, [*packed, b, ints(length, n)])
    return packed


def multiply(a: Array, b: Array, level: str, bias: Array | None = None, name: str = "multiply16") -> Array:
    """The product of a (m, K) and the rows of b (n, K), packed before."""
    out, sizes = np.full((len(a), len(b)), np.nan, F32), ints(len(a), a.shape[1], len(b))
    rows = -(-len(b) // PANEL) if "few" in name else len(a)
    a = np.ascontiguousarray(a.T if "columns" in name else a)
    arrays = [out, a, *pack(b, level), sizes] if bias is None else [out, a, bias, *pack(b, level), sizes]
    assert kernel(name if bias is None else f"{name}_add", level)(rows, out.size * sizes[1] // rows, arrays, GROUP)
    return out


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, F32)


def same(x: Array, y: Array) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize(("m", "length", "n"), SHAPES)
def test_products_are_those_of_the_definition(m: int, length: int, n: int, level: str) -> None:
    a, b, bias = normal(m, length), normal(n, length, seed=1), normal(n, seed=2)
    expected, with_bias = product(a, b), product(a, b, bias)
    for name in ("multiply16", "multiply16_columns", "multiply16_few"):
        assert same(multiply(a, b, level, name=name), expected)
    for name in ("multiply16", "multiply16_few"):
        assert same(multiply(a, b, level, bias, name), with_bias)


@pytest.mark.parametrize(("m", "length", "n"), SHAPES)
def test_panels_are_the_same_at_every_level_and_by_rows_and_columns(m: int, length: int, n: int, level: str) -> None:
    b = normal(n, length, seed=m)
    expected = pack(b, "baseline")
    for found in (pack(b, level), pack(np.ascontiguousarray(b.T), level, "pack16_columns")):
        assert all(map(same, found, expected))
    padded = np.pad(expected[0].transpose(0, 2, 1, 3).reshape(-1, expected[0].shape[1] * 2), [(0, 0), (0, 1)])
    for (q, scales), start, row in zip(chunks(b), range(0, length, CHUNK), expected[1], strict=True):
        assert np.array_equal(padded[:n, start : start + q.shape[1]], q)
        assert np.array_equal(row[:n], scales)
    assert not padded[n:].any()
    assert not padded[:, length:].any()


def rare(kind: str, rows: int, length: int) -> Array:
    """Vectors whose exponents, integers or sums are rare."""
    x = normal(rows, length, seed=5)
    match kind:
        case "zeros":
            x[::2] = 0
            x[1::4] = -0.0
        case "tiny":
            x *= F32(2) ** np.arange(-149, -149 + 4 * rows, 4, dtype=F32)[:, None]
        case "subnormal":
            x = np.arange(rows * length, dtype=np.uint32).reshape(rows, length).view(F32)
        case "huge":
            x = np.clip(x * F32(2.0**126), -3e38, 3e38)
        case "one element":
            x[:] = 0
            x[:, length // 2] = [3.4028235e38, -(2.0**-149), 1, -1, *x[4:, 0]]
        case "equal":
            x[:] = np.where(np.arange(rows)[:, None] % 2, F32(1), F32(-0.99951))
        case "wide":
            x *= F32(2) ** np.random.Generator(np.random.PCG64(3)).integers(-60, 60, (rows, length))
        case "near powers of 4":  # the sum's last bits decide
            x[:] = 0
            for i, row in enumerate(x):
                row[:3] = three(4 / (1 + 2**-11) * (1 + (i - 11.5) * 2**-44))
    return x


def three(total: float) -> list[float]:
    """float32 numbers whose squares have nearly that sum."""
    found: list[float] = []
    for _ in range(3):
        root = F32(math.sqrt(total))
        root = np.nextafter(root, F32(0)) if float(root) ** 2 > total else root
        found.append(float(root))
        total -= float(root) ** 2
    return found


KINDS = ["zeros", "tiny", "subnormal", "huge", "one element", "equal", "wide", "near powers of 4"]


@pytest.mark.usefixtures("fused")
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("length", [40, 517])
@pytest.mark.parametrize("kind", KINDS)
def test_rare_vectors_have_the_bits_of_the_definition(kind: str, length: int, level: str) -> None:
    a, b = rare(kind, 24, length), normal(20, length)
    for left, right in ((a, b), (b, a), (a, a)):
        expected = product(left, right)
        for name in ("multiply16", "multiply16_columns", "multiply16_few"):
            assert same(multiply(left, right, level, name=name), expected)
    packed = pack(np.ascontiguousarray(a.T), level, "pack16_columns")
    assert all(map(same, packed, pack(a, level)))


@pytest.mark.parametrize("steps", range(-4, 5))
def test_a_sum_that_double_precision_cannot_decide_is_for_numpy_or_right(steps: int, level: str) -> None:
    b = np.zeros((1, 20), F32)
    edge = 1.0 / (1 + 2**-11) * (1 + steps * 2.0**-52)
    b[0, [3, 19, 7]] = three(edge)
    b[0, 0] = math.sqrt(max(edge - math.fsum((b[0].astype(np.float64) ** 2).tolist()), 0.0))
    packed = [np.empty((1, 10, PANEL, 2), np.int16), np.empty((1, PANEL))]
    if kernel("pack16", level)(1, 1, [*packed, b, ints(20, 1)]):
        assert packed[1][0, 0] == np.ldexp(1.0, int(exponents(b)[0]) - 15)
    else:
        assert abs(steps) < 4


def test_the_sum_of_squares_is_exact_enough_where_its_order_decides(level: str) -> None:
    b = np.zeros((2, CHUNK), F32)
    b[:] = np.sqrt(F32(1 / (1 + 2**-11) / CHUNK))
    b[1, ::2] = np.nextafter(b[1, ::2], F32(1))
    b[:, 0] = np.sqrt(1 / (1 + 2**-11) - (b[:, 1:].astype(np.float64) ** 2).sum(1)) * [1 - 2**-20, 1 + 2**-20]
    scales = pack(b, level)[1]
    assert np.array_equal(scales[0, :2], np.ldexp(1.0, exponents(b) - 15))
    assert scales[0, 0] * 2 == scales[0, 1]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [(0, 0), (17, 299), (4, 256)])
def test_numbers_that_are_not_finite_are_refused(bad: float, place: tuple[int, int], level: str) -> None:
    good, x = normal(18, 300), normal(18, 300)
    x[place] = bad
    for name in ("multiply16", "multiply16_columns", "multiply16_few"):
        with pytest.raises(FloatingPointError):
            multiply(x, good, level, name=name)
    with pytest.raises(FloatingPointError):
        pack(x, level)
    with pytest.raises(FloatingPointError):
        pack(np.ascontiguousarray(x.T), level, "pack16_columns")
    for name in ("multiply16", "multiply16_few"):
        with pytest.raises(FloatingPointError):
            multiply(good, good, level, np.array([*range(17), bad], F32), name)


def test_results_overflow_to_infinity(level: str) -> None:
    x = np.full((2, 300), 3e38, F32)
    x[1] = -x[1]
    assert multiply(x, x, level).tolist() == [[math.inf, -math.inf], [-math.inf, math.inf]]


@pytest.mark.usefixtures("fused")
def test_a_product_by_its_own_transpose_is_symmetric(level: str) -> None:
    x = normal(50, 600)
    found = multiply(x, x, level)
    assert same(found, np.ascontiguousarray(found.T))


@pytest.mark.parametrize("name", ["multiply16", "multiply16_columns", "multiply16_few"])
def test_threads_share_rows(name: str, level: str) -> None:
    a, b = normal(3 * GROUP + 5, 300), normal(200, 300, seed=1)
    before = kernels.threads()
    try:
        kernels.threads(3)
        assert same(multiply(a, b, level, name=name), product(a, b))
    finally:
        kernels.threads(before)


def test_a_vector_too_long_for_scratch_is_for_numpy(level: str) -> None:
    a, b = normal(3, 2**19), normal(1, 2**19, seed=1)
    arrays = [np.empty((3, 1), F32), a, *pack(b, level), ints(3, 2**19, 1)]
    assert not kernel("multiply16", level)(3, 1, arrays)
    a, b = a[:, : 3 * 2**17], np.ascontiguousarray(b[:, : 3 * 2**17])
    assert same(multiply(a, b, level), product(a, b))
