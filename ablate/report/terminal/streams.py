"""Standard output and error accept every text, whatever their encoding, also on a full disk."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def take_every_text(*streams: Any) -> None:
    r"""Make these streams escape characters that their encoding lacks (`\ud800`, `\u2713`).

    Args:
        streams: text streams; unchanged if not a Python file, or if another error handler is set.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _RAISING:
            stream.reconfigure(errors="backslashreplace")


_RAISING = ("strict", "surrogateescape")
"""The second one, of the C locale, still raises for what no path of the system has."""


class Written:
    """What became of the text that was printed.

    Attributes:
        error: the first thing that kept some of it from being written; none: all is written.
    """

    error: OSError | None = None


@contextmanager
def written_or_dropped() -> Iterator[Written]:
    """Drop output that standard output and error cannot write (disk full).

    A closed pipe still raises, because it ends a command.

    Yields:
        The state of standard output.
    """
    before = sys.stdout, sys.stderr
    output = Written()
    sys.stdout = _dropping(sys.stdout, output)
    sys.stderr = _dropping(sys.stderr, Written())
    try:
        yield output
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            sys.stdout, sys.stderr = before


def _dropping(stream: Any, written: Written) -> Any:
    """The same stream over a dropping file; unchanged if not a Python file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    file = getattr(stream.buffer, "raw", stream.buffer)  # Python may be told to buffer nothing
    if not isinstance(file, io.FileIO):
        return stream
    dropping: Any = _Dropping(file, written)
    return io.TextIOWrapper(
        dropping if file is stream.buffer else io.BufferedWriter(dropping),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Dropping(io.RawIOBase):
    def __init__(self, file: io.FileIO, written: Written) -> None:
        self._file = file
        self._written = written
        self.name = file.name

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._written.error = self._written.error or error
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()
