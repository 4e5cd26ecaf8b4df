"""Hypervolume: how much of the objective space a set of points dominates.

Source: Zitzler and Thiele 1998, computed by moocore (exact).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ablate.analysis.bounds import MOST_OBJECTIVES
from ablate.analysis.dominance import as_table, maximised
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings


def hypervolume(
    values: ArrayLike,
    objectives: Sequence[ObjectiveSettings],
    reference_point: Sequence[float] | None,
) -> float | None:
    """The volume between the points and the reference point.

    Args:
        values: one row a point, one column an objective; may have no row. Points with a NaN or an
            infinity, dominated points and points no better than the reference add nothing.
        objectives: their directions.
        reference_point: one value an objective, in its own unit and direction.

    Returns:
        >= 0, in the product of the objectives' units (accuracies as fractions); 0 where no point
        is better than the reference; None where there is no reference point, and of more than
        `MOST_OBJECTIVES` objectives or where it is too large for a number.

    Raises:
        ParameterError: if the reference point has another number of values.
    """
    if reference_point is None:
        return None
    if len(reference_point) != len(objectives):
        raise ParameterError(
            f"reference_point: needs one value an objective ({len(objectives)}), got "
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
