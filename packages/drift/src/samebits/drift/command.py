"""Command: what ``python -m samebits.drift`` and ``samebits drift`` do, whatever parses their options and prints their lines.

Progress and errors go to standard error, the answer to standard output.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samebits.core.records import RecordError, convert, read_json, shown
from samebits.drift import drift_map, verdict
from samebits.drift.drift_map import DriftMap
from samebits.drift.investigation import investigate
from samebits.drift.picture import write_page
from samebits.drift.record import measure_cell, write_record
from samebits.drift.report import Line, map_lines, plain_text, verdict_lines
from samebits.drift.variants import ProcessResult, available, kernels
from samebits.drift.verdict import Verdict, join_verdicts

__all__ = ["DESCRIPTION", "HELP", "Options", "PlainOutput", "run_command"]

DESCRIPTION = """Find what changes bits here: the CPU level, BLAS kernel, threads, C library or NumPy version.

Without arguments, run some 270 NumPy operations and their samebits counterparts. With MODULE:FUNCTION, run your function.

Exit status: 0 the same bits everywhere (of your function, or of the counterparts), 1 other bits, 2 an error."""

HELP = {
    "targets": "A function of yours that takes no arguments; with --join, the files to join.",
    "numpys": "Run the function on this NumPy as well, such as 2.3. May be repeated.",
    "timeout": "Stop a run of the function after this many seconds.",
    "join": "Join FILES written by --record, or the --json output of several machines about one function.",
    "record": "Write the measured digests to this folder, for --join.",
    "render": "Write the drift map, drift.md and drift.svg, to this folder.",
    "as_json": "Print one JSON object instead of text.",
}
"""The help text of every option."""


@dataclass(frozen=True)
class Options:
    """The options of the command, described in `HELP`."""

    targets: Sequence[str] = ()
    numpys: Sequence[str] = ()
    timeout: float = 600.0
    join: bool = False
    record: Path | None = None
    render: Path | None = None
    as_json: bool = False

    def check(self) -> None:
        """Raise ValueError for options that do not fit together."""
        if self.timeout <= 0:
            raise ValueError(f"--timeout must be positive, got {self.timeout:g}")
        if self.join and not self.targets:
            raise ValueError("--join requires the files to join, such as reports/drift/*.json")
        if self.join and (self.numpys or self.record):
            raise ValueError("--join runs nothing: leave out --numpy and --record")
        if not self.join and len(self.targets) > 1:
            given = " ".join(self.targets)
            raise ValueError(
                f"MODULE:FUNCTION must be one function, got {len(self.targets)}: {given} (to join files, add --join)"
            )
        if not self.join and self.targets and (self.record or self.render):
            raise ValueError("--record and --render are for NumPy's operations, not for a function: use --json")
        if self.numpys and not self.targets:
            raise ValueError("--numpy requires a function, given as module:function")


class PlainOutput:
    """Prints lines and progress as plain text; a subclass may print them in another way."""

    def show(self, line: Line) -> None:
        """Print a line of the answer."""
        print(plain_text(line).rstrip())

    def error(self, message: str) -> None:
        """Print an error."""
        print(f"error: {message}", file=sys.stderr)

    def progress(self, what: str, total: int) -> AbstractContextManager[Callable[[ProcessResult], None]]:
        """Provide a function that shows the result of one process of `total`."""
        return _lines_of_progress(what, total)


@contextmanager
def _lines_of_progress(what: str, total: int) -> Iterator[Callable[[ProcessResult], None]]:
    count = 0

    def done(one: ProcessResult) -> None:
        nonlocal count
        count += 1
        print(f"{what}: {count} of {total}, {one.variant.name}{' failed' * bool(one.error)}", file=sys.stderr)

    yield done


def run_command(options: Options, output: PlainOutput | None = None) -> int:
    """Do what the options ask for.

    Returns:
        The exit status: 0 the same bits, 1 other bits, 2 an error, 130 interrupted.

    Example:
        >>> run_command(Options(timeout=-1.0))
        2
    """
    output = output or PlainOutput()
    try:
        options.check()
        if options.join:
            found = _joined([Path(target) for target in options.targets])
        elif options.targets:
            found = _investigated(options, output)
        else:
            found = _measured(options, output)
        return _answer(found, options, output)
    except (ValueError, RuntimeError, OSError) as error:
        output.error(str(error))
        return 2
    except KeyboardInterrupt:
        output.error("interrupted")
        return 130


def _measured(options: Options, output: PlainOutput) -> DriftMap:
    with output.progress("NumPy operations", len(available()) + 1 + len(kernels())) as done:
        record = measure_cell(done=done)
    if options.record:
        write_record(record, options.record)
    return DriftMap.of([record])


def _investigated(options: Options, output: PlainOutput) -> Verdict:
    function = options.targets[0]
    with output.progress(function, len(available()) + 1 + len(options.numpys)) as done:
        return investigate(function, numpys=options.numpys, timeout=options.timeout, done=done)


def _joined(paths: Sequence[Path]) -> DriftMap | Verdict:
    """The map or the verdict in some files, depending on their format.

    Raises:
        ValueError: A file was not written by ``--record`` or ``--json``; the message names the file and the field.
    """
    try:
        answers = [read_json(path, dict[str, Any]) for path in paths]
    except RecordError as error:
        raise ValueError(f"--join: FILES must be written by --record or --json; {error}") from None
    kinds: dict[Any, Any] = {verdict.FORMAT: verdict.VerdictFile, drift_map.FORMAT: drift_map.CellFile}
    first = answers[0].get("format")
    for path, answer in zip(paths, answers, strict=True):
        found = answer.get("format")
        if not isinstance(found, str) or found not in kinds or found != first:
            raise ValueError(
                f"--join: FILES must all have the format {drift_map.FORMAT} or all {verdict.FORMAT}, got {shown(found)} in {path}"
            )
        if isinstance(answer.get("where"), dict) and "joined" in answer["where"]:
            raise ValueError(f"--join: {path} is the output of --join itself; join the files that it was made from")
        convert(answer, kinds[found], source=str(path))
    return DriftMap.of(answers) if first == drift_map.FORMAT else join_verdicts(answers, list(map(str, paths)))


def _answer(found: DriftMap | Verdict, options: Options, output: PlainOutput) -> int:
    """Print the answer, draw the map if asked for, and return the exit status."""
    if isinstance(found, Verdict):
        status, lines = found.status, verdict_lines(found)
    else:
        status = int(any(row.is_wrong for row in found.rows))
        lines = map_lines(found, summary_only=bool(options.record or options.render))
        if options.render:
            write_page(found, options.render)
    if options.as_json:
        print(json.dumps(found.as_json()))
        return status
    for line in lines:
        output.show(line)
    return status
