"""The size of a figure in print: inches of the image, points of its smallest text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.errors import ParameterError
from ablate.report.figures.parts.canvas import lay_out, least_pixels
from ablate.report.style import SMALL_POINTS, SMALL_SIZE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_PER_INCH = {"in": 1.0, "mm": 25.4, "px": 96.0}
_INCHES = (1.0, 40.0)
"""Shortest and longest side."""
_POINTS = (4.0, 40.0)


@dataclass(frozen=True)
class PrintSize:
    """How a figure is printed.

    Attributes:
        inches: width and height; None: those of the figure's own pixels.
        text: as it was written; empty without inches.
        points: of the smallest text.
        titled: whether title and subtitle are over the figure.
    """

    inches: tuple[float, float] | None = None
    text: str = ""
    points: float = SMALL_POINTS
    titled: bool = True

    def apply(self, figure: Figure) -> str:
        """Lay a finished figure out for this size.

        The text of a figure that needs more room is smaller.

        Returns:
            The size that it needs, as a sentence; empty where this one is enough.
        """
        scale = SMALL_SIZE * 72 / self.points  # pixels of the layout an inch
        meta = figure.layout.meta
        width, height = meta["image_pixels"]
        if self.inches is None:
            lay_out(figure, width, height, titled=self.titled)
            figure.layout.meta |= {"inches": (width / scale, height / scale)}
            return ""
        width, height = (scale * side for side in self.inches)
        lay_out(figure, width, height, titled=self.titled)
        needed = least_pixels(figure)
        shrunk = max(1.0, needed[0] / width, needed[1] / height)
        lay_out(figure, shrunk * width, shrunk * height, titled=self.titled)
        figure.layout.meta |= {"inches": self.inches}
        if shrunk < 1.005:
            return ""
        least = [max(have, need / scale) for have, need in zip(self.inches, needed, strict=True)]
        return (
            f"the smallest text has {self.points / shrunk:.1f} pt at {self.text}. For "
            f"{self.points:g} pt give --size {least[0]:.1f}x{least[1]:.1f}in."
        )


def print_size(size: str, points: float, *, titled: bool) -> PrintSize:
    """What a person wrote, checked.

    Args:
        size: as "3.25x2.4in", "83x60mm" or "640x480px" (96 px an inch); empty: the figure's own.
        points: of the smallest text.

    Raises:
        ParameterError: if it is written in another way, or out of bounds.
    """
    low, high = _POINTS
    if not low <= points <= high:
        raise ParameterError(
            f"--font-size: must be from {low:g} to {high:g} points, got {points:g}."
        )
    if not size:
        return PrintSize(points=points, titled=titled)
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"{number}\s*x\s*{number}\s*(in|mm|px)", size.strip())
    if found is None:
        raise ParameterError(
            f"--size: must be width x height with in, mm or px, got {size}. Write 3.25x2.4in."
        )
    unit = _PER_INCH[found[3]]
    width, height = float(found[1]) / unit, float(found[2]) / unit
    low, high = _INCHES
    if not (low <= width <= high and low <= height <= high):
        raise ParameterError(
            f"--size: each side must be from {low:g} to {high:g} inches, got {size}, which is "
            f"{width:.3g} x {height:.3g} inches."
        )
    return PrintSize((width, height), size, points, titled)
