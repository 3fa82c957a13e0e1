"""Probe: call a function once in this process and leave its result in files.

    python -m samebits.drift.probe mypackage.module:function FOLDER

The result, an array or a number or tuples, lists and dicts of these, becomes one ``.npy`` file an array in ``FOLDER``. What was
found is printed as one JSON object: the arrays' names, digests, dtypes and shapes, or the problem, in a sentence.
What the function itself prints goes to standard error.
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

__all__ = ["find", "flatten", "probe"]

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}
_WANTED = "an array, a number, or a tuple, list or dict of these"


def probe(name: str, folder: Path) -> dict[str, Any]:
    """Call the function ``name`` (``module:function``) and save what it returns.

    Returns:
        ``machine``, ``in_effect``, and ``arrays`` (name, digest, dtype and shape of each, saved as ``0.npy``, ``1.npy``, …);
        or ``problem``, what kept it from that.
    """
    try:
        arrays = list(flatten(call(find(name), name)))
        found = [_saved(path, array, folder / f"{index}.npy") for index, (path, array) in enumerate(arrays)]
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        return {"problem": str(error)}
    if not found:
        return {"problem": f"{name} returned nothing to compare: it must return {_WANTED}"}
    machine = describe_machine()
    return {"machine": asdict(machine), "in_effect": in_effect(machine), "arrays": found}


def find(name: str) -> Any:
    """The function that ``module:function`` names.

    Raises:
        LookupError: there is no such module, or nothing of that name in it.
        RuntimeError: the module cannot be imported.
        TypeError: what has that name cannot be called without arguments.
    """
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            where = "this folder and the installed packages" if not sys.flags.safe_path else "the installed packages"
            raise LookupError(f"there is no module {error.name!r} in {where}") from error
        raise RuntimeError(f"importing {module_name} failed: {_described(error)}") from error
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"importing {module_name} failed: {_described(error)}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            own = [key for key, value in vars(found).items() if inspect.isfunction(value) and not key.startswith("_")]
            there = f"; it has {', '.join(own[:12])}" if own else ""
            raise LookupError(f"there is no function {path!r} in {module_name}{there}")
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} must be a function without arguments, not {type(found).__name__}")
    with contextlib.suppress(ValueError):  # some built-in functions have no signature
        needed = [
            one for one in inspect.signature(found).parameters.values() if one.default is one.empty and one.kind not in (2, 4)
        ]
        if needed:
            names = ", ".join(one.name for one in needed)
            raise _NeedsArgumentsError(f"{name} must take no arguments, but asks for {names}: write a function that calls it")
    return found


class _NeedsArgumentsError(TypeError):
    """Not a ValueError of `inspect.signature`."""


def call(function: Any, name: str) -> Any:
    """The function's result; RuntimeError, with the place, for whatever it raises."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"{name} failed: {_described(error)}") from error


def _described(error: BaseException) -> str:
    """An exception and where it came from, in one line."""
    frames = [
        one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith("<") and one.filename != __file__
    ]
    frames = [one for one in frames if "importlib" not in one.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    if isinstance(error, SyntaxError):
        place = ""  # its own text has the place
    return f"{type(error).__name__}: {error}{place}"


def flatten(value: Any, path: str = "result") -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The arrays in a result, each with the expression that gets it, such as ``result['loss'][0]``.

    Raises:
        TypeError: there is something in it that is neither an array nor a number.
        ValueError: a Python integer does not fit int64.
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
        raise TypeError(f"{path} is {_kind(value)}, and cannot be compared: the function must return {_WANTED}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _as_array(value: Any, kind: type, path: str) -> npt.NDArray[Any]:
    """Python numbers in the dtype of the same precision, the same on every platform."""
    try:
        return np.asarray(value, _NUMBERS[kind])
    except OverflowError as error:
        raise ValueError(f"{path} holds an integer beyond int64: return it as an array of a dtype that fits") from error


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
        found = probe(name, Path(folder))
    json.dump(found, answer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
