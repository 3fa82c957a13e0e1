"""``./nox -s tree``: draw the tree of technologies into docs/, or show one technology in the terminal."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tools.tree import Description, Tree, page, terminal

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./nox -s tree --", description=__doc__)
    parser.add_argument("technology", nargs="?", help="show this technology and all it requires, such as attention or linalg")
    chosen = parser.parse_args()
    found = Tree.read(Description.read(Path(__file__).with_name("technologies.toml"), ROOT))
    if not chosen.technology:
        page.write(found, ROOT / found.description.pages)
        print(f"written: {', '.join(f'{found.description.pages}/{name}' for name in page.files(found))}")
        return 0
    console = Console(highlight=False)
    try:
        terminal.show(found, terminal.choose(found, chosen.technology), console)
    except ValueError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
