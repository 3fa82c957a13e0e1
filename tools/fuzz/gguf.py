"""A GGUF file with values and tensors of every type, and mutations of the numbers in it.

The file has no checksum, so most changes get to the checks of its header: lengths, counts, types, sizes and offsets.
"""

import random
import struct

from samebits.core.block_formats import FORMATS

__all__ = ["change_gguf", "gguf_file"]

_TYPES = dict(zip(FORMATS, (0, 1, 30, 2, 3, 6, 7, 8, 12, 13, 14), strict=True))
_VALUES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""The sizes of the numbers of each type."""
_NUMBERS = (*range(16), 31, 32, 33, *[2**bits + more for bits in (16, 31, 32, 60, 63, 64) for more in (-1, 0)])


def gguf_file() -> bytes:
    """A valid file."""
    keys = [_text("general.alignment") + struct.pack("<II", 4, 64), _text("text") + struct.pack("<I", 8) + _text("naïve")]
    keys += [_text(f"a.{kind}") + struct.pack("<I", kind) + bytes(size) for kind, size in _VALUES.items()]
    keys += [_text(f"b.{kind}") + struct.pack("<IIQ", 9, kind, 3) + bytes(3 * size) for kind, size in _VALUES.items()]
    keys.append(_text("texts") + struct.pack("<IIQ", 9, 8, 3) + _text("a") + _text("") + _text("bc"))
    tensors, data = b"", b""
    for name, (weights, block, _) in FORMATS.items():
        data += bytes(-len(data) % 64)
        tensors += _text(name) + struct.pack("<IQQIQ", 2, weights, 2, _TYPES[name], len(data))
        data += bytes(range(2 * block.itemsize % 256)) + bytes(2 * block.itemsize // 256 * 256)
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(FORMATS), len(keys)) + b"".join(keys) + tensors
    return header + bytes(-len(header) % 64) + data


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def change_gguf(generator: random.Random, data: bytes, *, last: bytes = b"Q6_K") -> bytes:
    """One to three numbers of 4 or 8 bytes, nearly always in the header, become others or their neighbors; ``last`` is its last tensor."""
    changed = bytearray(data)
    header = data.rindex(last) + len(last) + 36
    for _ in range(generator.choice((1, 1, 2, 3))):
        form = generator.choice(("<I", "<Q"))
        place = generator.randrange((header if generator.randrange(8) else len(data)) - 8)
        (old,) = struct.unpack_from(form, changed, place)
        new = generator.choice((*_NUMBERS, old + 1, old - 1, 2 * old, old ^ 1 << generator.randrange(32)))
        struct.pack_into(form, changed, place, new % 2 ** (32 if form == "<I" else 64))
    return bytes(changed)
