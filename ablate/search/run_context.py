"""What a dispatcher needs in addition to the ledger: events, removal of files, budgets."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ablate.files.durable import list_folder, remove_folder, remove_state
from ablate.ledger.record import GpusAt, Row, RowRecord, Rung, StudyRecord
from ablate.search.callbacks import Callbacks
from ablate.search.failures import Failing
from ablate.search.progress import EventLog, Progress
from ablate.study.scores import Bound
from ablate.study.settings import SearchBudgetSettings
from ablate.trial.task import checkpoint_folder, weights_file

# -- Files of ended rows, removed in a separate thread -------------------------
#
# A network file system may take seconds for each removal: neither the thread that writes the ledger
# nor Ray's hooks wait for it.


class Janitor:
    """Removes training states and weights in the background; files that cannot be removed are left.

    Args:
        folder: of the run, with the weights below it.
        checkpoints: absolute path or fsspec URI of the training states of this study.
    """

    def __init__(self, folder: Path, checkpoints: str) -> None:
        self._folder = folder
        self._checkpoints = checkpoints
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._thread.start()

    def remove_states(self, number: int | None) -> None:
        """Remove all training states of a row that has ended; None: of the plain finetune."""
        self._work.put(partial(remove_folder, checkpoint_folder(self._checkpoints, number)))

    def remove_state(self, uri: str) -> None:
        """Remove one training state, after the ledger has newer ones; one of another folder is
        left there: it is of the run that this one was copied from."""
        if uri.startswith(self._checkpoints.rstrip("/") + "/") and ".." not in uri.split("/"):
            self._work.put(partial(remove_state, uri))

    def remove_states_except(self, numbers: Collection[int | None]) -> None:
        """Remove the training states of all other rows, which a killed driver may have left."""
        living = {checkpoint_folder("", number).strip("/") for number in numbers}

        def sweep() -> None:
            for name in list_folder(self._checkpoints):
                if name not in living and (name == "plain" or name.isdecimal()):
                    remove_folder(f"{self._checkpoints}/{name}")

        self._work.put(sweep)

    def remove_weights(self, numbers: Collection[int]) -> None:
        """Remove the finetuned weights of rows; rows without weights are skipped."""
        files = [weights_file(self._folder, number) for number in numbers]

        def unlink() -> None:
            with suppress(OSError):  # one listing instead of a check for each
                for file in set(files[0].parent.iterdir()).intersection(files):
                    with suppress(OSError):
                        file.unlink()

        if files:
            self._work.put(unlink)

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Finish the remaining work within this time; later requests are ignored."""
        self._work.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


# -- Cost of a study so far, and its limits --------------------------------------


class Spending:
    """Counts driving seconds and GPU hours, including earlier drives.

    Args:
        record: the study before this drive.
        gpus_per_trial: of this drive.
    """

    def __init__(self, record: StudyRecord, gpus_per_trial: float) -> None:
        self._budget: SearchBudgetSettings = record.study.search.budget
        self._gpus = gpus_per_trial
        self._began = time.monotonic()
        self._seconds = sum(_between(drive.started, drive.ended) for drive in record.drives)
        # A driver that was killed left attempts open: they ended with its drive.
        left_at = record.drives[-1].ended if record.drives else None
        gpus_at = GpusAt(record.drives)
        self._gpu_seconds = sum(
            _between(attempt.started, attempt.ended or left_at) * gpus_at(attempt.started)
            for row in record.rows
            for attempt in row.attempts
        )
        self._running: dict[int, float] = {}

    def begin(self, number: int | None, moment: float) -> None:
        """Note the start of an attempt, by the monotonic clock.  The plain finetune is no trial,
        and costs nothing here."""
        if number is not None:
            self._running[number] = moment

    def end(self, number: int | None) -> None:
        """Note its end."""
        began = None if number is None else self._running.pop(number, None)
        if began is not None:
            self._gpu_seconds += (time.monotonic() - began) * self._gpus

    def spent(self) -> str | None:
        """The limit that is reached, with the amount spent; None if there is none."""
        now = time.monotonic()
        running = sum(now - began for began in self._running.values()) * self._gpus
        for name, limit, value in (
            ("gpu_hours", self._budget.gpu_hours, (self._gpu_seconds + running) / 3600),
            ("seconds", self._budget.seconds, self._seconds + now - self._began),
        ):
            if limit is not None and value >= limit:
                return f"search.budget.{name}: {limit:g} spent"
        return None


def _between(started: float, ended: float | None) -> float:
    return max(0.0, (ended or started) - started)


@dataclass(frozen=True)
class RunContext:
    """What a dispatcher works with.

    Attributes:
        weights_to_remove: gives the rows whose weights are deleted once a row is complete.
        feed: gets each row after its end was committed; None: the study has no trackers.
        grace_seconds: seconds for running epochs to finish once a drain has started.
        accept_baseline: go on although plain finetuning makes the baseline much better.
        rung_bounds: of the study's constraints, from the baseline's score on the images of rungs.
    """

    progress: Progress
    events: EventLog
    janitor: Janitor
    weights_to_remove: Callable[[RowRecord], Collection[int]]
    spending: Spending
    failing: Failing
    grace_seconds: float
    accept_baseline: bool = False
    rung_bounds: tuple[Bound, ...] = ()
    callbacks: Callbacks = field(default_factory=Callbacks)
    feed: Callable[[RowRecord], object] | None = None

    def log(self, event: str, row: Row, **fields: Any) -> None:
        """Write a line about an attempt to the run's log."""
        which = {"trial": row.number, **({"plain": True} if row.number is None else {})}
        self.events.write(event, **which, attempt=row.attempt, **fields)

    def note(self, event: str, text: str) -> None:
        """A note about the run, for its log and the display."""
        self.events.driver(event, text=text)
        self.progress.note(text)

    def row_note(self, row: Row, text: str) -> None:
        """A note about an attempt, for the log and the display."""
        self.log("note", row, text=text)
        who = "plain finetune" if row.number is None else f"trial {row.number}"
        self.progress.note(f"{who}: {text}")

    def epoch(
        self, row: Row, entry: Mapping[str, Any], rung: Rung | None, exceeded: Sequence[Bound]
    ) -> None:
        """Note the end of an epoch, and a pruner's decision, if any.

        Args:
            exceeded: the largest values of costs that the trial is above at its rung.
        """
        self.log("epoch", row, epoch=entry["epoch"], seconds=entry.get("seconds"))
        if rung is not None:
            decision = "stop" if rung.stop else "go on"
            self.log("rung", row, epoch=rung.epoch, scores=dict(rung.scores), decision=decision)
            for bound in exceeded:
                spent = f"{rung.value(bound.metric):.4g}, must be at most {bound.limit:.6g}"
                self.row_note(row, f"stopped, {bound.metric} is {spent}")
        loss = entry.get("train_loss", float("nan"))
        self.progress.epoch(row.number, entry["epoch"], entry.get("epochs"), loss)
        self.callbacks.epoch(row, entry, self.note)

    def ended(self, record: RowRecord) -> None:
        """Note the end of a row, whose training states are no longer needed."""
        last = record.attempts[-1] if record.attempts else None
        self.events.write(
            record.state.lower(),
            trial=record.number,
            attempt=record.attempt,
            host=last.host if last else "",
            values=record.values,
            reason=record.failure.reason if record.failure else None,
            **({} if record.copy_of is None else {"copy_of": record.copy_of}),
        )
        self.progress.finished(record)
        self.callbacks.trial_ended(record, self.note)
        if self.feed is not None:
            self.feed(record)
        self.janitor.remove_states(record.number)
        if record.values is not None and record.copy_of is None:
            self.janitor.remove_weights(self.weights_to_remove(record))
