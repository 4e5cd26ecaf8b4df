"""The rows of a study: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ablate.analysis.caveats import result_marks
from ablate.analysis.columns import (
    COLUMNS,
    RUNG,
    VIOLATION,
    column_heading,
    find_column,
    flat_rows,
    known_columns,
)
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.files.shown import bytes_text, shown_if
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.numbers import (
    MISSING,
    duration_text,
    metric_text,
    metric_unit,
    metric_words,
    param_text,
    short_names,
)
from ablate.report.tables import Table, text_column
from ablate.study.json_data import json_value

_USUAL = {"attempt": (0, 1), VIOLATION: (0,), "alpha": (1,), "copy_of": ()}
"""Columns that are shown where a row has another value."""


def trials_table(
    record: StudyRecord, columns: Sequence[str] = (), *, whole_study: StudyRecord | None = None
) -> Table:
    """The record's rows in its order (`select_trials` filters and sorts).

    Args:
        whole_study: that the rows were selected from, of which the notes speak; None: `record`.
        columns: which to show, as `find_column` takes them; none: number, of an ablation replicate,
            cell and pair, state and objectives, then attempts, violation, alpha and copies as far
            as a row has any to tell of, then all parameters.  A narrow terminal leaves out the last
            first.

    Raises:
        ParameterError: if a column is unknown.
    """
    flat = flat_rows(record)
    there = known_columns(record, flat)
    telling = [
        name
        for name, usual in _USUAL.items()
        if not columns and any(name in row and row[name] not in usual for row in flat)
    ]
    names = [find_column(name, there, "columns") for name in columns]
    if not columns:
        cell = [name for name in ("replicate", "cell", "pair") if name in there]
        metrics = [objective.metric for objective in record.study.objectives]
        names = ["number", *cell, "state", *metrics, *telling]
    parts = []
    for name in names:
        values = [row.get(name) for row in flat]
        heading = column_heading(name) + metric_unit(name.removeprefix(RUNG))
        parts.append(text_column(name, heading, values, [_text(name, value) for value in values]))
    if not columns:
        short = short_names(sorted({key for row in record.rows for key in row.params}))
        notes = [_note(record, row, short) for row in record.rows]
        parts.append(text_column("note", "parameters, or reason of failure", notes, folds=24))
    outside = record.count("OUTSIDE")
    splits = {metric_split(name.removeprefix(RUNG)) for name in names if is_accuracy(name)}
    units = [f"accuracies in %, on the {split} split" for split in sorted(filter(None, splits))]
    return Table(
        columns=tuple(parts),
        name=record.name,
        title=f"{record.name}: {sum(not row.outside for row in record.rows)} of {record.trials} "
        f"trials{shown_if(outside, f', {outside} outside')}",
        notes=(*units, *result_marks(whole_study or record)),
        narrow=tuple((name,) for name in reversed(telling)),
        keeps_empty=True,
    )


def trials_rows(record: StudyRecord, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A dict a row, for JSON: all columns of `flat_rows`, or these of all rows."""
    flat = flat_rows(record)
    if columns:
        there = known_columns(record, flat)
        names = [find_column(name, there, "columns") for name in columns]
        flat = [{name: row.get(name) for name in names} for row in flat]
    return [json_value(row) for row in flat]


_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "state": str.lower,
    "seconds": duration_text,
    "bytes": bytes_text,
    "moment": lambda moment: f"{moment.astimezone():%Y-%m-%d %H:%M:%S}",
    "hours": "{:.2f}".format,
}
"""By the unit of a column."""


def _text(name: str, value: Any) -> str:
    if value is None:
        return MISSING
    if name in COLUMNS and COLUMNS[name].unit:
        return _TEXTS[COLUMNS[name].unit](value)
    is_number = isinstance(value, float)
    return metric_text(name.removeprefix(RUNG), value) if is_number else param_text(value)


def _note(record: StudyRecord, row: RowRecord, short: Mapping[str, str]) -> str:
    """Why a row failed, was stopped or stands at alpha 1, then its parameters."""
    lines = []
    if row.failure is not None:
        lines.append(f"{row.failure.kind}: {row.failure.reason}")
    elif row.path is not None and row.path.note:
        lines.append(row.path.note)
    elif row.state == "PRUNED" and row.rungs:
        rung, pruner = row.rungs[-1], record.study.search.pruner
        compared = pruner.compared(record.study.objectives) if pruner is not None else ()
        metrics = [metric for metric in compared if metric in rung.scores] or rung.scores
        scores = ", ".join(
            f"{metric_words(metric)} {metric_text(metric, rung.value(metric))}"
            for metric in metrics
        )
        images = shown_if(rung.images, f" on {rung.images} images")
        lines.append(f"stopped after epoch {rung.epoch} at {scores}{images}")
    params = (f"{short[key]} {param_text(row.params[key])}" for key in sorted(row.params))
    return "\n".join(filter(None, [*lines, "; ".join(params)]))
