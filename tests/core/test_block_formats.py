"""Block formats: each against its formula, one weight at a time; what infinite scales and NaN give; and how blocks are laid out."""

import itertools
import math
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from samebits.core import Stream, digest
from samebits.core.block_formats import FORMATS, dequantize, quantize

BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
SCALARS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2)}
SMALL = {"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34)}
SIZES = SCALARS | SMALL | {"Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)}


def float32(x: float) -> float:
    """The nearest float32; a float64 product or sum of two of them, rounded again, is rounded once (Figueroa, 1995)."""
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def halves(raw: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(raw) // 2}e", raw)


def nibble(raw: bytes, i: int, run: int) -> int:
    """Weight ``i`` of packed integers of 4 bits: ``run`` weights are in the low halves, the next in the high halves of the same bytes."""
    return raw[i // (2 * run) * run + i % run] >> (4 if i // run % 2 else 0) & 15


def bit(raw: bytes, i: int) -> int:
    return raw[i // 8] >> i % 8 & 1


def groups(raw: bytes) -> Iterator[tuple[int, int]]:
    """The scale and the offset of each group, as `get_scale_min_k4` of ggml-quants.c has them."""
    for j in range(8):
        if j < 4:
            yield raw[j] & 63, raw[j + 4] & 63
        else:
            yield (raw[j + 4] & 15) | (raw[j - 4] >> 6) << 4, (raw[j + 4] >> 4) | (raw[j] >> 6) << 4


def slowly(name: str, raw: bytes) -> list[float]:
    """The weights of one block by the formulas of the module, one at a time."""
    match name:
        case "Q4_0":
            (d,) = halves(raw[:2])
            found = [float32(d * (nibble(raw[2:], i, 16) - 8)) for i in range(32)]
        case "Q4_1":
            d, m = halves(raw[:4])
            found = [float32(float32(d * nibble(raw[4:], i, 16)) + m) for i in range(32)]
        case "Q5_0":
            (d,) = halves(raw[:2])
            found = [float32(d * (nibble(raw[6:], i, 16) + 16 * bit(raw[2:6], i) - 16)) for i in range(32)]
        case "Q5_1":
            d, m = halves(raw[:4])
            found = [float32(float32(d * (nibble(raw[8:], i, 16) + 16 * bit(raw[4:8], i))) + m) for i in range(32)]
        case "Q8_0":
            (d,) = halves(raw[:2])
            found = [float32(d * q) for q in struct.unpack("32b", raw[2:])]
        case "Q4_K" | "Q5_K":
            d, e = halves(raw[:4])
            scales, five = list(groups(raw[4:16])), name == "Q5_K"
            high, low = (raw[16:48], raw[48:]) if five else (bytes(32), raw[16:])
            q = [nibble(low, i, 32) + 16 * (high[i % 32] >> i // 32 & 1) for i in range(256)]
            found = [float32(float32(float32(d * s) * q[i]) - float32(e * t)) for i in range(256) for s, t in [scales[i // 32]]]
        case _:
            low, high, scales_6, (d,) = raw[:128], raw[128:192], struct.unpack("16b", raw[192:208]), halves(raw[208:])
            q = [nibble(low, i, 64) + 16 * (high[i // 128 * 32 + i % 32] >> i // 32 % 4 * 2 & 3) - 32 for i in range(256)]
            found = [float32(float32(d * scales_6[i // 16]) * q[i]) for i in range(256)]
    return found


def random_blocks(name: str, count: int, *, finite: bool = True) -> np.ndarray:
    """Blocks of random bytes; finite scales have the highest bit of their exponent cleared."""
    block = FORMATS[name].block
    blocks = Stream(3).split(name).integers(256, size=count * block.itemsize).astype(np.uint8).view(block)
    for field in [field for field in ("d", "m", "e") if finite and field in (block.names or ())]:
        blocks[field] = (blocks[field].view("<u2") & 0xBFFF).view("<f2")
    return blocks


def test_every_format_has_the_size_of_the_reference() -> None:
    assert {name: (one.weights, one.block.itemsize) for name, one in FORMATS.items()} == SIZES


@pytest.mark.parametrize("name", BLOCKS)
def test_weights_are_those_of_the_formula(name: str) -> None:
    blocks = random_blocks(name, 40)
    expected = [weight for one in blocks for weight in slowly(name, one.tobytes())]
    found = dequantize(blocks, name)
    assert found.dtype == np.float32 and found.tobytes() == np.array(expected, np.float32).tobytes()
    assert np.isfinite(found).all() and len(set(expected)) > 200


@pytest.mark.parametrize("name", BLOCKS)
def test_every_integer_of_a_block_has_a_place_of_its_own(name: str) -> None:
    """One bit of a block that is no scale changes exactly one weight, or one group of them."""
    weights, block, _ = FORMATS[name]
    one = np.zeros(1, block)
    for field, value in (("d", 1), ("e", 1), ("groups", 0b01000001)):
        if field in (block.names or ()):
            one[field] = value
    base, changed = dequantize(one, name), []
    for field in ("low", "high", "q"):
        if field in (block.names or ()):
            for place, shift in itertools.product(range(one[field].size), range(8)):
                other = one.copy()
                other.view(np.uint8)[block.fields[field][1] + place] ^= 1 << shift  # type: ignore[index]
                changed.append(np.flatnonzero(dequantize(other, name) != base).tolist())
    bits = int(name[1])
    assert all(len(places) == 1 for places in changed)
    assert sorted(place for (place,) in changed) == sorted(list(range(weights)) * bits)


@pytest.mark.parametrize("name", FORMATS)
def test_neither_the_axes_nor_the_number_of_blocks_change_a_bit(name: str) -> None:
    weights, block, _ = FORMATS[name]
    blocks = random_blocks(name, 2 * 3 * (2**15 // weights // 2 + 1), finite=False)
    whole = dequantize(blocks, name)
    assert digest(dequantize(blocks.reshape(2, 3, -1), name).reshape(-1)) == digest(whole)
    assert digest(dequantize(blocks.reshape(2, -1).T.copy().T, name).reshape(-1)) == digest(whole)
    assert digest(dequantize(blocks[7:11], name)) == digest(whole[7 * weights : 11 * weights])
    empty = dequantize(np.empty((3, 0), block), name)
    assert empty.shape == (3, 0) and empty.dtype == np.float32


@pytest.mark.parametrize("name", ["F16", *BLOCKS])
def test_what_is_not_a_number_has_one_bit_pattern(name: str) -> None:
    block = FORMATS[name].block
    for bits in (0x7C01, 0xFC01, 0x7E00, 0xFFFF, 0x7C00, 0xFC00):  # signaling, quiet and negative NaN, and infinities
        one = np.zeros(1, block)
        (one if name == "F16" else one["d"]).view("<u2")[...] = bits
        found = dequantize(one, name)
        assert set(found.view(np.uint32)[np.isnan(found)].tolist()) <= {0x7FC00000}
        assert np.isnan(found).all() or bits & 0x3FF == 0


def test_float32_is_not_copied_and_keeps_all_bits() -> None:
    x = np.array([0x3F800000, 0x80000000, 0x7F800001, 0xFFC00000, 1], "<u4").view("<f4")
    found = dequantize(x, "F32")
    assert found.view(np.uint32).tolist() == x.view("<u4").tolist() and found.dtype == np.dtype("=f4")
    assert np.shares_memory(found, x) == (x.dtype == np.float32)


def test_float16_and_bfloat16_have_the_same_values() -> None:
    every = np.arange(2**16, dtype="<u2")
    half, brain = dequantize(every.view("<f2"), "F16"), dequantize(every, "BF16")
    finite = np.isfinite(half)
    assert half[finite].tolist() == [struct.unpack("<e", struct.pack("<H", x))[0] for x in every[finite].tolist()]
    assert half[~finite].tolist()[0] == math.inf and np.count_nonzero(~finite) == 2**11
    assert (brain.view(np.uint32) == every.astype(np.uint32) << 16).all()


@pytest.mark.parametrize(
    ("blocks", "name", "says"),
    [
        (np.zeros(3, np.float32), "Q2_K", r"name must be one of F32, .*, Q6_K, got 'Q2_K'"),
        (np.zeros(18, np.uint8), "Q4_0", r"blocks of Q4_0 must have an axis and the dtype .*, got 1 and uint8"),
        (np.zeros((), FORMATS["Q4_0"].block), "Q4_0", "must have an axis and the dtype .*, got 0 and"),
    ],
)
def test_other_arrays_are_refused(blocks: np.ndarray, name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dequantize(blocks, name)


def quantized_slowly(name: str, w: list[float]) -> tuple[float, float, list[int]]:
    """The scale, the offset and the integers of one block, one weight at a time."""
    far = max(w, key=abs)
    least = min(w) if name == "Q4_1" else 0.0
    d = {"Q8_0": abs(far) / 127, "Q4_0": far / -8, "Q4_1": float32(max(w) - least) / 15}[name]
    inverse = float32(1 / float32(d)) if d else 0.0
    scaled = [float32(float32(x - least) * inverse) for x in w]
    if name == "Q8_0":
        return d, 0.0, [int(math.copysign(math.floor(abs(x) + 0.5), x)) for x in scaled]
    return d, least, [min(15, int(float32(x + {"Q4_0": 8.5, "Q4_1": 0.5}[name]))) for x in scaled]


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1"])
def test_weights_are_quantized_by_the_formula(name: str) -> None:
    weights = Stream(5).split(name).normal((3, 320)) * np.float32(0.02)
    weights[0, :64], weights[2, :32] = 0, np.arange(-16, 16)
    blocks = quantize(weights, name)
    assert blocks.shape == (3, 10) and blocks.dtype == FORMATS[name].block
    decode = FORMATS[name].decode
    assert decode is not None
    q = decode(blocks.reshape(-1)).q[:, 0] + (8 if name == "Q4_0" else 0)
    for row, found, block in zip(weights.reshape(-1, 32).tolist(), q.tolist(), blocks.reshape(-1), strict=True):
        d, m, integers = quantized_slowly(name, row)
        assert block["d"] == np.float16(float32(d)) and (name != "Q4_1" or block["m"] == np.float16(m))
        assert found == integers
    step = np.repeat(np.abs(blocks["d"].astype(np.float64)), 32).reshape(3, 320)
    assert (np.abs(dequantize(blocks, name) - weights) <= step * (1 if name == "Q4_0" else 0.53) + 2e-5).all()


def test_quantizing_has_a_meaning_for_finite_weights_in_whole_blocks_alone() -> None:
    x = np.zeros((2, 64), np.float32)
    with pytest.raises(ValueError, match="name must be one of Q8_0, Q4_0, Q4_1, got 'Q4_K'"):
        quantize(x, "Q4_K")
    with pytest.raises(ValueError, match=r"weights must be float32, in rows of a multiple of 32, got float32 of shape \(2, 33\)"):
        quantize(x[:, :33], "Q8_0")
    with pytest.raises(ValueError, match="got float64 of shape"):
        quantize(x.astype(np.float64), "Q8_0")
    assert quantize(x[:0], "Q8_0").shape == (0, 2)
    assert not quantize(x + np.float32(1e-45), "Q8_0")["d"].any()  # its inverse would be infinite
    x[1, 40] = np.inf
    with pytest.raises(FloatingPointError, match=r"quantize: weights\[1, 40\] must be finite, got inf"):
        quantize(x, "Q8_0")
    x[1, 40] = 1e9
    with pytest.raises(FloatingPointError, match=r"quantize: scales\[1, 1\] must be finite, got -?inf"):
        quantize(x, "Q4_0")
