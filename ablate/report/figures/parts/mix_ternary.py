"""A mix of three parts, as a triangle."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.analysis.fence import fenced
from ablate.analysis.metrics import is_accuracy
from ablate.analysis.mix import MixInfo, MixPoint
from ablate.report.figures.parts.parameter_axis import shortened
from ablate.report.figures.parts.window import LEAST_ACCURACY_SPAN, LEAST_SPAN_FRACTION
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    GRID,
    INK,
    PAPER,
    SEQUENTIAL,
    TermsStyle,
    terms_style,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatterternary

MOST_POINTS = 1000
"""Drawn: more hide one another, and plotly has no WebGL for a triangle."""
_MARK_PIXELS = ((150, 9), (500, 7))
"""Up to how many points a mark is how large; of more 5."""
_CORNERS = "abc"
_SEED = 0


def draw_ternary(info: MixInfo) -> Figure:
    """The triangle, its colour bar, and in the legend the mark of each set of terms."""
    from plotly.graph_objects import Figure

    by_style: dict[TermsStyle, list[MixPoint]] = {}
    for point in _drawn(info.points):
        by_style.setdefault(terms_style(point.loss_terms), []).append(point)
    counts: dict[TermsStyle, int] = {}
    for point in info.points:
        style = terms_style(point.loss_terms)
        counts[style] = counts.get(style, 0) + 1
    styles = sorted(by_style, key=lambda style: style.label)
    figure = Figure([_nothing_there()])
    for on_front in (False, True):
        figure.add_traces([_points(info, style, by_style[style], on_front) for style in styles])
    figure.add_traces([_swatch(style, counts[style]) for style in styles])
    figure.update_layout(ternary=_triangle(info.parts), coloraxis=_colors(info))
    return figure


def _drawn(points: tuple[MixPoint, ...]) -> list[MixPoint]:
    if len(points) <= MOST_POINTS:
        return list(points)
    # A stable sort of a random order: all of the front, then others by chance.
    order = np.random.default_rng(_SEED).permutation(len(points)).tolist()
    order.sort(key=lambda at: not points[at].on_front)
    return [points[at] for at in sorted(order[:MOST_POINTS])]


def _nothing_there() -> Scatterternary:
    """Without a trace plotly draws no triangle."""
    from plotly.graph_objects import Scatterternary

    return Scatterternary(a=[], b=[], c=[], showlegend=False)


def _points(
    info: MixInfo, style: TermsStyle, points: list[MixPoint], on_front: bool
) -> Scatterternary:
    from plotly.graph_objects import Scatterternary

    of_kind = [point for point in points if point.on_front is on_front]
    ratios = np.array([point.ratios for point in of_kind], dtype=np.float32).reshape(-1, 3)
    form = ".1%" if is_accuracy(info.metric) else ".4g"
    size = next((size for most, size in _MARK_PIXELS if len(info.points) <= most), 5)
    lines = ["<b>Trial %{customdata}</b>" + ", on the front" * on_front]
    lines += [
        f"{plain_text(part)}: %{{{axis}:.0%}}"
        for part, axis in zip(info.parts, _CORNERS, strict=True)
    ]
    lines.append(f"{plain_text(metric_label(info.metric))}: %{{marker.color:{form}}}")
    return Scatterternary(
        **{axis: ratios[:, at] for at, axis in enumerate(_CORNERS)},
        mode="markers",
        marker={
            "color": np.array([point.score for point in of_kind], dtype=np.float32),
            "coloraxis": "coloraxis",
            "symbol": style.symbol,
            "size": size + 5 if on_front else size,
            "line": {"color": INK if on_front else PAPER, "width": 2 if on_front else 0.5},
        },
        customdata=[point.number for point in of_kind],
        hovertemplate="<br>".join(lines) + "<extra></extra>",
        cliponaxis=False,
        showlegend=False,
    )


def _swatch(style: TermsStyle, count: int) -> Scatterternary:
    from plotly.graph_objects import Scatterternary

    return Scatterternary(
        a=[None],
        b=[None],
        c=[None],
        mode="markers",
        name=plain_text(f"{style.label} ({count})"),
        marker={"color": FAINT_INK, "symbol": style.symbol, "size": 10},
        showlegend=True,
    )


def _triangle(parts: tuple[str, ...]) -> dict[str, Any]:
    axis = {
        "tickvals": [0.2, 0.4, 0.6, 0.8],
        "tickformat": ".0%",
        "gridcolor": GRID,
        "linecolor": INK,
        "linewidth": 1,
        "ticks": "outside",
        "ticklen": 4,
        "tickfont": {"size": FONT_SIZE - 2},
    }
    names = [plain_text(shortened(part, 18)) for part in parts]
    # Room for the upper corner's name, which plotly puts outside.
    return {"sum": 1, "bgcolor": PAPER, "domain": {"y": [0, 0.9]}} | {
        f"{corner}axis": axis | {"title": {"text": name, "font": {"size": FONT_SIZE}}}
        for corner, name in zip(_CORNERS, names, strict=True)
    }


def _colors(info: MixInfo) -> dict[str, Any]:
    scores = fenced([point.score for point in info.points], maximize=info.direction == "maximize")
    label = "<br>".join(map(plain_text, textwrap.wrap(metric_label(info.metric), 12)))
    colors: dict[str, Any] = {
        "colorscale": SEQUENTIAL,
        "reversescale": info.direction == "minimize",
        "showscale": len(scores) > 0,
        "colorbar": {
            "title": {"text": f"{label}<br> ", "side": "top", "font": {"size": FONT_SIZE}},
            "thickness": 14,
            "len": 0.8,
            "y": 0.45,
            "outlinewidth": 0,
            **({"tickformat": ".3~%"} if is_accuracy(info.metric) else {}),
        },
    }
    if len(scores):
        low, high = float(scores.min()), float(scores.max())
        least = LEAST_ACCURACY_SPAN if is_accuracy(info.metric) else LEAST_SPAN_FRACTION * abs(high)
        missing = max((least or 1.0) - (high - low), 0.0) / 2
        most = 1.0 if is_accuracy(info.metric) else math.inf
        colors |= {"cmin": low - missing, "cmax": min(high + missing, most)}
    return colors
