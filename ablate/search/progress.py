"""Progress of a running study: for a display, and as events in `log.jsonl`."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.errors.masking import masked_data
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.study.preparation import PreparationStep


class Progress:
    """Receives the progress of a running study, and ignores it: the base of displays.

    Every method returns at once, may be called from any thread, and does not raise.
    """

    def preparing(self, step: PreparationStep) -> None:
        """A step of the preparation starts or makes progress."""

    def note(self, text: str) -> None:
        """A note for the user."""

    def totals(self, record: StudyRecord) -> None:
        """State of the study: before the first trial, and when a reference is scored."""

    def started(self, number: int | None) -> None:
        """A trial started or restarted; None is the plain finetune."""

    def epoch(self, number: int | None, epoch: int, epochs: int | None, train_loss: float) -> None:
        """An epoch of a trial ended: `epoch` of `epochs`, with its mean loss (may be NaN).

        With a budget in seconds, the number of epochs is unknown.
        """

    def finished(self, row: RowRecord) -> None:
        """A trial ended, in any state."""


class Guarded:
    """A `Progress` whose exceptions are ignored.

    Args:
        progress: gets each call, also after one that raised.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(Progress, name):
            raise AttributeError(name)

        def tell(*what: Any) -> None:
            with suppress(Exception, SystemExit):  # rich answers a closed pipe with SystemExit
                getattr(self._progress, name)(*what)

        return tell


# -- The log of a run: one JSON line per change of state, for programs and for `ablate logs` -


LOG_FILE = "log.jsonl"
"""In the folder of the run."""


class EventLog:
    """Appends to the log of a run; may be used from any thread, never raises.

    The log is only for display: no decision depends on it, so a full disk or a deleted folder loses
    lines, but no trial.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG_FILE
        self._lock = threading.Lock()
        self._driver = {"driver_host": socket.gethostname(), "driver_pid": os.getpid()}

    def write(self, event: str, **fields: Any) -> None:
        """Append a line: `time` (seconds since 1970), `event`, and these fields."""
        with suppress(OSError, ValueError, TypeError):
            data = {"time": round(time.time(), 3), "event": event, **masked_data(fields)}
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(data) + "\n")

    def driver(self, event: str, **fields: Any) -> None:
        """Append a line about the driver: its process and host."""
        self.write(event, **self._driver, **fields)


def read_events(folder: Path, trial: int | None = None) -> list[dict[str, Any]]:
    """Read the lines of a run's log, oldest first; an incomplete line is skipped.

    Args:
        trial: only lines of this trial; None: all.
    """
    path = folder / LOG_FILE
    events = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and (trial is None or event.get("trial") == trial):
                events.append(event)
    return events
