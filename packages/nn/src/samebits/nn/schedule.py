"""Learning-rate schedules: pure functions of the step, so that resuming a run needs no state.

Steps count from 0. A warm-up of n steps rises linearly to the peak at step n - 1, so no step has a rate of 0; from
``steps`` on the rate is ``final``.

    rate ^    ______                 constant after linear_warmup
         |   /      `-.              cosine
         |  /          `-.__         warmup_stable_decay: constant, then a line
         +--------------------> step

The arithmetic is NumPy's float64, whatever type the rates have (Python's own floats are rounded twice on 32-bit x86), and the
cosine is that of `samebits.core`, so the rates have the same bits on every machine.
"""

import math
from dataclasses import dataclass

import numpy as np

from samebits.core import trigonometry
from samebits.core.arguments import integer
from samebits.nn.arguments import number_within

__all__ = ["constant", "cosine", "linear_warmup", "warmup_stable_decay"]

_PI = np.float64(math.pi)


def constant(step: int, *, peak: float) -> float:
    """``peak`` at every step.

    Example:
        >>> constant(7, peak=0.1)
        0.1
    """
    return _checked("constant", step, peak=peak).peak.item()


def linear_warmup(step: int, *, peak: float, warmup: int) -> float:
    """``peak * (step + 1) / warmup`` for ``warmup`` steps, then ``peak``.

    Example:
        >>> [linear_warmup(step, peak=1.0, warmup=4) for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return _warmed(_checked("linear_warmup", step, peak=peak, warmup=warmup))


def cosine(step: int, *, peak: float, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """`linear_warmup`, then half a cosine wave from ``peak`` at step ``warmup`` to ``final`` at step ``steps``.

    ``final + (peak - final) * (1 + cos(pi * t)) / 2``, with t from 0 to 1 (Loshchilov and Hutter, 2017,
    arXiv:1608.03983, equation 5).

    Args:
        step: The number of the step, from 0.
        peak: The highest rate.
        steps: The number of steps of the run, after which the rate is ``final``.
        warmup: The number of steps of the warm-up.
        final: The rate from ``steps`` on.

    Raises:
        TypeError: A rate is not a number, or a number of steps not an int.
        ValueError: One of them is negative or not finite, or ``warmup`` is more than ``steps``.

    Example:
        >>> [round(cosine(step, peak=1.0, steps=6, warmup=2), 4) for step in range(7)]
        [0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464, 0.0]
    """
    given = _checked("cosine", step, peak=peak, final=final, warmup=warmup, steps=steps)
    if given.step < given.warmup:
        return _warmed(given)
    if given.step >= given.steps:
        return float(given.final)
    angle = np.array([_PI * (given.step - given.warmup) / (given.steps - given.warmup)])
    wave = np.empty(1)
    trigonometry.cos(angle, wave)
    return _between(given, (1 + wave[0]) / 2)


def warmup_stable_decay(step: int, *, peak: float, steps: int, decay: int, warmup: int = 0, final: float = 0.0) -> float:
    """`linear_warmup`, then ``peak``, then a line down to ``final`` over the last ``decay`` steps.

    A run can be continued from its constant part with more steps (Hu et al., 2024, MiniCPM, arXiv:2404.06395, section 4).

    Args:
        step: The number of the step, from 0.
        peak: The highest rate.
        steps: The number of steps of the run, after which the rate is ``final``.
        decay: The number of steps of the decay.
        warmup: The number of steps of the warm-up.
        final: The rate from ``steps`` on.

    Raises:
        TypeError: As in `cosine`.
        ValueError: As in `cosine`, or ``warmup`` and ``decay`` together are more than ``steps``.

    Example:
        >>> [warmup_stable_decay(step, peak=1.0, steps=8, decay=4, warmup=2) for step in range(9)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    given = _checked("warmup_stable_decay", step, peak=peak, final=final, warmup=warmup, decay=decay, steps=steps)
    if given.step < given.steps - given.decay:
        return _warmed(given)
    if given.step >= given.steps:
        return float(given.final)
    return _between(given, np.float64(given.steps - given.step) / given.decay)


@dataclass(frozen=True)
class _Checked:
    """The arguments of a schedule."""

    step: int
    peak: np.float64
    final: np.float64
    warmup: int
    decay: int
    steps: int


def _checked(
    function: str, step: int, *, peak: float, final: float = 0.0, warmup: int = 0, decay: int = 0, steps: int | None = None
) -> _Checked:
    """Check the arguments of a schedule; TypeError or ValueError for what is wrong."""
    given = _Checked(
        step=integer(function, "step", step, least=0),
        peak=np.float64(number_within(function, "peak", peak)),
        final=np.float64(number_within(function, "final", final)),
        warmup=integer(function, "warmup", warmup, least=0),
        decay=integer(function, "decay", decay, least=0),
        steps=0 if steps is None else integer(function, "steps", steps, least=0),
    )
    if steps is not None and warmup + decay > steps:
        parts = f"warmup={warmup} and decay={decay}" if decay else f"warmup={warmup}"
        raise ValueError(f"{function}: steps must be at least {warmup + decay}, with {parts}, got {steps}")
    return given


def _warmed(given: _Checked) -> float:
    """The rate of a warm-up and the constant part after it."""
    if given.step >= given.warmup:
        return float(given.peak)
    with np.errstate(all="ignore"):
        return float(given.peak * (given.step + 1) / given.warmup)


def _between(given: _Checked, part: np.float64) -> float:
    """``part`` of the way from ``final`` to ``peak``; both ends are exact."""
    with np.errstate(all="ignore"):
        return float(given.final * (1 - part) + given.peak * part)
