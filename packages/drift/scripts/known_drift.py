"""Generate `samebits/drift/known.json`: the drift map, docs/drift.md, in short, by function of NumPy.

python packages/drift/scripts/known_drift.py            write the file
python packages/drift/scripts/known_drift.py --check    exit with 1 if the file differs from the script's output
"""

import argparse
import json
import operator
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from samebits.drift.drift_map import MAP_AXES
from samebits.drift.operation import Operation
from samebits.drift.operations import all_operations

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "drift.md"
TARGET = Path(__file__).parents[1] / "src" / "samebits" / "drift" / "known.json"
CALLABLE = (np.ufunc, types.FunctionType, type(np.sum))


def drifting(page: str) -> dict[str, list[str]]:
    """By operation that drifts, the axes along which it does."""
    section = page.partition("## What drifts\n")[2].partition("\n## ")[0]
    axes = {title: axis for axis, title in MAP_AXES.items()}
    found = {}
    for name, changes in re.findall(r"^\| (.+?) \| ([^|]+) \| \d+ \| ", section, re.MULTILINE):
        titles = re.findall(r"([A-Za-z][A-Za-z ]*) \(\d+\)", changes)
        found[re.sub(r"\\(.)", r"\1", name)] = [axes[title] for title in titles] or ["place"]
    return found


def measured(page: str) -> str:
    """The NumPy versions and platforms of the map, in a few words."""
    rows = re.findall(r"^\| ([\w-]+), [^|]*\| [^|]* \| (\d+\.\d+)[\d.]* \|", page, re.MULTILINE)
    series = sorted({numpy for _, numpy in rows}, key=lambda text: [int(part) for part in text.split(".")])
    return f"NumPy {series[0]} to {series[-1]}, {', '.join(sorted({platform for platform, _ in rows}))}"


def function(one: Operation) -> str:
    """The function of NumPy that an operation calls; for an expression, the first function that its name has a word of."""
    if isinstance(one.call, str):
        return one.call.rpartition(".")[2]
    if one.name.startswith("rng."):
        return one.name[4:].split()[0]
    if one.call is operator.pow:
        return "power"
    return next((word for word in re.findall(r"\w+", one.name) if isinstance(getattr(np, word, None), CALLABLE)), "")


def table(page: str) -> dict[str, Any]:
    """The content of the file."""
    drifts, operations = drifting(page), all_operations()
    names = {one.name for one in operations}
    if unknown := sorted(set(drifts) - names):
        raise SystemExit(f"{PAGE.name} has operations that are no longer measured: {', '.join(unknown)}")
    if f" of {len(names)} NumPy operations drift" not in page:
        raise SystemExit(f"{PAGE.name} must be a map of the {len(names)} operations; measure it again")
    functions: dict[str, dict[str, list[str]]] = {}
    for one in operations:
        if one.name in drifts and (name := function(one)):
            functions.setdefault(name, {})[one.name] = drifts[one.name]
    return {"measured": measured(page), "functions": dict(sorted(functions.items()))}


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    text = json.dumps(table(PAGE.read_text(encoding="utf-8")), indent=1, ensure_ascii=False) + "\n"
    if options.check:
        same = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text
        print(f"{TARGET.name} is {'current' if same else 'stale: run this script without --check'}")
        return int(not same)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
