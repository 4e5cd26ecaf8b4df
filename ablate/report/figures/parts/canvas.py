"""The sheet that every figure is drawn on: title, facts, margins, legend, a word for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ablate.report.figures.parts.heading import heading
from ablate.report.style import FAINT_INK, FONT_SIZE, PAPER, base_layout

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMN_PIXELS = (560, 500)
"""One column of print."""
WIDE_PIXELS = (1160, 560)
"""Two columns of print."""
LEFT, RIGHT, BOTTOM = 76, 16, 56
"""Margins in pixels; the left one holds numbers and a title."""
_OVER_TITLE = 22
"""Pixels over the title."""


def finish(
    figure: Figure,
    *,
    title: str,
    facts: Sequence[str],
    meta: dict[str, Any],
    pixels: tuple[float, float] = COLUMN_PIXELS,
    inside: float | None = None,
    left: float = LEFT,
    right: float = RIGHT,
    bottom: float = BOTTOM,
    nothing: str = "",
) -> Figure:
    """Put title, facts, margins and legend to a figure whose traces and axes are drawn.

    Args:
        figure: its legend has the traces whose `showlegend` is true.
        title: plain text, as is every fact: both are escaped here.
        facts: what the numbers stand on, at least one.
        meta: for `layout.meta`, which gets the facts too; "title" becomes that of the page.
        pixels: width and height of the image; a page stretches it.
        inside: height of the plot in pixels; given, the image is as high as it and what stands
            around it take.
        left, right, bottom: margins in pixels, the legend's room left out.
        nothing: said in the middle, where there is nothing to show yet.

    Returns:
        The same figure.
    """
    head, top = heading(title, list(facts))
    named = [str(trace.name) for trace in figure.data if trace.showlegend]
    width, height = pixels
    edge = 0.01
    foot = bottom + _legend_pixels(named, width - left - right)
    if inside is not None:
        height = round(top + inside + foot)
        edge = 5 / height  # the legend stays as near to the edge, however high the image is
    head["y"] = 1 - _OVER_TITLE / height  # which is a share of the figure, however high it is
    figure.update_layout(
        base_layout()
        | {
            "title": head,
            "margin": {
                "l": left,
                "r": right,
                "t": top,
                "b": foot,
            },
            "legend": {
                "orientation": "h",
                "x": 0.5,
                "xanchor": "center",
                "y": edge,
                "yref": "container",
                "yanchor": "bottom",
                "font": {"size": FONT_SIZE - 1},
            },
            "hovermode": "closest",
            "meta": meta | {"image_pixels": [width, height], "facts": list(facts)},
        },
        overwrite=True,  # each of these is whole; merging them takes as long as the traces do
    )
    if nothing:
        figure.add_annotation(
            text=nothing,
            xref="paper",
            yref="paper",
            x=0.5,
            y=0.5,
            showarrow=False,
            bgcolor=PAPER,
            font={"size": FONT_SIZE, "color": FAINT_INK},
        )
    return figure


def _legend_pixels(names: Sequence[str], width: float) -> float:
    """Height of a horizontal legend; plotly.js does not make room for one at the page's foot."""
    rows, used = (1 if names else 0), 0.0
    for name in names:
        entry = 45 + 0.5 * (FONT_SIZE - 1) * len(name)
        if used and used + entry > width:
            rows, used = rows + 1, 0.0
        used += entry
    return rows * 30.0
