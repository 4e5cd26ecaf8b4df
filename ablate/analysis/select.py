"""Filtering and sorting the rows of a study."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """The record with only the selected rows.

    A column is one of `trials_frame`'s; a parameter's may be named without `param.`, or as the
    table of trials shows it (`ablate.analysis.columns.find_column`).

    Args:
        state: keep rows in this state, in any case; `done` and `failed` are COMPLETE and FAIL.
        where: keep rows for which each of these conditions holds (`ablate.analysis.select`).
        sort: a column, smallest first, or `-COLUMN`, largest first; none: by number. Rows without a
            value, or with NaN, come last in both orders; ties are in order of number.

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


def _state(name: str | None, where: str = "state") -> str | None:
    if name is None:
        return None
    state = _SPOKEN.get(name.upper(), name.upper())
    if state not in STATES:
        raise ParameterError(
            f"{where}: must be a trial state, got {name}. {did_you_mean(name.upper(), STATES)}"
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
    """A choice may have both numbers and words; numbers come first."""
    return isinstance(value, str), value


# -- Conditions on a column, as `ablate trials --where` takes them: `augment.strength>=0.5`


_WRITTEN = re.compile(r"(?P<column>.*?)(?P<sign>!=|<=|>=|==|=|<|>)(?P<value>.*)", re.DOTALL)
_SIGNS = ("!", "<", "=", ">")
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class ColumnCondition:
    """One condition on a flat row.

    Attributes:
        sign: =, !=, <, <=, > or >=.
        text: the value to compare with, as written.
    """

    column: str
    sign: str
    text: str

    def holds(self, flat: Mapping[str, Any]) -> bool:
        """Numbers are compared as numbers, times as times, and all other values as text.  A row
        without a value, or with NaN, only satisfies `!=`."""
        value = flat.get(self.column)
        if self.sign in _ORDERS:
            return self._in_order(value)
        return self._equals(value) is (self.sign == "=")

    def _in_order(self, value: Any) -> bool:
        if isinstance(value, datetime):
            limit = _moment(self.text)
            value = value.timestamp()
        else:
            limit = _number(self.text)
        if limit is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return _ORDERS[self.sign](value, limit)

    def _equals(self, value: Any) -> bool:
        if value is None:
            return False
        if isinstance(value, bool) or self.column == "state":
            return str(value).lower() == self.text.lower()
        if isinstance(value, (int, float)):
            number = _number(self.text)
            return number is not None and math.isclose(value, number, rel_tol=1e-9)
        if isinstance(value, datetime):
            return value.timestamp() == _moment(self.text)
        return str(value) == self.text


def parse_condition(text: str, columns: Sequence[str]) -> ColumnCondition:
    """Read `COLUMN=VALUE`, or with !=, <, <=, >, >=.

    Args:
        columns: existing columns; see `find_column` for their names.

    Raises:
        ParameterError: if it has no sign, or two; the column or a state is unknown; an order is
            requested for a value that is neither a number nor a time; or a fraction is compared
            with something else.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None or found["sign"] == "==" or found["value"].startswith(_SIGNS):
        raise ParameterError(
            f"where: must be COLUMN=VALUE, or with !=, <, <=, >, >=, got {text}. "
            "Write it as state=COMPLETE."
        )
    column = find_column(found["column"].strip(), columns, "where")
    value = found["value"].strip()
    if found["sign"] in _ORDERS and _number(value) is None and _moment(value) is None:
        raise ParameterError(
            f"where: {found['sign']} needs a number or a time such as 2026-03-01T12:00, got "
            f"{value or 'nothing'}. Text can be compared with = and !=."
        )
    _check_fraction(column, value)
    if column == "state":
        value = _state(value, "where: state") or ""
    return ColumnCondition(column, found["sign"], value)


_NO_FRACTIONS = (*LEADING, *CELL, RUNG_EPOCH, RUNG_IMAGES, *TRAILING)


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
