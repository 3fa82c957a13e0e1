"""Drift record: the digests of every operation in one Python × NumPy on this machine, under every variant.

`measure_cell` runs every operation under every variant, in a process each, and `write_record` saves one JSON file a cell:

    reports/drift/linux-x86_64-3.13-numpy-2.3.json

Cells are measured one by one, here or on other machines. `drift_map` reads their records together.
"""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samebits.core import describe_machine
from samebits.core.files import replace_text
from samebits.drift.drift_map import FORMAT
from samebits.drift.variants import (
    REPEAT,
    SETTINGS,
    ProcessResult,
    Variant,
    available,
    kernels,
    run_variants,
    this_platform,
)

__all__ = ["describe_surroundings", "measure_cell", "write_record"]


def measure_cell(
    variants: Sequence[Variant] | None = None, *, done: Callable[[ProcessResult], None] | None = None
) -> dict[str, Any]:
    """Measure every operation in this Python × NumPy under every variant of this machine.

    Args:
        variants: The base first; by default all that are available, the base a second time, and the counterparts' other
            kernels.
        done: Called with the result of every process.

    Returns:
        A record: where it was measured, the variants with what was in effect or why they failed, and for every operation its
        group, its counterpart, and by variant the digests of both.

    Raises:
        RuntimeError: The base could not be measured.

    Example:
        >>> from samebits.drift import BASE
        >>> record = measure_cell([BASE])
        >>> sorted(record)
        ['format', 'machine', 'numpy', 'operations', 'platform', 'python', 'surroundings', 'variants']
        >>> len(record["operations"]["exp float32"]["digests"]["base"])
        16
    """
    chosen = [*available(), REPEAT, *kernels()] if variants is None else variants
    results = run_variants(["-m", "samebits.drift.operations"], chosen, done=done)
    if results[0].error:
        raise RuntimeError(f"measure_cell: the process that measures the base {results[0].error}")
    ended = [one for one in results if not one.error]
    return {
        "format": FORMAT,
        "platform": this_platform(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": ".".join(describe_machine().numpy.split(".")[:2]),
        "surroundings": describe_surroundings(),
        "machine": results[0].value["machine"],
        "variants": [
            {
                "name": one.variant.name,
                "axis": one.variant.axis,
                "environment": dict(one.variant.environment),
                "in_effect": one.value["in_effect"] if one.value else "",
                "error": one.error,
            }
            for one in results
        ],
        "operations": {name: _joined(name, ended) for name in results[0].value["operations"]},
    }


def _joined(name: str, ended: Sequence[ProcessResult]) -> dict[str, Any]:
    found: Mapping[str, Any] = {one.variant.name: one.value["operations"][name] for one in ended}
    first = next(iter(found.values()))
    return {
        "group": first["group"],
        "counterpart": first["counterpart"],
        "digests": {variant: one["digest"] for variant, one in found.items() if one["digest"]},
        "counterpart_digests": {
            variant: one["counterpart_digest"] for variant, one in found.items() if one["counterpart_digest"]
        },
        "errors": sorted({text for one in found.values() for text in one["errors"]}),
    }


def describe_surroundings() -> dict[str, Any]:
    """What `describe_machine` leaves out: the processor, the C library, and the settings that change how NumPy computes.

    >>> sorted(describe_surroundings())
    ['c_library', 'cpus', 'processor', 'settings']
    """
    return {
        "processor": _processor(),
        "cpus": describe_machine().cpus,
        "c_library": " ".join(platform.libc_ver()).strip() or platform.system(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
    }


def _processor() -> str:
    """The name of the CPU, with the numbers that distinguish CPUs of the same name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    numbers = [fields[name] for name in ("cpu family", "model", "CPU implementer", "CPU part") if name in fields]
    return f"{fields.get('model name', platform.machine())} ({'/'.join(numbers)})" if numbers else platform.machine()


def write_record(record: Mapping[str, Any], folder: Path) -> Path:
    """Write a record to its file in ``folder``, replacing an older one atomically; returns the file.

    >>> import tempfile
    >>> record = {"platform": "linux-x86_64", "python": "3.13", "numpy": "2.5"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_record(record, Path(folder)).name
    'linux-x86_64-3.13-numpy-2.5.json'
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['platform']}-{record['python']}-numpy-{record['numpy']}.json"
    replace_text(path, json.dumps(record, indent=1) + "\n")
    return path
