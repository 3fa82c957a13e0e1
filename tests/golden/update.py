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


def update(path: Path, digests: dict[str, str]) -> int:
    """Replace the digests in ``path``; print and count the cases that changed."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    changed = [name for name in {**old, **digests} if old.get(name) != digests.get(name)]
    for name in changed:
        what = "new" if name not in old else "removed" if name not in digests else "CHANGED"
        print(f"{what:8}{path.name}: {name}")
    if changed:
        replace_text(path, json.dumps(digests, indent=1) + "\n")
    return len(changed)


def digests(name: str) -> dict[str, str]:
    """The digests of a script of this folder."""
    found: dict[str, str] = runpy.run_path(str(FOLDER / f"{name}.py"))["digests"]()
    return found


def main() -> None:
    if sys.argv[1:]:  # names of scripts: only print their digests
        json.dump({name: digests(name) for name in sys.argv[1:]}, sys.stdout)
        return
    count = update(SELFTEST, {one.case: one.digest for one in run_selftest()})
    for script in sorted(FOLDER.glob("*.py")):
        if script.name != Path(__file__).name:
            count += update(script.with_suffix(".json"), digests(script.stem))
    print(f"{count} digests changed" if count else "nothing changed")
    if count:
        print("Say why in CHANGELOG.md: a changed digest is a breaking change.", file=sys.stderr)


if __name__ == "__main__":
    main()
