"""Atomic file writes, from `samebits.core.files`: loaded by its path, since `samebits.core` needs NumPy and nox's environment has none."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

__all__ = ["replace_text"]

if TYPE_CHECKING:
    from samebits.core.files import replace_text
else:
    _SOURCE = Path(__file__).parents[1] / "packages/core/src/samebits/core/files.py"
    _SPEC = importlib.util.spec_from_file_location("samebits_core_files", _SOURCE)
    _MODULE = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(_MODULE)
    replace_text = _MODULE.replace_text
