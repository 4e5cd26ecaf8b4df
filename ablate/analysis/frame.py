"""A study's rows as a pandas DataFrame."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ablate.analysis.columns import PARAM, TRAILING, column_order, flat_row
from ablate.analysis.select import STATES
from ablate.ledger.record import StudyRecord

_TEXT = ("failure_kind", "failure_reason")
_MOMENTS = ("started", "finished")


def trials_frame(record: StudyRecord) -> pd.DataFrame:
    """One row a trial, in the record's order.

    Columns:
        number, attempt: int64.
        state: category of WAITING, RUNNING, COMPLETE, PRUNED, FAIL.
        one a metric, objectives first, float64: accuracies are fractions from 0 to 1; NaN where
            the trial was not scored.
        `param.<dotted key>`: resolved. Int64, boolean, float64 or text, whichever holds every
            value; missing where a condition left the parameter out. A subset is its parts joined
            by +; a mix has one float64 column a part, as `param.augment.mix.noise`.
        failure_kind, failure_reason: text, missing unless the state is FAIL.
        started, finished: UTC, missing before the moment.
        duration_seconds: float64, NaN before the end.

    A study without rows gives a frame without rows, with every column but the scores' and the
    parameters'.
    """
    objectives = record.study.objectives
    rows = [flat_row(row, objectives) for row in record.rows]
    return pd.DataFrame(
        {name: _column(name, rows) for name in column_order(rows, objectives)},
        index=pd.RangeIndex(len(rows)),
    )


def _column(name: str, rows: list[dict[str, Any]]) -> pd.Series[Any]:
    values = [row.get(name) for row in rows]
    if name == "state":
        return pd.Series(pd.Categorical(values, categories=list(STATES)))
    if name in ("number", "attempt"):
        return pd.Series(values, dtype="int64")
    if name in _MOMENTS:
        return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True))
    if name.startswith(PARAM) or name in _TEXT:
        return pd.Series(values, dtype=_param_dtype(values) if name not in TRAILING else "string")
    return pd.Series(values, dtype="float64")


def _param_dtype(values: list[Any]) -> Any:
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return "boolean"
    if any(isinstance(value, bool) for value in present):
        return "object"
    if present and all(isinstance(value, int) for value in present):
        return "Int64"
    if all(isinstance(value, (int, float)) for value in present):
        return "float64"
    return "string" if all(isinstance(value, str) for value in present) else "object"
