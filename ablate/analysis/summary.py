"""Where a study stands: counts, best values, pace and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from ablate.analysis.columns import as_utc, duration_seconds, worked_seconds
from ablate.analysis.dominance import as_table
from ablate.analysis.hypervolume import hypervolume
from ablate.ledger.record import TERMINAL, RowRecord, State, StudyRecord
from ablate.study.settings import ObjectiveSettings

_UNKNOWN = ("unknown", "no reason is recorded")


@dataclass(frozen=True)
class Best:
    """The best value of one objective and the first trial that has it."""

    metric: str
    value: float
    number: int


@dataclass(frozen=True)
class FailureGroup:
    """Failed trials with one reason."""

    kind: str
    reason: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class StatusInfo:
    """Where a study stands.

    Attributes:
        trials: N, the rows that the finished study has.
        counts: by state, every state; rows that are not made yet are in none.
        best: one an objective, in their order; fewer before the first complete trial.
        hypervolume: None before the baseline is scored.
        rows_per_minute: ended trials over the time in which at least one of them ran, so that a
            pause between two runs does not count; trials that were taken up again after a pause
            are left out. None before the first end.
        seconds_left: of what is not terminal, at that pace; None before the first end, 0 at the
            end.
        gpu_hours: of the ended trials; 0 on CPUs.
        failures: most frequent first.
        driver: which process drives it; none where nobody does.
        marks: what has to be said beside the numbers.
    """

    study: str
    storage: str
    fingerprint: str
    objectives: tuple[ObjectiveSettings, ...]
    trials: int
    counts: Mapping[str, int]
    best: tuple[Best, ...]
    hypervolume: float | None
    reference_point: tuple[float, ...] | None
    rows_per_minute: float | None
    seconds_left: float | None
    gpu_hours: float
    failures: tuple[FailureGroup, ...]
    driver: str | None
    marks: tuple[str, ...]

    @property
    def terminal(self) -> int:
        return sum(self.counts[state] for state in TERMINAL)


def status_info(record: StudyRecord) -> StatusInfo:
    """Where the study stood when the record was read.

    Raises:
        ParameterError: if the record's reference point has another number of values than there
            are objectives.
    """
    objectives = record.study.objectives
    counts = Counter(row.state for row in record.rows)
    ended = [row for row in record.rows if row.state in TERMINAL]
    timed = [row for row in ended if row.attempt <= 1 and duration_seconds(row) is not None]
    busy = busy_seconds(timed)
    left = max(0, record.trials - len(ended))
    rate = 60 * len(timed) / busy if busy > 0 else None
    return StatusInfo(
        study=record.name,
        storage=record.storage,
        fingerprint=record.fingerprint,
        objectives=objectives,
        trials=record.trials,
        counts={state: counts[state] for state in get_args(State)},
        best=best_values(record.rows, objectives),
        hypervolume=hypervolume(complete_values(record.rows), objectives, record.reference_point),
        reference_point=record.reference_point,
        rows_per_minute=rate,
        seconds_left=0.0 if not left else 60 * left / rate if rate else None,
        gpu_hours=_gpus_per_trial(record) * sum(worked_seconds(row) or 0 for row in ended) / 3600,
        failures=failure_groups(record.rows),
        driver=record.driver,
        marks=record.study.marks,
    )


def complete_values(rows: Sequence[RowRecord]) -> list[tuple[float, ...]]:
    """The objectives' values of the complete rows."""
    return [row.values for row in rows if row.state == "COMPLETE" and row.values is not None]


def best_values(
    rows: Sequence[RowRecord], objectives: Sequence[ObjectiveSettings]
) -> tuple[Best, ...]:
    """The best value of each objective over the complete rows, whatever the others are.

    NaN is never the best; an objective without any number is left out. Of equal rows the first.
    """
    complete = [row for row in rows if row.state == "COMPLETE" and row.values is not None]
    table = as_table(complete_values(complete), len(objectives))
    best = []
    for objective, column in zip(objectives, table.T, strict=True):
        if np.isfinite(column).any():
            signed = np.where(np.isfinite(column), column, np.nan)
            place = int(
                np.nanargmax(signed) if objective.direction == "maximize" else np.nanargmin(signed)
            )
            best.append(Best(objective.metric, float(column[place]), complete[place].number))
    return tuple(best)


def failure_groups(rows: Sequence[RowRecord]) -> tuple[FailureGroup, ...]:
    """Failed rows by kind and reason, the most frequent first, then by first number."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.state == "FAIL":
            kind, reason = (row.failure.kind, row.failure.reason) if row.failure else _UNKNOWN
            numbers.setdefault((kind, reason), []).append(row.number)
    groups = [FailureGroup(kind, reason, tuple(of)) for (kind, reason), of in numbers.items()]
    return tuple(sorted(groups, key=lambda group: (-len(group.numbers), group.numbers[0])))


def busy_seconds(rows: Sequence[RowRecord]) -> float:
    """Time in which at least one of these rows ran: their spans' union, in seconds."""
    spans = sorted(
        (as_utc(row.started).timestamp(), as_utc(row.finished).timestamp())
        for row in rows
        if row.started is not None and row.finished is not None
    )
    total, reached = 0.0, -np.inf
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return float(total)


def _gpus_per_trial(record: StudyRecord) -> float:
    gpus = record.study.run.gpus_per_trial
    if gpus == "auto":
        return 1.0 if str(record.environment.get("device", "")).startswith("cuda") else 0.0
    return gpus
