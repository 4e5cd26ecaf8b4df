"""What each tapped layer, and each subset of them, goes along with in a search's scores.

An association over trials that a sampler chose, no paired effect: an ablation over
`loss.fma.layers` gives that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.features import Feature, varying_features
from ablate.analysis.frame import typed_frame
from ablate.analysis.parameters import ordered_parts
from ablate.errors import NothingToDrawError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.robustness.measures import LEVEL
from ablate.study.keys import written_domains

if TYPE_CHECKING:
    import pandas as pd


LAYERS = "loss.fma.layers"
ADJUSTED = ("loss.terms", "loss.fma.weight", "augment.strength")
"""The largest influence on a score besides the taps, if it is searched."""
_LEAST_FREEDOM = 4
"""Degrees of freedom that an adjustment must leave for meaningful intervals."""

Table = NDArray[np.float64]


@dataclass(frozen=True)
class TapEffect:
    """Trials with a tap compared with those without it, adjusted for the other taps.

    Attributes:
        difference: of the objective, with minus without; low, high: its interval. NaN if the tap is
            in all or no trials, or always together with others; no interval for too few trials.
        trials_in: with the tap; trials_out: without it.
    """

    tap: str
    difference: float
    low: float
    high: float
    trials_in: int
    trials_out: int


@dataclass(frozen=True)
class SubsetScore:
    """The trials with one subset of taps.

    Attributes:
        taps: in it, in the network's order as far as known.
        numbers, scores, loss_terms: of its trials, in their order.
        mean, low, high: over them; the interval is NaN for fewer than two.
    """

    taps: tuple[str, ...]
    numbers: tuple[int, ...]
    scores: tuple[float, ...]
    loss_terms: tuple[str, ...]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LayersInfo(Basis):
    """Taps and their subsets in the trials with fma.

    Attributes:
        metric: the objective; direction: "maximize" or "minimize".
        taps: all taps of the trials, in the network's order as far as known.
        effects: one per tap, in that order; empty before the first complete trial.
        subsets: the best mean first.
        adjusted: keys that the effects are adjusted for; empty if nothing else varies, or there are
            too few trials.
        unadjusted: varying keys that were left out because of too few trials.
        level: of all intervals.
    """

    metric: str
    direction: str
    taps: tuple[str, ...]
    effects: tuple[TapEffect, ...]
    subsets: tuple[SubsetScore, ...]
    adjusted: tuple[str, ...]
    unadjusted: tuple[str, ...]
    level: float

    def frame(self) -> pd.DataFrame:
        """One row per tap, then one per subset.

        Columns:
            kind: "tap" or "subset"; taps: joined by +: text.
            trials: int64, with the tap or of the subset; trials_out: Int64, without the tap.
            value: float64, the tap's difference in minus out, or the subset's mean.
            low, high: float64, of its interval.
            best: float64, of the subset's trials; NaN of a tap.
        """
        best = max if self.direction == "maximize" else min
        rows: list[tuple[Any, ...]] = [
            (
                *("tap", one.tap, one.trials_in, one.trials_out),
                *(one.difference, one.low, one.high, math.nan),
            )
            for one in self.effects
        ]
        rows += [
            (
                *("subset", "+".join(one.taps), len(one.scores), None),
                *(one.mean, one.low, one.high, best(one.scores)),
            )
            for one in self.subsets
        ]
        types = {"kind": "string", "taps": "string", "trials": "int64", "trials_out": "Int64"}
        return typed_frame(types | dict.fromkeys(("value", "low", "high", "best"), "float64"), rows)


def layers_info(record: StudyRecord, place: int) -> LayersInfo:
    """Associations of taps and subsets with an objective.

    Args:
        place: index of the objective.

    Raises:
        NothingToDrawError: if the layers are not searched.
    """
    objective = record.study.objectives[place]
    rows = [
        row
        for row in record.complete
        if LAYERS in row.params and row.values and math.isfinite(row.values[place])
    ]
    searched = {key for row in record.rows for key in row.params}
    searched |= written_domains(record.study.space).keys()
    if LAYERS not in searched:
        raise NothingToDrawError(
            record.name,
            "layers",
            f"needs {LAYERS} among what is searched, got "
            f"{', '.join(sorted(searched)) or 'nothing'}",
            f"Write {LAYERS}: {{subset: taps}}.",
        )
    taps = ordered_parts([_taps_of(row) for row in rows])
    scores = np.array([row.values[place] for row in rows if row.values], dtype=float)
    effects, adjusted, left = _effects(rows, record.study.space, taps, scores)
    sign = -1 if objective.direction == "maximize" else 1
    subsets = _subsets(record, rows, taps, scores)
    return LayersInfo(
        **vars(study_basis(record)),
        metric=objective.metric,
        direction=objective.direction,
        taps=taps,
        effects=effects,
        subsets=tuple(sorted(subsets, key=lambda one: (sign * one.mean, one.taps))),
        adjusted=adjusted,
        unadjusted=left,
        level=LEVEL,
    )


def _effects(
    rows: Sequence[RowRecord], space: object, taps: tuple[str, ...], scores: Table
) -> tuple[tuple[TapEffect, ...], tuple[str, ...], tuple[str, ...]]:
    """The effect of each tap, the adjusted keys, and the keys left out because of too few
    trials."""
    if not rows:
        return (), (), ()
    is_in = np.array([[tap in _taps_of(row) for tap in taps] for row in rows], dtype=float)
    others = _others(rows, space)
    columns = [column for of_key in others.values() for column in of_key]
    adjusted, left = tuple(others), tuple[str, ...]()
    if len(rows) - 1 - len(taps) - len(columns) < _LEAST_FREEDOM:
        adjusted, left, columns = (), adjusted, []
    found = least_squares(np.column_stack([is_in, *columns]), scores, LEVEL)
    trials_in = is_in.sum(axis=0).astype(int).tolist()
    effects = tuple(
        TapEffect(tap, *found[at], trials_in[at], len(rows) - trials_in[at])
        for at, tap in enumerate(taps)
    )
    return effects, adjusted, left


def _others(rows: Sequence[RowRecord], space: object) -> dict[str, list[Table]]:
    """Columns by key of other parameters that all these trials have and that differ."""
    features = varying_features(
        [{key: row.params[key] for key in ADJUSTED if key in row.params} for row in rows], space
    )
    return {
        feature.key: _columns(feature) for feature in features if not np.isnan(feature.values).any()
    }


def _columns(feature: Feature) -> list[Table]:
    """Columns of a parameter: a number unchanged; a choice as indicators of the second, the third,
    ... value."""
    if feature.kind != "choice":
        return [feature.values]
    return [(feature.values == at).astype(float) for at in range(1, len(feature.choices))]


def _subsets(
    record: StudyRecord, rows: Sequence[RowRecord], taps: tuple[str, ...], scores: Table
) -> list[SubsetScore]:
    by_taps: dict[tuple[str, ...], list[tuple[int, float, str]]] = {}
    for row, score in zip(rows, scores.tolist(), strict=True):
        chosen = set(_taps_of(row))
        trial = (row.number, score, record.loss_terms(row))
        by_taps.setdefault(tuple(tap for tap in taps if tap in chosen), []).append(trial)
    found = []
    for subset, trials in by_taps.items():
        numbers, values, terms = zip(*sorted(trials), strict=True)
        found.append(SubsetScore(subset, numbers, values, terms, *mean_interval(values, LEVEL)))
    return found


def _taps_of(row: RowRecord) -> list[str]:
    found = row.params[LAYERS]
    return [found] if isinstance(found, str) else [str(tap) for tap in found]


# -- Slopes and means with their t intervals -----------------------------------------------
#
# Source: ordinary least squares, errors normal and of equal size.


def least_squares(columns: Table, scores: Table, level: float) -> list[tuple[float, float, float]]:
    """The slope of each column in a regression on all columns, with its t interval.

    Args:
        columns: `[trials, columns]`; a constant is added.
        scores: `[trials]`.
        level: of the interval, between 0 and 1.

    Returns:
        Slope, low, high, one per column. The slope is NaN for a constant column, or a linear
        combination of others; the interval also without remaining degrees of freedom.
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


def mean_interval(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """Mean, low, high of at least one value; the interval is NaN of fewer than two."""
    from scipy.special import stdtrit

    n, mean, half = len(values), fmean(values), math.nan
    if n > 1:
        half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / math.sqrt(n)
    return mean, mean - half, mean + half
