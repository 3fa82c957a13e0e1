"""Verdict: does a function give the same bits in every environment it was run in?

A `Verdict` holds the runs of one function, the base first, each with the digests of its arrays. It is written as JSON and read by
`join_verdicts`, which joins the verdicts of several machines. `investigation` makes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NotRequired, TypedDict

from samebits.drift.calls import in_words
from samebits.drift.difference import Difference
from samebits.drift.drift_map import MAP_AXES
from samebits.drift.place import Place, differing, labels
from samebits.drift.variants import REPEAT

__all__ = ["FORMAT", "VERDICT_AXES", "VariantResult", "Verdict", "VerdictFile", "join_verdicts"]

FORMAT = "samebits.verdict/1"
VERDICT_AXES = {**MAP_AXES, "place": "place"}
"""The axes of a verdict, each with its name for sentences; ``place`` differs in more than one of the others."""


@dataclass(frozen=True)
class VariantResult:
    """One run of the function: in which variant, its digests, and how they differ from the base's.

    >>> VariantResult("blas-zen", "blas", digests={"result": "0" * 64}).error
    ''
    """

    name: str
    axis: str
    in_effect: str = ""
    """What the process computed with, in a few words."""
    digests: Mapping[str, str] | None = None
    """The digest of every array in the result; None if the run failed."""
    differences: Sequence[Difference] = ()
    """How the arrays differ from those of the base."""
    error: str = ""
    """Why the run failed; empty if it did not."""
    place: str = ""
    """The machine, Python and NumPy, if the verdicts of several places were joined."""

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Equal for two runs with the same bits."""
        return tuple(sorted((self.digests or {}).items()))


@dataclass(frozen=True)
class Verdict:
    """All runs of one function, the base first.

    >>> base = VariantResult("base", "base", digests={"result": "0" * 64})
    >>> other = VariantResult("blas-zen", "blas", digests={"result": "f" * 64})
    >>> found = Verdict("mine:function", {}, [base, other])
    >>> found.drifts, found.status
    (['blas'], 1)
    >>> found.sentence()
    'mine:function drifts with the BLAS kernel: 2 different results in 2 runs'
    """

    function: str
    where: Mapping[str, Any]
    runs: Sequence[VariantResult]
    untried: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What could not be tried here, by axis: the CPU levels and kernels that this CPU lacks."""
    calls: Sequence[str] = ()
    """The NumPy functions that its code names and that drift in the shipped drift map."""

    def results(self, axis: str) -> int:
        """The number of different results along an axis, the base included; 0 where nothing was compared."""
        return len(self.groups(axis))

    def groups(self, axis: str) -> list[list[VariantResult]]:
        """The base and the runs along an axis, grouped by their bits, without the failed ones.

        Of several places, the groups of the place with the most different results.
        """
        places = dict.fromkeys(one.place for one in self.runs if one.axis == axis and one.digests)
        found: list[list[list[VariantResult]]] = [[]]
        for place in places:
            together: dict[Any, list[VariantResult]] = {}
            for one in self.runs:
                if one.place == place and one.axis in ("base", axis) and one.digests:
                    together.setdefault(one.key, []).append(one)
            found.append(list(together.values()))
        return max(found, key=len)

    @property
    def deterministic(self) -> bool:
        """Whether the same run repeated gave the same bits."""
        return self.results(REPEAT.axis) < 2

    @property
    def drifts(self) -> list[str]:
        """The axes along which it drifts; without meaning if it is not deterministic."""
        return [axis for axis in VERDICT_AXES if self.results(axis) > 1]

    @property
    def failed(self) -> list[VariantResult]:
        """The runs that failed."""
        return [one for one in self.runs if one.error]

    @property
    def status(self) -> int:
        """The exit status: 0 the same bits in all runs, 1 other bits in some, 2 the same bits but some runs failed."""
        return 1 if self.drifts else 2 if self.failed else 0

    def sentence(self) -> str:
        """The verdict in one sentence."""
        ended = [one for one in self.runs if one.digests and (one.axis != "base" or one.place == self.runs[0].place)]
        if not self.deterministic:
            return f"{self.function} is not deterministic: two runs in the same environment gave different bits"
        if self.drifts:
            different = len({one.key for one in ended})
            named = in_words([VERDICT_AXES[axis] for axis in self.drifts])
            return f"{self.function} drifts with the {named}: {different} different results in {len(ended)} runs"
        if self.failed:
            return f"{self.function} gave the same bits in {len(ended)} runs, but {len(self.failed)} could not be compared"
        return f"{self.function} gives the same bits in all {len(ended)} runs"

    def as_json(self) -> dict[str, Any]:
        """The verdict as a JSON object, the input of `join_verdicts`."""
        results = {axis: self.results(axis) for axis in VERDICT_AXES if self.results(axis)}
        return {"format": FORMAT, "verdict": self.sentence(), "status": self.status, "results": results, **asdict(self)}


class VerdictFile(TypedDict):
    """The file of a `Verdict`, as `Verdict.as_json` gives it."""

    format: Literal["samebits.verdict/1"]
    verdict: str
    status: int
    results: dict[str, int]
    function: str
    where: Place
    runs: list[VariantResult]
    untried: NotRequired[dict[str, list[str]]]
    calls: NotRequired[list[str]]


def join_verdicts(verdicts: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> Verdict:
    """One verdict from the JSON of several about the same function, from other environments or machines.

    All runs are kept. The base of every further place is also compared with the first place's base, along the axis in which the two
    places differ: the machine, the C library, the NumPy or Python version, the CPU level, the BLAS library or kernel, the threads;
    ``place`` if they differ in more than one, and as the same run repeated if in none. What follows from another machine or NumPy,
    such as another kernel, does not count. Each place is named by what differs, or by its name where nothing does.

    Args:
        verdicts: What `Verdict.as_json` gives.
        names: A name for each, such as its file; by default ``answer 1``, ``answer 2``, ….

    Raises:
        ValueError: There are fewer than two verdicts, they are about different functions, or one has no runs.

    Example:
        >>> join_verdicts([])
        Traceback (most recent call last):
        ...
        ValueError: join_verdicts: verdicts must be two or more, got none
    """
    names = names or [f"answer {number}" for number in range(1, len(verdicts) + 1)]
    if len(verdicts) < 2:
        raise ValueError(f"join_verdicts: verdicts must be two or more, got {', '.join(names) or 'none'}")
    functions = [one["function"] for one in verdicts]
    if len(set(functions)) > 1:
        got = ", ".join(f"{function} in {name}" for function, name in zip(functions, names, strict=True))
        raise ValueError(f"join_verdicts: verdicts must be about one function, got {got}")
    if without := [name for one, name in zip(verdicts, names, strict=True) if not one["runs"]]:
        raise ValueError(f"join_verdicts: verdicts must have runs, got none in {', '.join(without)}")
    places: list[Mapping[str, Any]] = [one["where"] for one in verdicts]
    named = labels(places, names)
    runs: list[VariantResult] = []
    for label, one in zip(named, verdicts, strict=True):
        own = [
            VariantResult(**run | {"differences": [Difference(**each) for each in run.get("differences", ())], "place": label})
            for run in one["runs"]
        ]
        if runs:
            axes = differing(places[0], one["where"]) or [REPEAT.axis]
            runs.append(replace(own[0], name=label, axis=axes[0] if len(axes) == 1 else "place", place=named[0]))
        runs += own
    calls = sorted({name for one in verdicts for name in one.get("calls", ())})
    return Verdict(functions[0], {"joined": places}, runs, _untried_in_all(verdicts), calls)


def _untried_in_all(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What no place has tried, of each axis."""
    found = [one.get("untried", {}) for one in verdicts]
    common = {axis: [name for name in found[0][axis] if all(name in one.get(axis, ()) for one in found)] for axis in found[0]}
    return {axis: missing for axis, missing in common.items() if missing}
