"""The rows of a study: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ablate.analysis.caveats import bounds_at, missed_bounds, result_marks
from ablate.analysis.columns import (
    RUNG,
    VIOLATION,
    column_heading,
    find_column,
    flat_rows,
    known_columns,
)
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.files.shown import bytes_text
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
from ablate.report.terminal.tables import (
    NARROW_PARAMS_WIDTH,
    PARAMS_WIDTH,
    FittedTable,
    add_whole_column,
    params_cell,
)
from ablate.search.asha import deciding_bounds
from ablate.study.json_data import json_value

_COSTS = ("worked_seconds", "lost_seconds", "gpu_hours", "peak_memory_bytes", "peak_gpu_bytes")
Flat = Sequence[Mapping[str, Any]]
"""Rows by the columns of `flat_rows`."""


def trials_table(
    record: StudyRecord, columns: Sequence[str] = (), *, whole_study: StudyRecord | None = None
) -> FittedTable:
    """The record's rows in its order (`select_trials` filters and sorts).

    Args:
        whole_study: that the rows were selected from, of which the caption speaks; None: `record`.
        columns: which to show, as `find_column` takes them; none: number, of an ablation cell and
            pair, state and objectives, then attempts and costs as far as a row has any to tell of,
            then all parameters.  In a narrow terminal costs are left out first, then all but the
            objectives; the caption names them.

    Raises:
        ParameterError: if a column is unknown.
    """
    flat = flat_rows(record)
    there = known_columns(record, flat)
    marks = result_marks(whole_study or record)
    if columns:
        shown = [find_column(name, there, "columns") for name in columns]
        return FittedTable((partial(_table, record, flat, marks, shown),))
    cell = [name for name in ("cell", "pair") if name in there]
    objectives = [objective.metric for objective in record.study.objectives]
    telling = _telling(flat)
    whole = ["number", *cell, "state", *objectives, *telling]
    costs = [name for name in telling if name in _COSTS]
    make = partial(_with_params, record, flat, marks, whole)
    return FittedTable(
        (
            partial(make, PARAMS_WIDTH),
            partial(make, PARAMS_WIDTH, left_out=costs),
            partial(make, NARROW_PARAMS_WIDTH, left_out=telling),
        )
    )


def _table(record: StudyRecord, flat: Flat, marks: Sequence[str], shown: Sequence[str]) -> Table:
    """The rows, by these columns."""
    table = _titled(record, marks, shown)
    for name in shown:
        table.add_column(
            Text(_heading(name)), justify="right" if _is_number(flat, name) else "left"
        )
    for values in flat:
        table.add_row(*(Text(_cell(name, values.get(name))) for name in shown))
    return table


def _with_params(
    record: StudyRecord,
    flat: Flat,
    marks: Sequence[str],
    whole: Sequence[str],
    params_width: int,
    *,
    left_out: Sequence[str] = (),
) -> Table:
    """The rows, by these columns and parameters; no value is cut.

    Args:
        whole: columns; left_out: of them, which to name in the caption instead.
        params_width: of the parameters, at the least.
    """
    shown = [name for name in whole if name not in left_out]
    table = _titled(record, marks, shown, left_out)
    columns = [[_cell(name, values.get(name)) for values in flat] for name in shown]
    for name, cells in zip(shown, columns, strict=True):
        add_whole_column(table, _heading(name), cells, is_text=not _is_number(flat, name))
    table.add_column("parameters, or reason of failure", overflow="fold", min_width=params_width)
    short = short_names(sorted({key for row in record.rows for key in row.params}))
    for at, row in enumerate(record.rows):
        table.add_row(*(Text(cells[at]) for cells in columns), _note(record, row, short))
    return table


def _titled(
    record: StudyRecord,
    marks: Sequence[str],
    shown: Sequence[str],
    left_out: Sequence[str] = (),
) -> Table:
    metrics = [name.removeprefix(RUNG) for name in shown]
    splits = {metric_split(metric) for metric in metrics if is_accuracy(metric)}
    captions = [f"accuracies in %, on the {split} split" for split in sorted(filter(None, splits))]
    if left_out:
        names = ", ".join(map(column_heading, left_out))
        captions.append(f"not shown (terminal too narrow): {names}; --columns lists them")
    captions += marks
    return Table(
        title=escape(f"{record.name}: {len(record.rows)} of {record.trials} trials"),
        caption=escape("; ".join(captions)) or None,
    )


def _heading(name: str) -> str:
    return column_heading(name) + metric_unit(name.removeprefix(RUNG))


def _is_number(flat: Flat, name: str) -> bool:
    return any(not isinstance(row.get(name, 0), str) for row in flat)


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
    is_number = isinstance(value, float)
    return metric_text(name.removeprefix(RUNG), value) if is_number else param_text(value)


def _stopped_text(record: StudyRecord, rung: Rung) -> str:
    pruner = record.study.search.pruner
    compared = () if pruner is None else pruner.compared(record.study.objectives)
    if all(math.isnan(rung.value(metric)) for metric in compared):  # by an earlier pruner
        compared = tuple(rung.scores)
    values = {metric: metric_text(metric, rung.value(metric)) for metric in compared}
    named = [f"{metric_words(metric)} {values[metric]}" for metric in compared]
    text = ", ".join(named if len(named) > 1 else values.values())
    images = f" on {rung.images} images" if rung.images else ""
    known = bounds_at(record, rung)
    deciding = (one for one in deciding_bounds(record.study, record.bounds) if one in known)
    missed = missed_bounds(list(deciding), rung.scores)
    beyond = f"; beyond constraints: {' and '.join(missed)}" if missed else ""
    return f"stopped after epoch {rung.epoch} at {text}{images}{beyond}"


def _note(record: StudyRecord, row: RowRecord, short: Mapping[str, str]) -> Text:
    """Why a row failed, was stopped or stands at alpha 1, then its parameters."""
    lines = []
    if row.failure is not None:
        lines.append(Text(f"{row.failure.kind}: {row.failure.reason}", style="red"))
    elif row.path is not None and row.path.note:
        lines.append(Text(row.path.note, style="yellow"))
    elif row.state == "PRUNED" and row.rungs:
        lines.append(Text(_stopped_text(record, row.rungs[-1]), style="yellow"))
    params = params_cell(row.params, short)
    return Text("\n").join([*lines, params] if params else lines)
