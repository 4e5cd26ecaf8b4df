"""Tables as pandas DataFrames: a study's rows, and what a figure shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.analysis.columns import COLUMNS, PARAM, RUNG_EPOCH, RUNG_IMAGES, column_order, flat_rows
from ablate.analysis.select import STATES
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {RUNG_EPOCH: "Int64", RUNG_IMAGES: "Int64"}


def typed_frame(types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A frame with columns of these types, also without rows.

    Args:
        types: a column's name -> its dtype, in the order of a row's values.
    """
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(types)).astype(dict(types))


def trials_frame(record: StudyRecord) -> pd.DataFrame:
    """One row per trial, in the record's order.

    Columns:
        number, attempt: int64.
        state: category of WAITING, RUNNING, COMPLETE, PRUNED, FAIL, OUTSIDE.
        replicate: Int64, only with replicates: which one, from 0.
        cell, pair, train_seed: only for an ablation: text; the index of the seed, from 0, over all
            replicates, and the seed itself (Int64).
        alpha, barrier: float64, only where networks between baseline and finetuned weights were
            scored (`ablate.study.interpolation.Choice`).
        violation: float64, only with constraints: 0 where a complete trial keeps all.
        one per metric, objectives first, float64: accuracies are fractions from 0 to 1; NaN if
            the trial was not scored.
        rung_epoch: Int64; `rung.<metric>`: float64: the last comparison of a pruner with other
            trials, after which epoch, and the scores there; not for a study without one.
        rung_images: Int64, only where rungs are scored on fewer images: on how many.
        rung_violation: float64, only with constraints: as violation, of the scores at that rung;
            NaN where not all constraints are known there, as on fewer images one that is relative
            to the baseline.
        `param.<dotted key>`: resolved. Int64, boolean, float64 or text, depending on the values;
            missing if a condition left the parameter out. A subset is its parts joined by +; a mix
            has one float64 column per part, such as `param.augment.mix.noise`.
        failure_kind, failure_reason: text, missing unless the state is FAIL.
        enqueued: boolean, whether (some of) its parameters were given, not sampled.
        copy_of: Int64, number of the row whose scores it copies; missing if it was run.
        worked_seconds, lost_seconds, gpu_hours: float64 (`ablate.analysis.accounting`), NaN
            before the first attempt.
        peak_memory_bytes, peak_gpu_bytes: Int64, missing if unknown.
        hosts: text, joined by +.
        started, finished: UTC, missing before that time.
        duration_seconds: float64, NaN before the end; includes pauses.

    A study without rows gives a frame without rows, and without columns of scores and parameters.
    """
    import pandas as pd

    rows = flat_rows(record)
    return pd.DataFrame(
        {name: _column(name, rows) for name in column_order(rows, record.study.objectives)},
        index=pd.RangeIndex(len(rows)),
    )


def _column(name: str, rows: list[dict[str, Any]]) -> pd.Series[Any]:
    import pandas as pd

    values = [row.get(name) for row in rows]
    column = COLUMNS.get(name)
    if column is not None and column.unit == "state":
        return pd.Series(pd.Categorical(values, categories=list(STATES)))
    if column is not None and column.unit == "moment":
        return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True))
    dtype = _TYPES.get(name, "float64") if column is None else column.dtype
    return pd.Series(values, dtype=_param_dtype(values) if name.startswith(PARAM) else dtype)


def _param_dtype(values: list[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    if kinds <= {int, float}:
        return "float64"
    return "string" if kinds == {str} else "object"
