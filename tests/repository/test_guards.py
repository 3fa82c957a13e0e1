"""The rules of reproducibility, checked in the syntax: what ruff's list of banned names cannot see.

Below `cli` and `drift` no array may be multiplied with ``@`` or np.matmul, raised to a power, reduced by its own method or a ufunc's,
or sorted unstably: NumPy and the BLAS library would choose the order and the rounding. What is exact by construction, or whose
order is part of its definition, is listed here with its file and function. A reference counts as a call does: ``m = np.matmul``.
"""

import ast
from pathlib import Path

import pytest
from tools.tree import Description

ROOT = Path(__file__).parents[2]
PACKAGES = Description.read(ROOT / "tools/tree/technologies.toml", ROOT).packages
FAST = "core/fast.py"  # the one module that computes as plain NumPy does
OURS = {"core", "reductions", "linalg", "int16", "fast", "indexing", "ops", "kernels", "numerics", "current()"}
REDUCTIONS = {"sum", "mean", "var", "std", "prod", "cumsum", "cumprod", "dot", "trace"}
UFUNC_METHODS = {"reduce", "reduceat", "accumulate", "at"}
ORDERLESS = {"np.maximum", "np.minimum", "np.logical_and", "np.logical_or"}  # the result is the same in any order
EXACT: dict[str, dict[str, str]] = {
    "autograd/graph.py:_called_at": {
        "node.trace": "a field of a node",
    },
    "autograd/operations.py:_describe": {
        "2 ** count": "integers of Python",
    },
    "autograd/ops/reductions.py:_cumsum": {
        "np.add.accumulate(x, axis=axis, dtype=np.int64)": "integers",
    },
    "autograd/ops/reductions.py:integer_sum": {
        "total.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int64)": "integers",
    },
    "core/grid.py:_squared_norms": {
        "np.matmul(ones[:, row], squares)": "any order gives the same exponent; math.fsum where not",
        "np.matmul(squares, ones, out=result[batch, row])": "any order gives the same exponent; math.fsum where not",
    },
    "core/attention16.py:_product": {
        "np.matmul(a.values[..., chunk], b.values[..., chunk].swapaxes(-1, -2))": "integers of 15 bits, sums below 2^31",
    },
    "core/attention16.py:_mixed": {
        "np.matmul(x, value.values[:, :, None, chunk])": "integers of 15 bits, sums below 2^31",
    },
    "core/indexing.py:_sums": {
        "np.add.accumulate(runs)": "integers",
        "runs.sum()": "integers",
    },
    "core/int16.py:_multiply_panels": {
        "np.matmul(left[:, chunk], right[chunk])": "integers of 15 bits, sums below 2^31",
    },
    "core/quantized.py:_multiply": {
        "np.matmul(integers, np.ones(length // groups))": "sums of integers of 15 bits",
        "np.matmul(left, right.transpose(1, 2, 0))": "integers of 15 and 8 bits, sums below 2^28",
    },
    "core/int16.py:multiply": {
        "np.matmul(a[..., first], b[..., first, :])": "operands on grids of 15 bits",
        "np.matmul(a[..., chunk], b[..., chunk, :])": "operands on grids of 15 bits",
    },
    "core/linalg.py:_multiply": {
        "np.matmul(left, right, out=BUFFERS.take('product', block.shape))": "operands on grids of 26 bits",
    },
    "core/linalg.py:_multiply_few": {
        "np.matmul(left, wide.T)": "operands on grids of 26 bits",
    },
    "core/linalg.py:multiply": {
        "np.matmul(a, b)": "operands on grids of 26 bits, or as the docstring of mixing says",
    },
    "core/machine.py:check_arithmetic": {
        "left @ right": "integers",
        "left.astype(np.float64) @ right.astype(np.float64)": "the probe of exact products",
    },
    "core/random.py:_ends": {
        "np.add.accumulate(weights, out=ends)": "sequential by definition",
    },
    "core/reductions.py:_running_sums": {
        "np.add.accumulate(x.astype(np.float64), axis=1)": "sequential by definition",
    },
    "core/selftest.py:cases": {
        "(integers(8, 64) % 8 + 11863270.0) @ (integers(64, 8) % 8 + 11863270.0)": "integers below 2^53",
        "grid @ grid.T": "integers below 2^53",
        "grid.T @ np.ascontiguousarray(grid)": "integers below 2^53",
        "grid.sum(axis=0)": "integers below 2^53",
        "np.add.reduceat(integers(500), np.arange(0, 500, 7))": "integers below 2^53",
    },
    "core/trigonometry.py:": {
        "2.0 ** (52 + 27)": "a power of two, of Python numbers",
    },
    "core/trigonometry.py:_reduce": {
        "2.0 ** (-_FIRST)": "a power of two, of Python numbers",
    },
    "core/trigonometry.py:_table": {
        "2.0 ** (1 - _PIECE * (i + 1))": "a power of two, of Python numbers",
    },
    "lm/evaluation.py:evaluate": {
        "lengths[targets].sum()": "integers",
    },
}


def violations(source: str) -> list[tuple[int, str, str]]:
    """Line, function and text of every expression that may depend on the machine; the function is empty outside of functions."""
    found: list[tuple[int, str, str]] = []

    def visit(node: ast.AST, parent: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}" if function else node.name
        if is_violation(node, parent):
            found.append((node.lineno, function, ast.unparse(node)))  # type: ignore[attr-defined] - expressions and imports have lines
        for child in ast.iter_child_nodes(node):
            visit(child, node, function)

    visit(tree := ast.parse(source), tree, "")
    return found


def is_violation(node: ast.AST, parent: ast.AST) -> bool:
    return is_operator(node) or is_import(node) or is_call(node) or is_reference(node, parent)


def is_operator(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.MatMult()) | ast.AugAssign(op=ast.MatMult() | ast.Pow()):
            return True
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            return not is_power_of_two(base, exponent)
    return False


def is_import(node: ast.AST) -> bool:
    """Whether NumPy is imported under another name than np, or in parts: the names are searched for as np.name."""
    match node:
        case ast.Import(names=names):
            return any(one.name.split(".")[0] == "numpy" and not is_plain_import(one) for one in names)
        case ast.ImportFrom(module=str(module)):
            return module == "numpy"
    return False


def is_call(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="partition"), args=[ast.Constant(value=str())]):  # of a string, not of an array
            return False
        case ast.Call(func=ast.Attribute(value=owner, attr=name), keywords=keywords):
            return is_inexact(ast.unparse(owner), name, [ast.unparse(keyword) for keyword in keywords])
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
            return is_inexact(ast.unparse(owner), name, [])
    return False


def is_reference(node: ast.AST, parent: ast.AST) -> bool:
    """Whether a function is given another name or handed on: ``m = np.matmul``, ``m = np``, ``f = x.sum``."""
    match node:
        case ast.Name(id="pow"):
            return True
        case ast.Name(id="np"):
            return not isinstance(parent, ast.Attribute)
        case ast.Attribute(value=owner, attr=name, ctx=ast.Load()) if not (isinstance(parent, ast.Call) and parent.func is node):
            return is_inexact(ast.unparse(owner), name, [])
    return False


def is_plain_import(name: ast.alias) -> bool:
    return (name.name, name.asname) in {("numpy", "np"), ("numpy.typing", "npt")}


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


def is_inexact(owner: str, name: str, keywords: list[str]) -> bool:
    """Whether ``owner.name`` is an array method or NumPy function of unspecified order (ruff bans the other functions by name)."""
    if name in {"__matmul__", "__rmatmul__", "__imatmul__", "__pow__", "__rpow__", "__ipow__"}:
        return True
    if name in UFUNC_METHODS:
        return owner not in ORDERLESS | {"functools", "itertools"}
    if name in {"sort", "argsort"}:
        return owner not in OURS and "kind='stable'" not in keywords
    if name in {"partition", "argpartition"}:
        return True
    return (owner, name) == ("np", "matmul") or (name in REDUCTIONS and owner not in OURS | {"np", "math"})


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in ROOT.glob(f"packages/{package}/src/**/*.py") if place(path) != FAST)


def place(path: Path) -> str:
    """``core/linalg.py``, or ``autograd/ops/shapes.py``."""
    return path.as_posix().split("/src/samebits/")[1]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_depends_on_the_machine(path: Path) -> None:
    found = [
        f"{path}:{line}: in {function or 'the module'}: {text}"
        for line, function, text in violations(path.read_text())
        if text not in EXACT.get(f"{place(path)}:{function}", ())
    ]
    assert found == []


def test_every_exception_is_used() -> None:
    seen = {(f"{place(path)}:{function}", text) for path in sources() for _, function, text in violations(path.read_text())}
    assert {(where, text) for where, texts in EXACT.items() for text in texts} - seen == set()


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
        "import numpy",
        "import numpy as xp",
        "import numpy.linalg as la",
        "m = np.matmul",
        "m = np",
        "apply(np.matmul, a, b)",
        "functools.reduce(np.add.reduce, xs)",
        "f = x.sum",
        "order = np.argsort",
        "getattr(x, 'sum')()",
        "getattr(np, 'matmul')(a, b)",
        "a.__matmul__(b)",
    ],
)
def test_expressions_that_depend_on_the_machine_are_found(source: str) -> None:
    assert violations(source)


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
        "total = np.add",
        "import numpy as np",
        "import numpy.typing as npt",
        "f = core.sum",
    ],
)
def test_reproducible_expressions_are_allowed(source: str) -> None:
    assert violations(source) == []


def test_a_violation_is_named_with_its_function() -> None:
    source = "class A:\n    def f(self):\n        return self.x @ self.y\nx @ y\n"
    assert violations(source) == [(3, "A.f", "self.x @ self.y"), (4, "", "x @ y")]


def test_an_exception_holds_for_one_function_of_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "packages/core/src/samebits/core"
    folder.mkdir(parents=True)
    for name, function in (("linalg.py", "other"), ("machine.py", "multiply"), ("deep_fast.py", "f")):
        (folder / name).write_text(f"def {function}(a, b):\n    return np.matmul(a, b)\n")
        with pytest.raises(AssertionError):
            test_nothing_depends_on_the_machine(folder / name)
    (folder / "linalg.py").write_text("def multiply(a, b):\n    return np.matmul(a, b)\n")
    test_nothing_depends_on_the_machine(folder / "linalg.py")
