"""Elementary functions: correct bits everywhere, and each result depends on its element alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray

from samebits.core import blocks, elementary, exponential, logarithm, ties, trigonometry

FUNCTIONS = ["exp", "expm1", "exp2", "log", "log1p", "log2", "log10"]
FUNCTIONS += ["tanh", "sigmoid", "sin", "cos", "erf", "sqrt", "rsqrt"]
ODD = ["tanh", "sin", "erf"]
NAN = 0x7FC00000
INF = np.float32(np.inf)
TINY = np.float32(1e-45)

Singles = NDArray[np.float32]
Cases = dict[str, NDArray[np.uint32]]


def call(name: str, x: Any, **more: Any) -> Singles:
    """The public function of this name."""
    result: Singles = getattr(elementary, name)(x, **more)
    return result


def bits(x: Singles) -> list[str]:
    """Readable in a failed comparison."""
    return [f"{word:08x}" for word in x.view(np.uint32).ravel().tolist()]


def from_bits(words: Any) -> Singles:
    """The float32 values with these bits."""
    return np.asarray(words, np.uint32).view(np.float32)


@pytest.fixture(scope="module")
def cases() -> Cases:
    """Function, input and result of every stored case, computed with mpmath (`exhaustive.py --cases`)."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in FUNCTIONS}
    for line in (Path(__file__).parent / "elementary_cases.txt").read_text(encoding="ascii").splitlines():
        name, given, right = line.split()
        found[name].append((int(given, 16), int(right, 16)))
    return {name: np.array(pairs, np.uint32) for name, pairs in found.items()}


@pytest.fixture(scope="module")
def mixed() -> Singles:
    """Bit patterns of every kind: all magnitudes, both signs, NaNs among them, and some ordinary numbers."""
    rng = np.random.Generator(np.random.PCG64(7))
    words = rng.bit_generator.random_raw(6000).astype(np.uint32)
    ordinary = (words[:2000].astype(np.float64) / 2.0**29 - 4.0).astype(np.float32)
    return np.concatenate([from_bits(words), ordinary])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stored_cases_have_the_results_of_mpmath(name: str, cases: Cases) -> None:
    """The inputs nearest to a rounding boundary of all 2^32, the boundaries of each branch, and a sample."""
    given, right = cases[name].T.copy()
    assert len(given) > 0
    got = call(name, from_bits(given)).view(np.uint32)
    wrong = np.flatnonzero(got != right)
    assert [f"{given[i]:08x}: {got[i]:08x}, not {right[i]:08x}" for i in wrong] == []


@pytest.mark.parametrize(
    ("kernel", "wrong"),
    [
        (exponential.exp2, ties.EXP2),
        (logarithm.log, ties.LOG),
        (logarithm.log10, ties.LOG10),
        (logarithm.log1p, ties.LOG1P),
        (exponential.sigmoid, ties.SIGMOID),
        (trigonometry.sin, ties.SIN),
        (trigonometry.cos, ties.COS),
    ],
)
def test_every_listed_tie_is_one_and_rounds_to_the_wrong_side(kernel: blocks.Kernel, wrong: dict[int, int]) -> None:
    """The float64 result is halfway between two float32 values, one of them right, and rounds to the other."""
    x = from_bits(list(wrong)).astype(np.float64)
    kernel(x, x)
    right = from_bits(list(wrong.values()))
    rounded = x.astype(np.float32)
    assert np.array_equal(np.nextafter(rounded, right), right)
    assert np.array_equal(rounded.astype(np.float64) + right, 2 * x)


def test_the_short_exp_is_within_7e_10_of_the_true_value() -> None:
    """Against mpmath over the whole range of exponents, and densely over one octave; the extremes are in its middle and at its ends."""
    wide = np.linspace(-708.0, 708.0, 1501)
    octave = np.linspace(-0.35, 0.35, 20001)
    short, exact = np.empty_like(wide), np.array([float(mpmath.exp(mpmath.mpf(float(x)))) for x in wide])
    np.testing.assert_allclose(exponential.exp_short(wide, short), exact, rtol=7e-10)
    short, exact = np.empty_like(octave), np.empty_like(octave)
    np.testing.assert_allclose(exponential.exp_short(octave, short), exponential.exp(octave, exact), rtol=7e-10)


def test_the_short_exp_has_the_limits_of_exp_for_every_element_alone() -> None:
    """1 at 0, and no element's bits depend on the others of the block; `out` may be `x`."""
    ordinary = np.array([-0.0, 0.0, 1.5, -700.0, 700.0])
    alone = exponential.exp_short(ordinary, np.empty(5))
    assert alone[:2].tolist() == [1.0, 1.0]
    mixed = np.concatenate([ordinary, [-np.inf, -800.0, 800.0, np.inf, np.nan]])
    with np.errstate(all="ignore"):
        exponential.exp_short(mixed, mixed)
    assert mixed[:5].tobytes() == alone.tobytes()
    np.testing.assert_array_equal(mixed[5:], [0.0, 0.0, np.inf, np.inf, np.nan])


@pytest.mark.parametrize(
    ("name", "given", "right"),
    [
        ("exp", [-INF, -200, -0.0, 0.0, TINY, 89, INF], [0.0, 0.0, 1, 1, 1, INF, INF]),
        ("expm1", [-INF, -200, -TINY, -0.0, 0.0, TINY, 89, INF], [-1, -1, -TINY, -0.0, 0.0, TINY, INF, INF]),
        ("exp2", [-INF, -150, -149, -126, -0.0, 0.0, 1, 10], [0, 0, TINY, 2.0**-126, 1, 1, 2, 1024]),
        ("exp2", [127, 128, INF], [2.0**127, INF, INF]),
        ("log", [-0.0, 0.0, 1, INF], [-INF, -INF, 0.0, INF]),
        ("log1p", [-1, -TINY, -0.0, 0.0, TINY, INF], [-INF, -TINY, -0.0, 0.0, TINY, INF]),
        ("log2", [-0.0, 0.0, TINY, 0.5, 1, 2, 2.0**127, INF], [-INF, -INF, -149, -1, 0.0, 1, 127, INF]),
        ("log10", [-0.0, 0.0, 1, 10, 100, 1e3, 1e10, INF], [-INF, -INF, 0.0, 1, 2, 3, 10, INF]),
        ("tanh", [-INF, -10, -TINY, -0.0, 0.0, TINY, 10, INF], [-1, -1, -TINY, -0.0, 0.0, TINY, 1, 1]),
        ("sigmoid", [-INF, -200, -TINY, -0.0, 0.0, TINY, 20, INF], [0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 1, 1]),
        ("sin", [-TINY, -0.0, 0.0, TINY], [-TINY, -0.0, 0.0, TINY]),
        ("cos", [-TINY, -0.0, 0.0, TINY], [1, 1, 1, 1]),
        ("erf", [-INF, -4, -TINY, -0.0, 0.0, TINY, 4, INF], [-1, -1, -TINY, -0.0, 0.0, TINY, 1, 1]),
        ("sqrt", [-0.0, 0.0, 1, 4, INF], [-0.0, 0.0, 1, 2, INF]),
        ("rsqrt", [-0.0, 0.0, 1, 4, INF], [-INF, INF, 1, 0.5, 0.0]),
    ],
)
def test_ends_and_signs_of_zero(name: str, given: list[float], right: list[float]) -> None:
    """Zeros, infinities, overflow, underflow and exact values."""
    assert bits(call(name, np.array(given, np.float32))) == bits(np.array(right, np.float32))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_nan_is_the_one_quiet_nan(name: str) -> None:
    """Whatever the sign, payload or kind of the NaN given."""
    given = from_bits([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7FC12345])
    assert bits(call(name, given)) == [f"{NAN:08x}"] * 5


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *[(name, [-1.0, -1e-45, -INF]) for name in ("log", "log2", "log10", "sqrt", "rsqrt")],
        ("log1p", [-1.0000001, -2, -INF]),
        *[(name, [INF, -INF]) for name in ("sin", "cos")],
    ],
)
def test_outside_the_domain_is_that_nan_too(name: str, given: list[float]) -> None:
    """No sign on log(-1), as some processors give."""
    assert set(bits(call(name, np.array(given, np.float32)))) == {f"{NAN:08x}"}


@pytest.mark.parametrize("name", ODD)
def test_odd_functions_mirror(name: str, mixed: Singles) -> None:
    """f(-x) is -f(x), bit for bit."""
    x = mixed[np.isfinite(mixed)]
    assert bits(call(name, -x)) == bits(-call(name, x))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_warning_escapes(name: str, mixed: Singles) -> None:
    """Overflow, underflow, division by zero and invalid operations give results, not warnings."""
    with np.errstate(all="raise"):
        call(name, mixed)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_block_size_changes_nothing(name: str, mixed: Singles, monkeypatch: pytest.MonkeyPatch) -> None:
    """One element at a time gives the bits of all at once."""
    whole = call(name, mixed)
    kernel = getattr(elementary, f"_{name}", None) or getattr(exponential, name, None) or getattr(logarithm, name)
    for size in (1, 97, 100_000):
        part = mixed[:150] if size == 1 else mixed
        monkeypatch.setattr(blocks, "CACHE_BYTES", size * 8)
        assert bits(blocks.evaluate(kernel, part)) == bits(whole[: len(part)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads_change_nothing(name: str, mixed: Singles) -> None:
    """Eight calls at once give what each gives alone."""
    pieces = np.array_split(mixed, 8)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda piece: bits(call(name, piece)), pieces))
    assert together == [bits(call(name, piece)) for piece in pieces]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 4)])
def test_shape_is_kept(name: str, shape: tuple[int, ...]) -> None:
    """A new float32 array of the shape given, whatever it is."""
    result = call(name, np.ones(shape, np.float32))
    assert isinstance(result, np.ndarray)
    assert result.shape == shape
    assert result.dtype == np.float32


def test_memory_order_and_strides_change_nothing(mixed: Singles) -> None:
    """Transposed, reversed and strided inputs and outputs."""
    x = mixed.reshape(80, 100)
    right = elementary.exp(x)
    for view in (lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::3], np.asfortranarray):
        assert bits(elementary.exp(view(x))) == bits(np.ascontiguousarray(view(right)))
        out = view(np.zeros_like(x))
        assert elementary.exp(view(x), out=out) is out
        assert bits(np.ascontiguousarray(out)) == bits(np.ascontiguousarray(view(right)))


def test_input_is_not_modified_and_may_be_read_only(mixed: Singles) -> None:
    """For every function."""
    x = mixed.copy()
    x.flags.writeable = False
    for name in FUNCTIONS:
        call(name, x)
    assert x.tobytes() == mixed.tobytes()


def test_out_may_be_the_input_or_overlap_it(mixed: Singles) -> None:
    """In place, and shifted by one either way over several blocks."""
    x = np.tile(mixed, 5)
    right = bits(elementary.tanh(x))
    place = x.copy()
    assert elementary.tanh(place, out=place) is place
    assert bits(place) == right
    longer = np.concatenate([x, x[:1]])
    elementary.tanh(longer[:-1], out=longer[1:])
    assert bits(longer[1:]) == right
    longer = np.concatenate([x[:1], x])
    elementary.tanh(longer[1:], out=longer[:-1])
    assert bits(longer[:-1]) == right


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("given", [np.float64(1), *(np.ones(2, d) for d in ("f2", "f8", "i4", "?", ">f4"))])
def test_other_dtypes_are_refused_with_the_remedy(name: str, given: Any) -> None:
    """The error names the function and the argument, what it was, and what is required."""
    expected = rf"{name}: x must be float32, got {given.dtype}; convert with x\.astype\(np\.float32\)"
    with pytest.raises(TypeError, match=expected):
        call(name, given)


@pytest.mark.parametrize("given", [1.0, 1, True, [0.1, 2], (0.1, [0.2])[:1], [[1, 2], [3, 4]], [], np.float32(2)])
def test_python_numbers_are_converted(given: Any) -> None:
    """They have no dtype that someone chose."""
    result = elementary.exp(given)
    assert result.dtype == np.float32
    assert bits(result) == bits(elementary.exp(np.array(given, np.float32)))


def test_float32_scalars_are_accepted() -> None:
    """The result is an array without axes."""
    assert elementary.exp(np.float32(0)).shape == ()
    assert float(elementary.exp(np.float32(0))) == 1.0


def test_wrong_out_is_refused() -> None:
    """By type, dtype, shape, and flag."""
    x = np.ones(3, np.float32)
    fixed = np.ones(3, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(TypeError, match="exp: out must be a float32 array, got list"):
        elementary.exp(x, out=[0.0] * 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="exp: out must be float32, got float64"):
        elementary.exp(x, out=np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"exp: out must have shape \(3,\), got \(4,\)"):
        elementary.exp(x, out=np.ones(4, np.float32))
    with pytest.raises(ValueError, match="exp: out must be writeable, got a read-only array"):
        elementary.exp(x, out=fixed)


@pytest.mark.parametrize(
    ("kernel", "given", "right"),
    [
        (exponential.exp, [-np.inf, -800, -745, 0, 710, np.inf, np.nan], [0, 0, 5e-324, 1, np.inf, np.inf, np.nan]),
        (exponential.exp2, [-np.inf, -1080, -1074, 1023], [0, 0, 5e-324, 2.0**1023]),
        (exponential.exp2, [1024, np.inf, np.nan], [np.inf, np.inf, np.nan]),
        (exponential.expm1, [-np.inf, -800, 5e-324, 710, np.inf, np.nan], [-1, -1, 5e-324, np.inf, np.inf, np.nan]),
        (exponential.tanh, [-np.inf, -1e300, 1e300, np.inf, np.nan], [-1, -1, 1, 1, np.nan]),
        (exponential.sigmoid, [-np.inf, -1e300, -745, 1e300, np.inf, np.nan], [0, 0, 5e-324, 1, 1, np.nan]),
        (exponential.erf, [-np.inf, -1e300, 1e300, np.inf, np.nan], [-1, -1, 1, 1, np.nan]),
        (logarithm.log2, [-1, 0, 5e-324, 2.0**1023, np.inf, np.nan], [np.nan, -np.inf, -1074, 1023, np.inf, np.nan]),
        (logarithm.log1p, [-2, -1, 5e-324, np.inf, np.nan], [np.nan, -np.inf, 5e-324, np.inf, np.nan]),
        (trigonometry.sin, [-np.inf, np.inf, np.nan, 0], [np.nan, np.nan, np.nan, 0]),
    ],
)
def test_float64_kernels_are_right_at_the_ends_of_their_range(
    kernel: blocks.Kernel, given: list[float], right: list[float]
) -> None:
    """The fused kernels elsewhere call these on float64 values of any size, and in place."""
    x = np.array(given, np.float64)
    with np.errstate(all="ignore"):
        kernel(x, x)
    np.testing.assert_array_equal(x, np.array(right, np.float64))


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_of_large_numbers_of_53_bits_are_those_of_mpmath(name: str) -> None:
    words = np.random.PCG64(11).random_raw(200)
    x = np.ldexp((words >> np.uint64(11)).astype(np.float64), np.arange(200) * 4 % 990 - 20)
    x[0] = 6381956970095103 * 2.0**797  # the float64 that is closest to a multiple of pi / 2
    found = getattr(trigonometry, name)(x, np.empty_like(x))
    with mpmath.workprec(1300):
        right = [getattr(mpmath, name)(mpmath.mpf(value)) for value in x.tolist()]
        errors = [float(abs((mpmath.mpf(a) - b) / b)) for a, b in zip(found.tolist(), right, strict=True)]
    assert np.abs(x).max() > 1e200 and max(errors) < 2.0**-51
