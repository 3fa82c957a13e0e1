"""Variants: the ways in which this one machine can compute, a few environment variables each.

NumPy and its libraries pick their code when they are loaded. The environment can make them pick what a lesser CPU would
get, so one machine shows what many machines would give:

    NPY_DISABLE_CPU_FEATURES   cpu      the SIMD level of NumPy's own kernels
    OPENBLAS_CORETYPE          blas     the kernel of OpenBLAS
    OPENBLAS_NUM_THREADS       threads  in how many parts OpenBLAS cuts its work
    GLIBC_TUNABLES             libc     the variants of the C library's mathematical functions

`available` lists the variants of this machine, `run` starts one process for each. What the processes compute is for
others to say: the drift map measures NumPy with them, the golden tests hold samebits to its digests.
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

__all__ = ["AXES", "BASE", "SETTINGS", "Run", "Variant", "available", "in_effect", "run", "this_platform"]

AXES = {"cpu": "CPU level", "blas": "BLAS kernel", "threads": "threads", "libc": "C library"}
"""What the environment can change, and how it is called in sentences."""

SETTINGS = ("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "GLIBC_TUNABLES")
"""The environment variables that change how NumPy computes, whether a variant sets them or the machine's owner did."""

# A level of x86-64 (psABI), and the first letters of NumPy's names for the features beyond it.
_BEYOND = {
    "v4": ("AVX512_CLX", "AVX512_CNL", "AVX512_ICL", "AVX512_SPR", "AVX512_KN"),
    "v3": ("AVX512", "X86_V4"),
    "v2": ("AVX512", "X86_V4", "X86_V3", "AVX", "F16C", "FMA"),
}
# OpenBLAS's name of a kernel, and the feature a CPU must have to survive it.
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
# A forced kernel sizes its buffers by what it is told of the cache. Where nothing tells it, NumPy 2.5.5's products overrun them:
# crashes, hangs, and, rarely, wrong numbers.
_CACHE = {"OPENBLAS_L2_SIZE": os.environ.get("OPENBLAS_L2_SIZE", "512")}
_CRASHED_ON_WINDOWS = 0xC0000000


@dataclass(frozen=True)
class Variant:
    """One way to compute: what is set in the environment, and along which axis that moves."""

    name: str
    axis: str
    environment: Mapping[str, str] = field(default_factory=dict)


BASE = Variant("base", "base")
"""The environment as it is."""


@dataclass(frozen=True)
class Run:
    """What the process of one variant came to: the JSON value it printed, or what went wrong."""

    variant: Variant
    value: Any = None
    error: str = ""


def this_platform() -> str:
    """The machine's kind, such as ``linux-x86_64``."""
    return f"{platform.system()}-{platform.machine()}".lower()


def available(machine: Machine | None = None) -> list[Variant]:
    """The variants of this machine, `BASE` first.

    Args:
        machine: What to make the list for; this process if None. Its NumPy and CPU must be those of the processes to run.

    Returns:
        Variants with different names. Along ``cpu``: NumPy without what lies beyond the x86-64 levels v4, v3 and v2, as
        far as it uses that here. Along ``blas``: the kernels this CPU can run, if NumPy has OpenBLAS. Along ``threads``:
        one and two, on more than one CPU and with OpenBLAS. Along ``libc``: without AVX2 and FMA, if it is glibc.

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
        if disabled != before:  # a level this machine or this NumPy does not know is none
            levels.append(Variant(f"cpu-{level}", "cpu", {"NPY_DISABLE_CPU_FEATURES": disabled}))
        before = disabled
    return levels


def _kernels(machine: Machine) -> list[Variant]:
    kernels = _KERNELS.get(platform.machine().lower(), {}) if machine.blas.kernel else {}
    _, features = cpu_features()
    return [
        Variant(f"blas-{name.lower()}", "blas", {"OPENBLAS_CORETYPE": name, **_CACHE})
        for name, needed in kernels.items()
        if features.get(needed)
    ]


def _threads(machine: Machine) -> list[Variant]:
    counts = (1, 2) if machine.blas.threads and machine.cpus > 1 else ()
    return [Variant(f"threads-{count}", "threads", {"OPENBLAS_NUM_THREADS": str(count)}) for count in counts]


def _c_library() -> list[Variant]:
    name, version = platform.libc_ver()
    if name != "glibc" or [int(part) for part in version.split(".")[:2]] < [2, 33] or not cpu_features()[1].get("AVX2"):
        return []  # older ones have other names for the same
    tunables = [text for text in os.environ.get("GLIBC_TUNABLES", "").split(":") if text and "hwcaps" not in text]
    return [Variant("libc-plain", "libc", {"GLIBC_TUNABLES": ":".join([*tunables, "glibc.cpu.hwcaps=-AVX2,-FMA"])})]


def in_effect(machine: Machine) -> str:
    """What a process really computed with, in a few words: a variant that took no effect is seen here."""
    simd = machine.simd[-1] if machine.simd else "baseline"
    kernel, threads = machine.blas.kernel or machine.blas.name, machine.blas.threads
    return f"SIMD to {simd}, {kernel}" + (f", {threads} thread{'s' * (threads != 1)}" if threads else "")


def run(
    arguments: Sequence[str] | Callable[[Variant], Sequence[str]],
    variants: Sequence[Variant],
    *,
    timeout: float = 120.0,
    done: Callable[[Run], None] | None = None,
) -> list[Run]:
    """Run this Python with `arguments` once under every variant, as many processes at a time as there are CPUs.

    Args:
        arguments: What follows ``python`` on the command line, such as ``["-m", "samebits.core.selftest"]``, or a
            function that gives it for a variant. The program must print one JSON value and nothing else on standard output.
        variants: Under which environments.
        timeout: After how many seconds a process is stopped.
        done: Called with every run when it ends, in this process, one after the other, in the order of `variants`.

    Returns:
        One run a variant, in their order. A process that crashes, takes too long, fails, or prints no JSON is a run with an error.
    """
    command = arguments if callable(arguments) else lambda _: arguments

    def start(variant: Variant) -> Run:
        return _run_one([sys.executable, *command(variant)], variant, timeout)

    runs = []
    with ThreadPoolExecutor(describe_machine().cpus) as pool:
        for one in pool.map(start, variants):
            runs.append(one)
            if done:
                done(one)
    return runs


def _run_one(command: Sequence[str], variant: Variant, timeout: float) -> Run:
    environment = {**os.environ, **variant.environment, "PYTHONIOENCODING": "utf-8"}
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return Run(variant, error=f"gave no answer within {timeout:g} s")
    last = (ended.stderr.decode(errors="replace").strip().splitlines() or ["without a message"])[-1]
    if ended.returncode < 0:
        return Run(variant, error=f"crashed: {_signal(-ended.returncode)}")
    if ended.returncode >= _CRASHED_ON_WINDOWS:
        return Run(variant, error=f"crashed: exception {ended.returncode:#x}")
    if ended.returncode:
        return Run(variant, error=f"ended with status {ended.returncode}: {last}")
    try:
        return Run(variant, json.loads(ended.stdout))
    except ValueError:
        return Run(variant, error=f"printed no JSON value but {ended.stdout[:80]!r}")


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
