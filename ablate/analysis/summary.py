"""The state of a study: counts, best values, rate and cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from ablate.analysis.accounting import StudyAccount, study_account
from ablate.analysis.hypervolume import as_table, hypervolume
from ablate.analysis.pareto import ParetoPoint, mixture_points, point_of
from ablate.ledger.record import (
    TERMINAL,
    Failure,
    RowRecord,
    State,
    StudyRecord,
    counted_values,
)
from ablate.study.mixture import Mixture
from ablate.study.scores import Bound
from ablate.study.settings import ObjectiveSettings


@dataclass(frozen=True)
class Best:
    """The best value of one objective, and the first network that has it: trials, then mixtures."""

    metric: str
    value: float
    point: Mixture


@dataclass(frozen=True)
class FailureGroup:
    """Failed trials with one reason."""

    kind: str
    reason: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class StatusInfo:
    """The state of a study.

    Attributes:
        record: of the study.
        counts: by state, all states; rows that do not exist yet are not counted.
        best: one per objective, in order; fewer before the first complete trial.
        hypervolume: None before the baseline is scored, and without a reference point.
        rows_per_minute: ended trials over the time in which at least one attempt was running,
            without pauses. None before the first end.
        seconds_left: for the remaining rows, at that rate; None before the first end, and while an
            arm is tuned; 0 at the end.
        disk: bytes of training states, and of weights; None if the run folder is on another host,
            or the training states are behind a URL.
        failures: most frequent first.
        pairs: of an ablation, number of seeds finished in all cells, and of all seeds.
        tuning: the search that tunes an arm now, and how far it is; empty without.
    """

    record: StudyRecord
    counts: Mapping[str, int]
    best: tuple[Best, ...]
    hypervolume: float | None
    rows_per_minute: float | None
    seconds_left: float | None
    account: StudyAccount
    disk: tuple[int, int] | None
    failures: tuple[FailureGroup, ...]
    pairs: tuple[int, int]
    tuning: str = ""


def status_info(
    record: StudyRecord, now: float, disk: tuple[int, int] | None = None, tuning: str = ""
) -> StatusInfo:
    """Where the study stood when the record was read.

    Args:
        now: that moment, in seconds since 1970.
        disk, tuning: as in `StatusInfo`.

    Raises:
        ParameterError: if the record's reference point has another number of values than there
            are objectives.
    """
    counts = Counter(row.state for row in record.rows)
    ended = record.ended
    left = max(0, record.rows_at_end - ended)
    account = study_account(record, now)
    busy = account.busy_seconds
    rate = 60 * ended / busy if ended and busy > 0 else None
    values = complete_values(record.rows, record.bounds)
    values += [each.counted for each in mixture_points(record)]
    unfinished = {row.pair for row in record.rows if row.state not in TERMINAL}
    pairs = {row.pair for row in record.rows if row.pair is not None}
    return StatusInfo(
        record=record,
        counts={state: counts[state] for state in get_args(State)},
        best=best_values(
            record.rows, record.study.objectives, record.bounds, mixture_points(record)
        ),
        hypervolume=hypervolume(values, record.study.objectives, record.reference_point),
        rows_per_minute=rate,
        seconds_left=0.0 if not left else 60 * left / rate if rate and not tuning else None,
        account=account,
        disk=disk,
        failures=failure_groups(record.rows),
        pairs=(len(pairs - unfinished), len(pairs)),
        tuning=tuning,
    )


def continuation(record: StudyRecord) -> str:
    """How to continue an unfinished study that has no driver, or whose budget ended it, in words;
    empty for another one."""
    is_whole = record.is_over and record.spent is None and not record.awaits_mixtures
    if is_whole or record.driver is not None:
        return ""
    if record.is_over and record.spent is not None:
        return "to continue, raise search.budget in the study file, then ablate resume FILE"
    return "continue with ablate resume"


def complete_values(
    rows: Sequence[RowRecord], bounds: Sequence[Bound] = ()
) -> list[tuple[float, ...]]:
    """The objectives' values of the complete rows; NaN of those that violate a bound."""
    return [counted_values(one, bounds) for one in rows if one.values and not one.outside]


def best_values(
    rows: Sequence[RowRecord],
    objectives: Sequence[ObjectiveSettings],
    bounds: Sequence[Bound] = (),
    mixtures: Sequence[ParetoPoint] = (),
) -> tuple[Best, ...]:
    """The best value of each objective over the complete rows, and mixtures, within the bounds,
    whatever the others are.

    NaN is never the best; an objective without any number is left out. Of equal ones the first.
    """
    complete = [row for row in rows if row.values is not None and not row.outside]
    points = [*map(point_of, complete), *(each.point for each in mixtures)]
    values = complete_values(complete, bounds) + [each.counted for each in mixtures]
    table = as_table(values, len(objectives))
    best = []
    for objective, column in zip(objectives, table.T, strict=True):
        finite = np.where(np.isfinite(column), column, np.nan)
        if not np.isnan(finite).all():
            first = np.nanargmax if objective.direction == "maximize" else np.nanargmin
            place = int(first(finite))
            best.append(Best(objective.metric, float(column[place]), points[place]))
    return tuple(best)


def failure_groups(rows: Sequence[RowRecord]) -> tuple[FailureGroup, ...]:
    """Failed rows by kind and reason, the most frequent first, then by first number."""
    numbers = defaultdict[tuple[str, str], list[int]](list)
    for row in rows:
        if row.state == "FAIL":
            failure = row.failure or Failure("unknown", "no reason is recorded")
            numbers[failure.kind, failure.reason].append(row.number)
    groups = [FailureGroup(*why, tuple(of)) for why, of in numbers.items()]
    return tuple(sorted(groups, key=lambda group: -len(group.numbers)))
