"""Gains in points of accuracy as a heat map: worse, the same, better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from plotly.graph_objects import Heatmap

from ablate.report.style import DIVERGING, SMALL_SIZE

ACCURACY = "val_clean_accuracy"
"""The metric that numbers are written by; any will do: all accuracies are written alike."""
LEAST = 0.02
"""Of the scale: two points, or noise would look like a gain."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_TICKS, _TICK_PIXELS = 5, 16
"""At most, to either side of zero; and what each takes of a short bar."""
_LONGEST = 240
"""Pixels of the bar."""


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


def gain_cells(
    gains: list[list[float | None]], texts: list[list[str]], hover: list[list[str]], **places: Any
) -> Heatmap:
    """The cells of a heat map, row by row; None: an empty cell.

    Args:
        places: x and y of the cells; default: counted from 0.
    """
    return Heatmap(
        z=gains,
        text=texts,
        texttemplate="%{text}",
        textfont={"size": SMALL_SIZE},
        hovertext=hover,
        hoverinfo="text",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        **places,
    )
