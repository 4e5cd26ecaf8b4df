"""The dark form of a figure: the same drawing, its inks and papers exchanged.

Figures are drawn light and know of no theme; the report's page exchanges by the same table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ablate.report.style import FAINT_INK, GRID, INK, MIDDLE, PAPER

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DARK = {
    INK: "#E9EAEC",
    FAINT_INK: "#A3A8B0",
    GRID: "#2F343C",
    PAPER: "#16191E",
    MIDDLE: "#3A404A",
    # Of the terms' colours, those that would sink into a dark page.
    "#767676": "#9B9B9B",
    "#0072B2": "#3D8BDB",
    "#009E73": "#1FBE90",
    "#D55E00": "#EE7B27",
}
"""Light colour -> dark colour; one that is not here stays as it is."""


def dark(figure: Figure) -> Figure:
    """The figure for a dark page, as a new one."""
    from plotly.graph_objects import Figure

    exchanged = Figure(_exchanged(figure.to_plotly_json()))
    exchanged.update_layout(template=None)  # which is lost on the way, and then is plotly's own
    return exchanged


def _exchanged(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _exchanged(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_exchanged(value) for value in part]
    return DARK.get(part, part) if isinstance(part, str) else part
