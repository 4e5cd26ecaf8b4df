"""The mix figure: what the trials score, by the ratios in which they mix.

Three parts make a triangle, each corner one part alone, coloured by score; two parts or more than
three make panels of score against one ratio each, coloured by loss terms.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.ablation.study_source import StudySource
from ablate.analysis.bounds import fenced
from ablate.analysis.mix import MixInfo, MixPoint, mix_info
from ablate.analysis.objectives import is_accuracy, objective_place
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    WIDE_PIXELS,
    basis_facts,
    basis_meta,
    finish,
    metric_axis,
)
from ablate.report.figures.parts.point_hover import score_template
from ablate.report.figures.parts.window import (
    LEAST_ACCURACY_SPAN,
    LEAST_SPAN_FRACTION,
    scores_window,
)
from ablate.report.numbers import metric_label, metric_words, plain_text, shortened
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    GRID,
    INK,
    PAPER,
    SEQUENTIAL,
    TermsStyle,
    base_axis,
    terms_style,
    trial_marker,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter, Scattergl, Scatterternary


_PANEL_PIXELS = 240
_TRIANGLE_RIGHT = 108
"""Margin for the colour bar."""


def plot_mix(info: MixInfo) -> Figure:
    """Draw a mix.

    Args:
        info: without a trial it is said that there is none.

    Returns:
        A figure of one column of print; of five parts or more of two columns.
    """
    count = len(info.parts)
    is_triangle = count == 3
    figure = draw_ternary(info) if is_triangle else draw_panels(info)
    width, height = WIDE_PIXELS if count > 4 else COLUMN_PIXELS
    if count > 3:
        height = 220 + _PANEL_PIXELS * -(-count // (4 if count > 4 else 2))
    return finish(
        figure,
        title=info.question or f"{info.key} of {info.study}",
        facts=_facts(info, is_triangle=is_triangle),
        meta=basis_meta(FIGURE.title, info),
        pixels=(width, height),
        **({"left": 60, "right": _TRIANGLE_RIGHT} if is_triangle else {}),
        nothing="" if info.points else "no complete trial yet",
    )


def _facts(info: MixInfo, *, is_triangle: bool) -> list[str]:
    said = basis_facts(info, complete=len(info.points))
    if info.points:
        said.append("ringed: on the front of all objectives")
        said.append("trials differ in more than their mix")
        said.append(f"ratios: {info.key}")
    if is_triangle and info.points:
        said.append(f"colour: {metric_words(info.metric)}")
        scores = np.array([point.score for point in info.points])
        beyond = int((scores != fenced(scores, maximize=info.direction == "maximize")).sum())
        said += [f"{beyond} beyond the colours, in that of their worse end"] if beyond else []
    if is_triangle and len(info.points) > MOST_POINTS:
        said.append(f"{MOST_POINTS:,} trials drawn: those on the front, others at random")
    if info.not_finite:
        said.append(f"{info.not_finite} with a value that is not a number")
    if info.others:
        said.append(f"other mixes: {', '.join(info.others)}")
    return said


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


# -- A mix of three parts, as a triangle ---------------------------------------------------


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


# -- A mix of two parts, or of many: score against each ratio ------------------------------


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
    axis = metric_axis(info.metric)
    if info.points:
        window = scores_window(info, [point.score for point in info.points])
        axis["range"] = [window.low, window.high]
    figure.update_yaxes(axis | {"visible": False, "title": None})
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
        figure.update_yaxes(title=axis["title"], row=row, col=1)
    return figure


def _traces(info: MixInfo, part: int, *, in_legend: bool) -> list[Scatter] | list[Scattergl]:
    """Of each set of terms the dominated trials, then over them all those on the front."""
    from plotly.graph_objects import Scatter, Scattergl

    by_style: dict[TermsStyle, list[MixPoint]] = {}
    for point in info.points:
        by_style.setdefault(terms_style(point.loss_terms), []).append(point)
    kind = Scattergl if len(info.points) > MANY_POINTS else Scatter
    score = score_template(info.metric, "y")
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
                    marker=trial_marker(style, on_front, 11 if on_front else 8),
                    customdata=[point.number for point in points],
                    hovertemplate=f"{head}<br>{share}<br>{score}<extra></extra>",
                )
            )
    return traces
