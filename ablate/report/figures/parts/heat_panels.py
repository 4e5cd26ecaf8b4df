"""Heat maps side by side: rows with names, a number in each cell, gains in accuracy as colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plotly.graph_objects import Figure, Heatmap, Scatter

from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS
from ablate.report.figures.parts.names import axis_number, text_pixels
from ablate.report.numbers import plain_text
from ablate.report.style import DIVERGING, INK, SMALL_SIZE

ACCURACY = "val_clean_accuracy"
"""The metric that numbers are written by; any will do: all accuracies are written alike."""
LEAST = 0.02
"""Of the scale: two points, or noise would look like a gain."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_TICKS, _TICK_PIXELS = 5, 16
"""At most, to either side of zero; and what each takes of a short bar."""
_LONGEST = 240
"""Pixels of the bar."""
ROW = 24
"""Pixels of a row."""
_RIGHT, _COLUMN_RIGHT, _BOTTOM, _GAP = 78, 10, 10, 20
"""Margins, the right one for the bar of colours, which one column of print has no room for; and
between two panels."""
_LINE, _MARK = 17, 11
"""Of a line of text over a panel, and of the mark beside it."""
_TITLED = 44
"""Under a panel: names of columns and their title; more if the names are slanted."""
_SLANT = 40
"""Degrees by which names rise that are longer than a cell."""


def gain_scale(gains: Iterable[float], pixels: float) -> dict[str, Any]:
    """`layout.coloraxis` of gains.

    Args:
        gains: all that are drawn, as fractions; NaN is ignored.
        pixels: maximum height of the bar; no bar if no gain is known, or all are zero.

    Returns:
        A scale that is symmetric around zero and reaches the largest of them.
    """
    sizes = [abs(gain) for gain in gains if math.isfinite(gain)]
    most = max([LEAST, *sizes])
    length = min(_LONGEST, pixels)
    room = max(2, min(_TICKS, length / 2 / _TICK_PIXELS))
    step = next(step for step in _STEPS if most / step <= room)
    count = int(most / step + 1e-9)
    ticks = [step * place for place in range(-count, count + 1)]
    return {
        "cmin": -most,
        "cmax": most,
        "colorscale": [list(stop) for stop in DIVERGING],
        "showscale": any(sizes),
        "colorbar": {
            "title": {"text": "points", "font": {"size": SMALL_SIZE}},
            "tickvals": ticks,
            "ticktext": [whole_points(tick) for tick in ticks],
            "tickfont": {"size": SMALL_SIZE},
            "thickness": 14,
            "lenmode": "pixels",
            "len": length,
            "outlinewidth": 0,
            "x": 1.01,
            "xanchor": "left",
        },
    }


def whole_points(gain: float) -> str:
    """ "+12" for 0.123; a gain that rounds to 0 has no sign."""
    points = round(100 * gain)
    return f"{points:+d}" if points else "0"


class Cell(NamedTuple):
    """A cell: its gain as a fraction, NaN for the colour of none; its number; its hover text."""

    gain: float
    text: str
    hover: str


class Frame(NamedTuple):
    """A frame round cells: the first and the last row and column in it."""

    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True)
class HeatPanel:
    """One heat map.

    Attributes:
        over: lines of markup over it, its name first.
        cells: row by row; None: empty.
        frames: round cells.
        mark: plotly's marker beside the name; number: of its trial.
    """

    over: tuple[str, ...]
    cells: Sequence[Sequence[Cell | None]]
    frames: Sequence[Frame] = ()
    mark: dict[str, Any] | None = None
    number: int | None = None


@dataclass(frozen=True)
class HeatGrid:
    """Panels of the same rows and columns, in as many lines as needed.

    Attributes:
        rows: names in markup, from above; columns: plain names, from the left.
        across, lines: of panels.
        cell: width of a cell; left, right: margins, for the names of the rows and the scale.
        lines_over: of text over a panel.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    across: int
    lines: int
    cell: float
    left: float
    right: float
    lines_over: int

    @classmethod
    def of(  # noqa: PLR0917 (what stands in it, and its bounds)
        cls,
        panels: int,
        rows: Sequence[str],
        columns: Sequence[str],
        cells: tuple[float, float],
        least: float,
        lines_over: int,
        width: float = WIDE_PIXELS[0],
    ) -> HeatGrid:
        """The grid of so many panels, at least one, with at least one row and column.

        Args:
            cells: least and most width of a cell; least: width of a panel, what its lines need.
            width: of the image, in pixels.
        """
        left = 30 + max(text_pixels(name, SMALL_SIZE) for name in rows)
        right = _RIGHT if width >= WIDE_PIXELS[0] else _COLUMN_RIGHT
        room = width - left - right + _GAP
        narrowest = max(cells[0] * len(columns), least)
        lines = math.ceil(panels / max(1, int(room // (narrowest + _GAP))))
        across = math.ceil(panels / lines)
        cell = min((room / across - _GAP) / len(columns), cells[1])
        cell = max(cell, narrowest / len(columns))
        return cls(tuple(rows), tuple(columns), across, lines, cell, left, right, lines_over)

    @property
    def _over(self) -> float:
        return 8 + _LINE * self.lines_over

    @property
    def _is_slanted(self) -> bool:
        return max(text_pixels(name, SMALL_SIZE) for name in self.columns) > self.cell

    @property
    def _under(self) -> float:
        if not self._is_slanted:
            return _TITLED
        longest = max(text_pixels(name, SMALL_SIZE) for name in self.columns)
        return _TITLED + longest * math.sin(math.radians(_SLANT))

    @property
    def _line_height(self) -> float:
        return self._over + ROW * len(self.rows) + self._under

    @property
    def sizes(self) -> dict[str, Any]:
        """Arguments of `finish`: the image and its margins, in pixels."""
        across = self.across * (self.cell * len(self.columns) + _GAP) - _GAP
        width = max(self.left + across + self.right, COLUMN_PIXELS[0])
        return {
            "pixels": (width, 0),
            "inside": self.lines * self._line_height,
            "left": self.left,
            "right": self.right,
            "bottom": _BOTTOM,
        }

    def draw(self, figure: Figure, panels: Sequence[HeatPanel], titles: tuple[str, str]) -> None:
        """Draw panels, line by line, and the scale of their colours.

        Args:
            titles: under the columns, and beside the rows.
        """
        shapes: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        axes: dict[str, Any] = {}
        for place, panel in enumerate(panels):
            number = axis_number(place)
            on = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
            axes |= self._axes(place, titles)
            figure.add_trace(_cells(panel).update(on))
            if panel.mark is not None:
                figure.add_trace(self._mark(panel).update(on))
            shapes += [self._frame(frame, number) for frame in panel.frames]
            notes.append(_over(panel, number))
        gains = [cell.gain for panel in panels for row in panel.cells for cell in row if cell]
        colors = gain_scale(gains, ROW * len(self.rows))
        colors["showscale"] &= self.right == _RIGHT
        figure.update_layout(
            axes
            | {
                "shapes": shapes,
                "annotations": notes,
                "coloraxis": colors,
            }
        )

    def _axes(self, place: int, titles: tuple[str, str]) -> dict[str, dict[str, Any]]:
        """Both axes of a panel: they count columns and rows from 0."""
        number = axis_number(place)
        line, column = divmod(place, self.across)
        sizes, panel = self.sizes, self.cell * len(self.columns)
        across, height = sizes["pixels"][0] - self.left - self.right, sizes["inside"]
        left, foot = column * (panel + _GAP), (line + 1) * self._line_height - self._under
        look = {"showgrid": False, "zeroline": False, "ticks": "", "tickfont": {"size": SMALL_SIZE}}
        title = {"standoff": 4, "font": {"size": SMALL_SIZE}}
        return {
            f"xaxis{number}": look
            | {
                "anchor": f"y{number}",
                "domain": [left / across, min(1.0, (left + panel) / across)],
                "range": [-0.5, len(self.columns) - 0.5],
                "tickvals": list(range(len(self.columns))),
                "ticktext": list(map(plain_text, self.columns)),
                "tickangle": -_SLANT if self._is_slanted else 0,
                "title": title | {"text": titles[0]},
                "fixedrange": True,
            },
            f"yaxis{number}": look
            | {
                "anchor": f"x{number}",
                "domain": [
                    max(0.0, 1 - foot / height),
                    1 - line * self._line_height / height,
                ],
                "range": [len(self.rows) - 0.5, -0.5 - self._over / ROW],
                "tickvals": list(range(len(self.rows))) if column == 0 else [],
                "ticktext": list(self.rows) if column == 0 else [],
                "ticklabelstandoff": 6,
                "title": title | {"text": "" if column else titles[1]},
                "fixedrange": True,
            },
        }

    def _mark(self, panel: HeatPanel) -> Scatter:
        return Scatter(
            x=[-0.5],
            y=[_name_place(panel)],
            mode="markers",
            marker={"size": _MARK} | (panel.mark or {}),
            customdata=None if panel.number is None else [panel.number],
            hovertext=panel.over[:1],
            hoverinfo="text",
            cliponaxis=False,
            showlegend=False,
        )

    def _frame(self, frame: Frame, number: str) -> dict[str, Any]:
        """Inside the panel by half its line, which would be cut at the edge."""
        return {
            "type": "rect",
            "xref": f"x{number}",
            "yref": f"y{number}",
            "x0": frame.columns[0] - 0.5 + 1 / self.cell,
            "x1": frame.columns[1] + 0.5 - 1 / self.cell,
            "y0": frame.rows[0] - 0.5 + 1 / ROW,
            "y1": frame.rows[1] + 0.5 - 1 / ROW,
            "line": {"color": INK, "width": 2},
        }


def _cells(panel: HeatPanel) -> Heatmap:
    def each(of_cell: Any, of_none: Any) -> list[list[Any]]:
        return [[of_none if one is None else of_cell(one) for one in row] for row in panel.cells]

    return Heatmap(
        z=each(lambda one: 0.0 if math.isnan(one.gain) else one.gain, None),
        text=each(lambda one: one.text, ""),
        texttemplate="%{text}",
        textfont={"size": SMALL_SIZE},
        hovertext=each(lambda one: one.hover, ""),
        hoverinfo="text",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
    )


def _name_place(panel: HeatPanel) -> float:
    """Where the middle of its first line over it is, in rows."""
    return -0.5 - (_LINE * (len(panel.over) - 0.5) + 2) / ROW


def _over(panel: HeatPanel, number: str) -> dict[str, Any]:
    """The lines over a panel, beside its mark, from which a page that is stretched does not move
    them."""
    return {
        "text": "<br>".join(panel.over),
        "x": -0.5,
        "xref": f"x{number}",
        "xanchor": "left",
        "xshift": 0 if panel.mark is None else 0.5 * _MARK + 4,
        "align": "left",
        "y": _name_place(panel),
        "yref": f"y{number}",
        "yanchor": "top",
        "yshift": 0.5 * _LINE + 1,
        "showarrow": False,
        "font": {"size": SMALL_SIZE, "color": INK},
    }
