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
    return isinstance(value, (int, float)) and abs(value) > LARGEST


def _drawn(value: Any) -> Any:
    return math.copysign(math.inf, value) if _is_beyond(value) else value


def _drawn_row(row: RowRecord) -> RowRecord:
    """The same row where nothing is beyond the limits."""
    if not any(map(_is_beyond, (*(row.values or ()), *row.params.values()))):
        return row
    values = None if row.values is None else tuple(map(_drawn, row.values))
    return replace(row, values=values, params={key: _drawn(of) for key, of in row.params.items()})


@kept_with_record
def drawn_record(record: StudyRecord) -> StudyRecord:
    """The record as figures read it: values beyond `LARGEST` are infinite; the same where none
    is."""
    rows = tuple(map(_drawn_row, record.rows))
    same = all(new is old for new, old in zip(rows, record.rows, strict=True))
    return record if same else replace(record, rows=rows)


def beyond_marks(record: StudyRecord) -> list[str]:
    """A note on the number of complete trials with a value beyond the limits, if any."""
    both = zip(record.rows, drawn_record(record).rows, strict=True)
    count = sum(new is not old and old.state == "COMPLETE" for old, new in both)
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
