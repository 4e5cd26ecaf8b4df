"""Rows of a panel: a line of text, its name at the left and its number at the right, over a mark.

The text stands in the plot, so that a narrow figure cuts no number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.effects import Effect
from ablate.ablation.figure_infos import EffectsInfo
from ablate.analysis.objectives import is_accuracy
from ablate.report.arms import difference_cell, no_interval_text, scale
from ablate.report.effects import kept_text, p_text, verdict_text
from ablate.report.figures.parts.ablations import interval_bars, wrapped
from ablate.report.figures.parts.canvas import axis_title
from ablate.report.numbers import metric_words, plain_text
from ablate.report.style import DIVERGING, FAINT_INK, GRID, INK, PAPER, SMALL_SIZE, base_axis

NAME_CHARACTERS, WIDE_CHARACTERS = 23, 80
"""Of a line of a name, in one column of print and in two."""
_NAME_LINES = 3
_LINE_PIXELS, _LANE, _BETWEEN = 17, 18, 8
"""Of a line of text; of the mark under the text; between two rows."""


@dataclass(frozen=True)
class Row:
    """A row of a panel.

    Attributes:
        name, said: lines of plotly's markup, at the left and at the right.
        top: of its text, at: of its mark, in pixels from the top of the panel.
        is_pale: whether its text is.
    """

    name: tuple[str, ...]
    said: tuple[str, ...]
    top: float
    is_pale: bool = False

    @property
    def at(self) -> float:
        return self.top + max(len(self.name), len(self.said)) * _LINE_PIXELS + _LANE / 2

    @property
    def foot(self) -> float:
        return self.at + _LANE / 2 + _BETWEEN


def placed_rows(
    texts: Iterable[tuple[str, str, Sequence[str], bool]], characters: int = NAME_CHARACTERS
) -> list[Row]:
    """Rows one below the other.

    Args:
        texts: name, plain; format of its lines ("<b>{}</b>", or "{}"); lines of markup at the
            right; whether the row is pale.
        characters: that a line of a name may have.
    """
    rows: list[Row] = []
    for name, look, said, is_pale in texts:
        lines = tuple(look.format(line) for line in wrapped(name, characters, _NAME_LINES))
        rows.append(Row(lines, tuple(said), rows[-1].foot if rows else float(_BETWEEN), is_pale))
    return rows


def rows_height(rows: Sequence[Row]) -> float:
    """Pixels that these rows take."""
    return rows[-1].foot if rows else 0.0


def add_rows(  # noqa: PLR0917 (what is drawn, and where)
    figure: Figure,
    rows: Sequence[Row],
    traces: Iterable[Any],
    x_axis: dict[str, Any],
    domain: tuple[float, float],
    number: int,
) -> None:
    """Draw rows and their marks into new axes.

    Args:
        traces: of the marks, whose y is `Row.at`.
        domain: of the y axis; number: of both axes, from 1.
    """
    axis = str(number) if number > 1 else ""
    named = {trace.name for trace in figure.data}
    for trace in traces:
        trace.update(xaxis=f"x{axis}", yaxis=f"y{axis}")
        trace.showlegend = trace.showlegend is not False and trace.name not in named
        figure.add_trace(trace)
    figure.update_layout(
        {
            f"xaxis{axis}": base_axis()
            | {"showgrid": True, "nticks": 7}
            | x_axis
            | {"anchor": f"y{axis}"},
            f"yaxis{axis}": {
                "anchor": f"x{axis}",
                "domain": list(domain),
                "range": [rows_height(rows), 0],
                "visible": False,
            },
        }
    )
    notes = [
        _note(row, lines, axis, x) for row in rows for x, lines in enumerate((row.name, row.said))
    ]
    figure.layout.annotations = [*figure.layout.annotations, *notes]  # at once: each costs


def _note(row: Row, lines: Sequence[str], axis: str, x: int) -> dict[str, Any]:
    """plotly's annotation of a row's text, at the left end (0) or the right one (1)."""
    side = "right" if x else "left"
    return {
        "text": "<br>".join(lines),
        "xref": f"x{axis} domain",
        "yref": f"y{axis}",
        "x": x,
        "y": row.top,
        "xanchor": side,
        "yanchor": "top",
        "align": side,
        "borderpad": 0,
        "bgcolor": PAPER,
        "showarrow": False,
        "font": {"size": SMALL_SIZE, "color": FAINT_INK if row.is_pale else INK},
    }


# -- Effects as rows: a mark with its interval, and what the contrast says ------------------


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
Rows = Sequence[tuple[Effect, Row]]


def forest_rows(
    info: EffectsInfo, metric: str, characters: int = NAME_CHARACTERS
) -> list[tuple[Effect, Row]]:
    """A row an effect on the metric.

    Args:
        characters: that a line of a name may have.
    """
    effects = info.on(metric)
    rows = placed_rows(
        [
            (
                effect.contrast,
                "<b>{}</b>" if effect.verdict != _EXPLORATORY else "{}",
                _said(info, effect),
                effect.verdict == _EXPLORATORY,
            )
            for effect in effects
        ],
        characters,
    )
    return list(zip(effects, rows, strict=True))


def forest_height(rows: Rows) -> float:
    """Pixels that these rows take."""
    return rows_height([row for _, row in rows])


def cut_rows(panels: Mapping[str, list[tuple[Effect, Row]]], room: float) -> int:
    """Take the last exploratory rows of the longest panel away until all fit.

    Args:
        room: pixels that there are for all rows.

    Returns:
        How many were taken.
    """
    taken = 0
    while sum(map(forest_height, panels.values())) > room:
        longest = max(panels.values(), key=len)
        if longest[-1][0].primary or len(longest) == 1:
            break
        longest.pop()
        taken += 1
    return taken


def add_forest(  # noqa: PLR0917 (where it stands, and what it is of)
    figure: Figure,
    info: EffectsInfo,
    metric: str,
    rows: Rows,
    domain: tuple[float, float],
    number: int = 1,
) -> None:
    """Draw rows into new axes.

    Args:
        domain: of the y axis; number: of both axes, from 1.
    """
    x_axis = {
        "range": _window(info, metric, rows),
        "title": axis_title(_title(info, metric)),
        "zeroline": True,
        "zerolinecolor": INK,
        "zerolinewidth": 1.5,
    }
    traces = _traces(metric, rows, info.ablation.paired)
    add_rows(figure, [row for _, row in rows], traces, x_axis, domain, number)
    margin = info.margin_on(metric)
    if margin is not None:
        axis = str(number) if number > 1 else ""
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


def _traces(metric: str, rows: Rows, paired: str) -> list[Scatter]:
    """One a verdict that there is; the legend names each."""
    factor = scale(metric)
    traces = []
    for rank, (verdict, (name, color, symbol)) in enumerate(_LOOKS.items()):
        mine = [(effect, row) for effect, row in rows if effect.verdict == verdict]
        mine = [(effect, row) for effect, row in mine if math.isfinite(effect.estimate.mean)]
        if not mine:
            continue
        is_claim = verdict != _EXPLORATORY
        found = [effect.estimate for effect, _ in mine]
        traces.append(
            Scatter(
                x=[factor * one.mean for one in found],
                y=[row.at for _, row in mine],
                mode="markers",
                name=name.replace("seed", paired),
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
                hovertext=[_hover(effect, row, paired) for effect, row in mine],
                hoverinfo="text",
            )
        )
    return traces


def _hover(effect: Effect, row: Row, paired: str) -> str:
    lines = [
        f"<b>{plain_text(effect.contrast)}</b>",
        plain_text(metric_words(effect.metric)),
        *row.said,
        f"{effect.estimate.n} {paired}s, p {p_text(effect.p)}",
    ]
    if effect.missing:
        lines += [f"left out: {line}" for line in wrapped(", ".join(effect.missing), 60)]
    return "<br>".join(lines)


def _window(info: EffectsInfo, metric: str, rows: Rows) -> list[float]:
    """All intervals, no difference, and the margin."""
    factor = scale(metric)
    ends = [0.0]
    for effect, _ in rows:
        one = effect.estimate
        ends += [factor * end for end in (one.low, one.mean, one.high) if math.isfinite(end)]
    margin = info.margin_on(metric)
    if margin is not None:
        ends.append((1 if metric in info.ablation.minimized else -1) * factor * margin)
    span = max(ends) - min(ends) or 1.0
    return [min(ends) - 0.06 * span, max(ends) + 0.06 * span]


def _title(info: EffectsInfo, metric: str) -> str:
    is_less = metric in info.ablation.minimized
    said = ["points"] if is_accuracy(metric) else []
    if is_less or is_accuracy(metric) or metric in info.ablation.best:
        said.append("← better" if is_less else "better →")
    unit = f" ({', '.join(said)})" if said else ""
    return f"Difference in {metric_words(metric)}{unit}"


def _said(info: EffectsInfo, effect: Effect) -> list[str]:
    """The text at the right: the estimate, its verdict, the fraction kept."""
    estimate, ablation = effect.estimate, info.ablation
    said = [difference_cell(ablation, effect.metric, estimate).printed]
    if reason := no_interval_text(estimate, ablation.paired):
        said.append(reason)
    elif estimate.n < ablation.seeds:
        said.append(f"{estimate.n} of {ablation.seeds} {ablation.paired}s")
    if effect.worst is not None:
        worst = difference_cell(ablation, effect.metric, effect.worst).printed
        said.append(f"failed as worst: {worst}")
    if effect.primary:
        verdict = verdict_text(ablation, effect)
        if effect.verdict != "too few seeds":
            verdict += f", p {p_text(effect.p_adjusted)}"
        said.append(verdict)
    if effect.kept is not None:
        claimed = (one for one in ablation.primary if one.contrast == effect.contrast)
        kept = next((kept_text(ablation, one) for one in claimed), "")
        said += [f"kept: {kept}"] if kept else []
    return said
