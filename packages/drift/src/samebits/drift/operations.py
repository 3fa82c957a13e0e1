"""Operations of NumPy, measured in this process: a few hundred small calls, their digests and those of their counterparts.

    python -m samebits.drift.operations     every digest of this process, as one JSON object

The calls are in `elements` and `arrays`. Their inputs have the same bits everywhere (`inputs`), so a digest that differs between
two runs differs because of the operation. The sizes are small enough for a run to take a second, and large enough for
differences to show: odd lengths for the ends of vectors, more than one block of a pairwise sum, matrices beyond the smallest
kernels. `drift_map` compares the runs.
"""

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from samebits.core import describe_machine, digest
from samebits.drift import arrays, elements
from samebits.drift.operation import Operation
from samebits.drift.variants import in_effect

__all__ = ["all_operations", "fingerprint", "measure_operations"]


def all_operations() -> list[Operation]:
    """Every operation, group by group; no two have the same name.

    >>> all_operations()[0].name
    'add float32'
    """
    return [*elements.table(), *arrays.table()]


def measure_operations() -> dict[str, Any]:
    """Run every operation and its counterpart in this process.

    Returns:
        ``machine``: what this process computes with. ``in_effect``: the same in a few words. ``operations``, by name: group,
        name of the counterpart (empty without one), the digests of both (empty if the call failed), and errors.
    """
    machine = describe_machine()
    measured = {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operation in all_operations():
            found, error = _attempt(operation.run)
            has_counterpart = operation.has_counterpart()
            counterpart, wrong = _attempt(operation.run_counterpart) if has_counterpart else ("", "")
            measured[operation.name] = {
                "group": operation.group,
                "counterpart": operation.counterpart if has_counterpart else "",
                "digest": found,
                "counterpart_digest": counterpart,
                "errors": [text for text in (error, wrong and f"samebits: {wrong}") if text],
            }
    return {"machine": asdict(machine), "in_effect": in_effect(machine), "operations": measured}


def _attempt(run: Callable[[], Any]) -> tuple[str, str]:
    """The digest of what ``run`` returns and the error it raises; one of the two is empty."""
    try:
        return fingerprint(run()), ""
    except Exception as error:  # noqa: BLE001 - one operation that fails must not hide the others
        return "", f"{type(error).__name__}: {error}"


def fingerprint(result: Any) -> str:
    """Sixteen hexadecimal digits for an array, a scalar or a tuple of them, enough to tell a few dozen runs apart.

    >>> fingerprint(np.zeros(3)) == fingerprint(-np.zeros(3))
    False
    """
    if isinstance(result, tuple):
        return hashlib.sha256("".join(fingerprint(part) for part in result).encode()).hexdigest()[:16]
    return digest(np.asarray(result))[:16]


if __name__ == "__main__":
    json.dump(measure_operations(), sys.stdout)
