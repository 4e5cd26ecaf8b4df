"""What Ray itself says while a study runs: into a file of the run, not onto the terminal.

A daemon of Ray's that dies sends its last words, some 60 lines of its inner state, to every driver,
and a thread of Ray's prints them in the driver, whatever `log_to_driver` says.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray._private import worker

from ablate.errors.masking import masked

RAY_LOG_FILE = "ray.log"
"""In the folder of a run."""

_KEPT_MESSAGES = 100
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class RayOutput:
    """Takes what Ray would print in this process, from now until `close`.

    It may be told its file later: what is said before is kept.  It never raises: a disk that is
    full costs lines and no trial.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._waiting: deque[str] = deque(maxlen=_KEPT_MESSAGES)
        self._lock = threading.Lock()
        self._print = worker.print_to_stdstream
        worker.print_to_stdstream = self._take
        self._logger = logging.getLogger("ray")
        self._handlers = self._logger.handlers
        self._logger.handlers = [_Handler(self)]

    def keep_in(self, folder: Path) -> None:
        """Append to the file in this folder of a run; it is made with the first line."""
        with self._lock:
            self._file = folder / RAY_LOG_FILE
            waiting = list(self._waiting)
            self._waiting.clear()
        for text in waiting:
            self.write(text)

    @property
    def said(self) -> str:
        """Where to read on, for the end of a message; "" where Ray has said nothing."""
        file = self._file
        if file is None or not file.is_file():
            return ""
        with suppress(FileNotFoundError):  # the folder that the command is run in is gone
            file = Path(os.path.relpath(file))
        return f" Ray's output: {file}"

    def close(self) -> None:
        """Let Ray print again."""
        worker.print_to_stdstream = self._print
        self._logger.handlers = self._handlers

    def write(self, text: str) -> None:
        """Append what Ray said, a line or more."""
        text = masked(_COLOUR.sub("", text).rstrip("\n"))
        with self._lock:
            if self._file is None:
                self._waiting.append(text)
                return
            try:
                with self._file.open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text + "\n")
            except OSError:
                pass

    def _take(self, data: dict[str, Any], *_given: Any, **_named: Any) -> None:
        self.write("\n".join(f"({data.get('pid')}) {line}" for line in data.get("lines", ())))


class _Handler(logging.Handler):
    def __init__(self, output: RayOutput) -> None:
        super().__init__(logging.WARNING)
        self._output = output
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._output.write(self.format(record))
