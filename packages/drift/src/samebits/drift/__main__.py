"""``python -m samebits.drift``: the drift command with Python and NumPy alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from samebits.drift.command import DESCRIPTION, HELP, Options, run_command

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m samebits.drift",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="MODULE:FUNCTION | FILES", help=HELP["targets"])
    add("--numpy", dest="numpys", action="append", default=[], metavar="VERSION", help=HELP["numpys"])
    add("--timeout", type=float, default=Options.timeout, metavar="SECONDS", help=f"{HELP['timeout']} Default: %(default)g.")
    add("--join", action="store_true", help=HELP["join"])
    add("--record", type=Path, metavar="FOLDER", help=HELP["record"])
    add("--render", type=Path, metavar="FOLDER", help=HELP["render"])
    add("--json", dest="as_json", action="store_true", help=HELP["as_json"])
    return run_command(Options(**vars(parser.parse_args(arguments))))


if __name__ == "__main__":
    sys.exit(main())
