"""Writes the output of a trial also to a file of its attempt.

`sys.stdout` and `sys.stderr` are replaced while a trial runs; this includes `warnings` and most of
`logging`.  A file that cannot be written is not an error.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ablate.errors.masking import masked

MOST_BYTES = 1_000_000
"""Largest size of an attempt's file."""

_DRIVER = "ablate-"
"""Threads of the driver, whose output does not belong to a trial; with the inline executor they run
in this process."""


class TrialOutput:
    """Writes the files of successive attempts; a trial's work is a `with` block."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._bytes = 0
        self._lock = threading.Lock()

    def begin(self, path: Path) -> None:
        """From now on write to this file, which is created with its folder at the first output."""
        self.end()
        self._path = path

    def end(self) -> None:
        """Close the file."""
        with self._lock:
            self._path = None
            self._close()

    def __enter__(self) -> None:
        for stream in _STREAMS:
            stream.record(self)

    def __exit__(self, *_error: object) -> None:
        for stream in _STREAMS:
            stream.release()

    def write(self, text: str) -> None:
        """Append to the file, up to its largest size."""
        with self._lock, suppress(OSError):
            if self._path is None or threading.current_thread().name.startswith(_DRIVER):
                return
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("wb", buffering=0)
                self._bytes = 0
            content = masked(text).encode(errors="replace")
            if self._bytes > MOST_BYTES:
                return
            self._file.write(content[: MOST_BYTES - self._bytes])
            self._bytes += len(content)
            if self._bytes > MOST_BYTES:
                self._file.write(b"\n... more than 1 MB: left out from here on\n")

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


class _Stream:
    """Replaces `sys.stdout` or `sys.stderr`; kept references continue to write to the current
    stream."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._under: Any = None
        self._output: TrialOutput | None = None

    def record(self, output: TrialOutput) -> None:
        if self._output is None:
            self._under = getattr(sys, self._name)
            setattr(sys, self._name, self)
        self._output = output

    def release(self) -> None:
        self._output = None
        if getattr(sys, self._name) is self:
            setattr(sys, self._name, self._under)

    def write(self, text: str) -> int:
        if self._output is not None:
            self._output.write(text)
        self._there().write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._there(), name)

    def _there(self) -> Any:
        current = getattr(sys, self._name)
        return self._under if current is self else current


_STREAMS = (_Stream("stdout"), _Stream("stderr"))


# -- `os._exit` in a trial that runs in the driver's own process: a failure of its row, not the end
#
# Under Ray a trial has a process of its own, whose end Ray tells of.


class ProcessExit(SystemExit):
    """Ends the thread in which a trial called `os._exit`."""


class ExitGuard:
    """Replaces `os._exit` within a `with` block.

    Forked child processes end as usual.

    Attributes:
        call: the last call in this process in a block since `forget`, or None.
    """

    def __init__(self) -> None:
        self.call: ProcessExit | None = None
        self._process = os.getpid()
        self._exit = os._exit

    def forget(self) -> None:
        """Reset for another row."""
        self.call = None

    def __enter__(self) -> None:
        self._exit = os._exit
        os._exit = self._called

    def __exit__(self, *_error: object) -> None:
        os._exit = self._exit

    def _called(self, status: int) -> NoReturn:
        if os.getpid() != self._process:
            self._exit(status)
        self.call = ProcessExit(
            f"a trial must not end its process, got os._exit({status!r}). Return, or raise an "
            "exception."
        )
        raise self.call
