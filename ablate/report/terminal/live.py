"""What a person sees of a running study: a live panel on a terminal or in a notebook's cell, plain
lines elsewhere.

All listen to `ablate.search.progress.Progress`; the search does not know them, and goes on whatever
they raise (`ablate.search.progress.Guarded`).
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.analysis.objectives import is_score
from ablate.analysis.summary import Best, best_values
from ablate.errors.masking import masked
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord
from ablate.report.numbers import (
    duration_text,
    metric_text,
    metric_words,
    step_progress_text,
    step_text,
)
from ablate.report.terminal.streams import TextConsole, html_of, take_every_text
from ablate.search.progress import Progress
from ablate.study.preparation import PreparationStep


def make_display(console: Console, study: str) -> Display:
    """A live panel for a terminal that can redraw, or in a notebook; else lines.

    Args:
        console: which nothing else writes to.
        study: its name, for the head line.
    """
    if console.is_jupyter:
        return CellDisplay(study)
    take_every_text(console.file)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, study)
    return PlainDisplay(console, study)


@contextmanager
def watching(progress: Progress | bool | None, study: str) -> Iterator[Progress]:
    """The progress of a run that was started from Python.

    Args:
        progress: the display; False: none; True: a display on standard error; None: the same if it
            is a terminal or a notebook, else none.
        study: the study's name for the display.
    """
    console = TextConsole(stderr=True)
    if progress is None:
        progress = console.is_terminal or console.is_jupyter
    if progress is True:
        display = make_display(console, study)
        try:
            yield display
        finally:
            display.close()
    else:
        yield progress or Progress()


class Display(Progress):
    """The state of a run, updated by its events, from any thread.

    What an event costs does not grow with the trials before it.
    """

    def __init__(self, study: str) -> None:
        self._study = study
        self._step: PreparationStep | None = None
        self._head: StudyRecord | None = None  # without its rows
        self._trials, self._outside = 0, 0
        self._states: dict[int, str] = {}  # of ended trials
        # Of a trial (None: the plain finetune) the last epoch, how many there are, and the loss.
        self._running: dict[int | None, tuple[int, int | None, float] | None] = {}
        self._best: tuple[Best, ...] = ()
        self._best_rows: list[RowRecord] = []
        self._began, self._ended_before = math.nan, 0
        self._lock = threading.RLock()

    def preparing(self, step: PreparationStep) -> None:
        with self._lock:
            self._step = step
            self._changed()

    def totals(self, record: StudyRecord) -> None:
        with self._lock:
            if self._head is None or self._head.name != record.name:
                self._began = math.nan  # each study of an ablation has a pace of its own
            self._step, self._head = None, replace(record, rows=())
            self._trials, self._outside = record.trials, sum(row.outside for row in record.rows)
            ended = [row for row in record.rows if row.state in TERMINAL]
            self._states = {row.number: row.state.lower() for row in ended}
            self._best_rows = []
            self._keep_best(ended)
            if "plain" in record.references:
                self._running.pop(None, None)
            self._changed()

    def started(self, number: int | None) -> None:
        with self._lock:
            if number is not None and math.isnan(self._began):
                self._began, self._ended_before = time.monotonic(), len(self._states)
            self._count(number)
            self._running[number] = None
            self._changed()

    def epoch(self, number: int | None, epoch: int, epochs: int | None, train_loss: float) -> None:
        with self._lock:
            self._running[number] = epoch, epochs, train_loss
            self._changed()

    def finished(self, row: RowRecord) -> None:
        with self._lock:
            self._running.pop(row.number, None)
            self._count(row.number)
            if row.number not in self._states and not row.outside:
                self._states[row.number] = row.state.lower()
                self._keep_best([row])
            self._changed()

    def close(self) -> None:
        """The run is over: nothing comes after.  Safe to call twice."""

    def _changed(self) -> None:
        """Called with the lock."""

    def _count(self, number: int | None) -> None:
        """A trial that was enqueued while the study runs is one more."""
        self._trials = max(self._trials, -1 if number is None else number + 1 - self._outside)

    def _keep_best(self, rows: Sequence[RowRecord]) -> None:
        """The best of these, and of those that were; of ties the smallest number."""
        if self._head is None or self._head.design is not None:
            return
        rows = sorted([*self._best_rows, *rows], key=lambda row: row.number)
        self._best = best_values(rows, self._head.study.objectives, self._head.bounds)
        numbers = {best.point.trials[0] for best in self._best}
        self._best_rows = [row for row in rows if row.number in numbers]

    def _progress(self) -> tuple[str, str]:
        """ "3 of 16" and "20 s left", as far as they are known: at the pace of this run."""
        ended = len(self._states)
        counted = f"{ended} of {self._trials}" if self._trials else ""
        new = ended - self._ended_before
        if math.isnan(self._began) or new <= 0 or ended >= self._trials:
            return counted, ""
        left = (time.monotonic() - self._began) / new * (self._trials - ended)
        return counted, f"{duration_text(left)} left"


# -- Lines, for a log file or a pipe -------------------------------------------------------


class PlainDisplay(Display):
    """One line per phase and finished trial, none per epoch."""

    def __init__(self, console: Console, study: str) -> None:
        super().__init__(study)
        self._console = console
        self._said = ("", 0.0)

    def preparing(self, step: PreparationStep) -> None:
        now = time.monotonic()
        with self._lock:
            what, moment = self._said
            is_new = what != step.what or now - moment >= 10
            if is_new:
                self._said = (step.what, now)
        if is_new:
            self.note(step_text(step))

    def note(self, text: str) -> None:
        self._print(f"{self._study}: {text}")

    def totals(self, record: StudyRecord) -> None:
        super().totals(record)
        texts = [f"{record.ended} of {record.trials} trials ended"]
        asked = (objective.metric for objective in record.study.objectives)
        wanted = {*filter(is_score, asked)}
        for name, scores in record.references.items():
            values = {key: value for key, value in scores.metrics().items() if key in wanted}
            texts += [f"{name}: {_values_text(values)}"] if values else []
        self.note("; ".join(texts))

    def started(self, number: int | None) -> None:
        super().started(number)
        if number is None:
            self.note("plain finetune")

    def finished(self, row: RowRecord) -> None:
        super().finished(row)
        with self._lock:
            progress = ", ".join(filter(None, self._progress()))
            objectives = self._head.study.objectives if self._head else ()
        self._print(
            f"{_end_text(row, [objective.metric for objective in objectives])} ({progress})"
        )

    def close(self) -> None:
        self._console.quiet = True  # which a closed pipe sets too

    def _print(self, text: str) -> None:
        self._console.print(Text(masked(text)), soft_wrap=True, highlight=False)


def _values_text(values: Mapping[str, float]) -> str:
    """ "clean accuracy 94.0, robust accuracy 70.0"."""
    texts = (f"{metric_words(key)} {metric_text(key, value)}" for key, value in values.items())
    return ", ".join(texts)


def _end_text(row: RowRecord, metrics: Sequence[str]) -> str:
    """ "trial 3 complete: clean accuracy 94.0, robust accuracy 70.0"."""
    is_run = row.cell is not None and row.pair is not None
    name = f"{row.cell}, seed {(row.pair or 0) + 1}:" if is_run else f"trial {row.number}"
    if row.failure is not None:
        return f"{name} failed: {row.failure.kind}: {row.failure.reason}"
    state = f"{name} {row.state.lower()}"
    if row.values is None:
        return state + (f" after epoch {row.rungs[-1].epoch}" if row.rungs else "")
    whose = "" if row.copy_of is None else f" (copy of trial {row.copy_of})"
    return f"{state}{whose}: {_values_text(dict(zip(metrics, row.values, strict=True)))}"


# -- A panel, redrawn in place -------------------------------------------------------------


class _Panel(Display):
    """The state of a run on a screen or in a cell of so many lines."""

    def __init__(self, study: str, lines: int) -> None:
        super().__init__(study)
        self._most = max(3, lines - 10)  # running trials; else notes would scroll away

    def render(self) -> RenderableType:
        """The current panel: how far the study is, what runs, and the best values."""
        rows = Table.grid(padding=(0, 2))
        with self._lock:
            done = len(self._states)
            name = Text(self._study, style="bold")
            rows.add_row(name, _bar(done, self._trials or 1), *self._progress())
            if (step := self._step) is not None:
                bar = _bar(step.done or 0, step.total) if step.total else ""
                rows.add_row(step.what, bar, step_progress_text(step))
            for number, last in list(self._running.items())[: self._most]:
                trial = "plain finetune" if number is None else f"trial {number}"
                if last is None:
                    rows.add_row(trial, _bar(0, 1), "starting")
                    continue
                epoch, epochs, loss = last
                total = f" of {epochs}" if epochs else ""
                loss_text = "" if math.isnan(loss) else f"loss {loss:.3g}"
                rows.add_row(trial, _bar(epoch, epochs), f"epoch {epoch}{total}", loss_text)
            if len(self._running) > self._most:
                rows.add_row(f"and {len(self._running) - self._most} more")
            running = sum(number is not None for number in self._running)
            waiting = self._trials - done - running
            counts = {**Counter(self._states.values()), "running": running, "waiting": waiting}
            best = [
                f"best {_values_text({one.metric: one.value})} ({one.point.name})"
                for one in self._best
            ]
        counted = ", ".join(f"{count} {state}" for state, count in counts.items() if count > 0)
        texts = Text(counted, style="dim"), Text(" · ".join(best))
        return Group(rows, *filter(None, texts))


def _bar(done: int, total: int | None) -> ProgressBar:
    return ProgressBar(total, done, width=24)


class LiveDisplay(_Panel):
    """A panel that is redrawn in place four times a second until it is closed."""

    def __init__(self, console: Console, study: str) -> None:
        super().__init__(study, console.height)
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=4)
        self._live.start()

    def note(self, text: str) -> None:
        self._live.console.print(Text(masked(f"{self._study}: {text}")))

    def close(self) -> None:
        with suppress(OSError, ValueError):  # a terminal that is gone
            self._live.stop()


_CELL_LINES, _CELL_NOTES, _CELL_SECONDS = 24, 5, 0.25


class CellDisplay(_Panel):
    """The panel in the cell of a notebook, with the last notes below it.

    It is redrawn when something happens, at most four times a second: it has no thread of its own
    and needs no event loop.
    """

    def __init__(self, study: str) -> None:
        super().__init__(study, _CELL_LINES)
        self._notes: list[str] = []
        self._next = time.monotonic() + _CELL_SECONDS
        self._notebook: Any = import_module("IPython.display")
        self._handle = self._notebook.display(self._notebook.HTML(""), display_id=True)

    def note(self, text: str) -> None:
        with self._lock:
            self._notes = [*self._notes, masked(text)][-_CELL_NOTES:]
            self._changed()

    def close(self) -> None:
        with self._lock:
            if self._next < math.inf:
                self._next = -math.inf
                self._changed()
                self._next = math.inf

    def _changed(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _CELL_SECONDS
            page = html_of(self.render(), *map(Text, self._notes))
            self._handle.update(self._notebook.HTML(page))
