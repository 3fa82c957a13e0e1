"""``./nox -s tree``: draw the tree of technologies into docs/, or show one technology in the terminal."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tools.matrix import TESTED, fingerprint
from tools.tree import Tree, page, terminal

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./nox -s tree --", description=__doc__)
    parser.add_argument("technology", nargs="?", help="show this technology and all it requires, such as attention or linalg")
    parser.add_argument("--list", action="store_true", help="show all technologies as a table")
    chosen = parser.parse_args()
    found, console = Tree.read(ROOT), Console(highlight=False)
    if chosen.list:
        terminal.show(found, console, fingerprint(ROOT, TESTED))
    elif chosen.technology:
        try:
            terminal.show_one(found, terminal.choose(found, chosen.technology), console)
        except ValueError as error:
            console.print(str(error), style="red", markup=False)
            return 2
    else:
        page.write(found, ROOT / "docs")
        print("docs/tree.md and docs/tree.svg are written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
