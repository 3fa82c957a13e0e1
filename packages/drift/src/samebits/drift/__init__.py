"""Find which NumPy operations, or a function of yours, give other bits on another machine.

A result drifts if it changes with the NumPy version, the CPU, the BLAS kernel, the number of threads or the C library.
`investigate` answers for one function, `measure_cell` for some 270 NumPy operations; both run processes in every environment that
this machine can imitate (`available`). ``python -m samebits.drift`` is the command. NumPy and samebits.core are the only requirements.

>>> found = investigate("sys:getrecursionlimit", variants=[BASE, REPEAT])
>>> found.drifts
[]

- ``variants``: environments, and the processes in them;
- ``investigation`` (with ``probe``, ``parts``, ``difference``): a function in all of them; ``verdict``: the answer;
- ``calls``: the NumPy functions in its code, and what the map knows about them;
- ``operations`` (with ``operation``, ``inputs``, ``elements``, ``arrays``): the NumPy operations and their samebits counterparts;
- ``record``: one Python × NumPy measured; ``drift_map`` and ``picture``: the records of many, as a page and a heat map;
- ``command`` (with ``report``): what the command does and prints.
"""

from samebits.drift.difference import Difference, compare
from samebits.drift.drift_map import CellRecord, DriftMap, Row, read_records
from samebits.drift.investigation import investigate, numpy_variant
from samebits.drift.record import measure_cell, write_record
from samebits.drift.variants import BASE, REPEAT, ProcessResult, Variant, available, run_variants
from samebits.drift.verdict import VariantResult, Verdict, join_verdicts

__all__ = [
    "BASE",
    "REPEAT",
    "CellRecord",
    "Difference",
    "DriftMap",
    "ProcessResult",
    "Row",
    "Variant",
    "VariantResult",
    "Verdict",
    "available",
    "compare",
    "investigate",
    "join_verdicts",
    "measure_cell",
    "numpy_variant",
    "read_records",
    "run_variants",
    "write_record",
]
