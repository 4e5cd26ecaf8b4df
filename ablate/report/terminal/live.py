"""What a person sees of a running study: a live panel on a terminal or in a notebook's cell, plain
lines elsewhere.

All listen to `ablate.search.progress.Progress`; the search does not know them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablate.errors.masking import masked
from ablate.ledger.record import NOT_FINETUNED, TERMINAL, RowRecord, StudyRecord
from ablate.report.notebook import html_of
from ablate.report.numbers import (
    duration_text,
    metric_text,
    metric_words,
    step_progress_text,
    step_text,
)
from ablate.report.terminal.console import TextConsole
from ablate.report.terminal.status import Epoch, Standing
from ablate.report.terminal.streams import take_every_text
from ablate.search.progress import Progress, Silent
from ablate.study.preparation import PreparationStep
from ablate.study.scores import COSTS

_BAR_COLUMNS = 24

_OTHER_LINES = 10
"""Of the screen, what is left to head, best values and notes: running trials take the rest."""

_STEP_SECONDS = 10.0
"""Between two lines on how far a step of the preparation is."""


class Display(Progress, Protocol):
    """A progress display that occupies the terminal until it is closed."""

    def close(self) -> None:
        """The run is over: nothing comes after.  Safe to call twice."""


def make_display(console: Console, study: str) -> Display:
    """The display that fits the console.

    Args:
        console: the output; a live panel only for a terminal that can redraw, or in a notebook.
        study: the study's name for the head line.

    Returns:
        The display. A live panel occupies the terminal: always close it.
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


def _is_told(reference: str, metric: str) -> bool:
    """Whether a reference's value is one to compare with: a baseline's cost is of its training."""
    return metric not in COSTS or reference not in NOT_FINETUNED


class PlainDisplay:
    """One line per phase and finished trial, for a log file or a pipe.

    After a closed pipe it prints nothing more, and the study continues.
    """

    def __init__(self, console: Console, study: str) -> None:
        self._console = console
        self._study = study
        self._standing = Standing()
        self._lock = threading.Lock()
        self._closed = False
        self._step = ""
        self._said = 0.0

    def preparing(self, step: PreparationStep) -> None:
        """A line a step; how far it is, every ten seconds."""
        now = time.monotonic()
        with self._lock:
            is_new = step.what != self._step
            if not is_new and now - self._said < _STEP_SECONDS:
                return
            self._step, self._said = step.what, now
        self._print(f"{self._study}: {step_text(step)}")

    def note(self, text: str) -> None:
        self._print(f"{self._study}: {text}")

    def totals(self, record: StudyRecord) -> None:
        with self._lock:
            self._standing.reset(record)
            standing = self._standing
            texts = [f"{standing.ended} of {standing.trials} trials ended"]
            for name, scores in record.references.items():
                metrics = scores.metrics()
                named = [
                    f"{metric_words(objective.metric)} "
                    f"{metric_text(objective.metric, metrics[objective.metric])}"
                    for objective in standing.objectives
                    if objective.metric in metrics and _is_told(name, objective.metric)
                ]
                texts += [f"{name}: {', '.join(named)}"] * bool(named)
        self._print(f"{self._study}: {'; '.join(texts)}")

    def started(self, number: int | None) -> None:
        with self._lock:
            self._standing.start(number, time.monotonic())
        if number is None:
            self._print(f"{self._study}: plain finetune")

    def epoch(self, number: int | None, epoch: int, epochs: int | None, train_loss: float) -> None:
        """Not shown: a line an epoch is what a log does not want."""

    def finished(self, row: RowRecord) -> None:
        with self._lock:
            self._standing.finish(row)
            standing = self._standing
            left = standing.seconds_left(time.monotonic())
            counted = f"{standing.ended} of {standing.trials}"
        text = f"{_row_name(row)} {_end_text(row, standing)} ({counted}"
        self._print(f"{text}, {duration_text(left)} left)" if left else f"{text})")

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


class _Panel:
    """The state of a run, as a panel to be drawn.

    Args:
        study: its name.
        lines: of the screen or the cell.
    """

    def __init__(self, study: str, lines: int) -> None:
        self._study = study
        self._lines = lines
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

    def _changed(self) -> None:
        """The panel is to be drawn again; called without the lock."""

    def render(self) -> RenderableType:
        """The current panel."""
        with self._lock:
            return Group(self._head(), *self._preparing(), *self._running(), *self._best())

    def _head(self) -> RenderableType:
        standing = self._standing
        head = Table.grid(padding=(0, 2))
        left = standing.seconds_left(time.monotonic())
        head.add_row(
            Text(self._study, style="bold"),
            ProgressBar(standing.trials or 1, standing.ended, width=_BAR_COLUMNS),
            Text(f"{standing.ended} of {standing.trials}" if standing.trials else ""),
            Text(f"{duration_text(left)} left" if left else ""),
        )
        counts = ", ".join(f"{count} {state}" for state, count in standing.counts().items())
        return Group(head, Text(counts, style="dim")) if counts else head

    def _preparing(self) -> list[RenderableType]:
        step = self._step
        if step is None:
            return []
        table = Table.grid(padding=(0, 2))
        if step.total:
            bar = ProgressBar(step.total, step.done or 0, width=_BAR_COLUMNS)
            table.add_row(step.what, bar, step_progress_text(step))
        else:
            table.add_row(Text(step.what, style="italic"))
        return [table]

    def _running(self) -> list[RenderableType]:
        if not self._standing.running:
            return []
        table = Table.grid(padding=(0, 2))
        running = list(self._standing.running.items())
        most = max(3, self._lines - _OTHER_LINES)  # else notes would scroll away
        for number, epoch in running[:most]:
            name = "plain finetune" if number is None else f"trial {number}"
            if epoch is None:
                table.add_row(name, ProgressBar(1, 0, width=_BAR_COLUMNS), "starting", "")
            else:
                table.add_row(
                    name,
                    ProgressBar(epoch.epochs, epoch.epoch, width=_BAR_COLUMNS),
                    f"epoch {epoch.epoch}" + (f" of {epoch.epochs}" if epoch.epochs else ""),
                    "" if math.isnan(epoch.train_loss) else f"loss {epoch.train_loss:.3g}",
                )
        more = len(running) - most
        return [table, Text(f"and {more} more", style="dim")] if more > 0 else [table]

    def _best(self) -> list[RenderableType]:
        best = self._standing.best
        texts = [
            f"best {metric_words(one.metric)} {metric_text(one.metric, one.value)} "
            f"(trial {one.number})"
            for one in best
        ]
        lines = [" · ".join(texts), self._standing.hypervolume_text()]
        return [Text(line) for line in lines if line]


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
        self._handle = self._notebook.display(self._page(), display_id=True)

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
                self._handle.update(self._page())

    def _page(self) -> Any:
        is_empty = not (self._standing.trials or self._step or self._notes)
        parts = [] if is_empty else [self.render(), *map(Text, self._notes)]
        return self._notebook.HTML(html_of(*parts) if parts else "")


def _row_name(row: RowRecord) -> str:
    if row.cell is None or row.pair is None:
        return f"trial {row.number}"
    return f"{row.cell}, seed {row.pair + 1}:"


def _end_text(row: RowRecord, standing: Standing) -> str:
    assert row.state in TERMINAL
    if row.failure is not None:
        return f"failed: {row.failure.kind}: {row.failure.reason}"
    if row.values is None:
        epoch = f" after epoch {row.rungs[-1].epoch}" if row.rungs else ""
        return row.state.lower() + epoch
    values = ", ".join(
        f"{metric_words(objective.metric)} {metric_text(objective.metric, value)}"
        for objective, value in zip(standing.objectives, row.values, strict=True)
    )
    whose = "" if row.copy_of is None else f" (copy of trial {row.copy_of})"
    return f"{row.state.lower()}{whose}: {values}"
