"""Locks: ``requirements/*.in`` written by hand, ``requirements/*.txt`` compiled from them with hashes.

A lock opens with two SHA-256 sums, one of the input it was made from (included files too) and one of its own lines:

    # Locked from test.in with `nox -s lock`: change that file, not this one.
    # sha256 of the input: 5b0c…
    # sha256 of the lines below: 9e1f…

so that `check` shows without a network that no input was edited since, and that no lock was edited by hand. pip and uv check
the hashes of the packages at installation. Standard library only: the sessions import it.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.files import replace_text

__all__ = ["check", "compile_lock", "main", "pins"]

_HEADER = """\
# Locked from {name}.in with `nox -s lock`: change that file, not this one.
# sha256 of the input: {input}
# sha256 of the lines below: {body}
"""
_PIP_SETTINGS = {"PIP_INDEX_URL", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"}
_COMPILE = [sys.executable, "-m", "piptools", "compile", "-q", "--generate-hashes", "--allow-unsafe"]
_COMPILE += ["--strip-extras", "--no-header", "--no-emit-options", "--no-annotate"]  # the same bytes under every Python


def check(folder: Path, only: Sequence[str] = ()) -> list[str]:
    """Compare every lock in ``folder``, or those in ``only``, with its input, offline.

    Returns:
        What is wrong, a sentence for each file; empty when every lock was made from its current input, is unedited, and
        carries a hash for every requirement.
    """
    names = {path.stem for path in folder.glob("*.in")} | {path.stem for path in folder.glob("*.txt")}
    if not names:
        return [f"{folder} holds no requirements (*.in): run this in the repository's root"]
    return [f"{folder / name}.txt {problem}" for name in sorted(only or names) if (problem := _problem(folder, name))]


def _problem(folder: Path, name: str) -> str | None:
    lock = folder / f"{name}.txt"
    if not (folder / f"{name}.in").exists():
        return f"has no input {name}.in: delete it, or restore its input"
    if not lock.exists():
        return f"is missing: compile it with `nox -s lock -- {name}`"
    text = lock.read_text(encoding="utf-8")
    body = "".join(line for line in text.splitlines(keepends=True)[_HEADER.count("\n") :])
    try:
        expected = _header(folder, name, body)
    except FileNotFoundError as error:
        return f"has an input that includes a missing file: {error.filename}"
    if text != expected + body:
        for line, what in zip(text.splitlines()[1:], expected.splitlines()[1:], strict=False):
            if line != what:
                part = "input was edited" if "input" in what else "lines were edited by hand"
                return f"is stale, its {part}: compile it again with `nox -s lock -- {name}`"
        return f"has no valid header: compile it again with `nox -s lock -- {name}`"
    bare = [line.split()[0] for line in _requirements(body) if "--hash=sha256:" not in line or "==" not in line]
    return f"has no pinned version or no hash for {', '.join(bare)}" if bare else None


def pins(lock: Path) -> dict[str, str]:
    """The versions a lock pins: ``{"numpy": "2.5.5"}``."""
    requirements = _requirements(lock.read_text(encoding="utf-8"))
    return dict(re.match(r"([^=\s]+)==([^\s;]+)", line).groups() for line in requirements)  # type: ignore[union-attr,misc]


def _requirements(body: str) -> list[str]:
    """The requirements of a lock, each with its hashes in one line."""
    lines = re.sub(r"\\\n\s*", " ", body).splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _header(folder: Path, name: str, body: str) -> str:
    source = "".join(_input_lines(folder / f"{name}.in"))
    return _HEADER.format(name=name, input=_sha256(source), body=_sha256(body))


def _input_lines(path: Path) -> list[str]:
    """The lines of an input, those of the files it includes among them."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        lines.append(line)
        if included := re.match(r"-[rc]\s+(\S+)", line):
            lines += _input_lines(path.parent / included[1])
    return lines


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def compile_lock(folder: Path, name: str, *, upgrade: bool = False) -> str:
    """Compile ``folder/NAME.in`` to ``folder/NAME.txt``, keeping the pinned versions unless ``upgrade``.

    Returns:
        What changed, in a line.

    Raises:
        RuntimeError: pip-tools failed; the message ends with its last line, and the old lock is untouched.
    """
    lock = folder / f"{name}.txt"
    before = lock.read_text(encoding="utf-8") if lock.exists() else ""
    # pip's other settings on this machine (extra indexes, constraints) must not influence a lock
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") or key in _PIP_SETTINGS}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "CUSTOM_COMPILE_COMMAND": "nox -s lock"}
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, lock.name)
        output.write_text(before, encoding="utf-8")
        command = [*_COMPILE, *(["--upgrade"] * upgrade), "-o", str(output), f"{name}.in"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{lock} cannot be compiled: {done.stderr.strip().splitlines()[-1]}")
        body = _own(folder / f"{name}.in", output.read_text(encoding="utf-8"))
    after = _header(folder, name, body) + body
    if after == before:
        return f"{lock}: unchanged"
    old = pins(lock) if before else {}
    replace_text(lock, after)
    moved = [f"{key} {old.get(key, '(new)')} -> {value}" for key, value in pins(lock).items() if old.get(key) != value]
    gone = [f"{key} {value} -> (removed)" for key, value in old.items() if key not in pins(lock)]
    return f"{lock}: {', '.join(moved + gone) or 'same versions, other hashes or input'}"


def _own(source: Path, body: str) -> str:
    """The lines that belong into a lock.

    Those of packages that a lock named with ``-c`` pins do not: they are installed from that lock alone, whose hashes nothing else
    can replace. With the line ``# no dependencies`` in the input, those that it does not name do not either.
    """
    text = source.read_text(encoding="utf-8")
    elsewhere = {name for lock in re.findall(r"^-c\s+(\S+)", text, re.MULTILINE) for name in pins(source.parent / lock)}
    named = {line.split("==")[0] for line in text.splitlines()} if "# no dependencies\n" in text else None
    parts = ((part.split("==")[0], part) for part in re.split(r"^(?=[^\s#])", body, flags=re.MULTILINE))
    return "".join(part for name, part in parts if name not in elsewhere and (named is None or name in named))


def main(arguments: Sequence[str], folder: Path = Path("requirements")) -> int:
    """``lock [--check] [--upgrade] [NAME ...]``: compile or check the named locks, by default all."""
    parser = argparse.ArgumentParser(prog="nox -s lock --", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="check offline that locks belong to their inputs")
    parser.add_argument("--upgrade", action="store_true", help="take newer releases where the inputs allow them")
    parser.add_argument("names", nargs="*", metavar="NAME", help="locks, such as numpy-2.5")
    options = parser.parse_args(arguments)
    known = sorted(path.stem for path in folder.glob("*.in"))
    if unknown := set(options.names) - set(known):
        parser.error(f"no input for {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    if options.check:
        problems = check(folder, options.names)
        count = len(options.names or known)
        whose = "1 lock belongs to its input" if count == 1 else f"{count} locks belong to their inputs"
        print("\n".join(problems) or f"{whose}, and every requirement has a hash")
        return bool(problems)
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_lock, folder, name, upgrade=options.upgrade) for name in options.names or known]
        for job in jobs:
            error = job.exception()
            failed += error is not None
            print(error or job.result(), flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
