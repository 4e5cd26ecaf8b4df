"""Slopes and means with their t intervals.

Source: ordinary least squares, errors normal and of equal size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]


def least_squares(columns: Table, scores: Table, level: float) -> list[tuple[float, float, float]]:
    """The slope of each column beside all others, with its t interval.

    Args:
        columns: `[trials, columns]`; a constant is added.
        scores: `[trials]`.
        level: of the interval, between 0 and 1.

    Returns:
        Slope, low, high, one a column. The slope is NaN of a column that is constant, or a sum of
        others; the interval also where no trial is left to tell it.
    """
    from scipy.special import stdtrit

    design = np.column_stack([columns, np.ones(len(scores))])
    inverse = np.linalg.pinv(design)
    slopes = inverse @ scores
    # Where columns say the same, the least of all solutions parts a slope between them.
    is_told = np.isclose(inverse @ design, np.eye(design.shape[1]), atol=1e-8).all(axis=1)
    freedom = len(scores) - np.linalg.matrix_rank(design)
    half = np.full(len(slopes), math.nan)
    if freedom > 0:
        variance = float(((scores - design @ slopes) ** 2).sum()) / freedom
        errors = np.sqrt(variance * (inverse**2).sum(axis=1))
        half = float(stdtrit(freedom, (1 + level) / 2)) * errors
    slopes, half = np.where(is_told, slopes, math.nan), np.where(is_told, half, math.nan)
    three = np.column_stack([slopes, slopes - half, slopes + half]).tolist()
    return [(slope, low, high) for slope, low, high in three[: columns.shape[1]]]


def mean_interval(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """Mean, low, high of at least one value; the interval is NaN of fewer than two."""
    from scipy.special import stdtrit

    n, mean, half = len(values), fmean(values), math.nan
    if n > 1:
        half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / math.sqrt(n)
    return mean, mean - half, mean + half
