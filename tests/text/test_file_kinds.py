"""Files of other kinds are named as what they are, by every reader."""

import json
import pickle
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from samebits.text import (
    BytePairTokenizer,
    TokenFileError,
    TokenizerFileError,
    load_ranks,
    load_tokenizer,
    open_tokens,
    save_tokenizer,
    write_tokens,
)
from samebits.text.file_kinds import JSON, MERGES, RANKS, SAFETENSORS, TOKENS, TOML, UTF_16, file_kind, is_utf_16

pytestmark = pytest.mark.once

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 548105171\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>"


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"weights")
    return file.getvalue()


def array() -> bytes:
    file = BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


CONTENTS = {
    "a ZIP archive": zipped(),
    "an HTML page": HTML,
    "a Git LFS pointer": LFS,
    "a GGUF file": b"GGUF\x03\0\0\0" + bytes(16),
    "a NumPy file": array(),
    "a Python pickle": pickle.dumps([1, 2], 4),
    UTF_16: "steps = 3\n".encode("utf-16"),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize(
    ("read", "error"), [(load_tokenizer, TokenizerFileError), (load_ranks, TokenizerFileError), (open_tokens, TokenFileError)]
)
def test_every_reader_names_the_kind_of_another_file(
    kind: str, read: Callable[[Path], object], error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENTS[kind])
    with pytest.raises(error, match=f"file.* this is {kind}"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            json.dumps({"padding": 7, "a": 0, "b": 1}),
            "this is a vocab.json, not a tokenizer.json; it has a vocab.json and a merges.txt",
        ),
        ("#version: 0.2\nĠ t\nĠ a\nh e\n", "this is a merges.txt, not a tokenizer.json; it has a vocab.json and a merges.txt"),
        ("Ġ t\nĠ a\nh e\n", "this is a merges.txt"),
        (json.dumps({"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}), "this is a tokenizer_config.json"),
        (json.dumps({"architectures": ["GPT2LMHeadModel"]}), "this is a model's config.json"),
        (json.dumps({"metadata": {}, "weight_map": {}}), "this is the index of a checkpoint in several files"),
        ("IQ== 0\nIg== 1\n", "this is a file of tiktoken's ranks, not a tokenizer.json; read it with load_ranks"),
        ("# small\nsteps = 500\n[model]\nlayers = 2\n", "this is a TOML file"),
    ],
)
def test_files_beside_a_tokenizer_are_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, "utf-8", newline="\n")
    with pytest.raises(TokenizerFileError, match=message):
        load_tokenizer(path)


def test_a_byte_order_mark_before_a_tokenizer_or_ranks_is_ignored(tmp_path: Path) -> None:
    tokenizer = BytePairTokenizer.train(["low lower"], 258)
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_tokenizer(path).digest == tokenizer.digest
    path.write_bytes(b"\xef\xbb\xbfIQ== 0\n")
    assert load_ranks(path) == {b"!": 0}


def test_files_written_here_are_recognized(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", np.arange(5000) % 200, vocabulary_size=200)  # NUL bytes in every second place
    assert file_kind((tmp_path / "tokens").read_bytes()) == TOKENS
    header = b'{"x":{"dtype":"I16","shape":[4000],"data_offsets":[0,8000]}}    '
    for length in (len(header), 0x28B, 0x8B1F, 0x280):  # the last ones begin as files of other kinds do
        padded = header + b" " * (length - len(header))
        content = len(padded).to_bytes(8, "little") + padded + (np.arange(4000) % 200).astype("<i2").tobytes()
        assert file_kind(content) == SAFETENSORS


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", None),
        (b"\0", None),
        (b"Once upon a time", None),
        (b"to be\nor not\nto be\n", MERGES),  # two words a line: only a file that is not read anyway is named so
        (b'{"a": 1}', JSON),
        (b"[[1, 2], 3]", JSON),
        (b"\n# comment\n\n[model]\n", TOML),
        (b'data = "a.txt"', TOML),
        (b"dGhl 1169\n", RANKS),
        (bytes(range(256)), None),
        ("naïve".encode("latin-1"), None),
    ],
)
def test_kinds_of_text_and_of_nothing_in_particular(content: bytes, kind: str | None) -> None:
    assert file_kind(content) == kind


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_recognized_by_its_nul_bytes(encoding: str) -> None:
    assert is_utf_16("Once upon a time, “naïve”…\n".encode(encoding))
    assert not is_utf_16("Once upon a time, “naïve”…\n".encode())
    assert not is_utf_16(bytes(4000)) and not is_utf_16("日本語の文章".encode(encoding))
