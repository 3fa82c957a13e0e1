"""Products with quantized matrices: what the definition says, in Python's integers; all formats; what is refused."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.core.definitions import FINITE, TAME, normal, same

from samebits.core import Stream
from samebits.core.block_formats import FORMATS, dequantize, quantize
from samebits.core.quantized import QuantizedMatrix

BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")


def random_blocks(name: str, outputs: int, length: int, seed: int = 3) -> Any:
    """Blocks of random bytes, with scales that are finite and sometimes subnormal."""
    weights, block, _ = FORMATS[name]
    raw = Stream(seed).split(name).integers(256, size=(outputs, length // weights * block.itemsize)).astype(np.uint8)
    blocks = raw.view(block)
    for field in [field for field in ("d", "m", "e") if field in (block.names or ())]:
        blocks[field] = (blocks[field].view("<u2") & 0xBFFF).view("<f2")
    return blocks


def exponent(x: list[float]) -> int:
    """The least e, from -100, with max |x| < 2^e (1 - 2^-16)."""
    e, top = -100, Fraction(max(map(abs, x)))
    while top >= Fraction(2) ** e * (1 - Fraction(1, 2**16)):
        e += 1
    return e


def multiply_by_definition(x: Any, blocks: Any, name: str) -> Any:
    decode = FORMATS[name].decode
    assert decode is not None
    q, s, m = decode(blocks.reshape(-1))
    size, outputs = q.shape[2], len(blocks)
    offsets = [[0.0] * (x.shape[1] // size)] * outputs if m is None else m.reshape(outputs, -1).tolist()
    integers, scales = q.reshape(outputs, -1, size).tolist(), s.reshape(outputs, -1).tolist()
    total = np.zeros((len(x), outputs))
    for i, row in enumerate(x.astype(np.float64).reshape(len(x), -1, size).tolist()):
        for g, group in enumerate(row):
            e = exponent(group)
            a = [round(Fraction(one) * Fraction(2) ** (15 - e)) for one in group]
            assert max(map(abs, a)) <= 32767
            for n in range(outputs):
                products = [one * other for one, other in zip(a, integers[n][g], strict=True)]
                assert sum(map(abs, products)) <= 2**27
                exact = [Fraction(scales[n][g]) * sum(products), Fraction(offsets[n][g]) * sum(a)]
                term, offset = (float(one * Fraction(2) ** (e - 15)) for one in exact)
                assert [Fraction(term), Fraction(offset)] == [one * Fraction(2) ** (e - 15) for one in exact]
                total[i, n] += term + offset
    with np.errstate(over="ignore"):
        return total.astype(np.float32) + np.float32(0)


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_a_product_is_what_its_definition_says_for_any_finite_operands(name: str, data: st.DataObject) -> None:
    blocks = random_blocks(name, data.draw(st.integers(1, 4)), 256, data.draw(st.integers(0, 99)))
    elements = data.draw(st.sampled_from([FINITE, TAME]))
    x = data.draw(hnp.arrays(np.float32, (2, 256), elements=elements))
    assert same(QuantizedMatrix(blocks, name).multiply(x), multiply_by_definition(x, blocks, name))


@pytest.mark.parametrize(
    "top", [1.0, np.nextafter(np.float32(1), np.float32(0)), 1 - 2.0**-15, 1 - 2.0**-16, 1e-45, 1e-30, 3.4028235e38, 0.0]
)
def test_a_row_at_the_edge_of_its_grid_fits_its_integers(top: float) -> None:
    blocks = random_blocks("Q8_0", 3, 64)
    blocks["q"] = -128
    x = np.stack([np.full(64, top), np.full(64, -top), np.linspace(0, top, 64)]).astype(np.float32)
    assert same(QuantizedMatrix(blocks, "Q8_0").multiply(x), multiply_by_definition(x, blocks, "Q8_0"))


def test_a_product_beyond_float32_is_infinite() -> None:
    matrix = QuantizedMatrix(quantize(np.full((2, 32), 60000, np.float32), "Q8_0"), "Q8_0")
    assert (matrix.multiply(np.full(32, 3e38, np.float32)) == np.inf).all()


@pytest.mark.parametrize("name", BLOCKS)
def test_rows_are_those_of_the_format(name: str) -> None:
    blocks, ids = random_blocks(name, 9, 512), np.array([[8, 0], [3, 3]])
    found = QuantizedMatrix(blocks, name)
    assert found.shape == (9, 512) and same(found.rows(ids), dequantize(blocks, name)[ids])
    assert same(found.permuted(ids[0]).rows(np.arange(2)), dequantize(blocks, name)[ids[0]])
    x = normal(3, 512)
    assert same(found.permuted(np.arange(9)[::-1]).multiply(x), np.ascontiguousarray(found.multiply(x)[:, ::-1]))


def test_blocks_are_read_where_they_are_or_repacked() -> None:
    for name in ("Q4_0", "Q4_1", "Q8_0"):
        blocks = random_blocks(name, 4, 64)
        assert QuantizedMatrix(blocks, name).nbytes == blocks.nbytes
        assert QuantizedMatrix(blocks[::2], name).shape == (2, 64)
        found, x = QuantizedMatrix(blocks, name), normal(64)
        before = found.multiply(x)
        blocks["d"] *= -1
        assert not same(found.multiply(x), before)
    assert QuantizedMatrix(random_blocks("Q4_K", 4, 256), "Q4_K").nbytes == 4 * 256 // 32 * 40
    assert repr(QuantizedMatrix(random_blocks("Q4_K", 4, 256), "Q4_K")) == "QuantizedMatrix((4, 256), Q4_K)"
    assert QuantizedMatrix(random_blocks("Q6_K", 4, 256), "Q6_K").nbytes == 4 * 256 // 16 * 20


@pytest.mark.parametrize("rows", [1, 2, 3, 50, 700])
def test_a_row_does_not_depend_on_other_rows_or_outputs(rows: int) -> None:
    blocks, x = random_blocks("Q4_1", 40, 512), normal(rows, 512)
    whole = QuantizedMatrix(blocks, "Q4_1").multiply(x)
    assert same(whole[-1, 7:24], QuantizedMatrix(blocks[7:24], "Q4_1").multiply(x[-1]))
    assert same(whole.T[::2], QuantizedMatrix(blocks, "Q4_1").multiply(np.asfortranarray(x)).T[::2])


def test_results_have_the_shape_of_x() -> None:
    found = QuantizedMatrix(random_blocks("Q4_0", 5, 32), "Q4_0")
    for shape in ((32,), (0, 32), (2, 0, 32), (2, 3, 32)):
        assert found.multiply(np.ones(shape, np.float32)).shape == (*shape[:-1], 5)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_error_is_that_of_15_bits(name: str) -> None:
    blocks, x = random_blocks(name, 30, 1024), normal(20, 1024)
    wide = dequantize(blocks, name).astype(np.float64)
    error = QuantizedMatrix(blocks, name).multiply(x) - x.astype(np.float64) @ wide.T
    size = FORMATS[name].weights if name != "Q6_K" else 16
    size = min(size, 32)
    tops, weights = np.abs(x).reshape(20, -1, size).max(-1), np.abs(wide).reshape(30, -1, size).sum(-1)
    assert (np.abs(error) <= (2.0**-15 + 2.0**-29) * (tops @ weights.T) + 2.0**-23 * np.abs(x @ wide.T)).all()
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(wide, axis=1)
    assert math.sqrt(float(((error / norms) ** 2).mean())) < 3e-5


@pytest.mark.parametrize("field", ["d", "m"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_scales_that_are_not_finite_are_refused(field: str, value: float) -> None:
    blocks = random_blocks("Q4_1", 4, 64)
    blocks[field][2, 1] = value
    with pytest.raises(FloatingPointError, match=rf"QuantizedMatrix: {field}\[2, 1\] must be finite, got {value}"):
        QuantizedMatrix(blocks, "Q4_1")


def test_arguments_that_do_not_fit_are_named() -> None:
    blocks = random_blocks("Q4_1", 4, 64)
    with pytest.raises(ValueError, match=r"name must be one of Q4_0, .*, Q6_K, got 'F32'"):
        QuantizedMatrix(blocks, "F32")
    with pytest.raises(ValueError, match=r"blocks must be .*, in rows and not empty, for Q4_0, got .* of shape \(4, 2\)"):
        QuantizedMatrix(blocks, "Q4_0")
    for wrong in (blocks[0], blocks[:0], blocks[:, :0]):
        with pytest.raises(ValueError, match=r"blocks must be .* for Q4_1, got"):
            QuantizedMatrix(wrong, "Q4_1")
    found = QuantizedMatrix(blocks, "Q4_1")
    with pytest.raises(TypeError, match="multiply: x must be float32, got float64; convert with"):
        found.multiply(np.ones(64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"multiply: x must have shape \(..., 64\), got \(2, 32\)"):
        found.multiply(np.ones((2, 32), np.float32))
    for bad in (np.inf, np.nan):
        x = np.ones((3, 64), np.float32)
        x[2, 5] = bad
        with pytest.raises(FloatingPointError, match=rf"multiply: x\[2, 5\] must be finite, got {bad}"):
            found.multiply(x)
