"""Checkpoints: a saved one is loaded unchanged, and other files are refused."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samebits.lm import checkpoint
from samebits.lm.checkpoint import CheckpointError, digest, load, read_header, save

pytestmark = pytest.mark.once

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__")
ARRAYS = hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


@settings(max_examples=40)
@given(tensors=st.dictionaries(NAMES, ARRAYS, max_size=4), metadata=st.dictionaries(NAMES, NAMES, max_size=3))
def test_a_saved_checkpoint_is_loaded_unchanged(tmp_path_factory: pytest.TempPathFactory, tensors: Any, metadata: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "a.safetensors"
    found = save(path, tensors, metadata)
    loaded = load(path)
    assert loaded.metadata == metadata and loaded.digest == found == digest(tensors, metadata)
    assert sorted(loaded.tensors) == sorted(tensors)
    for name, array in tensors.items():
        assert loaded.tensors[name].dtype == array.dtype and loaded.tensors[name].shape == array.shape
        assert loaded.tensors[name].tobytes() == array.tobytes()
        assert loaded.tensors[name].flags.writeable and loaded.tensors[name].flags.c_contiguous


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_refused_or_has_the_same_contents(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "b.safetensors"
    found = save(path, {"x": np.arange(6, dtype=np.float32), "flag": np.array([True])}, {"step": "1"})
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "insert", "remove"])):
        case "cut":
            raw = raw[:place]
        case "flip":
            raw[place] ^= data.draw(st.integers(1, 255))
        case "insert":
            raw[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        case "remove":
            del raw[place : place + 1]
    path.write_bytes(raw)
    with contextlib.suppress(CheckpointError):
        loaded = load(path)  # blanks in the header, or the name of the digest itself: the contents are what they were
        assert loaded.digest == found or checkpoint.DIGEST not in str(bytes(raw))


def test_the_digest_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save(path, {"x": np.zeros(2, np.float32)})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="damaged or edited"):
        load(path)


def test_the_same_contents_have_the_same_bytes(tmp_path: Path) -> None:
    a, b = np.arange(4, dtype=np.float32), np.ones((2, 3), np.int64)
    save(tmp_path / "1", {"a": a, "b": b}, {"m": "1", "n": "2"})
    save(tmp_path / "2", {"b": np.asfortranarray(b), "a": a.astype(">f4")}, {"n": "2", "m": "1"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_header_alone_can_be_read(tmp_path: Path) -> None:
    save(tmp_path / "x", {"a": np.zeros(3, np.int8), "b": np.zeros((2, 2), np.float32)}, {"step": "7"})
    entries, metadata = read_header(tmp_path / "x")
    assert entries == {"b": ("F32", (2, 2), 0, 16), "a": ("I8", (3,), 16, 19)}
    assert metadata["step"] == "7"


@pytest.mark.parametrize(
    ("tensors", "metadata", "error"),
    [
        ({"x": [1.0]}, {}, TypeError),
        ({"x": np.array(["a"])}, {}, TypeError),
        ({"x": np.zeros(1, complex)}, {}, TypeError),
        ({1: np.zeros(1)}, {}, TypeError),
        ({"__metadata__": np.zeros(1)}, {}, ValueError),
        ({"\ud800": np.zeros(1)}, {}, ValueError),
        ({}, {"a": 1}, TypeError),
        ({}, {checkpoint.DIGEST: "a"}, ValueError),
        ({}, {"a": "x" * 2**22}, ValueError),
    ],
)
def test_contents_that_cannot_be_read_back_are_not_written(
    tmp_path: Path, tensors: Any, metadata: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        save(tmp_path / "x", tensors, metadata)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    save(path, {"x": np.zeros(2)})
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(path, {"x": np.ones(2)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_process_killed_while_saving_leaves_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    program = (
        "import numpy as np, itertools\nfrom samebits.lm.checkpoint import save\n"
        f"for i in itertools.count(): save({str(path)!r}, {{'x': np.full(200_000, i)}}); print(i, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        last = [int(process.stdout.readline()) for _ in range(5)][-1]
        process.send_signal(signal.SIGKILL)
    x = load(path).tensors["x"]
    assert x[0] >= last and (x == x[0]).all()
