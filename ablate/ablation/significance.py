"""Tests over paired seeds: sign flips on these images, Holm's adjustment, non-inferiority; ranks.

Sign flips: where the two networks of a pair do not differ, and differences are exchangeable within
a seed, a difference is as likely with either sign.  Source: Fisher 1935, The Design of
Experiments, sec. 21; the +1 of the random test: Phipson and Smyth 2010, arXiv:1603.05766.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


# -- How far an order of cells is the seeds' doing: ranks by seed, and of resampled means


RESAMPLES = 2000

_RANGE = (0.025, 0.975)
_DIGITS = 12
_AT_ONCE = 250


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
    values: NDArray[np.float64], *, names: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> RankStability:
    """Rank cells at every seed, and by their means over resampled seeds.

    Args:
        values: `[cells, K]`, higher is better; the caller negates minimised metrics. NaN for a
            failed seed, which is left out for all cells.
        names: one per cell.
        resamples: number of resamples, the same for all cells; seed: of them.

    Source: Kendall and Babington Smith 1939, Annals of Mathematical Statistics 10, 275 (W);
    Goldstein and Spiegelhalter 1996, J. R. Stat. Soc. A 159, 385 (ranks need intervals as means
    do).
    """
    table = values[:, np.isfinite(values).all(axis=0)]
    cells, n = table.shape
    of_seeds = _ranks(_settled(table).T).T
    unknown = (math.nan,) * cells
    low, high, first, kendall_w = unknown, unknown, unknown, math.nan
    if cells and n > 1:
        means = resampled_means(list(table[:, :, None]), resamples=resamples, seed=seed)
        ranks, is_first = _ranks(means), means == means.max(axis=1, keepdims=True)
        low = tuple(np.quantile(ranks, _RANGE[0], axis=0, method="lower").tolist())
        high = tuple(np.quantile(ranks, _RANGE[1], axis=0, method="higher").tolist())
        first = tuple((is_first / is_first.sum(axis=1, keepdims=True)).mean(axis=0).tolist())
        # Spread of the mean ranks, as a share of the spread of ranks at a seed: ties corrected.
        within = float(of_seeds.var(axis=0).mean())
        if cells > 1 and within:
            kendall_w = float(of_seeds.mean(axis=1).var()) / within
    mean_rank = tuple(of_seeds.mean(axis=1).tolist()) if n else unknown
    return RankStability(tuple(names), mean_rank, low, high, first, kendall_w, n)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks within each row, the highest value first, from 1; equal values share their mean."""
    # Not by scipy.stats, which takes longer to import than a figure to draw.
    ours, others = values[:, :, None], values[:, None, :]
    above, equal = (others > ours).sum(axis=2), (others == ours).sum(axis=2)
    ranks: NDArray[np.float64] = above + (equal + 1) / 2
    return ranks


def resampled_means(
    tables: Sequence[np.ndarray], *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Means over seeds and images that are both drawn with replacement, the same draw for all.

    Args:
        tables: `[K, n_images]` each, finite, K above 0; with one image, over seeds alone.
        seed: the same seed, K, n_images and resamples give the same draws; of seeds whatever
            n_images is.

    Returns:
        `[resamples, tables]`, to 12 digits, so that means that are equal tie, whatever the order
        they were added in.
    """
    n_seeds, n_images = np.shape(tables[0])
    of_seeds = _drawn(np.random.default_rng(seed), resamples, n_seeds)
    images = np.random.default_rng([seed, 1])
    means = np.empty((resamples, len(tables)))
    for start in range(0, resamples, _AT_ONCE):
        chunk = slice(start, min(start + _AT_ONCE, resamples))
        of_images = _drawn(images, chunk.stop - start, n_images)
        for place, table in enumerate(tables):
            means[chunk, place] = ((of_seeds[chunk] @ table) * of_images).sum(axis=1)
    return _settled(means / (n_seeds * n_images))


def _drawn(generator: np.random.Generator, resamples: int, n: int) -> NDArray[np.float64]:
    """How often each of n is drawn, `[resamples, n]`."""
    drawn = generator.integers(0, n, (resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts.astype(np.float64)


def _settled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round each value to this number of significant digits."""
    mantissa, exponent = np.frexp(values)
    settled: NDArray[np.float64] = np.ldexp(np.round(mantissa, _DIGITS), exponent)
    return settled
