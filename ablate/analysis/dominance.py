"""Which points are on the Pareto front, and the line that a front draws in a plane.

Source: the nondominated sort is moocore's (Kung et al. 1975, O(n log n) for 2 and 3 objectives).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.study.settings import ObjectiveSettings


def nondominated(values: ArrayLike, objectives: Sequence[ObjectiveSettings]) -> NDArray[np.bool_]:
    """Which points no other point dominates.

    A point dominates another if it is at least as good in every objective and better in one. So
    equal points are all on the front or all off it, and one point alone is on it.

    Args:
        values: one row a point, one column an objective; may have no row. A point with a NaN or
            an infinity is neither on the front nor dominates any.
        objectives: their directions.

    Returns:
        One bool a point.
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
    """The border of what is attained: every place that some point equals or dominates.

    Args:
        x, y: the points, `[n]` each; those not on the front of this plane are left out.
        objectives: of x and of y.
        corner: where the two ends of the line run to, on the worse side of every point.

    Returns:
        Corners of the line, from the point best in y to the point best in x, each end drawn out
        to `corner`; empty lists where there is no point.
    """
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    front = np.unique(points[nondominated(points, objectives)], axis=0)
    if not len(front):
        return [], []
    if objectives[0].direction == "minimize":
        front = front[::-1]
    line = [(corner[0], float(front[0][1]))]
    for here, after in zip(front, [*front[1:], None], strict=True):
        line.append((float(here[0]), float(here[1])))
        line.append((float(here[0]), corner[1] if after is None else float(after[1])))
    return [place[0] for place in line], [place[1] for place in line]


def as_table(values: ArrayLike, columns: int) -> NDArray[np.float64]:
    """`[points, columns]`, also where there is no point."""
    return np.asarray(values, dtype=float).reshape(-1, columns)


def maximised(objectives: Sequence[ObjectiveSettings]) -> list[bool]:
    return [objective.direction == "maximize" for objective in objectives]
