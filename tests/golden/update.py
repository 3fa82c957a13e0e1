"""Rewrite the golden digests on purpose, and print which changed: the changelog must give a reason for each change.

Given names of scripts, only print their digests as JSON: so the tests run them again in other processes.
"""

import json
import runpy
import sys
from pathlib import Path

from samebits.core.files import replace_text
from samebits.core.selftest import run_selftest

FOLDER = Path(__file__).parent
SELFTEST = FOLDER.parents[1] / "packages/core/src/samebits/core/selftest.json"


def update(path: Path, digests: dict[str, str]) -> list[str]:
    """Replace the digests in ``path``; print each case that differs, and return ``new``, ``removed`` or ``CHANGED`` for each."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = []
    for name in [name for name in {**old, **digests} if old.get(name) != digests.get(name)]:
        found.append("new" if name not in old else "removed" if name not in digests else "CHANGED")
        print(f"{found[-1]:8}{path.name}: {name}")
    if found:
        replace_text(path, json.dumps(digests, indent=1) + "\n")
    return found


def digests(name: str) -> dict[str, str]:
    """The digests of a script of this folder."""
    found: dict[str, str] = runpy.run_path(str(FOLDER / f"{name}.py"))["digests"]()
    return found


def main() -> None:
    if sys.argv[1:]:  # names of scripts: only print their digests
        json.dump({name: digests(name) for name in sys.argv[1:]}, sys.stdout)
        return
    found = update(SELFTEST, {one.case: one.digest for one in run_selftest()})
    for script in sorted(FOLDER.glob("*.py")):
        if script.name != Path(__file__).name:
            found += update(script.with_suffix(".json"), digests(script.stem))
    print(", ".join(f"{found.count(kind)} {kind}" for kind in sorted(set(found))) or "nothing changed")
    if set(found) - {"new"}:
        print("Give the reason in CHANGELOG.md: a changed digest is a breaking change.", file=sys.stderr)


if __name__ == "__main__":
    main()
