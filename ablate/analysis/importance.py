"""Importance: which parameters the best trials have otherwise than all trials, and how surely; and
what goes along with each layer of a subset.

One measure, PED-ANOVA, over all trials of a search: the set of loss terms is a parameter like the
others, and one that a condition left out in some trials counts as far as it is there.

Sources: Watanabe et al. 2023, arXiv:2304.10255; of a parameter that some trials lack,
arXiv:2601.20800, theorem 4.2.  The same numbers as Optuna's `PedAnovaImportanceEvaluator`, for all
resamples at once: one call of Optuna's takes 10 ms, and a figure needs hundreds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ablate.analysis.features import Feature, trial_features
from ablate.robustness.measures import LEVEL

LEAST_TRIALS = 8
"""With fewer, the best half is fewer than four trials."""
RESAMPLES, PERMUTATIONS = 200, 100
"""Of the trials with replacement, for intervals; of the scores, for what chance gives."""

Table = NDArray[np.float64]
Counts = NDArray[Any]


@dataclass(frozen=True)
class Importance:
    """One parameter's share of the importance of all that differ between the trials.

    Attributes:
        key: dotted; a subset or a mix has the importance of its most important part, which is a
            lower bound of the whole's.
        share: 0 to 1; those of all parameters sum to 1, or are all 0 if all scores are equal.
        low, high: interval of the share over resamples of the trials, within 0 and 1.
        chance: share that it may have without any influence: of the permutations of the scores,
            `LEVEL` give it less importance.
    """

    key: str
    share: float
    low: float
    high: float
    chance: float

    @property
    def beyond_chance(self) -> float:
        """By which parameters are ordered: few trials lift the share of one that does nothing."""
        return self.share - self.chance


def importances(features: Sequence[Feature], losses: Table) -> tuple[Importance, ...]:
    """The importance of each parameter that varies for one objective, in the order of the features,
    of which those of one parameter are together; none for fewer than `LEAST_TRIALS` trials.

    Args:
        losses: `[trials]`, less is better, finite.
    """
    features = [feature for feature in features if feature.varies]
    n = len(losses)
    if not features or n < LEAST_TRIALS:
        return ()
    random = np.random.default_rng(0)
    drawn = random.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    weights = np.concatenate([np.ones((1, n)), drawn])
    found = _of_keys(features, ped_anova(features, losses, weights, best_share(n)))
    total = found.sum(axis=1, keepdims=True)
    shares = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    once = np.ones((PERMUTATIONS, n))
    best = _are_best(losses, once[:1], best_share(n)).astype(float)
    shuffled = random.permuted(np.repeat(best, PERMUTATIONS, axis=0), axis=1)
    of_none = np.quantile(_of_keys(features, _of_best(features, shuffled, once)), LEVEL, axis=0)
    by_chance = np.minimum(of_none / total[0], 1) if total[0] > 0 else np.zeros(len(of_none))
    # Around the share, not the resamples' own mean: trials that are drawn twice lift what has none.
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * shares[1:].std(axis=0, ddof=1)
    low, high = np.maximum(shares[0] - half, 0), np.minimum(shares[0] + half, 1)
    rows = np.stack([shares[0], low, high, by_chance], axis=1).tolist()
    keys = dict.fromkeys(feature.key for feature in features)
    return tuple(Importance(key, *row) for key, row in zip(keys, rows, strict=True))


def leading(found: Sequence[Importance]) -> Importance | None:
    """The parameter whose interval is above all others', and whose share is beyond chance; None if
    no such order is shown."""
    first = max(found, key=lambda one: one.beyond_chance, default=None)
    if first is None or first.beyond_chance <= 0:
        return None
    return first if all(first.low > one.high for one in found if one is not first) else None


def best_share(trials: int) -> float:
    """The fraction of trials treated as the best: a tenth, or enough for five (the minimum that
    Optuna recommends), at most half."""
    return min(0.5, max(0.1, 5 / trials)) if trials else 0.5


def _of_keys(features: Sequence[Feature], found: Table) -> Table:
    """`[resamples, features]` -> `[resamples, parameters]`: of each its most important part."""
    sizes = [len(list(group)) for _, group in groupby(features, key=lambda one: one.key)]
    return np.asarray(np.maximum.reduceat(found, np.cumsum([0, *sizes[:-1]]), axis=1))


# -- PED-ANOVA: how differently a parameter is spread over the best trials and over all ---------


_STEPS = 50
"""Number of grid points for a number."""
_FEW_VALUES = 5
_LEAST_SIGMA = 0.5 / 1.64
_LEAST_TRIALS = 2


def ped_anova(features: Sequence[Feature], losses: Table, weights: Table, quantile: float) -> Table:
    """The importance of each feature for being among the best trials, `[resamples, features]`.

    Args:
        losses: `[trials]`, less is better, finite.
        weights: `[resamples, trials]`, multiplicity of each trial in a resample.
        quantile: the fraction treated as "the best", in (0, 1]; equal losses are all in or all out.
    """
    return _of_best(features, weights * _are_best(losses, weights, quantile), weights)


def _of_best(features: Sequence[Feature], best: Counts, weights: Counts) -> Table:
    share = best.sum(axis=1) / weights.sum(axis=1)
    # Whole numbers, of which single precision adds millions exactly, in half the time.
    best, weights = best.astype(np.float32), weights.astype(np.float32)
    found = [_importance(feature, best, weights) for feature in features]
    return np.asarray(np.stack(found, axis=1) * share[:, None] ** 2)


def _are_best(losses: Table, weights: Table, quantile: float) -> NDArray[np.bool_]:
    order = np.argsort(losses, kind="stable")
    counted = np.cumsum(weights[:, order], axis=1)
    needed = np.ceil(quantile * counted[:, -1])
    cutoff = losses[order][np.argmax(counted >= needed[:, None], axis=1)]
    return np.asarray(losses[None, :] <= cutoff[:, None])


def _importance(feature: Feature, best: Counts, weights: Counts) -> Table:
    there = ~np.isnan(feature.values)
    place, size, is_ordered = _grid(feature, feature.values[there])
    is_at = np.zeros((len(there), size), dtype=np.float32)
    is_at[np.flatnonzero(there), place] = 1
    of_all, of_best = (weights @ is_at).astype(float), (best @ is_at).astype(float)
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

    Without a scale of the space, a number with few values (a batch size) is treated as a choice: a
    kernel between them would be arbitrarily narrow.
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


def _choice_density(counts: Table) -> Table:
    """`[resamples, places]` of counts -> of probabilities, drawn a little to equal ones."""
    size = counts.shape[1]
    n = counts.sum(axis=1, keepdims=True)
    kernels = (counts > 0).sum(axis=1, keepdims=True) + 1
    smoothed = (counts + n / kernels) / (1 + size / kernels)
    return np.asarray((smoothed + 1 / size) / (n + 1))


def _number_density(counts: Table) -> Table:
    """`[resamples, places]` of counts -> of probabilities, by a kernel of Scott's width."""
    from scipy.special import ndtr

    size = counts.shape[1]
    places = np.arange(size, dtype=float)
    n = counts.sum(axis=1)
    sigma = _scott_sigma(counts, places, n)
    # A kernel depends on the distance to the edges alone: all kernels are windows of one row.
    below = ndtr((np.arange(1 - size, size + 1) - 0.5) / sigma[:, None])
    kernels = _between(sliding_window_view(below, size + 1, axis=1)[:, ::-1])
    prior = _between(ndtr((np.arange(size + 1) - size / 2) / size))
    smoothed = np.einsum("bk,bkx->bx", counts, kernels)
    return np.asarray((smoothed + prior) / (n[:, None] + 1))


def _between(below: Table) -> Table:
    """A distribution's values at edges -> probabilities between them, which sum to 1."""
    return np.asarray(np.diff(below) / (below[..., -1:] - below[..., :1]))


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


# -- What goes along with each item of a subset, as a layer to match, in a search's scores.
#
# An association over trials that a sampler chose, no paired effect: an ablation over
# `loss.fma.layers` gives that.


ADJUSTED = ("loss.terms", "loss.fma.weight", "augment.strength")
"""The largest influence on a score beside the layers, if it is searched."""
_LEAST_FREEDOM = 4
"""Degrees of freedom that an adjustment must leave for meaningful intervals."""


@dataclass(frozen=True)
class TapEffect:
    """Trials with an item of a subset, as a layer, compared with those without it, adjusted for the
    other items.

    Attributes:
        difference: of the objective, with minus without; low, high: its interval. NaN if the item
            is in all or no trials, or always together with others; no interval for too few trials.
        trials_in: with the item; trials_out: without it.
    """

    tap: str
    difference: float
    low: float
    high: float
    trials_in: int
    trials_out: int


@dataclass(frozen=True)
class TapEffects:
    """On one objective, in the network's order as far as known; `adjusted` has the keys that they
    are adjusted for, none of too few trials."""

    taps: tuple[TapEffect, ...]
    adjusted: tuple[str, ...]


def tap_effects(
    rows: Sequence[Mapping[str, Any]], key: str, scores: Table, space: Any
) -> TapEffects:
    """The effect of each item of the subset `key`, which all rows have, on finite scores."""
    taps = sorted({str(tap) for row in rows for tap in row[key]}, key=network_order)
    if not rows:
        return TapEffects((), ())
    is_in = np.array([[tap in map(str, row[key]) for tap in taps] for row in rows], dtype=float)
    others: dict[str, list[Table]] = {}
    chosen = [{one: row[one] for one in ADJUSTED if one in row} for row in rows]
    for feature in trial_features(chosen, space):
        if feature.varies and not np.isnan(feature.values).any():
            levels = range(1, len(feature.choices))  # against the first
            is_choice = feature.kind == "choice"
            indicators = [(feature.values == at).astype(float) for at in levels]
            others[feature.key] = indicators if is_choice else [feature.values]
    columns = [column for of_key in others.values() for column in of_key]
    if len(rows) - 1 - len(taps) - len(columns) < _LEAST_FREEDOM:
        others, columns = {}, []
    fits = least_squares(np.column_stack([is_in, *columns]), scores, LEVEL)
    trials_in = is_in.sum(axis=0).astype(int).tolist()
    effects = (
        TapEffect(tap, *fit, inside, len(rows) - inside)
        for tap, fit, inside in zip(taps, fits, trials_in, strict=False)
    )
    return TapEffects(tuple(effects), tuple(others))


def network_order(tap: str) -> tuple[Any, ...]:
    """The stem first, then by name, numbers in it by their size."""
    digits = re.split(r"(\d+)", tap)
    return tap != "stem", [int(digit) if digit.isdigit() else digit for digit in digits]


def least_squares(columns: Table, scores: Table, level: float) -> list[tuple[float, float, float]]:
    """The slope of each column `[trials, columns]` in an ordinary least-squares regression on all
    columns and a constant, and the ends of its t interval.

    NaN for a constant column, or a combination of others; the interval also without remaining
    degrees of freedom.
    """
    from scipy.special import stdtrit

    design = np.column_stack([columns, np.ones(len(scores))])
    inverse = np.linalg.pinv(design)
    slopes = inverse @ scores
    # For collinear columns, the minimum-norm solution splits the slope between them.
    is_told = np.isclose(inverse @ design, np.eye(design.shape[1]), atol=1e-8).all(axis=1)
    freedom = len(scores) - np.linalg.matrix_rank(design)
    half = np.full(len(slopes), math.nan)
    if freedom > 0:
        variance = float(((scores - design @ slopes) ** 2).sum()) / freedom
        errors = np.sqrt(variance * (inverse**2).sum(axis=1))
        half = float(stdtrit(freedom, (1 + level) / 2)) * errors
    slopes, half = np.where(is_told, slopes, math.nan), np.where(is_told, half, math.nan)
    three = np.column_stack([slopes, slopes - half, slopes + half]).tolist()
    return [(slope, low, high) for slope, low, high in three[: columns.shape[1]]]
