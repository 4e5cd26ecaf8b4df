"""How much of a front is the seeds' doing: the points' means over resampled seeds, sorted again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.ranks import RESAMPLES, resampled_means
from ablate.analysis.dominance import nondominated
from ablate.errors import ParameterError, did_you_mean
from ablate.study.settings import ObjectiveSettings

Direction = Literal["maximize", "minimize"]

_DIRECTIONS = get_args(Direction)


def front_probability(
    values: np.ndarray,
    directions: Sequence[Direction],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The share of resamples of the seeds in which a point's mean is on the front.

    Args:
        values: `[points, K, objectives]`; NaN where a seed failed: such a seed is left out for all
            points.
        directions: one an objective.
        resamples: of the seeds, the same draw for all points and objectives.
        seed: of the draws.

    Returns:
        `[points]`, 0 to 1; equal points share their fate. NaN of fewer than two seeds that all
        points have: one seed says nothing of luck.

    Raises:
        ParameterError: if the shape is another, or a direction is unknown.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 3 or table.shape[2] != len(directions):
        raise ParameterError(
            f"values: must be [points, K, {len(directions)}] as of directions, got shape "
            f"{table.shape}. Give one value an objective."
        )
    for direction in directions:
        if direction not in _DIRECTIONS:
            fix = did_you_mean(direction, _DIRECTIONS)
            raise ParameterError(f"directions: unknown direction, got {direction!r}. {fix}")
    table = table[:, np.isfinite(table).all(axis=(0, 2))]
    points, n, _ = table.shape
    if points == 0 or n < 2:
        return np.full(points, math.nan)
    objectives = [
        ObjectiveSettings(metric=f"objective_{place}", direction=direction)
        for place, direction in enumerate(directions)
    ]
    # One seed for all objectives: their draws are the same.
    means = np.stack(
        [
            resampled_means(table[:, :, place], resamples=resamples, seed=seed)
            for place in range(len(objectives))
        ],
        axis=2,
    )
    shares: NDArray[np.float64] = np.mean(
        [nondominated(sample, objectives) for sample in means], axis=0
    )
    return shares
