"""How far an order of cells is the seeds' doing: ranks by seed, and of means over resampled seeds.

Source: Kendall and Babington Smith 1939, Annals of Mathematical Statistics 10, 275 (W); Goldstein
and Spiegelhalter 1996, J. R. Stat. Soc. A 159, 385 (ranks need intervals as means do).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.errors import ParameterError

RESAMPLES = 2000

_RANGE = (0.025, 0.975)
_DIGITS = 12
_AT_ONCE = 250


@dataclass(frozen=True)
class RankStability:
    """Ranks of cells, 1 the best; cells that tie share the mean of their ranks.

    Attributes:
        names: of the cells; what follows has one value a cell.
        mean_rank: mean over the seeds of a cell's rank at each; NaN of no seed.
        rank_low, rank_high: where the rank of its mean lies, in 95 % of the resamples.
        first_probability: the share of resamples in which its mean is the highest; cells that tie
            share it, so that all add up to 1.
        kendall_w: agreement of the seeds' orders, 0 (none) to 1 (one order); NaN of fewer than two
            cells or seeds, and where all cells tie at all seeds.
        n: seeds that all cells have.

    Ranges and probabilities are NaN of fewer than two seeds.
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
    """Rank cells at every seed, and by their means over seeds drawn with replacement.

    Args:
        values: `[cells, K]`, higher is better: signs of metrics that are minimised are turned
            before. NaN where a seed failed: such a seed is left out for all cells.
        names: one a cell.
        resamples: of the seeds, the same draw for all cells.
        seed: of the draws.

    Raises:
        ParameterError: if the shape is another, or names are not one a cell.
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
        means = resampled_means(list(table[:, :, None]), resamples=resamples, seed=seed)
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
    """Each to so many digits of its own."""
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
