"""Make `samebits/text/unicode_table.py`: letters, numbers and white space of one Unicode version, from `unicodedata`.

The version is that of the tables in tiktoken 0.14 and in Hugging Face `tokenizers` 0.22, so that words end where theirs
do. It runs on a Python that carries this version: CPython 3.14.

    python3.14 packages/text/scripts/unicode_classes.py            write the module
    python3.14 packages/text/scripts/unicode_classes.py --check    exit with 1 if the module is not what this script makes
"""

import argparse
import sys
import textwrap
import unicodedata
from collections.abc import Callable
from pathlib import Path

VERSION = "16.0.0"
TARGET = Path(__file__).parents[1] / "src" / "samebits" / "text" / "unicode_table.py"

HEADING = f'''"""Letters, numbers and white space of Unicode {VERSION}; made by `scripts/unicode_classes.py`, not by hand.

A run of code points is written as the distance from the end of the run before, and `+` how many follow its first, in
hexadecimal digits: `41+19` at the beginning is A to Z.
"""

VERSION = "{VERSION}"
'''


def is_space(character: str) -> bool:
    """The property White_Space; str.isspace counts the four information separators too, which do not have it."""
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"


CLASSES: dict[str, Callable[[str], bool]] = {
    "LETTERS": lambda character: unicodedata.category(character)[0] == "L",
    "NUMBERS": lambda character: unicodedata.category(character)[0] == "N",
    "SPACES": is_space,
}


def runs(belongs: Callable[[str], bool]) -> str:
    """The code points of a class, written as runs."""
    words, end = [], 0
    members = [code for code in range(sys.maxunicode + 1) if belongs(chr(code))]
    starts = [code for code, before in zip(members, [-2, *members], strict=False) if code != before + 1]
    ends = [code for code, after in zip(members, [*members[1:], -2], strict=True) if code + 1 != after]
    for first, last in zip(starts, ends, strict=True):
        words.append(f"{first - end:x}" + (f"+{last - first:x}" if last > first else ""))
        end = last
    return " ".join(words)


def module() -> str:
    """The text of `unicode_table.py`."""
    if unicodedata.unidata_version != VERSION:
        raise SystemExit(f"this Python carries Unicode {unicodedata.unidata_version}: one with {VERSION} is needed")
    lines = [HEADING.rstrip()]
    for name, belongs in CLASSES.items():
        lines += [f'{name} = """', *textwrap.wrap(runs(belongs), 120), '"""']
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the module, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        TARGET.write_text(module(), encoding="utf-8", newline="\n")
        return 0
    same = TARGET.read_text(encoding="utf-8") == module()
    print(f"{TARGET.name}: {'as made by this script' if same else 'NOT what this script makes'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
