"""The rows of a study as flat records, by column name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isnan
from typing import Any, Literal

from ablate.analysis.accounting import Account, trial_accounts
from ablate.analysis.caveats import bounds_at
from ablate.analysis.objectives import short_metric
from ablate.errors import ParameterError
from ablate.ledger.record import RowRecord, StudyRecord, row_violation
from ablate.study.keys import find_key, meant_keys, written_domains
from ablate.study.scores import is_mean, violation
from ablate.study.settings import ObjectiveSettings

Unit = Literal["", "state", "seconds", "bytes", "hours", "moment"]


@dataclass(frozen=True)
class Column:
    """A column of the trials besides scores, rungs and parameters.

    Attributes:
        name: also of a metric that no custom loop may report (`ablate.study.scores.RESERVED`).
        value: of a row; None where it has none.
        dtype: of the frame; empty where the unit says it.
        place: "first" in every table, "ablation": then, of an ablation alone, or "last".
        heading: in the table of trials, if that is not the name; title: on the report's page, which
            leaves out a column without one.
        unit: of its values, which says how they are read.
    """

    name: str
    value: Callable[[RowRecord, Account], Any]
    dtype: str = "float64"
    place: Literal["first", "ablation", "last"] = "last"
    heading: str = ""
    title: str = ""
    unit: Unit = ""


def _of_account(name: str, dtype: str = "float64", **words: Any) -> Column:
    """A cost, which a row has from its first attempt on; a memory of 0 is not known."""

    def value(_: RowRecord, account: Account) -> Any:
        found = getattr(account, name) if account.spans else None
        return found or None if dtype == "Int64" else found

    return Column(name, value, dtype, **words)


def _moment(name: str) -> Column:
    return Column(name, lambda row, _: _as_utc(getattr(row, name)), "", unit="moment")


_ALL = (
    Column("number", lambda row, _: row.number, "int64", "first", "trial", "Trial"),
    Column("state", lambda row, _: row.state, "", "first", "", "State", "state"),
    Column("attempt", lambda row, _: row.attempt, "int64", "first", "attempts", "Attempts"),
    Column("replicate", lambda row, _: row.replicate, "Int64", "ablation", "", "Replicate"),
    Column("cell", lambda row, _: row.cell, "string", "ablation", "", "Cell"),
    Column("pair", lambda row, _: row.pair, "Int64", "ablation", "", "Pair"),
    Column("train_seed", lambda row, _: _train_seed(row), "Int64", "ablation", "", "Seed"),
    Column("failure_kind", lambda row, _: row.failure and row.failure.kind, "string"),
    Column("failure_reason", lambda row, _: _failure_reason(row), "string", title="Failure"),
    Column("enqueued", lambda row, _: row.enqueued, "boolean"),
    Column("copy_of", lambda row, _: row.copy_of, "Int64", title="Copy of"),
    _of_account("worked_seconds", heading="worked", title="Seconds", unit="seconds"),
    _of_account("lost_seconds", heading="lost", unit="seconds"),
    _of_account("gpu_hours", title="GPU hours", unit="hours"),
    _of_account("peak_memory_bytes", "Int64", heading="peak_memory", unit="bytes"),
    _of_account("peak_gpu_bytes", "Int64", heading="peak_gpu", unit="bytes"),
    Column("hosts", lambda _, account: "+".join(account.hosts) or None, "string"),
    _moment("started"),
    _moment("finished"),
    Column("duration_seconds", lambda row, _: _duration(row), heading="duration", unit="seconds"),
)
COLUMNS = {column.name: column for column in _ALL}
"""All of them, in the order of the frame: a further one is an entry here, and its name in
`ablate.study.scores.RESERVED`.  What each is: `ablate.analysis.frame.trials_frame`."""
LEADING, CELL, TRAILING = (
    tuple(name for name, one in COLUMNS.items() if one.place == place)
    for place in ("first", "ablation", "last")
)
CURVE = ("alpha", "barrier")
"""Where networks between baseline and finetuned weights were scored."""
VIOLATION = "violation"
"""Of a study with constraints: 0 where a complete trial keeps all."""
RUNG_EPOCH, RUNG_IMAGES, RUNG_VIOLATION = "rung_epoch", "rung_images", "rung_violation"
"""Of the last rung; the second where it has fewer images, the third where all constraints are known
there."""
RUNG = "rung."
"""Before a metric: its score at the last rung."""
PARAM = "param."


def _train_seed(row: RowRecord) -> int | None:
    return None if row.cell is None or row.seeds is None else row.seeds.train


def _failure_reason(row: RowRecord) -> str | None:
    return None if row.failure is None else row.failure.reason


def _as_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else as_utc(moment)


def _duration(row: RowRecord) -> float | None:
    if row.started is None or row.finished is None:
        return None
    return (as_utc(row.finished) - as_utc(row.started)).total_seconds()


def flat_rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The rows as flat mappings in the record's order: the columns of `trials_frame`, which says
    what each is.  Missing values are left out.
    """
    rows = []
    for row, account in zip(record.rows, trial_accounts(record), strict=True):
        flat = _flat_scores(record, row)
        of_row = {name: column.value(row, account) for name, column in COLUMNS.items()}
        flat |= {name: value for name, value in of_row.items() if value is not None}
        for key, value in row.params.items():
            flat |= flat_param(PARAM + key, value)
        rows.append(flat)
    return rows


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
    later = [*CURVE] if record.study.finetune.curve_alphas else []
    later += [VIOLATION] if record.bounds else []
    if pruner is not None:
        later += [RUNG_EPOCH]
        later += [RUNG_IMAGES] if pruner.images is not None else []
        later += [RUNG_VIOLATION] if record.bounds else []
        metrics = [*pruner.compared(objectives), *(objective.metric for objective in objectives)]
        later += [RUNG + metric for metric in metrics]
    there = list(dict.fromkeys([*column_order(rows, objectives), *later]))
    searched = [PARAM + key for key in written_domains(record.study.space)]
    has_parts = {column.rpartition(".")[0] for column in there}
    return there + [key for key in searched if key not in there and key not in has_parts]


def column_heading(column: str) -> str:
    """What the table of trials calls a column: trial, robust, loss.fma.weight, worked."""
    if column.startswith(PARAM):
        return column.removeprefix(PARAM)
    if column.startswith(RUNG):
        return RUNG + short_metric(column.removeprefix(RUNG))
    own = COLUMNS.get(column)
    return (own and own.heading) or short_metric(column)


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
    if not is_mean(name):
        raise ParameterError(
            f"{option}: must be scored, got {name}, of which no trial has a value: "
            "ablate did not compute it then, or not of sparse cells. Name another column."
        )
    params = [column for column in columns if column.startswith(PARAM)]
    is_param = bool(meant_keys(name, params))
    return find_key(
        name, params if is_param else columns, where=option, what="a column of the trials"
    )
