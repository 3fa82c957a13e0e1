"""No generator of ours yields inside a block that changes what its caller computes with."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = {"numerics", "no_grad", "detect_anomaly", "errstate"}

pytestmark = pytest.mark.once


def leaks(source: str) -> Iterator[int]:
    """Lines of such blocks; a context manager is meant to have one."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or "contextmanager" in str(
            [ast.unparse(one) for one in function.decorator_list]
        ):
            continue
        for block in ast.walk(function):
            if isinstance(block, ast.With | ast.AsyncWith) and any(
                isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(block)
            ):
                called = {ast.unparse(one.context_expr.func) for one in block.items if isinstance(one.context_expr, ast.Call)}
                if {name.rpartition(".")[2] for name in called} & SETTINGS:
                    yield block.lineno


def test_such_a_block_is_found() -> None:
    block = "def tokens():\n    with core.numerics('fast'):\n        yield 1\n"
    assert list(leaks(block)) == [2]
    assert not list(leaks("@contextmanager\n" + block))
    assert not list(leaks(block.replace("core.numerics('fast')", "open('tokens')")))


def test_no_generator_yields_inside_a_block_of_settings() -> None:
    paths = [path for folder in ("packages", "tools") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 100
    assert [f"{path}:{line}" for path in paths for line in leaks(path.read_text(encoding="utf-8"))] == []
