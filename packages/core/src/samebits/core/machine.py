"""The machine: what this process computes with, and a check of its arithmetic.

NumPy's results change with its version, the CPU features it picks at run time, the BLAS library, and that library's kernel
and number of threads. `describe_machine` reads all of these from the running process, for reports and error messages. Ours
do not change with them; digests prove that.

`restore_arithmetic` and `check_arithmetic` run when `samebits.core` is imported: IEEE 754 arithmetic must hold in a thread, which
our results require (`environment`).
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samebits.core import environment
from samebits.core.blas import BLAS, describe_blas, extension_module

__all__ = [
    "BLAS",
    "Machine",
    "MachineError",
    "check_arithmetic",
    "cpu_features",
    "describe_machine",
    "require_arithmetic",
    "restore_arithmetic",
]


class MachineError(RuntimeError):
    """The arithmetic of this thread is not that of IEEE 754, so results could have other bits.

    Example:
        >>> issubclass(MachineError, RuntimeError)
        True
    """


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
    """Implementation and version, such as ``CPython 3.13.1``; ends in ``32-bit`` if it is, whatever the processor."""
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
        python=f"{platform.python_implementation()} {platform.python_version()}" + " 32-bit" * (sys.maxsize < 2**32),
        numpy=np.__version__,
        blas=describe_blas(),
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
    umath = extension_module()
    return umath.__cpu_dispatch__, umath.__cpu_features__


def check_arithmetic() -> None:
    """Check that IEEE 754 arithmetic holds in this thread, by some tens of microseconds of known results.

    Other code can change it at any time. Training, generation and evaluation check it as they go on; call this, or
    `restore_arithmetic`, where that matters elsewhere.

    Raises:
        MachineError: Subnormal numbers are flushed to zero, NumPy or Python do not round once to the nearest number, or the
            BLAS library does not add float64 products exactly where every partial sum fits 53 bits. The message names the
            usual cause.

    Example:
        >>> check_arithmetic()
    """
    _check_environment()
    steps = np.arange(4 * 64, dtype=np.int64).reshape(4, 64)
    left, right = 11863283 - steps % 7, 11863283 - steps.T % 5  # 64 products of 2^47: the sums end just below 2^53
    if not np.array_equal(left.astype(np.float64) @ right.astype(np.float64), left @ right):
        raise MachineError(
            f"the BLAS library ({describe_blas()}) does not multiply float64 matrices exactly where every partial sum fits 53 "
            "bits. It may use Strassen's algorithm or a narrower dtype. Use another BLAS library or kernel."
        )


def require_arithmetic() -> None:
    """Check that no other code has changed the floating-point settings of this thread, in a fraction of a microsecond.

    For results just computed, such as those of a step of training. Whether NumPy and BLAS compute with these settings was
    checked at the import.

    Raises:
        MachineError: As for `check_arithmetic`.

    Example:
        >>> require_arithmetic()
    """
    if environment.changed():
        _check_environment()


def restore_arithmetic() -> bool:
    """Put the floating-point settings of this thread back to those of IEEE 754, if other code has changed them.

    It is called at the import of `samebits.core`, and where training, generation and evaluation begin.

    Returns:
        Whether they had been changed; results since then may have other bits.

    Raises:
        MachineError: They do not go back. glibc, musl, macOS and Windows can put them back.

    Example:
        >>> restore_arithmetic()
        False
    """
    if not environment.flushes() and not environment.rounds_otherwise():
        return False
    environment.reset()
    _check_environment()
    return True


def _check_environment() -> None:
    if environment.flushes():
        raise MachineError(
            "subnormal numbers are flushed to zero in this thread, so results may have wrong bits. The usual cause is a shared "
            "library built with -Ofast or -ffast-math, which turns this on whenever it is loaded. Build it without, or call "
            "samebits.core.restore_arithmetic() after loading it, and compute again what was computed since. On 32-bit ARM, "
            "NumPy itself does this: use a 64-bit Python."
        )
    if environment.rounds_otherwise():
        raise MachineError(
            "sums or products are not rounded to the nearest number in this thread, so results may have wrong bits. The usual "
            "cause is other code that changed the rounding mode (fesetround) and did not restore it: call "
            "samebits.core.restore_arithmetic() after it, and compute again what was computed since. On 32-bit x86, Python's "
            "own floats are rounded twice (x87): use a 64-bit Python."
        )
