"""A mix of two parts, or of many: score against each ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.analysis.fence import fenced
from ablate.analysis.metrics import is_accuracy, metric_split
from ablate.analysis.mix import MixInfo, MixPoint
from ablate.report.figures.parts.parameter_axis import shortened
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import (
    DOMINATED_OPACITY,
    FONT_SIZE,
    INK,
    TermsStyle,
    base_axis,
    terms_style,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter, Scattergl

MANY_POINTS = 2000


def draw_panels(info: MixInfo) -> Figure:
    """One panel of two parts, whose ratios say the same; else one a part, with one score axis."""
    from plotly.subplots import make_subplots

    parts = info.parts[:1] if len(info.parts) == 2 else info.parts
    columns = 4 if len(parts) > 4 else min(max(len(parts), 1), 2)
    rows = -(-len(parts) // columns) or 1
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes="all",
        horizontal_spacing=0.08 if columns == 2 else 0.04,
        vertical_spacing=0.3 / rows,
    )
    figure.update_xaxes(base_axis() | {"visible": False})
    figure.update_yaxes(base_axis() | _score_axis(info) | {"visible": False})
    for at, part in enumerate(parts):
        row, column = at // columns + 1, at % columns + 1
        figure.add_traces(_traces(info, at, in_legend=at == 0), rows=row, cols=column)
        name = plain_text(f"Share of {shortened(part, 18)}")
        figure.update_xaxes(
            visible=True,
            range=[-0.04, 1.04],
            tickformat=".0%",
            nticks=5,
            title={"text": name, "font": {"size": FONT_SIZE}},
            row=row,
            col=column,
        )
        figure.update_yaxes(visible=True, row=row, col=column)
    for row in range(1, rows + 1):
        figure.update_yaxes(title=_score_title(info), row=row, col=1)
    return figure


def _traces(info: MixInfo, part: int, *, in_legend: bool) -> list[Scatter] | list[Scattergl]:
    """Of each set of terms the dominated trials, then over them all those on the front."""
    from plotly.graph_objects import Scatter, Scattergl

    by_style: dict[TermsStyle, list[MixPoint]] = {}
    for point in info.points:
        by_style.setdefault(terms_style(point.loss_terms), []).append(point)
    kind = Scattergl if len(info.points) > MANY_POINTS else Scatter
    form = ".1%" if is_accuracy(info.metric) else ".4g"
    label = plain_text(metric_label(info.metric))
    traces = []
    for on_front in (False, True):
        for style in sorted(by_style, key=lambda style: style.label):
            points = [point for point in by_style[style] if point.on_front is on_front]
            if not points:
                continue
            is_named = on_front or not any(point.on_front for point in by_style[style])
            head = "<b>Trial %{customdata}</b>" + ", on the front" * on_front
            share = f"{plain_text(info.parts[part])}: %{{x:.0%}}"
            traces.append(
                kind(
                    x=np.array([point.ratios[part] for point in points], dtype=np.float32),
                    y=np.array([point.score for point in points], dtype=np.float32),
                    mode="markers",
                    name=plain_text(f"{style.label} ({len(by_style[style])})"),
                    legendgroup=style.label,
                    showlegend=in_legend and is_named,
                    marker={
                        "color": style.color,
                        "symbol": style.symbol,
                        "size": 11 if on_front else 8,
                        "opacity": 1 if on_front else DOMINATED_OPACITY,
                        "line": {"color": INK if on_front else style.color, "width": 1},
                    },
                    customdata=[point.number for point in points],
                    hovertemplate=f"{head}<br>{share}<br>{label}: %{{y:{form}}}<extra></extra>",
                )
            )
    return traces


def _score_axis(info: MixInfo) -> dict[str, Any]:
    axis: dict[str, Any] = {"tickformat": ".3~%"} if is_accuracy(info.metric) else {}
    scores = np.array([point.score for point in info.points])
    if len(scores):
        inside = scores[scores == fenced(scores, maximize=info.direction == "maximize")]
        low, high = float(inside.min()), float(inside.max())
        pad = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
        axis["range"] = [low - pad, high + pad]
    return axis


def _score_title(info: MixInfo) -> dict[str, Any]:
    split = metric_split(info.metric)
    label = metric_label(info.metric) + (f" ({split})" if split else "")
    return {"text": plain_text(label), "standoff": 8, "font": {"size": FONT_SIZE}}
