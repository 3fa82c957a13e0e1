"""The safetensors format: malformed files are refused with the position of the fault, before memory is allocated."""

import contextlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samebits.lm import safetensors
from samebits.lm.checkpoint import CheckpointError, load, read_header, save
from samebits.lm.safetensors import HEADER_LIMIT, SafetensorsError

pytestmark = pytest.mark.once


def written(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: str = "F32", shape: Any = (1,), span: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(span)}


@settings(max_examples=60)
@given(header=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["F32", "BOOL"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["__metadata__", "dtype", "shape", "data_offsets", "x"]), inner, max_size=3),
    max_leaves=12,
), data=st.binary(max_size=12))  # fmt: skip
def test_any_json_is_loaded_or_refused(tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "c.safetensors"
    with contextlib.suppress(CheckpointError):
        load(written(path, header, data))


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        (b"", b"", "must begin with {, got b''"),
        (b"[]", b"", "must begin with {, got b'\\['"),
        (b" {}", b"", "must begin with {, got b' '"),
        (b"{", b"", "malformed"),
        (b'{"x": NaN}', b"", "NaN is not an integer"),
        (b'{"x": 1e9}', b"", "1e9 is not an integer"),
        (b'{"x": 1, "x": 2}', b"", "'x' occurs twice"),
        (b'{"a": 1, "x": {"dtype": "F32", "dtype": "F32"}}', b"", "'dtype' occurs twice"),
        (b'{"\xff": 1}', b"", "not UTF-8 at byte 2"),
        (b'{"\\ud800": 1}', b"", "half a surrogate pair"),
        (b'{"x":' + b"[" * 100_000, b"", "nested too deeply"),
        (b'{"x":' + b'{"a":' * 100_000, b"", "nested too deeply"),
        (b'{"x": ' + b"9" * 5000 + b"}", b"", "larger than any file"),
        ({"__metadata__": {"a": 1}}, b"", "must be a JSON object of strings"),
        ({"__metadata__": []}, b"", "must be a JSON object of strings"),
        ({"x": 1}, b"", "'x': must be an object of dtype, shape and data_offsets, got 1"),
        ({"x": {**entry(), "more": 1}}, b"\0" * 4, "must be an object of dtype"),
        ({"x": entry("F8_E4M3")}, b"\0" * 4, "dtype must be one of .*, got 'F8_E4M3'"),
        ({"x": entry([])}, b"\0" * 4, "dtype must be one of .*, got \\[\\]"),
        ({"x": entry(shape=[-1])}, b"\0" * 4, "shape must be at most 32 integers of at least 0, got \\[-1\\]"),
        ({"x": entry(shape=[True])}, b"\0" * 4, "shape must be .*, got \\[True\\]"),
        ({"x": entry(shape=[1] * 33)}, b"\0" * 4, "at most 32"),
        ({"x": entry(shape=[0, 2**62], span=[0, 0])}, b"", "too large for an array"),
        (
            {"x": entry(shape=[2**40], span=[0, 2**42])},
            b"\0" * 4,
            "truncated: the tensors should have 4398046511104 bytes, 4 follow the header",
        ),
        ({"x": entry(span=[4, 0])}, b"\0" * 4, "data_offsets must be two ascending integers, got \\[4, 0\\]"),
        ({"x": entry(span=[0])}, b"\0" * 4, "data_offsets must be two ascending integers, got \\[0\\]"),
        ({"x": entry(shape=[2])}, b"\0" * 4, "takes 8 bytes, data_offsets \\[0, 4\\] have 4"),
        ({"x": entry(), "y": entry()}, b"\0" * 4, "'y' begins at byte 0 and overlaps tensor 'x', which ends at 4"),
        ({"x": entry(), "y": entry(span=[6, 10])}, b"\0" * 10, "leaves a gap of 2 bytes after tensor 'x'"),
        ({"x": entry(span=[4, 8])}, b"\0" * 8, "leaves a gap of 4 bytes after the header"),
        ({"x": entry()}, b"\0" * 3, "truncated: the tensors should have 4 bytes, 3 follow the header"),
        ({"x": entry()}, b"\0" * 5, "too long: the tensors should have 4 bytes, 5 follow the header"),
        ({"x": entry("BOOL", [1], [0, 1])}, b"\2", "a BOOL must be 0 or 1"),
    ],
)
def test_malformed_files_are_refused_with_the_position(tmp_path: Path, header: Any, data: bytes, says: str) -> None:
    path = written(tmp_path / "x.safetensors", header, data)
    with pytest.raises(CheckpointError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("length", [1, 2**22, 2**22 + 1, 2**40, 2**64 - 1])
def test_a_header_of_any_claimed_length_allocates_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(length.to_bytes(8, "little"))
        file.truncate(2**27)  # sparse
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_bfloat16_is_read_as_the_float32_of_the_same_value(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {"x": entry("BF16", [3], [0, 6])}, bytes.fromhex("803f 00c0 807f"))
    assert load(path).tensors["x"].tolist() == [1.0, -2.0, float("inf")]
    assert load(path).tensors["x"].dtype == np.float32


def test_a_large_valid_header_is_read_in_little_memory(tmp_path: Path) -> None:
    save(tmp_path / "x", {}, {"text": "x" * (HEADER_LIMIT - 200)})
    tracemalloc.start()
    try:
        assert len(read_header(tmp_path / "x")[1]["text"]) == HEADER_LIMIT - 200
        assert tracemalloc.get_traced_memory()[1] < 6 * HEADER_LIMIT
    finally:
        tracemalloc.stop()


def test_a_file_that_is_truncated_while_it_is_read_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "x", {"x": np.zeros(100_000)})
    with (tmp_path / "x").open("rb") as file:
        entries, _ = safetensors.read_header(file, "x")
        os.truncate(tmp_path / "x", 400_000)
        with pytest.raises(SafetensorsError, match=r"x: truncated while it was read: got \d+ of 800000 bytes"):
            safetensors.read_tensor(file, "x", entries["x"])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04" + bytes(99), "a ZIP archive, such as PyTorch's .pt and .pth"),
        (b"<!DOCTYPE html>\n<html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 548105171\n", "a Git LFS pointer"),
        (b"GGUF\3\0\0\0" + bytes(99), "a GGUF file"),
        (b'{"model": {"type": "BPE"}}', "a JSON file"),
        (b"# settings\nsteps = 3\n[model]\nlayers = 1\n", "a TOML file, such as a configuration"),
        (b"Once upon a time there was a king.\n", "text"),
    ],
)
def test_files_of_other_kinds_are_named(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=f"model.safetensors: this is {kind}.*, not a safetensors file"):
        load(tmp_path / "model.safetensors")


def test_a_header_whose_length_is_the_mark_of_another_format_is_read(tmp_path: Path) -> None:
    header = b'{"x":{"dtype":"I16","shape":[4000],"data_offsets":[0,8000]}}'
    for length in (0x280, 0x8B1F):  # those of pickle and gzip
        content = length.to_bytes(8, "little") + header + b" " * (length - len(header)) + np.arange(4000, dtype="<i2").tobytes()
        (tmp_path / "a.safetensors").write_bytes(content)
        assert load(tmp_path / "a.safetensors").tensors["x"][-1] == 3999
