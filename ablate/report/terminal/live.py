"""What a person sees of a running study: a live panel on a terminal or in a notebook's cell, plain
lines elsewhere.

All listen to `ablate.search.progress.Progress`; the search does not know them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.errors.masking import masked
from ablate.ledger.record import NOT_FINETUNED, RowRecord, StudyRecord
from ablate.report.numbers import (
    duration_text,
    metric_text,
    metric_words,
    step_progress_text,
    step_text,
)
from ablate.report.terminal.status import Epoch, Standing
from ablate.report.terminal.streams import TextConsole, html_of, take_every_text
from ablate.search.progress import Progress, Silent
from ablate.study.preparation import PreparationStep
from ablate.study.scores import COSTS


def make_display(console: Console, study: str) -> Display:
    """A live panel for a terminal that can redraw, or in a notebook, which it occupies until it is
    closed; else lines.

    Args:
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
    if not (progress is None or isinstance(progress, bool)):
        yield progress
        return
    console = TextConsole(stderr=True)
    is_seen = console.is_terminal or console.is_jupyter if progress is None else progress
    if not is_seen:
        yield Silent()
        return
    display = make_display(console, study)
    try:
        yield display
    finally:
        display.close()


class Display(Silent):
    """The state of a run, updated by its events, from any thread; each changes what is shown."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._step: PreparationStep | None = None
        self._standing = Standing()
        self._lock = threading.Lock()

    def preparing(self, step: PreparationStep) -> None:
        with self._lock:
            self._step = step
        self._changed()

    def totals(self, record: StudyRecord) -> None:
        with self._lock:
            self._standing.reset(record)
            self._step = None
        self._changed()

    def started(self, number: int | None) -> None:
        with self._lock:
            self._standing.start(number, time.monotonic())
        self._changed()

    def epoch(self, number: int | None, epoch: int, epochs: int | None, train_loss: float) -> None:
        with self._lock:
            self._standing.epoch(number, Epoch(epoch, epochs, train_loss))
        self._changed()

    def finished(self, row: RowRecord) -> None:
        with self._lock:
            self._standing.finish(row)
        self._changed()

    def close(self) -> None:
        """The run is over: nothing comes after.  Safe to call twice."""

    def _changed(self) -> None:
        """Called without the lock."""

    def _progress(self) -> tuple[str, str]:
        """ "3 of 16" and "20 s left", as far as they are known; called with the lock."""
        left = self._standing.seconds_left(time.monotonic())
        counted = f"{self._standing.ended} of {self._standing.trials}"
        return counted * bool(self._standing.trials), f"{duration_text(left)} left" if left else ""


# -- Lines, for a log file or a pipe -------------------------------------------------------


_STEP_SECONDS = 10.0
"""Between two lines on how far a step of the preparation is."""


class PlainDisplay(Display):
    """One line per phase and finished trial, none per epoch.

    After a closed pipe it prints nothing more, and the study continues.
    """

    def __init__(self, console: Console, study: str) -> None:
        super().__init__(study)
        self._console = console
        self._closed = False
        self._said = ("", 0.0)

    def preparing(self, step: PreparationStep) -> None:
        now = time.monotonic()
        with self._lock:
            what, moment = self._said
            if what == step.what and now - moment < _STEP_SECONDS:
                return
            self._said = (step.what, now)
        self.note(step_text(step))

    def note(self, text: str) -> None:
        self._print(f"{self._study}: {text}")

    def totals(self, record: StudyRecord) -> None:
        super().totals(record)
        texts = [f"{record.ended} of {record.trials} trials ended"]
        for name, scores in record.references.items():
            # A baseline's cost is of its own training, which no finetuning is compared with.
            metrics = [
                one.metric
                for one in record.study.objectives
                if one.metric in scores.metrics()
                and not (one.metric in COSTS and name in NOT_FINETUNED)
            ]
            values = _values_text(metrics, [scores.metrics()[metric] for metric in metrics])
            texts += [f"{name}: {values}"] * bool(values)
        self.note("; ".join(texts))

    def started(self, number: int | None) -> None:
        super().started(number)
        if number is None:
            self.note("plain finetune")

    def finished(self, row: RowRecord) -> None:
        super().finished(row)
        with self._lock:
            progress = ", ".join(filter(None, self._progress()))
            ended = _end_text(row, [one.metric for one in self._standing.objectives])
        self._print(f"{ended} ({progress})")

    def close(self) -> None:
        self._closed = True

    def _print(self, text: str) -> None:
        if self._closed:
            return
        try:
            self._console.print(Text(masked(text)), soft_wrap=True, highlight=False)
        except (OSError, SystemExit):
            # rich answers a closed pipe with SystemExit.
            self._closed = True


def _values_text(metrics: Sequence[str], values: Sequence[float]) -> str:
    """ "clean accuracy 94.0, robust accuracy 70.0"."""
    pairs = zip(metrics, values, strict=True)
    return ", ".join(f"{metric_words(one)} {metric_text(one, value)}" for one, value in pairs)


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
    return f"{state}{whose}: {_values_text(metrics, row.values)}"


# -- A panel, redrawn in place -------------------------------------------------------------


_BAR_COLUMNS = 24
_OTHER_LINES = 10
"""Of the screen, what is left to head, best values and notes: running trials take the rest."""


class _Panel(Display):
    """The state of a run on a screen or in a cell of so many lines."""

    def __init__(self, study: str, lines: int) -> None:
        super().__init__(study)
        self._most = max(3, lines - _OTHER_LINES)  # else notes would scroll away

    def render(self) -> RenderableType:
        """The current panel: how far the study is, what runs, and the best values."""
        with self._lock:
            standing, step = self._standing, self._step
            counts = [f"{count} {state}" for state, count in standing.counts().items()]
            best = [
                f"best {_values_text([one.metric], [one.value])} (trial {one.number})"
                for one in standing.best
            ]
            rows = Table.grid(padding=(0, 2))
            rows.add_row(
                Text(self._study, style="bold"),
                ProgressBar(standing.trials or 1, standing.ended, width=_BAR_COLUMNS),
                *self._progress(),
            )
            if step is not None:
                bar = ProgressBar(step.total or 1, step.done or 0, width=_BAR_COLUMNS)
                rows.add_row(step.what, bar if step.total else "", step_progress_text(step))
            for number, epoch in list(standing.running.items())[: self._most]:
                done = epoch or Epoch(0, 1, math.nan)
                of = f" of {done.epochs}" if done.epochs else ""
                rows.add_row(
                    "plain finetune" if number is None else f"trial {number}",
                    ProgressBar(done.epochs, done.epoch, width=_BAR_COLUMNS),
                    f"epoch {done.epoch}{of}" if epoch else "starting",
                    "" if math.isnan(done.train_loss) else f"loss {done.train_loss:.3g}",
                )
            more = len(standing.running) - self._most
        if more > 0:
            rows.add_row(f"and {more} more")
        texts = Text(", ".join(counts), style="dim"), Text(" · ".join(best))
        return Group(rows, *(text for text in texts if text))


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
        self._drawing = threading.Lock()
        self._drawn = time.monotonic()
        self._closed = False
        self._notebook: Any = import_module("IPython.display")
        self._handle = self._notebook.display(self._notebook.HTML(""), display_id=True)

    def note(self, text: str) -> None:
        with self._lock:
            self._notes = [*self._notes, masked(text)][-_CELL_NOTES:]
        self._changed()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._draw()

    def _changed(self) -> None:
        if not self._closed and time.monotonic() - self._drawn >= _CELL_SECONDS:
            self._draw()

    def _draw(self) -> None:
        with self._drawing:
            self._drawn = time.monotonic()
            if self._handle is not None:  # there is none outside of a notebook
                page = html_of(self.render(), *map(Text, self._notes))
                self._handle.update(self._notebook.HTML(page))
