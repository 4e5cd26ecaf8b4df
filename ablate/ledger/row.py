"""A row of the ledger: an Optuna trial and at most four attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ablate.ledger.record import Checkpoint, Failure, RowRecord, State
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds

STATES: Mapping[TrialState, State] = {
    TrialState.WAITING: "WAITING",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAIL",
}

ROW, CURVE, SCORES, FAILURE = "ablate:row", "ablate:curve", "ablate:scores", "ablate:failure"


@dataclass(frozen=True)
class Row:
    """A row that is begun: what a worker needs to run it.

    Attributes:
        number: from 0; none for the plain finetune, which is a reference and no row.
        attempt: from 1.
        params: resolved, by dotted key.
        checkpoints: the durable ones, newest last.
        failures: attempts that raised; lost: attempts that the infrastructure lost.
    """

    number: int | None
    attempt: int
    params: Mapping[str, Any]
    seeds: Seeds
    checkpoints: tuple[Checkpoint, ...] = ()
    failures: int = 0
    lost: int = 0


def durable_checkpoints(trial: FrozenTrial) -> tuple[Checkpoint, ...]:
    """Training states of a row that are on disk, newest last."""
    kept: Sequence[Mapping[str, Any]] = trial.user_attrs.get(CURVE, {}).get("checkpoints", [])
    return tuple(Checkpoint(**data) for data in kept)


def row_record(trial: FrozenTrial) -> RowRecord:
    """An Optuna trial as a row of the ledger."""
    row = trial.user_attrs.get(ROW, {})
    scores, failure = trial.user_attrs.get(SCORES), trial.user_attrs.get(FAILURE)
    complete = trial.state == TrialState.COMPLETE
    return RowRecord(
        number=trial.number,
        state=STATES[trial.state],
        attempt=row.get("attempt", 0),
        params=row.get("params", {}),
        values=tuple(trial.values) if complete else None,
        scores=Scores.from_json(scores) if complete and scores else None,
        failure=Failure(**failure) if trial.state == TrialState.FAIL and failure else None,
        seeds=Seeds.from_json(row["seeds"]) if "seeds" in row else None,
        curve=tuple(trial.user_attrs.get(CURVE, {}).get("curve", [])),
        checkpoints=durable_checkpoints(trial),
        started=trial.datetime_start,
        finished=trial.datetime_complete,
    )
