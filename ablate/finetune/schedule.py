"""How the learning rate goes over the budget.

Source: Loshchilov and Hutter 2017, arXiv:1608.03983 for the cosine (without restarts); Smith and
Topin 2018, arXiv:1708.07120 for one cycle, in the form of torch's `OneCycleLR`.  Differs: the
momentum stays as it is.
"""

from __future__ import annotations

import math

from ablate.study.settings import TrainingSettings

RISE_FRACTION = 0.3
"""Share of the budget over which one cycle rises."""

FIRST_DIVISOR = 25.0
"""One cycle, or a warm-up, begins at the highest rate over this: no step is without a rate."""

LAST_DIVISOR = 1e4
"""One cycle ends at its first rate over this."""


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """The learning rate at a point of the budget.

    Args:
        settings: the highest rate, the schedule and its warm-up.
        progress: share of the budget that is spent, in [0, 1).  At 1 a cosine is 0.

    Returns:
        Between 0 and `settings.learning_rate`.  With a warm-up it first rises from a 25th as a
        line, and a cosine spans what is left; one cycle has its own.
    """
    highest, warmup = settings.learning_rate, settings.warmup_fraction
    if settings.schedule == "one_cycle":
        return _one_cycle(highest, progress)
    if progress < warmup:
        first = highest / FIRST_DIVISOR
        return first + (highest - first) * progress / warmup
    if settings.schedule == "constant":
        return highest
    return _cosine(highest, 0.0, (progress - warmup) / (1 - warmup))


def _one_cycle(highest: float, progress: float) -> float:
    first = highest / FIRST_DIVISOR
    if progress < RISE_FRACTION:
        return _cosine(first, highest, progress / RISE_FRACTION)
    falling = (progress - RISE_FRACTION) / (1 - RISE_FRACTION)
    return _cosine(highest, first / LAST_DIVISOR, falling)


def _cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine, of which this share is done."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
