"""Cores: workers on one machine share its cores, as each would otherwise have as many threads as there are cores.

BLAS libraries read these variables when they are loaded, so this runs before NumPy is imported. It changes no bit.
"""

import os
from collections.abc import MutableMapping

__all__ = ["share_cores"]

_LOCAL = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE")
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "SAMEBITS_THREADS")


def share_cores(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the threads of BLAS and kernels to cores / workers, where an MPI launcher has started several on this machine.

    A variable that is set stays. A launcher that binds workers to cores is respected.

    Example:
        >>> environment = {"MPI_LOCALNRANKS": "1000", "OMP_NUM_THREADS": "3"}
        >>> share_cores(environment)
        >>> environment["OPENBLAS_NUM_THREADS"], environment["OMP_NUM_THREADS"]
        ('1', '3')
    """
    local = next((int(environment[name]) for name in _LOCAL if environment.get(name, "").isdecimal()), 1)
    if local > 1:
        bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else local
        threads = max(1, min(bound, (os.cpu_count() or 1) // local))
        for name in _THREADS:
            environment.setdefault(name, str(threads))
