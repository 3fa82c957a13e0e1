"""The proof: every one of the 2^32 float32 inputs of every elementary function, against an independent oracle.

The oracle is NumPy's own function (for erf a series) in 80-bit long double, good to far better than one part in 2^50.
Where its value leaves the float32 rounding in doubt by that margin, mpmath decides. `--oracle float64` asks in float64,
with 16 times the margin: several times as fast, and possible on every machine, but it trusts NumPy's float64 functions
to 64 ulp. Odd and even functions ask the oracle about the positive half only; the negative half must then mirror it bit
for bit.

    python tests/core/exhaustive.py [FUNCTION ...] [--oracle NAME] [--jobs N] [--fresh] [--state FILE] [--cases FILE]

Work is resumed where it was interrupted, unless the code under test has changed since. `--cases` writes the inputs
mpmath decided (the nearest any input comes to a rounding boundary), with edges and a sample, and the right results: the
data of the tests.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mpmath  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from samebits.core import elementary

Bits = NDArray[np.uint32]

NAN = np.uint32(0x7FC00000)
SIGN = np.uint32(1 << 31)
CODE = ["arithmetic", "blocks", "compiled", "constants", "elementary", "exponential", "logarithm", "ties", "trigonometry"]
CHUNK = 1 << 20  # bit patterns to a task
BLOCK = 1 << 14  # bit patterns to a step inside it
SAVE_EVERY = 2.0  # seconds
# Where some function changes its branch, saturates or overflows.
EDGES = [2.0**-126, 2.0**-24, 2.0**-14, 2.0**-12, 0.1, 0.34657359, 0.5, 0.70710678, 1, 1.4142135, 1.5707963]
EDGES += [2, 3.1415927, 3.92, 9.01, 16.6, 17.3, 20, 87.3, 88.72284, 103.97, 127.99999, 149.5, 2.0**20, 2.0**64, 3e38]
MOST_KEPT = 8  # wrong inputs named, to a function


class Oracle(NamedTuple):
    """What it computes in, and how far from a rounding boundary, relatively, its word is taken."""

    dtype: type[np.floating[Any]]
    doubt: float


ORACLES = {"longdouble": Oracle(np.longdouble, 2.0**-50), "float64": Oracle(np.float64, 2.0**-46)}


def _erf(x: NDArray[Any]) -> NDArray[Any]:
    """2/sqrt(pi) exp(-x^2) (x + 2x^3/3 + 4x^5/15 + ...): terms of one sign, and x^2 is exact for a float32."""
    square = x * x
    most = float(np.nanmax(square, initial=0))
    terms = [2 / np.sqrt(4 * np.arctan(np.longdouble(1)))]
    while most ** len(terms) * float(terms[-1]) > 2.0**-70:
        terms.append(terms[-1] * 2 / (2 * len(terms) + 1))
    total = np.full_like(x, terms.pop())
    for term in reversed(terms):
        total *= square
        total += x.dtype.type(term)
    result: NDArray[Any] = total * x * np.exp(-square)
    return result


class Function(NamedTuple):
    """The two oracles of a function; its symmetry, -1 for odd and 1 for even; where it begins, and has become constant.

    Below `least` there is no result but NaN; for |x| above `limit` float32 results do not change any more.
    """

    fast: Callable[[Any], Any]
    sure: Callable[[Any], Any]
    symmetry: int = 0
    limit: float = np.inf
    least: float = -np.inf


FUNCTIONS = {
    "exp": Function(np.exp, mpmath.exp, limit=200),
    "expm1": Function(np.expm1, mpmath.expm1, limit=200),
    "exp2": Function(np.exp2, lambda x: mpmath.mpf(2) ** x, limit=300),
    "log": Function(np.log, mpmath.log, least=0),
    "log1p": Function(np.log1p, mpmath.log1p, least=-1),
    "log2": Function(np.log2, lambda x: mpmath.log(x, 2), least=0),
    "log10": Function(np.log10, mpmath.log10, least=0),
    "tanh": Function(np.tanh, mpmath.tanh, -1, limit=30),
    "sigmoid": Function(lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (1 + mpmath.exp(-x)), limit=200),
    "sin": Function(np.sin, mpmath.sin, -1),
    "cos": Function(np.cos, mpmath.cos, 1),
    "erf": Function(_erf, mpmath.erf, -1, limit=5),
    "sqrt": Function(np.sqrt, mpmath.sqrt, least=0),
    "rsqrt": Function(lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x), least=0),
}


def decide(function: str, bits: int) -> tuple[int, float]:
    """The right result's bits for one finite input by mpmath, and how far the true value lies from it in ulp."""
    with mpmath.workprec(400):
        value = FUNCTIONS[function].sure(mpmath.mpf(float(np.uint32(bits).view(np.float32))))
        if value == 0:
            return 0, 0.0
        exponent = max(mpmath.frexp(value)[1], -125) - 24
        scaled = mpmath.ldexp(value, -exponent)
        nearest = int(mpmath.nint(scaled))  # ties to even
        off = float(abs(scaled - nearest))
    with np.errstate(over="ignore"):
        return int(np.float32(np.ldexp(float(nearest), exponent)).view(np.uint32)), off


class Tally(NamedTuple):
    """What came of a chunk: how many wrong, the first of them, and (input, right result, ulp) of all mpmath decided."""

    chunk: int
    wrong: int
    first: list[int]
    decided: list[tuple[int, int, float]]


def _canonical(values: NDArray[np.float32]) -> Bits:
    return np.where(np.isnan(values), NAN, values.view(np.uint32))


def try_block(function: str, oracle: Oracle, bits: Bits) -> tuple[Bits, list[tuple[int, int, float]]]:
    """The wrong inputs among `bits` (and their mirror images, by symmetry), and those mpmath had to decide."""
    ask = FUNCTIONS[function]
    got = getattr(elementary, function)(bits.view(np.float32)).view(np.uint32)
    x = np.clip(bits.view(np.float32), np.float32(-ask.limit), np.float32(ask.limit))
    if x[0] == x[-1] or not np.any(x >= ask.least):  # all beyond the limit, or all NaN
        x = x[:1]
    true = np.broadcast_to(ask.fast(x.astype(oracle.dtype)).astype(np.float64), bits.shape)
    low = _canonical((true * (1 - oracle.doubt)).astype(np.float32))
    high = _canonical((true * (1 + oracle.doubt)).astype(np.float32))
    doubtful = low != high
    wrong = (got != low) & ~doubtful
    decided = [(int(b), *decide(function, int(b))) for b in bits[doubtful]]
    missed = [b for b, right, _ in decided if right != int(got[b - int(bits[0])])]
    if ask.symmetry:
        mirrored = getattr(elementary, function)((bits | SIGN).view(np.float32)).view(np.uint32)
        same = (got == NAN) | (ask.symmetry > 0)
        missed += (bits | SIGN)[mirrored != np.where(same, got, got ^ SIGN)].tolist()
    return np.concatenate([bits[wrong], np.array(missed, np.uint32)]), decided


def try_chunk(task: tuple[str, Oracle, int]) -> Tally:
    """All inputs of one chunk, a block at a time."""
    function, oracle, chunk = task
    wrong = 0
    first: list[int] = []
    decided: list[tuple[int, int, float]] = []
    with np.errstate(all="ignore"):
        patterns = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK, dtype=np.int64).astype(np.uint32)
        for bits in np.split(patterns, CHUNK // BLOCK):
            missed, close = try_block(function, oracle, bits)
            wrong += len(missed)
            first += [int(b) for b in missed[: MOST_KEPT - len(first)]]
            decided += close
    return Tally(chunk, wrong, first, decided)


class State:
    """What has been tried, kept in a JSON file that is replaced whole."""

    def __init__(self, path: Path, oracle: Oracle, *, fresh: bool) -> None:
        """Read the file, if it is there, about the same code, and not to be forgotten."""
        self.path = path
        self.oracle = oracle
        source = b"".join(Path(elementary.__file__).with_name(f"{name}.py").read_bytes() for name in CODE)
        self.code = hashlib.sha256(source + Path(__file__).read_bytes() + repr(oracle).encode()).hexdigest()
        self.functions: dict[str, dict[str, Any]] = {}
        if path.exists() and not fresh:
            old = json.loads(path.read_text())
            if old["code"] == self.code:
                self.functions = old["functions"]

    def of(self, function: str) -> dict[str, Any]:
        """The record of one function."""
        empty = {"done": [], "wrong": 0, "first": [], "decided": [], "seconds": 0.0}
        return self.functions.setdefault(function, empty)

    def save(self) -> None:
        """Write the file beside itself, then put it in place."""
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps({"code": self.code, "functions": self.functions}))
        draft.replace(self.path)


def prove(function: str, state: State, jobs: int) -> bool:
    """Try what is left of one function; print its line; say whether no input was wrong."""
    record = state.of(function)
    done = set(record["done"])
    both = 2 if FUNCTIONS[function].symmetry else 1  # inputs tried to a bit pattern
    todo = [(function, state.oracle, c) for c in range((1 << 32) // CHUNK // both) if c not in done]
    started, before, saved = time.monotonic(), record["seconds"], time.monotonic()
    with multiprocessing.Pool(jobs) as pool:
        for tally in pool.imap_unordered(try_chunk, todo):
            record["done"].append(tally.chunk)
            record["wrong"] += tally.wrong
            record["first"] = sorted(record["first"] + tally.first)[:MOST_KEPT]
            record["decided"] += tally.decided
            record["seconds"] = before + time.monotonic() - started
            if time.monotonic() - saved > SAVE_EVERY or len(record["done"]) * CHUNK * both == 1 << 32:
                saved = time.monotonic()
                state.save()
                _progress(function, record, len(record["done"]) * CHUNK * both / (1 << 32))
    # A right result is off by at most half an ulp, and by the most where mpmath had to decide.
    largest = f"{max(off for _, _, off in record['decided']):.12f}" if record["decided"] else "below 0.5"
    largest = "above 0.5" if record["wrong"] else largest
    print(
        f"\r{function:8} {len(record['done']) * CHUNK * both:>10} inputs  {record['wrong']:>6} wrong  "
        f"{len(record['decided']):>4} decided by mpmath  largest error {largest:>12} ulp  {record['seconds']:6.0f} s",
        flush=True,
    )
    for bits in record["first"]:
        print(f"         wrong: {bits:#010x} = {np.uint32(bits).view(np.float32)!r}")
    return not record["wrong"]


def _progress(function: str, record: dict[str, Any], share: float) -> None:
    if sys.stderr.isatty():
        line = f"\r{function:8} {share:6.1%}  {record['wrong']} wrong  {record['seconds']:.0f} s"
        print(line, end="", file=sys.stderr, flush=True)


def cases(state: State) -> Iterator[str]:
    """Lines for the tests: function, input bits, result bits; the inputs mpmath decided, edges, and a sample."""
    words = np.array(EDGES, np.float32).view(np.uint32)
    words = np.concatenate([words - np.uint32(1), words, words + np.uint32(1), np.arange(1, 6, dtype=np.uint32)])
    sample = np.random.Generator(np.random.PCG64(1)).bit_generator.random_raw(64).astype(np.uint32)
    words = np.concatenate([words, words | SIGN, sample])
    for function, ask in FUNCTIONS.items():
        x = words.view(np.float32)[np.abs(words.view(np.float32)) <= ask.limit]
        with np.errstate(all="ignore"):
            usable = np.isfinite(ask.fast(x.astype(np.longdouble)))
        chosen = {int(b) for b in x[usable].view(np.uint32)} | {b for b, *_ in state.of(function)["decided"]}
        for bits in sorted(chosen):
            yield f"{function} {bits:08x} {decide(function, bits)[0]:08x}"


def main() -> int:
    """Run the proof for the functions named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(FUNCTIONS)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help=f"of {names}; all if none is named")
    parser.add_argument("--oracle", choices=ORACLES, default="longdouble", help="what the oracle computes in")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has done")
    parser.add_argument("--state", type=Path, default=Path(".exhaustive.json"), help="where progress is kept")
    parser.add_argument("--cases", type=Path, help="write the data of test_elementary.py to this file")
    options = parser.parse_args()
    for name in options.functions:
        if name not in FUNCTIONS:
            parser.error(f"FUNCTION: no function is called {name!r}; choose from {names}")
    if options.oracle == "longdouble" and np.finfo(np.longdouble).nmant != 63:
        parser.error(
            "--oracle longdouble needs an 80-bit long double, with 63 bits of fraction, and here it has "
            f"{np.finfo(np.longdouble).nmant}: run it on x86-64 under Linux or macOS, or take --oracle float64",
        )
    state = State(options.state, ORACLES[options.oracle], fresh=options.fresh)
    right = [prove(name, state, options.jobs) for name in options.functions or FUNCTIONS]
    if options.cases:
        options.cases.write_text("".join(f"{line}\n" for line in cases(state)), encoding="ascii", newline="\n")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
