"""From studies that a person names to a figure: read, compute, draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import ParameterError
from ablate.lifecycle.open_study import open_study
from ablate.report.figures.figure import USUAL, FigureOptions, Info

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

THEMES = ("light", "dark")


def figure_info(name: str, studies: Sequence[str | Path], options: FigureOptions = USUAL) -> Info:
    """What a figure shows of these studies: an Info, whose `frame()` is its data.

    Args:
        name: one of `ablate.report.figures.FIGURES`.

    Raises:
        ParameterError: if the figure or an option is unknown, or takes fewer studies.
        NothingToDrawError: if the studies have nothing for it.
        StudyNotFoundError: if one is not there.
    """
    from ablate.report.figures import find_figure

    kind = find_figure(name)
    return kind.info([open_study(study).source for study in studies], options)


def plot(
    name: str,
    *studies: str | Path,
    theme: str = "light",
    trials: Sequence[int] = (),
    params: Sequence[str] = (),
    objective: str = "",
) -> Figure:
    """Draw a figure of one study or several.

    Args:
        name: one of `ablate.report.figures.FIGURES`.
        studies: each as the command line takes it.
        theme: "light", or "dark".
        trials, params, objective: what to show (`FigureOptions`).

    Raises: as `figure_info`.
    """
    from ablate.report.figures import find_figure

    options = FigureOptions(tuple(trials), tuple(params), objective)
    return themed(find_figure(name).draw(figure_info(name, studies, options)), theme)


def themed(figure: Figure, theme: str) -> Figure:
    """The figure in a theme, which must be known."""
    from ablate.report.theme import dark

    if theme not in THEMES:
        raise ParameterError(f"theme: must be light or dark, got {theme}.")
    return dark(figure) if theme == "dark" else figure
