"""Names of lines at their right ends, in place of a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

from plotly.graph_objects import Figure

from ablate.report.style import FAINT_INK, SMALL_SIZE

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
