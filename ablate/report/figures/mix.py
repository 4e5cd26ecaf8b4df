"""The mix figure: what the trials score, by the ratios in which they mix three parts.

A triangle, each corner one part alone, coloured by score.  The score against one ratio, of a mix of
any number of parts, is in the slice figure.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatterternary

from ablate.ablation.study_source import StudySource
from ablate.analysis.mix import MixInfo, MixPoint, mix_info
from ablate.analysis.objectives import front_words, is_accuracy, objective_place
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    NO_TRIAL,
    basis_facts,
    basis_meta,
    finish,
    violating_facts,
)
from ablate.report.figures.parts.point_hover import score_template
from ablate.report.figures.parts.window import (
    drawn_facts,
    front_first,
    least_span,
)
from ablate.report.numbers import metric_label, metric_words, plain_text, shortened
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    GRID,
    INK,
    PAPER,
    SEQUENTIAL,
    SMALL_SIZE,
    TermsStyle,
    terms_style,
)

_LEFT, _RIGHT = 44, 104
"""Margins; the right one holds the colour bar."""
_INSIDE_PIXELS, _LEAST_INSIDE = 250, 130
_MOST_POINTS = 1000
"""Drawn: more hide one another, and plotly has no WebGL for a triangle."""
_MARK_PIXELS = ((150, 9), (500, 7))
"""Up to how many points a mark is how large; of more 5."""
_CORNERS = "abc"


def plot_mix(info: MixInfo) -> Figure:
    """Draw a mix of three parts.

    Args:
        info: without trials the figure says so.

    Returns:
        A figure for one column of print: the triangle, its colour bar, and in the legend the mark
        of each set of terms.
    """
    by_style: dict[TermsStyle, list[MixPoint]] = {}
    drawn = front_first([point.on_front for point in info.points], _MOST_POINTS)
    for point in (info.points[at] for at in drawn):
        by_style.setdefault(terms_style(point.loss_terms), []).append(point)
    counts = Counter(terms_style(point.loss_terms) for point in info.points)
    styles = sorted(by_style, key=lambda style: style.label)
    figure = Figure([_nothing_there()])
    for on_front in (False, True):
        figure.add_traces([_points(info, style, by_style[style], on_front) for style in styles])
    figure.add_traces([_swatch(style, counts[style]) for style in styles])
    if styles:
        best = TermsStyle(front_words(info.objectives).capitalize(), PAPER, "circle")
        figure.add_trace(_swatch(best, None))
    figure.update_layout(ternary=_triangle(info.parts), coloraxis=_colors(info))
    return finish(
        figure,
        title=f"{info.key} of {info.study}",
        facts=_facts(info),
        meta=basis_meta(FIGURE.title, info),
        inside=_INSIDE_PIXELS,
        least=_LEAST_INSIDE,
        left=_LEFT,
        right=_RIGHT,
        nothing="" if info.points else NO_TRIAL,
    )


def _facts(info: MixInfo) -> list[str]:
    said = basis_facts(info, complete=len(info.points))
    if len(info.points) < info.complete:
        said[0] = said[0].replace("trials complete", f"trials complete with {info.key}")
    said += violating_facts([info])
    if info.points:
        said.append("trials differ in more than their mix")
        said.append(f"ratios: {info.key}")
        said.append(f"colour: {metric_words(info.metric)}")
        low, high = info.color_range
        beyond = sum(not low <= point.score <= high for point in info.points)
        said += [f"{beyond} of the worst in the colour of that end"] if beyond else []
    said += drawn_facts(info, len(info.points), _MOST_POINTS)
    if info.not_finite:
        said.append(f"{info.not_finite} with a value that is not a number")
    if info.others:
        said.append(f"other mixes: {', '.join(info.others)}")
    return said


def _nothing_there() -> Scatterternary:
    """Without a trace plotly draws no triangle."""
    return Scatterternary(a=[], b=[], c=[], showlegend=False)


def _points(
    info: MixInfo, style: TermsStyle, points: list[MixPoint], on_front: bool
) -> Scatterternary:
    of_kind = [point for point in points if point.on_front is on_front]
    ratios = np.array([point.ratios for point in of_kind], dtype=np.float32).reshape(-1, 3)
    size = next((size for most, size in _MARK_PIXELS if len(info.points) <= most), 5)
    lines = ["<b>Trial %{customdata}</b>" + f", {front_words(info.objectives)}" * on_front]
    lines += [
        f"{plain_text(part)}: %{{{axis}:.0%}}"
        for part, axis in zip(info.parts, _CORNERS, strict=True)
    ]
    lines.append(score_template(info.metric, "marker.color"))
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


def _swatch(style: TermsStyle, count: int | None) -> Scatterternary:
    """A legend entry; one without a count is a ring."""
    ring = {"color": PAPER, "line": {"color": INK, "width": 2}}
    return Scatterternary(
        a=[None],
        b=[None],
        c=[None],
        mode="markers",
        name=plain_text(style.label if count is None else f"{style.label} ({count})"),
        marker={"color": FAINT_INK, "symbol": style.symbol, "size": 10}
        | (ring if count is None else {}),
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
        "tickfont": {"size": SMALL_SIZE},
    }
    names = [plain_text(shortened(part, 18)) for part in parts or ("",) * 3]
    # Room for the upper corner's name, which plotly puts outside.
    return {"sum": 1, "bgcolor": PAPER, "domain": {"y": [0, 0.86]}} | {
        f"{corner}axis": axis | {"title": {"text": name, "font": {"size": FONT_SIZE}}}
        for corner, name in zip(_CORNERS, names, strict=True)
    }


def _colors(info: MixInfo) -> dict[str, Any]:
    label = "<br>".join(map(plain_text, textwrap.wrap(metric_label(info.metric), 12)))
    colors: dict[str, Any] = {
        "colorscale": SEQUENTIAL,
        "reversescale": info.direction == "minimize",
        "showscale": bool(info.points),
        "colorbar": {
            "title": {"text": f"{label}<br> ", "side": "top", "font": {"size": FONT_SIZE}},
            "thickness": 14,
            "len": 0.8,
            "y": 0.45,
            "outlinewidth": 0,
            **({"tickformat": ".3~%"} if is_accuracy(info.metric) else {}),
        },
    }
    if info.points:
        low, high = info.color_range
        missing = max(least_span(info.metric, np.array([low, high])) - (high - low), 0.0) / 2
        most = 1.0 if is_accuracy(info.metric) else math.inf
        colors |= {"cmin": low - missing, "cmax": min(high + missing, most)}
    return colors


def _read(sources: Sequence[StudySource], options: FigureOptions) -> MixInfo:
    record = the_search(sources, "mix").record
    place = objective_place(options.objective, record.study.objectives)
    return mix_info(record, place, options.params)


FIGURE = FigureKind(
    name="mix",
    title="Mix of augmentations",
    says="The position of a trial shows its mix; a corner of a triangle is one part alone. The "
    "colour shows the score.",
    read=_read,
    draw=plot_mix,
    takes=("params", "objective"),
)
