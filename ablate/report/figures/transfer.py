"""Transfer: models trained on one type each, tested on all types, one panel per arm.

A column is a model, a row a type that it is tested on.  The number is the accuracy, the colour the
difference to the reference arm; each model's training type has a frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plotly.graph_objects import Figure, Heatmap

from ablate.ablation.figure_infos import TransferInfo, can_transfer
from ablate.ablation.info import AblationInfo, Transfer
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.report.arms import basis_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import NOT_YET, ablation_facts, ablation_meta, wrapped
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS, axis_number, finish
from ablate.report.figures.parts.gain_colours import ACCURACY, gain_cells, gain_scale
from ablate.report.numbers import gain_text, metric_text, plain_text
from ablate.report.style import FONT_SIZE, INK, SMALL_SIZE


def plot_transfer(info: TransferInfo) -> Figure:
    """Draw the accuracy of models trained on one type each, on all types.

    Args:
        info: without transfers the figure says that no run has ended.

    Returns:
        A figure up to two columns of print wide, its panels in as many lines as needed.  A cell
        whose gain is unknown has the colour of zero gain.
    """
    figure = Figure()
    ablation = info.ablation
    facts = ablation_facts(ablation, [*basis_notes(ablation, [ACCURACY]), *ablation.marks])
    title = f"{ablation.study}: trained on one type, tested on all"
    meta = ablation_meta(ablation, "Transfer")
    if not info.transfers:
        figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        return finish(figure, title=title, facts=facts, meta=meta, nothing=NOT_YET)
    grid = TransferGrid.of(info.transfers)
    shapes: list[dict[str, Any]] = []
    for place, transfer in enumerate(info.transfers):
        number = axis_number(place)
        figure.update_layout(grid.axes(place))
        figure.add_trace(_cells(ablation, transfer).update(xaxis=f"x{number}", yaxis=f"y{number}"))
        figure.add_annotation(_name(transfer, number))
        shapes += _frames(transfer, number)
    gains = [gain for one in info.transfers for row in one.gains for gain in row]
    figure.update_layout(shapes=shapes, coloraxis=gain_scale(gains, grid.rows * CELL_HEIGHT))
    if any(map(math.isfinite, gains)):
        facts.append(f"colour: mean gain over {ablation.reference} at the same seeds")
    if shapes:
        facts.append("framed: the type that a model was trained on")
    return finish(
        figure,
        title=title,
        facts=facts,
        meta=meta,
        pixels=(grid.width, 0),
        inside=grid.height,
        left=grid.left,
        right=RIGHT,
        bottom=10,
    )


def _name(transfer: Transfer, number: str) -> dict[str, Any]:
    return {
        "text": "<br>".join(f"<b>{line}</b>" for line in name_lines(transfer)),
        "x": 0,
        "xref": f"x{number} domain",
        "xanchor": "left",
        "align": "left",
        "y": 1,
        "yref": f"y{number} domain",
        "yanchor": "bottom",
        "yshift": 3,
        "showarrow": False,
        "font": {"size": FONT_SIZE, "color": INK},
    }


def _cells(ablation: AblationInfo, transfer: Transfer) -> Heatmap:
    """Both tables are `[trained on][tested on]`; a heat map wants them turned."""
    colours: list[list[float | None]] = []
    texts: list[list[str]] = []
    hover: list[list[str]] = []
    for column, tested in enumerate(transfer.tested_on):
        cells = [
            (trained, transfer.means[row][column], transfer.gains[row][column])
            for row, trained in enumerate(transfer.trained_on)
        ]
        colours.append(
            [
                None if math.isnan(mean) else 0.0 if math.isnan(gain) else gain
                for _, mean, gain in cells
            ]
        )
        texts.append(
            ["" if math.isnan(mean) else metric_text(ACCURACY, mean) for _, mean, _ in cells]
        )
        on = f"<br>tested on {plain_text(tested)}: "
        hover.append([_hover(ablation.reference, on, *cell) for cell in cells])
    return gain_cells(colours, texts, hover)


def _hover(reference: str, tested_on: str, trained: str, mean: float, gain: float) -> str:
    gained = gain_text(ACCURACY, gain)
    over = f" ({gained} over {plain_text(reference)})" if gained else ""
    accuracy = f"<b>{metric_text(ACCURACY, mean)}</b>"
    return f"trained on {plain_text(trained)}{tested_on}{accuracy}{over}"


def _frames(transfer: Transfer, number: str) -> list[dict[str, Any]]:
    """Frames around each model's training type, if it is tested."""
    return [
        {
            "type": "rect",
            "xref": f"x{number}",
            "yref": f"y{number}",
            "x0": column - 0.48,
            "x1": column + 0.48,
            "y0": row - 0.46,
            "y1": row + 0.46,
            "line": {"color": INK, "width": 2},
        }
        for column, trained in enumerate(transfer.trained_on)
        for row, tested in enumerate(transfer.tested_on)
        if trained == tested
    ]


def _read(sources: Sequence[StudySource], _: FigureOptions) -> TransferInfo:
    ablation = the_ablation(sources, "transfer")
    if not can_transfer(ablation):
        raise NothingToDrawError(
            ablation.study,
            "transfer",
            "needs an arm with one model per type, got none",
            "Set augment.types: each in an arm.",
        )
    return TransferInfo(ablation)


FIGURE = FigureKind(
    name="transfer",
    title="Transfer",
    says="Columns: the type that a model was trained on. Rows: the type that it is tested on.",
    read=_read,
    draw=plot_transfer,
)


# -- Where the panels of the transfer figure stand, in pixels ------------------------------


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
    """Panels side by side, in as many lines as needed within two columns of print.

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
        left = 34 + 0.54 * SMALL_SIZE * _longest(one.tested_on for one in transfers)
        columns = 0.56 * SMALL_SIZE * _longest(one.trained_on for one in transfers)
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
        title = {"standoff": 6, "font": {"size": SMALL_SIZE}}
        return {
            f"xaxis{number}": look
            | {
                "anchor": f"y{number}",
                "domain": [left / self.across, min(1.0, right / self.across)],
                "range": [-0.5, len(transfer.trained_on) - 0.5],
                "tickvals": list(range(len(transfer.trained_on))),
                "ticktext": [plain_text(kind) for kind in transfer.trained_on],
                "tickangle": -_SLANT,
                "tickfont": {"size": SMALL_SIZE},
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
                "tickfont": {"size": SMALL_SIZE},
                "title": title | {"text": "tested on" if left == 0 else None},
            },
        }


def _longest(groups: Iterable[Iterable[str]]) -> int:
    return max((len(name) for group in groups for name in group), default=0)


def _panel_width(transfer: Transfer) -> float:
    return max(_CELL_WIDTH * len(transfer.trained_on), _LEAST_PANEL)


def name_lines(transfer: Transfer) -> list[str]:
    """The arm's name, wrapped to its panel and escaped for plotly."""
    characters = int(_panel_width(transfer) / (0.56 * FONT_SIZE))
    return wrapped(transfer.arm, characters, lines=2)
