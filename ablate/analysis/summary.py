"""The state of a study: counts, best values, rate and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from ablate.analysis.accounting import (
    EpochAccount,
    StudyAccount,
    epoch_account,
    study_account,
)
from ablate.analysis.caveats import Basis, baseline_warning, result_marks, study_basis
from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import as_table, hypervolume
from ablate.errors import NothingToDrawError
from ablate.ledger.record import (
    TERMINAL,
    RowRecord,
    State,
    StudyRecord,
    TestOpened,
    counted_values,
)
from ablate.study.fingerprint import METHOD
from ablate.study.preparation import PreparationStep, Preprocessing
from ablate.study.scores import Bound, Scores
from ablate.study.sections.search import SearchBudgetSettings
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

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
    """The state of a study.

    Attributes:
        trials: N, the number of rows of the finished study.
        counts: by state, all states; rows that do not exist yet are not counted.
        best: one per objective, in order; fewer before the first complete trial.
        hypervolume: None before the baseline is scored, and without a reference point.
        rows_per_minute: ended trials over the time in which at least one attempt was running,
            without pauses. None before the first end.
        seconds_left: for the remaining rows, at that rate; None before the first end, 0 at the end.
        account: its cost; budget: its limits.
        checkpoint_bytes, weight_bytes: on disk; None if the run folder is on another host, or the
            training states are behind a URL.
        failures: most frequent first.
        driver: its running driver, or None; continuation: see `continuation`.
        commit: of the code of the last drive, None if it was not in a repository; dirty: whether
            files had uncommitted changes.
        marks: caveats of the numbers.
        cells: of an ablation; None for a search; pairs: number of seeds finished in all cells, and
            of all seeds.
        test_opened: all uses of the test images.
        preparing: the current preparation step before the first trial; None when the preparation is
            complete.
        spent: the limit of `search.budget` that ended the search; None if none did.
        baseline: its scores; None before it is scored.
        preprocessing: how images reach it; None if it is not recorded.
        warning: the mark that stands before everything else; empty without one.
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
    account: StudyAccount
    budget: SearchBudgetSettings
    checkpoint_bytes: int | None
    weight_bytes: int | None
    failures: tuple[FailureGroup, ...]
    driver: str | None
    commit: str | None
    dirty: bool
    marks: tuple[str, ...]
    cells: int | None = None
    pairs: tuple[int, int] = (0, 0)
    test_opened: tuple[TestOpened, ...] = ()
    preparing: PreparationStep | None = None
    continuation: str = ""
    spent: str | None = None
    baseline: Scores | None = None
    preprocessing: Preprocessing | None = None
    warning: str = ""

    @property
    def terminal(self) -> int:
        return sum(self.counts[state] for state in TERMINAL)


def status_info(record: StudyRecord, now: float, disk: tuple[int, int] | None = None) -> StatusInfo:
    """Where the study stood when the record was read.

    Args:
        now: that moment, in seconds since 1970.
        disk: bytes of training states and of weights on disk; None: the folder is elsewhere.

    Raises:
        ParameterError: if the record's reference point has another number of values than there
            are objectives.
    """
    objectives = record.study.objectives
    counts = Counter(row.state for row in record.rows)
    ended = sum(counts[state] for state in TERMINAL)
    left = max(0, record.rows_at_end - ended)
    account = study_account(record, now)
    busy = account.busy_seconds
    rate = 60 * ended / busy if ended and busy > 0 else None
    git = (record.drives[-1].provenance.get("git") if record.drives else None) or {}
    return StatusInfo(
        study=record.name,
        storage=record.storage,
        fingerprint=record.fingerprint,
        objectives=objectives,
        trials=record.trials,
        counts={state: counts[state] for state in get_args(State)},
        best=best_values(record.rows, objectives, record.bounds),
        hypervolume=hypervolume(
            complete_values(record.rows, record.bounds), objectives, record.reference_point
        ),
        reference_point=record.reference_point,
        rows_per_minute=rate,
        seconds_left=0.0 if not left else 60 * left / rate if rate else None,
        account=account,
        budget=record.study.search.budget,
        checkpoint_bytes=None if disk is None else disk[0],
        weight_bytes=None if disk is None else disk[1],
        failures=failure_groups(record.rows),
        driver=record.driver,
        commit=git.get("commit"),
        dirty=bool(git.get("dirty")),
        marks=result_marks(record),
        cells=None if record.design is None else len(record.design["cells"]),
        pairs=_pairs(record),
        test_opened=record.test_opened,
        preparing=record.preparing,
        continuation=continuation(record),
        spent=record.spent,
        baseline=record.references.get("baseline"),
        preprocessing=record.preprocessing,
        warning=baseline_warning(record),
    )


def continuation(record: StudyRecord) -> str:
    """How to continue an unfinished study that has no driver, or whose budget ended it, in words;
    empty for another one."""
    is_whole = record.is_over and record.spent is None
    if is_whole or record.driver is not None:
        return ""
    if record.method != METHOD:
        return f"method {record.method} cannot be continued; use ablate 0.1"
    if record.is_over:
        return "to continue, raise search.budget in the study file, then ablate resume FILE"
    return "continue with ablate resume"


def _pairs(record: StudyRecord) -> tuple[int, int]:
    """Seeds at which all cells have ended, and seeds."""
    left = {row.pair for row in record.rows if row.state not in TERMINAL}
    there = {row.pair for row in record.rows if row.pair is not None}
    return len(there - left), len(there)


def complete_values(
    rows: Sequence[RowRecord], bounds: Sequence[Bound] = ()
) -> list[tuple[float, ...]]:
    """The objectives' values of the complete rows; NaN of those that violate a bound."""
    return [counted_values(row, bounds) for row in rows if row.values is not None]


def best_values(
    rows: Sequence[RowRecord],
    objectives: Sequence[ObjectiveSettings],
    bounds: Sequence[Bound] = (),
) -> tuple[Best, ...]:
    """The best value of each objective over the complete rows within the bounds, whatever the
    others are.

    NaN is never the best; an objective without any number is left out. Of equal rows the first.
    """
    complete = [row for row in rows if row.values is not None]
    table = as_table(complete_values(complete, bounds), len(objectives))
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


# -- The epochs of a search, for the figure of its budget


@dataclass(frozen=True)
class SpendingInfo(Basis):
    """Where the epochs of a search went; `account` as of `study_account`."""

    account: EpochAccount

    def frame(self) -> pd.DataFrame:
        """One row an epoch. Columns, all int64: epoch; trained, saved, reached, stopped: trials."""
        at = {rung.epoch: (rung.reached, rung.stopped) for rung in self.account.rungs}
        names = ("epoch", "trained", "saved", "reached", "stopped")
        rows = zip(self.account.trained, self.account.saved, strict=True)
        return typed_frame(
            dict.fromkeys(names, "int64"),
            [(epoch, *row, *at.get(epoch, (0, 0))) for epoch, row in enumerate(rows, 1)],
        )


def spending_info(record: StudyRecord) -> SpendingInfo:
    """Where the epochs of a search went.

    Raises:
        NothingToDrawError: if nothing was compared at a rung, and no pruner is set.
    """
    account = epoch_account(record)
    if record.study.search.pruner is None and not account.rungs:
        raise NothingToDrawError(
            record.name,
            "budget",
            "needs an ablation with tuned arms or a search with a pruner, got a search without one",
            "Set search: {pruner: {}} in the study file before launching.",
        )
    return SpendingInfo(**vars(study_basis(record)), account=account)
