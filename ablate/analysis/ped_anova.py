"""PED-ANOVA: how differently a parameter is spread over the best trials and over all.

Source: Watanabe et al. 2023, arXiv:2304.10255; of a parameter that a condition left out in some
trials, arXiv:2601.20800, theorem 4.2.  The same numbers as Optuna's `PedAnovaImportanceEvaluator`
(which a test compares), worked for all resamples at once: one call of Optuna's takes 10 ms, and a
figure needs hundreds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.features import Feature

Table = NDArray[np.float64]
_STEPS = 50
"""Number of grid points for a number."""
_FEW_VALUES = 5
_LEAST_SIGMA = 0.5 / 1.64
_LEAST_TRIALS = 2


def ped_anova(
    features: tuple[Feature, ...], losses: Table, weights: Table, quantile: float
) -> Table:
    """The importance of each feature for being among the best trials.

    Args:
        features: each with one value per trial.
        losses: `[trials]`, less is better, finite.
        weights: `[resamples, trials]`, multiplicity of each trial in a resample: whole numbers >=
            0, with sum at least 1.
        quantile: the fraction treated as "the best", in (0, 1]; equal losses are all in or all out.

    Returns:
        `[resamples, features]`, >= 0; 0 for equal distributions, for example if all trials are the
        best.
    """
    best = weights * _are_best(losses, weights, quantile)
    share = best.sum(axis=1) / weights.sum(axis=1)
    found = [_importance(feature, best, weights) for feature in features]
    return np.stack(found, axis=1) * share[:, None] ** 2 if found else np.zeros((len(weights), 0))


def _are_best(losses: Table, weights: Table, quantile: float) -> NDArray[np.bool_]:
    order = np.argsort(losses, kind="stable")
    counted = np.cumsum(weights[:, order], axis=1)
    needed = np.ceil(quantile * counted[:, -1])
    cutoff = losses[order][np.argmax(counted >= needed[:, None], axis=1)]
    return np.asarray(losses[None, :] <= cutoff[:, None])


def _importance(feature: Feature, best: Table, weights: Table) -> Table:
    there = ~np.isnan(feature.values)
    place, size, is_ordered = _grid(feature, feature.values[there])
    of_all = _counts(place, weights[:, there], size)
    of_best = _counts(place, best[:, there], size)
    n_all, n_best = of_all.sum(axis=1), of_best.sum(axis=1)
    used = (n_all >= _LEAST_TRIALS) & (n_best > 0)
    result = np.zeros(len(weights))
    if used.any():
        density = _number_density if is_ordered else _choice_density
        of_all, of_best = density(of_all[used]) + 1e-12, density(of_best[used]) + 1e-12
        divergence = (of_all * (of_best / of_all - 1) ** 2).sum(axis=1)
        alpha = (n_best / best.sum(axis=1))[used]
        beta = (n_all / weights.sum(axis=1))[used]
        result[used] = alpha**2 / beta * divergence
    return result


def _grid(feature: Feature, values: Table) -> tuple[NDArray[np.int64], int, bool]:
    """The index of each value, the number of grid points, and whether they are ordered.

    The scale is the space's.  If it is unknown, a number with few values (a batch size) is treated
    as a choice: a kernel between them would be arbitrarily narrow, and importance would depend on
    the resample.
    """
    if feature.kind in ("flag", "choice"):
        return values.astype(np.int64), max(len(feature.choices), 2), False
    ends, steps = feature.ends, min(feature.places or _STEPS, _STEPS)
    if ends is None:
        levels, place = np.unique(values, return_inverse=True)
        if len(levels) <= min(_FEW_VALUES, len(values) - 1):
            return place, len(levels), False
        ends = levels[0], levels[-1]
    at = (values - ends[0]) / (ends[1] - ends[0]) * (steps - 1)
    # A value halfway between two places goes to the lower one: as Optuna means it, which decides
    # by a rounding error where the scale is a logarithm.
    place = np.ceil(at - 0.5 - 1e-9).clip(0, steps - 1).astype(np.int64)
    return place, steps, True


def _counts(place: NDArray[np.int64], weights: Table, size: int) -> Table:
    """`[resamples, places]`: number of trials at each grid point."""
    rows = len(weights)
    flat = (np.arange(rows)[:, None] * size + place).ravel()
    counts = np.bincount(flat, weights.ravel(), rows * size).reshape(rows, size)
    return counts.astype(float)


def _choice_density(counts: Table) -> Table:
    """`[resamples, places]` of counts -> of probabilities, drawn a little to equal ones."""
    size = counts.shape[1]
    n = counts.sum(axis=1, keepdims=True)
    kernels = (counts > 0).sum(axis=1, keepdims=True) + 1
    smoothed = (counts + n / kernels) / (1 + size / kernels)
    return np.asarray((smoothed + 1 / size) / (n + 1))


def _number_density(counts: Table) -> Table:
    """`[resamples, places]` of counts -> of probabilities, by a kernel of Scott's width."""
    size = counts.shape[1]
    places = np.arange(size, dtype=float)
    n = counts.sum(axis=1)
    sigma = _scott_sigma(counts, places, n)
    kernels = _kernels(places, places[None, :], sigma[:, None], size)
    middle = np.array([[(size - 1) / 2]])
    prior = _kernels(places, middle, np.array([[float(size)]]), size)[0, 0]
    smoothed = np.einsum("bk,bkx->bx", counts, kernels)
    return np.asarray((smoothed + prior) / (n[:, None] + 1))


def _scott_sigma(counts: Table, places: Table, n: Table) -> Table:
    mean = counts @ places / n
    squared = (counts * (places[None, :] - mean[:, None]) ** 2).sum(axis=1)
    spread = np.sqrt(squared / np.maximum(1, n - 1))
    counted = np.cumsum(counts, axis=1)
    # Half a count, so that grid points before the first trial belong to no quartile.
    first = np.maximum(n // 4, 0.5)[:, None]
    lower = np.argmax(counted >= first, axis=1)
    upper = np.argmax(counted > (n * 3 // 4)[:, None], axis=1)
    sigma = 1.059 * np.minimum((upper - lower) / 1.34, spread) * n**-0.2
    return np.asarray(np.maximum(sigma, _LEAST_SIGMA))


def _kernels(places: Table, middles: Table, sigma: Table, size: int) -> Table:
    """`[resamples, middles, places]`: a normal distribution discretised to grid points."""
    from scipy.special import ndtr

    def below(edge: Any) -> Any:
        return ndtr((edge - middles[..., None]) / sigma[..., None])

    inside = below(size - 0.5) - below(-0.5)
    return np.asarray((below(places + 0.5) - below(places - 0.5)) / inside)


def best_share(trials: int) -> float:
    """The fraction of trials treated as the best: a tenth, or enough for five, at most half.

    Five is the minimum that Optuna recommends.
    """
    return min(0.5, max(0.1, 5 / trials)) if trials else 0.5


def normalised(importances: Table) -> Table:
    """Scale to sum 1 along the last axis; all 0 if nothing has any importance."""
    total = importances.sum(axis=-1, keepdims=True)
    shares = np.zeros_like(importances)
    np.divide(importances, total, out=shares, where=total > 0)
    return shares
