"""Which rows of a study to look at, and in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ablate.analysis.columns import find_column, flat_rows, known_columns
from ablate.analysis.condition import parse_condition
from ablate.errors import ParameterError, did_you_mean
from ablate.ledger.record import RowRecord, State, StudyRecord

STATES: tuple[str, ...] = get_args(State)
_SPOKEN = {"DONE": "COMPLETE", "FAILED": "FAIL"}


def select_trials(
    record: StudyRecord,
    *,
    state: str | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
) -> StudyRecord:
    """The record with only the rows asked for.

    A column is one of `trials_frame`'s; a parameter's may be named without `param.`, or as the
    table of trials shows it (`ablate.analysis.columns.find_column`).

    Args:
        state: keep rows in this state, in any case; `done` and `failed` are COMPLETE and FAIL.
        where: keep rows for which each of these conditions holds (`ablate.analysis.condition`).
        sort: a column, smallest first, or `-COLUMN`, largest first; none: by number. Rows
            without a value there, or with NaN, come last in either order; equal ones stay in
            order of number.

    Raises:
        ParameterError: if a state or column is unknown or a condition cannot be read.
    """
    wanted_state = _state(state)
    flat = {row["number"]: row for row in flat_rows(record)}
    columns = known_columns(record, list(flat.values()))
    wanted = [parse_condition(text, columns) for text in where]
    kept = [
        row
        for row in sorted(record.rows, key=lambda row: row.number)
        if wanted_state in (None, row.state)
        and all(condition.holds(flat[row.number]) for condition in wanted)
    ]
    if sort is not None:
        column = find_column(sort.removeprefix("-"), columns, "sort")
        kept = _sorted(kept, flat, column, sort[0] == "-")
    return replace(record, rows=tuple(kept))


def _state(name: str | None) -> str | None:
    if name is None:
        return None
    state = _SPOKEN.get(name.upper(), name.upper())
    if state not in STATES:
        raise ParameterError(
            f"state: must be a trial state, got {name}. {did_you_mean(name.upper(), STATES)}"
        )
    return state


def _sorted(
    rows: Sequence[RowRecord],
    flat: Mapping[int, Mapping[str, Any]],
    column: str,
    descending: bool,
) -> list[RowRecord]:
    present = [row for row in rows if _has_value(flat[row.number].get(column))]
    absent = [row for row in rows if not _has_value(flat[row.number].get(column))]
    present.sort(key=lambda row: _sort_key(flat[row.number][column]), reverse=descending)
    return [*present, *absent]


def _has_value(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _sort_key(value: Any) -> tuple[bool, Any]:
    """A choice may hold numbers and words side by side: numbers come first."""
    return isinstance(value, str), value
