"""Tests over paired seeds: sign flips on these images, Holm's adjustment, non-inferiority,
equivalence.

Sign flips: where the two networks of a pair do not differ, and differences are exchangeable within
a seed, a difference is as likely with either sign.  Source: Fisher 1935, The Design of
Experiments, sec. 21; the +1 of the random test: Phipson and Smyth 2010, arXiv:1603.05766.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablate.ablation.intervals import Estimate, MeanModel

LEAST_SEEDS = 3
"""Seeds below which nothing is claimed: of two, one degree of freedom says how seeds vary."""

RANKED_SEEDS = 5
"""Seeds below which arms are not ranked."""

MOST_EXACT = 16
"""Seeds up to which all 2^K sign vectors are evaluated."""

FLIPS = 100_000


def sign_flip_test(differences: np.ndarray) -> float:
    """p of the sign-flip test: the fraction of sign vectors with a mean at least as extreme as the
    observed one.

    Exact up to `MOST_EXACT` seeds; above, of 100,000 vectors drawn at random, the observed one
    counted with them (`scipy.stats.permutation_test`). The smallest p that K seeds allow is
    2 / 2^K two-sided.

    Args:
        differences: `[K]`, one a seed, of two networks with the same seed, on the same images.

    Returns:
        K = 0: NaN. K = 1, and all differences zero: 1.
    """
    from scipy.stats import permutation_test

    n = len(differences)
    if n < 2 or not differences.any():
        return 1.0 if n else math.nan
    # The unit of a difference changes nothing; a largest of 1 leaves SciPy's ties room.
    found = permutation_test(
        (differences / np.abs(differences).max(),),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**n if n <= MOST_EXACT else FLIPS,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: those below alpha may be claimed together at alpha, however they depend.

    Args:
        p_values: from 0 to 1; 1 where there is no interval.

    Returns:
        In the order given: each at least as large as it was, at most 1, and in the order of size
        that they had.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(order), 0, -1) * np.array(p_values, dtype=np.float64)[order]
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.minimum(steps, 1.0))
    return adjusted.tolist()


@dataclass(frozen=True)
class NonInferiority:
    """Whether a loss of the margin or more is excluded: of what must not be lost, up to a margin
    that was declared before.

    Not to be confused with a difference that is not significant, which few seeds always give.

    Source: Piaggio et al. 2012, JAMA 308, 2594 (CONSORT for non-inferiority).

    Attributes:
        margin: in the metric's own unit.
        kept: True where the interval's lower bound is above -margin; False says "not shown", not
            "lost". None of fewer than three seeds, and of what was tuned on these images.
        p: one-sided, of the hypothesis that the mean is -margin or less, from the interval's model;
            NaN where there is no interval.
        low: the interval's lower bound.
    """

    margin: float
    kept: bool | None
    p: float
    low: float


def noninferiority(
    model: MeanModel,
    margin: float,
    *,
    is_minimized: bool = False,
    estimate: Estimate | None = None,
) -> NonInferiority:
    """Compare the lower bound of a mean difference with a margin.

    Bound and p are of one model, so `kept` is true exactly where p is below .025; of a wider
    interval, only there.

    Args:
        model: of the differences, positive where nothing is lost.
        margin: above 0, the most that may be lost.
        is_minimized: whether less is better, so that positive differences are losses.
        estimate: with the interval that is shown; without one, the model's at 95 %.
    """
    estimate, sign = estimate or model.estimate(), -1 if is_minimized else 1
    low = -estimate.high if is_minimized else estimate.low
    half = model.p(-sign * margin) / 2
    p = half if sign * model.mean > -margin else 1 - half
    kept = low > -margin if model.n >= LEAST_SEEDS and not math.isnan(low) else None
    return NonInferiority(margin, kept, p, low)


def equivalence_p(model: MeanModel, margin: float) -> float:
    """The larger p of two one-sided tests, that the mean is -margin or less, and margin or more.

    It is below .025 exactly where the model's 95 % interval lies within the margin; NaN where there
    is no interval.

    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657; each at half the level of a
    two-sided test (ICH E9 1998, sec. 5.5), so that the interval that is shown decides.
    """
    sides = [noninferiority(model, margin, is_minimized=less).p for less in (False, True)]
    return math.nan if math.isnan(sides[0]) else max(sides)
