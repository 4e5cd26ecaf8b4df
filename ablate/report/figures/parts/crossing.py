"""A panel of two factors: a metric at the levels of the one, a line a level of the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.ablation.crossing import Crossing
from ablate.ablation.factors import WITH, WITHOUT
from ablate.ablation.intervals import Estimate
from ablate.analysis.metrics import is_accuracy
from ablate.report.figures.parts.ablations import finite_or_none, wrapped
from ablate.report.figures.parts.axes import metric_axis
from ablate.report.numbers import metric_text, plain_text, short_names
from ablate.report.style import (
    DASHES,
    FAINT_INK,
    FONT_SIZE,
    INK,
    SERIES,
    SYMBOLS,
    base_axis,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Span = tuple[float, float]
_LINE = 0.11
"""Height of a label's line, as a share of the panel."""
_APART = 0.05
"""Between two lines at the same level, in levels: their intervals stand side by side."""


def crossing_window(metric: str, crossings: Sequence[Crossing]) -> Span:
    """One range for all panels: every mean with its interval."""
    ends = [
        end
        for crossing in crossings
        for line in crossing.means
        for one in line
        for end in (one.low, one.mean, one.high)
        if math.isfinite(end)
    ]
    if not ends:
        return 0.0, 1.0
    least = 0.02 if is_accuracy(metric) else 0.1 * max(map(abs, ends)) or 1.0
    span = max(max(ends) - min(ends), least)
    middle = (max(ends) + min(ends)) / 2
    return middle - 0.58 * span, middle + 0.58 * span


def add_crossing(  # noqa: PLR0917 (what is drawn, and where)
    figure: Figure,
    metric: str,
    crossing: Crossing,
    window: Span,
    across: Span,
    domain: Span,
    number: int,
) -> None:
    """Draw one crossing into axes of its own; the factor with more levels is along x.

    Args:
        window: of the metric; across, domain: of the axes on the paper; number: of both axes.
    """
    from plotly.graph_objects import Scatter

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
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [finite_or_none(one.high - one.mean) for one in found],
                    "arrayminus": [finite_or_none(one.mean - one.low) for one in found],
                    "thickness": 1.5,
                    "width": 0,
                },
                hovertext=[
                    _hover(metric, one, [_level_text(short[along[0]], at), name])
                    for one, at in zip(found, along[1], strict=True)
                ],
                hoverinfo="text",
                xaxis=f"x{number}",
                yaxis=f"y{number}",
            )
        )
        ends.append((len(found) - 1 + shift, found[-1].mean, wrapped(name, 15, 2)))
    _add_labels(figure, ends, window, number)
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


def _add_labels(
    figure: Figure,
    ends: Sequence[tuple[float, float, list[str]]],
    window: Span,
    number: int,
) -> None:
    """The name of each line at its right end, pushed apart where two would overlap."""
    there = sorted((end for end in ends if math.isfinite(end[1])), key=lambda end: end[1])
    span = window[1] - window[0]
    least = [_LINE * span * len(name) for _, _, name in there]
    wanted = [mean for _, mean, _ in there]
    for (_, mean, name), at in zip(there, _apart(wanted, least), strict=True):
        x = max(end[0] for end in there)
        figure.add_annotation(
            text="<br>".join(name),
            xref=f"x{number}",
            yref=f"y{number}",
            x=x,
            y=mean,
            axref=f"x{number}",
            ayref=f"y{number}",
            ax=x + 0.2,
            ay=at,
            xanchor="left",
            align="left",
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=FAINT_INK,
            standoff=8,
            font={"size": FONT_SIZE - 2, "color": INK},
        )


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Places near those that are wanted, ascending, none of which overlap."""
    placed: list[float] = []
    for place, (at, height) in enumerate(zip(wanted, heights, strict=True)):
        below = placed[-1] + (heights[place - 1] + height) / 2 if placed else -math.inf
        placed.append(max(at, below))
    # What was pushed up is shared by all.
    lift = sum(at - one for at, one in zip(placed, wanted, strict=True)) / max(1, len(placed))
    return [at - lift for at in placed]


def _level_text(factor: str, level: str) -> str:
    return f"{level} {factor}" if level in (WITH, WITHOUT) else f"{factor} {level}"


def _hover(metric: str, one: Estimate, levels: Sequence[str]) -> str:
    interval = ""
    if math.isfinite(one.low):
        interval = f" [{metric_text(metric, one.low)}, {metric_text(metric, one.high)}]"
    lines = [*levels, f"{metric_text(metric, one.mean)}{interval}, {one.n} seeds"]
    return "<br>".join(map(plain_text, lines))
