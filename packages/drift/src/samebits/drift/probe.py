"""Probe: call a function once in this process and save its result.

    python -m samebits.drift.probe mypackage.module:function FOLDER

The result is an array, a number, or tuples, lists and dicts of these; each array becomes a ``.npy`` file in ``FOLDER``. One JSON
object is printed: the names, digests, dtypes and shapes of the arrays, or the problem in a sentence. What the function itself
prints goes to standard error.
"""

import contextlib
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samebits.core import describe_machine, digest
from samebits.drift.variants import in_effect

__all__ = ["find_function", "flatten", "run_probe"]

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}
_COMPARABLE = "an array, a number, or a tuple, list or dict of these"


def run_probe(name: str, folder: Path) -> dict[str, Any]:
    """Call the function ``name`` (``module:function``) and save what it returns.

    Returns:
        ``machine``, ``in_effect``, and ``arrays`` (name, digest, dtype and shape of each, saved as ``0.npy``, ``1.npy``, …);
        or ``problem``: why there is nothing to compare.
    """
    try:
        arrays = list(flatten(_call(find_function(name), name)))
        found = [_saved(path, array, folder / f"{index}.npy") for index, (path, array) in enumerate(arrays)]
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        return {"problem": str(error)}
    if not found:
        return {"problem": f"{name} must return {_COMPARABLE}, got nothing to compare"}
    machine = describe_machine()
    return {"machine": asdict(machine), "in_effect": in_effect(machine), "arrays": found}


def find_function(name: str) -> Any:
    """The function that ``module:function`` names.

    Raises:
        LookupError: The module does not exist, or has nothing of that name.
        RuntimeError: The import of the module fails.
        TypeError: The object of that name cannot be called without arguments.

    Example:
        >>> find_function("platform:machine").__name__
        'machine'
    """
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            where = "this folder and the installed packages" if not sys.flags.safe_path else "the installed packages"
            raise LookupError(f"no module {error.name!r} in {where}") from error
        raise RuntimeError(f"importing {module_name} failed: {_described(error)}") from error
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"importing {module_name} failed: {_described(error)}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            own = [key for key, value in vars(found).items() if inspect.isfunction(value) and not key.startswith("_")]
            there = f"; it has {', '.join(own[:12])}" if own else ""
            raise LookupError(f"no function {path!r} in {module_name}{there}")
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} must be a function without arguments, got {_kind(found)}")
    with contextlib.suppress(ValueError):  # some built-in functions have no signature
        needed = [
            one for one in inspect.signature(found).parameters.values() if one.default is one.empty and one.kind not in (2, 4)
        ]
        if needed:
            names = ", ".join(one.name for one in needed)
            raise _NeedsArgumentsError(f"{name} must take no arguments, but requires {names}; write a function that calls it")
    return found


class _NeedsArgumentsError(TypeError):
    """Not a ValueError of `inspect.signature`."""


def _call(function: Any, name: str) -> Any:
    """The result of the function. Raises RuntimeError, with file and line, for whatever it raises."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"{name} failed: {_described(error)}") from error


def _described(error: BaseException) -> str:
    """An exception and where it was raised, in one line."""
    frames = [
        one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith("<") and one.filename != __file__
    ]
    frames = [one for one in frames if "importlib" not in one.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    if isinstance(error, SyntaxError):
        place = ""  # its own text names file and line
    return f"{type(error).__name__}: {error}{place}"


def flatten(value: Any, path: str = "result") -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The arrays in a result, each with its expression, such as ``result['loss'][0]``.

    Raises:
        TypeError: A part is neither an array nor a number.
        ValueError: A Python integer does not fit int64.

    Example:
        >>> [name for name, _ in flatten({"a": (1, 2.5)})]
        ["result['a'][0]", "result['a'][1]"]
    """
    if isinstance(value, np.ndarray | np.generic):
        yield path, np.asarray(value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from flatten(part, f"{path}[{key!r}]")
    elif isinstance(value, tuple | list) and value and {type(part) for part in value} <= {type(value[0])} & set(_NUMBERS):
        yield path, _as_array(list(value), type(value[0]), path)
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from flatten(part, f"{path}[{index}]")
    elif type(value) in _NUMBERS:
        yield path, _as_array(value, type(value), path)
    elif hasattr(value, "__array__"):
        yield path, np.asarray(value)
    else:
        raise TypeError(f"{path} must be {_COMPARABLE}, got {_kind(value)}")


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _as_array(value: Any, kind: type, path: str) -> npt.NDArray[Any]:
    """Python numbers in a dtype of the same precision on every platform."""
    try:
        return np.asarray(value, _NUMBERS[kind])
    except OverflowError as error:
        raise ValueError(f"{path} must hold integers within int64; return larger ones as an array of floats") from error


def _saved(path: str, array: npt.NDArray[Any], file: Path) -> dict[str, Any]:
    try:
        name = digest(array)
    except TypeError as error:
        raise TypeError(f"{path} cannot be compared: {error}") from error
    np.save(file, array, allow_pickle=False)
    return {"name": path, "digest": name, "dtype": str(array.dtype), "shape": list(array.shape)}


def _main(name: str, folder: str) -> None:
    answer = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        found = run_probe(name, Path(folder))
    json.dump(found, answer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
