"""Standard output and error, and the console on them: missing, full or of another encoding, no
command fails for them; and no text that they show moves a cursor or tells a secret."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ablate.errors.masking import masked
from ablate.files.shown import without_controls


class Written:
    """What became of the text that was printed: the first error that kept some of it from being
    written, if any."""

    error: OSError | None = None


@contextmanager
def shown_output() -> Iterator[Written]:
    """Let everything that this process prints in the block be shown, libraries, warnings and
    threads included.

    Secrets are masked, control characters escaped, and so are characters that the encoding lacks.
    What cannot be written (disk full) is lost, and all where the stream was closed at the start.
    A closed pipe still raises, because it ends a command.

    Yields:
        The state of standard output.
    """
    _open_missing()
    before = sys.stdout, sys.stderr
    take_every_text(*before)
    output, errors = Written(), Written()
    sys.stdout, sys.stderr = _Shown(before[0], output), _Shown(before[1], errors)
    try:
        yield output
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            sys.stdout, sys.stderr = before
            for stream, written in zip(before, (output, errors), strict=True):
                if written.error is not None:  # or Python would fail on what it still holds
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """As `sys.excepthook`: the traceback, as `shown_output` shows it."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_controls(masked("".join(lines))))


def take_every_text(*streams: Any) -> None:
    r"""Make these streams escape characters that their encoding lacks (`\ud800`, `\u2713`).

    Args:
        streams: text streams; unchanged if not a Python file, or if another error handler is set:
            the one of the C locale, "surrogateescape", still raises for what no path has.
    """
    for stream in streams:
        is_file = isinstance(stream, io.TextIOWrapper)
        if is_file and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


class TextConsole(Console):
    """Rich's, for displays and tables: of control characters it writes none besides its own."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        # Within `shown_output` all control characters would be escaped, rich's own too.
        file = getattr(sys.stderr if stderr else sys.stdout, "for_rich", None)
        # `loop:train:` has no emoji.
        super().__init__(stderr=stderr, file=file, width=width, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else without_controls(text), style, control)


HTML = '<pre style="font-size: 0.9em; line-height: 1.2; overflow-x: auto">{code}</pre>'


def html_of(*parts: RenderableType) -> str:
    """The HTML of what a terminal of 120 columns would show."""
    console = Console(file=io.StringIO(), record=True, width=120, force_jupyter=False)
    for part in parts:
        console.print(part)
    return console.export_html(inline_styles=True, code_format=HTML)


# -- The streams behind it -----------------------------------------------------------------


def _open_missing() -> None:
    """Lead closed standard streams to the null device: the next file that is opened, such as a
    database, would take their number, and be written to by libraries and child processes."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)  # which child processes inherit
            if null != number:
                os.close(null)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 (for good)


class _Shown:
    """Stands in for `sys.stdout` or `sys.stderr`: no secret, and no control character besides
    those of rich's styles, which come `for_rich`.  Bytes are shown like text."""

    def __init__(self, under: Any, written: Written, *, is_styled: bool = False) -> None:
        self._under = under
        self._written = written
        self._is_styled = is_styled

    @property
    def for_rich(self) -> _Shown:
        return _Shown(self._under, self._written, is_styled=True)

    @property
    def buffer(self) -> io.RawIOBase:
        return _Bytes(self)

    def write(self, text: str) -> int:
        shown = masked(text)
        with self._noted():
            self._under.write(shown if self._is_styled else without_controls(shown))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._noted():
            self._under.flush()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self._written.error = self._written.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


class _Bytes(io.RawIOBase):
    def __init__(self, text: _Shown) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        encoding = getattr(self._text, "encoding", None) or "utf-8"
        self._text.write(bytes(data).decode(encoding, "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        if not self._text.closed:
            self._text.flush()
