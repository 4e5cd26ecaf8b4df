"""Every row of a study for the page: a table that sorts and filters, and what a click shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.analysis.columns import (
    CELL,
    COLUMNS,
    PARAM,
    RUNG,
    RUNG_EPOCH,
    VIOLATION,
    column_order,
    flat_rows,
)
from ablate.analysis.objectives import front_words, is_accuracy
from ablate.analysis.pareto import pareto_info
from ablate.ledger.record import StudyRecord
from ablate.report.numbers import metric_label, short_names

_MANY = 2_000
"""Rows above which the page keeps objectives and parameters alone: it must stay below 15 MB."""
_DIGITS = 5
_TERMS = f"{PARAM}loss.terms"
_HEADINGS = {RUNG_EPOCH: "Last rung", VIOLATION: "Violation", "alpha": "Alpha"}


@dataclass(frozen=True)
class TrialsTable:
    """Rows by column.

    Attributes:
        columns: `{key, heading, percent}`, in order.
        values: one list per column, one value per row; None if a row has no value.
        front: numbers of the trials on the front, or of the best for one objective; front_words:
            which of both; exportable: numbers of those with weights.
        title: "All trials", or "All runs" of an ablation.
    """

    columns: tuple[Mapping[str, Any], ...]
    values: tuple[tuple[Any, ...], ...]
    front: tuple[int, ...]
    front_words: str
    exportable: tuple[int, ...]
    title: str


def trials_of(record: StudyRecord, *, has_weights: bool = True) -> TrialsTable:
    """The rows of a study, in the record's order; accuracies in percent, five digits.

    Args:
        has_weights: whether complete trials can be exported.
    """
    rows = flat_rows(record)
    shown = _shown(record, rows)
    short = short_names([name.removeprefix(PARAM) for name in shown if name.startswith(PARAM)])
    front = () if record.design is not None else pareto_info(record).front
    can_export = has_weights and record.study.trainable is None
    return TrialsTable(
        columns=tuple(
            {
                "key": name,
                "heading": _heading(name, short),
                "percent": is_accuracy(name.removeprefix(RUNG)),
            }
            for name in shown
        ),
        values=tuple(tuple(_cell(name, row.get(name)) for row in rows) for name in shown),
        front=tuple(point.number for point in front),
        front_words=front_words(record.study.objectives),
        exportable=tuple(row.number for row in record.complete) if can_export else (),
        title="All trials" if record.design is None else "All runs",
    )


def _shown(record: StudyRecord, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    there = column_order(rows, record.study.objectives)
    used = {name for row in rows for name, value in row.items() if value is not None}
    objectives = [objective.metric for objective in record.study.objectives]
    params = [name for name in there if name.startswith(PARAM)]
    params.sort(key=lambda name: name != _TERMS)  # what tells trials apart comes first
    shown = ["number", "state", *(name for name in CELL if name in there), *objectives, *params]
    if len(rows) > _MANY:
        return shown + (["failure_reason"] if "failure_reason" in used else [])
    # Totals, families and types, but no single severities.
    coarse = [name for name in there if is_accuracy(name) and name.count(".") < 2]
    shown += [name for name in coarse if name not in shown]
    rest = (VIOLATION, "alpha", *(name for name, one in COLUMNS.items() if one.title))
    shown += [name for name in rest if name in used and name not in shown]
    if any(row["state"] == "PRUNED" for row in rows):  # why they were stopped
        shown += [one for one in (RUNG_EPOCH, *(RUNG + one for one in objectives)) if one in used]
    return shown


def _heading(name: str, short: Mapping[str, str]) -> str:
    if name.startswith(PARAM):
        key = name.removeprefix(PARAM)
        # A part of a mix by itself reads like the accuracy under it.
        is_part = key.rpartition(".")[0].endswith(("mix", "layer_weights"))
        return ".".join(key.split(".")[-2:]) if is_part and "." not in short[key] else short[key]
    if name.startswith(RUNG):
        return f"{metric_label(name.removeprefix(RUNG))}, last rung"
    return COLUMNS[name].title if name in COLUMNS else _HEADINGS.get(name) or metric_label(name)


def _cell(name: str, value: Any) -> Any:
    """A number, text or boolean for JSON; None for NaN."""
    if isinstance(value, float):
        times = 100 if is_accuracy(name.removeprefix(RUNG)) else 1
        return None if value - value != 0 else float(f"{value * times:.{_DIGITS}g}")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
