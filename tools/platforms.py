"""Every lock on every platform: whether each of its packages has a wheel there, resolved with uv without installing anything.

    python -m tools.platforms TABLE

TABLE is a JSON object from the names of locks to the Pythons that they are installed on. It requires a network.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["PLATFORMS", "main", "problems"]

PLATFORMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux ARM": "aarch64-manylinux_2_28",
    "macOS ARM": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
"""The platforms of CI, and uv's names of them."""


def problems(table: Mapping[str, Sequence[str]], folder: Path) -> Iterator[str]:
    """What cannot be resolved, a line for each lock, platform and Python."""
    jobs = [(name, python, platform) for name, pythons in table.items() for python in pythons for platform in PLATFORMS]
    with tempfile.TemporaryDirectory() as target, ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, python, platform), complaint in zip(
            jobs, pool.map(lambda job: _resolve(folder, target, *job), jobs), strict=True
        ):
            if complaint:
                yield f"{folder / name}.txt on {platform}, Python {python}: {complaint}"


def _resolve(folder: Path, target: str, name: str, python: str, platform: str) -> str:
    """Why a lock cannot be installed; empty if it can."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    command += [
        "--python-platform",
        PLATFORMS[platform],
        "--python-version",
        python,
        "--target",
        target,
        "-r",
        f"{folder / name}.txt",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return " ".join(done.stderr.split())[:600] or f"exit status {done.returncode}" if done.returncode else ""


def main(arguments: Sequence[str], folder: Path = Path("requirements")) -> int:
    """Print what cannot be resolved; returns the exit status."""
    table: dict[str, list[str]] = json.loads(arguments[0])
    found = list(problems(table, folder))
    print("\n".join(found) or f"every package of {len(table)} locks has a wheel on {', '.join(PLATFORMS)}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
