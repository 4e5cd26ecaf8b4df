"""The front of a set of points: which are on it, the space it dominates, its step line, its knee.

Source: hypervolume (Zitzler and Thiele 1998) and nondominated sort are moocore's (exact).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings

Objectives = Sequence[ObjectiveSettings]


def as_table(values: ArrayLike, columns: int) -> NDArray[np.float64]:
    """`[points, columns]`, also where there is no point."""
    return np.asarray(values, dtype=float).reshape(-1, columns)


def maximised(objectives: Objectives) -> list[bool]:
    return [objective.direction == "maximize" for objective in objectives]


def hypervolume(
    values: ArrayLike, objectives: Objectives, reference_point: Sequence[float] | None
) -> float | None:
    """The volume between the points and the reference point.

    Args:
        values: one row a point, one column an objective; may be empty. Points with NaN or infinity
            and points not better than the reference add nothing.
        reference_point: one value an objective, in its unit and direction.

    Returns:
        >= 0, in the product of the objectives' units (accuracies as fractions); None without a
        reference point, for more than `MOST_OBJECTIVES`, or if it is too large for a float.

    Raises:
        ParameterError: if the reference point has a wrong number of values.
    """
    if reference_point is None:
        return None
    if len(reference_point) != len(objectives):
        raise ParameterError(
            f"reference_point: needs one value per objective ({len(objectives)}), got "
            f"{list(reference_point)}. Give {len(objectives)} values, in the objectives' order."
        )
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


def hypervolume_steps(
    values: ArrayLike, objectives: Objectives, reference_point: Sequence[float]
) -> NDArray[np.float64]:
    """The hypervolume of the first point, of the first two, and so on; see `hypervolume`.

    A hundred thousand points of two objectives take a fraction of a second.
    """
    signs = np.where(maximised(objectives), 1.0, -1.0)
    gains = (as_table(values, len(objectives)) - np.asarray(reference_point, dtype=float)) * signs
    counts = np.isfinite(gains).all(axis=1) & (gains > 0).all(axis=1)
    added = np.zeros(len(gains))
    added[counts] = (_added_in_plane if len(objectives) == 2 else _added)(gains[counts])
    steps: NDArray[np.float64] = np.cumsum(added)
    return steps


def _added_in_plane(gains: NDArray[np.float64]) -> list[float]:
    """What each point adds; both maximised, the reference at the origin.

    Source: the sweep over a sorted front of Fonseca et al. 2006, one point at a time.
    """
    added, front = [], [(0.0, math.inf), (math.inf, 0.0)]  # x ascends, y descends
    for x, y in gains.tolist():
        first = last = bisect_left(front, (x, y))
        if front[last][1] >= y:
            added.append(0.0)
            continue
        while front[first - 1][1] <= y:
            first -= 1
        steps = pairwise(front[first - 1 : last + 1])
        added.append(sum((min(right, x) - left) * (y - low) for (left, _), (right, low) in steps))
        front[first:last] = [(x, y)]
    return added


def _added(gains: NDArray[np.float64]) -> list[float]:
    """The same of any number of objectives."""
    import moocore

    measure = moocore.Hypervolume(ref=np.zeros(gains.shape[1]), maximise=True)
    front, volumes = np.empty((0, gains.shape[1])), [0.0]
    for gain in gains:
        if (front >= gain).all(axis=1).any():
            volumes.append(volumes[-1])
            continue
        front = np.vstack([front[~(front <= gain).all(axis=1)], gain])
        volumes.append(float(measure(front)))
    return np.diff(volumes).tolist()


def nondominated(values: ArrayLike, objectives: Objectives) -> NDArray[np.bool_]:
    """Which points no other point dominates.

    A point dominates another if it is at least as good in every objective and better in one, so
    equal points are all on the front or all off it.  One with a NaN or an infinity is neither on it
    nor dominates any.
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
    points: ArrayLike, objectives: Objectives, corner: tuple[float, float]
) -> tuple[list[float], list[float]]:
    """The boundary of the region that points of a plane attain: equal to or dominated by one.

    Args:
        points: `[n, 2]`; those that are not on the front of this plane are left out.
        corner: where both ends extend to, on the worse side of every point.

    Returns:
        x and y of its corners, from the point best in y to that best in x; empty without points.
    """
    table = as_table(points, 2)
    front = np.unique(table[nondominated(table, objectives)], axis=0)
    if not len(front):
        return [], []
    if objectives[0].direction == "minimize":
        front = front[::-1]
    along = [corner[0], *np.repeat(front[:, 0], 2).tolist()]
    return along, [*np.repeat(front[:, 1], 2).tolist(), corner[1]]


def knee_place(values: ArrayLike, objectives: Objectives) -> int:
    """The place of the point of a front that is farthest above the line through its ends; the first
    of equal ones.

    Source: Das 1999. Differs: objectives are scaled to the front's range first, so that units do
    not matter; then the point has the largest sum of scaled values, also of more than two
    objectives, and where a front of one or two points has no knee.

    Args:
        values: of the front, at least one finite point; one row a point, one column an objective.
    """
    signed = as_table(values, len(objectives)) * np.where(maximised(objectives), 1.0, -1.0)
    span = np.ptp(signed, axis=0)
    scaled = (signed - signed.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.argmax(scaled.sum(axis=1).round(12)))
