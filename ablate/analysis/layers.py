"""What goes along with each item of a subset, as a layer to match, in a search's scores.

An association over trials that a sampler chose, no paired effect: an ablation over
`loss.fma.layers` gives that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.features import trial_features
from ablate.robustness.measures import LEVEL

ADJUSTED = ("loss.terms", "loss.fma.weight", "augment.strength")
"""The largest influence on a score beside the layers, if it is searched."""
_LEAST_FREEDOM = 4
"""Degrees of freedom that an adjustment must leave for meaningful intervals."""

Table = NDArray[np.float64]


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
    return tap != "stem", [int(one) if one.isdigit() else one for one in digits]


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
