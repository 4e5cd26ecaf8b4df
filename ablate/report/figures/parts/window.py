"""The part of the objective space that a figure shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.caveats import Basis
from ablate.analysis.drawn import fenced
from ablate.analysis.objectives import front_noun, is_accuracy
from ablate.analysis.pareto import ParetoInfo
from ablate.report.numbers import count_text
from ablate.study.scores import Bound

_SEED = 0
_PAD_FRACTION = 0.06
"""Room beside the outermost point, as a share of the axis."""
_LEAST_ACCURACY_SPAN = 0.02
"""Of an axis with nearly equal accuracies: two points, or noise would look like a trend."""
_LEAST_SPAN_FRACTION = 0.1
"""Of any other axis with nearly equal values, as a share of the largest."""


@dataclass(frozen=True)
class Window:
    """One axis: from `low` to `high`; `worst` is the end that no front comes near."""

    low: float
    high: float
    worst: float

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def span(self) -> float:
        return self.high - self.low

    def share(self, value: float) -> float:
        """How far along the axis a value is: 0 at `low`, 1 at `high`."""
        return (value - self.low) / self.span


def joint_window(
    infos: Sequence[ParetoInfo], objective: int, kept: ArrayLike = (), others: ArrayLike = ()
) -> Window:
    """The range of an axis shared by several studies, with every front and reference inside.

    Args:
        objective: its index in the objectives, which are the same for all studies.
        kept: further values that must be inside; others: that need not, as trials.
    """
    columns = [info.values[:, objective] for info in infos]
    metric = infos[0].objectives[objective].metric
    shown = [
        *(
            column[info.is_on_front] if info.front else column
            for info, column in zip(infos, columns, strict=True)
        ),
        np.array([values[objective] for info in infos for values in info.references.values()]),
        np.array([bound.limit for bound in _violated_bounds(infos) if bound.metric == metric]),
        np.asarray(kept, dtype=float),
    ]
    values = np.concatenate([*columns, np.asarray(others, dtype=float)])
    return value_window(infos[0].objectives[objective], np.concatenate(shown), values)


def shared_bounds(infos: Sequence[ParetoInfo]) -> tuple[Bound, ...]:
    """The bounds, where all studies have the same."""
    (first, *others) = (info.bounds for info in infos)
    return () if any(bounds != first for bounds in others) else first


def _violated_bounds(infos: Sequence[ParetoInfo]) -> list[Bound]:
    """The bounds on objectives that a trial violates."""
    metrics = {objective.metric: place for place, objective in enumerate(infos[0].objectives)}
    return [
        bound
        for bound in shared_bounds(infos)
        if bound.metric in metrics
        and any(
            bound.excess({bound.metric: point.values[metrics[bound.metric]]}) > 0
            for info in infos
            for point in info.points
        )
    ]


class Scored(Protocol):
    """An objective, or what has one's metric and direction."""

    @property
    def metric(self) -> str: ...

    @property
    def direction(self) -> str: ...


def scores_window(objective: Scored, scores: ArrayLike, kept: ArrayLike = ()) -> Window:
    """The range of an axis with all trials except collapsed ones.

    It is wider than that of the Pareto figure, because a bad trial is as informative about its
    parameters.

    Args:
        scores: of the trials; kept: other values that must be inside.
    """
    shown = np.append(not_collapsed(objective, scores), np.asarray(kept, dtype=float))
    return value_window(objective, shown, shown)


def not_collapsed(objective: Scored, scores: ArrayLike) -> NDArray[np.float64]:
    """The scores without those far worse than the rest."""
    values = np.asarray(scores, dtype=float)
    inside: NDArray[np.float64] = fenced(values, maximize=objective.direction == "maximize")
    return np.extract(values == inside, values)


def value_window(objective: Scored, kept: ArrayLike, values: ArrayLike) -> Window:
    """The range of an axis.

    The kept values are always inside.  A value worse than all of them by more than their spread is
    left outside: one collapsed training would compress everything else into a corner.

    Args:
        kept, values: NaN is ignored.

    Returns:
        The range from 0 to 1 if there is nothing to show.
    """
    kept, values = _finite(kept), _finite(values)
    direction = objective.direction
    if not len(kept):
        kept = values
    if not len(kept):
        return Window(0.0, 1.0, 0.0 if direction == "maximize" else 1.0)

    least = least_span(objective.metric, kept)
    widened = _widened(kept, values, max(np.ptp(kept), least), direction)
    low, high = _padded(*widened, least)
    return Window(low, high, low if direction == "maximize" else high)


def metric_range(metric: str, values: ArrayLike) -> tuple[float, float]:
    """The range of an axis with all of these values inside, as `value_window`."""
    inside = _finite(values)
    if not len(inside):
        return 0.0, 1.0
    return _padded(float(inside.min()), float(inside.max()), least_span(metric, inside))


def _padded(low: float, high: float, least: float) -> tuple[float, float]:
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    pad = _PAD_FRACTION * (high - low)
    return low - pad, high + pad


def is_inside(points: ArrayLike, windows: Mapping[int, Window]) -> NDArray[np.bool_]:
    """Which points are within all of these axes; one with a NaN there is not.

    Args:
        points: one row a point, one column an objective; windows: by the index of the objective.
    """
    values = np.asarray(points, dtype=float)
    inside = np.ones(len(values), dtype=bool)
    for place, window in windows.items() if len(values) else ():
        inside &= (values[:, place] >= window.low) & (values[:, place] <= window.high)
    return inside


def outside_facts(
    points: Sequence[Sequence[float]],
    windows: Mapping[int, Window],
    what: str,
    several: str = "",
) -> list[str]:
    """A fact on the number of trials outside the axes, if any; `what` one is, and `several` are.

    Args:
        points: their values, one per objective; windows: by the index of the objective.
    """
    outside = int((~is_inside(points, windows)).sum())
    return [f"{count_text(outside, what, several)} outside the axes"] if outside else []


def front_first(on_front: ArrayLike, most: int) -> NDArray[np.int64]:
    """Places of the trials that are drawn, ascending: all of few; of more the front, then others,
    picked at random by a fixed seed."""
    front = np.asarray(on_front, dtype=bool)
    order = np.random.default_rng(_SEED).permutation(len(front))
    kept: NDArray[np.int64] = np.sort(order[np.argsort(~front[order], kind="stable")][:most])
    return kept


def drawn_facts(info: Basis, count: int, most: int) -> list[str]:
    """That some of so many trials are not drawn, if any."""
    if count <= most:
        return []
    kept = front_noun(info.objectives)
    return [f"{most:,} of {count:,} trials drawn: {kept}, others at random"]


def least_span(metric: str, values: NDArray[np.float64]) -> float:
    """What an axis or a scale of colours spans at the least, or noise would look like a trend."""
    if is_accuracy(metric):
        return _LEAST_ACCURACY_SPAN
    return _LEAST_SPAN_FRACTION * float(np.abs(values).max()) or 1.0


def _widened(
    kept: NDArray[np.float64],
    values: NDArray[np.float64],
    room: float,
    direction: str,
) -> tuple[float, float]:
    low, high = float(kept.min()), float(kept.max())
    near = values[(values >= low - room) if direction == "maximize" else (values <= high + room)]
    return float(near.min(initial=low)), float(near.max(initial=high))


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    table: NDArray[np.float64] = np.asarray(values, dtype=float)
    finite: NDArray[np.float64] = table[np.isfinite(table)]
    return finite
