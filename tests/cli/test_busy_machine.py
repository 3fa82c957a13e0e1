"""Busy machine: a note where steps wait for processors, once, and none elsewhere."""

from collections.abc import Iterator

import pytest

from samebits.cli import busy_machine
from samebits.cli.busy_machine import BusyMachine

pytestmark = pytest.mark.once


def notes(monkeypatch: pytest.MonkeyPatch, steps: list[tuple[float, float]]) -> list[str]:
    """What is said after steps of these times and processor times, in seconds."""
    clock = [0.0, 0.0]
    monkeypatch.setattr(busy_machine, "_now", lambda: tuple(clock))
    machine = BusyMachine()

    def said() -> Iterator[str]:
        for wall, processor in steps:
            clock[0] += wall
            clock[1] += processor
            yield machine.after_step()

    return [note for note in said() if note]


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(busy_machine.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def test_a_busy_machine_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (note,) = notes(monkeypatch, [(1.5, 0.6)] * 40)
    assert "steps take 2.5 times their processor time" in note and "OPENBLAS_NUM_THREADS=1" in note and "no bit" in note


def test_a_machine_that_becomes_busy_later_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(notes(monkeypatch, [(1.0, 1.9)] * 200 + [(3.0, 1.0)] * 40)) == 1


@pytest.mark.parametrize(
    "steps",
    [
        [(1.0, 1.9)] * 40,  # idle, two threads
        [(1.0, 0.9)] * 40,
        [(0.01, 0.004)] * 40,  # less than 5 seconds
        [(1.0, 1.0)] * 9 + [(3600.0, 1.0)] + [(1.0, 1.0)] * 10,  # stopped for an hour
    ],
)
def test_nothing_is_said_elsewhere(monkeypatch: pytest.MonkeyPatch, steps: list[tuple[float, float]]) -> None:
    assert notes(monkeypatch, steps) == []


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_nothing_is_said_with_one_thread(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert notes(monkeypatch, [(1.5, 0.6)] * 40) == []


def test_nothing_is_said_with_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_machine.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert notes(monkeypatch, [(1.5, 0.6)] * 40) == []
