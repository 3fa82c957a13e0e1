"""Writing GGUF files: what is written is read back, each type as itself, and what the format cannot represent is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lm.gguf_files import key, string, tensor, whole

from samebits.core import Stream
from samebits.core.block_formats import FORMATS
from samebits.lm.gguf import open_gguf
from samebits.lm.gguf_writer import write_gguf

pytestmark = pytest.mark.once

NUMBERS = {"i8": np.int8(-1), "u16": np.uint16(9), "u64": np.uint64(2**63), "f64": np.float64(0.1), "bool": np.bool_(True)}


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", {"a": "é", "n": 7}, {"x": np.array([[1, 2, 3]], np.float32), "y": np.ones(1, np.float16)})
    keys = [key("a", 8, string("é")), key("n", 4, b"\7\0\0\0")]
    tensors = [tensor("x", (3, 1), 0, 0), tensor("y", (1,), 1, 32)]
    data = np.array([1, 2, 3], "<f4").tobytes() + bytes(20) + b"\0\x3c" + bytes(30)
    assert (tmp_path / "x.gguf").read_bytes() == whole(keys, tensors, data)


def test_tensors_of_every_format_are_read_back(tmp_path: Path) -> None:
    tensors = {}
    for name, (_, block, _) in FORMATS.items():
        raw = Stream(0).split(name).integers(256, size=6 * block.itemsize).astype(np.uint8)
        tensors[name] = raw.view(block).reshape(2, 3)
    write_gguf(tmp_path / "x.gguf", {}, tensors)
    file = open_gguf(tmp_path / "x.gguf")
    assert {name: entry.type for name, entry in file.entries.items()} == {name: name for name in FORMATS}
    for name, blocks in tensors.items():
        assert file.blocks(name).tobytes() == blocks.tobytes() and file.entries[name].shape == (2, 3 * FORMATS[name].weights)


def test_metadata_are_read_back(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"text": "naïve 😀", "yes": True, "texts": ["a", "", "é"], "none": [], "f": 0.5}
    integers = {str(n): n for n in (0, 2**32 - 1, 2**32, 2**64 - 1, -1, -(2**31), -(2**31) - 1, -(2**63))}
    arrays = {"i": np.arange(3, dtype=np.int32), "flags": np.array([True, False]), "big": np.array([0.1], ">f8")}
    write_gguf(tmp_path / "x.gguf", {**plain, **integers, **NUMBERS, **arrays}, {})
    found = open_gguf(tmp_path / "x.gguf").metadata
    assert list(found) == [*plain, *integers, *NUMBERS, *arrays]
    for name, value in {**plain, **integers, **NUMBERS}.items():
        assert found[name] == value, name
    for name, array in arrays.items():
        assert found[name].tolist() == array.tolist() and found[name].dtype == array.dtype.newbyteorder("="), name


def test_arrays_may_have_any_memory_order_and_byte_order(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_gguf(tmp_path / "a.gguf", {}, {"x": x})
    for other in (np.asfortranarray(x), x.astype(">f4"), np.repeat(x, 2, axis=1)[:, ::2]):
        write_gguf(tmp_path / "b.gguf", {}, {"x": other})
        assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("value", [None, 1j, 2**64, -(2**63) - 1, ["a", 1], np.array(["a"]), np.zeros(2, np.float16), {"a": 1}])
def test_metadata_without_a_type_in_the_format_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match="write_gguf: x must be a str"):
        write_gguf(tmp_path / "x.gguf", {"x": value}, {})
    assert not list(tmp_path.iterdir())


def test_metadata_of_two_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x must have at most one axis, got shape \(2, 2\)"):
        write_gguf(tmp_path / "x.gguf", {"x": np.zeros((2, 2))}, {})


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,) * 5])
def test_shapes_that_the_format_does_not_have_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tensor 'x' must have one to four axes, none of them empty"):
        write_gguf(tmp_path / "x.gguf", {}, {"x": np.zeros(shape, np.float32)})


def test_dtypes_that_no_format_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"tensor 'x' must have the dtype of a format of F32, F16.*, got float64"):
        write_gguf(tmp_path / "x.gguf", {}, {"x": np.zeros(3)})
