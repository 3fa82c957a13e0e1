"""GGUF files made by hand, field by field, so that each field can be wrong."""

import struct
from typing import Any

__all__ = ["array", "key", "string", "tensor", "whole"]


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def array(kind: int, count: int, elements: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + elements


def tensor(name: str, sizes: tuple[int, ...], kind: int, offset: int) -> bytes:
    """The sizes are those of the file: columns first."""
    return string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def whole(
    keys: Any = (), tensors: Any = (), data: bytes = b"", *, magic: bytes = b"GGUF", version: int = 3, alignment: int = 32
) -> bytes:
    """A file of keys, tensors, padding and the bytes of the tensors."""
    header = magic + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data
