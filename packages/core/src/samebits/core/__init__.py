"""Numbers with the same bits on every Python, NumPy, CPU and BLAS library."""

from samebits.core.digest import digest
from samebits.core.machine import BLAS, Machine, describe_machine

__all__ = ["BLAS", "Machine", "describe_machine", "digest"]
