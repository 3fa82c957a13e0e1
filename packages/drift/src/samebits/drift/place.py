"""Place of a measurement: the machine, its surroundings, and the libraries that computed there.

These types are what records and verdicts say about it; their files are checked against them.
"""

from typing import Annotated, NotRequired, TypedDict

from samebits.core.records import Limits

__all__ = ["BLASFile", "MachineFile", "Place", "Surroundings"]


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
