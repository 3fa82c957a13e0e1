"""Variants: environments in which this machine computes as other machines would.

NumPy and its libraries select their code when they are loaded. Environment variables make them select what another CPU
would get, so that one machine shows the results of many:

    NPY_DISABLE_CPU_FEATURES   cpu      the SIMD level of NumPy's own kernels
    OPENBLAS_CORETYPE          blas     the kernel of OpenBLAS
    OPENBLAS_NUM_THREADS       threads  the number of parts into which OpenBLAS divides its work
    GLIBC_TUNABLES             libc     the variants of the C library's mathematical functions

`available` lists the variants of this machine, `run_variants` starts a process for each. What the processes compute is up
to the caller: the drift map measures NumPy with them, the golden tests check the digests of samebits. `kernels` lists how
samebits itself can compute here: by NumPy, or by compiled kernels of each CPU level.
"""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from samebits.core import Machine, describe_machine
from samebits.core.machine import cpu_features
from samebits.core.records import visible

try:
    from samebits.kernels import levels
except ImportError:  # the package is optional
    levels = tuple  # type: ignore[assignment]

__all__ = [
    "BASE",
    "REPEAT",
    "SETTINGS",
    "VARIANT_AXES",
    "ProcessResult",
    "Variant",
    "available",
    "in_effect",
    "kernels",
    "run_variants",
    "this_platform",
    "untried",
]

VARIANT_AXES = {"cpu": "CPU level", "blas": "BLAS kernel", "threads": "threads", "libc": "C library"}
"""What the environment can change, with the name for sentences."""

SETTINGS = ("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "GLIBC_TUNABLES")
"""The environment variables that change how NumPy computes, set by a variant or by the user."""

# A level of x86-64 (psABI), and the first letters of NumPy's names for the features beyond it.
_BEYOND = {
    "v4": ("AVX512_CLX", "AVX512_CNL", "AVX512_ICL", "AVX512_SPR", "AVX512_KN"),
    "v3": ("AVX512", "X86_V4"),
    "v2": ("AVX512", "X86_V4", "X86_V3", "AVX", "F16C", "FMA"),
}
# OpenBLAS's name of a kernel, and the CPU feature without which it crashes.
_KERNELS = {
    "x86_64": {
        "Prescott": "SSE3",
        "Nehalem": "SSE42",
        "Sandybridge": "AVX",
        "Haswell": "FMA3",
        "Zen": "FMA3",
        "SkylakeX": "AVX512_SKX",
    },
    "aarch64": {"ARMV8": "ASIMD", "CORTEXA57": "ASIMD", "NEOVERSEN1": "ASIMDDP", "NEOVERSEV1": "SVE"},
}
_KERNELS |= {"amd64": _KERNELS["x86_64"], "arm64": _KERNELS["aarch64"]}
# A forced kernel sizes its buffers by the size of the L2 cache. If that is unknown, the products of NumPy 2.5.5 overrun them:
# crashes, hangs and, rarely, wrong numbers.
_CACHE = {"OPENBLAS_L2_SIZE": os.environ.get("OPENBLAS_L2_SIZE", "512")}
_OBSOLETE = ("XOP", "FMA4", "AVX512_KN")  # for CPUs that are no longer made; NumPy has no loops for them
_CRASHED_ON_WINDOWS = 0xC0000000


@dataclass(frozen=True)
class Variant:
    """An environment to compute in.

    >>> Variant("threads-1", "threads", {"OPENBLAS_NUM_THREADS": "1"}).axis
    'threads'
    """

    name: str
    axis: str
    """What it changes: a key of `VARIANT_AXES`, or a name of the caller's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The environment variables to set in addition to the present ones."""


BASE = Variant("base", "base")
"""The environment as it is."""

REPEAT = Variant("base again", "again")
"""The base a second time: what differs here is not deterministic."""


@dataclass(frozen=True)
class ProcessResult:
    """What the process of one variant printed, or why it failed.

    >>> (result,) = run_variants(["-c", "print(6 * 7)"], [BASE])
    >>> result.value, result.error
    (42, '')
    """

    variant: Variant
    value: Any = None
    """The JSON value on its standard output; None if it failed."""
    error: str = ""
    """Why it failed; empty if it did not."""


def this_platform() -> str:
    """Operating system and processor type, such as ``linux-x86_64``; a 32-bit Python on a 64-bit processor is another platform.

    >>> this_platform() == this_platform().lower()
    True
    """
    return f"{platform.system()}-{platform.machine()}".lower() + "-32bit" * (sys.maxsize < 2**32)


def available(machine: Machine | None = None) -> list[Variant]:
    """The variants of this machine, `BASE` first.

    Args:
        machine: The machine to list them for; by default that of this process. Its NumPy and CPU must be those of the
            processes that run later.

    Returns:
        Variants with different names. ``cpu``: NumPy limited to the x86-64 levels v4, v3 and v2, as far as it uses more here.
        ``blas``: the kernels that this CPU can run, if NumPy uses OpenBLAS. ``threads``: one and two, if NumPy uses OpenBLAS
        on more than one CPU. ``libc``: without AVX2 and FMA, if the C library is glibc 2.33 or later.

    Example:
        >>> available()[0].name
        'base'
    """
    machine = machine or describe_machine()
    return [BASE, *_cpu_levels(machine.simd), *_kernels(machine), *_threads(machine), *_c_library()]


def _cpu_levels(simd: Sequence[str]) -> list[Variant]:
    levels, before = [], ""
    for level, beyond in _BEYOND.items():
        disabled = " ".join(name for name in simd if name.startswith(beyond))
        if disabled != before:  # skip the levels that this machine or this NumPy does not know
            levels.append(Variant(f"cpu-{level}", "cpu", {"NPY_DISABLE_CPU_FEATURES": disabled}))
        before = disabled
    return levels


def _kernels(machine: Machine) -> list[Variant]:
    kernels = _KERNELS.get(platform.machine().lower(), {}) if machine.blas.kernel and _is_openblas(machine) else {}
    _, features = cpu_features()
    return [
        Variant(f"blas-{name.lower()}", "blas", {"OPENBLAS_CORETYPE": name, **_CACHE})
        for name, needed in kernels.items()
        if features.get(needed)
    ]


def kernels() -> list[Variant]:
    """The other ways in which samebits can compute here: without its compiled kernels, and with those of lower CPU levels.

    NumPy's own results do not depend on them. Empty where nothing is compiled.

    >>> {one.axis for one in kernels()} <= {"kernels"}
    True
    """
    compiled = levels()
    names = ("none", *compiled[:-1]) if compiled else ()
    return [Variant(f"kernels-{name}", "kernels", {"SAMEBITS_KERNELS": name}) for name in names]


def untried(machine: Machine | None = None) -> dict[str, list[str]]:
    """By axis, what `available` leaves out because this CPU, or this BLAS library, cannot do it.

    >>> sorted(set(untried()) - set(VARIANT_AXES))
    []
    """
    machine = machine or describe_machine()
    dispatched, features = cpu_features()
    kernels = _KERNELS.get(platform.machine().lower(), {})
    other = [f"all but {machine.blas.kernel or machine.blas.name}"]
    found = {
        "cpu": [name for name in dispatched if not features.get(name) and not name.startswith(_OBSOLETE)],
        "blas": [name for name, needed in kernels.items() if not features.get(needed)] if _kernels(machine) else other,
        "threads": [] if _threads(machine) else [f"all but {machine.blas.threads or 'the default'}"],
    }
    return {axis: names for axis, names in found.items() if names}


def _is_openblas(machine: Machine) -> bool:
    """Whether its environment variables have an effect; other libraries say their kernel and threads too."""
    return "openblas" in machine.blas.name


def _threads(machine: Machine) -> list[Variant]:
    counts = (1, 2) if machine.blas.threads and _is_openblas(machine) and machine.cpus > 1 else ()
    return [Variant(f"threads-{count}", "threads", {"OPENBLAS_NUM_THREADS": str(count)}) for count in counts]


def _c_library() -> list[Variant]:
    name, version = platform.libc_ver()
    if name != "glibc" or [int(part) for part in version.split(".")[:2]] < [2, 33] or not cpu_features()[1].get("AVX2"):
        return []  # older versions have other names for the features
    tunables = [text for text in os.environ.get("GLIBC_TUNABLES", "").split(":") if text and "hwcaps" not in text]
    return [Variant("libc-plain", "libc", {"GLIBC_TUNABLES": ":".join([*tunables, "glibc.cpu.hwcaps=-AVX2,-FMA"])})]


def in_effect(machine: Machine) -> str:
    """What a process really computed with, in a few words; shows a variant without effect.

    >>> in_effect(describe_machine()).startswith("SIMD to ")
    True
    """
    simd = machine.simd[-1] if machine.simd else "baseline"
    kernel, threads = machine.blas.kernel or machine.blas.name, machine.blas.threads
    return f"SIMD to {simd}, {kernel}" + (f", {threads} thread{'s' * (threads != 1)}" if threads else "")


def run_variants(
    arguments: Sequence[str] | Callable[[Variant], Sequence[str]],
    variants: Sequence[Variant],
    *,
    timeout: float = 120.0,
    done: Callable[[ProcessResult], None] | None = None,
) -> list[ProcessResult]:
    """Run this Python with `arguments` once in every variant, as many processes at a time as there are CPUs.

    Args:
        arguments: The command line after ``python``, such as ``["-m", "samebits.core.selftest"]``, or a function that
            returns it for a variant. The program must print one JSON value and nothing else on standard output.
        variants: The environments to run it in.
        timeout: Seconds after which a process is stopped.
        done: Called in this process with each result, in the order of `variants`.

    Returns:
        A result for each variant, in the same order. A process that crashes, exceeds the timeout, exits with another status
        than 0, or prints no JSON gives a result with an error.

    Example:
        >>> program = "import os; print(os.environ['OPENBLAS_NUM_THREADS'])"
        >>> [one.value for one in run_variants(["-c", program], [Variant("threads-1", "threads", {"OPENBLAS_NUM_THREADS": "1"})])]
        [1]
    """
    command = arguments if callable(arguments) else lambda _: arguments

    def start(variant: Variant) -> ProcessResult:
        return _run_one([sys.executable, *command(variant)], variant, timeout)

    results = []
    with ThreadPoolExecutor(describe_machine().cpus) as pool:
        for result in pool.map(start, variants):
            results.append(result)
            if done:
                done(result)
    return results


def _run_one(command: Sequence[str], variant: Variant, timeout: float) -> ProcessResult:
    environment = {**os.environ, **variant.environment, "PYTHONIOENCODING": "utf-8"}
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return ProcessResult(variant, error=f"did not end within {timeout:g} s")
    last = visible((ended.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1])
    if ended.returncode < 0:
        return ProcessResult(variant, error=f"crashed: {_signal(-ended.returncode)}")
    if ended.returncode >= _CRASHED_ON_WINDOWS:
        return ProcessResult(variant, error=f"crashed: exception {ended.returncode:#x}")
    if ended.returncode:
        return ProcessResult(variant, error=f"exited with status {ended.returncode}: {last}")
    try:
        return ProcessResult(variant, json.loads(ended.stdout))
    except ValueError:
        return ProcessResult(variant, error=f"printed {ended.stdout[:80]!r}, not one JSON value")


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
