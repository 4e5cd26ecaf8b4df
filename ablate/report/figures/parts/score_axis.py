"""An objective as an axis: its range, its name, its ticks, and a score in a hover text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ablate.analysis.bounds import fenced
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.parameters import ParametersInfo
from ablate.report.figures.parts.parameter_axis import broken
from ablate.report.figures.parts.window import (
    LEAST_ACCURACY_SPAN,
    LEAST_SPAN_FRACTION,
    PAD_FRACTION,
    Window,
)
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import DIVERGING, FONT_SIZE, SEQUENTIAL


def score_window(info: ParametersInfo, place: int) -> Window:
    """The range of an objective's axis: every trial that did not collapse, the front, and the
    baseline; the unit range where there is nothing.

    Wider than that of the Pareto figure, since a bad trial says as much about its parameters.

    Args:
        place: of the objective in `info.objectives`.
    """
    metric, direction = info.objectives[place].metric, info.objectives[place].direction
    values = np.array([point.values[place] for point in info.points], dtype=float)
    kept = [*values[values == fenced(values, maximize=direction == "maximize")]]
    kept += [point.values[place] for point in info.front]
    kept += [of_all[place] for name, of_all in info.references.items() if name == "baseline"]
    inside = np.array(kept, dtype=float)
    inside = inside[np.isfinite(inside)]
    low, high = (float(inside.min()), float(inside.max())) if len(inside) else (0.0, 1.0)
    largest = max(abs(low), abs(high))
    least = LEAST_ACCURACY_SPAN if is_accuracy(metric) else LEAST_SPAN_FRACTION * largest or 1.0
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    pad = PAD_FRACTION * (high - low)
    low, high = low - pad, high + pad
    return Window(low, high, low if direction == "maximize" else high)


def beyond_facts(values: Sequence[float], *, maximize: bool) -> list[str]:
    """What is said of trials that collapsed where colours end at the fence before them."""
    table = np.asarray(values, dtype=float)
    table = table[np.isfinite(table)]
    beyond = int((table != fenced(table, maximize=maximize)).sum())
    return [f"{beyond} beyond the colours, in that of their worse end"] if beyond else []


def score_text(metric: str, axis: str) -> str:
    """A score in a hover template: its name, and the point's own value.

    Args:
        axis: of the value, as "y" or "marker.color".
    """
    form = ".1%" if is_accuracy(metric) else ".4g"
    return f"{plain_text(metric_label(metric))}: %{{{axis}:{form}}}"


def score_ticks(metric: str) -> dict[str, Any]:
    """How an axis or a colour bar of a metric writes its numbers."""
    return {"tickformat": ".3~%"} if is_accuracy(metric) else {}


def bright_is_better(info: ParametersInfo, place: int) -> dict[str, Any]:
    """The colours of an objective: the better, the brighter."""
    reverse = info.objectives[place].direction == "minimize"
    return {"colorscale": SEQUENTIAL, "reversescale": reverse}


def colour_bar(text: str) -> dict[str, Any]:
    """A colour bar at the right, with a title that is plain text."""
    return {
        "title": {
            "text": broken(text, 26, 2),
            "side": "right",
            "font": {"size": FONT_SIZE - 1},
        },
        "thickness": 14,
        "outlinewidth": 0,
        "tickfont": {"size": FONT_SIZE - 3},
        "nticks": 6,
    }


# -- Gains in points of accuracy as the colours of a heat map: worse, the same, better -----


LEAST = 0.02
"""Of the scale: two points, or noise would look like a gain."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_TICKS = 5
"""At most, to either side of zero."""
_LONGEST = 240
"""Pixels of the bar."""


def gain_scale(gains: Iterable[float], pixels: float) -> dict[str, Any]:
    """`layout.coloraxis` of gains.

    Args:
        gains: all that are drawn, as fractions; NaN counts for nothing.
        pixels: height that the bar may have; none is drawn where no gain is known, or all are zero.

    Returns:
        A scale that is symmetric around zero and reaches the largest of them.
    """
    sizes = [abs(gain) for gain in gains if math.isfinite(gain)]
    most = max([LEAST, *sizes])
    step = next(step for step in _STEPS if most / step <= _TICKS)
    count = int(most / step + 1e-9)
    ticks = [step * place for place in range(-count, count + 1)]
    return {
        "cmin": -most,
        "cmax": most,
        "colorscale": [list(stop) for stop in DIVERGING],
        "showscale": any(sizes),
        "colorbar": {
            "title": {"text": "points", "font": {"size": FONT_SIZE - 2}},
            "tickvals": ticks,
            "ticktext": [whole_points(tick) for tick in ticks],
            "tickfont": {"size": FONT_SIZE - 2},
            "thickness": 14,
            "lenmode": "pixels",
            "len": min(_LONGEST, pixels),
            "outlinewidth": 0,
            "x": 1.01,
            "xanchor": "left",
        },
    }


def whole_points(gain: float) -> str:
    """ "+12" for 0.123; a gain that rounds to nothing has no sign to speak of."""
    points = round(100 * gain)
    return f"{points:+d}" if points else "0"
