"""Elementwise operations: arithmetic, functions, powers, signs and NaNs, casts, random numbers."""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import samebits.core
from samebits.drift.inputs import integers, named, uniform, words
from samebits.drift.operation import Operation, called_with, in_both_precisions

__all__ = ["table"]

COUNTERPARTS = "exp expm1 exp2 log log1p log2 log10 sin cos tan arctan sinh cosh tanh cbrt sqrt sigmoid erf rsqrt"


def table() -> Iterator[Operation]:
    """The operations, group by group."""
    yield from arithmetic()
    yield from functions()
    yield from powers()
    yield from signs_and_nans()
    yield from casts()
    yield from random_numbers()


def arithmetic() -> Iterator[Operation]:
    group = "arithmetic"
    yield from in_both_precisions(group, "add subtract multiply divide hypot", "wide", "above")
    yield from in_both_precisions(group, "sqrt", "positive", counterparts=COUNTERPARTS)
    for name in ("square", "reciprocal", "floor", "rint", "modf", "frexp"):
        yield Operation(group, name, name, [named("wide", "float32")])
    for name in ("fmod", "remainder", "floor_divide", "nextafter"):
        yield Operation(group, name, name, [named("wide", "float32"), named("above", "float32")])
    yield Operation(group, "ldexp", "ldexp", [named("wide", "float32"), integers(8, 20, 20_011).astype(np.int32)])
    for dtype in ("float32", "float64"):
        x, y = named("wide", dtype), named("above", dtype)
        yield Operation(group, f"x*y + x {dtype}", lambda x=x, y=y: x * y + x)
    yield Operation(group, "complex multiply", lambda: pair("wide") * pair("above"))
    yield Operation(group, "complex divide", lambda: pair("wide") / pair("above"))
    yield Operation(group, "complex abs", lambda: np.abs(pair("wide")))
    yield Operation(
        group, "int64 floor_divide", "floor_divide", [integers(9, 10**12, 5000) - 5 * 10**11, integers(10, 999, 5000) + 1]
    )


def pair(name: str) -> Any:
    """A named vector and its reverse as the parts of complex numbers."""
    x = named(name, "float64")
    numbers = np.empty(len(x), np.complex128)
    numbers.real, numbers.imag = x, x[::-1]
    return numbers


def functions() -> Iterator[Operation]:
    group = "functions"
    yield from in_both_precisions(
        group, "exp expm1 exp2 sin cos tan arctan sinh cosh tanh arcsinh cbrt", "wide", counterparts=COUNTERPARTS
    )
    yield from in_both_precisions(group, "log log1p log2 log10", "positive", counterparts=COUNTERPARTS)
    yield from in_both_precisions(group, "arcsin arccos arctanh", "unit")
    yield from in_both_precisions(group, "arccosh", "above")
    yield from in_both_precisions(group, "arctan2 logaddexp logaddexp2", "wide", "above")
    yield Operation(group, "complex exp", lambda: np.exp(pair("unit")))
    yield Operation(group, "complex log", lambda: np.log(pair("above")))
    yield Operation(group, "i0", "i0", [named("wide", "float64")[:2000]])
    yield Operation(group, "sinc", "sinc", [named("wide", "float64")])
    yield Operation(group, "exp float16", lambda: np.exp(named("unit", "float32").astype(np.float16)))


def powers() -> Iterator[Operation]:
    group = "powers"
    yield from in_both_precisions(group, "power", "positive", "unit")
    for dtype in ("float32", "float64"):
        p = named("positive", dtype)
        yield Operation(group, f"x**3 {dtype}", operator.pow, [p, 3])
        root = "rsqrt" if dtype == "float32" else ""
        yield Operation(group, f"x**-0.5 {dtype}", operator.pow, [p, -0.5], counterpart=root, counterpart_call=called_with(p))
    yield Operation(group, "x**2", operator.pow, [named("positive", "float32"), 2])
    yield Operation(group, "x**0.5", operator.pow, [named("positive", "float32"), 0.5])
    yield Operation(group, "x**-1", operator.pow, [named("positive", "float32"), -1])
    yield Operation(group, "2**x", operator.pow, [2.0, named("wide", "float64")])
    yield Operation(group, "geomspace", "geomspace", [1.0, 1000.0, 1000])
    yield Operation(group, "logspace", "logspace", [-3.0, 3.0, 1000])
    yield Operation(group, "int64 power", "power", [integers(11, 50, 999), integers(12, 9, 999)])


def signs_and_nans() -> Iterator[Operation]:
    group = "signs and NaNs"
    zeros, other = named("signs", "float32"), named("signs", "float32")[::-1]
    mixed = np.where(named("unit", "float32") > 0, np.float32(np.nan), zeros)
    negative, zero = -named("above", "float32"), np.float32(0)
    yield Operation(group, "clip(±0, 0, 1)", "clip", [zeros, zero, np.float32(1)])
    yield Operation(group, "maximum(±0, ∓0)", "maximum", [zeros, other])
    yield Operation(group, "minimum(±0, ∓0)", "minimum", [zeros, other])
    yield Operation(group, "maximum(±0, 0)", "maximum", [zeros, zero])
    yield Operation(group, "max of ±0", "max", [zeros], {"axis": 0}, counterpart="max")
    yield Operation(group, "min of ±0", "min", [zeros], {"axis": 0}, counterpart="min")
    yield Operation(group, "max axis 1 of ±0", "max", [zeros[:20_000].reshape(200, 100)], {"axis": 1}, counterpart="max")
    yield Operation(group, "fmax of ±0 and NaN", "fmax", [mixed, other])
    yield Operation(group, "sort of ±0", "sort", [zeros])
    yield Operation(group, "NaN of log(-1)", "log", [negative], counterpart="log")
    yield Operation(group, "NaN of log(-1) float64", "log", [-named("above", "float64")])
    yield Operation(group, "NaN of sqrt(-1)", "sqrt", [negative], counterpart="sqrt")
    yield Operation(group, "NaN of 0/0", "divide", [zeros, other])
    yield Operation(group, "NaN of sin(inf)", "sin", [np.full(99, np.inf, np.float32)], counterpart="sin")
    yield Operation(group, "NaN of inf - inf", lambda: np.full(99, np.inf) - np.full(99, np.inf))


def casts() -> Iterator[Operation]:
    group = "casts"
    wide = named("wide", "float64") * 2.0**40  # beyond int32, within int64
    strange = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -3e9, 300.0, -300.0] * 11)
    yield Operation(group, "float64 to float32", named("wide", "float64").astype, ["float32"])
    yield Operation(group, "float64 to float16", named("wide", "float64").astype, ["float16"])
    yield Operation(group, "float64 to int64", wide.astype, ["int64"])
    yield Operation(group, "int64 to float32", lambda: words(13, 5000).astype(np.int64).astype(np.float32))
    for dtype in ("int32", "int64", "uint8", "uint32"):
        yield Operation(group, f"out of range to {dtype}", strange.astype, [dtype])


def random_numbers() -> Iterator[Operation]:
    group = "random"
    yield Operation(group, "raw PCG64 words", words, [14, 5000])
    ours: dict[str, dict[str, Any]] = {
        "uniform": {"low": -1.0, "high": 3.0},
        "normal": {"mean": 1.0, "std": 2.0},
        "integers": {"low": 0, "high": 1000},
    }
    for name, arguments in {
        "random": (),
        "uniform": (-1.0, 3.0),
        "normal": (1.0, 2.0),
        "exponential": (2.0,),
        "gamma": (2.5,),
        "beta": (0.7, 1.9),
        "gumbel": (),
        "laplace": (),
        "logistic": (),
        "lognormal": (),
        "weibull": (1.5,),
        "vonmises": (0.0, 4.0),
        "chisquare": (3.0,),
        "standard_t": (5.0,),
        "poisson": (7.0,),
        "binomial": (40, 0.3),
        "geometric": (0.2,),
        "integers": (0, 1000),
    }.items():
        counterpart = f"Stream.{name}" if name in ours else ""
        call = from_stream(size=5000, **ours.get(name, {}))
        yield Operation(group, f"rng.{name}", draw, [name, *arguments], counterpart=counterpart, counterpart_call=call)
    yield Operation(group, "rng.random float32", lambda: generator().random(5000, np.float32))
    yield Operation(group, "rng.normal float32", lambda: generator().standard_normal(5000, np.float32))
    yield Operation(
        group,
        "rng.permutation",
        lambda: generator().permutation(5000),
        counterpart="Stream.permutation",
        counterpart_call=from_stream(5000),
    )
    chosen = from_stream(5000, 1000, replace=False)
    yield Operation(
        group,
        "rng.choice",
        lambda: generator().choice(5000, 1000, replace=False),
        counterpart="Stream.choice",
        counterpart_call=chosen,
    )
    yield Operation(group, "rng.choice with p", lambda: generator().choice(9, 1000, p=np.full(9, 1 / 9)))
    yield Operation(group, "rng.dirichlet", lambda: generator().dirichlet(uniform(15, 7) + 0.5, 500))
    yield Operation(
        group, "rng.multivariate_normal", lambda: generator().multivariate_normal([0.0, 1.0], [[2.0, 0.3], [0.3, 1.0]], 500)
    )
    yield Operation(group, "RandomState.normal", lambda: np.random.RandomState(16).normal(size=5000))
    yield Operation(group, "RandomState.permutation", lambda: np.random.RandomState(16).permutation(5000))


def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(17)))


def draw(name: str, *arguments: float) -> Any:
    return getattr(generator(), name)(*arguments, size=5000)


def from_stream(*arguments: Any, **keywords: Any) -> Callable[[Any], Any]:
    """A function that calls a method of a `samebits.core.Stream` with these arguments."""
    return lambda method: method(samebits.core.Stream(17), *arguments, **keywords)
