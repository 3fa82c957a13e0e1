"""Atomic file writes and strict reading of records, from `samebits.core.files` and `samebits.core.records`.

They are loaded by their paths, since `samebits.core` needs NumPy and nox's environment has none.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["Limits", "RecordError", "convert", "parse_json", "parse_toml", "read_json", "replace_text"]

if TYPE_CHECKING:
    from samebits.core.files import replace_text
    from samebits.core.records import Limits, RecordError, convert, parse_json, parse_toml, read_json
else:

    def _load(name: str) -> ModuleType:
        source = Path(__file__).parents[1] / f"packages/core/src/samebits/core/{name}.py"
        spec = importlib.util.spec_from_file_location(f"samebits_core_{name}", source)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    replace_text = _load("files").replace_text
    _RECORDS = _load("records")
    Limits, RecordError = _RECORDS.Limits, _RECORDS.RecordError
    convert, parse_json, parse_toml, read_json = _RECORDS.convert, _RECORDS.parse_json, _RECORDS.parse_toml, _RECORDS.read_json
