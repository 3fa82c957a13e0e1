"""Block formats: weights of 4 to 8 bits in blocks that share a scale, as llama.cpp's tensor library ggml stores them.

    Q8_0    w = d q            q from -128 to 127        34 bytes for   32 weights
    Q4_0    w = d (q - 8)      q from 0 to 15            18 bytes for   32 weights
    Q4_1    w = d q + m        q from 0 to 15            20 bytes for   32 weights
    Q5_0    w = d (q - 16)     q from 0 to 31            22 bytes for   32 weights
    Q5_1    w = d q + m        q from 0 to 31            24 bytes for   32 weights
    Q4_K    w = d s q - e t    q from 0 to 15           144 bytes for  256 weights
    Q5_K    w = d s q - e t    q from 0 to 31           176 bytes for  256 weights
    Q6_K    w = d s (q - 32)   q from 0 to 63           210 bytes for  256 weights

``d``, ``m`` and ``e`` are float16, one of each in a block. In the K formats a block has 8 groups of 32 weights (Q6_K: 16 groups of 16),
each with integers ``s`` and ``t`` of 6 bits (Q6_K: ``s`` of 8 bits, with a sign). F32, F16 and BF16 are blocks of one weight.

A block is integers and float32 scales of its groups (`Integers`), exact products of what is in the file. A float32 weight is computed
from them by the formula, from left to right, each operation rounded; so are those of the reference
(`gguf/quants.py` and `ggml-quants.c` of https://github.com/ggml-org/llama.cpp). What is not a number has the bits `0x7fc00000`, where
the reference has those of the processor; of F32 and BF16 the bits are kept. `quantize` chooses the integers as the reference does.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samebits.core.nonfinite import refuse_non_finite

__all__ = ["FORMATS", "BlockFormat", "Integers", "dequantize", "quantize", "weights_of"]

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]

_AT_ONCE = 2**15  # weights whose intermediate arrays fit the cache


class Integers(NamedTuple):
    """The weights ``s q + m`` of n blocks, in groups that share a scale.

    Example:
        >>> block = np.zeros(1, FORMATS["Q6_K"].block)
        >>> [part.shape for part in FORMATS["Q6_K"].decode(block)[:2]]
        [(1, 16, 16), (1, 16)]
    """

    q: Int8
    """(n, groups, weights of a group)."""
    scale: Float32
    """s, (n, groups)."""
    offset: Float32 | None
    """m, (n, groups), or None where there is none."""


class BlockFormat(NamedTuple):
    """How the blocks of a tensor are stored.

    Example:
        >>> one = FORMATS["Q4_1"]
        >>> one.weights, one.block.itemsize, one.block.names
        (32, 20, ('d', 'm', 'low'))
    """

    weights: int
    """The number of weights in a block."""
    block: np.dtype[Any]
    """The dtype of a block, little-endian, with a field for each part."""
    decode: Callable[[Array], Integers] | None
    """Blocks ``(n,)`` to their integers; None where a block is one weight."""


def dequantize(blocks: Array, name: str) -> Float32:
    """The weights of blocks, in the same order.

    Args:
        blocks: Blocks ``(..., n)`` of the dtype of the format.
        name: The name of the format, one of `FORMATS`.

    Returns:
        Weights ``(..., n * weights)``, float32. F32 on a little-endian machine is not copied.

    Raises:
        ValueError: There is no such format, the blocks have no axis, or their dtype is not that of the format.

    Example:
        >>> block = np.zeros(1, FORMATS["Q4_0"].block)
        >>> block["d"], block["low"][0, :3] = 0.5, (0x08, 0x19, 0xFA)
        >>> dequantize(block, "Q4_0")[[0, 1, 2, 16, 17, 18]]
        array([ 0. ,  0.5,  1. , -4. , -3.5,  3.5], dtype=float32)
    """
    if name not in FORMATS:
        raise ValueError(f"dequantize: name must be one of {', '.join(FORMATS)}, got {name!r}")
    weights, dtype, decode = FORMATS[name]
    if blocks.dtype != dtype or not blocks.ndim:
        raise ValueError(
            f"dequantize: blocks of {name} must have an axis and the dtype {dtype}, got {blocks.ndim} and {blocks.dtype}"
        )
    if name == "F32":
        return blocks.astype(np.float32, copy=False)
    result = np.empty((*blocks.shape[:-1], blocks.shape[-1] * weights), np.float32)
    flat, rows = blocks.reshape(-1), result.reshape(-1, weights)
    step = _AT_ONCE // weights
    for start in range(0, len(flat), step):
        block = flat[start : start + step]
        with np.errstate(all="ignore"):  # scales may be infinite or NaN
            part = _one_weight(block, name) if decode is None else weights_of(decode(block))
            if name != "BF16":
                np.copyto(part, np.float32(np.nan), where=np.isnan(part))
        rows[start : start + step] = part
    return result


def weights_of(parts: Integers) -> Float32:
    """The weights of n blocks from their integers, float32 (n, weights of a block)."""
    weights = parts.scale[..., None] * parts.q.astype(np.float32)
    if parts.offset is not None:
        weights += parts.offset[..., None]
    return weights.reshape(len(weights), math.prod(weights.shape[1:]))


def quantize(weights: Float32, name: str) -> Array:
    """Weights as the blocks of a format, rounded as the reference does it, with the same bits.

    Q8_0 rounds ``w / d`` to the nearest, ``d`` being a 127th of the largest. Q4_0 gives -8 to the weight that is farthest from 0, and
    Q4_1 gives 0 to the least weight and 15 to the largest; both add 1/2 and truncate.

    Args:
        weights: float32 ``(..., n)``, n a multiple of 32.
        name: ``"Q8_0"``, ``"Q4_0"`` or ``"Q4_1"``.

    Returns:
        Blocks ``(..., n / 32)`` of the dtype of the format.

    Raises:
        FloatingPointError: A weight is infinite or NaN, or a scale would be, as float16.
        ValueError: There is no such format, or the shape does not fit.

    Example:
        >>> x = np.linspace(-1, 1, 32, dtype=np.float32)
        >>> bool(abs(dequantize(quantize(x, "Q8_0"), "Q8_0") - x).max() < 0.005)
        True
    """
    if name not in _QUANTIZE:
        raise ValueError(f"quantize: name must be one of {', '.join(_QUANTIZE)}, got {name!r}")
    size, dtype, _ = FORMATS[name]
    if weights.dtype != np.float32 or not weights.ndim or weights.shape[-1] % size:
        raise ValueError(
            f"quantize: weights must be float32, in rows of a multiple of {size}, got {weights.dtype} of shape {weights.shape}"
        )
    result = np.empty((*weights.shape[:-1], weights.shape[-1] // size), dtype)
    flat, rows = result.reshape(-1), weights.reshape(-1, size)
    step = _AT_ONCE // size
    for start in range(0, len(flat), step):
        part = flat[start : start + step]
        with np.errstate(all="ignore"):  # checked below
            _QUANTIZE[name](rows[start : start + step], part)
        if not all(np.isfinite(part[field]).all() for field in ("d", "m") if field in (dtype.names or ())):
            refuse_non_finite("quantize", weights=weights, scales=result["d"])
    return result


def _inverse(scale: Float32) -> Float32:
    """1 / scale (n, 1), and 0 where that is infinite: such a scale is 0 as float16."""
    inverse = np.float32(1) / scale
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _to_q8_0(x: Float32, blocks: Array) -> None:
    scale = (np.abs(x).max(axis=-1, keepdims=True) / np.float32(127)).astype(np.float32)
    scaled = x * _inverse(scale)
    size = np.abs(scaled)
    whole = np.floor(size)
    blocks["d"] = scale[:, 0]
    blocks["q"] = np.sign(scaled) * (whole + np.floor(np.float32(2) * (size - whole)))


def _to_q4_0(x: Float32, blocks: Array) -> None:
    scale = (np.take_along_axis(x, np.abs(x).argmax(axis=-1, keepdims=True), -1) / np.float32(-8)).astype(np.float32)
    blocks["d"] = scale[:, 0]
    blocks["low"] = _nibbles(x * _inverse(scale) + np.float32(8.5))


def _to_q4_1(x: Float32, blocks: Array) -> None:
    least = x.min(axis=-1, keepdims=True)
    scale = (x.max(axis=-1, keepdims=True) - least) / np.float32(15)
    blocks["d"], blocks["m"] = scale[:, 0], least[:, 0]
    blocks["low"] = _nibbles((x - least) * _inverse(scale) + np.float32(0.5))


def _nibbles(x: Float32) -> Array:
    """x (n, 32) truncated to 4 bits: 16 of them in the low halves of bytes, 16 in the high ones."""
    q = np.minimum(x, np.float32(15)).astype(np.uint8)
    return q[:, :16] | (q[:, 16:] << np.uint8(4))


_QUANTIZE: dict[str, Callable[[Float32, Array], None]] = {"Q8_0": _to_q8_0, "Q4_0": _to_q4_0, "Q4_1": _to_q4_1}


def _one_weight(blocks: Array, name: str) -> Float32:
    wide = blocks.astype(np.float32) if name == "F16" else (blocks.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide[:, None]


def _column(x: Array) -> Float32:
    """A scale of each block, as that of its only group."""
    return x.astype(np.float32)[:, None]


def _unpack(packed: Array, bits: int, run: int) -> Array:
    """Integers of 1, 2 or 4 bits: first the lowest bits of ``run`` bytes, then the next bits of the same bytes, and so on.

    Args:
        packed: Bytes ``(n, bytes)``, uint8.
        bits: The bits of an integer.
        run: The number of bytes.

    Returns:
        Integers ``(n, bytes * 8 / bits)``, uint8.
    """
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    mask = np.uint8((1 << bits) - 1)
    return ((packed.reshape(len(packed), -1, 1, run) >> shifts) & mask).reshape(len(packed), -1)


def _join(low: Array, high: Array) -> Array:
    """Integers from their lowest 4 bits and the bits above."""
    joined: Array = low | (high << np.uint8(4))
    return joined


def _groups(q: Array, groups: int, zero: int = 0) -> Int8:
    """Integers (n, weights), from which ``zero`` is subtracted, in groups."""
    return (q.view(np.int8) - np.int8(zero)).reshape(len(q), groups, -1)


def _q4_0(blocks: Array) -> Integers:
    return Integers(_groups(_unpack(blocks["low"], 4, 16), 1, 8), _column(blocks["d"]), None)


def _q4_1(blocks: Array) -> Integers:
    return Integers(_groups(_unpack(blocks["low"], 4, 16), 1), _column(blocks["d"]), _column(blocks["m"]))


def _q5(blocks: Array) -> Array:
    return _join(_unpack(blocks["low"], 4, 16), _unpack(blocks["high"], 1, 1))


def _q5_0(blocks: Array) -> Integers:
    return Integers(_groups(_q5(blocks), 1, 16), _column(blocks["d"]), None)


def _q5_1(blocks: Array) -> Integers:
    return Integers(_groups(_q5(blocks), 1), _column(blocks["d"]), _column(blocks["m"]))


def _q8_0(blocks: Array) -> Integers:
    return Integers(blocks["q"][:, None], _column(blocks["d"]), None)


def _q4_k(blocks: Array) -> Integers:
    return _with_groups(blocks, _unpack(blocks["low"], 4, 32))


def _q5_k(blocks: Array) -> Integers:
    return _with_groups(blocks, _join(_unpack(blocks["low"], 4, 32), _unpack(blocks["high"], 1, 32)))


def _with_groups(blocks: Array, q: Array) -> Integers:
    """The scales ``d s`` and offsets ``-e t``, with ``s`` and ``t`` of 8 groups in 12 bytes.

    The bytes are 4 of ``s``, 4 of ``t``, and 4 of both. The first four ``s`` are the low 6 bits of their bytes; the others have their low
    4 bits in the last bytes and their high 2 bits on top of the first ones. So have ``t``, in the high half of the last bytes.
    """
    first, second, last = (blocks["groups"][:, part] for part in (slice(4), slice(4, 8), slice(8, 12)))
    low, top = np.uint8(63), np.uint8(48)
    s = np.concatenate([first & low, (last & np.uint8(15)) | ((first >> np.uint8(2)) & top)], axis=1)
    t = np.concatenate([second & low, (last >> np.uint8(4)) | ((second >> np.uint8(2)) & top)], axis=1)
    scale, offset = _column(blocks["d"]) * s.astype(np.float32), _column(blocks["e"]) * t.astype(np.float32)
    return Integers(_groups(q, 8), scale, -offset)


def _q6_k(blocks: Array) -> Integers:
    q = _join(_unpack(blocks["low"], 4, 64), _unpack(blocks["high"], 2, 32))
    return Integers(_groups(q, 16, 32), _column(blocks["d"]) * blocks["groups"].astype(np.float32), None)


def _block(*fields: tuple[str, str] | tuple[str, str, int]) -> np.dtype[Any]:
    parts: Sequence[Any] = fields
    return np.dtype(list(parts))


FORMATS: dict[str, BlockFormat] = {
    "F32": BlockFormat(1, np.dtype("<f4"), None),
    "F16": BlockFormat(1, np.dtype("<f2"), None),
    "BF16": BlockFormat(1, np.dtype("<u2"), None),  # NumPy has no bfloat16
    "Q4_0": BlockFormat(32, _block(("d", "<f2"), ("low", "u1", 16)), _q4_0),
    "Q4_1": BlockFormat(32, _block(("d", "<f2"), ("m", "<f2"), ("low", "u1", 16)), _q4_1),
    "Q5_0": BlockFormat(32, _block(("d", "<f2"), ("high", "u1", 4), ("low", "u1", 16)), _q5_0),
    "Q5_1": BlockFormat(32, _block(("d", "<f2"), ("m", "<f2"), ("high", "u1", 4), ("low", "u1", 16)), _q5_1),
    "Q8_0": BlockFormat(32, _block(("d", "<f2"), ("q", "i1", 32)), _q8_0),
    "Q4_K": BlockFormat(256, _block(("d", "<f2"), ("e", "<f2"), ("groups", "u1", 12), ("low", "u1", 128)), _q4_k),
    "Q5_K": BlockFormat(
        256, _block(("d", "<f2"), ("e", "<f2"), ("groups", "u1", 12), ("high", "u1", 32), ("low", "u1", 128)), _q5_k
    ),
    "Q6_K": BlockFormat(256, _block(("low", "u1", 128), ("high", "u1", 64), ("groups", "i1", 16), ("d", "<f2")), _q6_k),
}
"""The formats by name."""
