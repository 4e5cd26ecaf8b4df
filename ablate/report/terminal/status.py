"""The state of a study: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from ablate.analysis.accounting import worked_seconds
from ablate.analysis.caveats import baseline_warning, result_marks
from ablate.analysis.summary import Best, StatusInfo, best_values, continuation
from ablate.files.shown import bytes_text, few
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord
from ablate.report.numbers import (
    duration_text,
    hypervolume_text,
    metric_text,
    metric_unit,
    metric_words,
    moment_text,
    run_time_rows,
    step_text,
)
from ablate.study.json_data import json_value
from ablate.study.preparation import fed_text
from ablate.study.scores import Bound
from ablate.study.settings import ObjectiveSettings

_MOST_FAILURES = 4


def status_table(info: StatusInfo) -> Table:
    """The state of the study on one screen, a line per fact; what is unknown has none."""
    record = info.record
    ended = sum(info.counts[state] for state in TERMINAL)
    warning = baseline_warning(record)
    title = f"warning: {warning}\n" if warning else ""
    title += f"{record.name}: {ended} of {record.trials} trials ended"
    title += f"; {record.spent}" if record.spent is not None else ""
    table = Table(title=escape(title), show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    how, (commit, dirty) = continuation(record), _commit(record)
    facts = [
        ("trials", _counts_text(info)),
        *_results(info),
        *run_time_rows(info.account, record.study.search.budget),
        ("size", _size_text(info)),
        *_failures(info),
        *(
            ("test images used", f"{moment_text(one.time)}: {one.what}; scores in {one.study}")
            for one in record.test_opened
        ),
        *(("note", mark) for mark in result_marks(record)),
        ("driver", record.driver or f"none{'; ' * bool(how)}{how}"),
        ("code", f"commit {commit[:12]}{', with uncommitted changes' * dirty}" if commit else ""),
        ("storage", record.storage),
        ("fingerprint", record.fingerprint),
    ]
    for name, text in facts:
        if text:
            table.add_row(escape(name), escape(text))
    return table


def _counts_text(info: StatusInfo) -> str:
    parts = [f"{count} {state.lower()}" for state, count in info.counts.items() if count]
    if info.rows_per_minute is not None:
        parts.append(f"{info.rows_per_minute:.3g} a minute")
    if info.record.driver is not None and info.seconds_left:
        parts.append(f"{duration_text(info.seconds_left)} left")
    return ", ".join(parts) or "none started"


def _results(info: StatusInfo) -> Iterator[tuple[str, str]]:
    record = info.record
    if record.preparing is not None:
        stopped = "" if record.driver else "; its driver has ended"
        yield "preparing", step_text(record.preparing) + stopped
    baseline = record.references.get("baseline")
    if baseline is not None:
        fed = fed_text(baseline.clean_accuracy, baseline.n_images, record.preprocessing)
        yield "baseline", f"right on {fed}"
    if record.design is not None:
        done, seeds = info.pairs
        cells = len(record.design["cells"])
        yield "ablation", f"{cells} cells, {done} of {seeds} seeds ended in every cell"
        return
    for best in info.best:
        value = f"{metric_text(best.metric, best.value)}{metric_unit(best.metric)}"
        yield f"best {metric_words(best.metric)}", f"{value} (trial {best.number})"
    objectives = record.study.objectives
    if len(objectives) > 1:
        text = hypervolume_text(info.hypervolume, objectives, record.reference_point)
        yield "hypervolume", text


def _size_text(info: StatusInfo) -> str:
    memory, gpu = info.account.peak_memory_bytes, info.account.peak_gpu_bytes
    parts = {"of memory at most": memory, "on a GPU at most": gpu}
    on_disk = ("of training states on disk", "of weights on disk")
    parts |= dict(zip(on_disk, info.disk or (0, 0), strict=True))
    return ", ".join(f"{bytes_text(size)} {what}" for what, size in parts.items() if size)


def _failures(info: StatusInfo) -> Iterator[tuple[str, str]]:
    for group in info.failures[:_MOST_FAILURES]:
        trials = few(group.numbers, 12)
        yield f"failed: {len(group.numbers)}", f"{group.kind}: {group.reason} ({trials})"
    rest = info.failures[_MOST_FAILURES:]
    if rest:
        failed = sum(len(group.numbers) for group in rest)
        yield f"failed: {failed}", f"for {len(rest)} other reasons"


def _commit(record: StudyRecord) -> tuple[str | None, bool]:
    """Of the code of the last drive, None outside a repository; whether files were changed."""
    git = (record.drives[-1].provenance.get("git") if record.drives else None) or {}
    return git.get("commit"), bool(git.get("dirty"))


def status_rows(info: StatusInfo) -> list[dict[str, Any]]:
    """One dict, for JSON."""
    record, account = info.record, info.account
    baseline, budget = record.references.get("baseline"), record.study.search.budget
    preparing, preprocessing = record.preparing, record.preprocessing
    states, weights = info.disk or (None, None)
    commit, dirty = _commit(record)
    status = {
        "study": record.name,
        "driver": record.driver,
        "continuation": continuation(record) or None,
        "preparing": preparing and preparing.to_json(),
        "storage": record.storage,
        "fingerprint": record.fingerprint,
        "baseline": baseline
        and {
            "accuracy": baseline.clean_accuracy,
            "images": baseline.n_images,
            "preprocessing": preprocessing and preprocessing.to_json(),
        },
        "trials": record.trials,
        "counts": dict(info.counts),
        "best": [vars(best) for best in info.best],
        "hypervolume": info.hypervolume,
        "reference_point": record.reference_point,
        "cells": None if record.design is None else len(record.design["cells"]),
        "seeds_ended": info.pairs[0],
        "seeds": info.pairs[1],
        "test_opened": [vars(opened) for opened in record.test_opened],
        "rows_per_minute": info.rows_per_minute,
        "seconds_left": info.seconds_left,
        "gpu_hours": account.gpu_hours,
        "worked_seconds": account.worked_seconds,
        "lost_seconds": account.lost_seconds,
        "epochs": vars(account.epochs) | {"rungs": [vars(rung) for rung in account.epochs.rungs]},
        "driving_seconds": account.driving_seconds,
        "drives": len(account.drives),
        "run_times": [vars(drive) for drive in account.drives],
        "hosts": account.hosts,
        "peak_memory_bytes": account.peak_memory_bytes or None,
        "peak_gpu_bytes": account.peak_gpu_bytes or None,
        "checkpoint_bytes": states,
        "weight_bytes": weights,
        "budget": {"gpu_hours": budget.gpu_hours, "seconds": budget.seconds},
        "spent": record.spent,
        "failures": [vars(group) for group in info.failures],
        "commit": commit,
        "dirty": dirty,
        "marks": result_marks(record),
    }
    return [json_value(status)]


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
        self._states: dict[int, str] = {}
        self._seconds = 0.0
        self._best_rows: list[RowRecord] = []
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
        ended = [row for row in record.rows if row.state in TERMINAL]
        self._states = {row.number: row.state.lower() for row in ended}
        self._seconds = sum(map(worked_seconds, ended))
        self._is_search = record.design is None
        if not self._is_search:
            return
        self._bounds = record.bounds
        self._best_rows = []
        self._keep_best(ended)
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
        if self._is_search and row.state == "COMPLETE" and row.values is not None:
            self._keep_best([row])

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
        mean, rows = self._seconds / self.ended, self.trials - self.ended
        return time_left(mean, rows, elapsed, self._widest)

    def _stop(self, number: int | None) -> None:
        self.running.pop(number, None)
        self._started.pop(number, None)

    def _keep_best(self, rows: Sequence[RowRecord]) -> None:
        """The best of these, and of those that were; of ties the smallest number."""
        kept = sorted([*self._best_rows, *rows], key=lambda row: row.number)
        self.best = best_values(kept, self.objectives, self._bounds)
        numbers = {best.number for best in self.best}
        self._best_rows = [row for row in kept if row.number in numbers]


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
