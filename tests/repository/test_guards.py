"""The rules of reproducibility, checked in the syntax: what ruff's list of banned names cannot see.

Below `cli` and `drift` no array may be multiplied with ``@`` or np.matmul, raised to a power, reduced by its own method or a ufunc's,
or sorted unstably: NumPy and the BLAS library would choose the order and the rounding. What is exact by construction, or whose
order is part of its definition, is listed here, file by file.
"""

import ast
from pathlib import Path

import pytest
from tools.tree import Description

ROOT = Path(__file__).parents[2]
PACKAGES = Description.read(ROOT / "tools/tree/technologies.toml", ROOT).packages
FAST = "fast.py"  # the one module that computes as plain NumPy does
OURS = {"core", "reductions", "fast", "indexing", "ops", "kernels", "numerics", "current()"}
REDUCTIONS = {"sum", "mean", "var", "std", "prod", "cumsum", "cumprod", "dot", "trace"}
UFUNC_METHODS = {"reduce", "reduceat", "accumulate", "at"}
ORDERLESS = {"np.maximum", "np.minimum", "np.logical_and", "np.logical_or"}  # the result is the same in any order
EXACT = {
    ("machine.py", "left.astype(np.float64) @ right.astype(np.float64)"): "the probe of exact products",
    ("machine.py", "left @ right"): "integers",
    ("indexing.py", "runs.sum()"): "integers",
    ("selftest.py", "grid @ grid.T"): "integers below 2^53",
    ("selftest.py", "(integers(8, 64) % 8 + 11863270.0) @ (integers(64, 8) % 8 + 11863270.0)"): "integers below 2^53",
    ("selftest.py", "grid.T @ np.ascontiguousarray(grid)"): "integers below 2^53",
    ("selftest.py", "grid.sum(axis=0)"): "integers below 2^53",
    ("evaluation.py", "lengths[targets].sum()"): "integers",
    ("grid.py", "np.matmul(squares, ones, out=result[batch, row])"): "any order gives the same exponent; math.fsum where not",
    ("grid.py", "np.matmul(ones[:, row], squares)"): "any order gives the same exponent; math.fsum where not",
    ("indexing.py", "np.add.accumulate(runs)"): "integers",
    ("linalg.py", "np.matmul(a, b)"): "operands on grids of 26 bits, or as the docstring of mixing says",
    ("linalg.py", "np.matmul(left, wide.T)"): "operands on grids of 26 bits",
    ("linalg.py", "np.matmul(left, right, out=BUFFERS.take('product', block.shape))"): "operands on grids of 26 bits",
    ("linalg.py", "np.matmul(left.reshape(rows.shape), right.reshape(columns.shape))"): "operands on grids of 26 bits",
    ("operations.py", "2 ** count"): "integers of Python",
    ("random.py", "np.add.accumulate(weights)"): "sequential by definition",
    ("reductions.py", "np.add.accumulate(x, axis=axis, dtype=np.int64)"): "integers",
    ("reductions.py", "np.add.accumulate(x.astype(np.float64), axis=axis)"): "sequential by definition",
    ("reductions.py", "total.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int64)"): "integers",
    ("reductions.py", "ufunc.reduce(lanes.x, axis=lanes.axes)"): "np.maximum or np.minimum, the zero made positive",
    ("selftest.py", "np.add.reduceat(integers(500), np.arange(0, 500, 7))"): "integers below 2^53",
    ("trigonometry.py", "2.0 ** (52 + 27)"): "a power of two, of Python numbers",
    ("trigonometry.py", "2.0 ** (-_FIRST)"): "a power of two, of Python numbers",
    ("trigonometry.py", "2.0 ** (1 - _PIECE * (i + 1))"): "a power of two, of Python numbers",
}


def violations(source: str) -> list[tuple[int, str]]:
    """Line and text of every expression that may depend on the machine."""
    return [(one.lineno, ast.unparse(one)) for one in ast.walk(ast.parse(source)) if is_violation(one)]


def is_violation(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.MatMult()) | ast.AugAssign(op=ast.MatMult() | ast.Pow()) | ast.Name(id="pow"):
            return True
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            return not is_power_of_two(base, exponent)
        case ast.Call(func=ast.Attribute(attr="partition"), args=[ast.Constant(value=str())]):  # of a string, not of an array
            return False
        case ast.Call(func=ast.Attribute(value=owner, attr=name), keywords=keywords):
            return is_inexact_call(ast.unparse(owner), name, [ast.unparse(keyword) for keyword in keywords])
        case ast.ImportFrom(module="numpy"):  # the names below are searched for as np.name
            return True
    return False


def is_power_of_two(base: ast.expr, exponent: ast.expr) -> bool:
    """Whether the base is a literal 2 or 0.5 and the exponent a literal integer: exact, and no array."""
    if isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub):
        exponent = exponent.operand
    return (
        isinstance(base, ast.Constant)
        and base.value in {0.5, 2}
        and isinstance(exponent, ast.Constant)
        and isinstance(exponent.value, int)
    )


def is_inexact_call(owner: str, name: str, keywords: list[str]) -> bool:
    """Whether ``owner.name(...)`` is an array method or NumPy function of unspecified order (ruff bans the other functions by name)."""
    if name in UFUNC_METHODS:
        return owner not in ORDERLESS | {"functools", "itertools"}
    if name in {"sort", "argsort"}:
        return owner not in OURS and "kind='stable'" not in keywords
    if name in {"partition", "argpartition"}:
        return True
    return (owner, name) == ("np", "matmul") or (name in REDUCTIONS and owner not in OURS | {"np", "math"})


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in ROOT.glob(f"packages/{package}/src/**/*.py") if path.name != FAST)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_depends_on_the_machine(path: Path) -> None:
    found = [f"{path}:{line}: {text}" for line, text in violations(path.read_text()) if (path.name, text) not in EXACT]
    assert found == []


def test_every_exception_is_used() -> None:
    seen = {(path.name, text) for path in sources() for _, text in violations(path.read_text())}
    assert set(EXACT) - seen == set()


@pytest.mark.parametrize(
    "source",
    [
        "a @ b",
        "a @= b",
        "np.matmul(a, b)",
        "x ** 3",
        "x **= 2",
        "x ** 0.5",
        "3.0 ** k",
        "2.0 ** k",
        "2 ** 0.5",
        "2.0 ** -x",
        "3.0 ** 5",
        "pow(x, 3)",
        "map(pow, x, y)",
        "x.sum()",
        "(x * y).mean(axis=0)",
        "x.T.dot(y)",
        "np.add.reduce(x)",
        "np.add.reduceat(x, starts)",
        "np.multiply.accumulate(x)",
        "np.add.at(x, ids, y)",
        "ufunc.reduce(x)",
        "np.argsort(x)",
        "np.argsort(x, kind='quicksort')",
        "x.argsort()",
        "np.sort(x)",
        "x.sort()",
        "x.partition(3)",
        "x.argpartition(3)",
        "from numpy import matmul",
    ],
)
def test_expressions_that_depend_on_the_machine_are_found(source: str) -> None:
    assert len(violations(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "2.0 ** 21",
        "2 ** 64",
        "2.0 ** -14",
        "0.5 ** 3",
        "current().matmul(a, b)",
        "np.sum(x)",
        "reductions.sum(x)",
        "x.max()",
        "sum(counts)",
        "np.maximum.reduce(x)",
        "np.minimum.accumulate(x)",
        "np.logical_or.reduceat(x, starts)",
        "itertools.accumulate(counts)",
        "np.argsort(x, kind='stable')",
        "x.argsort(kind='stable')",
        "np.sort(x, kind='stable')",
        "current().argsort(x)",
        "sorted(names)",
        "name.partition('.')",
    ],
)
def test_reproducible_expressions_are_allowed(source: str) -> None:
    assert violations(source) == []
