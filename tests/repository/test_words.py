"""The repository is written in plain words and American spelling: no file uses `WORDS`, except for what `ALLOWED` lists."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = {"CHANGELOG.md", "tests/repository/test_words.py"}  # what was, and this list

_KEPT = (  # spelled with s in American English too
    r"(?:[a-z]*rais|[a-z]*prais|a?ris|surpris|compris|enterpris|promis|compromis|premis|nois|pois|[a-z]*wis|(?:un)?supervis"
    r"|concis|precis|exercis|advis|revis|devis|improvis|expertis|dis|kais|vonmis|iris)(?:e|i|a)"
)
WORDS = (
    # metaphors for things that the field has names for
    r"houses?|floors?|rooms?|upstairs|grounds?|twins?|kin|bless(?:es|ed|ing)?|anew",
    r"foretells?|foretold|foretelling",
    r"(?:one|two|same) faces?|(?:stands?|stood|standing) still|by the rules|whole or not at all|the law of (?:same|the) bits",
    r"(?:may|could not) be had|arithmetic of the moment|if nothing is said|nobody (?:said|says)",
    # British spelling
    rf"(?!{_KEPT})[a-z]+is(?:e[drs]?|ers|ing|ations?|able)",
    r"[a-z]*(?:behavi|col|fav|flav|harb|hon|lab|neighb|rum|vap)our[a-z]*",
    r"[a-z]*cent(?:re[ds]?|ring)|[a-z]*metres?|grey(?:s|ed|scale)?|licence[ds]?|offences?|defences?|artefacts?|programmes?",
    r"(?:model|label|travel|cancel|signal|channel)l(?:ed|ing|ings|er)|analys(?:e|ed|ing)|whilst|judgement|fulfils?|sceptic[a-z]*",
)
PATTERN = re.compile(rf"(?<![a-z])(?:{'|'.join(WORDS)})(?![a-z])", re.IGNORECASE)

ALLOWED = (  # files (a glob), and what they may hold
    ("*", r"\b(?:np|math|mp)\.floor\b|\bfloor\(|\bfloor_divide\b|\bground truth\b"),
    (".github/workflows/*.yml", r"cancelled\(\)"),
    ("packages/core/src/samebits/core/selftest.*", r'"floor"'),  # names of NumPy's functions
    ("packages/drift/src/samebits/drift/elements.py", r'"floor"'),
    ("docs/drift.*", r"\bfloor\b"),
    ("packages/lm/src/samebits/lm/schema.py", r'"flavour"'),  # the error for the old name of a setting
    ("tests/lm/test_config.py", r"flavour"),
    ("docs/reproducibility.md", r"`floor`"),
)


def text_of(name: str) -> str:
    """The text of a tracked file without what is allowed; empty for a binary file."""
    try:
        text = (ROOT / name).read_text("utf-8")
    except UnicodeDecodeError:
        return ""
    for files, allowed in ALLOWED:
        if Path(name).match(files):
            text = re.sub(allowed, "", text)
    return text


def words_in(text: str) -> list[str]:
    """The words of the list in a text, with the numbers of their lines."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{number}: {found[0]}" for number, line in lines for found in PATTERN.finditer(line)]


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    listing = subprocess.run(["git", "ls-files", "-z"], check=True, cwd=ROOT, capture_output=True, text=True).stdout  # noqa: S607 - git is found on PATH
    names = [name for name in listing.split("\0") if (ROOT / name).is_file() and name not in OWN]
    assert len(names) > 200
    return {name: words for name in names if (words := words_in(text_of(name)))}


def test_no_file_uses_a_word_of_the_list(found: dict[str, list[str]]) -> None:
    assert found == {}


BAD = """the floors below|FLOORS = 3|a naive_twin|made anew|one face|its Kin.|foretells|it stands still|tokeniser|normalisation|initialise
optimised|summarising|behaviours|colour_map|centred|greyscale|flavoured|the licence|modelling|analyse|vectorises"""
GOOD = """background|foreground|bedroom|kind|household|labelcolor|surface|facet|floor(x)|raises|a promise|otherwise|elementwise|pairwise
noise|disable|Kaiser|unsupervised|precise|tokenizer|the license|four colors|your hour|parallel|emphasis|basis|analysis|programmed"""


@pytest.mark.parametrize("text", re.split(r"[|\n]", BAD))
def test_a_word_of_the_list_is_found(text: str) -> None:
    assert len(words_in(text)) == 1


@pytest.mark.parametrize("text", re.split(r"[|\n]", GOOD))
def test_other_words_are_not(text: str) -> None:
    assert words_in(re.sub(ALLOWED[0][1], "", text)) == []
