"""The log of a run: one JSON line a change of state, for programs and for `ablate logs`."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.errors.masking import masked_data

LOG_FILE = "log.jsonl"
"""In the folder of the run."""


class EventLog:
    """Appends to the log of a run; may be used from any thread, never raises.

    The log is for people: nothing is ever read back from it to decide anything, so a disk that is
    full, or a folder that is gone, costs lines and no trial.

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
            said = masked_data(fields)
            line = json.dumps({"time": round(time.time(), 3), "event": event, **said})
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def driver(self, event: str, **fields: Any) -> None:
        """A line on the driver itself: which process on which host it is."""
        self.write(event, **self._driver, **fields)


def read_events(folder: Path, trial: int | None = None) -> list[dict[str, Any]]:
    """The lines of a run's log, oldest first; a line that was cut off is left out.

    Args:
        trial: only the lines of this one; none: all.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and (trial is None or event.get("trial") == trial):
            events.append(event)
    return events
