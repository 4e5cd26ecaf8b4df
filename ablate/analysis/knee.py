"""The knee of a front: where a little more of one objective begins to cost much of another.

Source: Das 1999 (farthest from the line through the ends). Differs: objectives are scaled to the
front's own range first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ablate.analysis.dominance import as_table, maximised
from ablate.study.settings import ObjectiveSettings


def knee_place(values: ArrayLike, objectives: Sequence[ObjectiveSettings]) -> int:
    """Which point of a front is farthest above the line through its ends.

    Objectives are scaled to the front's own range, so that none decides by its unit; of more than
    two, the point whose scaled values have the largest sum is taken, which is the same for two.
    A front of one or two points has no knee: the one with the largest sum, then the first.

    Args:
        values: of the front, at least one finite point; one row a point, one column an objective.
        objectives: their directions.

    Returns:
        The place of its row; of equal ones the first.
    """
    signs = np.where(maximised(objectives), 1.0, -1.0)
    signed = as_table(values, len(objectives)) * signs
    span = np.ptp(signed, axis=0)
    scaled = (signed - signed.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.argmax(scaled.sum(axis=1).round(12)))
