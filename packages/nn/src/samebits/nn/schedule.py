"""Learning-rate schedules: pure functions of the step, so that resuming a run needs no state.

Steps count from 0. A warm-up of n steps rises linearly to the peak at step n - 1, without a first step of rate 0; from
``steps`` on the rate stays at ``final``.

    rate ^    ______                 constant after linear_warmup
         |   /      `-.              cosine
         |  /          `-.__         warmup_stable_decay: flat, then a line
         +--------------------> step

The arithmetic is float64, whatever kind of number the rates are, and our own, cosine included, so every machine takes
the same steps.
"""

import math

import numpy as np

from samebits.core import trigonometry

__all__ = ["constant", "cosine", "linear_warmup", "warmup_stable_decay"]


def constant(step: int, *, peak: float) -> float:
    """``peak`` at every step.

    Example:
        >>> constant(7, peak=0.1)
        0.1
    """
    _check(step, peak=peak)
    return float(peak)


def linear_warmup(step: int, *, peak: float, warmup: int) -> float:
    """``peak * (step + 1) / warmup`` for ``warmup`` steps, then ``peak``.

    Example:
        >>> [linear_warmup(step, peak=1.0, warmup=4) for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _check(step, peak=peak, warmup=warmup)
    return float(peak) * (step + 1) / warmup if step < warmup else float(peak)


def cosine(step: int, *, peak: float, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """`linear_warmup`, then half a cosine wave from ``peak`` at step ``warmup`` to ``final`` at step ``steps``.

    ``final + (peak - final) * (1 + cos(pi * t)) / 2``, with t from 0 to 1 (Loshchilov and Hutter, 2017,
    arXiv:1608.03983, equation 5).

    Args:
        step: The number of the step, from 0.
        peak: The highest rate.
        steps: Where ``final`` is reached; the number of steps of the run.
        warmup: The number of steps of the warm-up.
        final: The rate from ``steps`` on.

    Raises:
        ValueError: A rate or number is negative, or ``warmup`` is more than ``steps``.

    Example:
        >>> [round(cosine(step, peak=1.0, steps=6, warmup=2), 4) for step in range(7)]
        [0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464, 0.0]
    """
    _check(step, peak=peak, final=final, warmup=warmup, steps=steps)
    if step < warmup:
        return linear_warmup(step, peak=peak, warmup=warmup)
    if step >= steps:
        return float(final)
    angle = np.array([math.pi * (step - warmup) / (steps - warmup)])
    wave = np.empty(1)
    trigonometry.cos(angle, wave)
    return _between(final, peak, (1 + float(wave[0])) / 2)


def warmup_stable_decay(step: int, *, peak: float, steps: int, decay: int, warmup: int = 0, final: float = 0.0) -> float:
    """`linear_warmup`, then ``peak``, then a line down to ``final`` over the last ``decay`` steps.

    A run can be prolonged from its flat part (Hu et al., 2024, MiniCPM, arXiv:2404.06395, section 4).

    Args:
        step: The number of the step, from 0.
        peak: The highest rate.
        steps: Where ``final`` is reached; the number of steps of the run.
        decay: The number of steps of the way down.
        warmup: The number of steps of the warm-up.
        final: The rate from ``steps`` on.

    Raises:
        ValueError: A rate or number is negative, or ``warmup`` and ``decay`` are more than ``steps``.

    Example:
        >>> [warmup_stable_decay(step, peak=1.0, steps=8, decay=4, warmup=2) for step in range(9)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    _check(step, peak=peak, final=final, warmup=warmup, decay=decay, steps=steps)
    if step < steps - decay:
        return linear_warmup(step, peak=peak, warmup=warmup)
    if step >= steps:
        return float(final)
    return _between(final, peak, (steps - step) / decay)


def _between(final: float, peak: float, part: float) -> float:
    """``part`` of the way from ``final`` to ``peak``: both are met exactly."""
    return float(final) * (1 - part) + float(peak) * part


def _check(step: int, *, steps: int | None = None, warmup: int = 0, decay: int = 0, **rates: float) -> None:
    """Raise ValueError for what no schedule can mean."""
    for name, number in (("step", step), ("warmup", warmup), ("decay", decay), ("steps", steps or 0)):
        if number < 0:
            raise ValueError(f"{name} is {number}: it must not be negative")
    for name, rate in rates.items():
        if not 0 <= rate < math.inf:
            raise ValueError(f"{name} is {rate}: a finite learning rate, not negative, is needed")
    if steps is not None and warmup + decay > steps:
        parts = f"warmup is {warmup} and decay {decay}" if decay else f"warmup is {warmup}"
        raise ValueError(f"{parts}, more than all steps, which are {steps}")
