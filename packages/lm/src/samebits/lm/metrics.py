"""Metrics of a run: one line of JSON per step, which survives that the process is killed.

    {"step": 1, "loss": 4.39, "learning_rate": 7.5e-05, "gradient_norm": 1.9, "tokens": 1024, "seconds": 0.17}

A line is written at once. After a crash, lines newer than the checkpoint are removed, since those steps are repeated.
"""

import json
import os
from pathlib import Path

from samebits.core.files import require_file
from samebits.core.records import RecordError, parse_json

__all__ = ["METRICS", "Metrics", "append_metrics", "cut_metrics", "read_metrics"]

METRICS = "metrics.jsonl"
"""The name of the file in a run's folder."""

Metrics = dict[str, float]
"""The measurements of one step; see `samebits.lm.Trainer`."""


def append_metrics(path: Path, record: Metrics) -> None:
    """Append a step to a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     append_metrics(Path(folder, METRICS), {"step": 1, "loss": 4.5})
        ...     read_metrics(folder)
        [{'step': 1, 'loss': 4.5}]
    """
    with path.open("ab", buffering=0) as file:  # one line, one write
        file.write(json.dumps(record).encode() + b"\n")


def cut_metrics(path: Path, step: int) -> None:
    """Remove the lines after ``step``, all if it is 0, and everything from the first damaged line on."""
    if not os.path.lexists(path):
        return
    require_file(path)
    raw, end, last = path.read_bytes(), 0, -1.0
    for line in _whole_lines(raw):
        try:
            found = _parse(line)["step"]
        except RecordError:
            break
        if not (step and last < found <= step):
            break
        end, last = end + len(line) + 1, found
    if end < len(raw):
        os.truncate(path, end)


def read_metrics(folder: str | os.PathLike[str]) -> list[Metrics]:
    """The metrics of all steps of a run so far, in order; a last line that is not complete is skipped.

    Raises:
        RecordError: Another line is not the metrics of a step, or not of a later one than the line before; the message names the
            file, the line and the field.
        OSError: It is a folder, a pipe, or a link to a file that does not exist.
    """
    path = Path(folder) / METRICS
    if not os.path.lexists(path):
        return []
    require_file(path)
    records: list[Metrics] = []
    for number, line in enumerate(_whole_lines(path.read_bytes()), 1):
        record = _parse(line, f"{path}, line {number}")
        if records and record["step"] <= records[-1]["step"]:
            raise RecordError(
                f"{path}, line {number}: step must be above {records[-1]['step']}, that of the line before, got {record['step']}"
            )
        records.append(record)
    return records


def _whole_lines(raw: bytes) -> list[bytes]:
    """The lines without their ends, and without a last one that has none."""
    return raw.split(b"\n")[:-1]


def _parse(line: bytes, source: str = "") -> Metrics:
    found = parse_json(line, dict[str, int | float], source=source)
    step = found.get("step")
    if type(step) is not int:
        raise RecordError(f"{source}: step must be an integer, got {step!r}")
    if step < 0:
        raise RecordError(f"{source}: step must be at least 0, got {step}")
    return dict(found)
