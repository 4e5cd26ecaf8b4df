"""Expected best score of a smaller search: what an arm's tuning budget bought.

Source: Dodge et al. 2019, arXiv:1909.03004, sec. 3.2: E[V_n], V_n the best of n draws from the
empirical distribution of the T scores.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ablate.errors import ParameterError


def expected_best(values: np.ndarray) -> NDArray[np.float64]:
    """Expected maximum of n of the scores, drawn with replacement, for n from 1 to T.

    Right for random search, whose trials are independent draws; of an adaptive sampler's trials an
    approximation, as later ones are better for the earlier ones. Biased low for n near T: none of
    the scores that were not seen is above the best one (Tang et al. 2020, arXiv:2004.13705).

    Args:
        values: `[T]`, higher is better; NaN or an infinity where a trial failed, which counts as
            the worst score of those that did not.

    Returns:
        `[T]`, never falling: at n = 1 the mean, at n = T below the maximum unless that is tied
        throughout. NaN where all failed; empty of no trial.

    Raises:
        ParameterError: if the shape is another.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ParameterError(
            f"values: must be [T], got shape {scores.shape}. Give one score a trial."
        )
    is_scored = np.isfinite(scores)
    if not is_scored.any():
        return np.full(len(scores), math.nan)
    ordered = np.sort(np.where(is_scored, scores, scores[is_scored].min()))
    n = len(ordered)
    # The best of n is at or below the i-th score with probability (i / T)^n; the sum over scores,
    # by parts: the highest less every gap between neighbours, times how probably it is not crossed.
    gaps = np.diff(ordered)
    shares = np.arange(1, n) / n
    below = np.ones(n - 1)
    best = np.empty(n)
    for place in range(n):
        below *= shares
        best[place] = ordered[-1] - gaps @ below
    return best
