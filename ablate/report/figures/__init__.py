"""One file a figure: an Info in, a plotly Figure out."""

from __future__ import annotations

FIGURES = ("pareto",)
"""Names for `ablate plot --figure`."""
