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

A float32 weight is computed by the operations of the formula, from left to right, each rounded; so are those of the reference
(`gguf/quants.py` and `ggml-quants.c` of https://github.com/ggml-org/llama.cpp). What is not a number has the bits `0x7fc00000`, where
the reference has those of the processor; of F32 and BF16 the bits are kept.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["FORMATS", "BlockFormat", "dequantize"]

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

_AT_ONCE = 2**15  # weights whose intermediate arrays fit the cache


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
    decode: Callable[[Array], Array]
    """Blocks ``(n,)`` to float32 ``(n, weights)``."""


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
        with np.errstate(all="ignore"):  # scales may be infinite or NaN
            part = decode(flat[start : start + step])
            if name != "BF16":
                np.copyto(part, np.float32(np.nan), where=np.isnan(part))
        rows[start : start + step] = part
    return result


def _float32(x: Array) -> Float32:
    return x.astype(np.float32)


def _column(x: Array) -> Float32:
    """A scale of each block, beside its weights."""
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


def _join(low: Array, high: Array) -> Float32:
    """Integers from their lowest 4 bits and the bits above."""
    return _float32(low | (high << np.uint8(4)))


def _bfloat16(blocks: Array) -> Array:
    return (blocks.astype(np.uint32) << np.uint32(16)).view(np.float32)[:, None]


def _q4_0(blocks: Array) -> Array:
    return _column(blocks["d"]) * (_float32(_unpack(blocks["low"], 4, 16)) - np.float32(8))


def _q4_1(blocks: Array) -> Array:
    return _column(blocks["d"]) * _float32(_unpack(blocks["low"], 4, 16)) + _column(blocks["m"])


def _q5(blocks: Array) -> Float32:
    return _join(_unpack(blocks["low"], 4, 16), _unpack(blocks["high"], 1, 1))


def _q5_0(blocks: Array) -> Array:
    return _column(blocks["d"]) * (_q5(blocks) - np.float32(16))


def _q5_1(blocks: Array) -> Array:
    return _column(blocks["d"]) * _q5(blocks) + _column(blocks["m"])


def _q8_0(blocks: Array) -> Array:
    return _column(blocks["d"]) * _float32(blocks["q"])


def _q4_k(blocks: Array) -> Array:
    return _with_groups(blocks, _float32(_unpack(blocks["low"], 4, 32)))


def _q5_k(blocks: Array) -> Array:
    return _with_groups(blocks, _join(_unpack(blocks["low"], 4, 32), _unpack(blocks["high"], 1, 32)))


def _with_groups(blocks: Array, q: Float32) -> Array:
    """``(d s) q - (e t)``, with ``s`` and ``t`` of 8 groups in 12 bytes.

    The bytes are 4 of ``s``, 4 of ``t``, and 4 of both. The first four ``s`` are the low 6 bits of their bytes; the others have their low
    4 bits in the last bytes and their high 2 bits on top of the first ones. So have ``t``, in the high half of the last bytes.
    """
    first, second, last = (blocks["groups"][:, part] for part in (slice(4), slice(4, 8), slice(8, 12)))
    low, top = np.uint8(63), np.uint8(48)
    s = np.concatenate([first & low, (last & np.uint8(15)) | ((first >> np.uint8(2)) & top)], axis=1)
    t = np.concatenate([second & low, (last >> np.uint8(4)) | ((second >> np.uint8(2)) & top)], axis=1)
    scale, offset = _column(blocks["d"]) * _float32(s), _column(blocks["e"]) * _float32(t)
    result: Array = scale[:, :, None] * q.reshape(len(q), 8, 32) - offset[:, :, None]
    return result.reshape(len(q), 256)


def _q6_k(blocks: Array) -> Array:
    q = _join(_unpack(blocks["low"], 4, 64), _unpack(blocks["high"], 2, 32)) - np.float32(32)
    scale = _column(blocks["d"]) * _float32(blocks["groups"])
    return (scale[:, :, None] * q.reshape(len(q), 16, 16)).reshape(len(q), 256)


def _block(*fields: tuple[str, str] | tuple[str, str, int]) -> np.dtype[Any]:
    parts: Sequence[Any] = fields
    return np.dtype(list(parts))


FORMATS: dict[str, BlockFormat] = {
    "F32": BlockFormat(1, np.dtype("<f4"), _column),
    "F16": BlockFormat(1, np.dtype("<f2"), _column),
    "BF16": BlockFormat(1, np.dtype("<u2"), _bfloat16),  # NumPy has no bfloat16
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
