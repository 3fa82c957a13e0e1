"""Place of a measurement: the machine, its surroundings, and the libraries that computed there.

The types are what records and verdicts say about it; their files are checked against them. `differing` compares two places axis by
axis, and `labels` names several by what differs between them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

from samebits.core.records import Limits

__all__ = ["PLACE_AXES", "BLASFile", "MachineFile", "Place", "Surroundings", "differing", "implied", "labels", "positions"]

PLACE_AXES = ("machine", "libc", "version", "python", "cpu", "blas", "threads")
"""What may differ between two places."""

_SETTINGS = {
    "libc": ("GLIBC_TUNABLES",),
    "cpu": ("NPY_DISABLE_CPU_FEATURES",),
    "blas": ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
    "threads": ("OPENBLAS_NUM_THREADS",),
}
# What follows from another machine or NumPy, and is no difference of its own unless a setting made it
_IMPLIED = {"machine": ("cpu", "blas", "threads"), "version": ("cpu", "blas")}


class BLASFile(TypedDict):
    """The linear-algebra library that NumPy called; None where it did not say."""

    name: str
    version: str | None
    kernel: str | None
    threads: NotRequired[int | None]


class MachineFile(TypedDict):
    """What `samebits.core.describe_machine` says."""

    system: str
    python: str
    numpy: str
    blas: Annotated[BLASFile, Limits(others=True)]


class Surroundings(TypedDict):
    """What `describe_surroundings` adds to it."""

    processor: str
    cpus: int
    c_library: str
    settings: dict[str, str]


class Place(TypedDict):
    """Where something was measured."""

    platform: str
    surroundings: Annotated[Surroundings, Limits(others=True)]
    machine: Annotated[MachineFile, Limits(others=True)]


def positions(where: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Where a place is along every axis: for each, its settings and then what was found there."""
    around, machine = where["surroundings"], where["machine"]
    blas = machine["blas"]
    found: dict[str, tuple[Any, ...]] = {
        "machine": (where["platform"], around["processor"]),
        "libc": (around["c_library"],),
        "version": (f"NumPy {machine['numpy']}",),
        "python": (machine["python"],),
        "cpu": (tuple(machine.get("simd", ())),),
        "blas": (blas["name"], blas["version"], blas["kernel"]),
        "threads": (blas.get("threads"), around["cpus"]),
    }
    return {axis: (_settings(where, axis), *found[axis]) for axis in PLACE_AXES}


def implied(axis: str) -> tuple[str, ...]:
    """The axes along which two places may differ because they differ along this one.

    >>> implied("version")
    ('cpu', 'blas')
    """
    return _IMPLIED.get(axis, ())


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The axes along which two places differ, without those that only follow from another machine or NumPy."""
    one, other = positions(first), positions(second)
    found = [axis for axis in PLACE_AXES if one[axis] != other[axis]]
    follow = {each for axis in found for each in implied(axis) if one[each][0] == other[each][0]}
    return [axis for axis in found if axis not in follow]


def labels(places: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """A different label for each place: what differs between them, and where nothing does, its name, such as that of its file."""
    axes = {axis for place in places for axis in differing(places[0], place)}
    found = [", ".join(_described(place, axis) for axis in PLACE_AXES if axis in axes) for place in places]
    same = Counter(found)
    found = [", ".join(filter(None, (text, name * (same[text] > 1)))) for text, name in zip(found, names, strict=True)]
    return [f"{text} ({found[:index].count(text) + 1})" if found.count(text) > 1 else text for index, text in enumerate(found)]


def _settings(where: Mapping[str, Any], axis: str) -> tuple[str, ...]:
    settings = where["surroundings"]["settings"]
    return tuple(f"{name}={settings[name]}" for name in _SETTINGS.get(axis, ()) if name in settings)


def _described(where: Mapping[str, Any], axis: str) -> str:
    """A place along one axis, in a few words."""
    around, machine = where["surroundings"], where["machine"]
    blas = machine["blas"]
    texts: dict[str, str] = {
        "machine": f"{where['platform']}, {around['processor']}",
        "libc": around["c_library"],
        "version": f"NumPy {machine['numpy']}",
        "python": machine["python"],
        "cpu": f"SIMD to {(machine.get('simd') or ['baseline'])[-1]}",
        "blas": " ".join(filter(None, (blas["name"], blas["version"], blas["kernel"]))),
        "threads": f"threads {blas.get('threads') or 'unknown'}, CPUs {around['cpus']}",
    }
    settings = ", ".join(_settings(where, axis))
    return texts[axis] + f" ({settings})" * bool(settings)
