"""A record as figures read it: once, and within limits: visible panels, and axes that one collapsed
trial does not compress."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.ledger.record import StudyRecord

MOST_OBJECTIVES = 6
"""Of a figure with a panel an objective or a pair; and of an exact hypervolume, whose time grows
exponentially with them."""


Found = TypeVar("Found")


def kept_with_record(read: Callable[[StudyRecord], Found]) -> Callable[[StudyRecord], Found]:
    """Read something from a record, which never changes, once, however many ask for it."""
    name = f"{read.__module__}.{read.__name__}"

    @wraps(read)
    def kept(record: StudyRecord) -> Found:
        if name not in vars(record):
            vars(record)[name] = read(record)
        found: Found = vars(record)[name]
        return found

    return kept


FAR_SPREADS = 3.0
"""Interquartile ranges beyond the worse quartile.  Source: Tukey 1977, the outer fence."""


def fenced(values: ArrayLike, *, maximize: bool) -> NDArray[np.float64]:
    """Clip scores of collapsed trials to the outer fence: one collapsed training would compress
    all others into one end of an axis, or into one colour.

    Only the worse side has a fence, because outstanding good trials are of interest.  If at least
    half of the values are equal, there is no measure of spread, and nothing is clipped.

    Args:
        values: NaN is kept and ignored.
        maximize: whether more is better.
    """
    table = np.asarray(values, dtype=float)
    finite = table[np.isfinite(table)]
    if not len(finite):
        return table
    lower, upper = np.quantile(finite, (0.25, 0.75))
    room = FAR_SPREADS * (upper - lower)
    if room == 0:
        return table
    ends = (lower - room, np.inf) if maximize else (-np.inf, upper + room)
    return np.where(np.isfinite(table), np.clip(table, *ends), table)
