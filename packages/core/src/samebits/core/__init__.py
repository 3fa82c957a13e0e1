"""Numbers with the same bits on every Python, NumPy, CPU and BLAS library.

The functions have NumPy's names, among them ``sum``, ``max`` and ``min``: write ``from samebits import core``. They take
float32 arrays, and Python numbers or lists of them; other dtypes raise TypeError.

They never warn, and ignore ``np.errstate``. Overflow is inf, division by zero and log(0) are infinite, and what has no value,
such as log(-1) or inf - inf, is NaN, as IEEE 754 says; underflow is a subnormal number or zero. To notice these, look at the
results with ``np.isfinite``. The one exception is a product of something that is not finite: `matmul` and what builds on it
raise FloatingPointError.
"""

from samebits.core import environment  # noqa: F401 - first: importing it puts the floating-point settings back

# isort: split

from samebits.core.blocks import GROUP_ROWS, row_blocks, store
from samebits.core.elementary import cos, erf, exp, exp2, expm1, log, log1p, log2, log10, rsqrt, sigmoid, sin, sqrt, tanh
from samebits.core.hashing import digest
from samebits.core.indexing import argsort, bincount, embedding_gradient, scatter_add, segment_sum
from samebits.core.linalg import Prepared, dot, matmul, prepare, vecdot
from samebits.core.machine import (
    BLAS,
    Machine,
    MachineError,
    check_arithmetic,
    describe_machine,
    require_arithmetic,
    restore_arithmetic,
)
from samebits.core.mixing import Context
from samebits.core.modes import ColumnSums, Kernels, Mode, Numerics, current, numerics
from samebits.core.nonfinite import refuse_non_finite, refuse_rows
from samebits.core.random import Stream, require_stream
from samebits.core.reductions import cumsum, logsumexp, max, mean, min, norm, std, sum, var  # noqa: A004

__all__ = [
    "BLAS",
    "GROUP_ROWS",
    "ColumnSums",
    "Context",
    "Kernels",
    "Machine",
    "MachineError",
    "Mode",
    "Numerics",
    "Prepared",
    "Stream",
    "argsort",
    "bincount",
    "check_arithmetic",
    "cos",
    "cumsum",
    "current",
    "describe_machine",
    "digest",
    "dot",
    "embedding_gradient",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "logsumexp",
    "matmul",
    "max",
    "mean",
    "min",
    "norm",
    "numerics",
    "prepare",
    "refuse_non_finite",
    "refuse_rows",
    "require_arithmetic",
    "require_stream",
    "restore_arithmetic",
    "row_blocks",
    "rsqrt",
    "scatter_add",
    "segment_sum",
    "sigmoid",
    "sin",
    "sqrt",
    "std",
    "store",
    "sum",
    "tanh",
    "var",
    "vecdot",
]

restore_arithmetic()
check_arithmetic()
