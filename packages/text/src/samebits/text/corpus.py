r"""Basic dataset: named documents in a fixed order, with a digest.

A document is bytes, exactly as they were found. Bytes are what files hold and what a byte-level tokeniser reads; decoding
can fail, and translating line ends would make two machines disagree. `Document.text` decodes where characters are wanted.
The digest frames every name and content with its length, so no two corpora run into the same bytes:

    samebits.corpus/1 COUNT\n   then for each document   LENGTH LENGTH\n NAME CONTENT

Where documents come from is left to `corpus`, and what is wrong with them to `cleaning`.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

__all__ = ["BOUNDARY", "Corpus", "Document"]

BOUNDARY = "\n\n"  # what stands between documents where they are joined to one text


@dataclass(frozen=True)
class Document:
    """A name, such as a path with slashes, and the bytes of one text."""

    name: str
    content: bytes

    @property
    def text(self) -> str:
        """The content as UTF-8.

        Raises:
            ValueError: it is not UTF-8; the message says where.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"document {self.name!r} is not UTF-8 from byte {error.start} on: "
                "use its bytes, or clean the corpus with undecodable='replace'"
            ) from error


@dataclass(frozen=True)
class Corpus:
    r"""Documents in order, what they are called together, and under which license they are.

    Args:
        name: What the corpus is called.
        documents: The documents, no two of the same name.
        license: A sentence for whoever passes the texts on.
        notes: What was left out or is odd, a sentence each: nothing is dropped without one.

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
                raise ValueError(f"documents: two are called {document.name!r}, but each needs a name of its own")
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
        r"""All documents as one text, with `BOUNDARY`, an empty line, between them.

        Raises:
            ValueError: a document is not UTF-8.
        """
        return BOUNDARY.join(document.text for document in self.documents)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the documents' names and contents in order, in 64 hexadecimal digits; other fields do not count."""
        state = hashlib.sha256(f"samebits.corpus/1 {len(self)}\n".encode())
        for document in self.documents:
            name = document.name.encode("utf-8", "surrogatepass")  # names of files may hold anything
            state.update(f"{len(name)} {len(document.content)}\n".encode() + name)
            state.update(document.content)
        return state.hexdigest()

    def clean(self, *rules: Callable[[str], str], undecodable: Literal["refuse", "replace"] = "refuse") -> "Corpus":
        """The corpus with every rule applied to every document's text, in that order.

        Args:
            rules: Functions from text to text, such as those of `samebits.text.cleaning`.
            undecodable: What to do with bytes that are not UTF-8: ``"refuse"``, or ``"replace"`` with U+FFFD and note it.

        Raises:
            ValueError: a document is not UTF-8, and ``undecodable`` is not ``"replace"``.

        Example:
            >>> Corpus("loud", (Document("a", b"HEAR YE!"), Document("b", b"  "))).clean(str.lower, str.strip)
            <Corpus 'loud': 1 documents, 8 bytes, 1 notes>
        """
        if undecodable not in {"refuse", "replace"}:
            raise ValueError(f"undecodable is {undecodable!r}: 'refuse' or 'replace' is needed")
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

    def split(self, validation: float = 0.1, by: Literal["documents", "position"] = "documents") -> tuple["Corpus", "Corpus"]:
        """A corpus to train on and one to validate with, the same every time.

        By documents: whole documents are taken, in the order of the SHA-256 of their names, until they hold the wanted
        share of the bytes. That is an order without meaning, so the documents come from everywhere; it needs no seed, and
        depends on no other document. By position: the end of the corpus is cut off, at the start of a character, which
        may cut one document in two.

        Args:
            validation: The share of the bytes to validate with, above 0 and below 1; less than a document more by documents.
            by: ``"documents"`` or ``"position"``.

        Raises:
            ValueError: an argument is none of these, or one of the two parts would be empty.

        Example:
            >>> corpus = Corpus("letters", tuple(Document(name, b"0123456789") for name in "abcdefgh"))
            >>> [[document.name for document in part] for part in corpus.split(0.25)]
            [['a', 'b', 'c', 'e', 'g', 'h'], ['d', 'f']]
        """
        if not 0 < validation < 1:
            raise ValueError(f"validation is {validation}: a share above 0 and below 1 is needed")
        if by not in {"documents", "position"}:
            raise ValueError(f"by is {by!r}: 'documents' or 'position' is needed")
        wanted = int(self.size * float(validation))  # a NumPy number would be multiplied in its own precision
        parts = (_split_documents if by == "documents" else _split_position)(self.documents, wanted)
        if not all(parts):
            raise ValueError(f"{self} cannot be split {by=} with {validation=}: one of the parts would be empty")
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


def _split_position(documents: tuple[Document, ...], wanted: int) -> Parts:
    first, last = list(documents), []
    while first and wanted > 0:
        document = first.pop()
        cut = max(0, len(document.content) - wanted)
        while 0 < cut < len(document.content) and document.content[cut] & 0xC0 == 0x80:  # inside a character
            cut += 1
        wanted -= len(document.content)
        if cut < len(document.content):
            last.append(Document(document.name, document.content[cut:]))
        if cut:
            first.append(Document(document.name, document.content[:cut]))
    return tuple(first), tuple(reversed(last))
