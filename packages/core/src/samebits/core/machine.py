"""The machine: what this process computes with, and whether it computes by the rules.

NumPy's results change with its version, the CPU features it picks at run time, the BLAS library, that library's kernel
and its number of threads. `describe_machine` reads all of them from the running process, for reports and error messages.
Whether they change *our* results is for the digests to say.

`check_arithmetic` runs once, when `samebits.core` is imported: what our results rest on must hold, or nothing is promised.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BLAS", "Machine", "MachineError", "check_arithmetic", "cpu_features", "describe_machine"]


class MachineError(RuntimeError):
    """This process does not compute by the rules that the same bits rest on."""


@dataclass(frozen=True)
class BLAS:
    """The linear-algebra library NumPy calls; ``None`` stands for what the library does not tell."""

    name: str
    version: str | None
    kernel: str | None
    threads: int | None

    def __str__(self) -> str:
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.name} {self.version or '(version unknown)'}{kernel}{threads}"


@dataclass(frozen=True)
class Machine:
    """What this process computes with."""

    system: str
    """Operating system and processor type, such as ``Linux x86_64``."""
    python: str
    """Implementation and version, such as ``CPython 3.13.1``."""
    numpy: str
    """Version, such as ``2.3.5``."""
    blas: BLAS
    simd: tuple[str, ...]
    """The CPU features that NumPy's kernels use in this process, beyond the baseline it was built for."""
    cpus: int
    """Processors this process may use."""
    byte_order: str
    """``little`` or ``big``."""

    def __str__(self) -> str:
        rows = {
            "system": f"{self.system}, {self.byte_order}-endian, {self.cpus} CPU{'s' * (self.cpus != 1)}",
            "Python": self.python,
            "NumPy": self.numpy,
            "SIMD": " ".join(self.simd) or "baseline only",
            "BLAS": str(self.blas),
        }
        return "\n".join(f"{name:<8}{value}" for name, value in rows.items())


def describe_machine() -> Machine:
    """Read from the running process what it computes with.

    Returns:
        A frozen description; ``str`` of it is a table of five lines.

    Example:
        >>> import numpy as np
        >>> describe_machine().numpy == np.__version__
        True
    """
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        numpy=np.__version__,
        blas=_describe_blas(),
        simd=_simd_in_use(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        byte_order=sys.byteorder,
    )


def _simd_in_use() -> tuple[str, ...]:
    """The features NumPy dispatches to that this CPU has and that the environment has not switched off."""
    dispatched, features = cpu_features()
    return tuple(name for name in dispatched if features.get(name))


def cpu_features() -> tuple[Sequence[str], Mapping[str, bool]]:
    """The features NumPy has kernels for beyond its baseline; and all features it knows, with whether they can be used here."""
    umath: Any = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
    return umath.__cpu_dispatch__, umath.__cpu_features__


def _describe_blas() -> BLAS:
    built_with: Any = np.show_config(mode="dicts")
    info = built_with.get("Build Dependencies", {}).get("blas", {})
    kernel, threads = next(_ask_openblas(), (None, None))
    return BLAS(info.get("name", "unknown"), info.get("version"), kernel, threads)


def _ask_openblas() -> Iterator[tuple[str, int]]:
    """The kernel and the thread count of the OpenBLAS that NumPy's wheels bring along."""
    package = Path(np.__file__).parent
    folders = package.parent / "numpy.libs", package / ".dylibs"
    for path in sorted(path for folder in folders for path in folder.glob("*openblas*")):
        library = ctypes.CDLL(str(path))  # already loaded by NumPy: this takes another handle of the same copy
        for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
            corename = getattr(library, f"{prefix}openblas_get_corename{suffix}", None)
            num_threads = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
            if corename and num_threads:
                corename.restype = ctypes.c_char_p
                yield corename().decode(), num_threads()


def check_arithmetic() -> None:
    """Refuse a process in which floating-point arithmetic is not IEEE 754's: three probes, a few microseconds.

    Raises:
        MachineError: subnormal numbers are flushed to zero, rounding is not to nearest, or the installed BLAS does not add
            float64 products exactly where all partial sums fit 53 bits. The message says what usually causes it.

    Example:
        >>> check_arithmetic()
    """
    tiny = np.array([1e-40], np.float32)
    if not (tiny * np.float32(1)).view(np.uint32)[0]:
        raise MachineError(
            "subnormal numbers are flushed to zero in this process. Usually a shared library built with -Ofast or -ffast-math "
            "switched that on when it was loaded: import samebits first, or find that library and leave it out."
        )
    halves = np.array([1.0, 3.0, -1.0, -3.0]) * 2.0**-53  # ties: they go to the even neighbour of 1 or -1
    ones = np.array([1.0, 1.0, -1.0, -1.0])
    if (ones + halves).tolist() != [1.0, 1 + 2.0**-51, -1.0, -1 - 2.0**-51]:
        raise MachineError(
            "float64 sums are not rounded to the nearest number. Usually other code in this process changed the rounding mode "
            "(fesetround) and did not set it back, or the processor computes with more digits than float64 has (x87)."
        )
    steps = np.arange(4 * 64, dtype=np.int64).reshape(4, 64)
    left, right = 11863283 - steps % 7, 11863283 - steps.T % 5  # 64 products of 2^47: the sums end just below 2^53
    if not np.array_equal(left.astype(np.float64) @ right.astype(np.float64), left @ right):
        raise MachineError(
            f"the BLAS library ({_describe_blas()}) does not multiply float64 matrices exactly where every partial sum fits 53 "
            "bits. It may use Strassen's method, or numbers of fewer bits inside: choose another BLAS library or kernel."
        )
