"""How well a parameter sorts the trials: what is shown first where nobody says what to show.

A screening, and no importance: it looks at one parameter at a time and has no uncertainty.
The figure `importance` is what a claim is made from.

Source: epsilon squared (Kelley 1935), of the ranks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.parameter_column import ParameterColumn

_MOST_BINS = 6
_BIN_TRIALS = 6
"""Trials that a bin of a numeric parameter has at least, apart from the least of two bins."""


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, smallest first; equal values share their mean, what is no number has NaN."""
    table = np.asarray(values, dtype=float)
    ranks = np.full(len(table), np.nan)
    finite = np.isfinite(table)
    _, place, count = np.unique(table[finite], return_inverse=True, return_counts=True)
    ranks[finite] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def association(column: ParameterColumn, ranks: NDArray[np.float64]) -> float:
    """The share of the ranks' variance that lies between groups of the parameter's values.

    Args:
        column: its levels are the groups; a numeric one is cut into 2 to 6 of equal size.
        ranks: one a trial; NaN where there is none.

    Returns:
        0 to 1, after the adjustment; times the share of trials that have the parameter, so that
        one that few trials have does not come first by chance. 0 of fewer than four trials, and
        where parameter or rank is the same in all.
    """
    at = column.coordinates
    used = np.isfinite(at) & np.isfinite(ranks)
    n = int(used.sum())
    if n < 4:
        return 0.0
    groups, of_trials = at[used], ranks[used]
    if column.kind != "categorical":
        bins = min(max(n // _BIN_TRIALS, 2), _MOST_BINS)
        # By rank, so that equal values stay together.
        shares = (mean_ranks(groups) - 0.5) / n
        groups = np.floor(shares * bins)
    _, place = np.unique(groups, return_inverse=True)
    count = np.bincount(place)
    total = float(((of_trials - of_trials.mean()) ** 2).sum())
    if len(count) < 2 or len(count) >= n or math.isclose(total, 0.0):
        return 0.0
    means = np.bincount(place, of_trials) / count
    within = float(((of_trials - means[place]) ** 2).sum())
    adjusted = 1 - (within / (n - len(count))) / (total / (n - 1))
    return max(adjusted, 0.0) * n / len(ranks)
