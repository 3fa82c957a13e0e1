"""Weights: those of a model in a checkpoint, or in any safetensors file with the names of our parameters.

checkpoint of a run    model.embedding.weight  ...  optimizer.embedding.weight.exp_avg  ...
other files            embedding.weight  ...
"""

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samebits.lm.checkpoint import CheckpointError, load, read_header

__all__ = ["Weights", "read_weights"]

_PREFIX = "model."


class Weights(NamedTuple):
    """The arrays of a model by name, and the metadata of their file, from `read_weights`."""

    state: dict[str, npt.NDArray[Any]]
    metadata: dict[str, str]


def read_weights(path: str | os.PathLike[str], *, digest_required: bool = False) -> Weights:
    """Read the weights of a model; float16 becomes float32, which can represent all its values.

    Args:
        path: The file.
        digest_required: Whether to refuse any file without a digest; a run's checkpoint always needs one.

    Raises:
        CheckpointError: The file is damaged, a weight is not finite, or it has no digest but needs one.
        OSError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> from samebits.lm import checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = checkpoint.save(f"{folder}/a.safetensors", {"norm.weight": np.ones(2, np.float16)})
        ...     read_weights(f"{folder}/a.safetensors").state
        {'norm.weight': array([1., 1.], dtype=float32)}
    """
    of_run = read_header(path)[1].get("format", "").startswith("samebits.")
    tensors, metadata, _ = load(path, digest_required=digest_required or of_run)
    own = {name.removeprefix(_PREFIX): x for name, x in tensors.items() if name.startswith(_PREFIX)}
    state = own or tensors
    for name, x in state.items():
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise CheckpointError(f"{path}: the weights must be finite, but {name} has NaN or infinities")
    return Weights({name: x.astype(np.float32) if x.dtype == np.float16 else x for name, x in state.items()}, metadata)
