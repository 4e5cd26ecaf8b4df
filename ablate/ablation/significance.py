"""Sign-flip test: could the mean difference over paired seeds be luck?

Where the two networks of a pair do not differ, a difference is as likely with either sign.
Source: Fisher 1935, The Design of Experiments, sec. 21; the +1 of the random one: Phipson and
Smyth 2010, arXiv:1603.05766.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.intervals import Estimate, as_differences
from ablate.errors import ParameterError, did_you_mean

Alternative = Literal["two-sided", "greater"]

MOST_EXACT = 16
"""Largest number of seeds for which all 2^K sign vectors are evaluated."""

FLIPS = 100_000

_CHUNK = 10_000
_TIE = 1e-9


@dataclass(frozen=True)
class PermutationTest:
    """The result of a test over paired seeds.

    Attributes:
        p: NaN without seeds.
        least_p: the smallest p possible with this number of seeds: 2 / 2^K two-sided, 1 / 2^K
            one-sided, and at least 1 / (FLIPS + 1) if signs are sampled.
        exact: whether all sign vectors were evaluated.
    """

    p: float
    least_p: float
    exact: bool


def sign_flip_test(
    differences: np.ndarray,
    *,
    shift: float = 0.0,
    alternative: Alternative = "two-sided",
    seed: int = 0,
) -> PermutationTest:
    """Sign-flip test: the fraction of sign vectors with a mean at least as extreme as the observed
    one.

    Exact up to 16 seeds; above, from 100,000 random vectors and the observed one.  Sums that differ
    by less than 1e-9 of the sum of absolute values are tied, and ties count as at least as extreme.

    Args:
        differences: `[K]`, one per seed, of two networks with the same seed.
        shift: added to every difference; the tested hypothesis is a mean of -shift.
        alternative: "greater" tests only whether the mean is above it.
        seed: of the random vectors.

    Returns:
        K = 0: NaN. K = 1: two-sided 1. All differences zero: 1.

    Raises:
        ParameterError: if the shape is wrong, a difference is not finite, or the alternative is
            unknown.
    """
    if alternative not in get_args(Alternative):
        fix = did_you_mean(alternative, get_args(Alternative))
        raise ParameterError(f"alternative: unknown alternative, got {alternative!r}. {fix}")
    values = as_differences(differences, "K") + shift
    n = len(values)
    if n == 0:
        return PermutationTest(math.nan, math.nan, True)
    least = (2 if alternative == "two-sided" else 1) / 2**n
    slack = _TIE * float(np.abs(values).sum())
    observed = float(values.sum())
    if n <= MOST_EXACT:
        hits = _count(_all_sums(values), observed, slack, alternative)
        return PermutationTest(hits / 2**n, least, True)
    generator = np.random.default_rng(seed)
    hits = 0
    for _ in range(FLIPS // _CHUNK):
        is_kept = generator.integers(0, 2, (_CHUNK, n), dtype=np.int8)
        hits += _count(2 * (is_kept @ values) - observed, observed, slack, alternative)
    return PermutationTest((hits + 1) / (FLIPS + 1), max(least, 1 / (FLIPS + 1)), False)


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of all 2^K sign vectors."""
    sums: NDArray[np.float64] = _all_signs(len(values)) @ values
    return sums


@lru_cache(maxsize=2)
def _all_signs(n: int) -> NDArray[np.float64]:
    """`[2^n, n]`, kept: the tests of a study are mostly over the same number of seeds."""
    is_kept = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return np.where(is_kept, 1.0, -1.0)


def _count(
    sums: NDArray[np.float64], observed: float, slack: float, alternative: Alternative
) -> int:
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    return int(np.count_nonzero(sums >= observed - slack))


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
# Not to be confused with a difference that is not significant, which few seeds always give.


_ALPHA = 0.05


@dataclass(frozen=True)
class NonInferiority:
    """Whether a loss of the margin or more is ruled out.

    Attributes:
        margin: in the metric's own unit.
        kept: True if the interval's lower bound is above -margin; False means "not shown", not
            "lost". None for too few seeds: if even the smallest one-sided p, 1 / 2^K, is not below
            .05.
        p: of the hypothesis that the mean is -margin, one-sided, over seeds on these images; NaN
            without seeds.
        low: the interval's lower bound.
    """

    margin: float
    kept: bool | None
    p: float
    low: float


def noninferiority(differences: np.ndarray, margin: float, estimate: Estimate) -> NonInferiority:
    """Compare the lower bound of a mean difference with a margin.

    The bound decides, so with a 95 % interval the error of a false "kept" is 2.5 %. The p value is
    for fixed images and given in addition; if the interval is over seeds and images, the two may
    disagree.

    Args:
        differences: `[K]`, one a seed, positive for a gain; the caller negates minimised metrics.
        margin: above 0, the largest loss allowed.
        estimate: of the same differences.

    Raises:
        ParameterError: if the margin is not positive and finite, the estimate has another number of
            seeds, the shape is wrong, or a difference is not finite.
    """
    if not 0 < margin < math.inf:
        raise ParameterError(
            f"margin: must be above 0 and finite, got {margin}. Give the largest loss allowed."
        )
    seeds = as_differences(differences, "K")
    if len(seeds) != estimate.n:
        raise ParameterError(
            f"estimate: must use the same {len(seeds)} seeds, got {estimate.n}. Estimate it from "
            "these differences."
        )
    test = sign_flip_test(seeds, shift=margin, alternative="greater")
    has_enough = test.least_p < _ALPHA and not math.isnan(estimate.low)
    kept = estimate.low > -margin if has_enough else None
    return NonInferiority(margin, kept, test.p, estimate.low)


# -- How far an order of cells is the seeds' doing: ranks by seed, and of resampled means ---
#
# Source: Kendall and Babington Smith 1939, Annals of Mathematical Statistics 10, 275 (W); Goldstein
# and Spiegelhalter 1996, J. R. Stat. Soc. A 159, 385 (ranks need intervals as means do).


RESAMPLES = 2000

_RANGE = (0.025, 0.975)
_DIGITS = 12


@dataclass(frozen=True)
class RankStability:
    """Ranks of cells, 1 is the best; tied cells get the mean of their ranks.

    Attributes:
        names: of the cells; the other fields have one value per cell.
        mean_rank: mean over the seeds of a cell's rank; NaN without seeds.
        rank_low, rank_high: range of the rank of its mean, in 95 % of the resamples.
        first_probability: fraction of resamples in which its mean is the highest; tied cells share
            it, so that the sum is 1.
        kendall_w: agreement of the seeds' orders, 0 (none) to 1 (identical); NaN for fewer than two
            cells or seeds, and if all cells tie at all seeds.
        n: number of seeds that all cells have.

    Ranges and probabilities are NaN for fewer than two seeds.
    """

    names: tuple[str, ...]
    mean_rank: tuple[float, ...]
    rank_low: tuple[float, ...]
    rank_high: tuple[float, ...]
    first_probability: tuple[float, ...]
    kendall_w: float
    n: int


def rank_stability(
    values: np.ndarray, *, names: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> RankStability:
    """Rank cells at every seed, and by their means over resampled seeds.

    Args:
        values: `[cells, K]`, higher is better; the caller negates minimised metrics. NaN for a
            failed seed, which is left out for all cells. names: one per cell. resamples: number of
            resamples, the same for all cells. seed: of the resamples.

    Raises:
        ParameterError: if the shape is wrong, or there is not one name per cell.
    """
    from scipy.stats import rankdata

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(names):
        raise ParameterError(
            f"values: must be [cells, K] with {len(names)} cells as in names, got shape "
            f"{table.shape}. Give one name per row."
        )
    table = table[:, np.isfinite(table).all(axis=0)]
    cells, n = table.shape
    of_seeds = rankdata(-_settled(table), axis=0) if table.size else np.empty((cells, n))
    unknown = (math.nan,) * cells
    low, high, first = unknown, unknown, unknown
    if cells and n > 1:
        means = resampled_means(table, resamples=resamples, seed=seed)
        ranks = rankdata(-means, axis=1)
        low = _floats(np.quantile(ranks, _RANGE[0], axis=0, method="lower"))
        high = _floats(np.quantile(ranks, _RANGE[1], axis=0, method="higher"))
        is_first = means == means.max(axis=1, keepdims=True)
        first = _floats((is_first / is_first.sum(axis=1, keepdims=True)).mean(axis=0))
    return RankStability(
        names=tuple(names),
        mean_rank=_floats(of_seeds.mean(axis=1)) if n else unknown,
        rank_low=low,
        rank_high=high,
        first_probability=first,
        kendall_w=_kendall_w(of_seeds),
        n=n,
    )


def resampled_means(values: np.ndarray, *, resamples: int, seed: int) -> NDArray[np.float64]:
    """Means over resampled seeds, with the same resamples for every row.

    Args:
        values: `[rows, K]`, finite, K above 0.
        seed: the same seed, K and resamples give the same draws.

    Returns:
        `[resamples, rows]`, to 12 digits, so that equal means tie, regardless of the order of
        summation.
    """
    n = values.shape[1]
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)
    return _settled((counts @ values.T) / n)


def _settled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round each value to this number of significant digits."""
    mantissa, exponent = np.frexp(values)
    settled: NDArray[np.float64] = np.ldexp(np.round(mantissa, _DIGITS), exponent)
    return settled


def _kendall_w(ranks: NDArray[np.float64]) -> float:
    """Spread of the mean ranks, as a share of the spread of ranks at a seed: ties corrected."""
    cells, n = ranks.shape
    if cells < 2 or n < 2:
        return math.nan
    within = float(ranks.var(axis=0).mean())
    return float(ranks.mean(axis=1).var()) / within if within else math.nan


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, values))
