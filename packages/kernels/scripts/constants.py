"""Write constants.h, the numbers of the C sources, from those of the NumPy versions: python packages/kernels/scripts/constants.py."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from samebits.core import constants, ties
from samebits.core.trigonometry import _FIRST, _PIECES, _table
from samebits.nn import mills

PATH = Path(__file__).parents[1] / "src/samebits/kernels/c/constants.h"
LAST = 127 - 52  # the exponent of the last bit of the largest float32, as a float64

HEAD = """/* Numbers of the NumPy versions; made by packages/kernels/scripts/constants.py, not by hand.
 *
 * core/constants.py says what each is, core/ties.py what the pairs of bits are, nn/mills.py the ratio of Mills.
 */
#ifndef SAMEBITS_CONSTANTS_H
#define SAMEBITS_CONSTANTS_H

#include <stdint.h>
"""


def written() -> str:
    """The text of constants.h."""
    lines = [HEAD]
    for module in (constants, mills):
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, float):
                lines.append(f"static const double {name} = {value.hex()}; /* {value!r} */")
            elif name.isupper() and isinstance(value, tuple):
                lines.append(f"static const double {name}[{len(value)}] = {_list(map(float.hex, value))};")
    for name, pairs in vars(ties).items():
        if name.isupper():
            bits = [f"{{0x{given:08x}, 0x{right:08x}}}" for given, right in pairs.items()]
            lines.append(f"static const uint32_t {name}_TIES[{len(bits)}][2] = {_list(bits)};")
    lines += ["/* 2^e / pi modulo 2 in pieces, for every e from FIRST on. NumPy version: trigonometry._table */"]
    rows = [_list(map(float.hex, row)) for row in _table()[: LAST - _FIRST + 1].tolist()]
    lines += [f"enum {{ FIRST = {_FIRST}, PIECES = {_PIECES} }};"]
    lines += [f"static const double TURNS[{len(rows)}][PIECES] = {_list(rows)};", "", "#endif", ""]
    return "\n".join(lines)


def _list(values: Iterable[str] | Sequence[str]) -> str:
    return "{\n    " + ",\n    ".join(values) + ",\n}"


if __name__ == "__main__":
    PATH.write_text(written())
