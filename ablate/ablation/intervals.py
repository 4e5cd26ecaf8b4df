"""How sure a mean difference over paired seeds is.  NumPy, and one quantile of SciPy.

Two questions have two answers.  `t_interval` is of these images: what other seeds would give on
them.  `crossed_interval` is of the images' source: what other seeds would give on other images of
the same kind.  All seeds are scored on the same images, so more seeds do not make it narrower than
the images alone allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.errors import ParameterError
from ablate.robustness.measures import LEVEL

OVER_SEEDS = "t over seeds"
OVER_SEEDS_AND_IMAGES = "t over seeds and images"
NONE = "none"


@dataclass(frozen=True)
class Estimate:
    """A mean difference and its interval.

    Attributes:
        mean: in the metric's unit; NaN without seeds.
        sd: standard deviation over the seeds (of their means over images); NaN for fewer than two
            seeds.
        low, high: bounds of the interval; NaN for fewer than two seeds.
        n: seeds.
        method: "t over seeds", "t over seeds and images", or "none" without an interval.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    method: str


def t_interval(differences: np.ndarray, level: float = LEVEL) -> Estimate:
    """Student's t interval of the mean over seeds, for fixed images.

    Args:
        differences: `[K]`, one per seed, of two networks with the same seed.
        level: between 0 and 1.

    Returns:
        K = 0: NaN throughout. K = 1: the mean, no interval. All equal: an interval of zero width,
        which means that the differences do not vary, not that the mean is certain.

    Raises:
        ParameterError: if the shape is wrong, a difference is not finite, or level is not a
            fraction.

    Source: Student 1908. Exact for normal differences; too narrow for skewed ones and few seeds
    (benchmarks/coverage.py).
    """
    seeds = as_differences(differences, "K")
    _check_level(level)
    n = len(seeds)
    if n < 2:
        return _no_interval(seeds)
    if np.ptp(seeds) == 0:
        same = float(seeds[0])
        return Estimate(same, 0.0, same, same, n, OVER_SEEDS)
    mean, sd = float(seeds.mean()), float(seeds.std(ddof=1))
    half = _quantile(n - 1, level) * sd / math.sqrt(n)
    return Estimate(mean, sd, mean - half, mean + half, n, OVER_SEEDS)


def crossed_interval(differences: np.ndarray, level: float = LEVEL) -> Estimate:
    """Interval of the mean over seeds and images, both random and fully crossed.

    D_ki = mu + S_k + I_i + E_ki, and the variance of the mean is s_S^2 / K + s_I^2 / n + s_E^2 /
    (K n). With the mean squares of a two-way analysis of variance without replication, MS_K of
    seeds, MS_I of images and MS_E of the residual, (MS_K + MS_I - MS_E) / (K n) estimates it
    without bias, also for bits, because only exchangeability of seeds and of images is required.

    It is never narrower than `t_interval` of the seeds' means, which ignores one source of
    variation.  With five seeds or fewer, Satterthwaite's degrees of freedom alone would make it
    narrower; with two seeds such an interval covers as little as 88 %.

    Args:
        differences: `[K, n_images]`, difference of two networks on each image, with the same seed;
            all seeds have the same images in the same order.
        level: between 0 and 1.

    Returns:
        Its n is K, its sd that of the seeds' means. K = 0: NaN throughout. K = 1: the mean, no
        interval, because one seed cannot separate images and noise. All equal: an interval of zero
        width. One image: its `t_interval`.

    Raises:
        ParameterError: if the shape is wrong, there is no image, a difference is not finite, or
            level is not a fraction.

    Source: Cornfield and Tukey 1956, Annals of Mathematical Statistics 27, 907 (mean squares
    without normality); Satterthwaite 1946, Biometrics Bulletin 2, 110 (degrees of freedom).
    """
    table = as_differences(differences, "K", "n_images")
    _check_level(level)
    n_seeds, n_images = table.shape
    if n_images == 0:
        raise ParameterError(
            f"differences: must contain at least one image, got shape {table.shape}. Score more "
            "images."
        )
    if n_images == 1:
        return t_interval(table[:, 0], level)
    if n_seeds < 2:
        return _no_interval(table.mean(axis=1))
    if np.ptp(table) == 0:
        same = float(table[0, 0])
        return Estimate(same, 0.0, same, same, n_seeds, OVER_SEEDS_AND_IMAGES)
    of_seeds, of_images = table.mean(axis=1), table.mean(axis=0)
    mean, sd = float(of_seeds.mean()), float(of_seeds.std(ddof=1))
    rest = table - of_images
    rest -= (of_seeds - mean)[:, None]
    rest_freedom = (n_seeds - 1) * (n_images - 1)
    square_seeds = n_images * sd**2
    square_images = n_seeds * float(of_images.var(ddof=1))
    square_rest = float(np.vdot(rest, rest)) / rest_freedom
    total = square_seeds + square_images - square_rest
    half = _quantile(n_seeds - 1, level) * sd / math.sqrt(n_seeds)
    if total > square_seeds:
        freedom = total**2 / (
            square_seeds**2 / (n_seeds - 1)
            + square_images**2 / (n_images - 1)
            + square_rest**2 / rest_freedom
        )
        error = math.sqrt(total / (n_seeds * n_images))
        half = max(half, _quantile(freedom, level) * error)
    return Estimate(mean, sd, mean - half, mean + half, n_seeds, OVER_SEEDS_AND_IMAGES)


def as_differences(differences: np.ndarray, *axes: str) -> NDArray[np.float64]:
    """Convert to floats and check the shape.

    Args:
        axes: their names, for messages.

    Raises:
        ParameterError: if the shape is wrong, or a difference is not finite.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != len(axes):
        raise ParameterError(
            f"differences: must be [{', '.join(axes)}], got shape {table.shape}. Give one array "
            "over the seeds."
        )
    odd = int(np.count_nonzero(~np.isfinite(table)))
    if odd:
        raise ParameterError(
            f"differences: must be finite, got {odd} of {table.size} that are not. Leave out "
            "failed seeds."
        )
    return table


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ParameterError(f"level: must be between 0 and 1, got {level}. Write 0.95.")


def _no_interval(seeds: NDArray[np.float64]) -> Estimate:
    mean = float(seeds[0]) if len(seeds) else math.nan
    return Estimate(mean, math.nan, math.nan, math.nan, len(seeds), NONE)


def _quantile(freedom: float, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
