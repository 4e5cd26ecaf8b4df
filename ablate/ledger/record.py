"""What the ledger holds, as frozen data: what analysis and report read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from ablate.errors import storable_text
from ablate.files.durable import Checkpoint
from ablate.study.json_data import JsonData
from ablate.study.preparation import PreparationStep
from ablate.study.scores import AnyScores, Scores
from ablate.study.seeds import Seeds
from ablate.study.settings import Study

State = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL"]
TERMINAL: tuple[State, ...] = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: `kind` is "raised", "not_finite", "out_of_memory", "timed_out" or
    "lost"."""

    kind: str
    reason: str
    traceback: str = ""

    def __post_init__(self) -> None:
        for name in ("reason", "traceback"):
            object.__setattr__(self, name, storable_text(getattr(self, name)))


@dataclass(frozen=True)
class Rung:
    """A trial beside the others at one epoch, and what was decided: final once it is recorded.

    Attributes:
        sequence: of the study's decisions, from 1, in the order in which they were made.
    """

    epoch: int
    value: float
    stop: bool
    sequence: int


@dataclass(frozen=True)
class Attempt:
    """One time that a row was run.

    Attributes:
        attempt: from 1.
        started: seconds since 1970, of the driver's clock; ended: none while it runs.
        end: how it ended: "complete", "pruned", "fail", "raised" (and tried again), "lost" (by the
            infrastructure), "left" (its driver ended); none while it runs.
        reason: of a raise or loss.
        host, pid, gpus: where; empty before its first word.
        first_epoch: epochs done before it, of the checkpoint that it went on from; first_step,
            first_seconds: steps of the epoch that was under way there, and what they took.
        epochs: epochs done at its last word; seconds: at its last checkpoint amid an epoch after
            these, what that epoch's steps had taken.
        peak_memory_bytes: the most that was resident; of the process, which may be an older
            trial's; peak_gpu_bytes: the most that torch allocated on the GPU.
    """

    attempt: int
    started: float
    ended: float | None = None
    end: str | None = None
    reason: str = ""
    host: str = ""
    pid: int = 0
    gpus: tuple[str, ...] = ()
    first_epoch: int = 0
    first_step: int = 0
    first_seconds: float = 0.0
    epochs: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_bytes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", storable_text(self.reason))

    @property
    def has_reported(self) -> bool:
        """Whether a word of it has come; before, nobody knows which checkpoint it went on from."""
        return bool(self.host or self.first_epoch or self.first_step or self.epochs or self.seconds)


@dataclass(frozen=True)
class Drive(JsonData):
    """One time that the study was driven.

    Attributes:
        started, ended: seconds since 1970; an `ended` that no driver wrote is its last sign.
        end: "finished", "stopped", "failed"; none: it runs, or was killed.
        gpus_per_trial, parallel: as they were resolved; checkpoints: where training states went.
        provenance: git commit, whether files were changed, versions of packages.
    """

    started: float
    host: str
    pid: int
    ended: float | None = None
    end: str | None = None
    parallel: int = 1
    gpus_per_trial: float = 0.0
    checkpoints: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row(JsonData):
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


@dataclass(frozen=True)
class Planned(JsonData):
    """A row whose parameters and seeds are given before it is begun: nothing of it is drawn.

    Attributes:
        cell: name of the configuration; of an ablation, its cell.
        pair: place of its seed, from 0: rows of one pair share all draws.
        params: by dotted key.
    """

    cell: str
    pair: int
    params: Mapping[str, Any]
    seeds: Seeds


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
        attempts: every one, the last one last.
        rungs: where a pruner compared it, in order.
        enqueued: whether (some of) its parameters were given, not drawn.
        cell, pair: of a row of an ablation (`Planned`).
        copy_of: number of the row whose scores it has taken, since its trial would have read the
            same values; it was not run.  None: it was, or will be.
        test_scores: on the test images, where `confirm` has opened them.
        started, finished: aware, in UTC.
    """

    number: int
    state: State
    attempt: int
    params: Mapping[str, Any]
    values: tuple[float, ...] | None = None
    scores: AnyScores | None = None
    failure: Failure | None = None
    seeds: Seeds | None = None
    curve: tuple[Mapping[str, Any], ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    rungs: tuple[Rung, ...] = ()
    enqueued: bool = False
    cell: str | None = None
    pair: int | None = None
    copy_of: int | None = None
    test_scores: Scores | None = None
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True)
class TestOpened(JsonData):
    """One time that the test images were opened for a study.

    Attributes:
        time: seconds since 1970.
        what: for which command, points and seeds; study: that keeps the scores.
    """

    __test__ = False  # no test of pytest's

    time: float
    what: str
    study: str


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
        drives: every one, the last one last.
        design: of an ablation, as `ablate.ablation.cell.Design` writes it; None: a search.
        sections: the fingerprint, by section.
        parent: name of the study that this one tunes an arm of, or confirms the front of.
        test_references: as `references`, on the test images.
        test_opened: every time that they were opened for this study.
        notes: what was changed since it was begun.
        preparing: what is being made, or was when its driver ended, before the first row; none
            once data and baseline were there.
        foreign: whether another tool wrote it with Optuna (`ablate.ledger.foreign`): then there is
            no more than its rows, and any objectives, also one alone.
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
    drives: tuple[Drive, ...] = ()
    design: Mapping[str, Any] | None = None
    sections: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    test_references: Mapping[str, Scores] = field(default_factory=dict)
    test_opened: tuple[TestOpened, ...] = ()
    notes: tuple[str, ...] = ()
    preparing: PreparationStep | None = None
    foreign: bool = False

    def count(self, state: State) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def complete(self) -> tuple[RowRecord, ...]:
        return tuple(row for row in self.rows if row.state == "COMPLETE")


# -- The head of a study in the ledger: what it was begun with -----------------------------


FORMAT = 2
"""Version of the ledger's attributes; a ledger of another one is refused."""


@dataclass(frozen=True)
class Head(JsonData):
    """What a study was begun with: written at its first second, and completed when data and
    baseline are there.

    Attributes:
        identity: random, of this study alone: its training states go below it.
        study: the study, with its space inline and `--set` applied.
        text: of the study file, as it is kept (`ablate.lifecycle.study_file.kept_text`).
        space: the resolved space (`Space.to_json`).
        base: absolute folder that relative paths of the study are relative to.
        fingerprint: digest by section of what a score depends on.
        baseline_sha256: of the baseline's weights; empty where there is none.
        environment: what changes bits beside the fingerprint (device, precision, threads, torch),
            and `baseline_threads`, those that the baseline is trained with.
        reference_point: of the hypervolume; none where nothing gives one.
        design: of an ablation, as plain data; none: a search.
        test: what a confirmation scores on the test images (`Confirmation`); none: they stay shut.
        parent: name of the study whose arm this one tunes, or whose front it confirms.
    """

    identity: str
    study: Study
    text: str
    space: Mapping[str, Any]
    base: str
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    baseline_sha256: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    reference_point: tuple[float, ...] | None = None
    design: Mapping[str, Any] | None = None
    test: Mapping[str, Any] | None = None
    parent: str | None = None

    @property
    def is_prepared(self) -> bool:
        """Whether data and baseline were there: a study has rows only after that."""
        return bool(self.fingerprint)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return super().from_json({key: value for key, value in data.items() if key != "format"})
