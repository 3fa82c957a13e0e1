"""Operations: what a program does with NumPy, in a few hundred small calls, measured in this process.

    python -m samebits.drift.operations     every digest of this process, as one JSON object

The calls are in `elements` and `arrays`, their inputs are made from raw PCG64 words by exact steps
(`inputs`): a digest that differs from one run to the next differs because of the operation. The sizes are small, for a
run to take a second, and large enough for drift to show: odd lengths for the ends of vectors, more than one block of a
pairwise sum, matrices beyond the smallest kernels. Which runs differ is for `map` to say.
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
from samebits.drift import arrays as operations_arrays
from samebits.drift import elements as operations_elements
from samebits.drift.operation import Operation
from samebits.drift.variants import in_effect

__all__ = ["measure", "operations"]


def operations() -> list[Operation]:
    """Every operation, group by group; no two have the same name."""
    return [*operations_elements.table(), *operations_arrays.table()]


def measure() -> dict[str, Any]:
    """Run every operation and its twin in this process.

    Returns:
        ``machine``, what this process computes with; ``in_effect``, the same in a few words; ``operations``, by name:
        group, name of the twin (empty if there is none here), digest and twin's digest (empty if it failed), and errors.
    """
    machine = describe_machine()
    measured = {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operation in operations():
            found, error = attempt(operation.run)
            twin, wrong = attempt(operation.run_twin) if operation.has_twin() else ("", "")
            measured[operation.name] = {
                "group": operation.group,
                "twin": operation.twin if operation.has_twin() else "",
                "digest": found,
                "twin_digest": twin,
                "errors": [text for text in (error, wrong and f"twin: {wrong}") if text],
            }
    return {"machine": asdict(machine), "in_effect": in_effect(machine), "operations": measured}


def attempt(run: Callable[[], Any]) -> tuple[str, str]:
    """The digest of what ``run`` returns, and what it raised: one of the two is empty."""
    try:
        return fingerprint(run()), ""
    except Exception as error:  # noqa: BLE001 - one operation that fails must not hide the others
        return "", f"{type(error).__name__}: {error}"


def fingerprint(result: Any) -> str:
    """Sixteen digits for an array, a scalar or a tuple of them: for telling a few dozen runs apart, that is plenty."""
    if isinstance(result, tuple):
        return hashlib.sha256("".join(fingerprint(part) for part in result).encode()).hexdigest()[:16]
    return digest(np.asarray(result))[:16]


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
