"""Rows of intervals: the panel that figures of effects are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.effects import Effect
from ablate.ablation.figure_infos import EffectsInfo
from ablate.analysis.objectives import is_accuracy
from ablate.report.arms import difference_cell, no_interval_text, scale
from ablate.report.effects import kept_text, p_text, verdict_text
from ablate.report.figures.parts.ablations import interval_bars, wrapped
from ablate.report.numbers import metric_words, plain_text
from ablate.report.style import DIVERGING, FAINT_INK, FONT_SIZE, GRID, INK, PAPER, base_axis

_EXPLORATORY = "exploratory"
_LOOKS = {
    "better": ("Primary: better", DIVERGING[2][1], "circle"),
    "worse": ("Primary: worse", DIVERGING[0][1], "square"),
    "not shown": ("Primary: not shown", INK, "diamond"),
    "at most one image": ("Primary: at most one image", INK, "diamond-open"),
    "too few seeds": ("Primary: too few seeds", FAINT_INK, "diamond"),
    _EXPLORATORY: ("Exploratory, no claim", FAINT_INK, "circle"),
}
"""Legend, colour and mark of a verdict, in the legend's order."""


def add_forest(  # noqa: PLR0917 (where it stands, and what it is of)
    figure: Figure,
    info: EffectsInfo,
    metric: str,
    rows: Sequence[Row],
    domain: tuple[float, float],
    number: int = 1,
    across: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Draw rows into new axes.

    Args:
        domain: of the y axis; number: of both axes, from 1; across: domain of the x axis.
    """
    axis = str(number) if number > 1 else ""
    drawn = {trace.name for trace in figure.data}
    for trace in _traces(metric, rows):
        trace.update(xaxis=f"x{axis}", yaxis=f"y{axis}", showlegend=trace.name not in drawn)
        figure.add_trace(trace)
    low, high = _window(info, metric, rows)
    figure.update_layout(
        {
            f"xaxis{axis}": base_axis()
            | {
                "anchor": f"y{axis}",
                "domain": list(across),
                "range": [low, high],
                "showgrid": True,
                "title": {
                    "text": plain_text(_title(info, metric)),
                    "standoff": 6,
                    "font": {"size": FONT_SIZE},
                },
                "nticks": 7,
                "zeroline": True,
                "zerolinecolor": INK,
                "zerolinewidth": 1.5,
            },
            f"yaxis{axis}": base_axis()
            | {
                "anchor": f"x{axis}",
                "domain": list(domain),
                "range": [rows_height(rows), 0],
                "tickvals": [row.at for row in rows],
                "ticktext": ["<br>".join(row.name) for row in rows],
                "tickfont": {"size": FONT_SIZE - 1},
                "showgrid": False,
                "ticks": "",
                "showline": False,
            },
        }
    )
    margin = info.margin_on(metric)
    if margin is not None:
        sign = 1 if metric in info.ablation.minimized else -1
        edge = sign * margin * scale(metric)
        figure.add_shape(
            type="rect",
            xref=f"x{axis}",
            yref=f"y{axis} domain",
            x0=min(0.0, edge),
            x1=max(0.0, edge),
            y0=0,
            y1=1,
            fillcolor=GRID,
            line_width=0,
            layer="below",
        )
    said = [_edge_text(row, axis) for row in rows]
    figure.layout.annotations = [*figure.layout.annotations, *said]  # at once: each costs


def _edge_text(row: Row, axis: str) -> dict[str, Any]:
    """plotly's annotation to the right of a row."""
    return {
        "text": "<br>".join(row.said),
        "xref": f"x{axis} domain",
        "yref": f"y{axis}",
        "x": 1,
        "y": row.at,
        "xshift": 8,
        "xanchor": "left",
        "yanchor": "middle",
        "align": "left",
        "showarrow": False,
        "font": {"size": FONT_SIZE - 2, "color": INK if row.effect.primary else FAINT_INK},
    }


def _traces(metric: str, rows: Sequence[Row]) -> list[Scatter]:
    """One a verdict that there is; the legend names each."""
    factor = scale(metric)
    traces = []
    for rank, (verdict, (name, color, symbol)) in enumerate(_LOOKS.items()):
        mine = [row for row in rows if row.effect.verdict == verdict]
        mine = [row for row in mine if math.isfinite(row.effect.estimate.mean)]
        if not mine:
            continue
        is_claim = verdict != _EXPLORATORY
        found = [row.effect.estimate for row in mine]
        traces.append(
            Scatter(
                x=[factor * one.mean for one in found],
                y=[row.at for row in mine],
                mode="markers",
                name=name,
                legendgroup=verdict,
                legendrank=rank + 1,
                marker={
                    "symbol": symbol,
                    "size": 9 if is_claim else 8,
                    "color": color if is_claim else PAPER,
                    "line": {"color": color, "width": 1.5},
                },
                error_x=interval_bars(
                    found, factor, color=color, thickness=3 if is_claim else 1.5, width=0
                ),
                hovertext=[_hover(row) for row in mine],
                hoverinfo="text",
            )
        )
    return traces


def _hover(row: Row) -> str:
    effect = row.effect
    lines = [
        f"<b>{plain_text(effect.contrast)}</b>",
        plain_text(metric_words(effect.metric)),
        *row.said,
        f"{effect.estimate.n} seeds, p {p_text(effect.p)}",
    ]
    if effect.missing:
        lines += [f"left out: {line}" for line in wrapped(", ".join(effect.missing), 60)]
    return "<br>".join(lines)


def _window(info: EffectsInfo, metric: str, rows: Sequence[Row]) -> tuple[float, float]:
    """All intervals, no difference, and the margin."""
    factor = scale(metric)
    ends = [0.0]
    for row in rows:
        one = row.effect.estimate
        ends += [factor * end for end in (one.low, one.mean, one.high) if math.isfinite(end)]
    margin = info.margin_on(metric)
    if margin is not None:
        ends.append((1 if metric in info.ablation.minimized else -1) * factor * margin)
    span = max(ends) - min(ends) or 1.0
    return min(ends) - 0.06 * span, max(ends) + 0.06 * span


def _title(info: EffectsInfo, metric: str) -> str:
    unit = "points, " if is_accuracy(metric) else ""
    better = "← better" if metric in info.ablation.minimized else "better →"
    return f"Difference in {metric_words(metric)} ({unit}{better})"


# -- The rows of a panel of effects: names, numbers, verdicts, and how much room they take -


LEFT, RIGHT = 170, 186
"""Margins in pixels, for names and numbers."""
NAME_CHARACTERS, WIDE_CHARACTERS = 19, 62
WIDE_LEFT = LEFT + 7 * (WIDE_CHARACTERS - NAME_CHARACTERS)
"""Of many rows: names in one line, over two columns of print."""
_TEXT_CHARACTERS = 28
_LINE_PIXELS, _ROW_GAP = 16, 11


@dataclass(frozen=True)
class Row:
    """A line of the panel.

    Attributes:
        name, said: lines of plotly's markup, to the left and to the right.
        at: its middle, in pixels from the top of the panel.
    """

    effect: Effect
    name: tuple[str, ...]
    said: tuple[str, ...]
    at: float = 0.0

    @property
    def height(self) -> float:
        return max(len(self.name), len(self.said)) * _LINE_PIXELS + _ROW_GAP


def forest_rows(info: EffectsInfo, metric: str, characters: int = NAME_CHARACTERS) -> list[Row]:
    """A row an effect on the metric, one below the other.

    Args:
        characters: that a line of a name may have.
    """
    rows, top = [], 0.0
    for effect in info.on(metric):
        name = wrapped(effect.contrast, characters)
        if effect.primary:
            name = [f"<b>{line}</b>" for line in name]
        row = Row(effect, tuple(name), tuple(_said(info, effect)))
        rows.append(replace(row, at=top + row.height / 2))
        top += row.height
    return rows


def rows_height(rows: Sequence[Row]) -> float:
    """Pixels that these rows take."""
    return sum(row.height for row in rows)


def cut_rows(panels: Mapping[str, list[Row]], room: float) -> int:
    """Take the last exploratory rows of the longest panel away until all fit.

    Args:
        room: pixels that there are for all rows.

    Returns:
        How many were taken.
    """
    taken = 0
    while sum(map(rows_height, panels.values())) > room:
        longest = max(panels.values(), key=len)
        if longest[-1].effect.primary or len(longest) == 1:
            break
        longest.pop()
        taken += 1
    return taken


def _said(info: EffectsInfo, effect: Effect) -> list[str]:
    """The text at the right: the estimate, its verdict, the fraction kept."""
    estimate, ablation = effect.estimate, info.ablation
    printed = difference_cell(ablation, effect.metric, estimate).printed
    said = printed.replace(" [", "\n[" if len(printed) > _TEXT_CHARACTERS else " [").split("\n")
    if reason := no_interval_text(estimate):
        said.append(reason)
    elif estimate.n < ablation.seeds:
        said.append(f"{estimate.n} of {ablation.seeds} seeds")
    if effect.primary:
        verdict = verdict_text(effect)
        if effect.verdict != "too few seeds":
            verdict += f", adjusted p {p_text(effect.p_adjusted)}"
        said += wrapped(verdict, _TEXT_CHARACTERS)
    if effect.kept is not None:
        claimed = (one for one in ablation.primary if one.contrast == effect.contrast)
        kept = next((kept_text(ablation, one) for one in claimed), "")
        said += wrapped(f"kept: {kept}", _TEXT_CHARACTERS) if kept else []
    return said
