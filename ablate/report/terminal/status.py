"""The state of a study: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from ablate.analysis.accounting import worked_seconds
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.hypervolume import hypervolume, nondominated
from ablate.analysis.summary import Best, StatusInfo, best_values, complete_values
from ablate.files.shown import bytes_text, few
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord
from ablate.report.numbers import (
    MISSING,
    duration_text,
    epochs_text,
    hypervolume_text,
    metric_text,
    metric_unit,
    metric_words,
    moment_text,
    step_text,
    work_text,
)
from ablate.study.json_data import json_value
from ablate.study.preparation import fed_text
from ablate.study.scores import Bound
from ablate.study.settings import ObjectiveSettings

_SHOWN_FAILURES = 4


def status_table(info: StatusInfo) -> Table:
    """The state of the study, one line per fact."""
    title = f"warning: {info.warning}\n" if info.warning else ""
    title += f"{info.study}: {info.terminal} of {info.trials} trials ended"
    title += f"; {info.spent}" if info.spent is not None else ""
    table = Table(title=escape(title))
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.show_header = False
    counts = ", ".join(f"{count} {state.lower()}" for state, count in info.counts.items() if count)
    table.add_row("trials", counts or "none started")
    if info.preparing is not None:
        stopped = "" if info.driver else "; its driver has ended"
        table.add_row("preparing", escape(step_text(info.preparing) + stopped))
    if info.baseline is not None:
        scores = info.baseline
        fed = fed_text(scores.clean_accuracy, scores.n_images, info.preprocessing)
        table.add_row("baseline", f"right on {fed}")
    if info.cells is not None:
        ended, seeds = info.pairs
        done = f"{ended} of {seeds} seeds ended in every cell"
        table.add_row("ablation", f"{info.cells} cells, {done}")
    for best in info.best if info.cells is None else ():
        table.add_row(
            escape(f"best {metric_words(best.metric)}"),
            f"{metric_text(best.metric, best.value)}{metric_unit(best.metric)} "
            f"(trial {best.number})",
        )
    if info.cells is None and len(info.objectives) > 1:
        table.add_row("hypervolume", _hypervolume_text(info))
    table.add_row("rate", _rate_text(info))
    table.add_row("cost", _cost_text(info))
    limits = _limits_text(info)
    if limits:
        table.add_row("budget", limits)
    if info.account.epochs.trained:
        table.add_row("epochs", epochs_text(info.account.epochs))
        table.add_row("work", work_text(info.account.epochs))
    lost = info.account.lost_seconds
    table.add_row("time lost", f"{duration_text(lost)} of work that gave no result")
    table.add_row("peak memory", _memory_text(info))
    table.add_row("on disk", _disk_text(info))
    for group in info.failures[:_SHOWN_FAILURES]:
        table.add_row(
            f"failed: {len(group.numbers)}",
            escape(f"{group.kind}: {group.reason} ({few(group.numbers, 12)})"),
        )
    rest = info.failures[_SHOWN_FAILURES:]
    if rest:
        failed = sum(len(group.numbers) for group in rest)
        table.add_row(f"failed: {failed}", f"for {len(rest)} other reasons")
    for opened in info.test_opened:
        when = moment_text(opened.time)
        what = f"{when}: {opened.what}; scores in {opened.study}"
        table.add_row("test images used", escape(what))
    for mark in info.marks:
        table.add_row("note", escape(mark))
    table.add_row("driver", escape(_driver_text(info)))
    table.add_row("code", escape(_code_text(info)))
    table.add_row("storage", escape(info.storage))
    table.add_row("fingerprint", escape(info.fingerprint) or MISSING)
    return table


def status_rows(info: StatusInfo) -> list[dict[str, Any]]:
    """One dict, for JSON."""
    account, budget = info.account, info.budget
    status = {
        "study": info.study,
        "driver": info.driver,
        "continuation": info.continuation or None,
        "preparing": None if info.preparing is None else info.preparing.to_json(),
        "storage": info.storage,
        "fingerprint": info.fingerprint,
        "baseline": None
        if info.baseline is None
        else {
            "accuracy": info.baseline.clean_accuracy,
            "images": info.baseline.n_images,
            "preprocessing": None if info.preprocessing is None else info.preprocessing.to_json(),
        },
        "trials": info.trials,
        "counts": dict(info.counts),
        "best": [vars(best) for best in info.best],
        "hypervolume": info.hypervolume,
        "reference_point": info.reference_point,
        "cells": info.cells,
        "seeds_ended": info.pairs[0],
        "seeds": info.pairs[1],
        "test_opened": [vars(opened) for opened in info.test_opened],
        "rows_per_minute": info.rows_per_minute,
        "seconds_left": info.seconds_left,
        "gpu_hours": account.gpu_hours,
        "worked_seconds": account.worked_seconds,
        "lost_seconds": account.lost_seconds,
        "epochs": vars(account.epochs) | {"rungs": [vars(rung) for rung in account.epochs.rungs]},
        "driving_seconds": account.driving_seconds,
        "drives": account.drives,
        "hosts": account.hosts,
        "peak_memory_bytes": account.peak_memory_bytes or None,
        "peak_gpu_bytes": account.peak_gpu_bytes or None,
        "checkpoint_bytes": info.checkpoint_bytes,
        "weight_bytes": info.weight_bytes,
        "budget": {"gpu_hours": budget.gpu_hours, "seconds": budget.seconds},
        "spent": info.spent,
        "failures": [vars(group) for group in info.failures],
        "commit": info.commit,
        "dirty": info.dirty,
        "marks": info.marks,
    }
    return [json_value(status)]


def _rate_text(info: StatusInfo) -> str:
    if info.rows_per_minute is None:
        return MISSING
    rate = f"{info.rows_per_minute:.3g} trials a minute"
    if info.driver is None or not info.seconds_left:
        return rate
    return f"{rate}, {duration_text(info.seconds_left)} left"


def _cost_text(info: StatusInfo) -> str:
    account = info.account
    if not account.drives and not account.worked_seconds:
        return f"{MISSING} (no trial has started)"
    drives = "1 drive" if account.drives == 1 else f"{account.drives} drives"
    return (
        f"{account.gpu_hours:.2f} GPU hours; {duration_text(account.driving_seconds)} in {drives}"
    )


def _limits_text(info: StatusInfo) -> str:
    account, budget, parts = info.account, info.budget, []
    if budget.gpu_hours is not None:
        parts.append(f"{account.gpu_hours:.2f} of {budget.gpu_hours:g} GPU hours")
    if budget.seconds is not None:
        limit = duration_text(budget.seconds)
        parts.append(f"{duration_text(account.driving_seconds)} of {limit}")
    return ", ".join(f"{part} spent" for part in parts)


def _memory_text(info: StatusInfo) -> str:
    account = info.account
    parts = [bytes_text(account.peak_memory_bytes)] if account.peak_memory_bytes else []
    if account.peak_gpu_bytes:
        parts.append(f"{bytes_text(account.peak_gpu_bytes)} on a GPU")
    return ", ".join(parts) or MISSING


def _disk_text(info: StatusInfo) -> str:
    if info.checkpoint_bytes is None or info.weight_bytes is None:
        return MISSING
    return (
        f"{bytes_text(info.checkpoint_bytes)} of training states, "
        f"{bytes_text(info.weight_bytes)} of weights"
    )


def _driver_text(info: StatusInfo) -> str:
    if info.driver is not None:
        return info.driver
    return f"none; {info.continuation}" if info.continuation else "none"


def _code_text(info: StatusInfo) -> str:
    if info.commit is None:
        return "not in a git repository"
    return f"commit {info.commit[:12]}" + (", with uncommitted changes" if info.dirty else "")


def _hypervolume_text(info: StatusInfo) -> str:
    why = "no reference point"
    if info.reference_point is not None:
        few = len(info.objectives) <= MOST_OBJECTIVES
        why = "too large" if few else f"more than {MOST_OBJECTIVES} objectives"
    text = hypervolume_text(info.hypervolume, info.objectives, info.reference_point)
    return text or f"{MISSING} ({why})"


# -- The state of a running study, updated by events, for the displays ------------


@dataclass(frozen=True)
class Epoch:
    """Epochs done, of how many, and the last one's mean loss."""

    epoch: int
    epochs: int | None
    train_loss: float


class Standing:
    """The rows that have ended and what is running.  Not thread-safe: its owner locks.

    Attributes:
        running: trial number (None: the plain finetune) -> its last epoch, None before the first.
        best: one an objective, over the complete trials.
    """

    def __init__(self) -> None:
        self.trials = 0
        self.objectives: tuple[ObjectiveSettings, ...] = ()
        self.running: dict[int | None, Epoch | None] = {}
        self.best: tuple[Best, ...] = ()
        self._reference_point: tuple[float, ...] | None = None
        self._hypervolume: float | None = None
        self._states: dict[int, str] = {}
        self._seconds = 0.0
        self._front: list[tuple[float, ...]] = []
        self._bounds: tuple[Bound, ...] = ()
        self._started: dict[int | None, float] = {}
        self._widest = 1
        self._is_search = True

    @property
    def ended(self) -> int:
        return len(self._states)

    def reset(self, record: StudyRecord) -> None:
        """Read the state from the ledger; running trials are kept, and the plain finetune if
        unscored."""
        self.trials = record.trials
        self.objectives = record.study.objectives
        self._reference_point = record.reference_point
        ended = [row for row in record.rows if row.state in TERMINAL]
        self._states = {row.number: row.state.lower() for row in ended}
        self._seconds = sum(map(worked_seconds, ended))
        self._is_search = record.design is None
        if not self._is_search:
            return
        self._bounds = record.bounds
        self.best = best_values(ended, self.objectives, self._bounds)
        self._front = self._nondominated(complete_values(ended, self._bounds))
        self._measure()
        if "plain" in record.references:
            self._stop(None)

    def start(self, number: int | None, moment: float) -> None:
        """Record the start of a trial; `moment` in seconds of a monotonic clock."""
        self._count(number)
        self.running[number] = None
        self._started[number] = moment
        self._widest = max(self._widest, len(self.running))

    def epoch(self, number: int | None, epoch: Epoch) -> None:
        self.running[number] = epoch

    def finish(self, row: RowRecord) -> None:
        """A trial has ended; what that costs here does not grow with the trials before it."""
        self._stop(row.number)
        self._count(row.number)
        if row.number in self._states:
            return
        self._states[row.number] = row.state.lower()
        self._seconds += worked_seconds(row)
        if not self._is_search or row.state != "COMPLETE" or row.values is None:
            return
        self.best = self._better(row)
        front = self._nondominated([*self._front, *complete_values([row], self._bounds)])
        if front != self._front:
            self._front = front
            self._measure()

    def _count(self, number: int | None) -> None:
        """A trial that was enqueued while the study runs is one more."""
        self.trials = max(self.trials, -1 if number is None else number + 1)

    def counts(self) -> dict[str, int]:
        """Trials by state, in words; those at zero are left out."""
        ended = Counter(self._states.values())
        running = sum(number is not None for number in self.running)
        waiting = max(0, self.trials - self.ended - running)
        counts = {**ended, "running": running, "waiting": waiting}
        return {state: count for state, count in counts.items() if count}

    def seconds_left(self, moment: float) -> float | None:
        """Seconds until all rows have ended, or None before the first end.

        Args:
            moment: now, by the clock of `start`.
        """
        if not self.ended:
            return None
        elapsed = [moment - self._started[number] for number in self.running if number is not None]
        return time_left(
            self._seconds / self.ended, self.trials - self.ended, elapsed, self._widest
        )

    def hypervolume_text(self) -> str:
        """With its reference point; empty before the baseline is scored."""
        text = hypervolume_text(self._hypervolume, self.objectives, self._reference_point)
        return f"hypervolume {text}" if text else ""

    def _stop(self, number: int | None) -> None:
        self.running.pop(number, None)
        self._started.pop(number, None)

    def _better(self, row: RowRecord) -> tuple[Best, ...]:
        """The best values, including this row; for ties the smallest number."""
        directions = {objective.metric: objective.direction for objective in self.objectives}
        found: dict[str, Best] = {best.metric: best for best in self.best}
        for new in best_values([row], self.objectives, self._bounds):
            old = found.get(new.metric)
            sign = 1 if directions[new.metric] == "maximize" else -1
            if old is None or (sign * new.value, -new.number) > (sign * old.value, -old.number):
                found[new.metric] = new
        return tuple(found[metric] for metric in directions if metric in found)

    def _nondominated(self, values: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        distinct = list(dict.fromkeys(values))
        on_front = nondominated(distinct, self.objectives)
        return [point for point, keep in zip(distinct, on_front, strict=True) if keep]

    def _measure(self) -> None:
        self._hypervolume = hypervolume(self._front, self.objectives, self._reference_point)


def time_left(mean_seconds: float, rows: int, elapsed_seconds: list[float], parallel: int) -> float:
    """Time for `rows` rows, `parallel` at once, some of which are already running.

    Args:
        mean_seconds: of one row.
        rows: not ended, the running ones among them.
        elapsed_seconds: of each running row; beyond the mean it is treated as about to end.
        parallel: rows at once, at least 1.
    """
    done = sum(min(elapsed, mean_seconds) for elapsed in elapsed_seconds)
    return max(0.0, rows * mean_seconds - done) / max(1, min(parallel, rows))
