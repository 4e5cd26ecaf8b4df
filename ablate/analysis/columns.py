"""A row of a study as one flat record, by column name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ablate.ledger.record import RowRecord
from ablate.study.settings import ObjectiveSettings

LEADING = ("number", "state", "attempt")
TRAILING = ("failure_kind", "failure_reason", "started", "finished", "duration_seconds")
PARAM = "param."


def flat_row(row: RowRecord, objectives: Sequence[ObjectiveSettings]) -> dict[str, Any]:
    """One row, flat: what `trials_frame`, a sort and `--json` name its parts by.

    Columns, in this order: number, state, attempt; every metric (an objective's is the row's
    value, where it is complete); `param.<dotted key>`; failure_kind, failure_reason, started,
    finished (aware, UTC), duration_seconds. What a row does not have is left out, apart from
    number, state and attempt.
    """
    flat: dict[str, Any] = {"number": row.number, "state": row.state, "attempt": row.attempt}
    if row.scores is not None:
        flat |= row.scores.metrics()
    if row.values is not None:
        flat |= {
            objective.metric: value for objective, value in zip(objectives, row.values, strict=True)
        }
    for key, value in row.params.items():
        flat |= flat_param(PARAM + key, value)
    if row.failure is not None:
        flat |= {"failure_kind": row.failure.kind, "failure_reason": row.failure.reason}
    for name, moment in (("started", row.started), ("finished", row.finished)):
        if moment is not None:
            flat[name] = as_utc(moment)
    seconds = duration_seconds(row)
    if seconds is not None:
        flat["duration_seconds"] = seconds
    return flat


def flat_param(key: str, value: Any) -> dict[str, Any]:
    """A resolved parameter in columns: a subset is joined by +, a mix has a column a part."""
    if isinstance(value, Mapping):
        return {f"{key}.{part}": ratio for part, ratio in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {key: "+".join(str(part) for part in value)}
    return {key: value}


def duration_seconds(row: RowRecord) -> float | None:
    """From the row's first start to its end, pauses included; None before it has ended."""
    if row.started is None or row.finished is None:
        return None
    return (as_utc(row.finished) - as_utc(row.started)).total_seconds()


def worked_seconds(row: RowRecord) -> float | None:
    """How long the row was at work: its duration, or the sum of its epochs where it was taken up
    again after a pause; None before it has ended."""
    duration = duration_seconds(row)
    if duration is None or row.attempt <= 1:
        return duration
    return min(duration, sum(float(entry.get("seconds", 0)) for entry in row.curve))


def as_utc(moment: datetime) -> datetime:
    """Aware, in UTC; a naive moment is the machine's local time, as Optuna writes it."""
    return moment.astimezone(UTC)


def column_order(
    rows: Sequence[Mapping[str, Any]], objectives: Sequence[ObjectiveSettings]
) -> list[str]:
    """Every column of these flat rows, objectives first among the metrics, parameters by name."""
    found = dict.fromkeys(name for row in rows for name in row)
    metrics = [objective.metric for objective in objectives]
    fixed = {*LEADING, *TRAILING, *metrics}
    others = [name for name in found if name not in fixed and not name.startswith(PARAM)]
    params = sorted(name for name in found if name.startswith(PARAM))
    return [*LEADING, *dict.fromkeys(metrics), *others, *params, *TRAILING]
