"""The rows of a study: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ablate.analysis.caveats import result_marks
from ablate.analysis.columns import (
    VIOLATION,
    column_heading,
    find_column,
    flat_rows,
    known_columns,
)
from ablate.analysis.objectives import is_accuracy
from ablate.files.shown import bytes_text, without_controls
from ablate.ledger.record import RowRecord, Rung, StudyRecord
from ablate.report.numbers import (
    MISSING,
    duration_text,
    metric_text,
    metric_unit,
    metric_words,
    param_text,
    short_names,
)
from ablate.report.terminal.tables import params_cell
from ablate.study.json_data import json_value

_COSTS = ("worked_seconds", "lost_seconds", "gpu_hours", "peak_memory_bytes", "peak_gpu_bytes")


def trials_table(record: StudyRecord, columns: Sequence[str] = ()) -> Table:
    """The record's rows in its order (`select_trials` filters and sorts).

    Args:
        columns: which to show, as `find_column` takes them; none: number, of an ablation cell and
            pair, state and objectives, then attempts and costs as far as a row has any to tell of,
            then all parameters.

    Raises:
        ParameterError: if a column is unknown.
    """
    flat = flat_rows(record)
    objectives = [objective.metric for objective in record.study.objectives]
    there = known_columns(record, flat)
    shown = [find_column(name, there, "columns") for name in columns]
    cell = [name for name in ("cell", "pair") if name in there]
    shown = shown or ["number", *cell, "state", *objectives, *_telling(flat)]
    captions = [*result_marks(record)]
    if any(map(is_accuracy, shown)):
        captions.insert(0, "accuracies in %, on the validation split")
    table = Table(
        title=escape(f"{record.name}: {len(record.rows)} of {record.trials} trials"),
        caption=escape("; ".join(captions)) or None,
    )
    for name in shown:
        is_number = any(not isinstance(row.get(name, 0), str) for row in flat)
        table.add_column(
            escape(column_heading(name)) + metric_unit(name),
            justify="right" if is_number else "left",
        )
    if not columns:
        table.add_column("parameters, or reason of failure", overflow="fold", min_width=24)
    short = short_names(sorted({key for row in record.rows for key in row.params}))
    for row, values in zip(record.rows, flat, strict=True):
        cells: list[str | Text] = [_cell(name, values.get(name)) for name in shown]
        table.add_row(*cells, *([] if columns else [_note(record, row, short)]))
    return table


def trials_rows(record: StudyRecord, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The record's rows, flat, by the columns of `trials_frame`; moments in ISO 8601, UTC.

    Args:
        columns: which, as `find_column` takes them; none: all that a row has.

    Raises:
        ParameterError: if a column is unknown.
    """
    flat = flat_rows(record)
    if columns:
        there = known_columns(record, flat)
        shown = [find_column(name, there, "columns") for name in columns]
        flat = [{name: row.get(name) for name in shown} for row in flat]
    return [json_value(row) for row in flat]


def _telling(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Attempts where a row has several, alphas where one is not 1, the row whose scores one has,
    each cost where there is any."""
    telling = ["attempt"] if any(row["attempt"] > 1 for row in flat) else []
    telling += [VIOLATION] if any(row.get(VIOLATION) for row in flat) else []
    telling += ["alpha"] if any(row.get("alpha", 1.0) < 1 for row in flat) else []
    telling += ["copy_of"] if any("copy_of" in row for row in flat) else []
    return telling + [name for name in _COSTS if any(row.get(name) for row in flat)]


_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "state": str.lower,
    "worked_seconds": duration_text,
    "lost_seconds": duration_text,
    "duration_seconds": duration_text,
    "gpu_hours": "{:.2f}".format,
    "peak_memory_bytes": bytes_text,
    "peak_gpu_bytes": bytes_text,
    "started": lambda moment: moment.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
    "finished": lambda moment: moment.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return MISSING
    if name in _TEXTS:
        return _TEXTS[name](value)
    return escape(metric_text(name, value) if isinstance(value, float) else param_text(value))


def _stopped_text(record: StudyRecord, rung: Rung) -> str:
    pruner = record.study.search.pruner
    compared = tuple(rung.scores) if pruner is None else pruner.compared(record.study.objectives)
    values = {metric: metric_text(metric, rung.value(metric)) for metric in compared}
    named = [f"{metric_words(metric)} {values[metric]}" for metric in compared]
    text = ", ".join(named if len(named) > 1 else values.values())
    images = f" on {rung.images} images" if rung.images else ""
    return f"stopped after epoch {rung.epoch} at {text}{images}"


def _note(record: StudyRecord, row: RowRecord, short: Mapping[str, str]) -> Text:
    """Why a row failed, was stopped or stands at alpha 1, then its parameters."""
    lines = []
    if row.failure is not None:
        reason = without_controls(row.failure.reason)
        lines.append(Text(f"{row.failure.kind}: {reason}", style="red"))
    elif row.path is not None and row.path.note:
        lines.append(Text(row.path.note, style="yellow"))
    elif row.state == "PRUNED" and row.rungs:
        lines.append(Text(_stopped_text(record, row.rungs[-1]), style="yellow"))
    params = params_cell(row.params, short)
    return Text("\n").join([*lines, params] if params else lines)
