"""Mutations under a correct checksum: the values are changed, and the checksum is that of the changed ones.

Random damage is noticed by the checksum of a file; these mutants get beyond it, to the checks of what is in the file.
"""

import hashlib
import json
import random
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import Stream
from samebits.core.canonical import canonical_json
from samebits.lm import LanguageModel, TrainConfig, Trainer, TrainingError, checkpoint, load_model, safetensors
from samebits.lm.run import Run
from tools.fuzz.mutations import change_bytes, change_toml, change_value, to_json

__all__ = ["change_checkpoint", "change_receipt", "change_tokenizer", "change_tokens", "read_checkpoint"]

Array = npt.NDArray[Any]

_TOKENS = struct.Struct("<16sIIQQ32s32s24s")
_VALUES = (0, 1, -1, 2, 2**31, 2**63 - 1, 1e-45, 3e38, np.nan, np.inf, -np.inf)
_DTYPES = (np.float16, np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_, np.uint64)
_TEXTS = (*("", "-1", "0", "1", "3", "4", "1.0", "abc", " 2 ", "1_0", "٣"), "9" * 30, "9" * 5000, "0" * 64, "samebits.lm/2")


def change_checkpoint(generator: random.Random, data: bytes) -> bytes:
    """A safetensors file with another header, with other bytes, or with other contents and their digest."""
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    kind = generator.randrange(8)
    if kind == 0:
        header = change_bytes(generator, header)
    elif kind < 3:
        header = to_json(change_value(generator, json.loads(header))).encode("utf-8", "surrogatepass")
    elif kind == 3:
        body = change_bytes(generator, body)
    else:
        return _changed_contents(generator, json.loads(header), body)
    return len(header).to_bytes(8, "little") + header + body


def _changed_contents(generator: random.Random, header: dict[str, Any], body: bytes) -> bytes:
    """A file of valid form with other tensors or metadata, and a correct digest."""
    metadata: dict[str, str] = header.pop("__metadata__")
    tensors: dict[str, Array] = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        dtype = {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(body[start:stop], dtype).reshape(entry["shape"]).copy()
    for _ in range(generator.choice((1, 1, 2))):
        if generator.randrange(2):
            _change_metadata(generator, metadata)
        elif tensors:
            _change_tensor(generator, tensors)
    if generator.randrange(10):
        metadata.pop(checkpoint.DIGEST, None)
        metadata[checkpoint.DIGEST] = checkpoint.digest(tensors, metadata)
    return b"".join(safetensors.written(tensors, metadata))


def _change_metadata(generator: random.Random, metadata: dict[str, str]) -> None:
    name = generator.choice(sorted(metadata) or ["step"])
    kind = generator.randrange(6)
    if name == "config" and kind > 1:
        changed = change_toml(generator, metadata[name])
        metadata[name] = changed.encode("utf-8", "replace").decode()
    elif kind == 0:
        metadata.pop(name, None)
    elif kind == 1:
        metadata[generator.choice(("a", "", "\0", "__metadata__", "step "))] = metadata.pop(name, "")
    else:
        metadata[name] = generator.choice(_TEXTS)


def _change_tensor(generator: random.Random, tensors: dict[str, Array]) -> None:
    name = generator.choice(sorted(tensors))
    array = tensors[name]
    match generator.randrange(7):
        case 0:
            del tensors[name]
        case 1:
            tensors[generator.choice((f"{name}.", f"optimizer.{name}", "", "model.", "a\n", "optimizer", f"{name}\x1b[2J"))] = (
                array
            )
        case 2:
            with np.errstate(all="ignore"):
                tensors[name] = array.astype(generator.choice(_DTYPES))
        case 3:
            shapes = (array.shape[::-1], (1, *array.shape), (array.size,), (*array.shape, 1))
            tensors[name] = array.reshape(generator.choice(shapes))
        case 4:
            tensors[name] = array[:-1].copy() if array.ndim else np.zeros(0, array.dtype)
        case 5:
            tensors[name], other = tensors[other_name := generator.choice(sorted(tensors))], array
            tensors[other_name] = other
        case _:
            value = generator.choice(_VALUES)
            if array.size and (array.dtype.kind == "f" or (isinstance(value, int) and value == np.array(value, np.int64))):
                with np.errstate(all="ignore"):
                    array.reshape(-1)[generator.randrange(array.size)] = value


def read_checkpoint(path: Path, run: Run) -> None:
    """Read a checkpoint in every way; what is accepted is a model and a state that can be trained."""
    found = checkpoint.load(path)
    if found.digest != checkpoint.digest(found.tensors, found.metadata):
        raise AssertionError(f"the digest must be that of the contents, got {found.digest}")
    model, config = load_model(path)
    if TrainConfig.from_toml(config.to_toml()) != config or not all(np.isfinite(x.data).all() for _, x in model.named_tensors()):
        raise AssertionError(f"a model must have a configuration and finite weights, got {config}")
    resumed = Trainer(
        run.config,
        LanguageModel(run.config.model, stream=Stream(0)),
        run.trainer.batches,
        folder=path.parent,
        data=run.data.digest,
        tokenizer=run.data.tokenizer.digest,
    )
    state = resumed.optimizer.state_dict()
    if not all(np.isfinite(x.data).all() for _, x in resumed.model.named_tensors()) or any(
        np.isnan(x).any() for x in state.values()
    ):
        raise AssertionError(f"weights must be finite and the optimizer's state not NaN, got {state}")
    if not 0 <= resumed.step <= run.config.steps:
        raise AssertionError(f"step must be from 0 to {run.config.steps}, got {resumed.step}")
    with suppress(TrainingError):  # large numbers may diverge
        resumed.train()


def change_tokenizer(generator: random.Random, data: bytes) -> bytes:
    """A tokenizer file of another program, without a digest, or with damage that only its digest can show."""
    document = json.loads(data)
    del document["model"]["samebits_digest"]
    part = generator.choice(("model", "model", "added_tokens", "vocab", "merges"))
    if part in {"vocab", "merges"}:
        document["model"][part] = change_value(generator, document["model"][part])
    else:
        document[part] = change_value(generator, document[part])
    return to_json(document).encode("utf-8", "surrogatepass")


def change_receipt(generator: random.Random, data: bytes) -> bytes:
    """A receipt with another value in one of its fields, and correct digests where canonical JSON has such a value."""
    record = json.loads(data)
    digests = {name: one for name, one in record.pop("digests").items() if name not in {"source", "versions"}}
    name = generator.choice(sorted(digests))
    changed = to_json(change_value(generator, record[name]))
    with suppress(ValueError, RecursionError):
        record[name] = json.loads(changed)
        digests[name] = hashlib.sha256(canonical_json(record[name])).hexdigest()
        record["digest"] = hashlib.sha256(canonical_json(digests)).hexdigest()
        return canonical_json({**record, "digests": json.loads(data)["digests"] | digests})
    return changed.encode("utf-8", "surrogatepass")


def change_tokens(generator: random.Random, data: bytes) -> bytes:
    """A token file with other ids or other fields in its header, and correct checksums."""
    fields, ids = list(_TOKENS.unpack(data[: _TOKENS.size])), data[_TOKENS.size :]
    if generator.randrange(2):
        ids = change_bytes(generator, ids)
        if generator.randrange(4):
            fields[4] = len(ids) // fields[2]
        fields[5] = hashlib.sha256(ids).digest()
    else:
        place = generator.choice((1, 2, 3, 4, 4, 6))
        if place == 6:
            fields[6] = generator.randbytes(32)
        else:
            most = 2**32 - 1 if place < 3 else 2**64 - 1
            choices = (
                0,
                1,
                2,
                3,
                4,
                8,
                256,
                2**16,
                2**16 + 1,
                2**32 - 1,
                2**32,
                2**63,
                most,
                fields[place] + 1,
                fields[place] - 1,
            )
            fields[place] = min(most, generator.choice(choices))
    head = _TOKENS.pack(*fields[:-1], b"")[:-24]
    return head + hashlib.sha256(head).digest()[:24] + ids
