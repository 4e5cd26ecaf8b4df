"""What a dispatcher needs beside the ledger: events, removal of files, budgets."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ablate.files.durable import list_folder, remove_folder, remove_state
from ablate.ledger.record import Drive, Row, RowRecord, Rung, StudyRecord
from ablate.search.failures import Failing
from ablate.search.progress import EventLog, Progress
from ablate.study.settings import SearchBudgetSettings
from ablate.trial.task import checkpoint_folder, weights_file

# -- What ended rows leave on disk, removed in a thread of its own -------------------------
#
# A network file system may take seconds for what a local one does at once: neither the thread that
# writes the ledger nor Ray's hooks wait for it.


_CLOSE_SECONDS = 30.0


class Janitor:
    """Removes training states and weights; what cannot be removed stays, and nobody waits.

    Args:
        folder: of the run, with the weights below it.
        checkpoints: absolute path or fsspec URI of the training states, of this study alone.
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
        """Remove one training state, now that the ledger has newer ones."""
        self._work.put(partial(remove_state, uri))

    def remove_states_except(self, numbers: Collection[int | None]) -> None:
        """Remove the training states of all rows but these: what a killed driver left."""
        self._work.put(partial(self._sweep, frozenset(numbers)))

    def remove_weights(self, numbers: Collection[int]) -> None:
        """Remove the finetuned weights of rows; those that have none are passed over."""
        if numbers:
            self._work.put(partial(self._unlink, tuple(numbers)))

    def close(self, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Do what is left, for so long at most; what is asked for later is not done."""
        self._work.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _sweep(self, numbers: frozenset[int | None]) -> None:
        living = {checkpoint_folder("", number).strip("/") for number in numbers}
        for name in list_folder(self._checkpoints):
            if name not in living and (name == "plain" or name.isdecimal()):
                remove_folder(f"{self._checkpoints}/{name}")

    def _unlink(self, numbers: tuple[int, ...]) -> None:
        files = [weights_file(self._folder, number) for number in numbers]
        there: set[Path] = set()
        with suppress(OSError):  # one listing instead of a look for each
            there.update(files[0].parent.iterdir())
        for file in there.intersection(files):
            with suppress(OSError):
                file.unlink()


# -- What a study has cost so far, beside what it may --------------------------------------


class Spending:
    """Counts driving seconds and GPU hours, those of earlier drives included.

    Args:
        record: the study as it stands before this drive.
        gpus_per_trial: of this drive.
        last_sign: of a driver that never said its end, in seconds since 1970: what it left open
            counts up to then.
    """

    def __init__(
        self, record: StudyRecord, gpus_per_trial: float, last_sign: float | None = None
    ) -> None:
        self._budget: SearchBudgetSettings = record.study.search.budget
        self._gpus = gpus_per_trial
        self._began = time.monotonic()
        self._seconds = sum(
            _between(drive.started, drive.ended or last_sign) for drive in record.drives
        )
        self._gpu_seconds = sum(
            _between(attempt.started, attempt.ended or last_sign)
            * gpus_at(record.drives, attempt.started)
            for row in record.rows
            for attempt in row.attempts
        )
        self._running: dict[int | None, float] = {}

    def begin(self, number: int | None) -> None:
        """An attempt of a row begins."""
        self._running[number] = time.monotonic()

    def end(self, number: int | None) -> None:
        """It ends, however."""
        began = self._running.pop(number, None)
        if began is not None:
            self._gpu_seconds += (time.monotonic() - began) * self._gpus

    def spent(self) -> str | None:
        """Which limit is reached, with what was spent; none where no limit is."""
        now = time.monotonic()
        seconds = self._seconds + now - self._began
        running = sum(now - began for began in self._running.values()) * self._gpus
        gpu_hours = (self._gpu_seconds + running) / 3600
        for name, limit, value in (
            ("gpu_hours", self._budget.gpu_hours, gpu_hours),
            ("seconds", self._budget.seconds, seconds),
        ):
            if limit is not None and value >= limit:
                return f"search.budget.{name}: {limit:g} spent"
        return None


def _between(started: float, ended: float | None) -> float:
    return max(0.0, (ended or started) - started)


def gpus_at(drives: Sequence[Drive], moment: float) -> float:
    """GPUs that a trial had in the drive that was under way at a moment."""
    begun = [drive for drive in drives if drive.started <= moment]
    return begun[-1].gpus_per_trial if begun else 0.0


class Keep(Protocol):
    """Says whose finetuned weights are no longer kept (`ablate.lifecycle.drive.Keeper`)."""

    def completed(self, number: int, values: tuple[float, ...]) -> list[int]:
        """Rows whose weights go, now that this one is complete."""


@dataclass(frozen=True)
class RunContext:
    """What a dispatcher works with.

    Attributes:
        parallel: rows that are run at once; more that are out wait for a worker.
        grace_seconds: that epochs under way have to end in once a drain has begun.
    """

    progress: Progress
    events: EventLog
    janitor: Janitor
    keep: Keep
    spending: Spending
    failing: Failing
    parallel: int
    grace_seconds: float

    def log(self, event: str, row: Row, **fields: Any) -> None:
        """A line in the run's log on an attempt of a row."""
        which = {"trial": row.number, **({"plain": True} if row.number is None else {})}
        self.events.write(event, **which, attempt=row.attempt, **fields)

    def note(self, event: str, text: str) -> None:
        """Something on the run as a whole, for its log and for whoever watches."""
        self.events.driver(event, text=text)
        self.progress.note(text)

    def row_note(self, row: Row, text: str) -> None:
        """Something on an attempt of a row, for its log and for whoever watches."""
        self.log("note", row, text=text)
        who = "plain finetune" if row.number is None else f"trial {row.number}"
        self.progress.note(f"{who}: {text}")

    def epoch(self, row: Row, entry: Mapping[str, Any], rung: Rung | None) -> None:
        """An epoch of a row has ended, and a pruner may have decided on it."""
        self.log("epoch", row, epoch=entry["epoch"], seconds=entry.get("seconds"))
        if rung is not None:
            decision = "stop" if rung.stop else "go on"
            self.log("rung", row, epoch=rung.epoch, value=rung.value, decision=decision)
        loss = entry.get("train_loss", float("nan"))
        self.progress.epoch(row.number, entry["epoch"], entry.get("epochs"), loss)

    def ended(self, record: RowRecord) -> None:
        """A row is terminal: its training states are needed no more."""
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
        self.janitor.remove_states(record.number)
        if record.values is not None and record.copy_of is None:
            self.janitor.remove_weights(self.keep.completed(record.number, record.values))
