"""Verdict: does a function of yours give the same bits under everything this machine can vary?

`investigate` runs it in a process for every variant (see `variants`) and compares the results bit by bit. The base runs twice:
what differs even then is not deterministic, and nothing more is tried. Other NumPys are put into a folder of their own for the processes to find first. Other machines are asked by running the
same there and joining the answers: a `Verdict` is written and read as JSON.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from samebits.drift import map as driftmap
from samebits.drift.difference import Difference, compare
from samebits.drift.record import AGAIN, describe_surroundings
from samebits.drift.variants import BASE, Run, Variant, available, run, this_platform

__all__ = ["FORMAT", "Tried", "Verdict", "investigate", "join", "numpy_variant"]

FORMAT = "samebits.verdict/1"
AXES = driftmap.AXES | {"place": "place"}


@dataclass(frozen=True)
class Tried:
    """One run: under what, what came out, and how far it is from the base."""

    name: str
    axis: str
    in_effect: str = ""
    digests: Mapping[str, str] | None = None
    differences: Sequence[Difference] = ()
    error: str = ""
    place: str = ""
    """Where, if the runs of several places were joined."""


@dataclass(frozen=True)
class Verdict:
    """All runs of one function, the base first."""

    function: str
    where: Mapping[str, Any]
    runs: Sequence[Tried]

    def results(self, axis: str) -> int:
        """The number of different results along an axis, the base included; 0 where nothing was tried."""
        return len(self.groups(axis))

    def groups(self, axis: str) -> list[list[Tried]]:
        """The base and the runs along an axis, those with the same bits together and failed ones left out.

        Of several places, those of the place with the most different results.
        """
        places = dict.fromkeys(one.place for one in self.runs if one.axis == axis and one.digests)
        found: list[list[list[Tried]]] = [[]]
        for place in places:
            together: dict[Any, list[Tried]] = {}
            for one in self.runs:
                if one.place == place and one.axis in ("base", axis) and one.digests:
                    together.setdefault(_key(one), []).append(one)
            found.append(list(together.values()))
        return max(found, key=len)

    @property
    def deterministic(self) -> bool:
        return self.results(AGAIN.axis) < 2

    @property
    def drifts(self) -> list[str]:
        """The axes along which it drifts; none of them means anything if it is not deterministic."""
        return [axis for axis in AXES if self.results(axis) > 1]

    @property
    def failed(self) -> list[Tried]:
        return [one for one in self.runs if one.error]

    @property
    def status(self) -> int:
        """0 the same bits in all runs, 1 other bits in some, 2 the same in those that ended but some did not."""
        return 1 if self.drifts else 2 if self.failed else 0

    def sentence(self) -> str:
        """The verdict."""
        ended = [one for one in self.runs if one.digests and (one.axis != "base" or one.place == self.runs[0].place)]
        if not self.deterministic:
            return f"{self.function} is not deterministic: two runs in the same environment gave different bits"
        if self.drifts:
            different = len({_key(one) for one in ended})
            axes = [AXES[axis] for axis in self.drifts]
            named = ", ".join(axes[:-1]) + " and the " * (len(axes) > 1) + axes[-1]
            return f"{self.function} drifts with the {named}: {different} different results in {len(ended)} runs"
        if self.failed:
            return f"{self.function} gave the same bits in {len(ended)} runs, but {len(self.failed)} could not be compared"
        return f"{self.function} gives the same bits in all {len(ended)} runs"

    def as_json(self) -> dict[str, Any]:
        """The verdict for a machine; `join` reads it."""
        drifts = {axis: self.results(axis) for axis in AXES if self.results(axis)}
        return {"format": FORMAT, "verdict": self.sentence(), "status": self.status, "results": drifts, **asdict(self)}


def investigate(
    function: str,
    *,
    numpys: Sequence[str] = (),
    variants: Sequence[Variant] | None = None,
    timeout: float = 600.0,
    done: Callable[[Run], None] | None = None,
) -> Verdict:
    """Run ``module:function`` under every variant of this machine, and on other NumPys, and compare what it returns.

    Args:
        function: A function without arguments. It is imported in processes that look in the current folder first.
        numpys: Series or versions, such as ``2.3`` or ``2.3.5``, to install into a temporary folder and try as well.
        variants: The base first; all that are available, and the base a second time, if None.
        timeout: After how many seconds a process is stopped.
        done: Called with every run when it ends.

    Returns:
        The verdict; its runs are the base's two alone if these differ.

    Raises:
        ValueError: the name is not spelled ``module:function``, a version is none, or the function fails in the base:
            it cannot be imported, raises an error, or returns what cannot be compared.
        RuntimeError: a NumPy cannot be installed.
    """
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", function):
        raise ValueError(f"function must be spelled module:function, such as mypackage.module:function, not {function!r}")
    for version in numpys:
        _pin(version)
    first, rest = ([BASE, AGAIN], available()[1:]) if variants is None else (variants[:1], variants[1:])
    tried: list[Tried] = []
    with tempfile.TemporaryDirectory(prefix="samebits-") as name:
        temporary = Path(name)

        def command(variant: Variant) -> list[str]:
            (temporary / variant.name).mkdir()
            return ["-m", "samebits.drift.probe", function, str(temporary / variant.name)]

        def ended(one: Run) -> None:
            tried.append(_tried(one, temporary / first[0].name, temporary / one.variant.name))
            if len(tried) > 1:
                shutil.rmtree(temporary / one.variant.name, ignore_errors=True)
            if done:
                done(one)

        base = run(command, first, timeout=timeout, done=ended)[0]
        if tried[0].error:
            raise ValueError(tried[0].error if base.value else f"the process that called {function} {base.error}")
        if len({_key(one) for one in tried}) == 1:
            installed = [numpy_variant(version, temporary / f"site-{version}") for version in numpys]
            run(command, [*rest, *installed], timeout=timeout, done=ended)
    where = {"platform": this_platform(), "surroundings": describe_surroundings(), "machine": base.value["machine"]}
    return Verdict(function, where, tried)


def numpy_variant(version: str, folder: Path) -> Variant:
    """Install a NumPy into ``folder`` with uv, or pip where there is no uv, and return the variant that finds it first."""
    pinned = _pin(version)
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    command += ["--quiet", "--only-binary", ":all:", "--no-deps", "--target", str(folder), pinned]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        reason = " ".join(ended.stderr.split())[:300]
        python = ".".join(map(str, sys.version_info[:2]))
        raise RuntimeError(
            f"NumPy {version} could not be installed for Python {python}: {reason}\n"
            "Run the command with --json in an environment that has it, and join the answers: samebits drift --join A.json B.json"
        )
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return Variant(f"numpy-{version}", "version", {"PYTHONPATH": os.pathsep.join(path)})


def _pin(version: str) -> str:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise ValueError(f"numpy must be a version or series such as 2.3.5 or 2.3, not {version!r}")
    return f"numpy=={version}" + ".*" * (version.count(".") == 1)


def _key(one: Tried) -> tuple[tuple[str, str], ...]:
    """What is the same for two runs with the same bits."""
    return tuple(sorted((one.digests or {}).items()))


def _tried(one: Run, base: Path, folder: Path) -> Tried:
    error = one.error or one.value.get("problem", "")
    if error:
        return Tried(one.variant.name, one.variant.axis, error=error)
    arrays = one.value["arrays"]
    numpy = f"NumPy {one.value['machine']['numpy']}, " if one.variant.axis == "version" else ""
    differences = [] if base == folder else _differences(base, folder, [array["name"] for array in arrays])
    digests = {array["name"]: array["digest"] for array in arrays}
    return Tried(one.variant.name, one.variant.axis, numpy + one.value["in_effect"], digests, differences)


def _differences(base: Path, folder: Path, names: Sequence[str]) -> list[Difference]:
    if len(list(base.iterdir())) != len(names):
        return [Difference("result", 0, 0, note=f"{len(names)} arrays instead of {len(list(base.iterdir()))}")]
    pairs = ((np.load(one / f"{index}.npy", allow_pickle=False) for one in (base, folder)) for index in range(len(names)))
    found = [compare(name, *pair) for name, pair in zip(names, pairs, strict=True)]
    return [one for one in found if one]


def join(answers: Sequence[Mapping[str, Any]]) -> Verdict:
    """One verdict from the JSON of several, measured in other environments or on other machines.

    All runs are kept, and every place's base stands beside the first's as well. The axis of that is what its place has other
    than the first: the machine, the C library, the NumPy or Python version, or ``place`` where that is more than one.

    Raises:
        ValueError: there are fewer than two answers, or they are about different functions.
    """
    functions = sorted({answer["function"] for answer in answers})
    if len(answers) < 2 or len(functions) != 1:
        raise ValueError(f"there must be two or more answers about one function, not {len(answers)} about {', '.join(functions)}")
    places = [_place(answer["where"]) for answer in answers]
    runs: list[Tried] = []
    for place, answer in zip(places, answers, strict=True):
        own = [
            Tried(**one | {"differences": [Difference(**each) for each in one["differences"]], "place": place})
            for one in answer["runs"]
        ]
        if runs:
            moved = _moved(answers[0]["where"], answer["where"])
            runs.append(replace(own[0], name=place, axis=moved, place=places[0]))
        runs += own
    return Verdict(functions[0], {"joined": [answer["where"] for answer in answers]}, runs)


def _place(where: Mapping[str, Any]) -> str:
    machine, around = where["machine"], where["surroundings"]
    return f"{machine['system']}, {around['processor']}, {around['c_library']}, {machine['python']}, NumPy {machine['numpy']}"


def _moved(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """The axis along which two places differ."""
    sides = [
        {
            "machine": [one["platform"], {**one["surroundings"], "c_library": ""}],
            "libc": one["surroundings"]["c_library"],
            "version": one["machine"]["numpy"],
            "python": one["machine"]["python"],
        }
        for one in (first, second)
    ]
    moved = [axis for axis in sides[0] if sides[0][axis] != sides[1][axis]]
    return moved[0] if len(moved) == 1 else "place" if moved else "again"
