"""What the factors of an ablation do alone and together: their effects, and the means behind them.

Above, main effects and interactions with their intervals; below, two factors a panel: lines that
are not parallel are an interaction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.components import WITH, WITHOUT
from ablate.ablation.designs.factorial import Crossing
from ablate.ablation.figure_infos import InteractionsInfo, interactions_info
from ablate.ablation.intervals import Estimate
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.report.effects import effects_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import (
    EMPTY_PIXELS,
    NOT_YET,
    ablation_facts,
    ablation_meta,
    asked_metric,
    finite_or_none,
    interval_bars,
    left_out_text,
    stacked,
    wrapped,
)
from ablate.report.figures.parts.canvas import (
    BOTTOM,
    COLUMN_PIXELS,
    LEFT,
    RIGHT,
    WIDE_PIXELS,
    finish,
    metric_axis,
)
from ablate.report.figures.parts.names import add_line_labels
from ablate.report.figures.parts.rows import add_forest, cut_rows, forest_height, forest_rows
from ablate.report.figures.parts.window import metric_range
from ablate.report.numbers import metric_text, plain_text, short_names
from ablate.report.style import (
    DASHES,
    FONT_SIZE,
    INK,
    SERIES,
    SYMBOLS,
    base_axis,
)

_GAP = 78
"""Between two panels, in pixels: ticks of two lines and a title."""
_PANEL, _LABELS, _TICKS = 190, 112, 58
"""Of a crossing in pixels: its height; the room right of it, and left of all but the first."""
_MOST_CROSSINGS, _MOST = 12, 1300
"""Crossings, and pixels of effects."""
_WIDTHS = (COLUMN_PIXELS[0], 680, WIDE_PIXELS[0])
"""Of so many crossings beside one another."""


def plot_interactions(info: InteractionsInfo) -> Figure:
    """Draw the effects of factors, and a panel for each pair of them.

    Args:
        info: on one metric; without finished runs the figure says so.

    Returns:
        A figure for one column of print, or two for several pairs; the twelve with the largest
        interactions are drawn.
    """
    shown = info.strongest(_MOST_CROSSINGS)
    columns = max(1, min(len(_WIDTHS), len(shown)))
    width = _WIDTHS[columns - 1]
    rows = forest_rows(info.effects, info.metric)
    left_out = cut_rows({info.metric: rows}, _MOST)
    lines = -(-len(shown) // columns)
    domains, inside = stacked([forest_height(rows) or EMPTY_PIXELS, *[_PANEL] * lines], _GAP)
    figure = Figure()
    room = width - LEFT - RIGHT
    if rows:
        add_forest(figure, info.effects, info.metric, rows, domains[0])
    else:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    means = [one for crossing in shown for line in crossing.means for one in line]
    ends = [end for one in means for end in (one.low, one.mean, one.high)]
    window = metric_range(info.metric, ends)
    for place, crossing in enumerate(shown):
        line, column = divmod(place, columns)
        low = (column * room / columns + _TICKS * bool(column)) / room
        high = ((column + 1) * room / columns - _LABELS) / room
        add_crossing(
            figure, info.metric, crossing, window, (low, high), domains[1 + line], place + 2
        )
    return finish(
        figure,
        title=f"Interactions in {info.ablation.study}",
        facts=_facts(info, len(shown), left_out),
        meta=ablation_meta(info.ablation, "Interactions"),
        pixels=(width, 0),
        inside=inside,
        bottom=BOTTOM + 10,
        nothing="" if figure.data else NOT_YET,
    )


def _facts(info: InteractionsInfo, shown: int, left_out: int) -> list[str]:
    facts = ablation_facts(
        info.ablation, effects_notes(info.ablation, info.effects.effects, of_figure=True)
    )
    if shown:
        facts.append(
            "panels: means over seeds and all other factors; bars: 95 % interval over seeds"
        )
    if shown < len(info.crossings):
        facts.append(f"the {shown} largest of {len(info.crossings)} interactions as panels")
    return [*facts, left_out_text(left_out)] if left_out else facts


def _read(sources: Sequence[StudySource], options: FigureOptions) -> InteractionsInfo:
    ablation = the_ablation(sources, "interactions")
    metric = ablation.rank_metric
    if options.objective:
        metric = asked_metric(ablation, options.objective)
    record = sources[0].record
    info = interactions_info(record, ablation, metric)
    if info is None:
        raise NothingToDrawError(
            record.name,
            "interactions",
            f"needs main effects and interactions, got design {ablation.design} without",
            "Write design: factorial, or draw effects.",
        )
    return info


FIGURE = FigureKind(
    name="interactions",
    title="Interactions",
    says="Effect of each factor, and interactions of two factors: lines that are not parallel.",
    read=_read,
    draw=plot_interactions,
    takes=("objective",),
)


# -- A panel of two factors: a metric at the levels of the one, a line a level of the other


Span = tuple[float, float]
_APART = 0.05
"""Between two lines at the same level, in levels: their intervals stand side by side."""


def add_crossing(  # noqa: PLR0917 (what is drawn, and where)
    figure: Figure,
    metric: str,
    crossing: Crossing,
    window: Span,
    across: Span,
    domain: Span,
    number: int,
) -> None:
    """Draw one crossing into new axes; the factor with more levels is along x.

    Args:
        window: of the metric; across, domain: of the axes on the paper; number: of both axes.
    """
    short = short_names([crossing.first, crossing.second])
    along, lines = (
        (crossing.first, crossing.first_levels),
        (crossing.second, crossing.second_levels),
    )
    means = crossing.means
    if len(lines[1]) > len(along[1]):
        along, lines, means = lines, along, tuple(zip(*means, strict=True))
    ends = []
    for place, level in enumerate(lines[1]):
        found = [line[place] for line in means]
        shift = _APART * (place - (len(lines[1]) - 1) / 2)
        name = _level_text(short[lines[0]], level)
        figure.add_trace(
            Scatter(
                x=[at + shift for at in range(len(found))],
                y=[finite_or_none(one.mean) for one in found],
                mode="lines+markers",
                showlegend=False,
                line={
                    "color": SERIES[place % len(SERIES)],
                    "dash": DASHES[place % len(DASHES)],
                    "width": 2,
                },
                marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8},
                error_y=interval_bars(found, thickness=1.5, width=0),
                hovertext=[
                    _hover(metric, one, [_level_text(short[along[0]], at), name])
                    for one, at in zip(found, along[1], strict=True)
                ],
                hoverinfo="text",
                xaxis=f"x{number}",
                yaxis=f"y{number}",
            )
        )
        ends.append((len(found) - 1 + shift, found[-1].mean, wrapped(name, 15), INK))
    add_line_labels(figure, ends, window, str(number), panel=_PANEL, gap=0.2)
    first = across[0] == 0
    figure.update_layout(
        {
            f"xaxis{number}": base_axis()
            | {
                "anchor": f"y{number}",
                "domain": list(across),
                "range": [-0.3, len(along[1]) - 0.7],
                "tickvals": list(range(len(along[1]))),
                "ticktext": ["<br>".join(wrapped(level, 12, 2)) for level in along[1]],
                "showgrid": False,
                "title": {
                    "text": "<br>".join(wrapped(along[0], 28, 1)),
                    "standoff": 6,
                    "font": {"size": FONT_SIZE},
                },
            },
            f"yaxis{number}": metric_axis(metric, titled=first)
            | {
                "anchor": f"x{number}",
                "domain": list(domain),
                "range": list(window),
                "nticks": 6,
            },
        }
    )


def _level_text(factor: str, level: str) -> str:
    return f"{level} {factor}" if level in (WITH, WITHOUT) else f"{factor} {level}"


def _hover(metric: str, one: Estimate, levels: Sequence[str]) -> str:
    interval = ""
    if math.isfinite(one.low):
        interval = f" [{metric_text(metric, one.low)}, {metric_text(metric, one.high)}]"
    lines = [*levels, f"{metric_text(metric, one.mean)}{interval}, {one.n} seeds"]
    return "<br>".join(map(plain_text, lines))
