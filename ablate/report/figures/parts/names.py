"""Names of what is drawn: the legend and its room, and names at the ends of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ablate.report.style import FAINT_INK, SMALL_SIZE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_LEGEND_ROW, _LEGEND_MARK, _COLUMN_MARK = 22, 55, 42
"""Height of a row of the legend; width of an entry, and of one in columns, without its name."""
_NARROW = frozenset("fijlrtI ().,:;|'![]-")
_WIDE_FONT = 1.15
"""Where the font of figures is missing, as on many servers, its stand-in is wider by this factor;
`legendPixels` in the page's script has it too."""


def text_pixels(text: str, size: float) -> float:
    """The width of a line in the font of figures, about."""
    ems = (0.3 if one in _NARROW else 0.67 if one.isupper() else 0.56 for one in text)
    return size * sum(ems)


def axis_number(place: int) -> str:
    """The number of a panel's axes as plotly writes it, from its place from 0: "", "2", "3"."""
    return str(place + 1) if place else ""


def legend_pixels(figure: Figure, width: float) -> float:
    """Height of a horizontal legend; plotly.js does not make room for one at the page's foot."""
    entries = [_LEGEND_MARK + _entry_pixels(one) for one in figure.data if one.showlegend]
    if not entries:
        return 0.0
    # In several rows each entry is as wide as the widest.
    across = len(entries) if sum(entries) <= width else max(1, int(width // max(entries)))
    return _LEGEND_ROW * math.ceil(len(entries) / across) + 6.0


def legend_room(
    figure: Figure, width: float, inside: float, *, is_page: bool
) -> tuple[float, list[list[Any]]]:
    """Height of the legend in pixels, and its entries in columns where that takes fewer
    rows.

    Args:
        width: of the image; inside: of the plot, in pixels.
        is_page: whether the width may change; then there are no columns.
    """
    pixels = legend_pixels(figure, inside)
    columns = [] if is_page else _legend_columns(figure, width)
    if columns and _LEGEND_ROW * (1 + len(columns[0])) < pixels:
        return _LEGEND_ROW * len(columns[0]) + 6.0, columns
    return pixels, []


def _legend_columns(figure: Figure, width: float) -> list[list[Any]]:
    """The entries of a legend in as many upright columns as the image holds; none where not two
    fit.  plotly's own columns are all as wide as the widest, within the plot's width."""
    entries = [one for one in figure.data if one.showlegend]
    entries.sort(key=lambda one: one.legendrank or 1000)
    for count in range(len(entries), 1, -1):
        rows = math.ceil(len(entries) / count)
        columns = [entries[at : at + rows] for at in range(0, len(entries), rows)]
        if sum(map(_column_pixels, columns)) <= width:
            return columns
    return []


def _column_pixels(column: Sequence[Any]) -> float:
    return _COLUMN_MARK + max(map(_entry_pixels, column))


def _entry_pixels(trace: Any) -> float:
    """The width of a name in a legend, at the most."""
    return _WIDE_FONT * text_pixels(str(trace.name), SMALL_SIZE)


def place_columns(
    figure: Figure, columns: Sequence[Sequence[Any]], width: float, height: float
) -> None:
    """Make each column a legend of its own at the foot of the image."""
    own, margin = figure.layout.legend.to_plotly_json(), figure.layout.margin
    left = (width - sum(map(_column_pixels, columns))) / 2
    for place, column in enumerate(columns):
        name = f"legend{axis_number(place)}"
        figure.layout[name] = own | {
            "orientation": "v",
            "x": (left - margin.l) / (width - margin.l - margin.r),
            "xanchor": "left",
            "bgcolor": "rgba(0,0,0,0)",
            "y": (4 + _LEGEND_ROW * (len(columns[0]) - len(column))) / height,
        }
        for one in column:
            one.legend = name
        left += _column_pixels(column)


# -- Names beside points, none over another where there is room ----------------------------


_SIDES = {
    "top right": (1, 1),
    "bottom left": (-1, -1),
    "top left": (-1, 1),
    "bottom right": (1, -1),
}
"""By preference: plotly's word, and the signs of the way there."""
_BESIDE, _MARK = 5.0, 11.0
"""Pixels from the middle of a mark to its name; and across a mark."""
Box = tuple[float, float, float, float]
"""Left, right, foot and head, in pixels."""
_Points = Sequence[tuple[float, float]]


def sides_of_names(points: _Points, names: Sequence[str], others: _Points = ()) -> list[str]:
    """The side of each point on which its name covers the fewest other names and marks; plotly's
    `textposition`.

    Args:
        points: in pixels, upwards; names: of each, empty where it has none.
        others: further marks, as points.
    """
    placed: list[Box] = []
    sides: list[str] = []
    marks = np.array([*points, *others])  # its own counts on each side
    for point, name in zip(points, names, strict=True):
        boxes = {side: name_box(point, name, signs) for side, signs in _SIDES.items()}
        side = min(boxes, key=lambda one: _covered(boxes[one], placed, marks))
        sides.append(side)
        if name:
            placed.append(boxes[side])
    return sides


def name_box(point: tuple[float, float], name: str, signs: tuple[int, int]) -> Box:
    """Left, right, foot and head of a name beside a mark, in pixels.

    Args:
        point: the mark's middle; signs: 1 right and above, -1 left and below, 0 centred.
    """
    (width, height), (right, up) = (text_pixels(name, SMALL_SIZE), 1.1 * SMALL_SIZE), signs
    x = point[0] + right * (_BESIDE + width / 2)
    y = point[1] + up * (_BESIDE + height / 2)
    return x - width / 2, x + width / 2, y - height / 2, y + height / 2


def _covered(box: Box, names: Sequence[Box], marks: ArrayLike) -> int:
    return sum(_overlap(box, name) for name in names) + marks_under(box, marks)


def marks_under(box: Box, marks: ArrayLike) -> int:
    """The number of marks that a box covers, at least in part.

    Args:
        marks: their middles, `[mark, 2]`, in pixels.
    """
    x, y = np.asarray(marks, dtype=float).reshape(-1, 2).T
    left, right, foot, head = box
    half = _MARK / 2
    inside = (x > left - half) & (x < right + half) & (y > foot - half) & (y < head + half)
    return int(inside.sum())


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


# -- Names of lines at their right ends, in place of a legend ------------------------------


_LINE_PIXELS = 1.25 * SMALL_SIZE


def add_line_labels(
    figure: Figure,
    ends: Sequence[tuple[float, float, Sequence[str], str]],
    window: tuple[float, float],
    number: str,
    *,
    panel: float,
    gap: float,
) -> None:
    """Name lines, pushed apart where two names would overlap.

    Args:
        ends: of each line x and y of its last point, lines of plotly's markup, and its colour; one
            without a finite y has no name.
        window: of the y axis; number: of both axes, as plotly writes it.
        panel: height of the axis in pixels; gap: from the last point to the names, in x.
    """
    there = sorted((end for end in ends if math.isfinite(end[1])), key=lambda end: end[1])
    line = (window[1] - window[0]) * _LINE_PIXELS / panel
    places = _apart([end[1] for end in there], [line * len(end[2]) for end in there])
    x = max((end[0] for end in there), default=0.0)
    notes = [
        {
            "text": "<br>".join(name),
            "xref": f"x{number}",
            "yref": f"y{number}",
            "x": x,
            "y": y,
            "axref": f"x{number}",
            "ayref": f"y{number}",
            "ax": x + gap,
            "ay": at,
            "xanchor": "left",
            "align": "left",
            "arrowhead": 0,
            "arrowwidth": 1,
            "arrowcolor": FAINT_INK,
            "standoff": 8,
            "font": {"size": SMALL_SIZE, "color": color},
        }
        for (_, y, name, color), at in zip(there, places, strict=True)
    ]
    figure.layout.annotations = [*figure.layout.annotations, *notes]


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Places near those that are wanted, ascending, none of which overlap."""
    placed: list[float] = []
    for place, (at, height) in enumerate(zip(wanted, heights, strict=True)):
        below = placed[-1] + (heights[place - 1] + height) / 2 if placed else -math.inf
        placed.append(max(at, below))
    # What was pushed up is shared by all.
    lift = sum(at - one for at, one in zip(placed, wanted, strict=True)) / max(1, len(placed))
    return [at - lift for at in placed]
