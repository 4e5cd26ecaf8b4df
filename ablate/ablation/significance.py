"""Tests over paired seeds: sign flips on these images, Holm's adjustment, non-inferiority.

Sign flips: where the two networks of a pair do not differ, and differences are exchangeable within
a seed, a difference is as likely with either sign.  Source: Fisher 1935, The Design of
Experiments, sec. 21; the +1 of the random test: Phipson and Smyth 2010, arXiv:1603.05766.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ablate.ablation.intervals import MeanModel, as_differences
from ablate.errors import ParameterError, did_you_mean

Alternative = Literal["two-sided", "greater"]

LEAST_SEEDS = 3
"""Seeds below which nothing is claimed: of two, one degree of freedom says how seeds vary."""

MOST_EXACT = 16
"""Seeds up to which all 2^K sign vectors are evaluated."""

FLIPS = 100_000


@dataclass(frozen=True)
class PermutationTest:
    """What a sign-flip test over paired seeds says.

    Attributes:
        p: NaN of no seed.
        exact: whether all sign vectors were evaluated.
    """

    p: float
    exact: bool


def sign_flip_test(
    differences: np.ndarray, *, alternative: Alternative = "two-sided", seed: int = 0
) -> PermutationTest:
    """The share of sign vectors with which the mean is at least as far out as it is.

    Exact up to 16 seeds; above, of 100,000 vectors drawn at random, the observed one counted with
    them (`scipy.stats.permutation_test`). The smallest p that K seeds allow is 2 / 2^K two-sided.

    Args:
        differences: `[K]`, one a seed, of two networks with the same seed, on the same images.
        alternative: "greater" asks only whether the mean is above 0.
        seed: of the drawn vectors.

    Returns:
        K = 0: NaN. All differences zero, and two-sided K = 1: 1.

    Raises:
        ParameterError: if the shape is another, a difference is not finite, or the alternative is
            unknown.
    """
    from scipy.stats import permutation_test

    if alternative not in get_args(Alternative):
        fix = did_you_mean(alternative, get_args(Alternative))
        raise ParameterError(f"alternative: unknown alternative, got {alternative!r}. {fix}")
    values = as_differences(differences, "K")
    n = len(values)
    is_exact = n <= MOST_EXACT
    if n == 0:
        return PermutationTest(math.nan, True)
    if n == 1:
        return PermutationTest(1.0 if alternative == "two-sided" or values[0] <= 0 else 0.5, True)
    if not values.any():
        return PermutationTest(1.0, is_exact)
    # The unit of a difference changes nothing; a largest of 1 leaves SciPy's ties room.
    found = permutation_test(
        (values / np.abs(values).max(),),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**n if is_exact else FLIPS,
        alternative=alternative,
        rng=np.random.default_rng(seed),
    )
    return PermutationTest(float(found.pvalue), is_exact)


# -- Holm's adjustment of the p values of several tests ------------------------------------
#
# Source: Holm 1979, Scandinavian Journal of Statistics 6, 65.


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: those below alpha may be claimed together at alpha, however they depend.

    Args:
        p_values: from 0 to 1; NaN where there was no test, which is not counted as one.

    Returns:
        In the order given: each at least as large as it was, at most 1, and in the order of size
        that they had; NaN stays NaN; empty of none.

    Raises:
        ParameterError: if a value is not from 0 to 1.
    """
    odd = [p for p in p_values if not (math.isnan(p) or 0 <= p <= 1)]
    if odd:
        raise ParameterError(f"p_values: must be from 0 to 1, got {odd[0]}. Give unadjusted ones.")
    tested = [place for place, p in enumerate(p_values) if not math.isnan(p)]
    tested.sort(key=lambda place: p_values[place])
    adjusted = [math.nan] * len(p_values)
    most = 0.0
    for rank, place in enumerate(tested):
        most = max(most, min(1.0, (len(tested) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


# -- Non-inferiority: is what must not be lost kept, up to a margin that was declared before?
#
# Source: Piaggio et al. 2012, JAMA 308, 2594 (CONSORT for non-inferiority).
# Not to be confused with a difference that is not significant, which few seeds give for nothing.


@dataclass(frozen=True)
class NonInferiority:
    """Whether a loss of the margin or more is excluded.

    Attributes:
        margin: in the metric's own unit.
        kept: True where the interval's lower bound is above -margin; False says "not shown", not
            "lost". None of fewer than three seeds.
        p: one-sided, of the hypothesis that the mean is -margin or less, from the interval's model;
            NaN where there is no interval.
        low: the interval's lower bound, at 95 %.
    """

    margin: float
    kept: bool | None
    p: float
    low: float


def noninferiority(
    model: MeanModel, margin: float, *, is_minimized: bool = False
) -> NonInferiority:
    """Compare the lower bound of a mean difference with a margin.

    Bound and p are of one model, so `kept` is true exactly where p is below .025.

    Args:
        model: of the differences, positive where nothing is lost.
        margin: above 0, the most that may be lost.
        is_minimized: whether less is better, so that positive differences are losses.

    Raises:
        ParameterError: if the margin is not positive and finite.
    """
    if not 0 < margin < math.inf:
        raise ParameterError(
            f"margin: must be above 0 and finite, got {margin}. Give the largest loss allowed."
        )
    estimate, sign = model.estimate(), -1 if is_minimized else 1
    low = -estimate.high if is_minimized else estimate.low
    half = model.p(-sign * margin) / 2
    p = half if sign * model.mean > -margin else 1 - half
    kept = low > -margin if model.n >= LEAST_SEEDS and not math.isnan(low) else None
    return NonInferiority(margin, kept, p, low)
