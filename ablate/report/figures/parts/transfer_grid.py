"""Where the panels of the transfer figure stand, in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ablate.ablation.info import Transfer
from ablate.report.figures.parts.ablations import wrapped
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS
from ablate.report.figures.parts.networks import axis_number
from ablate.report.numbers import plain_text
from ablate.report.style import FONT_SIZE

CELL_HEIGHT, _CELL_WIDTH = 28, 52
RIGHT = 78
"""Margin that holds the bar of colours."""
_LEAST_PANEL = 180
"""Across: what an arm's name needs."""
_GAP = 28
"""Between two panels."""
_NAME_LINE = 18
_SLANT = 40
"""Degrees by which the names of the columns rise."""


@dataclass(frozen=True)
class TransferGrid:
    """Panels side by side, in as many lines as two columns of print need.

    Attributes:
        corners: left and upper edge of each panel's cells, in the plotting area.
        left: margin that holds the rows' names.
        across: of all panels of a line; over, under: for the arms' names over the cells, and for
            the columns' names and title under them.
        rows: of the highest panel.
    """

    transfers: tuple[Transfer, ...]
    corners: tuple[tuple[float, float], ...]
    left: float
    across: float
    over: float
    under: float
    rows: int

    @classmethod
    def of(cls, transfers: tuple[Transfer, ...]) -> TransferGrid:
        """The grid of these panels, at least one."""
        left = 34 + 0.54 * (FONT_SIZE - 1) * _longest(one.tested_on for one in transfers)
        columns = 0.56 * (FONT_SIZE - 2) * _longest(one.trained_on for one in transfers)
        under = 34 + columns * math.sin(math.radians(_SLANT))
        over = 12 + _NAME_LINE * max(len(name_lines(one)) for one in transfers)
        rows = max(len(one.tested_on) for one in transfers)
        room = WIDE_PIXELS[0] - left - RIGHT
        corners, at, line, across = [], 0.0, 0, 0.0
        for one in transfers:
            width = _panel_width(one)
            if at and at + width > room:
                at, line = 0.0, line + 1
            corners.append((at, line * (over + rows * CELL_HEIGHT + under) + over))
            across = max(across, at + width)
            at += width + _GAP
        across = max(across, COLUMN_PIXELS[0] - left - RIGHT)
        return cls(transfers, tuple(corners), left, across, over, under, rows)

    @property
    def width(self) -> float:
        """Of the whole figure."""
        return self.left + self.across + RIGHT

    @property
    def height(self) -> float:
        """Of the plotting area."""
        return self.corners[-1][1] + self.rows * CELL_HEIGHT + self.under

    def axes(self, place: int) -> dict[str, dict[str, Any]]:
        """Both axes of a panel, which count types from 0.

        Args:
            place: of the panel, from 0, line by line.
        """
        number, transfer = axis_number(place), self.transfers[place]
        left, head = self.corners[place]
        foot = head + CELL_HEIGHT * len(transfer.tested_on)
        right = left + _CELL_WIDTH * len(transfer.trained_on)
        look = {"showgrid": False, "zeroline": False, "ticks": "", "ticklabelstandoff": 6}
        title = {"standoff": 6, "font": {"size": FONT_SIZE - 1}}
        return {
            f"xaxis{number}": look
            | {
                "anchor": f"y{number}",
                "domain": [left / self.across, min(1.0, right / self.across)],
                "range": [-0.5, len(transfer.trained_on) - 0.5],
                "tickvals": list(range(len(transfer.trained_on))),
                "ticktext": [plain_text(kind) for kind in transfer.trained_on],
                "tickangle": -_SLANT,
                "tickfont": {"size": FONT_SIZE - 2},
                "title": title | {"text": "trained on"},
            },
            f"yaxis{number}": look
            | {
                "anchor": f"x{number}",
                "domain": [max(0.0, 1 - foot / self.height), 1 - head / self.height],
                "range": [len(transfer.tested_on) - 0.5, -0.5],
                "tickvals": list(range(len(transfer.tested_on))),
                "ticktext": [plain_text(kind) for kind in transfer.tested_on],
                "showticklabels": left == 0,
                "tickfont": {"size": FONT_SIZE - 1},
                "title": title | {"text": "tested on" if left == 0 else None},
            },
        }


def _longest(groups: Iterable[Iterable[str]]) -> int:
    return max((len(name) for group in groups for name in group), default=0)


def _panel_width(transfer: Transfer) -> float:
    return max(_CELL_WIDTH * len(transfer.trained_on), _LEAST_PANEL)


def name_lines(transfer: Transfer) -> list[str]:
    """The arm's name in lines that its panel holds, as plotly may print them."""
    characters = int(_panel_width(transfer) / (0.56 * FONT_SIZE))
    return wrapped(transfer.arm, characters, lines=2)
