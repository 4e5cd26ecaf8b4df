"""Filtering and sorting the rows of a study: `--where augment.strength>=0.5`, `--sort -robust`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

from ablate.analysis.columns import (
    CELL,
    LEADING,
    RUNG,
    RUNG_EPOCH,
    RUNG_IMAGES,
    TRAILING,
    as_utc,
    find_column,
    flat_rows,
    known_columns,
)
from ablate.analysis.objectives import is_accuracy
from ablate.errors import ParameterError, did_you_mean
from ablate.ledger.record import State, StudyRecord

STATES: tuple[str, ...] = get_args(State)
_SPOKEN = {"DONE": "COMPLETE", "FAILED": "FAIL"}
_WRITTEN = re.compile(r"(?P<column>.*?)(?P<sign>!=|<=|>=|==|=|<|>)(?P<value>.*)", re.DOTALL)
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NO_FRACTIONS = (*LEADING, *CELL, RUNG_EPOCH, RUNG_IMAGES, *TRAILING)


def select_trials(
    record: StudyRecord,
    *,
    state: str | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
) -> StudyRecord:
    """The record with only the selected rows.

    A column is one of `trials_frame`'s; a parameter's may be named without `param.`, or as the
    table of trials shows it (`ablate.analysis.columns.find_column`).

    Args:
        state: keep rows in this state, in any case; `done` and `failed` are COMPLETE and FAIL.
        where: keep rows for which each of these conditions holds (`parse_condition`).
        sort: a column, smallest first, or `-COLUMN`, largest first; none: by number. Rows without a
            value, or with NaN, come last in both orders; ties are in order of number.

    Raises:
        ParameterError: if a state or column is unknown or a condition cannot be read.
    """
    wanted_state = None if state is None else _state(state, "state")
    flat = {row["number"]: row for row in flat_rows(record)}
    columns = known_columns(record, list(flat.values()))
    wanted = [parse_condition(text, columns) for text in where]
    kept = [
        row
        for row in sorted(record.rows, key=lambda row: row.number)
        if wanted_state in (None, row.state) and all(holds(flat[row.number]) for holds in wanted)
    ]
    if sort is not None:
        column = find_column(sort.removeprefix("-"), columns, "sort")
        values = {row.number: flat[row.number].get(column) for row in kept}
        absent = {number for number, value in values.items() if _is_missing(value)}
        there = [row for row in kept if row.number not in absent]
        # A choice may have both numbers and words; numbers come first.
        there.sort(
            key=lambda row: (isinstance(values[row.number], str), values[row.number]),
            reverse=sort.startswith("-"),
        )
        kept = [*there, *(row for row in kept if row.number in absent)]
    return replace(record, rows=tuple(kept))


def parse_condition(text: str, columns: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
    """Read `COLUMN=VALUE`, or with !=, <, <=, >, >=.

    Numbers are compared as numbers, times as times, and all other values as text.  A row without a
    value, or with NaN, only satisfies `!=`.

    Args:
        columns: existing columns; see `find_column` for their names.

    Returns:
        Whether it holds for a flat row.

    Raises:
        ParameterError: if it has no sign, or two; the column or a state is unknown; an order is
            requested for a value that is neither a number nor a time; or a fraction is compared
            with something else.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None or found["sign"] == "==" or found["value"].startswith(("!", "<", "=", ">")):
        raise ParameterError(
            f"where: must be COLUMN=VALUE, or with !=, <, <=, >, >=, got {text}. "
            "Write it as state=COMPLETE."
        )
    column, sign = find_column(found["column"].strip(), columns, "where"), found["sign"]
    value = found["value"].strip()
    if sign in _ORDERS and _number(value) is None and _moment(value) is None:
        raise ParameterError(
            f"where: {sign} needs a number or a time such as 2026-03-01T12:00, got "
            f"{value or 'nothing'}. Text can be compared with = and !=."
        )
    _check_fraction(column, value)
    if column == "state":
        value = _state(value, "where: state")
    if sign in _ORDERS:
        return lambda flat: _in_order(flat.get(column), sign, value)
    return lambda flat: _equals(flat.get(column), value) is (sign == "=")


def _in_order(value: Any, sign: str, text: str) -> bool:
    limit = _number(text)
    if isinstance(value, datetime):
        limit, value = _moment(text), value.timestamp()
    if limit is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return _ORDERS[sign](value, limit)


def _equals(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == text.lower()
    if isinstance(value, (int, float)):
        number = _number(text)
        return number is not None and math.isclose(value, number, rel_tol=1e-9)
    if isinstance(value, datetime):
        return value.timestamp() == _moment(text)
    return value is not None and str(value) == text


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _state(name: str, where: str) -> str:
    state = _SPOKEN.get(name.upper(), name.upper())
    if state not in STATES:
        raise ParameterError(
            f"{where}: must be a trial state, got {name}. {did_you_mean(name.upper(), STATES)}"
        )
    return state


def _check_fraction(column: str, text: str) -> None:
    """Tables show accuracies in percent: 90 must not be taken for the fraction 0.9 in silence."""
    number = _number(text)
    if number is None:
        return
    if text.endswith("%") and column in _NO_FRACTIONS:
        raise ParameterError(
            f"where: {column} is not a fraction, got {text}. Compare it with a number without %."
        )
    if is_accuracy(column.removeprefix(RUNG)) and not 0 <= number <= 1:
        fix = "Write one, such as 90% or 0.9."
        if not text.endswith("%") and 1 < number <= 100:
            fix = f"Did you mean {number:g}% or {number / 100:g}?"
        raise ParameterError(f"where: {column} is a fraction from 0 to 1, got {text}. {fix}")


def _number(text: str) -> float | None:
    """ "0.9", or "90%" for the same."""
    try:
        # Decimal, so that 29% is the same float as 0.29.
        return float(Decimal(text[:-1]).scaleb(-2)) if text.endswith("%") else float(text)
    except (ValueError, ArithmeticError):
        return None


def _moment(text: str) -> float | None:
    """Seconds since 1970; without an offset it is local time."""
    try:
        return as_utc(datetime.fromisoformat(text)).timestamp()
    except ValueError:
        return None
