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

from samebits.drift.difference import Difference, compare
from samebits.drift.record import describe_surroundings
from samebits.drift.variants import BASE, REPEAT, ProcessResult, Variant, available, run_variants, this_platform
from samebits.drift.verdict import VariantResult, Verdict

__all__ = ["investigate", "numpy_variant"]


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
            returns an array, a number, or a tuple, list or dict of these.
        numpys: Versions or series, such as ``2.3.5`` or ``2.3``, to install into a temporary folder and run it on as well.
        variants: The base first; by default all that are available, and the base a second time.
        timeout: Seconds after which a process is stopped.
        done: Called with the result of every process.

    Returns:
        The verdict. If the two runs of the base differ, it has these alone.

    Raises:
        ValueError: `function` is not spelled ``module:function``, a version is malformed, or the function fails in the base:
            it cannot be imported, raises an error, or returns something that cannot be compared.
        RuntimeError: A NumPy cannot be installed.

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
            runs.append(_compared(one, temporary / first[0].name, temporary / one.variant.name))
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
    return Verdict(function, where, runs)


def numpy_variant(version: str, folder: Path) -> Variant:
    """Install a NumPy into ``folder`` with uv, or with pip if there is no uv, and return the variant that imports it.

    Raises:
        ValueError: The version is malformed.
        RuntimeError: The installation fails.

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
        reason = " ".join(ended.stderr.split())[:300]
        python = ".".join(map(str, sys.version_info[:2]))
        raise RuntimeError(
            f"NumPy {version} could not be installed for Python {python}: {reason}\n"
            "Run the command with --json in an environment that has it, and join the two outputs with --join A.json B.json"
        )
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return Variant(f"numpy-{version}", "version", {"PYTHONPATH": os.pathsep.join(path)})


def _pin(version: str) -> str:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise ValueError(f"numpy_variant: version must be a version or series such as 2.3.5 or 2.3, got {version!r}")
    return f"numpy=={version}" + ".*" * (version.count(".") == 1)


def _compared(one: ProcessResult, base: Path, folder: Path) -> VariantResult:
    """The result of a process, its arrays compared with those of the base."""
    error = one.error or one.value.get("problem", "")
    if error:
        return VariantResult(one.variant.name, one.variant.axis, error=error)
    arrays = one.value["arrays"]
    numpy = f"NumPy {one.value['machine']['numpy']}, " if one.variant.axis == "version" else ""
    differences = [] if base == folder else _differences(base, folder, [array["name"] for array in arrays])
    digests = {array["name"]: array["digest"] for array in arrays}
    return VariantResult(one.variant.name, one.variant.axis, numpy + one.value["in_effect"], digests, differences)


def _differences(base: Path, folder: Path, names: Sequence[str]) -> list[Difference]:
    if len(list(base.iterdir())) != len(names):
        return [Difference("result", 0, 0, note=f"{len(names)} arrays instead of {len(list(base.iterdir()))}")]
    pairs = ((np.load(one / f"{index}.npy", allow_pickle=False) for one in (base, folder)) for index in range(len(names)))
    found = [compare(name, *pair) for name, pair in zip(names, pairs, strict=True)]
    return [one for one in found if one]
