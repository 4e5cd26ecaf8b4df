"""Which scores are those of trials that collapsed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FAR_SPREADS = 3.0
"""Interquartile ranges beyond the worse quartile.  Source: Tukey 1977, the outer fence."""


def fenced(values: ArrayLike, *, maximize: bool) -> NDArray[np.float64]:
    """Scores of trials that collapsed set to the outer fence, all others as they are.

    One collapsed training would press all others into one end of an axis, or into one colour.
    Only the worse side has a fence: a trial that stands out as the best is what is looked for.

    Args:
        values: what is no number stays, and counts for nothing.
        maximize: whether more is better.

    Returns:
        As many values. Where at least half of them are equal there is no spread to tell by, and
        nothing is set.
    """
    table = np.asarray(values, dtype=float)
    finite = table[np.isfinite(table)]
    if not len(finite):
        return table
    lower, upper = np.quantile(finite, (0.25, 0.75))
    room = FAR_SPREADS * (upper - lower)
    if room == 0:
        return table
    ends = (lower - room, np.inf) if maximize else (-np.inf, upper + room)
    return np.where(np.isfinite(table), np.clip(table, *ends), table)
