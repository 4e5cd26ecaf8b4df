"""Rows on their way from the ledger to trackers: while a study runs, and afterwards.

While it runs, one thread passes rows on, in at most 1 % of the time.  So a tracker begins once
loading its package is 1 % of the time too: TensorBoard after 5 seconds, MLflow after 110.
What the thread does not get to is written at the end, or by `ablate track`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablate.errors import AblateError, error_text
from ablate.errors.masking import masked
from ablate.ledger.head import Head
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord
from ablate.trackers import Tracker
from ablate.trackers.tracked import tracked_row, tracked_study

_SHARE = 0.01
"""Processor time of the thread per second of the run."""
_AGAIN_SECONDS = 60.0
"""After a failure."""
_MOST_ROWS = 2000
"""Rows that wait for a tracker; older ones are left to the end, so that memory is bounded."""
_CLOSE_SECONDS = 60.0


@dataclass
class _Line:
    """A tracker, and the rows that wait for it, by number."""

    tracker: Tracker
    waiting: dict[int, RowRecord] = field(default_factory=dict)
    has_begun: bool = False
    is_away: bool = False
    not_before: float = 0.0


class Feed:
    """Passes rows on to trackers in a thread of its own, while their study runs.

    Args:
        record: the study as its drive starts.
        told: receives a line when a tracker fails, and when it works again.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        record: StudyRecord,
        head: Head,
        told: Callable[[str], None],
    ) -> None:
        self._record = record
        self._study = tracked_study(record, head)
        self._told = told
        self._began, self._used = time.monotonic(), 0.0
        loads = [tracker.load_seconds for tracker in trackers]
        self._lines = [
            _Line(tracker, not_before=self._began + sum(x for x in loads if x <= load) / _SHARE)
            for tracker, load in zip(trackers, loads, strict=True)
        ]
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self.takes_running = any(tracker.takes_running for tracker in trackers)
        self._thread = threading.Thread(target=self._serve, name="ablate-trackers", daemon=True)
        self._thread.start()

    def changed(self, row: RowRecord) -> None:
        """Take a row after an epoch or its end was committed; returns at once."""
        with self._changed:
            for line in self._lines:
                if line.tracker.takes_running or row.state in TERMINAL:
                    line.waiting[row.number] = row
                    if len(line.waiting) > _MOST_ROWS:
                        del line.waiting[next(iter(line.waiting))]
            self._changed.notify()

    def close(self) -> None:
        """Pass on no more rows; the thread ends after the one that it writes."""
        self._closed.set()
        with self._changed:
            self._changed.notify()

    def wait(self) -> bool:
        """Wait for the thread, and say so if it does not end: a tracker does not answer.

        Returns:
            Whether it has ended.
        """
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            names = " or ".join(line.tracker.name for line in self._lines)
            self._told(f"{names} does not answer: rows are missing there, run `ablate track`")
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._closed.wait(self._pause()):
            with self._changed:
                self._changed.wait_for(lambda: self._closed.is_set() or self._next() is not None, 1)
                line = self._next()
            if line is not None and not self._closed.is_set():
                used = time.thread_time()
                self._pass_on(line)
                self._used += time.thread_time() - used

    def _pause(self) -> float:
        """Seconds until the thread may work again."""
        return max(0.0, self._began + self._used / _SHARE - time.monotonic())

    def _next(self) -> _Line | None:
        now = time.monotonic()
        return next((one for one in self._lines if one.waiting and one.not_before <= now), None)

    def _pass_on(self, line: _Line) -> None:
        """Write one row to a tracker, after those that it lacks of earlier drives are found."""
        try:
            if not line.has_begun:
                whole = line.tracker.begin(self._study)
                with self._changed:
                    for old in self._record.rows:
                        if old.state in TERMINAL and old.number not in whole:
                            line.waiting.setdefault(old.number, old)
                line.has_begun = True
            with self._changed:
                number = next(iter(line.waiting))
                row = line.waiting.pop(number)
            try:
                line.tracker.write(tracked_row(self._record, row))
            except BaseException:
                with self._changed:
                    line.waiting.setdefault(number, row)
                raise
        except Exception as error:
            line.has_begun, line.not_before = False, time.monotonic() + _AGAIN_SECONDS
            if not line.is_away:
                line.is_away = True
                self._told(f"{_failed(line.tracker, error)}: trials go on, it is tried again")
        else:
            if line.is_away:
                line.is_away = False
                self._told(f"{line.tracker.name} works again")


@dataclass(frozen=True)
class CaughtUp:
    """What a tracker was brought up to.

    Attributes:
        place: where it is.
        written: number of rows that it lacked; rows: number that it has now.
        failed: why it could not be brought up to date; empty: it was.
    """

    tracker: str
    place: str
    written: int
    rows: int
    failed: str = ""

    def text(self, command: str) -> str:
        """A line for the user.

        Args:
            command: that brings it up to date, if it could not be.
        """
        if self.failed:
            return f"{self.failed}. No result is lost: run {command} once it works"
        return f"{self.tracker}: {self.rows} trials, {self.written} of them new, in {self.place}"


def catch_up(trackers: Sequence[Tracker], record: StudyRecord, head: Head) -> list[CaughtUp]:
    """Write the rows that have ended and that trackers lack, and the study itself.

    Args:
        record: the study, as it is now in the ledger; its lease is held.

    Returns:
        What was done for each tracker.
    """
    study = tracked_study(record, head)
    ended = [row for row in record.rows if row.state in TERMINAL]
    done = []
    for tracker in trackers:
        now = CaughtUp(tracker.name, tracker.place, 0, 0)
        try:
            whole = set(tracker.begin(study))
            now = replace(now, rows=len(whole))
            for row in ended:
                if row.number not in whole:
                    tracker.write(tracked_row(record, row))
                    now = replace(now, written=now.written + 1, rows=now.rows + 1)
            tracker.finish(study)
        except Exception as error:
            now = replace(now, failed=_failed(tracker, error))
        done.append(now)
    return done


def attach(
    trackers: Sequence[Tracker], record: StudyRecord, head: Head, files: Sequence[Path]
) -> list[str]:
    """Hand finished pages to trackers; returns a line for each, empty if it has them."""
    study, lines = tracked_study(record, head), [""] * len(trackers)
    for place, tracker in enumerate(trackers):
        try:
            tracker.attach(study, files)
        except Exception as error:
            lines[place] = _failed(tracker, error)
    return lines


def _failed(tracker: Tracker, error: Exception) -> str:
    """One line about a tracker, without secrets."""
    why = str(error) if isinstance(error, AblateError) else masked(error_text(error))
    return f"{tracker.name} ({tracker.place}) fails: {why}"
