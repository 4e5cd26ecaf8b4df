"""The slice figure: each objective against each parameter alone, one panel each.

A point is a complete trial, coloured by its loss terms as in the Pareto figure, in full colour
where it is on the front. A trial without the parameter is not in that parameter's panel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.ablation.study_source import StudySource
from ablate.analysis.parameters import ParametersInfo, most_telling, parameters_info
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    LEFT,
    RIGHT,
    WIDE_PIXELS,
    basis_meta,
    finish,
)
from ablate.report.figures.parts.drawn_trials import (
    GL_TRIALS,
    DrawnTrials,
    Group,
    drawn_trials,
    legend_of,
    point_marker,
    shown_facts,
    trial_facts,
    trial_numbers,
)
from ablate.report.figures.parts.parameter_axis import (
    broken,
    dots_facts,
    lines_under,
    param_axis,
    param_names,
    params_hover,
    placed,
)
from ablate.report.figures.parts.score_axis import score_text, score_ticks, score_window
from ablate.report.figures.parts.window import Window
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import FAINT_INK, FONT_SIZE, base_axis

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ACROSS = 4
"""Panels side by side."""
_PANEL_HEIGHT = 175
_GAP_ACROSS, _GAP_DOWN = 26, 16
_NAME_HEIGHT, _LINE_HEIGHT = 42, 14
"""Under each block of rows: the parameters' names, and each line of tick labels."""
_BLOCK_GAP = 14
_PARAMS, _LIMIT = 8, 16


def plot_slice(info: ParametersInfo) -> Figure:
    """Draw the objectives against each parameter.

    Args:
        info: may be without a point: the axes are drawn, and a line says so.

    Returns:
        A figure of one row of panels an objective, four parameters side by side; the next four
        stand below. Made for two columns of print, and for one where there are one or two.
    """
    from plotly.graph_objects import Figure, Scatter, Scattergl

    columns, rows = info.columns, info.shown
    drawn = drawn_trials(info, panels=len(columns) * len(rows))
    windows = {place: score_window(info, place) for place in rows}
    names, numbers = param_names(info), trial_numbers(info)
    dots = dots_facts(columns, info.keys, "top down")
    facts = trial_facts(info, *_facts(info, drawn, windows), *dots)
    layout, height, under = _layout(info, names, windows)
    groups = list(drawn.groups(info))
    values = np.array([point.values for point in info.points], dtype=np.float32)
    trace = Scattergl if len(info.points) > GL_TRIALS else Scatter
    traces: list[Any] = []
    for at, column in enumerate(columns):
        x = placed(column, numbers)
        for row, place in enumerate(rows):
            score = score_text(info.objectives[place].metric, "y")
            for group in groups:
                there = group.places[np.isfinite(x[group.places])]
                if len(there):
                    said, text = params_hover([column], names[at : at + 1], there.tolist())
                    traces.append(
                        trace(
                            x=x[there],
                            y=values[there, place],
                            customdata=numbers[there].tolist(),
                            text=text,
                            xaxis=_axis_name("x", at * len(rows) + row),
                            yaxis=_axis_name("y", at * len(rows) + row),
                            **_look(group, f"{score}<br>{said}"),
                        )
                    )
    figure = Figure(
        [*traces, *legend_of(info, groups, "markers")],
        layout | {"shapes": list(_baseline_lines(info, windows))},
    )
    return finish(
        figure,
        title=info.question or f"Parameters of {info.study}",
        facts=facts,
        meta=basis_meta(info, "Scores by parameter"),
        pixels=(_width(info), COLUMN_PIXELS[1]),
        inside=height,
        bottom=under,
        nothing="" if info.points else "no complete trial yet",
    )


def _width(info: ParametersInfo) -> int:
    return WIDE_PIXELS[0] if len(info.columns) > 2 else COLUMN_PIXELS[0]


def _look(group: Group, said: str) -> dict[str, Any]:
    return {
        "mode": "markers",
        "showlegend": False,
        "legendgroup": group.style.label,
        "marker": point_marker(group, 8),
        "hovertemplate": f"<b>Trial %{{customdata}}</b><br>{said}<extra></extra>",
    }


def _layout(
    info: ParametersInfo, names: list[str], windows: dict[int, Window]
) -> tuple[dict[str, Any], float, float]:
    """All axes in their places, and in pixels the height of the panels, and of what is under."""
    rows = len(info.shown)
    across = min(_ACROSS, len(info.columns))
    panels = rows * _PANEL_HEIGHT + (rows - 1) * _GAP_DOWN
    under = [
        max(map(lines_under, info.columns[start : start + across])) * _LINE_HEIGHT + _NAME_HEIGHT
        for start in range(0, len(info.columns), across)
    ]
    tops = [0.0, *accumulate(panels + labels + _BLOCK_GAP for labels in under[:-1])]
    height = tops[-1] + panels
    inner = _width(info) - LEFT - RIGHT
    panel = (inner - (across - 1) * _GAP_ACROSS) / across
    layout: dict[str, Any] = {}
    for (at, column), (row, place) in product(enumerate(info.columns), enumerate(info.shown)):
        name = at * rows + row
        left = (at % across) * (panel + _GAP_ACROSS)
        top = tops[at // across] + row * (_PANEL_HEIGHT + _GAP_DOWN)
        last, first = row == rows - 1, at % across == 0
        metric = info.objectives[place].metric
        size = {"size": FONT_SIZE - 1}
        layout[_axis_name("xaxis", name)] = param_axis(column) | {
            "domain": [left / inner, min((left + panel) / inner, 1)],
            "anchor": _axis_name("y", name),
            "showticklabels": last,
            "title": {"text": _named(info, at, names) if last else "", "standoff": 6, "font": size},
            **({} if row == 0 else {"matches": _axis_name("x", at * rows)}),
        }
        layout[_axis_name("yaxis", name)] = (
            base_axis()
            | score_ticks(metric)
            | {
                "domain": [max(1 - (top + _PANEL_HEIGHT) / height, 0), 1 - top / height],
                "anchor": _axis_name("x", name),
                "range": [windows[place].low, windows[place].high],
                "showgrid": True,
                "showticklabels": first,
                "tickfont": {"size": FONT_SIZE - 3},
                "nticks": 6,
                "title": {
                    "text": broken(metric_label(metric), 22, 2) if first else "",
                    "standoff": 6,
                    "font": size,
                },
                **({} if at == 0 else {"matches": _axis_name("y", row)}),
            }
        )
    return layout, height, under[-1]


def _named(info: ParametersInfo, at: int, names: list[str]) -> str:
    """A parameter's name, and of how many trials its panel is where some do not have it."""
    there = sum(value is not None for value in info.columns[at].values)
    return plain_text(names[at]) + f" (n = {there})" * (there < len(info.points))


def _axis_name(letter: str, at: int) -> str:
    """ "x", "x2", ...: plotly does not number the first one."""
    return letter if at == 0 else f"{letter}{at + 1}"


def _facts(info: ParametersInfo, drawn: DrawnTrials, windows: dict[int, Window]) -> list[str]:
    points = [info.points[place] for place in drawn.places]
    said = [*shown_facts(info), *drawn.facts]
    if any(not point.on_front for point in points):
        said.append("faint: dominated")
    if "baseline" in info.references:
        said.append("dotted: baseline")
    outside = sum(
        not all(window.contains(point.values[place]) for place, window in windows.items())
        for point in points
    )
    if outside:
        said.append(f"{outside} dominated {'trial' if outside == 1 else 'trials'} outside the axes")
    return said


def _baseline_lines(info: ParametersInfo, windows: dict[int, Window]) -> Iterator[dict[str, Any]]:
    baseline = info.references.get("baseline")
    for at, (row, place) in product(range(len(info.columns)), enumerate(info.shown)):
        if baseline is None or not windows[place].contains(baseline[place]):
            continue
        name = at * len(info.shown) + row
        yield {
            "type": "line",
            "xref": f"{_axis_name('x', name)} domain",
            "yref": _axis_name("y", name),
            "x0": 0,
            "x1": 1,
            "y0": baseline[place],
            "y1": baseline[place],
            "line": {"color": FAINT_INK, "width": 1, "dash": "dot"},
            "layer": "below",
        }


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ParametersInfo:
    return parameters_info(
        the_search(sources, "slice").record,
        "slice",
        choose=most_telling(_PARAMS),
        limit=_LIMIT,
        params=options.params,
        objective=options.objective,
    )


FIGURE = FigureKind(
    name="slice",
    title="Scores by parameter",
    says="Each marker is a complete trial: its score against one parameter. Parameters that "
    "order the trials best come first.",
    read=_read,
    draw=plot_slice,
    takes=("params", "objective"),
)
