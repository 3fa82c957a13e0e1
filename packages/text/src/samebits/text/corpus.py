r"""Basic dataset: named documents in a fixed order, with a digest.

A document's content is bytes, exactly as found: decoding may fail, and translating line ends would give different corpora
on different systems. `Document.text` decodes. The digest frames every name and content with its length, so that different
corpora never give the same bytes to hash:

    samebits.corpus/1 COUNT\n   then for each document   LENGTH LENGTH\n NAME CONTENT

Corpora come from `sources`; `cleaning` has rules for `Corpus.clean`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from samebits.core.arguments import number
from samebits.text.file_kinds import file_kind

__all__ = ["BOUNDARY", "Corpus", "Document"]

BOUNDARY = "\n\n"  # between documents that are joined to one text


@dataclass(frozen=True)
class Document:
    r"""A name, such as a path with slashes, and the bytes of one text.

    Args:
        name: The name, unique in its corpus.
        content: The bytes.

    Example:
        >>> document = Document("tea.txt", "thé".encode())
        >>> document.content, document.text
        (b'th\xc3\xa9', 'thé')
    """

    name: str
    content: bytes

    @property
    def text(self) -> str:
        """The content, decoded as UTF-8.

        Raises:
            ValueError: it is not UTF-8; the message gives the position.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            kind = file_kind(self.content)
            raise ValueError(
                f"text: document {self.name!r} must be UTF-8, got {self.content[error.start : error.start + 1]!r} at byte "
                f"{error.start}{f' of {kind}' if kind else ''}; use its content, or undecodable='replace', of Corpus.clean or as a setting"
            ) from error


@dataclass(frozen=True)
class Corpus:
    r"""A tuple of documents with a name and a license.

    Args:
        name: The name of the corpus.
        documents: The documents, with different names.
        license: The license of the texts.
        notes: What was left out or is unusual, one sentence each.

    Raises:
        ValueError: two documents have the same name.

    Example:
        >>> corpus = Corpus("two", (Document("a.txt", b"Once."), Document("b.txt", b"Upon a time.")))
        >>> len(corpus), corpus.size, corpus.text
        (2, 17, 'Once.\n\nUpon a time.')
        >>> corpus.digest[:16]
        '17252e8d07d75cbd'
    """

    name: str
    documents: tuple[Document, ...]
    license: str = "unknown"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for document in self.documents:
            if document.name in seen:
                raise ValueError(f"Corpus: documents must have different names, got {document.name!r} twice")
            seen.add(document.name)

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    def __repr__(self) -> str:
        return f"<Corpus {self.name!r}: {len(self)} documents, {self.size} bytes, {len(self.notes)} notes>"

    @property
    def size(self) -> int:
        """The number of bytes in all documents."""
        return sum(len(document.content) for document in self.documents)

    @property
    def text(self) -> str:
        r"""The text of all documents, joined by `BOUNDARY`, an empty line.

        Raises:
            ValueError: a document is not UTF-8.
        """
        return BOUNDARY.join(document.text for document in self.documents)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the documents' names and contents in order, in 64 hexadecimal digits; it depends on no other field."""
        state = hashlib.sha256(f"samebits.corpus/1 {len(self)}\n".encode())
        for document in self.documents:
            name = document.name.encode("utf-8", "surrogatepass")  # file names may have lone surrogates
            state.update(f"{len(name)} {len(document.content)}\n".encode() + name)
            state.update(document.content)
        return state.hexdigest()

    def clean(self, *rules: Callable[[str], str], undecodable: Literal["refuse", "replace"] = "refuse") -> "Corpus":
        """Apply rules, in order, to the text of every document. Documents that become empty are left out, with a note.

        Args:
            rules: Functions from text to text, such as those of `samebits.text.cleaning`.
            undecodable: For bytes that are not UTF-8: ``"refuse"`` raises, ``"replace"`` puts U+FFFD and adds a note.

        Returns:
            The cleaned corpus.

        Raises:
            ValueError: a document is not UTF-8, and ``undecodable`` is ``"refuse"``; or ``undecodable`` is something else.

        Example:
            >>> Corpus("loud", (Document("a", b"HEAR YE!"), Document("b", b"  "))).clean(str.lower, str.strip)
            <Corpus 'loud': 1 documents, 8 bytes, 1 notes>
        """
        if undecodable not in {"refuse", "replace"}:
            raise ValueError(f"clean: undecodable must be 'refuse' or 'replace', got {undecodable!r}")
        documents, notes = [], list(self.notes)
        for document in self.documents:
            text = document.content.decode(errors="replace") if undecodable == "replace" else document.text
            if undecodable == "replace" and text.encode() != document.content:
                notes.append(f"{document.name}: bytes that are not UTF-8 were replaced")
            for rule in rules:
                text = rule(text)
            if text:
                documents.append(Document(document.name, text.encode()))
            else:
                notes.append(f"{document.name}: empty after cleaning, left out")
        return replace(self, documents=tuple(documents), notes=tuple(notes))

    def split(
        self, validation: float = 0.1, by: Literal["documents", "position"] = "documents", keep: Iterable[str] = ()
    ) -> tuple["Corpus", "Corpus"]:
        """Split the corpus into a training and a validation part, deterministically.

        By documents: whole documents are taken in the order of the SHA-256 of their names, until they have the wanted share
        of the bytes. That order is as good as random, needs no seed, and does not depend on the other documents. By
        position: the end of the corpus is cut off at the start of a character, which may cut one document in two.

        Args:
            validation: The share of the bytes for validation, above 0 and below 1. By documents, the part may be larger by
                less than one document.
            by: ``"documents"`` or ``"position"``.
            keep: Strings that are not cut in two, such as special tokens.

        Returns:
            The training corpus and the validation corpus.

        Raises:
            TypeError: ``validation`` is not a number.
            ValueError: an argument is out of range, or one of the parts would be empty.

        Example:
            >>> corpus = Corpus("letters", tuple(Document(name, b"0123456789") for name in "abcdefgh"))
            >>> [[document.name for document in part] for part in corpus.split(0.25)]
            [['a', 'b', 'c', 'e', 'g', 'h'], ['d', 'f']]
        """
        share = number("split", "validation", validation)
        if not 0 < share < 1:
            raise ValueError(f"split: validation must be above 0 and below 1, got {validation}")
        if by not in {"documents", "position"}:
            raise ValueError(f"split: by must be 'documents' or 'position', got {by!r}")
        wanted = int(self.size * share)
        whole = [string.encode() for string in keep]
        parts = _split_documents(self.documents, wanted) if by == "documents" else _split_position(self.documents, wanted, whole)
        if not all(parts):
            raise ValueError(f"split: both parts must have documents, but with {by=} and {validation=} one of {self} is empty")
        train, held = (replace(self, documents=part) for part in parts)
        return replace(train, name=f"{self.name}, to train"), replace(held, name=f"{self.name}, to validate")


Parts = tuple[tuple[Document, ...], tuple[Document, ...]]


def _split_documents(documents: tuple[Document, ...], wanted: int) -> Parts:
    def key(document: Document) -> bytes:
        return hashlib.sha256(document.name.encode("utf-8", "surrogatepass")).digest()

    held: set[str] = set()
    for document in sorted(documents, key=key):
        if wanted <= 0:
            break
        held.add(document.name)
        wanted -= len(document.content)
    return tuple(d for d in documents if d.name not in held), tuple(d for d in documents if d.name in held)


def _split_position(documents: tuple[Document, ...], wanted: int, whole: list[bytes]) -> Parts:
    first, last = list(documents), []
    while first and wanted > 0:
        document = first.pop()
        cut = max(0, len(document.content) - wanted)
        while 0 < cut < len(document.content) and document.content[cut] & 0xC0 == 0x80:  # inside a character
            cut += 1
        for string in whole:
            start = document.content.rfind(string, max(0, cut - len(string) + 1), cut + len(string) - 1)
            if start >= 0:
                cut = start
        wanted -= len(document.content)
        if cut < len(document.content):
            last.append(Document(document.name, document.content[cut:]))
        if cut:
            first.append(Document(document.name, document.content[:cut]))
    return tuple(first), tuple(reversed(last))
