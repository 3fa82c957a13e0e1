"""The machine: what this process computes with, and a check of its arithmetic.

NumPy's results change with its version, the CPU features it picks at run time, the BLAS library, and that library's kernel
and number of threads. `describe_machine` reads all of these from the running process, for reports and error messages. Ours
do not change with them; digests prove that.

`check_arithmetic` runs when `samebits.core` is imported: it tests that IEEE 754 arithmetic holds, which our results require.
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
    """The arithmetic of this process is not that of IEEE 754, so results could have other bits.

    Example:
        >>> issubclass(MachineError, RuntimeError)
        True
    """


@dataclass(frozen=True)
class BLAS:
    """The linear-algebra library that NumPy calls; None where the library does not say.

    Example:
        >>> print(BLAS("openblas", "0.3.30", "Haswell", threads=2))
        openblas 0.3.30, kernel Haswell, 2 threads
    """

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
    """What this process computes with; see `describe_machine`.

    Example:
        >>> isinstance(describe_machine(), Machine)
        True
    """

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
    """Number of processors this process may use."""
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
    """Describe what this process computes with: system, Python, NumPy, BLAS, SIMD features.

    Returns:
        A frozen dataclass; ``str`` of it is a table of five lines.

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
    """The features NumPy dispatches to, those that this CPU lacks or the environment disables left out."""
    dispatched, features = cpu_features()
    return tuple(name for name in dispatched if features.get(name))


def cpu_features() -> tuple[Sequence[str], Mapping[str, bool]]:
    """The features NumPy has kernels for beyond its baseline; and for each feature it knows whether it is usable here."""
    umath: Any = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
    return umath.__cpu_dispatch__, umath.__cpu_features__


def _describe_blas() -> BLAS:
    built_with: Any = np.show_config(mode="dicts")
    info = built_with.get("Build Dependencies", {}).get("blas", {})
    kernel, threads = next(_ask_openblas(), (None, None))
    return BLAS(info.get("name", "unknown"), info.get("version"), kernel, threads)


def _ask_openblas() -> Iterator[tuple[str, int]]:
    """The kernel and the number of threads of the OpenBLAS in NumPy's wheels."""
    package = Path(np.__file__).parent
    folders = package.parent / "numpy.libs", package / ".dylibs"
    for path in sorted(path for folder in folders for path in folder.glob("*openblas*")):
        library = ctypes.CDLL(str(path))  # NumPy has loaded it: this is another handle of the same copy
        for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
            corename = getattr(library, f"{prefix}openblas_get_corename{suffix}", None)
            num_threads = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
            if corename and num_threads:
                corename.restype = ctypes.c_char_p
                yield corename().decode(), num_threads()


def check_arithmetic() -> None:
    """Check that IEEE 754 arithmetic holds in this process: three probes, a few microseconds.

    Other code can change it after the import: call this again where that matters.

    Raises:
        MachineError: Subnormal numbers are flushed to zero, rounding is not to nearest, or the BLAS library does not add
            float64 products exactly where every partial sum fits 53 bits. The message names the usual cause.

    Example:
        >>> check_arithmetic()
    """
    tiny = np.array([1e-40], np.float32)
    if not (tiny * np.float32(1)).view(np.uint32)[0]:
        raise MachineError(
            "subnormal numbers are flushed to zero in this process. The usual cause is a shared library built with -Ofast or "
            "-ffast-math, which turns this on when it is loaded. Import samebits first, or do not load that library."
        )
    halves = np.array([1.0, 3.0, -1.0, -3.0]) * 2.0**-53  # ties: they round to the even neighbor of 1 or -1
    ones = np.array([1.0, 1.0, -1.0, -1.0])
    if (ones + halves).tolist() != [1.0, 1 + 2.0**-51, -1.0, -1 - 2.0**-51]:
        raise MachineError(
            "float64 sums are not rounded to the nearest number. The usual cause is other code in this process that changed the "
            "rounding mode (fesetround) and did not restore it, or a processor that computes with more digits (x87)."
        )
    steps = np.arange(4 * 64, dtype=np.int64).reshape(4, 64)
    left, right = 11863283 - steps % 7, 11863283 - steps.T % 5  # 64 products of 2^47: the sums end just below 2^53
    if not np.array_equal(left.astype(np.float64) @ right.astype(np.float64), left @ right):
        raise MachineError(
            f"the BLAS library ({_describe_blas()}) does not multiply float64 matrices exactly where every partial sum fits 53 "
            "bits. It may use Strassen's algorithm or a narrower dtype. Use another BLAS library or kernel."
        )
