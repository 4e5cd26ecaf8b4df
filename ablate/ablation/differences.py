"""The differences that a contrast of cells is, within each pair and image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Contrast
from ablate.ablation.intervals import MeanModel, over_seeds, over_seeds_and_images
from ablate.ablation.results import Results
from ablate.robustness.bits import Shares
from ablate.study.scores import EXPOSURES

_ROUNDING = 1e-12
"""Of the sizes that are added up."""


@dataclass(frozen=True)
class Differences:
    """A contrast on a metric, within each pair.

    Attributes:
        by_pair: `[pairs]`, NaN where a run was not successful.
        by_image: `[K, n]`, over the complete pairs; None where a cell has kept no bits.
        missing: what is not complete, as "seed 3 of ST".
    """

    by_pair: NDArray[np.float64]
    by_image: Shares | None
    missing: tuple[str, ...]

    @property
    def complete(self) -> NDArray[np.float64]:
        """`[K]`, of the complete pairs."""
        return self.by_pair[np.isfinite(self.by_pair)]

    @property
    def n_images(self) -> int | None:
        """Behind each difference; None where they are not known."""
        return None if self.by_image is None else self.by_image.shape[1]

    def model(self) -> MeanModel:
        """Of their mean: over pairs and images, or over pairs alone."""
        if self.by_image is None:
            return over_seeds(self.complete)
        return over_seeds_and_images(self.by_image)


NO_DIFFERENCES = Differences(np.empty(0), None, ())


@dataclass(frozen=True)
class Column:
    """Values of one cell.

    Attributes:
        values: `[K]`, NaN if a run was not successful, or lacks the metric.
        places: indices of the pairs that have it, ascending.
        shares: `[places, n]`; None if a run has no bits, or the metric is not a mean over images.
    """

    values: NDArray[np.float64]
    places: NDArray[np.intp]
    shares: Shares | None

    def shares_at(self, places: NDArray[np.intp]) -> Shares | None:
        """At some of the pairs that have it."""
        if self.shares is None or len(places) == len(self.places):
            return self.shares
        some: Shares = self.shares[np.searchsorted(self.places, places)]
        return some


class Table:
    """A metric of every cell, each read once.

    Args:
        parts: metrics that it is the mean of.
    """

    def __init__(self, results: Results, parts: Sequence[str]) -> None:
        self._results = results
        self._parts = parts
        self._columns: dict[str, Column] = {}

    def column(self, cell: str) -> Column:
        if cell not in self._columns:
            self._columns[cell] = self._read(cell)
        return self._columns[cell]

    def _read(self, cell: str) -> Column:
        found = [self._results.values(cell, part) for part in self._parts]
        values = sum(found[1:], start=found[0]) / len(found)
        places = np.flatnonzero(np.isfinite(values))
        total: Shares | None = None
        for part in self._parts:
            own = self._results.shares(cell, part, places.tolist())
            if own is None:
                return Column(values, places, None)
            total = own if total is None else total + own
        if total is not None and len(found) > 1:
            total /= len(found)
        return Column(values, places, total)


class MetricTables:
    """The values for contrasts on one metric.

    The exposure of a type differs between cells, so two means by exposure would be over different
    types.  Therefore both are computed over the types of the cell in question.
    """

    def __init__(self, results: Results, metric: str) -> None:
        self._results = results
        self._split, _, name = metric.partition("_")
        self._exposed = next(
            (one for one in EXPOSURES if name == f"robust_accuracy_{one}"),
            None,
        )
        self._whole = Table(results, [metric])
        self._by_types: dict[tuple[str, ...], Table] = {}

    def differences(self, contrast: Contrast) -> Differences | None:
        """A contrast on the metric; None of a mean by exposure where there are no types that all of
        the contrast is about."""
        table = self._table_for(contrast)
        if table is None:
            return None
        cells = [cell for cell, weight in contrast.weights.items() if weight]
        weights = np.array([contrast.weights[cell] for cell in cells])
        columns = [table.column(cell) for cell in cells]
        values = np.stack([column.values for column in columns])
        is_there = np.isfinite(values)
        places = np.flatnonzero(is_there.all(axis=0))
        by_pair = np.full(values.shape[1], math.nan)
        by_pair[places] = _weighted_sum(weights, values[:, places])
        missing: tuple[str, ...] = ()
        if len(places) < len(by_pair):
            gaps = np.argwhere(~is_there.T)
            name = self._results.pair_name
            missing = tuple(f"{name(int(place))} of {cells[at]}" for place, at in gaps)
        return Differences(by_pair, _by_image(weights, columns, places), missing)

    def _table_for(self, contrast: Contrast) -> Table | None:
        exposed = self._exposed
        if exposed is None:
            return self._whole
        weights = contrast.weights.items()
        asked = {self._results.exposed_types(cell, exposed) for cell, w in weights if w > 0}
        if contrast.kind not in ("difference", "step") or len(asked) != 1 or () in asked:
            return None
        types = asked.pop()
        if types not in self._by_types:
            parts = [f"{self._split}_accuracy.{kind}" for kind in types]
            self._by_types[types] = Table(self._results, parts)
        return self._by_types[types]


def _weighted_sum(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[K]` of `[cells, K]`; rounding errors are set to zero, or they would have a sign."""
    total: NDArray[np.float64] = weights @ values
    total[np.abs(total) <= _ROUNDING * (np.abs(weights) @ np.abs(values))] = 0.0
    return total


def _by_image(
    weights: NDArray[np.float64], columns: Sequence[Column], places: NDArray[np.intp]
) -> Shares | None:
    """The weighted sum image by image, `[K, n]`; None where a cell has kept no bits."""
    total: Shares | None = None
    for weight, column in zip(weights, columns, strict=True):
        own = column.shares_at(places) if len(places) else None
        if own is None:
            return None
        total = weight * own if total is None else total + weight * own
    if total is not None:
        total[np.abs(total) <= _ROUNDING] = 0.0  # shares are of the size of 1
    return total
