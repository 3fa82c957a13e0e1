"""Investigation: run a function in every environment this machine can imitate, and compare the results bit by bit.

`investigate` starts a process for every variant (`variants`, `probe`). The base runs twice: if these two differ, the function is
not deterministic, and nothing more is run. Another NumPy is installed into a temporary folder that its process searches first.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from samebits.core.records import visible
from samebits.drift.difference import Difference, compare
from samebits.drift.record import describe_surroundings
from samebits.drift.variants import BASE, REPEAT, ProcessResult, Variant, available, run_variants, this_platform
from samebits.drift.verdict import VariantResult, Verdict

__all__ = ["investigate", "numpy_series", "numpy_variant"]

# The first and the last Python 3 that a NumPy series has wheels for
_WHEELS = {"1.26": (9, 12), "2.0": (9, 12), "2.1": (10, 13), "2.2": (10, 13), "2.3": (11, 14), "2.4": (11, 14), "2.5": (12, 15)}
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
_ELSEWHERE = "run it with --json in an environment that has it, and join the two outputs with --join A.json B.json"


def investigate(
    function: str,
    *,
    numpys: Sequence[str] = (),
    variants: Sequence[Variant] | None = None,
    timeout: float = 600.0,
    done: Callable[[ProcessResult], None] | None = None,
) -> Verdict:
    """Run ``module:function`` under every variant of this machine and on other NumPys, and compare what it returns.

    Args:
        function: The name of a function without arguments. It is imported in processes that search the current folder first. It
            returns an array, a number, text or None, or a tuple, list, dict, dataclass or other object with attributes of these.
        numpys: Versions or series, such as ``2.3.5`` or ``2.3``, to install into a temporary folder and run it on as well.
        variants: The base first; by default all that are available, and the base a second time.
        timeout: Seconds after which a process is stopped.
        done: Called with the result of every process.

    Returns:
        The verdict. If the two runs of the base differ, it has these alone.

    Raises:
        ValueError: `function` is not spelled ``module:function``, a version is malformed, or the function fails in the base:
            it cannot be imported, raises an error, or returns something that cannot be compared.
        RuntimeError: A NumPy has no wheel for this Python, or cannot be installed.

    Example:
        >>> investigate("sys:getrecursionlimit", variants=[BASE, REPEAT]).sentence()
        'sys:getrecursionlimit gives the same bits in all 2 runs'
    """
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", function):
        raise ValueError(f"investigate: function must be spelled module:function, got {function!r}")
    for version in numpys:
        _pin(version)
    first, rest = ([BASE, REPEAT], available()[1:]) if variants is None else (variants[:1], variants[1:])
    runs: list[VariantResult] = []
    with tempfile.TemporaryDirectory(prefix="samebits-") as name:
        temporary = Path(name)

        def command(variant: Variant) -> list[str]:
            (temporary / variant.name).mkdir()
            return ["-m", "samebits.drift.probe", function, str(temporary / variant.name)]

        def ended(one: ProcessResult) -> None:
            base_names = list(runs[0].digests or ()) if runs else []
            runs.append(_compared(one, temporary / first[0].name, temporary / one.variant.name, base_names))
            if len(runs) > 1:
                shutil.rmtree(temporary / one.variant.name, ignore_errors=True)
            if done:
                done(one)

        base = run_variants(command, first, timeout=timeout, done=ended)[0]
        if runs[0].error:
            raise ValueError(runs[0].error if base.value else f"the process that called {function} {base.error}")
        if len({one.key for one in runs}) == 1:
            installed = [numpy_variant(version, temporary / f"site-{version}") for version in numpys]
            run_variants(command, [*rest, *installed], timeout=timeout, done=ended)
    where = {"platform": this_platform(), "surroundings": describe_surroundings(), "machine": base.value["machine"]}
    return Verdict(function, where, runs, base.value["untried"], base.value["calls"])


def numpy_variant(version: str, folder: Path) -> Variant:
    """Install a NumPy into ``folder`` with uv, or with pip if there is no uv, and return the variant that imports it.

    Raises:
        ValueError: The version is malformed.
        RuntimeError: This Python has no wheel of it, or the installation fails.

    Example:
        >>> numpy_variant("latest", Path("folder"))
        Traceback (most recent call last):
        ...
        ValueError: numpy_variant: version must be a version or series such as 2.3.5 or 2.3, got 'latest'
    """
    pinned = _pin(version)
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    command += ["--quiet", "--only-binary", ":all:", "--no-deps", "--target", str(folder), pinned]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"NumPy {version} could not be installed for {_PYTHON}: {_reason(ended.stderr)}; {_ELSEWHERE}")
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return Variant(f"numpy-{version}", "version", {"PYTHONPATH": os.pathsep.join(path)})


def _pin(version: str) -> str:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise ValueError(f"numpy_variant: version must be a version or series such as 2.3.5 or 2.3, got {version!r}")
    first, last = _WHEELS.get(".".join(version.split(".")[:2]), (0, 99))
    if not first <= sys.version_info.minor <= last:
        raise RuntimeError(f"NumPy {version} has no wheel for {_PYTHON}, which has {', '.join(numpy_series())}; {_ELSEWHERE}")
    return f"numpy=={version}" + ".*" * (version.count(".") == 1)


def _reason(errors: str) -> str:
    """Why an installer failed, without its list of versions."""
    if "from versions: none" in errors:
        return "no package index was reachable, or it has no NumPy"
    if re.search("No matching distribution|No solution found", errors):
        return "there is no such version, or no wheel of it for this Python and platform"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return visible(lines[-1])[:200] if lines else "no message"


def numpy_series() -> list[str]:
    """The NumPy series that have wheels for this Python, as far as this version of samebits knows.

    >>> "0.9" in numpy_series()
    False
    """
    return [series for series, (first, last) in _WHEELS.items() if first <= sys.version_info.minor <= last]


def _compared(one: ProcessResult, base: Path, folder: Path, base_names: Sequence[str]) -> VariantResult:
    """The result of a process, its arrays compared with those of the base."""
    error = one.error or one.value.get("problem", "")
    if error:
        return VariantResult(one.variant.name, one.variant.axis, error=error)
    arrays = one.value["arrays"]
    numpy = f"NumPy {one.value['machine']['numpy']}, " if one.variant.axis == "version" else ""
    differences = [] if base == folder else _differences(base, folder, [array["name"] for array in arrays], base_names)
    digests = {array["name"]: array["digest"] for array in arrays}
    return VariantResult(one.variant.name, one.variant.axis, numpy + one.value["in_effect"], digests, differences)


def _differences(base: Path, folder: Path, names: Sequence[str], base_names: Sequence[str]) -> list[Difference]:
    if other := sorted(set(names) ^ set(base_names)):
        more = f" and {len(other) - 1} more" * (len(other) > 1)
        return [
            Difference("result", 0, 0, note=f"other parts: {other[0]}{more} {'missing' if other[0] in base_names else 'added'}")
        ]
    found = []
    for index, name in enumerate(names):
        files = base / f"{base_names.index(name)}.npy", folder / f"{index}.npy"
        found.append(compare(name, *(np.load(file, allow_pickle=False) for file in files)))
    return [one for one in found if one]
