r"""Kinds of files, recognized by their first bytes, so that an error can say what a file is instead of what is wrong in it.

    b"PK\x03\x04..."  ->  "a ZIP archive, such as PyTorch's .pt and .pth"

The readers of tokenizers, token files, checkpoints and configurations ask here when a file is not what they read.
"""

import codecs
import re

__all__ = [
    "GGUF",
    "JSON",
    "LFS_POINTER",
    "MERGES",
    "RANKS",
    "SAFETENSORS",
    "SAMPLE",
    "TOKENS",
    "TOML",
    "UTF_16",
    "file_kind",
    "is_utf_16",
]

SAMPLE = 4096
"""How many bytes of a file `file_kind` looks at."""

JSON, TOML, UTF_16 = "a JSON file", "a TOML file, such as a configuration", "UTF-16 text"
MERGES, RANKS, TOKENS = "a merges.txt", "a file of tiktoken's ranks", "a token file of samebits"
SAFETENSORS, GGUF = "a safetensors file, such as a checkpoint", "a GGUF file"

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a Git LFS pointer begins, which is a valid text."""

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive, such as PyTorch's .pt and .pth",
    b"PK\x05\x06": "an empty ZIP archive",
    b"GGUF": GGUF,
    LFS_POINTER: "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
    b"samebits tokens\n": TOKENS,
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG image",
    b"%PDF-": "a PDF document",
    b"\x80\x02": "a Python pickle, such as PyTorch's older .pt",
    b"\x80\x04": "a Python pickle",
    b"#version: 0.": MERGES,
}
_SAFETENSORS = re.compile(rb".{3}\0{5}\s*\{\s*[\"}]", re.DOTALL)
_FORMS = [
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\s*<(?i:!doctype html|html|head)\b", "an HTML page"),
        (rb"\n.\n.<unk>", "a SentencePiece model"),
        (rb"\s*[{\[]\s*(?:[\"{}\[\]0-9-]|$)", JSON),
        (rb"(?:\s*#[^\n]*\n)*\s*(?:\[[A-Za-z_.-]+\]|[A-Za-z_]\w* *= *[\[{\"'0-9a-z+-][^\n]*)\s*(?:\n|$)", TOML),
        (rb"[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n", RANKS),
        (rb"(?:[^\s{\[]\S* \S+\r?\n){3}", MERGES),
    )
]


def file_kind(start: bytes) -> str | None:
    r"""What a file is, or None if it is nothing that is known here.

    Args:
        start: The first `SAMPLE` bytes of the file.

    Example:
        >>> file_kind(b"GGUF\3\0\0\0"), file_kind(b"<!DOCTYPE html>\n<html>"), file_kind(b"Once upon a time")
        ('a GGUF file', 'an HTML page', None)
    """
    start = start[:SAMPLE]
    if _SAFETENSORS.match(start):  # first, as its length may be any bytes
        return SAFETENSORS
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    if is_utf_16(start):
        return UTF_16
    start = start.removeprefix(codecs.BOM_UTF8)
    return next((kind for form, kind in _FORMS if form.match(start)), None)


def is_utf_16(start: bytes) -> bool:
    """Whether text begins with UTF-16's byte order mark, or has a NUL byte in nearly every second place.

    Example:
        >>> [is_utf_16("to be".encode(encoding)) for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-8")]
        [True, True, True, False]
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    few, many = sorted((start[::2].count(0), start[1::2].count(0)))
    return many > 1 and 20 * few <= many and 4 * many >= 3 * (len(start) // 2)
