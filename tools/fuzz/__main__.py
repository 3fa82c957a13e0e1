"""Fuzz tests of every file that is read: damaged ones must be refused by name, or be valid.

    python -m tools.fuzz --count 2000 --seed 7 --subject checkpoint
    python -m tools.fuzz --replay reports/fuzz/checkpoint-7-513

A mutant depends on the seed, its subject and its number alone. What fails is saved under these three.
"""

import argparse
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from tools.fuzz.subjects import Subject, subjects

__all__ = ["fuzz", "main", "replay"]

COUNT = 100_000
SLOW = 20.0  # seconds


def fuzz(subject: Subject, numbers: range, seed: int, saved: Path) -> tuple[dict[str, int], bool]:
    """Try mutants of one subject: how many were accepted, refused and failed, and whether it was interrupted."""
    counts = {"mutants": 0, "accepted": 0, "refused": 0, "failed": 0}
    shown = 0.0
    try:
        for number in numbers:
            if sys.stderr.isatty() and time.perf_counter() > shown + 0.2:
                print(f"\r{subject.name} {number:,} of {len(numbers):,}", end="", file=sys.stderr, flush=True)
                shown = time.perf_counter()
            mutant = subject.mutant(seed, number)
            counts[_outcome(subject, mutant, saved / f"{subject.name}-{seed}-{number}")] += 1
            counts["mutants"] += 1
    except KeyboardInterrupt:
        return counts, True
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return counts, False


def _outcome(subject: Subject, mutant: bytes, saved: Path) -> str:
    """Whether a mutant was accepted, refused or failed; a failed one is saved with what was raised."""
    began = time.perf_counter()
    try:
        accepted, _ = subject.try_mutant(mutant)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the result
        message, found = f"{type(error).__name__}: {str(error)[:300]}", traceback.format_exc()
    else:
        seconds = time.perf_counter() - began
        if seconds < SLOW:
            return "accepted" if accepted else "refused"
        message = found = f"reading took {seconds:.0f} s"
    saved.parent.mkdir(parents=True, exist_ok=True)
    saved.write_bytes(mutant)
    saved.with_suffix(".txt").write_text(found, "utf-8", "backslashreplace")
    print(f"{saved.name}: {message}", flush=True)
    return "failed"


def replay(file: Path, known: Sequence[Subject]) -> int:
    """Read a saved mutant again and print what becomes of it; returns the exit status."""
    subject = next((one for one in known if one.name == file.name.split("-")[0]), None)
    if subject is None:
        raise ValueError(f"fuzz: --replay must name a file SUBJECT-SEED-NUMBER, got {file}")
    try:
        accepted, message = subject.try_mutant(file.read_bytes())
    except Exception:  # noqa: BLE001 - whatever is raised is shown
        traceback.print_exc()
        return 1
    print("accepted" if accepted else f"refused: {message}")
    return 0


def main(arguments: Sequence[str], saved: Path) -> int:
    """Run the mutants and print the counts of each subject; returns the exit status."""
    parser = argparse.ArgumentParser(prog="./nox -s fuzz --", description="Fuzz tests of every file that is read.")
    parser.add_argument("--count", type=int, default=COUNT, help="the number of mutants of all subjects together (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the mutants (%(default)s)")
    parser.add_argument("--subject", action="append", help="only this one; may be repeated")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read a mutant that failed once more")
    options = parser.parse_args(arguments)
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        known = subjects(Path(folder))
        if options.replay:
            return replay(options.replay, known)
        names = [one.name for one in known]
        if unknown := set(options.subject or ()) - set(names):
            parser.error(f"--subject must be one of {', '.join(names)}, got {', '.join(sorted(unknown))}")
        chosen = [one for one in known if one.name in (options.subject or names)]
        failed, interrupted = 0, False
        print(f"{'':12} {'mutants':>8} {'accepted':>8} {'refused':>8} {'failed':>8} {'seconds':>8}", flush=True)
        for place, subject in enumerate(chosen):
            count = (options.count * (place + 1)) // len(chosen) - (options.count * place) // len(chosen)
            began = time.perf_counter()
            counts, interrupted = fuzz(subject, range(count), options.seed, saved)
            numbers = " ".join(f"{number:8,}" for number in counts.values())
            print(f"{subject.name:12} {numbers} {time.perf_counter() - began:8.0f}", flush=True)
            failed += counts["failed"]
            if interrupted:
                break
    if failed:
        print(f"{failed} mutants failed; they are in {saved}: ./nox -s fuzz -- --replay FILE reads one again")
    return 130 if interrupted else int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path("reports/fuzz")))
