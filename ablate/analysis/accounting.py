"""The cost of a study: epochs, work time, lost time, GPU hours, memory; per trial and in total.

An attempt's time runs from its start to its end, waiting for data and scoring included.  Lost time
gave no result: all time of a failed trial; in other trials, for each interrupted attempt, its time
minus that of the epochs from which the trial continued.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass

from ablate.analysis.drawn import kept_with_record
from ablate.ledger.record import GOING, Attempt, GpusAt, RowRecord, StudyRecord

_Spans = list[tuple[float, float]]

BROKEN_OFF = ("raised", "lost", "left")
"""How an attempt ends that does not end its trial."""


@dataclass(frozen=True)
class Account:
    """The cost of one trial, over all its attempts, or of all trials of a study.

    Attributes:
        spans: start and end of each attempt, in seconds since 1970; one without an end counts until
            its last epoch or checkpoint.
        lost_seconds: the part without a result.
        gpu_hours: work time times the GPUs per trial of its drive.
        peak_memory_bytes, peak_gpu_bytes: the maximum over attempts; 0: unknown, or no GPU.
        hosts: where it ran, in the order of the attempts, each once.
    """

    spans: _Spans
    lost_seconds: float
    gpu_hours: float
    peak_memory_bytes: int
    peak_gpu_bytes: int
    hosts: tuple[str, ...]

    @property
    def worked_seconds(self) -> float:
        return sum(end - start for start, end in self.spans)

    @property
    def busy_seconds(self) -> float:
        """Time in which at least one attempt was at work."""
        covered, reached = 0.0, -math.inf
        for start, end in sorted(self.spans):
            covered += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return covered


@dataclass(frozen=True)
class RungAccount:
    """Trials that reached a rung, and those of them that were stopped there."""

    epoch: int
    reached: int
    stopped: int


@dataclass(frozen=True)
class EpochAccount:
    """The epochs of all trials that did not fail, each once.

    Attributes:
        trained: `[epoch]`, from epoch 1: number of trials that trained it; saved: number that would
            have, had they not been stopped.
        rungs: by epoch.
        training_seconds: of these epochs; of a finetuning without scoring.
        other_seconds: of the trials' work, neither training nor lost: scoring, loading, waiting.
        saved_seconds: of training, if each stopped trial had gone on at its own mean pace.
    """

    trained: tuple[int, ...]
    saved: tuple[int, ...]
    rungs: tuple[RungAccount, ...]
    training_seconds: float
    other_seconds: float
    saved_seconds: float


@dataclass(frozen=True)
class DriveAccount:
    """One run of the driver.

    Attributes:
        started: seconds since 1970; seconds: how long it ran.
        workers: trials at once; worked_seconds: of the attempts that began in it, at most all that
            its workers had, and until now of one that runs.
        end: "finished", "stopped", "failed", "running" or "killed".
    """

    host: str
    started: float
    seconds: float
    workers: int
    worked_seconds: float
    end: str


@dataclass(frozen=True)
class StudyAccount(Account):
    """The cost of a study so far, and where its time went."""

    epochs: EpochAccount
    drives: tuple[DriveAccount, ...]

    @property
    def driving_seconds(self) -> float:
        """Time in which a driver ran, pauses left out."""
        return sum(drive.seconds for drive in self.drives)


def study_account(record: StudyRecord, now: float) -> StudyAccount:
    """The account of a study.

    Args:
        now: seconds since 1970, the end of a running drive.
    """
    trials = trial_accounts(record)
    return StudyAccount(
        spans=[span for trial in trials for span in trial.spans],
        lost_seconds=sum(trial.lost_seconds for trial in trials),
        gpu_hours=sum(trial.gpu_hours for trial in trials),
        peak_memory_bytes=max((trial.peak_memory_bytes for trial in trials), default=0),
        peak_gpu_bytes=max((trial.peak_gpu_bytes for trial in trials), default=0),
        hosts=tuple(dict.fromkeys(host for trial in trials for host in trial.hosts)),
        epochs=_epoch_account(record),
        drives=_drive_accounts(record, now),
    )


def _epoch_account(record: StudyRecord) -> EpochAccount:
    both = zip(record.rows, trial_accounts(record), strict=True)
    kept = [(row, account) for row, account in both if row.state != "FAIL"]
    training, saved_seconds = 0.0, 0.0
    trained, saved = Counter[int](), Counter[int]()
    # A custom loop may end before its budget.
    own = kept if record.study.trainable is not None else ()
    whole = [len(row.curve) for row, _ in own if row.state == "COMPLETE" and row.curve]
    for row, _ in kept:
        seconds = sum(float(entry.get("seconds", 0.0)) for entry in row.curve)
        training += seconds
        done = len(row.curve)
        trained.update(range(1, done + 1))
        if row.state == "PRUNED" and done:
            budget = int(row.curve[-1].get("epochs") or 0)
            left = range(done + 1, min(budget, max(whole, default=budget)) + 1)
            saved.update(left)
            saved_seconds += len(left) * seconds / done
    reached = Counter(rung.epoch for row, _ in kept for rung in row.rungs)
    stopped = Counter(rung.epoch for row, _ in kept for rung in row.rungs if rung.stop)
    epochs = range(1, max([*trained, *saved], default=0) + 1)
    worked = sum(account.worked_seconds - account.lost_seconds for _, account in kept)
    return EpochAccount(
        trained=tuple(trained[epoch] for epoch in epochs),
        saved=tuple(saved[epoch] for epoch in epochs),
        rungs=tuple(RungAccount(at, reached[at], stopped[at]) for at in sorted(reached)),
        training_seconds=training,
        other_seconds=max(0.0, worked - training),
        saved_seconds=saved_seconds,
    )


@kept_with_record
def trial_accounts(record: StudyRecord) -> tuple[Account, ...]:
    """What each row has cost, in the record's order."""
    gpus_at = GpusAt(record.drives)
    return tuple(
        Account(
            spans=spans,
            lost_seconds=_lost_seconds(row, spans),
            gpu_hours=sum((end - start) * gpus_at(start) for start, end in spans) / 3600,
            peak_memory_bytes=max(
                (attempt.peak_memory_bytes for attempt in row.attempts), default=0
            ),
            peak_gpu_bytes=max((attempt.peak_gpu_bytes for attempt in row.attempts), default=0),
            hosts=tuple(dict.fromkeys(attempt.host for attempt in row.attempts if attempt.host)),
        )
        for row in record.rows
        for spans in [[(attempt.started, attempt_end(row, attempt)) for attempt in row.attempts]]
    )


def _lost_seconds(row: RowRecord, spans: _Spans) -> float:
    """Of a row's time at work, what went into no result."""
    if row.state == "FAIL":
        return sum(end - start for start, end in spans)
    # Nothing takes away any more what has ended; else what is in a checkpoint.
    places = [(checkpoint.epoch, checkpoint.seconds) for checkpoint in row.checkpoints]
    places += [(attempt.first_epoch, attempt.first_seconds) for attempt in row.attempts[-1:]]
    if row.state not in GOING:
        places = [(max((int(point["epoch"]) for point in row.curve), default=0), 0.0)]
    went_on_from = max((_trained_seconds(row, *place) for place in places), default=0.0)
    lost = 0.0
    for attempt, (start, end) in zip(reversed(row.attempts), reversed(spans), strict=True):
        if not attempt.has_reported:  # its start is unknown; it has produced nothing
            lost += end - start if attempt.end in BROKEN_OFF else 0.0
            continue
        began_at = _trained_seconds(row, attempt.first_epoch, attempt.first_seconds)
        if attempt.end in BROKEN_OFF:
            kept = max(0.0, went_on_from - began_at)
            lost += max(0.0, end - start - kept)
        went_on_from = min(went_on_from, began_at)
    return lost


def _drive_accounts(record: StudyRecord, now: float) -> tuple[DriveAccount, ...]:
    """A drive without an end runs until `now` if it is the last and the study is running; else it
    was killed, and ended with the last report of an attempt before the next drive."""
    if not record.drives:
        return ()
    starts = [drive.started for drive in record.drives]
    worked = [0.0] * len(starts)
    signs = list[float]()
    for row, account in zip(record.rows, trial_accounts(record), strict=True):
        for attempt, (start, end) in zip(row.attempts, account.spans, strict=True):
            signs += [start, end]
            runs = attempt.ended is None and record.driver is not None
            worked[max(0, bisect_right(starts, start) - 1)] += (now if runs else end) - start
    found = []
    for drive, limit, done in zip(record.drives, [*starts[1:], now], worked, strict=True):
        ended, how = drive.ended, drive.end or "killed"
        if ended is None and drive is record.drives[-1] and record.driver is not None:
            ended, how = now, drive.end or "running"
        if ended is None:
            ended = max((moment for moment in signs if moment <= limit), default=drive.started)
        seconds = max(0.0, ended - drive.started)
        worked_seconds = min(done, drive.parallel * seconds)
        times = (drive.started, seconds, drive.parallel, worked_seconds)
        found.append(DriveAccount(drive.host, *times, how))
    return tuple(found)


def attempt_end(row: RowRecord, attempt: Attempt) -> float:
    """Seconds since 1970; of an attempt without an end that of its last epoch or checkpoint."""
    if attempt.ended is not None:
        return max(attempt.started, attempt.ended)
    began_at = _trained_seconds(row, attempt.first_epoch, attempt.first_seconds)
    ended_at = _trained_seconds(row, attempt.epochs, attempt.seconds)
    return attempt.started + max(0.0, ended_at - began_at)


def _trained_seconds(row: RowRecord, epochs: int, amid_seconds: float) -> float:
    """What these epochs of the curve took, and so much of the one after them."""
    whole = sum(point.get("seconds", 0.0) for point in row.curve if point["epoch"] <= epochs)
    return float(whole + amid_seconds)
