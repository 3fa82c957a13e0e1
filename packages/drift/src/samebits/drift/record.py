"""Drift: how the results of one Python × NumPy change on this machine.

`measure_cell` runs every operation under every variant, a process each, and `write` leaves one JSON record a cell:

    reports/drift/linux-x86_64-3.13-numpy-2.3.json

Cells are measured one by one, here or on other machines, and joined by copying their records together: that is
`map`'s business, as is the question which operation drifts with what.
"""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samebits.core import describe_machine
from samebits.core.files import replace_text
from samebits.drift.map import FORMAT
from samebits.drift.variants import SETTINGS, Run, Variant, available, run, this_platform

__all__ = ["AGAIN", "describe_surroundings", "measure_cell", "write"]

AGAIN = Variant("base again", "again")
"""The base a second time: what differs here is not even deterministic."""


def measure_cell(variants: Sequence[Variant] | None = None, *, done: Callable[[Run], None] | None = None) -> dict[str, Any]:
    """Measure every operation in this Python × NumPy under every variant of this machine.

    Args:
        variants: The base first; all that are available, and the base a second time, if None.
        done: Called with every run when it ends.

    Returns:
        A record: where it was measured, the variants with what was in effect or what went wrong, and for every operation its
        group, its twin, and by variant the digests of both.

    Raises:
        RuntimeError: the base itself could not be measured.
    """
    runs = run(["-m", "samebits.drift.operations"], [*available(), AGAIN] if variants is None else variants, done=done)
    if runs[0].error:
        raise RuntimeError(f"the operations could not be measured in this environment: the process {runs[0].error}")
    ended = [one for one in runs if not one.error]
    return {
        "format": FORMAT,
        "platform": this_platform(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": ".".join(describe_machine().numpy.split(".")[:2]),
        "surroundings": describe_surroundings(),
        "machine": runs[0].value["machine"],
        "variants": [
            {
                "name": one.variant.name,
                "axis": one.variant.axis,
                "environment": dict(one.variant.environment),
                "in_effect": one.value["in_effect"] if one.value else "",
                "error": one.error,
            }
            for one in runs
        ],
        "operations": {name: _joined(name, ended) for name in runs[0].value["operations"]},
    }


def _joined(name: str, ended: Sequence[Run]) -> dict[str, Any]:
    found: Mapping[str, Any] = {one.variant.name: one.value["operations"][name] for one in ended}
    first = next(iter(found.values()))
    return {
        "group": first["group"],
        "twin": first["twin"],
        "digests": {variant: one["digest"] for variant, one in found.items() if one["digest"]},
        "twin_digests": {variant: one["twin_digest"] for variant, one in found.items() if one["twin_digest"]},
        "errors": sorted({text for one in found.values() for text in one["errors"]}),
    }


def describe_surroundings() -> dict[str, Any]:
    """What the machine is beside what `describe_machine` says: results of different surroundings are not one cell's."""
    return {
        "processor": _processor(),
        "cpus": describe_machine().cpus,
        "c_library": " ".join(platform.libc_ver()).strip() or platform.system(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
    }


def _processor() -> str:
    """The CPU's name, with the numbers that tell two CPUs of the same name apart."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    numbers = [fields[name] for name in ("cpu family", "model", "CPU implementer", "CPU part") if name in fields]
    return f"{fields.get('model name', platform.machine())} ({'/'.join(numbers)})" if numbers else platform.machine()


def write(record: Mapping[str, Any], folder: Path) -> Path:
    """Write a record to its file in ``folder``, replacing an older one in one step; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['platform']}-{record['python']}-numpy-{record['numpy']}.json"
    replace_text(path, json.dumps(record, indent=1) + "\n")
    return path
