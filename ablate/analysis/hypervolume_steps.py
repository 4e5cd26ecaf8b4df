"""The hypervolume after each of a sequence of points.

Source: the sweep over a sorted front of Fonseca et al. 2006, one point at a time; with more than
two objectives moocore's hypervolume, asked only when the front changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.dominance import as_table, maximised
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings


def hypervolume_steps(
    values: ArrayLike, objectives: Sequence[ObjectiveSettings], reference_point: Sequence[float]
) -> NDArray[np.float64]:
    """The hypervolume of the first point, of the first two, and so on.

    Args:
        values: in their order, one row a point, one column an objective; may have no row. Points
            with a NaN or an infinity, and points no better than the reference, add nothing.
        objectives: their directions.
        reference_point: one value an objective, in its own unit and direction.

    Returns:
        One number a point, none less than the one before it; the last is that of
        `ablate.analysis.hypervolume`. A hundred thousand points of two objectives take a fraction
        of a second.

    Raises:
        ParameterError: if the reference point has another number of values.
    """
    if len(reference_point) != len(objectives):
        raise ParameterError(
            f"reference_point: needs one value an objective ({len(objectives)}), got "
            f"{list(reference_point)}. Give {len(objectives)} values, in the objectives' order."
        )
    signs = np.where(maximised(objectives), 1.0, -1.0)
    gains = (as_table(values, len(objectives)) - np.asarray(reference_point, dtype=float)) * signs
    counts = np.isfinite(gains).all(axis=1) & (gains > 0).all(axis=1)
    added = np.zeros(len(gains))
    added[counts] = (_swept if len(objectives) == 2 else _asked)(gains[counts])
    steps: NDArray[np.float64] = np.cumsum(added)
    return steps


def _swept(gains: NDArray[np.float64]) -> list[float]:
    """What each point adds; two objectives, both maximised, the reference at the origin.

    The front is kept sorted: x ascends, y descends. A point is dominated if its right neighbour is
    as high; else it takes the place of those to its left that are not higher.
    """
    front: list[float] = []
    height: dict[float, float] = {}
    added = []
    for x, y in gains.tolist():
        place = bisect_left(front, x)
        right = height[front[place]] if place < len(front) else 0.0
        if right >= y:
            added.append(0.0)
            continue
        area = (x - _left(front, place)) * (y - right)
        first = place
        while first and height[front[first - 1]] <= y:
            first -= 1
            area += (front[first] - _left(front, first)) * (y - height[front[first]])
        last = place + (place < len(front) and front[place] == x)
        for gone in front[first:last]:
            del height[gone]
        front[first:last] = [x]
        height[x] = y
        added.append(area)
    return added


def _left(front: list[float], place: int) -> float:
    return front[place - 1] if place else 0.0


def _asked(gains: NDArray[np.float64]) -> list[float]:
    """The same of any number of objectives."""
    import moocore

    measure = moocore.Hypervolume(ref=np.zeros(gains.shape[1]), maximise=True)
    front = np.empty((0, gains.shape[1]))
    volume = 0.0
    added = []
    for gain in gains:
        if (front >= gain).all(axis=1).any():
            added.append(0.0)
            continue
        front = np.vstack([front[~(front <= gain).all(axis=1)], gain])
        before, volume = volume, float(measure(front))
        added.append(volume - before)
    return added
