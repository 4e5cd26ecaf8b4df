"""The Pareto figure: robust against clean accuracy, and what the search attained.

A point is a complete trial, its colour and mark are its loss terms (`report.style`), faint where
another trial dominates it. The step line is the border of what is attained; the baseline and the
plain finetune stand in black. With more than two objectives each pair has a panel, axes linked,
and each panel's step line is the front of its own plane; full colour stays with the trials on the
front of all objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ablate.analysis.dominance import staircase
from ablate.analysis.metrics import is_accuracy, metric_split
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, pareto_info
from ablate.report.figures.canvas import COLUMN_PIXELS, finish
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.heading import basis_meta, facts
from ablate.report.figures.hover import point_hover, reference_hover
from ablate.report.figures.window import Window, axis_window
from ablate.report.numbers import metric_label, plain_text
from ablate.report.source import StudySource
from ablate.report.style import (
    DOMINATED_OPACITY,
    FAINT_INK,
    FONT_SIZE,
    INK,
    TermsStyle,
    base_axis,
    terms_style,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

REFERENCES = {
    "baseline": ("Baseline", "star"),
    "plain": ("Plain finetune", "x-thin"),
}
_GRID_PANEL_PIXELS = (380, 330)


def plot_pareto(info: ParetoInfo) -> Figure:
    """Draw a study's front.

    Args:
        info: of two objectives or more; the first is the x axis. May be without a point: the
            references are drawn, and a line says that no trial is complete.

    Returns:
        A figure that fills its page; as an image it is made for one column of print, or two
        where there are several panels. `layout.meta` holds the study's name, fingerprint, split,
        images, seed and N.
    """
    count = len(info.objectives)
    from plotly.subplots import make_subplots

    side = count - 1
    figure = make_subplots(
        rows=side,
        cols=side,
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=0.06,
        vertical_spacing=0.06,
        specs=[[{} if column <= row else None for column in range(side)] for row in range(side)],
    )
    windows = [axis_window(info, objective) for objective in range(count)]
    for x, y in combinations(range(count), 2):
        first = (x, y) == (0, 1)
        traces = [_front_line(info, x, y, windows, first)]
        traces += _point_traces(info, x, y, first)
        traces += _reference_traces(info, x, y, windows, first)
        figure.add_traces(traces, rows=y, cols=x + 1)
        figure.update_xaxes(_axis(info, x, windows[x], y == side), row=y, col=x + 1)
        figure.update_yaxes(_axis(info, y, windows[y], x == 0), row=y, col=x + 1)
        _add_baseline_lines(figure, info, x, y)
    panel = COLUMN_PIXELS if side == 1 else _GRID_PANEL_PIXELS
    return finish(
        figure,
        title=info.question or f"Pareto front of {info.study}",
        facts=facts(info, windows),
        meta=basis_meta(info, "Pareto front"),
        pixels=(side * panel[0], side * panel[1]),
        nothing="" if info.points else "no complete trial yet",
    )


def _front_line(
    info: ParetoInfo, x: int, y: int, windows: list[Window], in_legend: bool
) -> Scatter:
    from plotly.graph_objects import Scatter

    line_x, line_y = staircase(
        [point.values[x] for point in info.points],
        [point.values[y] for point in info.points],
        (info.objectives[x], info.objectives[y]),
        (windows[x].worst, windows[y].worst),
    )
    return Scatter(
        x=line_x,
        y=line_y,
        mode="lines",
        name="Front",
        legendgroup="front",
        legendrank=1,
        showlegend=in_legend and bool(line_x),
        line={"color": INK, "width": 1.5},
        hoverinfo="skip",
    )


def _point_traces(info: ParetoInfo, x: int, y: int, in_legend: bool) -> list[Scatter]:
    """Two traces a set of loss terms: the dominated trials, then over them those on the front."""
    from plotly.graph_objects import Scatter

    by_style: dict[TermsStyle, list[ParetoPoint]] = {}
    for point in info.points:
        by_style.setdefault(terms_style(point.loss_terms), []).append(point)
    dominated: list[Scatter] = []
    front: list[Scatter] = []
    for rank, style in enumerate(sorted(by_style, key=lambda style: style.label)):
        points = by_style[style]
        for on_front, traces in ((False, dominated), (True, front)):
            drawn = [point for point in points if point.on_front is on_front]
            if not drawn:
                continue
            traces.append(
                Scatter(
                    x=[point.values[x] for point in drawn],
                    y=[point.values[y] for point in drawn],
                    mode="markers",
                    name=f"{plain_text(style.label)} ({len(points)})",
                    legendgroup=style.label,
                    legendrank=3 + rank,
                    showlegend=in_legend
                    and (on_front or not any(point.on_front for point in points)),
                    marker={
                        "color": style.color,
                        "symbol": style.symbol,
                        "size": 11 if on_front else 9,
                        "opacity": 1 if on_front else DOMINATED_OPACITY,
                        "line": {"color": INK if on_front else style.color, "width": 1},
                    },
                    customdata=[point.number for point in drawn],
                    hovertext=[point_hover(info, point) for point in drawn],
                    hoverinfo="text",
                )
            )
    return dominated + front


def _reference_traces(
    info: ParetoInfo, x: int, y: int, windows: list[Window], in_legend: bool
) -> list[Scatter]:
    from plotly.graph_objects import Scatter

    traces = []
    for name, (label, symbol) in REFERENCES.items():
        values = info.references.get(name)
        if values is None or not (
            windows[x].contains(values[x]) and windows[y].contains(values[y])
        ):
            continue
        traces.append(
            Scatter(
                x=[values[x]],
                y=[values[y]],
                mode="markers",
                name=label,
                legendgroup=name,
                legendrank=2,
                showlegend=in_legend,
                marker={
                    "color": INK,
                    "symbol": symbol,
                    "size": 12 if name == "baseline" else 9,
                    "line": {"color": INK, "width": 0 if name == "baseline" else 2.5},
                },
                hovertext=[reference_hover(info, name, label)],
                hoverinfo="text",
                cliponaxis=False,
            )
        )
    return traces


def _add_baseline_lines(figure: Figure, info: ParetoInfo, x: int, y: int) -> None:
    """Dotted lines through the baseline: right of one and above the other is a gain in both."""
    baseline = info.references.get("baseline")
    if baseline is None:
        return
    look: dict[str, Any] = {
        "line": {"color": FAINT_INK, "width": 1, "dash": "dot"},
        "layer": "below",
        "row": y,
        "col": x + 1,
    }
    if not math.isnan(baseline[x]):
        figure.add_vline(baseline[x], **look)
    if not math.isnan(baseline[y]):
        figure.add_hline(baseline[y], **look)


def _axis(info: ParetoInfo, objective: int, window: Window, titled: bool) -> dict[str, Any]:
    metric = info.objectives[objective].metric
    split = metric_split(metric)
    axis = base_axis() | {"range": [window.low, window.high]}
    if is_accuracy(metric):
        axis["tickformat"] = ".3~%"
    if titled:
        label = f"{metric_label(metric)} ({split})" if split else metric_label(metric)
        axis["title"] = {"text": plain_text(label), "standoff": 8, "font": {"size": FONT_SIZE}}
    return axis


def _read(sources: Sequence[StudySource], _: FigureOptions) -> ParetoInfo:
    return pareto_info(the_search(sources, "pareto").record)


FIGURE = FigureKind(
    name="pareto",
    title="Pareto front",
    says="Each mark is a complete trial; what lies under the steps is attained.",
    read=_read,
    draw=plot_pareto,
)
