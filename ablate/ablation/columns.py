"""A metric of every cell, by pair and image by image: what contrasts are formed of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Contrast
from ablate.ablation.results import Results
from ablate.robustness.bits import Shares
from ablate.study.scores import EXPOSURES


@dataclass(frozen=True)
class Column:
    """Of one cell.

    Attributes:
        values: `[K]`, NaN where a run has not ended well, or has no such metric.
        places: of the pairs that have it, ascending.
        shares: `[places, n]`; None where a run has kept no bits, or it is no mean over images.
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
    """Where contrasts on one metric are formed.

    What was seen of a type differs from cell to cell, so the difference of two means by exposure
    would be one of other types, too.  So both are taken over the types of the cell in question.
    """

    def __init__(self, results: Results, metric: str) -> None:
        self._results = results
        self._split, _, name = metric.partition("_")
        self._exposure = next(
            (one for one in EXPOSURES if name == f"robust_accuracy_{one}"),
            None,
        )
        self._whole = Table(results, [metric])
        self._by_types: dict[tuple[str, ...], Table] = {}

    def of(self, contrast: Contrast) -> Table | None:
        """None of a mean by exposure where there are no types that all of a contrast is about."""
        exposure = self._exposure
        if exposure is None:
            return self._whole
        weights = contrast.weights.items()
        asked = {self._results.exposed_types(cell, exposure) for cell, w in weights if w > 0}
        if contrast.kind not in ("difference", "step") or len(asked) != 1 or () in asked:
            return None
        types = asked.pop()
        if types not in self._by_types:
            parts = [f"{self._split}_accuracy.{kind}" for kind in types]
            self._by_types[types] = Table(self._results, parts)
        return self._by_types[types]
