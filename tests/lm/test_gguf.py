"""GGUF files: every type of key and of tensor is read, and every field that can be wrong is refused with its position."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.gguf_files import array, key, string, tensor, whole

from samebits.core import Stream
from samebits.core.block_formats import FORMATS, dequantize
from samebits.lm.gguf import Entry, GGUFError, open_gguf

pytestmark = pytest.mark.once

NUMBERS = dict(zip(FORMATS, (0, 1, 30, 2, 3, 6, 7, 8, 12, 13, 14), strict=True))
VALUES: dict[str, tuple[int, str, Any]] = {
    "u8": (0, "B", 200),
    "i8": (1, "b", -100),
    "u16": (2, "H", 60_000),
    "i16": (3, "h", -30_000),
    "u32": (4, "I", 4_000_000_000),
    "i32": (5, "i", -2_000_000_000),
    "f32": (6, "f", float(np.float32(0.1))),
    "bool": (7, "?", True),
    "u64": (10, "Q", 2**64 - 1),
    "i64": (11, "q", -(2**63)),
    "f64": (12, "d", 0.1),
}


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "x.gguf"
    path.write_bytes(content)
    return path


def every_type() -> bytes:
    """A file with a key of every type, an array of every type, and a tensor of every type, of 2 rows."""
    keys = [key(name, number, struct.pack(f"<{code}", value)) for name, (number, code, value) in VALUES.items()]
    keys += [key("text", 8, string("naïve 😀")), key("nothing", 8, string(""))]
    for name, (number, code, value) in VALUES.items():
        keys.append(key(f"{name}s", 9, array(number, 3, struct.pack(f"<3{code}", value, 0, value))))
    keys += [key("texts", 9, array(8, 3, string("a") + string("") + string("é"))), key("none", 9, array(4, 0, b""))]
    tensors, data = [], b""
    for name, (weights, block, _) in FORMATS.items():
        data += bytes(-len(data) % 32)
        tensors.append(tensor(name, (3 * weights, 2), NUMBERS[name], len(data)))
        data += Stream(0).split(name).integers(256, size=6 * block.itemsize).astype(np.uint8).tobytes()
    return whole(keys, tensors, data)


EVERY = every_type()
SMALL = whole(
    [key("general.name", 8, string("small")), key("list", 9, array(8, 2, string("a") + string("b"))), key("x", 7, b"\1")],
    [tensor("a", (32, 2), 8, 0), tensor("b", (3,), 0, 96)],
    bytes(range(68)) + bytes(28) + np.arange(3, dtype="<f4").tobytes(),
)


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_of_every_type_are_read(tmp_path: Path, version: int) -> None:
    file = open_gguf(saved(tmp_path, EVERY[:4] + struct.pack("<I", version) + EVERY[8:]))
    assert file.version == version and file.path == tmp_path / "x.gguf"
    assert len(file.metadata) == 2 * len(VALUES) + 4
    for name, (_, code, value) in VALUES.items():
        assert file.metadata[name] == value and type(file.metadata[name]) is type(value)
        several = file.metadata[f"{name}s"]
        assert several.tolist() == [value, 0, value] and several.dtype == np.dtype(code if code != "?" else np.bool_)
    assert file.metadata["text"] == "naïve 😀" and file.metadata["nothing"] == ""
    assert file.metadata["texts"] == ["a", "", "é"] and file.metadata["none"].tolist() == []


def test_tensors_of_every_type_are_read(tmp_path: Path) -> None:
    file = open_gguf(saved(tmp_path, EVERY))
    assert list(file.entries) == list(FORMATS)
    for name, (weights, block, _) in FORMATS.items():
        raw = Stream(0).split(name).integers(256, size=6 * block.itemsize).astype(np.uint8)
        entry, blocks, found = file.entries[name], file.blocks(name), file.tensor(name)
        assert entry.shape == (2, 3 * weights) and EVERY[entry.start : entry.stop] == raw.tobytes()
        assert blocks.shape == (2, 3) and blocks.dtype == block and blocks.tobytes() == raw.tobytes()
        assert found.shape == (2, 3 * weights) and found.dtype == np.float32
        assert found.tobytes() == dequantize(raw.view(block), name).tobytes()
        assert found[1].tobytes() == dequantize(blocks[[1]], name).tobytes()  # one row alone


def test_tensors_are_mapped_and_not_copied(tmp_path: Path) -> None:
    content = whole([], [tensor("a", (2**22,), 0, 0), tensor("b", (2**22,), 8, 2**24)])
    path = saved(tmp_path, content)
    with path.open("r+b") as file:
        file.truncate(len(content) + 2**24 + 2**22 // 32 * 34)  # sparse
    tracemalloc.start()
    try:
        found = open_gguf(path)
        a, b = found.tensor("a"), found.blocks("b")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert not a.flags.writeable and not b.flags.writeable and a.shape == (2**22,) and b.shape == (2**17,)


def test_a_tensor_keeps_the_file_open(tmp_path: Path) -> None:
    a = open_gguf(saved(tmp_path, SMALL)).tensor("b")
    assert a.tolist() == [0.0, 1.0, 2.0]


def test_a_file_without_tensors_and_tensors_without_axes_are_read(tmp_path: Path) -> None:
    assert open_gguf(saved(tmp_path, whole()[:24])).entries == {}  # without padding
    file = open_gguf(saved(tmp_path, whole([], [tensor("x", (), 1, 0)], b"\0\x3c")))
    assert file.entries == {"x": Entry("F16", (), 64, 66)} and file.tensor("x").shape == () and file.tensor("x") == 1
    assert file.blocks("x").shape == (1,)


def test_the_alignment_is_that_of_the_metadata(tmp_path: Path) -> None:
    keys = [key("general.alignment", 4, struct.pack("<I", 64))]
    tensors = [tensor("a", (1,), 0, 0), tensor("b", (1,), 0, 64)]
    file = open_gguf(saved(tmp_path, whole(keys, tensors, b"\0\0\x80\x3f" + bytes(60) + b"\0\0\0\x40", alignment=64)))
    assert file.tensor("a") == 1 and file.tensor("b") == 2 and file.entries["b"].start % 64 == 0


def test_an_unknown_tensor_is_named(tmp_path: Path) -> None:
    file = open_gguf(saved(tmp_path, SMALL))
    for read in (file.tensor, file.blocks):
        with pytest.raises(KeyError, match=r"x\.gguf: there is no tensor 'c'"):
            read("c")


A, B = tensor("a", (32,), 8, 0), tensor("b", (1,), 0, 64)
YEAR = key("year", 4, struct.pack("<I", 2026))
HUGE = 2**64 - 1
MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it begins with b'', not a GGUF file"),
    "another magic number": (whole(magic=b"GGML"), "it begins with b'GGML', not a GGUF file"),
    "no version": (b"GGUF", r"the header: truncated: the version should have 4 bytes, 0 are left \(at byte 4\)"),
    "version 0": (whole(version=0), r"version must be 2 or 3, got 0 \(at byte 4\)"),
    "version 1": (whole(version=1), r"version must be 2 or 3, got 1 \(at byte 4\)"),
    "version 4": (whole(version=4), r"version must be 2 or 3, got 4 \(at byte 4\)"),
    "big-endian": (whole(version=3 << 24), r"a big-endian file is not supported \(at byte 4\)"),
    "no counts": (whole()[:20], r"truncated: the number of keys should have 8 bytes, 4 are left \(at byte 16\)"),
    "many tensors": (
        b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0),
        rf"truncated: {HUGE} tensors of at least 24 bytes are announced, 8 bytes are left \(at byte 8\)",
    ),
    "many keys": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE),
        rf"truncated: {HUGE} keys of at least 13 bytes are announced, 0 bytes are left \(at byte 16\)",
    ),
    "many of both": (
        b"GGUF" + struct.pack("<IQQ", 3, 2, 2) + bytes(60),
        r"2 tensors and 2 keys are announced, 60 bytes are left",
    ),
    "a long key": (
        whole([struct.pack("<Q", 2**16) + b"x" * 2**16 + YEAR[12:]]),
        r"metadata: a key must have at most 65535 bytes, got 65536 \(at byte 24\)",
    ),
    "a key beyond the end": (
        whole([struct.pack("<Q", 60_000) + bytes(9)]),
        r"metadata: truncated: a key should have 60000 bytes, \d+ are left \(at byte 32\)",
    ),
    "a key that is not UTF-8": (whole([string(b"ab\xff") + YEAR[12:]]), r"metadata: a key is not UTF-8 \(at byte 34\)"),
    "a key twice": (whole([YEAR, YEAR]), rf"key 'year': it occurs twice \(at byte {24 + len(YEAR)}\)"),
    "a type of a value": (
        whole([key("year", 13, bytes(9))]),
        r"key 'year': its type must be from 0 to 12, got 13 \(at byte 36\)",
    ),
    "a value beyond the end": (
        whole([YEAR])[:42],
        r"key 'year': truncated: the value should have 4 bytes, 2 are left \(at byte 40\)",
    ),
    "a boolean": (whole([key("yes", 7, b"\2")]), r"key 'yes': a boolean must be 0 or 1, got 2 \(at byte 39\)"),
    "an array of booleans": (
        whole([key("yes", 9, array(7, 3, b"\0\1\xff"))]),
        r"key 'yes': a boolean must be 0 or 1, got 255 \(at byte 53\)",
    ),
    "a string beyond the end": (
        whole([key("text", 8, struct.pack("<Q", HUGE))]),
        rf"key 'text': truncated: the value should have {HUGE} bytes, \d+ are left \(at byte 48\)",
    ),
    "a string that is not UTF-8": (
        whole([key("text", 8, string(b"\xc3("))]),
        r"key 'text': the value is not UTF-8 \(at byte 48\)",
    ),
    "an array of arrays": (
        whole([key("list", 9, array(9, 1, array(4, 0, b"")))]),
        r"key 'list': the type of the elements must be from 0 to 12 and no array \(9\), got 9 \(at byte 40\)",
    ),
    "an array of an unknown type": (whole([key("list", 9, array(99, 0, b""))]), r"the type of the elements must be .*, got 99"),
    "an array beyond the end": (
        whole([key("list", 9, array(12, HUGE, b""))]),
        rf"key 'list': truncated: {HUGE} elements of at least 8 bytes are announced, \d+ bytes are left \(at byte 44\)",
    ),
    "an array of many strings": (
        whole([key("list", 9, array(8, 3, bytes(8)))]),
        r"key 'list': truncated: 3 elements of at least 8 bytes are announced, 12 bytes are left \(at byte 44\)",
    ),
    "an element beyond the end": (
        whole([key("list", 9, array(8, 2, string("a") + struct.pack("<Q", HUGE)))]),
        rf"key 'list': truncated: an element should have {HUGE} bytes, \d+ are left \(at byte 69\)",
    ),
    "no length of an element": (
        whole([key("list", 9, array(8, 2, string(b"123456") + bytes(4)))])[:70],
        r"key 'list': truncated: the length of an element should have 8 bytes, 4 are left \(at byte 66\)",
    ),
    "an element that is not UTF-8": (
        whole([key("list", 9, array(8, 2, string("a") + string(b"b\xff")))]),
        r"key 'list': an element is not UTF-8 \(at byte 70\)",
    ),
    "an alignment of 0": (
        whole([key("general.alignment", 4, bytes(4))]),
        "general.alignment must be a power of two of at least 8, got 0",
    ),
    "an alignment of 4": (whole([key("general.alignment", 4, b"\4\0\0\0")]), "must be a power of two of at least 8, got 4"),
    "an alignment of 48": (whole([key("general.alignment", 4, b"\x30\0\0\0")]), "must be a power of two of at least 8, got 48"),
    "an alignment that is true": (whole([key("general.alignment", 7, b"\1")]), "must be a power of two of at least 8, got True"),
    "an alignment that is text": (
        whole([key("general.alignment", 8, string("x" * 200))]),
        r"must be a power of two of at least 8, got 'x{79}\.\.\.",
    ),
    "a large alignment": (
        whole([key("general.alignment", 10, struct.pack("<Q", 2**63))], [A], bytes(34)),
        rf"truncated: tensor 'a' should end at byte {2**63 + 34}, the file has \d+",
    ),
    "a long name of a tensor": (
        whole([], [tensor("x" * 2**16, (1,), 0, 0)]),
        r"tensors: a name must have at most 65535 bytes, got 65536 \(at byte 24\)",
    ),
    "a tensor twice": (whole([], [A, A], bytes(98)), rf"tensor 'a': it occurs twice \(at byte {24 + len(A)}\)"),
    "many axes": (whole([], [tensor("a", (1,) * 5, 0, 0)]), r"tensor 'a': it must have at most 4 axes, got 5 \(at byte 33\)"),
    "an empty axis": (
        whole([], [tensor("a", (4, 0), 0, 0)]),
        r"tensor 'a': its sizes must be at least 1, got \[4, 0\] \(at byte 37\)",
    ),
    "a type without a reader": (
        whole([], [tensor("a", (256,), 10, 0)]),
        r"tensor 'a': its type must be one of F32, .*, Q6_K, got 10 \(Q2_K\) \(at byte 45\)",
    ),
    "an unknown type": (whole([], [tensor("a", (256,), 4, 0)]), r"its type must be one of .*, got 4 \(unknown\)"),
    "rows that are no blocks": (
        whole([], [tensor("a", (33, 32), 8, 0)]),
        r"tensor 'a': the rows of Q8_0 must be multiples of 32 long, got \[33\] \(at byte 37\)",
    ),
    "blocks without axes": (whole([], [tensor("a", (), 12, 0)]), r"the rows of Q4_K must be multiples of 256 long, got \[\]"),
    "a tensor that does not begin": (
        whole([], [tensor("a", (1,), 0, 32)], bytes(40)),
        r"tensor 'a': its offset does not follow the tensor before: it must be 0, got 32 \(at byte 49\)",
    ),
    "tensors that overlap": (
        whole([], [A, tensor("b", (1,), 0, 32)], bytes(99)),
        r"tensor 'b': its offset overlaps the tensor before: it must be 64, got 32",
    ),
    "an offset that is not aligned": (
        whole([], [A, tensor("b", (1,), 0, 34)], bytes(99)),
        r"tensor 'b': its offset does not follow the tensor before: it must be 64, got 34",
    ),
    "a gap": (whole([], [A, tensor("b", (1,), 0, 96)], bytes(199)), r"does not follow the tensor before: it must be 64, got 96"),
    "no bytes of a tensor": (whole([], [A]), r"truncated: tensor 'a' should end at byte 98, the file has 64"),
    "a tensor that ends early": (whole([], [A, B], bytes(67)), r"truncated: tensor 'b' should end at byte \d+, the file has \d+"),
    "a tensor larger than any file": (
        whole([], [tensor("a", (HUGE // 32 * 32,) * 4, 0, 0)]),
        r"truncated: tensor 'a' should end at byte \d{70,}, the file has \d+",
    ),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_file_is_refused_with_the_position(what: str, tmp_path: Path) -> None:
    content, says = MALFORMED[what]
    path = saved(tmp_path, content)
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError, match=says) as caught:
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04" + bytes(99), "a ZIP archive, such as PyTorch's .pt and .pth"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 98362432\n", "a Git LFS pointer"),
        (b'\x10\0\0\0\0\0\0\0{"x": 1}        ', "a safetensors file"),
    ],
)
def test_files_of_other_kinds_are_named(content: bytes, kind: str, tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match=rf"x\.gguf: this is {kind}.*, not a GGUF file"):
        open_gguf(saved(tmp_path, content))


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_gguf(tmp_path / "none.gguf")


@pytest.mark.parametrize("content", [SMALL, EVERY], ids=["small", "every type"])
def test_a_file_cut_anywhere_is_refused(content: bytes, tmp_path: Path) -> None:
    for length in range(0, len(content), 1 if content is SMALL else 17):
        with pytest.raises(GGUFError):
            open_gguf(saved(tmp_path, content[:length]))


def read_all(path: Path) -> None:
    """Read a file, which may be refused; what is accepted has sound contents."""
    refused = ""
    try:
        file = open_gguf(path)
    except GGUFError as error:
        refused = str(error)
    else:
        for name, entry in file.entries.items():
            assert file.tensor(name).shape == entry.shape
    assert not refused or str(path) in refused


@settings(max_examples=150)
@given(flips=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_a_file_with_flipped_bits_is_read_or_refused(
    flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(SMALL)
    for place, mask in flips:
        content[place] ^= mask
    read_all(saved(tmp_path_factory.getbasetemp(), bytes(content)))


@settings(max_examples=150)
@given(
    place=st.integers(0, len(EVERY) - 8),
    number=st.sampled_from([0, 1, 2, 9, 31, 2**16, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, HUGE]),
    width=st.sampled_from(["<I", "<Q"]),
    cut=st.integers(0, len(EVERY)) | st.just(len(EVERY)),
)
def test_any_number_at_any_place_is_read_or_refused(
    place: int, number: int, width: str, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(EVERY)
    struct.pack_into(width, content, place, number if width == "<Q" else number % 2**32)
    read_all(saved(tmp_path_factory.getbasetemp(), bytes(content[:cut])))
