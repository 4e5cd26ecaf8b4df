"""Which rows of a study to look at, and in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ablate.analysis.columns import PARAM, column_order, flat_row
from ablate.errors import ParameterError, did_you_mean
from ablate.ledger.record import RowRecord, State, StudyRecord

STATES: tuple[str, ...] = get_args(State)


def select_trials(
    record: StudyRecord,
    *,
    state: str | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
) -> StudyRecord:
    """The record with only the rows asked for.

    A column is one of `trials_frame`'s; a parameter's may be named without `param.`.

    Args:
        state: keep rows in this state, in any case.
        where: keep rows for which each of these `COLUMN=VALUE` holds; numbers are compared as
            numbers, anything else as text.
        sort: a column, smallest first, or `-COLUMN`, largest first; none: by number. Rows
            without a value there, or with NaN, come last in either order; equal ones stay in
            order of number.

    Raises:
        ParameterError: if a state or column is unknown or a `where` has no `=`.
    """
    if state is not None and state.upper() not in STATES:
        raise ParameterError(
            f"state: must be a trial state, got {state}. {did_you_mean(state.upper(), STATES)}"
        )
    objectives = record.study.objectives
    flat = {row.number: flat_row(row, objectives) for row in record.rows}
    columns = column_order(list(flat.values()), objectives)
    wanted = [_condition(text, columns) for text in where]
    kept = [
        row
        for row in sorted(record.rows, key=lambda row: row.number)
        if (state is None or row.state == state.upper())
        and all(_equals(flat[row.number].get(column), value) for column, value in wanted)
    ]
    if sort is not None:
        kept = _sorted(kept, flat, _column(sort.removeprefix("-"), columns, "sort"), sort[0] == "-")
    return replace(record, rows=tuple(kept))


def _condition(text: str, columns: Sequence[str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(
            f"where: must be COLUMN=VALUE, got {text}. Write it as state=COMPLETE."
        )
    return _column(name, columns, "where"), value


def _column(name: str, columns: Sequence[str], option: str) -> str:
    for column in (name, PARAM + name):
        if column in columns:
            return column
    raise ParameterError(
        f"{option}: must be a column of the trials, got {name or 'nothing'}. "
        f"{did_you_mean(name, columns)}"
    )


def _equals(value: Any, text: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return math.isclose(value, float(text), rel_tol=1e-9)
        except ValueError:
            return False
    return value is not None and str(value) == text


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
