"""The contents of the ledger as frozen data, for analysis and reports."""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ablate.errors import storable_text
from ablate.errors.masking import masked_data
from ablate.files.durable import Checkpoint
from ablate.files.shown import count_text
from ablate.finetune.loss import in_order
from ablate.study.displayed import Displayed
from ablate.study.fingerprint import digest_of
from ablate.study.interpolation import Curve
from ablate.study.json_data import JsonData
from ablate.study.mixture import Mixture, Mixtures
from ablate.study.preparation import PreparationStep, Preprocessing
from ablate.study.scores import AnyScores, Bound, Scores, violation
from ablate.study.seeds import Seeds, needs_plain
from ablate.study.settings import Study

ADAPTED = "adapted baseline"
"""The reference that is the baseline with batch norm adapted at test time."""
NOT_FINETUNED = ("baseline", ADAPTED)
"""References that were not finetuned."""

State = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL", "OUTSIDE"]
GOING: tuple[State, ...] = ("WAITING", "RUNNING")
TERMINAL: tuple[State, ...] = ("COMPLETE", "PRUNED", "FAIL")
"""How a row ends that counts towards N; one that is outside of an edited space does not."""


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
    """The comparison of a trial with others at one epoch, and the decision, which is final once
    recorded.

    Attributes:
        scores: by metric, those that were compared first, then the other objectives; a metric that
            is not known is missing.
        stop: whether the trial was stopped.
        sequence: number of the decision in the study, from 1.
        images: validation images that it was scored on; 0: all.
        by_alpha: with `finetune.interpolation`: the scores of the networks at these alphas;
            `scores` is one of them.
    """

    epoch: int
    scores: Mapping[str, float]
    stop: bool
    sequence: int
    images: int = 0
    by_alpha: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def value(self, metric: str) -> float:
        """The score; NaN if it is not known."""
        return self.scores.get(metric, math.nan)


@dataclass(frozen=True)
class Attempt:
    """One execution of a row.

    Attributes:
        attempt: from 1.
        started: seconds since 1970, of the driver's clock; ended: none while it runs.
        end: how it ended: "complete", "pruned", "fail", "raised" (and tried again), "lost" (by the
            infrastructure), "left" (its driver ended); none while it runs.
        reason: of a raise or loss.
        host, pid, gpus: where it runs; empty before its first report.
        first_epoch: epochs of the checkpoint that it continued from; first_step, first_seconds:
            steps of the unfinished epoch in it, and their time.
        epochs: epochs of the row done at its last report, those of earlier attempts too; seconds:
            time of the steps after these, at its last checkpoint within an epoch.
        peak_memory_bytes: peak resident memory of the process, which may be due to an earlier
            trial; peak_gpu_bytes: the most that torch allocated on the GPU.
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
        """Whether it has reported; before that, the checkpoint that it continued from is
        unknown."""
        return bool(self.host or self.first_epoch or self.first_step or self.epochs or self.seconds)


@dataclass(frozen=True)
class Drive(JsonData):
    """One run of the driver.

    Attributes:
        started, ended: seconds since 1970; if the end was not recorded, `ended` is the last
            heartbeat.
        end: "finished", "stopped", "failed"; None: it is running, or was killed.
        gpus_per_trial, parallel: resolved values; checkpoints: folder or URI of the training
            states.
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


class GpusAt:
    """GPUs per trial at a time, in seconds since 1970: of the last drive started until then."""

    def __init__(self, drives: Sequence[Drive]) -> None:
        self._drives = sorted(drives, key=lambda drive: drive.started)
        self._starts = [drive.started for drive in self._drives]

    def __call__(self, moment: float) -> float:
        place = bisect_right(self._starts, moment) - 1
        return self._drives[max(0, place)].gpus_per_trial if self._drives else 0.0


@dataclass(frozen=True)
class Row(JsonData):
    """A started row: what a worker needs to run it.

    Attributes:
        number: from 0; None for the plain finetune, which is a reference and not a row.
        attempt: from 1.
        params: resolved, by dotted key.
        checkpoints: the durable ones, newest last.
        failures: attempts that raised; lost: attempts that the infrastructure lost.
        cell, mixture: of an ablation (`Planned`).
        ingredients: scores of the rows of its mixture.
    """

    number: int | None
    attempt: int
    params: Mapping[str, Any]
    seeds: Seeds
    checkpoints: tuple[Checkpoint, ...] = ()
    failures: int = 0
    lost: int = 0
    cell: str | None = None
    mixture: Mixture | None = None
    ingredients: tuple[Scores, ...] = ()


@dataclass(frozen=True)
class Planned(JsonData):
    """A row whose parameters and seeds are all given in advance.

    Attributes:
        cell: name of the configuration; of an ablation, its cell.
        pair: index of its seed, from 0; rows of one pair share all random draws.
        params: by dotted key.
        mixture: of rows of the same pair, by number, which come before it: it trains nothing, and
            begins once they have ended.
    """

    cell: str
    pair: int
    params: Mapping[str, Any]
    seeds: Seeds
    mixture: Annotated[Mixture | None, Field(exclude_if=operator.not_)] = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """As of any `JsonData`; earlier versions also stored `members`, which are not used."""
        return super().from_json({name: value for name, value in data.items() if name != "members"})


@dataclass(frozen=True)
class RowRecord:
    """One row of a study.

    Attributes:
        number: from 0, without gaps.
        state: Optuna's trial state; OUTSIDE: it has ended, and lies outside of the space as it was
            edited.  It may have values.
        attempt: number of attempts; 0 before the first.
        params: resolved, by dotted key.
        values: one per objective, only if state is COMPLETE.
        curve: one entry per epoch, each with `epoch`, `train_loss`, `seconds`.
        attempts, rungs: all attempts; all comparisons by a pruner; in order.
        failures, lost: as in `Row`.
        outside: whether it lies outside of an edited space.
        enqueued: whether (some of) its parameters were given, not sampled.
        cell, pair, mixture: of a row of an ablation (`Planned`).
        replicate: of a row of an ablation with replicates, which one, from 0; its pair then counts
            on over replicates.
        copy_of: number of the row whose scores it copies, because its trial would read the same
            values; it was not run.  None: it was or will be run.
        test_scores: on the test images, if `confirm` used them.
        path: the networks between the baseline and the trial's, if they were scored; `scores` are
            of the one that stands for the trial, of an ablation always of the finetuned network.
        weights_sha256: of the file of its weights; empty where none was written, or not noted.
        started, finished: timezone-aware, in UTC.
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
    mixture: Mixture | None = None
    replicate: int | None = None
    copy_of: int | None = None
    failures: int = 0
    lost: int = 0
    outside: bool = False
    test_scores: Scores | None = None
    path: Curve | None = None
    weights_sha256: str = ""
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def origin(self) -> int:
        """The row that has its weights and bits: a copy has those of its original."""
        return self.number if self.copy_of is None else self.copy_of

    @property
    def end_order(self) -> tuple[float, int]:
        """A key that sorts rows by when they ended; equal times, and rows without one, by
        number."""
        return (0.0 if self.finished is None else self.finished.timestamp(), self.number)


def bounds_of(
    study: Study, design: Mapping[str, Any] | None, references: Mapping[str, AnyScores]
) -> tuple[Bound, ...]:
    """The constraints of a search in numbers, once its baseline is scored; none of a study that is
    no search."""
    if design is not None:
        return ()
    baseline = references.get("baseline")
    return study.bounds(None if baseline is None else baseline.metrics())


def row_violation(row: RowRecord, bounds: Sequence[Bound]) -> float:
    """The violation of constraints by a complete row (`ablate.study.scores.violation`)."""
    return violation(bounds, row.scores.metrics()) if bounds and row.scores is not None else 0.0


def counted_values(row: RowRecord, bounds: Sequence[Bound]) -> tuple[float, ...]:
    """The values of a complete row; NaN if it violates a constraint: such a row is on no front."""
    assert row.values is not None
    return (math.nan,) * len(row.values) if row_violation(row, bounds) else row.values


@dataclass(frozen=True)
class Registration(JsonData):
    """What a study was before its first run.

    Attributes:
        time: seconds since 1970; version: of ablate; git: as in `ablate.study.provenance`.
        parts: sha256 in hex of "study file", "contrasts" (and what is claimed of them), "looks"
            (the section `ablation`, with its seeds) and "code" (ablate's own).
    """

    time: float
    parts: Mapping[str, str]
    version: str
    git: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """Of all but the time."""
        return digest_of({**self.to_json(), "time": 0})

    @property
    def text(self) -> str:
        moment = datetime.fromtimestamp(self.time, UTC)
        return f"{moment:%Y-%m-%d %H:%M} UTC, digest {self.digest[:12]}"


def registered_parts(study: Study, design: Mapping[str, Any] | None) -> dict[str, str]:
    """The parts of a registration but the code, of a study as it is now: of the keys that its file
    would write, as an archive has them."""
    written = masked_data({**study.written(), "storage": None})
    looks, contrasts = written.pop("ablation", None), design and design["contrasts"]
    parts = {"study file": written, "contrasts": [contrasts, design and design["claims"]]}
    return {name: digest_of(part) for name, part in [*parts.items(), ("looks", looks)]}


def going_cells(looks: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """The cells that replicates have which begin after these planned looks: none where one has
    ended the study; None: all, before the first."""
    return tuple(looks[-1]["cells"]) if looks else None


def learned_text(learned: Mapping[str, Any]) -> str:
    """What a sampler knows of another study (`Head.learned`), in one line."""
    count = f"{len(learned['rows'])} of {learned['of']}"
    return f"the sampler knows {count}, which are not counted (search.learn_from)"


def edits_text(edits: Sequence[Mapping[str, Any]]) -> str:
    """The edits of a space in one line; empty without any."""
    if not edits:
        return ""
    each = (f"before trial {edit['rows']} ({'; '.join(edit['changes'])})" for edit in edits)
    count = f"{edits[-1]['outside']} of {count_text(edits[-1]['rows'], 'trial')}"
    return f"space edited {', '.join(each)}: {count} until then outside of it, not counted"


FORMAT = 2
"""Version of the ledger's attributes; other versions are refused."""


@dataclass(frozen=True)
class Head(JsonData):
    """What a study was started with: written at its start, and completed when data and baseline are
    ready.

    Attributes:
        identity: random and unique; the folder of its training states has this name.
        study: the study, with its space inline and `--set` applied.
        text: text of the study file, as stored (`ablate.lifecycle.study_file.kept_text`).
        space: the resolved space (`Space.to_json`).
        base: absolute folder for relative paths of the study.
        fingerprint: digest by section of everything that scores depend on.
        baseline_sha256: of the baseline's weights; empty without a baseline.
        environment: what else affects bits (device, precision, threads, torch), and
            `baseline_threads`, the number of threads for training the baseline.
        accepted_baseline: what plain finetuning gains, where that is suspiciously much and a person
            has accepted it; empty otherwise.
        preprocessing: of the baseline's images; None: without a baseline, or not recorded.
        reference_point: of the hypervolume; None if there is none.
        design: of an ablation, as plain data; none: a search.
        test: what a confirmation scores on the test images (`Confirmation`); None: they are not
            used.
        parent: name of the study that this one confirms, is a replicate of, or tunes an arm of.
        registration: what it was registered as; None: it was not.
        planned_looks: of `ablation.stop`, those that were taken (`ablate.ablation.looks.Look`, as
            plain data); they are never taken again.
        start: points that a search begins with (`ablate.space.start`); None: those of
            `search.enqueue`, then random ones, as where it began before there were others.
        edits: spaces that were in force before this one, oldest first: `space`, resolved, the
            `fingerprint` until then, and the `time`, the number of `rows`, the `changes` and how
            many rows lay `outside` when it was replaced.
        learned: of each study in `search.learn_from`, as it was when this one was launched: what
            trials these are (`of`); its `inputs`, by section of its fingerprint; and the `rows` in
            the space, with their `params`, `raw` draws and judged `metrics`.
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
    preprocessing: Preprocessing | None = None
    accepted_baseline: str = ""
    registration: Registration | None = None
    planned_looks: tuple[Mapping[str, Any], ...] = ()
    start: tuple[Mapping[str, Any], ...] | None = None
    edits: tuple[Mapping[str, Any], ...] = ()
    learned: tuple[Mapping[str, Any], ...] = ()

    @property
    def outside(self) -> int:
        """Number of rows outside of the space as it is now."""
        return int(self.edits[-1]["outside"]) if self.edits else 0

    @property
    def going(self) -> tuple[str, ...] | None:
        """See `going_cells`."""
        return going_cells(self.planned_looks)

    @property
    def first_points(self) -> tuple[Mapping[str, Any], ...]:
        """Points of a search before its sampler proposes any."""
        return self.study.search.enqueue if self.start is None else self.start

    @property
    def is_prepared(self) -> bool:
        """Whether data and baseline are ready; a study has rows only after that."""
        return bool(self.fingerprint)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        # The method of earlier versions is in the fingerprint too.
        read = {key: value for key, value in data.items() if key not in ("format", "method")}
        return super().from_json(read)


@dataclass(frozen=True)
class TestOpened(JsonData):
    """One use of the test images for a study.

    Attributes:
        time: seconds since 1970.
        what: command, points and seeds; study: the study with the scores.
    """

    __test__ = False  # no test of pytest's

    time: float
    what: str
    study: str


@dataclass(frozen=True)
class StudyRecord(Displayed):
    """A study and its rows, in one snapshot.

    Attributes:
        storage: the URL without its password.
        trials: N, the number of rows of the finished study, without those outside of its space.
        reference_point: of the hypervolume, in the objectives' units; None: no baseline scored yet.
        references: scores of "baseline", `ADAPTED` and "plain" (clean images only), if they exist.
        driver: process that drives it now; None: RUNNING rows wait for a resume.
        drives: all, in order.
        design: of an ablation, in the form of `ablate.ablation.cell.Design`; None: a search.
        sections: the fingerprint, by section.
        parent: name of the study that this one confirms, is a replicate of, or tunes an arm of.
        test_references: as `references`, on the test images.
        test: of a confirmation: the suite and severities that the test images are scored under.
        baseline_sha256: of the baseline's weights; empty without one.
        accepted_baseline: as in `Head`.
        preprocessing: of the baseline's images; None: without a baseline, or not recorded.
        test_opened: all uses of the test images for this study.
        notes: changes since it was started.
        preparing: what is, or was when its driver ended, prepared; None once that is done.
        dimensions: of its space.
        spent: the limit of `search.budget` that ended the search; None if none did.
        looks: how often seeds were added when the runs of all seeds so far had ended, so that their
            results could be seen.
        replicates_ended: of an ablation with replicates, those of which all rows have ended.
        registration, planned_looks, edits, learned: as in `Head`.
        mixtures: of a search of its own; None: it makes none, or began before there were any.
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
    test: Mapping[str, Any] | None = None
    baseline_sha256: str = ""
    accepted_baseline: str = ""
    preprocessing: Preprocessing | None = None
    notes: tuple[str, ...] = ()
    preparing: PreparationStep | None = None
    dimensions: int = 0
    spent: str | None = None
    looks: int = 0
    replicates_ended: int = 0
    registration: Registration | None = None
    planned_looks: tuple[Mapping[str, Any], ...] = ()
    mixtures: Mixtures | None = None
    edits: tuple[Mapping[str, Any], ...] = ()
    learned: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def since_registration(self) -> Mapping[str, str]:
        """The parts that are not as they were registered, and how they have changed."""
        if self.registration is None:
            return {}
        begun, now = self.registration.parts, registered_parts(self.study, self.design)
        noted = "; ".join(note for note in self.notes if note.startswith("ablation."))
        changes = {
            name: (name == "looks" and noted) or "changed"
            for name, digest in now.items()
            if digest != begun[name]
        }
        sources = [drive.provenance.get("sources") for drive in self.drives]
        if others := sum(one != begun["code"] for one in sources):
            changes["code"] = f"{others} of {len(sources)} drives by other code of ablate"
        return changes

    def count(self, state: State) -> int:
        return sum(row.state == state for row in self.rows)

    @cached_property
    def complete(self) -> tuple[RowRecord, ...]:
        return tuple(row for row in self.rows if row.state == "COMPLETE")

    @cached_property
    def bounds(self) -> tuple[Bound, ...]:
        """See `bounds_of`."""
        return bounds_of(self.study, self.design, self.references)

    @property
    def ended(self) -> int:
        """Number of rows in a terminal state."""
        return sum(row.state in TERMINAL for row in self.rows)

    @property
    def lacks_plain(self) -> bool:
        """Whether the plain finetune is left to be run."""
        return needs_plain(self.study, self.parent) and "plain" not in self.references

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be run: all N rows have ended, or all that a budget allowed,
        and the plain finetune; with planned looks, whether one has ended it."""
        stop = self.study.ablation and self.study.ablation.stop
        if stop and going_cells(self.planned_looks) != ():
            return False
        return not self.lacks_plain and self.ended >= self.rows_at_end

    @property
    def looked_at_test(self) -> bool:
        """Whether a planned look has been taken at the test images of its confirmation."""
        stop = self.study.ablation and self.study.ablation.stop
        is_at_test = bool(stop and stop.confirm) and self.parent is None
        return is_at_test and bool(self.planned_looks)

    @property
    def history(self) -> tuple[str, ...]:
        """That its space was edited, and which studies its sampler learned from: a line each."""
        return tuple(filter(None, [edits_text(self.edits), *map(learned_text, self.learned)]))

    @property
    def shown_mixtures(self) -> Mixtures:
        """Its mixtures, unless it has none, or they are turned off."""
        return self.mixtures if self.mixtures and self.study.answer.mixtures else Mixtures()

    @property
    def lacks_mixtures(self) -> bool:
        """Whether all of its rows have ended, and their mixtures were not made yet."""
        return self.mixtures is not None and self.is_over and self.mixtures.rows != self.ended

    @property
    def awaits_mixtures(self) -> bool:
        """Whether it lacks mixtures that are not turned off."""
        return self.lacks_mixtures and self.study.answer.mixtures

    @property
    def rows_at_end(self) -> int:
        """N; of a search that a budget ended, the rows that had begun."""
        return self.trials if self.spent is None else self.ended + self.count("RUNNING")

    def loss_terms(self, row: RowRecord) -> str:
        """The loss terms of a row, in one order; empty for a custom training loop."""
        if self.study.trainable is not None:
            return ""
        return in_order(str(row.params.get("loss.terms", self.study.loss.terms)))


def accepted_text(records: Sequence[StudyRecord]) -> str:
    """`accepted_baseline` of several studies, by their names."""
    why = {record.name: record.accepted_baseline for record in records}
    return "; ".join(f"{name}: {text}" for name, text in why.items() if text)


def whole_record(record: StudyRecord, replicates: Sequence[StudyRecord]) -> StudyRecord:
    """An ablation with the rows of its replicates, whose numbers and pairs count on.

    Args:
        record: of the study itself, which has no rows; replicates: those that have begun, in order.
    """
    rows, pairs = list[RowRecord](), 0
    for number, replicate in enumerate(replicates):
        first = len(rows)
        rows += [
            replace(
                row,
                number=first + row.number,
                pair=pairs + (row.pair or 0),
                replicate=number,
                copy_of=None if row.copy_of is None else first + row.copy_of,
            )
            for row in replicate.rows
        ]
        pairs += replicate.study.ablation_section.seed_count
    settings, design = record.study.ablation_section, record.design or {"cells": ()}
    names = [cell["name"] for cell in design["cells"]]
    going = going_cells(record.planned_looks)
    cells = len(names if going is None else {*names} & {*going})
    to_come = ((settings.replicates or 0) - len(replicates)) * settings.seed_count * cells
    drives = chain.from_iterable(one.drives for one in replicates)
    return replace(
        record,
        rows=tuple(rows),
        trials=sum(one.trials for one in replicates) + to_come,
        drives=tuple(sorted(drives, key=attrgetter("started"))),
        accepted_baseline=accepted_text(replicates),
        replicates_ended=sum(one.is_over for one in replicates),
    )
