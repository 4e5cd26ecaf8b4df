"""Hypervolume: how much of the objective space a set of points dominates.

Source: Zitzler and Thiele 1998, computed by moocore (exact).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings


def hypervolume(
    values: ArrayLike,
    objectives: Sequence[ObjectiveSettings],
    reference_point: Sequence[float] | None,
) -> float | None:
    """The volume between the points and the reference point.

    Args:
        values: one row per point, one column per objective; may be empty. Points with NaN or
            infinity, dominated points and points not better than the reference add nothing.
        objectives: their directions.
        reference_point: one value per objective, in its unit and direction.

    Returns:
        >= 0, in the product of the objectives' units (accuracies as fractions); 0 if no point is
        better than the reference; None without a reference point, for more than `MOST_OBJECTIVES`
        objectives, or if it is too large for a float.

    Raises:
        ParameterError: if the reference point has a wrong number of values.
    """
    if reference_point is None:
        return None
    check_reference_point(reference_point, objectives)
    if len(objectives) > MOST_OBJECTIVES:
        return None
    table = as_table(values, len(objectives))
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        return 0.0
    import moocore

    volume = float(
        moocore.hypervolume(table, ref=list(reference_point), maximise=maximised(objectives))
    )
    return volume if math.isfinite(volume) else None


def check_reference_point(
    reference_point: Sequence[float], objectives: Sequence[ObjectiveSettings]
) -> None:
    """Refuse a reference point with another number of values than there are objectives."""
    if len(reference_point) != len(objectives):
        raise ParameterError(
            f"reference_point: needs one value per objective ({len(objectives)}), got "
            f"{list(reference_point)}. Give {len(objectives)} values, in the objectives' order."
        )


# -- Which points are on the Pareto front, and the line that a front draws in a plane ------
#
# Source: the nondominated sort is moocore's (Kung et al. 1975, O(n log n) for 2 and 3 objectives).


def nondominated(values: ArrayLike, objectives: Sequence[ObjectiveSettings]) -> NDArray[np.bool_]:
    """Which points no other point dominates.

    A point dominates another if it is at least as good in every objective and better in one, so
    equal points are all on the front or all off it.  One with a NaN or an infinity is neither on it
    nor dominates any.

    Args:
        values: one row a point, one column an objective; may have no row.
    """
    table = as_table(values, len(objectives))
    finite = np.isfinite(table).all(axis=1)
    on_front = np.zeros(len(table), dtype=bool)
    if finite.any():
        import moocore

        on_front[finite] = moocore.is_nondominated(
            table[finite], maximise=maximised(objectives), keep_weakly=True
        )
    return on_front


def staircase(
    x: ArrayLike,
    y: ArrayLike,
    objectives: Sequence[ObjectiveSettings],
    corner: tuple[float, float],
) -> tuple[list[float], list[float]]:
    """The boundary of the attained region, in which every place is equal to or dominated by some
    point.

    Args:
        x, y: the points, `[n]` each; those not on the front of this plane are left out.
        corner: where both ends extend to, on the worse side of every point.

    Returns:
        x and y of its corners, from the point best in y to that best in x; empty without points.
    """
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    front = np.unique(points[nondominated(points, objectives)], axis=0)
    if not len(front):
        return [], []
    if objectives[0].direction == "minimize":
        front = front[::-1]
    along = [corner[0], *np.repeat(front[:, 0], 2).tolist()]
    return along, [*np.repeat(front[:, 1], 2).tolist(), corner[1]]


def as_table(values: ArrayLike, columns: int) -> NDArray[np.float64]:
    """`[points, columns]`, also where there is no point."""
    return np.asarray(values, dtype=float).reshape(-1, columns)


def maximised(objectives: Sequence[ObjectiveSettings]) -> list[bool]:
    return [objective.direction == "maximize" for objective in objectives]


# -- The knee of a front
#
# Source: Das 1999 (farthest from the line through the ends). Differs: objectives are scaled to the
# front's own range first.


def knee_place(values: ArrayLike, objectives: Sequence[ObjectiveSettings]) -> int:
    """The point of a front that is farthest above the line through its ends.

    Objectives are scaled to the front's range, so that units do not matter; for more than two, the
    point with the largest sum of scaled values is used, which is the same for two.  A front of one
    or two points has no knee: the one with the largest sum, then the first.

    Args:
        values: of the front, at least one finite point; one row a point, one column an objective.
        objectives: their directions.

    Returns:
        The index of its row; the first of equal ones.
    """
    signs = np.where(maximised(objectives), 1.0, -1.0)
    signed = as_table(values, len(objectives)) * signs
    span = np.ptp(signed, axis=0)
    scaled = (signed - signed.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.argmax(scaled.sum(axis=1).round(12)))


# -- The hypervolume after each of a sequence of points ------------------------------------
#
# Source: the sweep over a sorted front of Fonseca et al. 2006, one point at a time; with more than
# two objectives moocore's hypervolume, asked only when the front changes.


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
    check_reference_point(reference_point, objectives)
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
