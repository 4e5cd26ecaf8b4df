"""The rows of a study as flat records, by column name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isnan
from typing import Any

from ablate.analysis.accounting import Account, trial_accounts
from ablate.analysis.caveats import bounds_at
from ablate.analysis.objectives import short_metric
from ablate.ledger.record import RowRecord, StudyRecord, row_violation
from ablate.study.keys import find_key, meant_keys, written_domains
from ablate.study.scores import violation
from ablate.study.settings import ObjectiveSettings

LEADING = ("number", "state", "attempt")
CELL = ("cell", "pair", "train_seed")
"""Of an ablation alone."""
CURVE = ("alpha", "barrier")
"""Where networks between baseline and finetuned weights were scored."""
VIOLATION = "violation"
"""Of a study with constraints: 0 where a complete trial keeps all."""
RUNG_EPOCH, RUNG_IMAGES, RUNG_VIOLATION = "rung_epoch", "rung_images", "rung_violation"
"""Of the last rung; the second where it has fewer images, the third where all constraints are known
there."""
RUNG = "rung."
"""Before a metric: its score at the last rung."""
TRAILING = (
    *("failure_kind", "failure_reason", "enqueued", "copy_of"),
    *("worked_seconds", "lost_seconds", "gpu_hours", "peak_memory_bytes", "peak_gpu_bytes"),
    *("hosts", "started", "finished", "duration_seconds"),
)
PARAM = "param."
_HEADINGS = {"number": "trial", "attempt": "attempts"}


def flat_rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The rows as flat mappings in the record's order: the columns of `trials_frame`, which says
    what each is.  Missing values are left out, except number, state, attempt and enqueued; so are
    unknown peaks.
    """
    return [
        _flat_row(record, row, account)
        for row, account in zip(record.rows, trial_accounts(record), strict=True)
    ]


def _flat_row(record: StudyRecord, row: RowRecord, account: Account) -> dict[str, Any]:
    flat = _flat_scores(record, row)
    flat |= {"number": row.number, "state": row.state, "attempt": row.attempt}
    if row.cell is not None:
        flat |= {"cell": row.cell, "pair": row.pair}
        if row.seeds is not None:
            flat["train_seed"] = row.seeds.train
    for key, value in row.params.items():
        flat |= flat_param(PARAM + key, value)
    if row.failure is not None:
        flat |= {"failure_kind": row.failure.kind, "failure_reason": row.failure.reason}
    flat["enqueued"] = row.enqueued
    if row.copy_of is not None:
        flat["copy_of"] = row.copy_of
    if account.spans:
        flat["worked_seconds"] = account.worked_seconds
        flat["lost_seconds"] = account.lost_seconds
        flat["gpu_hours"] = account.gpu_hours
    known = {
        "peak_memory_bytes": account.peak_memory_bytes,
        "peak_gpu_bytes": account.peak_gpu_bytes,
        "hosts": "+".join(account.hosts),
    }
    flat |= {name: value for name, value in known.items() if value}
    for name, moment in (("started", row.started), ("finished", row.finished)):
        if moment is not None:
            flat[name] = as_utc(moment)
    if row.started is not None and row.finished is not None:
        flat["duration_seconds"] = (as_utc(row.finished) - as_utc(row.started)).total_seconds()
    return flat


def _flat_scores(record: StudyRecord, row: RowRecord) -> dict[str, Any]:
    """What it reached, at its end and at its last rung."""
    flat: dict[str, Any] = dict(row.scores.metrics()) if row.scores is not None else {}
    if row.values is not None:
        metrics = (objective.metric for objective in record.study.objectives)
        flat |= zip(metrics, row.values, strict=True)
    if record.bounds and row.scores is not None:
        flat[VIOLATION] = row_violation(row, record.bounds)
    if row.rungs:
        last = row.rungs[-1]
        flat[RUNG_EPOCH] = last.epoch
        if last.images:
            flat[RUNG_IMAGES] = last.images
        excesses = [one.excess(last.scores) for one in bounds_at(record, last)]
        if record.bounds and len(excesses) == len(record.bounds) and not any(map(isnan, excesses)):
            flat[RUNG_VIOLATION] = violation(record.bounds, last.scores)
        flat |= {RUNG + metric: score for metric, score in last.scores.items()}
    if row.path is not None:
        flat |= {"alpha": row.path.alpha, "barrier": row.path.barrier}
    return flat


def flat_param(key: str, value: Any) -> dict[str, Any]:
    """A resolved parameter in columns: a subset is joined by +, a mix has a column a part."""
    if isinstance(value, Mapping):
        return {f"{key}.{part}": ratio for part, ratio in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {key: "+".join(str(part) for part in value)}
    return {key: value}


def as_utc(moment: datetime) -> datetime:
    """Aware, in UTC; a naive moment is the machine's local time, as Optuna writes it."""
    return moment.astimezone(UTC)


def column_order(
    rows: Sequence[Mapping[str, Any]], objectives: Sequence[ObjectiveSettings]
) -> list[str]:
    """Every column of these flat rows, objectives first among the metrics, parameters by name."""
    found = dict.fromkeys(name for row in rows for name in row)
    metrics = [objective.metric for objective in objectives]
    fixed = {*LEADING, *CELL, *CURVE, VIOLATION, *TRAILING, *metrics}
    cell = [name for name in (*CELL, *CURVE, VIOLATION) if name in found]
    others = [name for name in found if name not in fixed and not name.startswith(PARAM)]
    params = sorted(name for name in found if name.startswith(PARAM))
    return [*LEADING, *cell, *dict.fromkeys(metrics), *others, *params, *TRAILING]


def known_columns(record: StudyRecord, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """`column_order` of a study's flat rows, then what no row has had yet: every parameter, of
    curves alpha and barrier, with constraints the violation, with a pruner the scores at the last
    rung."""
    objectives, pruner = record.study.objectives, record.study.search.pruner
    there = column_order(rows, objectives)
    later = [*CURVE] if record.study.finetune.curve_alphas else []
    later += [VIOLATION] if record.bounds else []
    if pruner is not None:
        metrics = [*pruner.compared(objectives), *(objective.metric for objective in objectives)]
        later += [RUNG_EPOCH, *([RUNG_IMAGES] if pruner.images is not None else [])]
        later += [
            *([RUNG_VIOLATION] if record.bounds else []),
            *(RUNG + metric for metric in metrics),
        ]
    there += [name for name in dict.fromkeys(later) if name not in there]
    searched = [PARAM + key for key in written_domains(record.study.space)]
    has_parts = {column.rpartition(".")[0] for column in there}
    return there + [key for key in searched if key not in there and key not in has_parts]


def column_heading(column: str) -> str:
    """What the table of trials calls a column: trial, robust, loss.fma.weight, worked."""
    if column.startswith(PARAM):
        return column.removeprefix(PARAM)
    if column.startswith(RUNG):
        return RUNG + short_metric(column.removeprefix(RUNG))
    heading = _HEADINGS.get(column) or short_metric(column)
    return re.sub("_(seconds|bytes)$", "", heading) if column in TRAILING else heading


def find_column(name: str, columns: Sequence[str], option: str) -> str:
    """Find the column that a user means.

    Args:
        name: of a column; or of a parameter without `param.`, complete or by its last parts, if
            unique; or a heading of the table of trials: trial, attempts, clean, worked.
        columns: existing columns.
        option: for the message.

    Raises:
        ParameterError: if there is none, or several parameters match.
    """
    if name in columns:
        return name
    headed = [column for column in columns if column_heading(column) == name]
    if len(headed) == 1:
        return headed[0]
    params = [column for column in columns if column.startswith(PARAM)]
    is_param = bool(meant_keys(name, params))
    return find_key(
        name, params if is_param else columns, where=option, what="a column of the trials"
    )
