"""The proof: the compiled elementary functions give the bits of the NumPy versions for all 2^32 inputs, at every CPU level.

    python tests/kernels/exhaustive.py [FUNCTION ...]

`tests/core/exhaustive.py` proves the NumPy versions (and, where kernels are installed, the level in use) against an oracle.
"""

import argparse
import multiprocessing
import os
import sys
import time

import numpy as np

from samebits import kernels
from samebits.core import compiled, elementary

FUNCTIONS = ["exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "tanh", "sigmoid", "sin", "cos", "erf", "sqrt", "rsqrt"]
CHUNK = 1 << 18  # bit patterns


def different(task: tuple[str, int, int]) -> list[str]:
    """Inputs from start to stop for which a level gives other bits than NumPy; a few of them."""
    name, start, stop = task
    kernels.threads(1)
    compiled.use(None)
    function = getattr(elementary, name)
    found: list[str] = []
    for first in range(start, stop, CHUNK):
        x = np.arange(first, first + CHUNK, dtype=np.int64).astype(np.uint32).view(np.float32)
        right, out = function(x).view(np.uint32), np.empty_like(x)
        for level in kernels.levels():
            kernel = kernels.find(f"{name}_float32", level)
            assert kernel is not None
            kernel(len(x), 1, [out, x])
            wrong = np.flatnonzero(out.view(np.uint32) != right)
            found += [f"{name}({x[i].item().hex()}) at {level}" for i in wrong[: 8 - len(found)]]
    return found


def main() -> int:
    """Print a line for each function; return how many differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="by default all")
    chosen = parser.parse_args().functions or FUNCTIONS
    if not kernels.levels():
        print(f"no compiled kernels to compare: {kernels.describe()}")
        return 0
    print(f"levels: {', '.join(kernels.levels())}")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bad = 0
    with multiprocessing.Pool(cpus) as pool:
        for name in chosen:
            begin = time.perf_counter()
            tasks = [(name, start, start + (1 << 26)) for start in range(0, 1 << 32, 1 << 26)]
            found = [one for part in pool.imap_unordered(different, tasks) for one in part]
            bad += bool(found)
            print(
                f"{name:<8}{'differs: ' + ', '.join(found[:8]) if found else 'equal'}  {time.perf_counter() - begin:.0f} s",
                flush=True,
            )
    return bad


if __name__ == "__main__":
    sys.exit(main())
