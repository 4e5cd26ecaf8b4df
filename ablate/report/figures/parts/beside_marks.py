"""What stands beside the marks of a front: the numbers of its trials, and the scale of one image
and one training seed; where they cover the fewest marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from plotly.graph_objects import Scatter

from ablate.analysis.fronts import FrontsInfo
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.report.figures.parts.names import Box, marks_under, name_box, sides_of_names
from ablate.report.figures.parts.window import Window
from ablate.report.style import INK, SMALL_SIZE

_NUMBERED = 12
"""Up to this number on a front, trial numbers are printed next to the marks of one study:
print has no hover.  Those of several would lie over each other, and not say of which study."""
_PLANE = (250, 220)
"""Pixels of the smallest panel, in which numbers that are close are told apart."""
_SCALE_EDGE, _SCALE_STEP = 0.03, 0.09
"""Of the scales: from the edge, and from one to the next, as shares of the axes."""
_SCALE_FEET = (0.09, 0.18, 0.27, 0.36, 0.45)
"""Where the first may stand: from the worse end of the y axis, as shares of it."""


@dataclass(frozen=True)
class _Plane:
    """The panel of two objectives at its smallest, in pixels."""

    info: FrontsInfo
    x: int
    y: int
    windows: Sequence[Window]

    def place(self, values: Sequence[float]) -> tuple[float, float]:
        """Where a point is drawn."""
        return self.in_pixels(values[self.x], values[self.y])

    def in_pixels(self, x: float, y: float) -> tuple[float, float]:
        at_x, at_y = self.windows[self.x].share(x), self.windows[self.y].share(y)
        return _PLANE[0] * at_x, _PLANE[1] * at_y

    def marks(self, *, with_front: bool) -> list[tuple[float, float]]:
        """Where trials, confirmed means, stopped trials and references are drawn."""
        values = [one.values for one in self.info.stopped]
        values += [mean.values for means in self.info.confirmed for mean in means]
        for study in self.info.studies:
            values += [one.values for one in study.points if with_front or not one.on_front]
            values += study.references.values()
        return [self.place(one) for one in values]


def label_sides(info: FrontsInfo, x: int, y: int, windows: Sequence[Window]) -> dict[int, str]:
    """On which side the numbers of the front are printed, by number; empty where none is."""
    study, plane = info.studies[0], _Plane(info, x, y, windows)
    if len(info.studies) > 1 or len(study.front) > _NUMBERED:
        return {}
    points = [plane.place(point.values) for point in study.front]
    names = [front_label(study, point) for point in study.front]
    sides = sides_of_names(points, names, plane.marks(with_front=False))
    return {point.number: side for point, side in zip(study.front, sides, strict=True)}


def front_label(info: ParetoInfo, point: ParetoPoint) -> str:
    """The number of a trial on the front; of equal ones, which lie over each other, all at the
    first."""
    alike = sorted(one.number for one in info.front if one.values == point.values)
    return ", ".join(map(str, alike)) if point.number == alike[0] else ""


def scale_traces(info: FrontsInfo, x: int, y: int, windows: Sequence[Window]) -> list[Scatter]:
    """What one image, and one training seed, are worth: as named lines of that length, at the worse
    end of the x axis, where no front comes near."""
    worths = {"1 image": info.one_image, "1 seed (sd)": info.one_seed}
    shown = [(label, worth(x), worth(y)) for label, worth in worths.items()]
    shown = [one for one in shown if all(map(math.isfinite, one[1:]))]
    plane = _Plane(info, x, y, windows)
    marks = np.array(plane.marks(with_front=True)) if shown else ()
    places = [
        [_Scale(plane, *one, rank, foot) for rank, one in enumerate(shown)] for foot in _SCALE_FEET
    ]

    def badness(scales: Sequence[_Scale]) -> tuple[bool, int]:
        covered = sum(marks_under(box, marks) for one in scales for box in one.boxes)
        return not all(one.is_inside for one in scales), covered

    best = min(places, key=badness)  # of equal ones the nearest to the corner
    return [one.trace() for one in best]


@dataclass(frozen=True)
class _Scale:
    """One of the lines, from the end of its x arm over the corner to the end of its y arm.

    Attributes:
        of_x, of_y: lengths of the arms, in the objectives' units.
        rank: its place above the first.
        foot: of the first: from the worse end of the y axis, as a share of it.
    """

    plane: _Plane
    label: str
    of_x: float
    of_y: float
    rank: int
    foot: float

    @property
    def _signs(self) -> tuple[int, int]:
        """The way from the corner into the plot."""
        x, y = (self.plane.windows[one] for one in (self.plane.x, self.plane.y))
        return (1 if x.worst == x.low else -1, 1 if y.worst == y.low else -1)

    @property
    def _points(self) -> list[tuple[float, float]]:
        x, y = (self.plane.windows[one] for one in (self.plane.x, self.plane.y))
        right, up = self._signs
        at_x = x.worst + right * _SCALE_EDGE * x.span
        at_y = y.worst + up * (self.foot + _SCALE_STEP * self.rank) * y.span
        return [(at_x + right * self.of_x, at_y), (at_x, at_y), (at_x, at_y + up * self.of_y)]

    @property
    def is_inside(self) -> bool:
        """Whether no arm leaves the axes; its length is what it says."""
        windows = self.plane.windows[self.plane.x], self.plane.windows[self.plane.y]
        return all(
            window.contains(value)
            for point in self._points
            for window, value in zip(windows, point, strict=True)
        )

    @property
    def boxes(self) -> list[Box]:
        """What its name and its arms cover, in pixels."""
        end, corner, top = (self.plane.in_pixels(*point) for point in self._points)
        (left, right), (foot, head) = sorted((end[0], corner[0])), sorted((corner[1], top[1]))
        right_side, up = self._signs
        name = name_box(end, self.label, (right_side, up * self.rank))
        return [name, (left, right, end[1], end[1]), (corner[0], corner[0], foot, head)]

    def trace(self) -> Scatter:
        right, up = self._signs
        x, y = zip(*self._points, strict=True)
        return Scatter(
            x=x,
            y=y,
            mode="lines+text",
            name=self.label,
            showlegend=False,
            line={"color": INK, "width": 2, "dash": "solid" if self.rank == 0 else "dot"},
            text=[f" {self.label} ", "", ""],
            # The second stands over the first where the plot is low.
            textposition=("bottom", "middle", "top")[1 + up * self.rank]
            + (" right" if right > 0 else " left"),
            textfont={"size": SMALL_SIZE, "color": INK},
            hovertext=[f"{self.label}: {100 * self.of_x:.2f} and {100 * self.of_y:.2f} points"] * 3,
            hoverinfo="text",
        )
