"""Golden cases of samebits.text: corpora and their splits, vocabularies, the first thousand batches, token files.

As a script it prints the digest of each case as JSON; the tests run it under other CPU levels, BLAS kernels and thread
counts. `nox -s update-digests` writes text.json from it.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from samebits.core import Stream, digest
from samebits.text import (
    Batches,
    BytePairTokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    Corpus,
    evaluation_windows,
    python_code,
    shakespeare,
    write_tokens,
)
from samebits.text.bytepair import train
from samebits.text.unicode import stand_in, words

Case = tuple[str, str]

SCRIPTS = "Ein Käse – naïve café, 二〇二六年 ½ ٣٤ שלום مرحبا नमस्ते 😀👩‍👩‍👧  \n\t x' don't we'll 'S a1b2\u3000\u2028\x1c\x85…"


def bytes_of(corpus: Corpus) -> np.ndarray:
    """The corpus as the ids of a byte tokenizer, with 256 after every document."""
    parts = [part for document in corpus for part in (np.frombuffer(document.content, np.uint8), np.array([256]))]
    return np.concatenate(parts).astype(np.uint16)


def corpus_cases(corpora: dict[str, Corpus]) -> Iterator[Case]:
    for name, corpus in corpora.items():
        yield name, corpus.digest
        for by in ("documents", "position"):
            for what, part in zip(("to train", "to validate"), corpus.split(0.1, by=by), strict=True):
                yield f"{name}, split by {by}, {what}", part.digest


def batch_cases(tokens: np.ndarray) -> Iterator[Case]:
    for batch, time in ((12, 64), (3, 1000)):
        batches = Batches(tokens, batch=batch, time=time, stream=Stream(0).split("batches"))
        inputs, targets = zip(*(next(batches) for _ in range(1000)), strict=True)
        yield f"a thousand batches of {batch} by {time}, inputs", digest(np.stack(inputs))
        yield f"a thousand batches of {batch} by {time}, targets", digest(np.stack(targets))
        yield f"the state after them, {batch} by {time}", hashlib.sha256(json.dumps(batches.state).encode()).hexdigest()
    short = Batches(tokens[:1000], batch=7, time=9, stream=Stream(1))  # 63 epochs
    yield "a thousand batches of a short text", digest(np.stack([np.stack(next(short)) for _ in range(1000)]))
    windows = evaluation_windows(tokens[:100_001], time=64, batch=12)
    yield "evaluation windows", digest(np.concatenate([np.stack(pair).reshape(-1) for pair in windows]))


def ascii_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("ascii"), np.uint8)


def tokenizer_cases(plays: Corpus) -> Iterator[Case]:
    documents = plays.documents
    macbeth = next(document.text for document in documents if "macbeth" in document.name)
    hamlet = next(document.text for document in documents if "hamlet" in document.name)
    merges = train([macbeth], 1022)
    tokenizer = BytePairTokenizer(merges, ["<|end|>", "<|pad|>"])
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x30000)]))

    yield "classes of 190 thousand characters", digest(ascii_bytes(stand_in(every)))
    yield "lengths of words", digest(np.array([len(word) for piece in words(every + SCRIPTS) for word in piece], np.int64))
    yield "766 merges of Macbeth", digest(np.array(merges, np.int64))
    yield "digest of a vocabulary", tokenizer.digest
    yield "Hamlet, byte pairs", digest(tokenizer.encode(hamlet))
    yield "many scripts, byte pairs", digest(tokenizer.encode(f"{SCRIPTS}<|end|>{SCRIPTS}", "all"))
    yield "bytes that are not UTF-8", digest(tokenizer.encode(bytes(range(256)) + macbeth.encode()[:999] + b"\xff  \xe2\x82 a"))
    yield "many scripts, bytes", digest(ByteTokenizer().encode(SCRIPTS))
    yield "Macbeth, characters", digest(CharacterTokenizer.of([macbeth]).encode(macbeth))
    yield "Hamlet, decoded", digest(np.frombuffer(tokenizer.decode(tokenizer.encode(hamlet)).encode(), np.uint8))


def file_cases(tokens: np.ndarray) -> Iterator[Case]:
    for size in (257, 65_537):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tokens")
            write_tokens(path, tokens[:100_000], vocabulary_size=size, tokenizer="0f" * 32)
            yield f"token file of {size} ids", hashlib.sha256(path.read_bytes()).hexdigest()


def cases() -> Iterator[Case]:
    corpora = {"shakespeare": shakespeare(), "python code": python_code()}
    tokens = bytes_of(corpora["shakespeare"])
    yield from corpus_cases(corpora)
    yield from batch_cases(tokens)
    yield from tokenizer_cases(corpora["shakespeare"])
    yield from file_cases(tokens)


def digests() -> dict[str, str]:
    return dict(cases())


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=1)
