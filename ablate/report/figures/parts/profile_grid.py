"""Where the panels, rows and columns of a profile stand, in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS
from ablate.report.figures.parts.networks import axis_number
from ablate.report.numbers import plain_text
from ablate.report.style import FONT_SIZE

RIGHT = 78
"""Margin that holds the bar of colours."""
_ROW, _HEADER = 24, 24
"""Of a type's row, and of the line with its family's name."""
_NARROWEST, _WIDEST = 30, 46
"""Of a severity's column."""
_LEAST_PANEL = 118
"""Across: what the lines over a panel need."""
OVER = 62
"""Of the lines over a panel: its y axis begins so far above its rows."""
_UNDER, _GAP = 48, 16
"""Of the severities and their title under a panel, and between two."""


@dataclass(frozen=True)
class Row:
    """A line of a panel: of a type, or, without one, with the name of its family.

    Attributes:
        head, foot: in pixels from the panel's upper edge.
    """

    family: str
    kind: str
    head: float
    foot: float


@dataclass(frozen=True)
class ProfileGrid:
    """Panels side by side, in as many lines as two columns of print need.

    Attributes:
        columns, lines: of panels.
        cell: width of a severity's column; left: margin for the types' names.
        rows: of every panel, from above.
    """

    severities: tuple[int, ...]
    columns: int
    lines: int
    cell: float
    left: float
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls, panels: int, families: Mapping[str, Sequence[str]], severities: tuple[int, ...]
    ) -> ProfileGrid:
        """The grid of so many panels, at least one, with at least one severity."""
        rows = tuple(_rows(families))
        longest = max(len(row.kind or row.family) for row in rows)
        left = 20 + 0.54 * (FONT_SIZE - 1) * longest
        room = WIDE_PIXELS[0] - left - RIGHT + _GAP
        least = max(_NARROWEST * len(severities), _LEAST_PANEL)
        lines = math.ceil(panels / max(1, int(room // (least + _GAP))))
        columns = math.ceil(panels / lines)
        cell = min((room / columns - _GAP) / len(severities), _WIDEST)
        cell = max(cell, _LEAST_PANEL / len(severities))
        return cls(severities, columns, lines, cell, left, rows)

    @property
    def panel_width(self) -> float:
        return self.cell * len(self.severities)

    @property
    def panel_height(self) -> float:
        return self.rows[-1].foot

    @property
    def width(self) -> float:
        """Of the whole figure."""
        across = self.columns * (self.panel_width + _GAP) - _GAP
        return max(self.left + across + RIGHT, COLUMN_PIXELS[0])

    @property
    def height(self) -> float:
        """Of the plotting area."""
        return self.lines * (OVER + self.panel_height + _UNDER)

    @property
    def bounds(self) -> list[float]:
        """Of the rows, one more than there are rows."""
        return [0.0, *(row.foot for row in self.rows)]

    def axes(self, place: int) -> dict[str, dict[str, Any]]:
        """Both axes of a panel: x counts severities from 0, y pixels downwards from the first row.

        Args:
            place: of the panel, from 0, line by line.
        """
        number = axis_number(place)
        line, column = divmod(place, self.columns)
        plot = self.width - self.left - RIGHT
        left = column * (self.panel_width + _GAP) / plot
        head = line * (OVER + self.panel_height + _UNDER)
        foot = (line + 1) * (OVER + self.panel_height + _UNDER) - _UNDER
        look = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True}
        named = self.rows if column == 0 else ()
        return {
            f"xaxis{number}": look
            | {
                "anchor": f"y{number}",
                "domain": [left, min(1.0, left + self.panel_width / plot)],
                "range": [-0.5, len(self.severities) - 0.5],
                "tickvals": list(range(len(self.severities))),
                "ticktext": list(map(str, self.severities)),
                "tickfont": {"size": FONT_SIZE - 2},
                "title": {"text": "severity", "standoff": 4, "font": {"size": FONT_SIZE - 2}},
            },
            f"yaxis{number}": look
            | {
                "anchor": f"x{number}",
                "domain": [max(0.0, 1 - foot / self.height), 1 - head / self.height],
                "range": [self.panel_height, -OVER],
                "tickvals": [(row.head + row.foot) / 2 for row in named],
                "ticktext": [_row_text(row) for row in named],
                "tickfont": {"size": FONT_SIZE - 1},
                "ticklabelstandoff": 6,
            },
        }


def _rows(families: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    at = 0.0
    for family, kinds in families.items():
        yield Row(family, "", at, at + _HEADER)
        at += _HEADER
        for kind in kinds:
            yield Row(family, kind, at, at + _ROW)
            at += _ROW


def _row_text(row: Row) -> str:
    return plain_text(row.kind) if row.kind else f"<b>{plain_text(row.family)}</b>"
