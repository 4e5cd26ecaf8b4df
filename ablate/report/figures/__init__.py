"""One file a figure: an Info in, a plotly Figure out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ablate.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from ablate.report.figures.figure import FigureKind

FIGURES = (
    "pareto",
    "parameters",
    "history",
    "curves",
    "profile",
    "severity",
    "effects",
    "examples",
)
"""Names for `ablate plot --figure`, in the order of the report; each is a module with a FIGURE."""


def find_figure(name: str) -> FigureKind:
    """The figure of that name.

    Raises:
        ParameterError: if there is none.
    """
    if name not in FIGURES:
        near = did_you_mean(name, FIGURES)
        fix = near if near.startswith("Did") else "Name one of them."
        raise ParameterError(f"`name`: must be one of {', '.join(FIGURES)}, got {name}. {fix}")
    kind: FigureKind = import_module(f"ablate.report.figures.{name}").FIGURE
    return kind
