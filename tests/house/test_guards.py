"""The law, read from the syntax: what ruff's list of banned names cannot see.

Below `lab` no array may be multiplied with ``@``, raised to a power, or reduced by a method: whose order and rounding would be
NumPy's and the BLAS library's choice. Products of numbers that are exact by construction are named here, file by file.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ["core", "autograd"]
FAST = "fast.py"  # the one room that computes in NumPy's own way
REDUCTIONS = {"sum", "mean", "var", "std", "prod", "cumsum", "cumprod", "dot", "trace"}
EXACT = {
    ("machine.py", "left.astype(np.float64) @ right.astype(np.float64)"): "the probe of exact products",
    ("machine.py", "left @ right"): "whole numbers",
    ("indexing.py", "runs.sum()"): "whole numbers",
    ("selftest.py", "grid @ grid.T"): "whole numbers below 2^53",
    ("selftest.py", "(integers(8, 512) + 2.0 ** 21) @ (integers(512, 8) + 2.0 ** 21)"): "whole numbers below 2^53",
    ("selftest.py", "grid.T @ np.ascontiguousarray(grid)"): "whole numbers below 2^53",
    ("selftest.py", "grid.sum(axis=0)"): "whole numbers below 2^53",
}


def offences(source: str) -> list[tuple[int, str]]:
    """Line and text of every expression that may depend on the machine."""
    nodes = list(ast.walk(ast.parse(source)))
    products = [one for one in nodes if isinstance(one, ast.BinOp | ast.AugAssign) and isinstance(one.op, ast.MatMult)]
    powers = [one for one in nodes if isinstance(one, ast.BinOp | ast.AugAssign) and isinstance(one.op, ast.Pow)]
    powers = [one for one in powers if isinstance(one, ast.AugAssign) or not is_power_of_two(one)]
    reductions = [one for one in nodes if isinstance(one, ast.Call) and is_reduction(one.func)]
    return [(one.lineno, ast.unparse(one)) for one in [*products, *powers, *reductions]]


def is_power_of_two(node: ast.BinOp) -> bool:
    """Whether the base is a literal 2, or 0.5: exact in Python's own arithmetic (the exponents here are whole numbers)."""
    return isinstance(node.left, ast.Constant) and node.left.value in {0.5, 2}


def is_reduction(function: ast.expr) -> bool:
    """Whether a call is ``array.sum()`` and not ``module.sum(array)`` of our own or of NumPy (whose names ruff bans)."""
    modules = {"np", "core", "math", "reductions", "fast", "ops", "kernels", "current()"}
    return isinstance(function, ast.Attribute) and function.attr in REDUCTIONS and ast.unparse(function.value) not in modules


def sources() -> list[Path]:
    return sorted(path for floor in FLOORS for path in ROOT.glob(f"packages/{floor}/src/**/*.py") if path.name != FAST)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_depends_on_the_machine_but_what_is_exact(path: Path) -> None:
    found = [f"{path}:{line}: {text}" for line, text in offences(path.read_text()) if (path.name, text) not in EXACT]
    assert found == []


def test_no_exception_is_left_over() -> None:
    seen = {(path.name, text) for path in sources() for _, text in offences(path.read_text())}
    assert set(EXACT) - seen == set()


@pytest.mark.parametrize(
    "source", ["a @ b", "a @= b", "x ** 3", "x **= 2", "x ** 0.5", "3.0 ** k", "x.sum()", "(x * y).mean(axis=0)", "x.T.dot(y)"]
)
def test_offences_are_found(source: str) -> None:
    assert len(offences(source)) == 1


@pytest.mark.parametrize(
    "source", ["2.0 ** 21", "2 ** 64", "2.0 ** -k", "np.sum(x)", "reductions.sum(x)", "x.max()", "sum(counts)"]
)
def test_what_is_allowed_is_not(source: str) -> None:
    assert offences(source) == []
