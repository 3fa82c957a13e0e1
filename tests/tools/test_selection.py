"""The command line's selection of cells: every spelling is read, and an unknown cell gets the list of valid ones."""

import argparse

import pytest
from tools.selection import cells, refuse_unknown, selection

pytestmark = pytest.mark.once

SUPPORTED = {"2.3": ("3.11", "3.12"), "2.5": ("3.12", "3.13")}


def test_cells_are_the_pairs_of_the_table_in_the_order_of_versions() -> None:
    table = {"2.10": ("3.9", "3.10"), "2.9": ("3.10",), "1.26": ("3.9",)}
    assert cells(table) == [("3.9", "1.26"), ("3.9", "2.10"), ("3.10", "2.9"), ("3.10", "2.10")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-s", "tests(python='3.10', numpy='2.3')"],
        ["-s", "lint", "tests(3.11)"],
        ["-p", "3.10"],
        ["-t", "numpy-2.9"],
        ["-e", "tests()"],
        ["-s", "tests(python='3.11', numpy='2.5')"],
        ["-s", "tests(python="],
        ["-s", 'tests (python="3.11", numpy="2.5")'],
    ],
)
def test_an_unknown_cell_gets_the_list_of_the_valid_ones(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"no such cell: .*\n(.*\n)*  numpy-2\.5 on Python 3\.12, 3\.13\n"):
        refuse_unknown(selection(arguments), SUPPORTED)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-s", "tests(python='3.11', numpy='2.3')", "lint"],
        ["-s", 'tests(python="3.11", numpy="2.3")'],
        ["-s", "tests( python = '3.11',numpy=\"2.3\" )"],
        ["-s", "tests(python='3.11',numpy='2.3')"],
        ["-stests", "--", "-p", "no:x"],
        ["-p", "3.13", "-t", "numpy-2.5"],
    ],
)
def test_known_cells_and_other_sessions_pass(arguments: list[str]) -> None:
    refuse_unknown(selection(arguments), SUPPORTED)


def test_selection_reads_every_spelling_of_nox() -> None:
    expected = argparse.Namespace(sessions=["lint"], pythons=["3.11"], tags=["numpy-2.5"])
    for arguments in (
        ["-s", "lint", "-p", "3.11", "-t", "numpy-2.5"],
        ["--session", "lint", "--python", "3.11", "--tags", "numpy-2.5"],
        ["--sessions=lint", "--pythons=3.11", "--tags=numpy-2.5", "-v"],
    ):
        assert selection(arguments) == expected
