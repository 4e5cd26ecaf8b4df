"""One upright axis of the parallel figure, from 0 to 1: of a parameter, or of a score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.metrics import is_accuracy
from ablate.analysis.parameter_column import ParameterColumn
from ablate.analysis.parameters import ParametersInfo
from ablate.report.figures.parts.parameter_axis import level_texts, param_names, placed, shortened
from ablate.report.figures.parts.score_axis import score_window
from ablate.report.numbers import metric_label, metric_text, param_text, plain_text

_TICKS = 5


@dataclass(frozen=True)
class ParallelAxis:
    """An axis.

    Attributes:
        name: under it, plain text.
        heights: 0 to 1, one a point; NaN where the trial does not have the parameter.
        ticks: heights and texts in plotly's markup.
        said: place of a point -> what it says there, escaped.
        is_score: of an objective: better is up.
        beyond: places of the points that are worse than its foot, and drawn there.
    """

    name: str
    heights: NDArray[np.float32]
    ticks: tuple[tuple[float, str], ...]
    said: Callable[[int], str]
    is_score: bool = False
    beyond: tuple[int, ...] = ()

    @property
    def has_lane(self) -> bool:
        return not self.is_score and bool(np.isnan(self.heights).any())


def param_axes(info: ParametersInfo, numbers: NDArray[np.int64]) -> list[ParallelAxis]:
    """The axes of the shown parameters, in their order."""
    names = param_names(info)
    return [_param_axis(column, names[at], numbers) for at, column in enumerate(info.columns)]


def _param_axis(column: ParameterColumn, name: str, numbers: NDArray[np.int64]) -> ParallelAxis:
    low, high = column.ends
    at: NDArray[np.floating[Any]]
    if column.kind == "categorical":
        at = placed(column, numbers, "y")
        texts = level_texts(column, upright=False)
        ticks = [(float(place), text) for place, text in enumerate(texts)]
    else:
        at = column.coordinates
        ticks = _number_ticks(column.kind, low, high, least=1.0 if column.is_whole else 0.0)

    def said(place: int) -> str:
        value = column.values[place]
        if value is None:
            return f"{plain_text(name)}: not used"
        return f"{plain_text(name)}: {plain_text(shortened(param_text(value), 40))}"

    return ParallelAxis(
        name=name,
        heights=((at - low) / (high - low)).astype(np.float32),
        ticks=tuple(((tick - low) / (high - low), text) for tick, text in ticks),
        said=said,
    )


def score_axes(info: ParametersInfo) -> list[ParallelAxis]:
    """The axes of the shown objectives, in the study's order."""
    return [_score_axis(info, place) for place in info.shown]


def _score_axis(info: ParametersInfo, place: int) -> ParallelAxis:
    metric = info.objectives[place].metric
    window = score_window(info, place)
    best = window.high if window.worst == window.low else window.low
    values = np.array([point.values[place] for point in info.points], dtype=float)
    heights = (values - window.worst) / (best - window.worst)
    label = metric_label(metric)

    def said(at: int) -> str:
        return f"{plain_text(label)}: {metric_text(metric, info.points[at].values[place])}"

    return ParallelAxis(
        name=label,
        heights=np.clip(heights, 0, 1).astype(np.float32),
        ticks=tuple(
            ((tick - window.worst) / (best - window.worst), _score_tick(metric, tick))
            for tick, _ in _number_ticks("numeric", window.low, window.high)
        ),
        said=said,
        is_score=True,
        beyond=tuple(np.flatnonzero(heights < 0).tolist()),
    )


def _score_tick(metric: str, value: float) -> str:
    return f"{100 * value:.3g}%" if is_accuracy(metric) else f"{value:.4g}"


def _number_ticks(
    kind: str, low: float, high: float, *, least: float = 0.0
) -> list[tuple[float, str]]:
    """Round coordinates between two ends, at most six and `least` apart, and their texts."""
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if kind == "log" and len(decades) > 1:
        return [(float(at), f"{10.0**at:g}") for at in decades[:: math.ceil(len(decades) / _TICKS)]]
    step = _round_step(max((high - low) / _TICKS, least))
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    found = [float(f"{place * step:.12g}") for place in places]
    return [(at, f"{10.0**at:.3g}" if kind == "log" else f"{at:g}") for at in found]


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
