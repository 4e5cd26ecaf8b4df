"""Conditions on a column, as `ablate trials --where` takes them: `augment.strength>=0.5`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ablate.analysis.columns import CELL, LEADING, TRAILING, as_utc, find_column
from ablate.analysis.metrics import is_accuracy
from ablate.errors import ParameterError

_WRITTEN = re.compile(r"(?P<column>.*?)(?P<sign>!=|<=|>=|==|=|<|>)(?P<value>.*)", re.DOTALL)
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
        text: what it is compared with, as written.
    """

    column: str
    sign: str
    text: str

    def holds(self, flat: Mapping[str, Any]) -> bool:
        """Numbers are compared as numbers, moments as moments, true and false, states and all
        other values as text.  A row without a value there, or with NaN, only fulfils `!=`."""
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
        columns: that there are; see `find_column` for how one may be named.

    Raises:
        ParameterError: if it has no sign, the column is unknown, or an order is asked of a value
            that is neither a number nor a moment, or a fraction is compared with what is none.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None or found["sign"] == "==":
        raise ParameterError(
            f"where: must be COLUMN=VALUE, or with !=, <, <=, >, >=, got {text}. "
            "Write it as state=COMPLETE."
        )
    column = find_column(found["column"].strip(), columns, "where")
    value = found["value"].strip()
    if found["sign"] in _ORDERS and _number(value) is None and _moment(value) is None:
        raise ParameterError(
            f"where: {found['sign']} needs a number or a moment as 2026-03-01T12:00, got "
            f"{value or 'nothing'}. Text can be compared with = and !=."
        )
    _check_fraction(column, value)
    return ColumnCondition(column, found["sign"], value)


def _check_fraction(column: str, text: str) -> None:
    """Tables show accuracies in percent: 90 must not be taken for the fraction 0.9 in silence."""
    number = _number(text)
    if number is None:
        return
    if text.endswith("%") and column in (*LEADING, *CELL, *TRAILING):
        raise ParameterError(
            f"where: {column} is no fraction, got {text}. Compare it with a number without %."
        )
    if is_accuracy(column) and not 0 <= number <= 1:
        fix = "Write one, as 90% or 0.9."
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
