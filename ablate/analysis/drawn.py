"""A record as figures read it: once, and within limits: numbers whose squares and ranges are
finite, and visible panels.

A value beyond `LARGEST` is not drawn, like infinity; the caveats of the study state this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.ledger.record import RowRecord, StudyRecord

LARGEST = 1e37
"""Below the largest number of single precision, in which trees and pages compute."""
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


def _is_beyond(value: Any) -> bool:
    return isinstance(value, (int, float)) and (value > LARGEST or value < -LARGEST)


def _drawn(value: Any) -> Any:
    return math.copysign(math.inf, value) if _is_beyond(value) else value


@kept_with_record
def _rows_beyond(record: StudyRecord) -> dict[int, RowRecord]:
    """The rows with an objective or a parameter beyond `LARGEST`, by number, as figures read
    them."""
    return {
        row.number: replace(
            row,
            values=None if row.values is None else tuple(map(_drawn, row.values)),
            params={key: _drawn(value) for key, value in row.params.items()},
        )
        for row in record.rows
        if any(map(_is_beyond, (*(row.values or ()), *row.params.values())))
    }


@kept_with_record
def drawn_record(record: StudyRecord) -> StudyRecord:
    """The record as figures read it: values beyond `LARGEST` are infinite; the same where none
    is."""
    drawn = _rows_beyond(record)
    if not drawn:
        return record
    return replace(record, rows=tuple(drawn.get(row.number, row) for row in record.rows))


def beyond_marks(record: StudyRecord) -> list[str]:
    """A note on the number of complete trials with a value beyond the limits, if any."""
    count = sum(row.state == "COMPLETE" for row in _rows_beyond(record).values())
    trials = "1 trial has" if count == 1 else f"{count} trials have"
    return [f"{trials} a value beyond {LARGEST:g}, which is not drawn"] if count else []


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
