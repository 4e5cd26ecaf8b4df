"""What the ledger holds, as frozen data: what analysis and report read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ablate.study.scores import Scores
from ablate.study.seeds import Seeds
from ablate.study.settings import Study

State = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL"]
TERMINAL: tuple[State, ...] = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: `kind` is "raised", "not_finite" or "out_of_memory"."""

    kind: str
    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A durable training state: the last one recorded is where a trial goes on."""

    epoch: int
    uri: str
    sha256: str


@dataclass(frozen=True)
class RowRecord:
    """One row of a study.

    Attributes:
        number: from 0, without gaps.
        state: Optuna's trial state.
        attempt: how often it was begun; 0 before the first time.
        params: resolved, by dotted key.
        values: one number an objective, only where state is COMPLETE.
        curve: one entry an epoch, each with `epoch`, `train_loss`, `seconds`.
    """

    number: int
    state: State
    attempt: int
    params: Mapping[str, Any]
    values: tuple[float, ...] | None = None
    scores: Scores | None = None
    failure: Failure | None = None
    seeds: Seeds | None = None
    curve: tuple[Mapping[str, Any], ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True)
class StudyRecord:
    """A study and its rows, read at one moment.

    Attributes:
        storage: the URL without its password.
        trials: N, the rows that the finished study has.
        reference_point: of the hypervolume, in the objectives' own units and directions; none
            before the baseline is scored.
        references: "baseline" and "plain" (a finetune on the clean images alone at the same
            budget), as far as they are scored.
        driver: which process drives it now; none where nobody does, and rows that are RUNNING
            wait for a resume.
    """

    name: str
    storage: str
    study: Study
    fingerprint: str
    environment: Mapping[str, Any]
    trials: int
    reference_point: tuple[float, ...] | None
    references: Mapping[str, Scores]
    rows: tuple[RowRecord, ...]
    driver: str | None = None

    def count(self, state: State) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def complete(self) -> tuple[RowRecord, ...]:
        return tuple(row for row in self.rows if row.state == "COMPLETE")
