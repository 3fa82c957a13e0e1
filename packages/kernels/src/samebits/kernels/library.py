"""Compiled libraries: find them, check them, choose the one for this CPU, load it.

A wheel has a library for each CPU level of its platform, and `libraries.json` with their digests and that of the C sources.
A library that is missing, damaged or of other sources is not loaded: the reason is kept for `describe`, NumPy computes the
same bits, and nothing is raised. SAMEBITS_KERNELS forces a level, or ``none``.
"""

import ctypes
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["LEVELS", "Library", "choose", "levels", "load", "sources_digest"]

HERE = Path(__file__).parent
_NONE = "there are no compiled libraries for this platform"
LEVELS = ("baseline", "avx2", "avx512")
"""The CPU levels, from the least: the baseline of the processor's architecture, and x86-64's v3 and v4."""


@dataclass(frozen=True)
class Library:
    """A loaded library, or why there is none.

    >>> Library(None, None, "libraries.json is missing").reason
    'libraries.json is missing'
    """

    level: str | None
    handle: Any
    """A `ctypes.CDLL`, or None."""
    reason: str
    """Why this level, or why no library."""


def sources_digest(folder: Path = HERE / "c") -> str:
    """The digest of the C sources that a library is compiled from.

    >>> len(sources_digest())
    64
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def levels(folder: Path = HERE / "_libraries") -> tuple[str, ...]:
    """The levels that this CPU can run, from the least; none without libraries.

    >>> set(levels()) <= set(LEVELS)
    True
    """
    found = load("baseline", folder)
    if found.handle is None:
        return ()
    ask = found.handle.cpu_level
    ask.restype = ctypes.c_int64
    return LEVELS[: ask() + 1]


@cache
def load(level: str, folder: Path = HERE / "_libraries") -> Library:
    """Load the library of one level.

    >>> load("baseline", Path("elsewhere")).reason
    'there are no compiled libraries for this platform'
    """
    try:
        return _checked(level, folder)
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        return Library(None, None, _NONE if missing == "libraries.json" else f"{error.filename} is missing")
    except OSError as error:
        return Library(None, None, f"a library cannot be loaded: {error}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Library(None, None, f"{folder / 'libraries.json'} is damaged: {error!r}")


def _checked(level: str, folder: Path) -> Library:
    contents = json.loads((folder / "libraries.json").read_bytes())
    entry = contents["libraries"][level]
    path = folder / entry["file"]
    if contents["sources"] != sources_digest():
        return Library(None, None, f"{path} is of another version")
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        return Library(None, None, f"{path} is damaged")
    return Library(level, ctypes.CDLL(str(path)), level)


def choose(environment: Mapping[str, str] = os.environ, folder: Path = HERE / "_libraries") -> Library:
    """Load the library of the level that SAMEBITS_KERNELS names, or of the highest that this CPU has.

    >>> choose({"SAMEBITS_KERNELS": "none"}).reason
    'SAMEBITS_KERNELS=none'
    """
    wanted = environment.get("SAMEBITS_KERNELS", "")
    if wanted == "none":
        return Library(None, None, "SAMEBITS_KERNELS=none")
    if wanted not in ("", *LEVELS):
        return Library(None, None, f"SAMEBITS_KERNELS must be none, {', '.join(LEVELS[:-1])} or {LEVELS[-1]}, got {wanted!r}")
    here = levels(folder)
    if not here:
        return load("baseline", folder)
    if wanted and wanted not in here:
        return Library(None, None, f"SAMEBITS_KERNELS={wanted}, but this CPU has only {', '.join(here)}")
    chosen = load(wanted or here[-1], folder)
    if chosen.handle is None:
        return chosen
    why = f"SAMEBITS_KERNELS={wanted}" if wanted else "the highest level of this CPU"
    return Library(chosen.level, chosen.handle, why)
