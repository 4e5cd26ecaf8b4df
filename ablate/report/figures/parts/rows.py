"""Rows of a panel: a line of text, its name at the left and its number at the right, over a mark.

The text stands in the plot, so that a narrow figure cuts no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plotly.graph_objects import Figure

from ablate.report.figures.parts.ablations import wrapped
from ablate.report.style import FAINT_INK, INK, PAPER, SMALL_SIZE, base_axis

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
