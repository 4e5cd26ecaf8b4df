"""The parallel figure: each trial a line through its parameters to its scores.

Lines and no `Parcoords`, so that a trial keeps the colour of its terms and can be linked to the
other figures. The front is in full colour. A trial without a parameter runs through the lane
under its axis. The axes of scores stand last, with better up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.parameters import (
    ParameterColumn,
    ParametersInfo,
    most_telling,
    parameters_info,
)
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, LEFT, WIDE_PIXELS, basis_meta, finish
from ablate.report.figures.parts.drawn_trials import (
    DrawnTrials,
    Group,
    drawn_trials,
    legend_of,
    shown_facts,
    trial_facts,
    trial_numbers,
)
from ablate.report.figures.parts.parameter_axis import (
    broken,
    dots_facts,
    level_texts,
    param_names,
    placed,
    shortened,
)
from ablate.report.figures.parts.score_axis import score_window
from ablate.report.numbers import metric_label, metric_text, param_text, plain_text
from ablate.report.style import DOMINATED_OPACITY, FONT_SIZE, INK, PAPER

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter


_PARAMS, _LIMIT = 8, 12
_MOST_LINES = 300
_LANE = -0.14
"""Height of the lane of trials without the parameter; the axes run from 0 to 1."""
_NAME_HEIGHT = 84
_NAME_CHARACTERS = 13


def plot_parallel(info: ParametersInfo) -> Figure:
    """Draw each trial as a line.

    Args:
        info: may be without a point: the axes are drawn, and a line says so. Its first parameter
            stands nearest to the scores.

    Returns:
        A figure for two columns of print, for one where there are up to four axes. At most 300
        trials off the front are drawn, and 300 on it.
    """
    from plotly.graph_objects import Figure

    drawn = drawn_trials(info, dominated=_MOST_LINES)
    numbers = trial_numbers(info)
    axes = [*reversed(param_axes(info, numbers)), *score_axes(info)]
    groups = list(drawn.groups(info))
    lines = [_lines(group, axes, numbers) for group in groups]
    figure = Figure([*lines, *legend_of(info, groups, "lines")], _layout(axes))
    return finish(
        figure,
        title=info.question or f"Parameters and scores of {info.study}",
        facts=trial_facts(info, *_facts(info, drawn, axes)),
        meta=basis_meta(info, "Parameters to scores"),
        pixels=WIDE_PIXELS if len(axes) > 4 else COLUMN_PIXELS,
        left=LEFT - 10,
        right=40,
        bottom=_NAME_HEIGHT,
        nothing="" if info.points else "no complete trial yet",
    )


def _lines(group: Group, axes: list[ParallelAxis], numbers: NDArray[np.int64]) -> Scatter:
    """The trials of a group in one trace, with a gap after each."""
    from plotly.graph_objects import Scatter

    places = group.places
    wide = len(axes) + 1
    y = np.full((len(places), wide), np.nan, dtype=np.float32)
    text = [[""] * wide for _ in places]
    for at, axis in enumerate(axes):
        heights = axis.heights[places]
        y[:, at] = np.where(np.isfinite(heights), heights, _LANE)
        for line, place in zip(text, places.tolist(), strict=True):
            line[at] = axis.said(place)
    style = group.style
    return Scatter(
        x=np.tile(np.arange(wide, dtype=np.float32), len(places)),
        y=y.ravel(),
        mode="lines+markers",
        name=style.label,
        showlegend=False,
        legendgroup=style.label,
        connectgaps=False,
        opacity=1 if group.on_front else DOMINATED_OPACITY,
        line={"color": style.color, "width": 2.4 if group.on_front else 0.9},
        marker={
            "color": style.color,
            "symbol": style.symbol,
            "size": 7 if group.on_front else 4,
            "line": {"color": INK, "width": 0.8 if group.on_front else 0},
        },
        # The gap belongs to the trial too: one number a point.
        customdata=np.repeat(numbers[places], wide).tolist(),
        text=[said for line in text for said in line],
        hovertemplate="<b>Trial %{customdata}</b><br>%{text}<extra></extra>",
    )


def _layout(axes: list[ParallelAxis]) -> dict[str, Any]:
    """Upright axes with their ticks, names under them, and the lane."""
    has_lane = any(axis.has_lane for axis in axes)
    foot = _LANE - 0.06 if has_lane else -0.04
    return {
        "shapes": [
            {
                "type": "line",
                "x0": at,
                "x1": at,
                "y0": 0,
                "y1": 1,
                "line": {"color": INK, "width": 1.6 if axis.is_score else 1},
                "layer": "below",
            }
            for at, axis in enumerate(axes)
        ],
        "annotations": list(_tick_texts(axes)),
        "xaxis": {
            "range": [-0.35, len(axes) - 1 + 0.45],
            "tickvals": list(range(len(axes))),
            "ticktext": [
                f"<b>{broken(axis.name, _NAME_CHARACTERS)}</b>"
                if axis.is_score
                else broken(axis.name, _NAME_CHARACTERS)
                for axis in axes
            ],
            "tickangle": 0,
            "tickfont": {"size": FONT_SIZE - 2},
            "showgrid": False,
            "zeroline": False,
            "showline": False,
            "ticks": "",
        },
        "yaxis": {
            "range": [foot, 1.04],
            "tickvals": [_LANE] if has_lane else [],
            "ticktext": ["not used"],
            "tickfont": {"size": FONT_SIZE - 3},
            "showgrid": False,
            "zeroline": False,
            "showline": False,
            "ticks": "",
        },
    }


def _tick_texts(axes: list[ParallelAxis]) -> Iterator[dict[str, Any]]:
    for at, axis in enumerate(axes):
        for height, text in axis.ticks:
            yield {
                "x": at,
                "y": height,
                "text": text,
                "xanchor": "left",
                "xshift": 4,
                "showarrow": False,
                "bgcolor": PAPER,
                "opacity": 0.85,
                "borderpad": 1,
                "font": {"size": FONT_SIZE - 3, "color": INK},
            }


def _facts(info: ParametersInfo, drawn: DrawnTrials, axes: list[ParallelAxis]) -> list[str]:
    said = [*shown_facts(info), *drawn.facts]
    if any(not info.points[place].on_front for place in drawn.places):
        said.append("faint: dominated")
    said.append("scores: better is up")
    beyond = {place for axis in axes for place in axis.beyond} & set(drawn.places.tolist())
    if beyond:
        said.append(f"{len(beyond)} with a score below its axis, drawn at its foot")
    return [*said, *dots_facts(info.columns, info.keys, "left to right")]


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ParametersInfo:
    return parameters_info(
        the_search(sources, "parallel").record,
        "parallel",
        choose=most_telling(_PARAMS),
        limit=_LIMIT,
        params=options.params,
        objective=options.objective,
    )


FIGURE = FigureKind(
    name="parallel",
    title="Parameters to scores",
    says="Each line is a complete trial, from its parameters to its scores; trials on the front "
    "are in full colour.",
    read=_read,
    draw=plot_parallel,
    takes=("params", "objective"),
)


# -- One upright axis of the parallel figure, from 0 to 1: of a parameter, or of a score ---


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
