"""An objective over the plane of two parameters: the trials, and a smoothed field under them.

Source: the kernel regression of Nadaraya 1964 and Watson 1964; its width is chosen by the error
that each trial has when it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.bounds import fenced
from ablate.analysis.parameters import (
    ParameterColumn,
    ParametersInfo,
    association,
    mean_ranks,
    parameters_info,
)
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd

Table = NDArray[np.float64]

_NODES = 48
_WIDTHS = (0.06, 0.09, 0.13, 0.19, 0.27, 0.4)
"""Standard deviations of the kernel that are tried, as shares of an axis."""
_LEAST_TRIALS = 5
_LEAST_EXPLAINED = 0.25
"""Of the variance of trials left out: a field that explains less is a picture of its kernel."""
_LEAST_WEIGHT = 0.5
"""Of the trials around a place, one at the place itself weighing 1: with less it stays blank."""
_COMPARED = 800
"""Trials by which the width is chosen, at most: the first ones."""


@dataclass(frozen=True)
class ContourInfo(ParametersInfo):
    """The complete trials over two parameters, `columns`; those that have both are drawn.

    Attributes:
        x, y: nodes of the field, in the columns' coordinates; empty where there is no field: below
            five trials that have both parameters, and where it would explain next to nothing.
        field: `[y][x]`, the smoothed objective; NaN where no trial is near.
        explained: share of the objective's variance, among these trials, that the field explains
            of trials left out; at most 1, negative where it explains less than their mean, NaN
            of fewer than five trials and where all are equal.
        low, high: ends of the objective's colours: the range of its values, where a trial that
            collapsed counts as standing at the fence (`ablate.analysis.bounds`), as in the field.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    field: tuple[tuple[float, ...], ...]
    explained: float
    low: float
    high: float

    @property
    def drawn(self) -> tuple[int, ...]:
        """Places in `points` of the trials that have both parameters and a value."""
        return tuple(np.flatnonzero(_drawn(self.columns, _values(self))).tolist())

    def frame(self) -> pd.DataFrame:
        """One row a complete trial that has both parameters and a value.

        Columns as `ParametersInfo.frame`: number, loss_terms, on_front, an objective each, and the
        two parameters.
        """
        return super().frame().iloc[list(self.drawn)].reset_index(drop=True)


def contour_info(
    record: StudyRecord, *, params: Sequence[str] = (), objective: str = ""
) -> ContourInfo:
    """An objective over two parameters.

    Args:
        params: two; empty: of the parameters that five trials or more have together, the two that
            sort the trials best, numeric ones before the others.
        objective: a metric; empty: the second objective.

    Raises: as `parameters_info`.
    """
    info = parameters_info(
        record,
        "contour",
        choose=_telling_pair,
        limit=2,
        least=2,
        params=params,
        objective=objective,
    )
    maximize = info.objectives[info.objective].direction == "maximize"
    values = fenced(_values(info), maximize=maximize)
    used = _drawn(info.columns, values)
    x, y, field, explained = _field(info.columns, used, values)
    there = values[used]
    return ContourInfo(
        **vars(info),
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        field=tuple(tuple(row) for row in field.tolist()),
        explained=explained,
        low=float(there.min()) if len(there) else 0.0,
        high=float(there.max()) if len(there) else 1.0,
    )


def _values(info: ParametersInfo) -> Table:
    return np.array([point.values[info.objective] for point in info.points], dtype=float)


def _drawn(columns: Sequence[ParameterColumn], values: Table) -> NDArray[np.bool_]:
    used = np.isfinite(values)
    for column in columns:
        used &= np.isfinite(column.coordinates)
    return used


def _telling_pair(columns: Sequence[ParameterColumn], values: Table) -> list[str]:
    ranks = mean_ranks(values)
    told = {column.key: association(column, ranks) for column in columns}
    there = {column.key: np.isfinite(column.coordinates) for column in columns}

    def fitness(pair: tuple[ParameterColumn, ParameterColumn]) -> tuple[bool, int, float]:
        one, two = pair
        together = int((there[one.key] & there[two.key] & np.isfinite(values)).sum())
        numeric = sum(column.kind != "categorical" for column in pair)
        return together >= _LEAST_TRIALS, numeric, told[one.key] + told[two.key]

    # `max` keeps the first of equals, so the pair does not depend on anything but the study.
    best = max(combinations(columns, 2), key=fitness)
    return [column.key for column in best]


def _field(
    columns: Sequence[ParameterColumn], used: NDArray[np.bool_], values: Table
) -> tuple[Table, Table, Table, float]:
    """Nodes of both axes, the field on them, and what it explains."""
    empty = np.empty(0)
    if used.sum() < _LEAST_TRIALS:
        return empty, empty, np.empty((0, 0)), math.nan
    z = values[used]
    nodes = [_nodes(column) for column in columns]
    places = [column.coordinates[used] for column in columns]
    width, explained = _best_width(columns, places, z)
    if explained < _LEAST_EXPLAINED:
        return empty, empty, np.empty((0, 0)), explained
    weights = [
        _kernel(column, at, place, width)
        for column, at, place in zip(columns, nodes, places, strict=True)
    ]
    total = weights[1] @ weights[0].T
    mean = z.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        field = mean + ((weights[1] * (z - mean)) @ weights[0].T) / total
    field[total < _LEAST_WEIGHT] = np.nan
    return nodes[0], nodes[1], field, explained


def _nodes(column: ParameterColumn) -> Table:
    if column.kind == "categorical":
        return np.arange(len(column.levels), dtype=float)
    return np.linspace(*column.ends, _NODES)


def _kernel(column: ParameterColumn, at: Table, places: Table, width: float) -> Table:
    """`[at, places]`: how much each trial counts; another level of a name counts nothing."""
    apart = at[:, None] - places[None, :]
    if column.kind == "categorical":
        return np.asarray(apart == 0, dtype=float)
    low, high = column.ends
    return np.exp(-0.5 * (apart / (width * (high - low))) ** 2)


def _best_width(
    columns: Sequence[ParameterColumn], places: Sequence[Table], z: Table
) -> tuple[float, float]:
    """The width whose field is nearest to trials left out, and the variance it explains."""
    z = z[:_COMPARED]
    best, least = _WIDTHS[-1], np.inf
    # A trial alone in its place is foretold by the mean of all others.
    others = (z.sum() - z) / (len(z) - 1)
    for width in _WIDTHS:
        weights = np.ones((len(z), len(z)))
        for column, place in zip(columns, places, strict=True):
            weights *= _kernel(column, place[: len(z)], place[: len(z)], width)
        np.fill_diagonal(weights, 0.0)
        total = weights.sum(axis=1)
        near = total >= _LEAST_WEIGHT
        foretold = np.where(near, (weights @ z) / np.where(near, total, 1.0), others)
        error = float(((z - foretold) ** 2).sum())
        if error < least:
            best, least = width, error
    spread = float(((z - z.mean()) ** 2).sum())
    return best, 1 - least / spread if spread > 0 else math.nan
