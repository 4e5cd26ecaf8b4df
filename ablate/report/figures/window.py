"""The part of the objective space that a figure shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.metrics import is_accuracy
from ablate.analysis.pareto import ParetoInfo

PAD_FRACTION = 0.06
"""Room beside the outermost point, as a share of the axis."""
LEAST_ACCURACY_SPAN = 0.02
"""Of an axis with nearly equal accuracies: two points, or noise would look like a trend."""
LEAST_SPAN_FRACTION = 0.1
"""Of any other axis with nearly equal values, as a share of the largest."""


@dataclass(frozen=True)
class Window:
    """One axis: from `low` to `high`; `worst` is the end that no front comes near."""

    low: float
    high: float
    worst: float

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


def axis_window(info: ParetoInfo, objective: int) -> Window:
    """The range of one objective's axis.

    The front and the references are always inside. A trial that is worse than all of them by
    more than their own spread is left outside: one collapsed training would press everything
    else into a corner.

    Args:
        objective: its place in `info.objectives`.

    Returns:
        The whole unit range where there is nothing to show.
    """
    values = _finite([point.values[objective] for point in info.points])
    kept = _finite(
        [point.values[objective] for point in info.front]
        + [values[objective] for values in info.references.values()]
    )
    direction = info.objectives[objective].direction
    if not len(kept):
        kept = values
    if not len(kept):
        return Window(0.0, 1.0, 0.0 if direction == "maximize" else 1.0)

    least = _least_span(info.objectives[objective].metric, kept)
    low, high = _widened(kept, values, max(np.ptp(kept), least), direction)
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    pad = PAD_FRACTION * (high - low)
    low, high = low - pad, high + pad
    return Window(low, high, low if direction == "maximize" else high)


def _least_span(metric: str, values: NDArray[np.float64]) -> float:
    if is_accuracy(metric):
        return LEAST_ACCURACY_SPAN
    return LEAST_SPAN_FRACTION * float(np.abs(values).max()) or 1.0


def _widened(
    kept: NDArray[np.float64],
    values: NDArray[np.float64],
    room: float,
    direction: Literal["maximize", "minimize"],
) -> tuple[float, float]:
    low, high = float(kept.min()), float(kept.max())
    near = values[(values >= low - room) if direction == "maximize" else (values <= high + room)]
    return float(min([low, *near])), float(max([high, *near]))


def _finite(values: list[float]) -> NDArray[np.float64]:
    return np.array([value for value in values if math.isfinite(value)], dtype=float)
