"""The slice figure: each objective against each single parameter, one panel each.

A point is a complete trial, coloured by its loss terms as in the Pareto figure, in full colour if
it is on the front.  A trial without the parameter is not in that parameter's panel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.study_source import StudySource
from ablate.analysis.parameters import ParametersInfo, parameters_info
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    LEFT,
    NO_TRIAL,
    RIGHT,
    WIDE_PIXELS,
    basis_facts,
    basis_meta,
    finish,
    metric_axis,
    objectives_facts,
    trace_type,
)
from ablate.report.figures.parts.names import axis_number
from ablate.report.figures.parts.parameter_axis import (
    broken,
    dots_facts,
    dots_text,
    lines_under,
    param_axis,
    param_hover,
    param_names,
    placed,
)
from ablate.report.figures.parts.point_hover import score_template
from ablate.report.figures.parts.window import (
    Window,
    drawn_facts,
    front_first,
    is_inside,
    outside_facts,
    scores_window,
)
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import (
    FAINT_INK,
    INK,
    SMALL_SIZE,
    TermsStyle,
    terms_style,
    trial_marker,
)

_PANEL_WIDTH = 150
"""The least; at most `_ACROSS` panels stand side by side."""
_ACROSS = 4
_PANEL_HEIGHT = 175
_GAP_ACROSS, _GAP_DOWN = 26, 16
_NAME_HEIGHT, _LINE_HEIGHT = 42, 14
"""Under each block of rows: the parameters' names, and each line of tick labels."""
_BLOCK_GAP = 14

_MOST_MARKS = 24_000
"""Of a whole figure: what a page of about 1 MB holds, and a browser still turns over quickly."""
_BASELINE = {"color": FAINT_INK, "width": 1, "dash": "dot"}


def plot_slice(info: ParametersInfo, width: float = WIDE_PIXELS[0]) -> Figure:
    """Draw the objectives against each parameter.

    Args:
        info: without points the axes are drawn, and the figure says so.
        width: of the image, in pixels, if it has more than two parameters.

    Returns:
        A figure with one row of panels per objective, up to four parameters side by side, the next
        ones below.  It fits one column of print for one or two parameters.
    """
    width = width if len(info.columns) > 2 else COLUMN_PIXELS[0]
    columns, rows = info.columns, info.shown
    places, left_out = _drawn(info)
    windows = {place: _window(info, place) for place in rows}
    names = param_names(info)
    numbers = np.array([point.number for point in info.points], dtype=np.int64)
    layout, height, under = _layout(info, names, windows, width)
    groups = list(_groups(info, places))
    values = info.values.astype(np.float32)
    trace = trace_type(len(info.points))
    traces: list[Any] = []
    for at, column in enumerate(columns):
        x = placed(column, numbers)
        for row, place in enumerate(rows):
            metric = info.objectives[place].metric
            score = score_template(metric, "y")
            number = axis_number(at * len(rows) + row)
            for group in groups:
                there = group.places[np.isfinite(x[group.places])]
                if len(there):
                    said, text = param_hover(column, names[at], there.tolist())
                    traces.append(
                        trace(
                            x=x[there],
                            y=values[there, place],
                            customdata=numbers[there].tolist(),
                            text=text,
                            xaxis=f"x{number}",
                            yaxis=f"y{number}",
                            **_look(group, f"{score}<br>{said}"),
                        )
                    )
    figure = Figure(
        [*traces, *_legend(info, groups, windows)],
        layout | {"shapes": list(_baseline_lines(info, windows))},
    )
    return finish(
        figure,
        title=f"Parameters of {info.study}",
        facts=_facts(info, places, left_out, windows),
        meta=basis_meta("Scores by parameter", info),
        pixels=(width, 0),
        inside=height,
        bottom=under,
        nothing="" if info.points else NO_TRIAL,
    )


@dataclass(frozen=True)
class _Group:
    """Trials of one set of terms, on the front or off it: places in `info.points`."""

    style: TermsStyle
    on_front: bool
    places: NDArray[np.int64]


def _drawn(info: ParametersInfo) -> tuple[NDArray[np.int64], list[str]]:
    """The trials with numbers for every objective, of very many some (`front_first`).

    Returns:
        Their places in `info.points`, ascending; and facts about those that are not drawn.
    """
    finite = np.flatnonzero(np.isfinite(info.values).all(axis=1))
    room = _MOST_MARKS // max(len(info.columns) * len(info.shown), 1)
    said = drawn_facts(info, len(finite), room)
    if missing := len(info.points) - len(finite):
        said.append(f"{missing} with a value that is not a number")
    return finite[front_first(info.is_on_front[finite], room)], said


def _groups(info: ParametersInfo, places: NDArray[np.int64]) -> Iterator[_Group]:
    """By their style, in order of its label: all that are dominated, then the front."""
    styles = [terms_style(info.points[place].loss_terms) for place in places]
    labels = np.array([style.label for style in styles], dtype=object)
    by_label = dict(sorted({style.label: style for style in styles}.items()))
    for on_front in (False, True):
        for label, style in by_label.items():
            alike = places[(labels == label) & (info.is_on_front[places] == on_front)]
            if len(alike):
                yield _Group(style, on_front, alike)


def _look(group: _Group, said: str) -> dict[str, Any]:
    """Full colour and an ink line on the front; faint off it."""
    return {
        "mode": "markers",
        "showlegend": False,
        "legendgroup": group.style.label,
        "marker": trial_marker(group.style, group.on_front, 8 if group.on_front else 6.4),
        "hovertemplate": f"<b>Trial %{{customdata}}</b><br>{said}<extra></extra>",
    }


def _layout(
    info: ParametersInfo, names: list[str], windows: dict[int, Window], width: float
) -> tuple[dict[str, Any], float, float]:
    """All axes with their positions, and in pixels the height of the panels, and of the area
    below."""
    rows = len(info.shown)
    inner = width - LEFT - RIGHT
    fitting = int((inner + _GAP_ACROSS) // (_PANEL_WIDTH + _GAP_ACROSS))
    across = min(_ACROSS, fitting, len(info.columns))
    panels = rows * _PANEL_HEIGHT + (rows - 1) * _GAP_DOWN
    under = [
        max(map(lines_under, info.columns[start : start + across])) * _LINE_HEIGHT + _NAME_HEIGHT
        for start in range(0, len(info.columns), across)
    ]
    tops = [0.0, *accumulate(panels + labels + _BLOCK_GAP for labels in under[:-1])]
    height = tops[-1] + panels
    panel = (inner - (across - 1) * _GAP_ACROSS) / across
    layout: dict[str, Any] = {}
    for (at, column), (row, place) in product(enumerate(info.columns), enumerate(info.shown)):
        number = axis_number(at * rows + row)
        left = (at % across) * (panel + _GAP_ACROSS)
        top = tops[at // across] + row * (_PANEL_HEIGHT + _GAP_DOWN)
        last, first = row == rows - 1, at % across == 0
        metric = info.objectives[place].metric
        size = {"size": SMALL_SIZE}
        layout[f"xaxis{number}"] = param_axis(column) | {
            "domain": [left / inner, min((left + panel) / inner, 1)],
            "anchor": f"y{number}",
            "showticklabels": last,
            "title": {"text": _named(info, at, names) if last else "", "standoff": 6, "font": size},
            **({} if row == 0 else {"matches": f"x{axis_number(at * rows)}"}),
        }
        layout[f"yaxis{number}"] = metric_axis(metric, titled=False) | {
            "domain": [max(1 - (top + _PANEL_HEIGHT) / height, 0), 1 - top / height],
            "anchor": f"x{number}",
            "range": [windows[place].low, windows[place].high],
            "showgrid": True,
            "showticklabels": first,
            "tickfont": {"size": SMALL_SIZE},
            "nticks": 6,
            "title": {
                "text": broken(metric_label(metric), 22, 2) if first else "",
                "standoff": 6,
                "font": size,
            },
            **({} if at == 0 else {"matches": f"y{axis_number(row)}"}),
        }
    return layout, height, under[-1]


def _named(info: ParametersInfo, at: int, names: list[str]) -> str:
    """A parameter's name; of how many trials its panel is where some do not have it; the rows of
    its dots."""
    column = info.columns[at]
    there = sum(value is not None for value in column.values)
    name = plain_text(names[at]) + f" (n = {there})" * (there < len(info.points))
    dots = dots_text(column)
    return f"{name}, top down:<br>{plain_text(dots)}" if dots else name


def _window(info: ParametersInfo, place: int) -> Window:
    """The range of an objective's axis, in which the front and the baseline are.

    Args:
        place: of the objective in `info.objectives`.
    """
    scores = info.values[:, place]
    baseline = [of_all[place] for name, of_all in info.references.items() if name == "baseline"]
    return scores_window(info.objectives[place], scores, [*scores[info.is_on_front], *baseline])


def _legend(
    info: ParametersInfo, groups: list[_Group], windows: dict[int, Window]
) -> list[Scatter]:
    """Entries of the sets of terms with their trials inside the axes of a row, of what is faint,
    and of the baseline: traces without a point."""
    rows = [is_inside(info.values, {place: window}) for place, window in windows.items()]
    inside = np.logical_or.reduce(rows)
    count = Counter[str]()
    for group in groups:
        count[group.style.label] += int(inside[group.places].sum())
    styles = {group.style.label: group.style for group in groups if count[group.style.label]}
    entries = [
        Scatter(
            name=f"{plain_text(label)} ({count[label]})",
            legendgroup=label,
            mode="markers",
            marker=trial_marker(style, on_front=True, size=10),
        )
        for label, style in sorted(styles.items())
    ]
    if not all(group.on_front for group in groups):
        faint = trial_marker(TermsStyle("", INK, "circle"), on_front=False, size=10)
        off = "dominated" if len(info.objectives) > 1 else "not the best"
        if len(info.objectives) > 1 and any(point.violation for point in info.points):
            off = "off the front"
        name = f"Faint: {off}"
        entries.append(Scatter(name=name, mode="markers", marker=faint))
    if "baseline" in info.references:
        entries.append(Scatter(name="Baseline", mode="lines", line=_BASELINE))
    empty = {"x": [None], "y": [None], "showlegend": True, "hoverinfo": "skip"}
    return [entry.update(empty) for entry in entries]


def _facts(
    info: ParametersInfo,
    places: NDArray[np.int64],
    left_out: list[str],
    windows: dict[int, Window],
) -> list[str]:
    """The basis of the numbers, what is not shown, and how to read the figure."""
    points = [info.points[place] for place in places]
    said = basis_facts(info)
    if len(info.columns) < len(info.keys):
        said.append(f"{len(info.columns)} of {len(info.keys)} parameters")
    if len(info.shown) > 1:  # else it was asked for
        said += objectives_facts(len(info.shown), len(info.objectives))
    said += left_out
    said += outside_facts([point.values for point in points], windows, "trial")
    return said + dots_facts(info.columns, info.keys)


def _baseline_lines(info: ParametersInfo, windows: dict[int, Window]) -> Iterator[dict[str, Any]]:
    baseline = info.references.get("baseline")
    for at, (row, place) in product(range(len(info.columns)), enumerate(info.shown)):
        if baseline is None or not windows[place].contains(baseline[place]):
            continue
        number = axis_number(at * len(info.shown) + row)
        yield {
            "type": "line",
            "xref": f"x{number} domain",
            "yref": f"y{number}",
            "x0": 0,
            "x1": 1,
            "y0": baseline[place],
            "y1": baseline[place],
            "line": _BASELINE,
            "layer": "below",
        }


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ParametersInfo:
    return parameters_info(
        the_search(sources, "slice").record,
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
    width=900,
)
