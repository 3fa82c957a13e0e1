"""Coverage: how much of each technology the tests of its package run through, kept in a JSON file.

The session ``coverage`` runs each package's own tests and nothing else, so that no technology counts as tested because a later one
happens to use it. A figure belongs to the code and the test files it was measured with, which its digest identifies.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tools.files import Limits, read_json, replace_text

__all__ = ["Coverage", "join", "percent", "read", "write"]

Count = Annotated[int, Limits(least=0)]


@dataclass(frozen=True)
class Coverage:
    """Covered and total lines and branches of a technology, and the digest of what they were measured with."""

    digest: str
    lines: tuple[Count, Count]
    branches: tuple[Count, Count]

    @property
    def both(self) -> tuple[int, int]:
        """Covered and total, of lines and branches together."""
        return self.lines[0] + self.branches[0], self.lines[1] + self.branches[1]


def percent(counted: tuple[int, int]) -> int:
    """Covered of all in percent, rounded down; 100 of nothing."""
    covered, total = counted
    return covered * 100 // total if total else 100


def read(path: Path) -> dict[str, Coverage]:
    """What was measured last, by technology; empty if nothing was.

    Raises:
        RecordError: The file is not one that `write` has written.
    """
    if not path.exists():
        return {}
    return read_json(path, dict[str, Coverage])


def join(reports: Iterable[Path], digests: Mapping[str, str], namespace: str) -> dict[str, Coverage]:
    """The JSON reports of coverage.py, one a package, as one figure a technology; ``digests`` names the technologies."""
    counts = {name: [0, 0, 0, 0] for name in digests}
    for report in reports:
        for file, found in json.loads(report.read_text(encoding="utf-8"))["files"].items():
            parts = Path(file).with_suffix("").parts
            name = ".".join(parts[parts.index(namespace) + 1 :][:2])
            summary = found["summary"]
            if name in counts:
                kinds = ("covered_lines", "num_statements", "covered_branches", "num_branches")
                counts[name] = [count + summary[kind] for count, kind in zip(counts[name], kinds, strict=True)]
    return {name: Coverage(digests[name], (a, b), (c, d)) for name, (a, b, c, d) in counts.items()}


def write(measured: Mapping[str, Coverage], path: Path) -> None:
    """Write what was measured, one line a technology."""
    lines = [f"  {json.dumps(name)}: {json.dumps(asdict(one))}" for name, one in sorted(measured.items())]
    replace_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
