"""Probe: call a function once in this process and save its result.

    python -m samebits.drift.probe mypackage.module:function FOLDER

The parts of the result (`samebits.drift.parts`) become ``.npy`` files in ``FOLDER``. One JSON object is printed: the names,
digests, dtypes and shapes of these arrays, or the problem in a sentence. What the function itself prints goes to standard error.
"""

import contextlib
import importlib
import inspect
import json
import sys
import traceback
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samebits.core import describe_machine
from samebits.drift.calls import find_calls, say_known
from samebits.drift.parts import COMPARABLE, flatten, save_part
from samebits.drift.variants import in_effect, untried

__all__ = ["find_function", "run_probe"]


def run_probe(name: str, folder: Path) -> dict[str, Any]:
    """Call the function ``name`` (``module:function``) and save what it returns.

    Returns:
        ``machine``, ``in_effect``, ``arrays`` (name, digest, dtype and shape of each, saved as ``0.npy``, ``1.npy``, …), ``calls`` of
        NumPy in its code and the variants that are ``untried``; or ``problem``: why there is nothing to compare.
    """
    try:
        function = find_function(name)
        arrays = list(flatten(_call(function, name)))
        found = [save_part(path, array, folder / f"{index}.npy") for index, (path, array) in enumerate(arrays)]
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        return {"problem": str(error)}
    if not found:
        return {"problem": f"{name} must return {COMPARABLE}, got nothing to compare"}
    if repeated := [path for path, count in Counter(path for path, _ in arrays).items() if count > 1]:
        return {"problem": f"{name} must return parts of different names, got several of the name {repeated[0]}"}
    machine = describe_machine()
    return {
        "machine": asdict(machine),
        "in_effect": in_effect(machine),
        "arrays": found,
        "calls": find_calls(function),
        "untried": untried(machine),
    }


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
        raise TypeError(f"{name} must be a function without arguments, got {type(found).__name__}")
    with contextlib.suppress(ValueError):  # some built-in functions have no signature
        needed = [
            one for one in inspect.signature(found).parameters.values() if one.default is one.empty and one.kind not in (2, 4)
        ]
        if needed:
            names = ", ".join(one.name for one in needed)
            known = (
                f". The drift map knows that these drift: {'; '.join(drifting)}"
                if (drifting := say_known(find_calls(found)))
                else ""
            )
            raise _NeedsArgumentsError(
                f"{name} must take no arguments, but requires {names}; write a function that calls it{known}"
            )
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


def _main(name: str, folder: str) -> None:
    answer = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        found = run_probe(name, Path(folder))
    json.dump(found, answer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
