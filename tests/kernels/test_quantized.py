"""Compiled products with quantized matrices give the bytes of the NumPy version, at every CPU level, with and without fused instructions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samebits import kernels
from samebits.core.block_formats import FORMATS
from samebits.core.quantized import QuantizedMatrix

pytestmark = pytest.mark.once  # as in test_pairs

Using = Callable[[str | None], Any]
BLOCKS = [name for name, one in FORMATS.items() if one.decode is not None]


def matrix(name: str, outputs: int, length: int, rng: np.random.Generator) -> QuantizedMatrix:
    """A matrix of random bytes, with finite scales of any size."""
    weights, block, _ = FORMATS[name]
    blocks = rng.integers(0, 256, (outputs, length // weights * block.itemsize), np.uint8).view(block)
    for field in [field for field in ("d", "m", "e") if field in (block.names or ())]:
        exponent = np.uint16(rng.choice([0x0000, 0x2000, 0x7800]))  # subnormal, usual, large
        blocks[field] = (blocks[field].view("<u2") & np.uint16(0x83FF) | exponent).view("<f2")
    return QuantizedMatrix(blocks, name)


def same(using: Using, level: str, found: QuantizedMatrix, x: Any) -> None:
    with using(None):
        expected = found.multiply(x)
    with using(level):
        assert found.multiply(x).tobytes() == expected.tobytes()


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("name", BLOCKS)
def test_products_have_the_bytes_of_the_numpy_version(name: str, level: str, using: Using) -> None:
    @settings(max_examples=12, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.sampled_from([1, 2, 3, 4, 7, 8, 14, 61, 97]),
        st.integers(1, 40),
        st.integers(1, 8),
        st.integers(-37, 37),
    )
    def holds(seed: int, rows: int, outputs: int, parts: int, power: int) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        length = parts * (256 if FORMATS[name].weights == 256 else 32)
        x = (rng.standard_normal((rows, length)) * 10.0**power).astype(np.float32)
        x[:, :32] = 0
        x[-1] = rng.integers(0, 2**31, length, np.uint32).view(np.float32)  # of any size
        x[~np.isfinite(x)] = 3e38
        same(using, level, matrix(name, outputs, length, rng), x)

    holds()


@pytest.mark.parametrize("name", ["Q4_1", "Q8_0"])
def test_every_scale_is_converted_exactly(name: str, level: str, using: Using) -> None:
    scales = np.arange(2**16, dtype=np.uint16)
    scales = scales[scales & np.uint16(0x7C00) != np.uint16(0x7C00)]
    blocks = np.ones((len(scales), 1), FORMATS[name].block)
    for field in ("d", "m"):
        if field in (FORMATS[name].block.names or ()):
            blocks[field][:, 0] = (scales if field == "d" else scales[::-1].copy()).view(np.float16)
    for rows in (1, 3):
        same(using, level, QuantizedMatrix(blocks, name), np.eye(rows, 32, dtype=np.float32))


def test_rows_too_long_for_the_scratch_are_multiplied_by_numpy(level: str, using: Using) -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    found = matrix("Q8_0", 1, 2**20, rng)
    with using(level):
        for rows in (1, 3):
            x = rng.standard_normal((rows, 2**20), np.float32)
            assert kernels.find("multiply_quantized", level) is not None
            assert found.multiply(x).shape == (rows, 1)


@pytest.mark.parametrize("rows", [1, 5])
def test_what_is_not_finite_is_refused(rows: int, level: str, using: Using) -> None:
    found = matrix("Q4_1", 5, 64, np.random.Generator(np.random.PCG64(0)))
    for bad in (np.inf, -np.inf, np.nan):
        x = np.ones((rows, 64), np.float32)
        x[-1, 40] = bad
        with using(level), pytest.raises(FloatingPointError, match=rf"multiply: x\[{rows - 1}, 40\] must be finite, got {bad}"):
            found.multiply(x)


def test_threads_change_no_bit(level: str, using: Using) -> None:
    rng, before = np.random.Generator(np.random.PCG64(1)), kernels.threads()
    found = matrix("Q4_1", 2100, 512, rng)
    for rows in (1, 8, 97):
        x = rng.standard_normal((rows, 512), np.float32)
        with using(level):
            results = [found.multiply(x).tobytes() for count in (1, 2, 3) if kernels.threads(count)]
        kernels.threads(before)
        assert len(set(results)) == 1
