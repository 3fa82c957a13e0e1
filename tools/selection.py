"""What nox's command line selects from the table of cells: `cells` lists the table, `refuse_unknown` checks the selection.

Standard library only: the sessions import it.
"""

import argparse
import ast
import re
from collections.abc import Mapping, Sequence

__all__ = ["cells", "refuse_unknown", "selection"]


def cells(supported: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The (Python, NumPy) pairs of a table from NumPy series to their Pythons, oldest Python first."""
    pairs = [(python, numpy) for numpy, pythons in supported.items() for python in pythons]
    return sorted(pairs, key=lambda pair: [[int(part) for part in version.split(".")] for version in pair])


def selection(arguments: Sequence[str]) -> argparse.Namespace:
    """The ``sessions``, ``pythons`` and ``tags`` of nox's command line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-s", "-e", "--session", "--sessions", dest="sessions", nargs="*", default=[])
    parser.add_argument("-p", "--python", "--pythons", dest="pythons", nargs="*", default=[])
    parser.add_argument("-t", "--tags", dest="tags", nargs="*", default=[])
    return parser.parse_known_args(arguments[: arguments.index("--")] if "--" in arguments else arguments)[0]


def refuse_unknown(selected: argparse.Namespace, supported: Mapping[str, Sequence[str]]) -> None:
    """Exit with the list of valid cells if ``selected`` names another, of which nox would only report that it found nothing."""
    pairs = cells(supported)
    names = {_plain(f"tests(python='{python}', numpy='{numpy}')") for python, numpy in pairs}
    unknown = [name for name in selected.sessions if re.match(r"\s*tests\s*\(", name) and _plain(name) not in names]
    unknown += [python for python in selected.pythons if python not in {python for python, _ in pairs}]
    unknown += [tag for tag in selected.tags if tag.removeprefix("numpy-") not in supported]
    if unknown:
        table = "\n".join(f"  numpy-{numpy} on Python {', '.join(pythons)}" for numpy, pythons in supported.items())
        example = "tests(python='{}', numpy='{}')".format(*pairs[-1])
        raise SystemExit(f'no such cell: {", ".join(unknown)}\nThe cells:\n{table}\nOne cell: -s "{example}"')


def _plain(name: str) -> str:
    """The name of a cell in one spelling, as nox compares them: any quotes and spaces."""
    try:
        return ast.unparse(ast.parse(name.strip()))
    except SyntaxError:
        return name
