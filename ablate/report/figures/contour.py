"""The contour figure: one objective over the plane of two parameters.

The marks are complete trials in the colour of their score. The field under them is smoothed, and
in the same colours: where a mark stands out against it, the two parameters do not tell the score.
It is left blank where no trial is near. Bright is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.ablation.study_source import StudySource
from ablate.analysis.contour import ContourInfo, contour_info
from ablate.analysis.objectives import is_accuracy
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, basis_meta, finish
from ablate.report.figures.parts.drawn_trials import (
    GL_TRIALS,
    drawn_trials,
    trial_facts,
    trial_numbers,
)
from ablate.report.figures.parts.parameter_axis import (
    dots_facts,
    level_width,
    lines_under,
    on_axis,
    param_axis,
    param_names,
    params_hover,
    placed,
)
from ablate.report.figures.parts.score_axis import (
    beyond_facts,
    bright_is_better,
    colour_bar,
    score_text,
    score_ticks,
)
from ablate.report.figures.parts.window import LEAST_ACCURACY_SPAN
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import FONT_SIZE, INK, PAPER

if TYPE_CHECKING:
    from plotly.graph_objects import Contour, Figure, Heatmap, Scatter

_BAR_PIXELS = 92
_LINE_HEIGHT = 14
_MOST_DOMINATED = 600
"""Marks over the field, which more would hide."""


def plot_contour(info: ContourInfo) -> Figure:
    """Draw an objective over two parameters.

    Args:
        info: may be without a point, or with too few for a field: then the axes are drawn, and a
            line says so.

    Returns:
        A figure made for one column of print. Trials on the front are stars.
    """
    from plotly.graph_objects import Figure

    names = param_names(info)
    metric = info.objectives[info.objective].metric
    drawn = drawn_trials(info, dominated=_MOST_DOMINATED)
    here = drawn.places[np.isin(drawn.places, info.drawn)]
    field = [_field(info)] if info.field else []
    figure = Figure([*field, *_marks(info, names, here)])
    figure.update_layout(coloraxis=_colours(info, metric))
    for at, update in enumerate((figure.update_xaxes, figure.update_yaxes)):
        title = {"text": plain_text(names[at]), "standoff": 8, "font": {"size": FONT_SIZE}}
        update(param_axis(info.columns[at], upright=at == 0) | {"title": title, "showgrid": False})
    others = len(info.points) - len(info.drawn)
    said = [f"{others} without both parameters or a score"] if others else []
    if math.isfinite(info.explained):
        share = f"{max(info.explained, 0):.0%} of the variance of trials left out"
        said.append(f"the field explains {share}" if field else f"no field: it explains {share}")
    elif not field and info.points:
        said.append("too few trials for a field")
    scores = [info.points[place].values[info.objective] for place in info.drawn]
    maximize = info.objectives[info.objective].direction == "maximize"
    said += beyond_facts(scores, maximize=maximize)
    for column, reading in zip(info.columns, ("top down", "left to right"), strict=True):
        said += dots_facts([column], info.keys, reading)
    if any(info.points[place].on_front for place in here):
        said.append("star: on the front")
    return finish(
        figure,
        title=info.question or f"{metric_label(metric)} of {info.study}",
        facts=trial_facts(info, *said, *drawn.facts),
        meta=basis_meta(info, "Score over two parameters"),
        pixels=COLUMN_PIXELS,
        left=56 + level_width(info.columns[1]),
        right=_BAR_PIXELS,
        bottom=44 + _LINE_HEIGHT * lines_under(info.columns[0]),
        nothing=_nothing(info),
    )


def _nothing(info: ContourInfo) -> str:
    if not info.points:
        return "no complete trial yet"
    return "" if info.drawn else "no complete trial has both parameters"


def _field(info: ContourInfo) -> Contour | Heatmap:
    from plotly.graph_objects import Contour, Heatmap

    one, two = info.columns
    shape: dict[str, Any] = {
        "x": on_axis(one, info.x),
        "y": on_axis(two, info.y),
        "z": np.array(info.field, dtype=np.float32),
        "coloraxis": "coloraxis",
        "hoverinfo": "skip",
        "name": "field",
    }
    if "categorical" in (one.kind, two.kind):
        # Lines of equal score would cross from one name to the next, where nothing is.
        return Heatmap(
            shape, xgap=2 * (one.kind == "categorical"), ygap=2 * (two.kind == "categorical")
        )
    return Contour(
        shape,
        contours={"coloring": "heatmap", "showlines": True},
        line={"color": PAPER, "width": 0.7, "smoothing": 1},
        ncontours=12,
        connectgaps=False,
    )


def _colours(info: ContourInfo, metric: str) -> dict[str, Any]:
    low, high = info.low, info.high
    if not low < high:  # of equal scores the middle colour, and not plotly's own range
        half = (LEAST_ACCURACY_SPAN if is_accuracy(metric) else abs(low) or 1.0) / 2
        low, high = low - half, high + half
    return bright_is_better(info, info.objective) | {
        "cmin": low,
        "cmax": high,
        "showscale": bool(info.drawn),
        "colorbar": colour_bar(metric_label(metric)) | score_ticks(metric),
    }


def _marks(info: ContourInfo, names: list[str], here: Any) -> Iterator[Scatter]:
    from plotly.graph_objects import Scatter, Scattergl

    numbers = trial_numbers(info)
    x, y = (placed(column, numbers, axis) for column, axis in zip(info.columns, "xy", strict=True))
    metric = info.objectives[info.objective].metric
    values = np.array([point.values[info.objective] for point in info.points], dtype=np.float32)
    front = np.array([point.on_front for point in info.points], dtype=bool)
    for on_front in (False, True):
        places = here[front[here] == on_front]
        if not len(places):
            continue
        of_params, text = params_hover(info.columns, names, places.tolist())
        said = [
            "<b>Trial %{customdata}</b>" + ", on the front" * on_front,
            score_text(metric, "marker.color"),
            of_params,
        ]
        yield (Scattergl if len(here) > GL_TRIALS else Scatter)(
            x=x[places],
            y=y[places],
            mode="markers",
            name="On the front" if on_front else "Dominated",
            showlegend=False,
            customdata=numbers[places].tolist(),
            text=text,
            hovertemplate="<br>".join(said) + "<extra></extra>",
            marker={
                "color": values[places],
                "coloraxis": "coloraxis",
                "symbol": "star" if on_front else "circle",
                "size": 15 if on_front else 8,
                "line": {"color": INK, "width": 1.2 if on_front else 0.7},
            },
        )


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ContourInfo:
    record = the_search(sources, "contour").record
    return contour_info(record, params=options.params, objective=options.objective)


FIGURE = FigureKind(
    name="contour",
    title="Score over two parameters",
    says="Each marker is a complete trial, coloured by score, on a smoothed score surface in the "
    "same colours; brighter is better.",
    read=_read,
    draw=plot_contour,
    takes=("params", "objective"),
)
