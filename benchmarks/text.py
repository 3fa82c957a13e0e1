"""Speed of tokenizing: samebits.text, tiktoken, Hugging Face `tokenizers` and plain Python, with one thread, in one run.

    ./nox -s parity -- bench text
    python benchmarks/text.py      with the peers that are installed

The texts are Shakespeare (5.0 MB, English) and the code of networkx (4.0 MB). 8,192 tokens are trained on Shakespeare, and all
but `tokenizers`, whose own training gives the same vocabulary, encode with them. Seconds are processor time, which other
programs disturb less. "Cold" is a tokenizer's first text, "warm" the same text again; figures of peers are the best of three.

The plain Python is written here in the style of minbpe: no word is cached, and all pairs are counted again for every merge.
Its training is measured on a tenth of the text, for 20 merges, and extrapolated.
"""

import argparse
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import pairwise
from typing import Any, NamedTuple

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from samebits import core
from samebits.text import BytePairTokenizer, bytepair, python_code, shakespeare

Peers = dict[str, tuple[Callable[[str], Any], Callable[[Any], str]]]

SIZE = 8192
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


class Figure(NamedTuple):
    what: str
    who: str
    seconds: float
    size: int | None = None
    limit: str = ""

    def __str__(self) -> str:
        speed = f"{self.size / self.seconds / 1e6:.2f} MB/s" if self.size else ""
        return f"| {self.what} | {self.who} | {self.seconds:.3f} | {speed} | {self.limit} |"


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


class Plain:
    """Byte pair encoding written naively, on words of an ASCII pattern."""

    pattern = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")

    def __init__(self) -> None:
        self.merges: dict[tuple[int, int], int] = {}
        self.spellings = {byte: bytes([byte]) for byte in range(256)}

    def train(self, text: str, merges: int) -> None:
        words = [list(word.encode()) for word in self.pattern.findall(text)]
        for made in range(256, 256 + merges):
            counts = Counter(pair for word in words for pair in pairwise(word))
            pair = max(counts, key=counts.__getitem__)
            words = [self.join(word, pair, made) for word in words]
            self.add(pair, made)

    def add(self, pair: tuple[int, int], made: int) -> None:
        self.merges[pair] = made
        self.spellings[made] = self.spellings[pair[0]] + self.spellings[pair[1]]

    @staticmethod
    def join(word: list[int], pair: tuple[int, int], made: int) -> list[int]:
        joined, at = [], 0
        while at < len(word):
            same = word[at] == pair[0] and at + 1 < len(word) and word[at + 1] == pair[1]
            joined.append(made if same else word[at])
            at += 2 if same else 1
        return joined

    def encode(self, text: str) -> list[int]:
        ids = []
        for piece in self.pattern.findall(text):
            word = list(piece.encode())
            while len(word) > 1:
                pair = min(pairwise(word), key=lambda pair: self.merges.get(pair, 1 << 30))
                if pair not in self.merges:
                    break
                word = self.join(word, pair, self.merges[pair])
            ids += word
        return ids

    def decode(self, ids: list[int]) -> str:
        return b"".join(self.spellings[i] for i in ids).decode("utf-8", "replace")


def hugging_face(text: str) -> tuple[float, Any]:
    import tokenizers as hf

    model: Any = hf.Tokenizer(hf.models.BPE())
    model.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = hf.decoders.ByteLevel()
    alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
    trainer = hf.trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=alphabet, show_progress=False)
    taken, _ = timed(lambda: model.train_from_iterator([text], trainer))
    return taken, model


def tiktoken_of(ours: BytePairTokenizer) -> Any:
    import tiktoken

    ranks = {token: i for i, token in enumerate(ours.tokens)}
    return tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def best(count: int, call: Callable[[], Any]) -> float:
    return min(timed(call)[0] for _ in range(count))


def training(english: str, merges: list[bytepair.Pair]) -> Iterator[Figure]:
    what = f"train {SIZE} tokens on 5 MB"
    taken, found = timed(lambda: bytepair.train([english], SIZE))
    merges += found
    yield Figure(what, "samebits", taken, limit="30 s")
    if installed("tokenizers"):
        yield Figure(what, "tokenizers", hugging_face(english)[0])
    plain = Plain()
    taken, _ = timed(lambda: plain.train(english[: len(english) // 10], 20))
    yield Figure(what, "plain Python, extrapolated", taken * 10 * len(merges) / 20)


def coding(name: str, text: str, merges: list[bytepair.Pair], peers: Peers) -> Iterator[Figure]:
    ours, size = BytePairTokenizer(merges), len(text.encode())
    taken, ids = timed(lambda: ours.encode_ordinary(text))
    yield Figure(f"encode {name}, cold", "samebits", taken, size, "1 MB/s")
    yield Figure(f"encode {name}, warm", "samebits", best(5, lambda: ours.encode_ordinary(text)), size, "2 MB/s")
    for who, (encode, _) in peers.items():
        yield Figure(f"encode {name}", who, best(3, lambda encode=encode: encode(text)), size)
    plain, part = Plain(), text[:500_000]
    for made, (left, right) in enumerate(merges, 256):  # the plain code uses the values of bytes as their symbols
        plain.add((number(left), number(right)), made)
    taken, again = timed(lambda: plain.encode(part))
    yield Figure(f"encode {name}", "plain Python", taken, len(part.encode()))
    yield Figure(f"decode {name}", "samebits", best(5, lambda: ours.decode(ids)), size, "10 MB/s")
    listed = ids.tolist()
    for who, (_, decode) in peers.items():
        yield Figure(f"decode {name}", who, best(3, lambda decode=decode: decode(listed)), size)
    yield Figure(f"decode {name}", "plain Python", best(3, lambda: plain.decode(again)), len(part.encode()))


def number(symbol: int) -> int:
    return bytepair.BYTES[symbol] if symbol < 256 else symbol


def runs(merges: list[bytepair.Pair], peers: Peers) -> Iterator[Figure]:
    ours = BytePairTokenizer(merges)
    for character in ("a", " ", "中"):
        text = character * (1_000_000 // len(character.encode()))
        taken, _ = timed(lambda text=text: ours.encode(text))
        yield Figure(f"encode 1 MB of {character!r}", "samebits", taken, 1_000_000, "3 s")
        for who, (encode, _) in peers.items():
            taken, _ = timed(lambda text=text, encode=encode: encode(text))
            yield Figure(f"encode 1 MB of {character!r}", who, taken, 1_000_000)


def figures() -> Iterator[Figure]:
    english, code = shakespeare().text, python_code().text
    merges: list[bytepair.Pair] = []
    yield from training(english, merges)
    peers: Peers = {}
    if installed("tokenizers"):
        model = hugging_face(english)[1]
        peers["tokenizers"] = (lambda text: model.encode(text).ids, model.decode)
    if installed("tiktoken"):
        peer = tiktoken_of(BytePairTokenizer(merges))
        peers["tiktoken"] = (peer.encode_ordinary, peer.decode)
    yield from coding("English", english, merges, peers)
    yield from coding("code", code, merges, peers)
    yield from runs(merges, peers)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{core.describe_machine()}\n\n| | by | seconds | speed | limit |\n| --- | --- | ---: | ---: | ---: |")
    for figure in figures():
        print(figure, flush=True)


if __name__ == "__main__":
    main()
