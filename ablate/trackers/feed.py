"""Rows on their way from the ledger to trackers: while a study runs, and afterwards.

While it runs, one thread passes ended rows on, after the first minute and in at most 1 % of the
time.  What it does not get to is written at the end, or by `ablate track`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ablate.errors import AblateError, error_text
from ablate.errors.masking import masked
from ablate.ledger.record import TERMINAL, Head, RowRecord, StudyRecord
from ablate.trackers import Tracker
from ablate.trackers.tracked import tracked_row, tracked_study

_SHARE = 0.01
"""Processor time of the thread per second of the run."""
_FIRST_SECONDS, _POLL_SECONDS, _CLOSE_SECONDS = 60.0, 0.2, 60.0
_AGAIN_SECONDS = 60.0
"""After a failure."""
_MOST_ROWS = 2000
"""Rows that wait for a tracker; older ones are left to the end, so that memory is bounded."""


class Feed:
    """Passes ended rows on to trackers in a thread of its own, while their study runs.

    Args:
        record: the study as its drive starts.
        told: receives a line when a tracker fails.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        record: StudyRecord,
        head: Head,
        told: Callable[[str], None],
    ) -> None:
        self._record, self._study, self._told = record, tracked_study(record, head), told
        self._waiting: dict[Tracker, deque[RowRecord]]
        self._waiting = {tracker: deque(maxlen=_MOST_ROWS) for tracker in trackers}
        self._not_before = dict.fromkeys(trackers, 0.0)
        self._has_begun: set[Tracker] = set()
        self._began, self._used, self._closed = time.monotonic(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._serve, name="ablate-trackers", daemon=True)
        self._thread.start()

    def ended(self, row: RowRecord) -> None:
        """Take a row after its end was committed; returns at once."""
        for rows in self._waiting.values():
            rows.append(row)

    def close(self) -> None:
        """Pass on no more rows; the thread ends after the one that it writes."""
        self._closed.set()

    def wait(self) -> bool:
        """Wait for the thread, and say so if it does not end: a tracker does not answer.

        Returns:
            Whether it has ended.
        """
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            names = " or ".join(tracker.name for tracker in self._waiting)
            self._told(f"{names} does not answer: rows are missing there, run `ablate track`")
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._closed.wait(self._pause()):
            began = time.thread_time()
            for tracker, rows in self._waiting.items():
                if rows and time.monotonic() >= self._not_before[tracker]:
                    self._write_first(tracker, rows)
            self._used += time.thread_time() - began

    def _pause(self) -> float:
        """Seconds until the thread may work again."""
        free = self._began + max(_FIRST_SECONDS, self._used / _SHARE)
        return max(_POLL_SECONDS, free - time.monotonic())

    def _write_first(self, tracker: Tracker, rows: deque[RowRecord]) -> None:
        """Write a row; it waits on until it is written."""
        try:
            if tracker not in self._has_begun:
                tracker.begin(self._study)
                self._has_begun.add(tracker)
            tracker.write(tracked_row(self._record, rows[0]))
            rows.popleft()
        except Exception as error:
            if not self._not_before[tracker]:  # the first failure
                self._told(f"{_failed(tracker, error)}: trials go on, it is tried again")
            self._has_begun.discard(tracker)
            self._not_before[tracker] = time.monotonic() + _AGAIN_SECONDS


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
        """A line for the user; `command` brings the tracker up to date, if it could not be."""
        if self.failed:
            return f"{self.failed}. No result is lost: run {command} once it works"
        return f"{self.tracker}: {self.rows} trials, {self.written} of them new, in {self.place}"


def catch_up(trackers: Sequence[Tracker], record: StudyRecord, head: Head) -> list[CaughtUp]:
    """Write the rows that have ended and that trackers lack; the ledger's lease is held."""
    ended = [row for row in record.rows if row.state in TERMINAL]
    done = []
    for tracker in trackers:
        now = CaughtUp(tracker.name, tracker.place, 0, 0)
        try:
            whole = set(tracker.begin(tracked_study(record, head)))
            now = replace(now, rows=len(whole))
            for row in ended:
                if row.number not in whole:
                    tracker.write(tracked_row(record, row))
                    now = replace(now, written=now.written + 1, rows=now.rows + 1)
        except Exception as error:
            now = replace(now, failed=_failed(tracker, error))
        done.append(now)
    return done


def finish(
    trackers: Sequence[Tracker], record: StudyRecord, head: Head, files: Sequence[Path]
) -> list[str]:
    """Write the study itself, with its pages; returns a line for each, empty if it has them."""
    study, lines = tracked_study(record, head), []
    for tracker in trackers:
        try:
            tracker.begin(study)
            tracker.finish(study, files)
            lines.append("")
        except Exception as error:
            lines.append(_failed(tracker, error))
    return lines


def _failed(tracker: Tracker, error: Exception) -> str:
    """One line about a tracker, without secrets."""
    why = str(error) if isinstance(error, AblateError) else masked(error_text(error))
    return f"{tracker.name} ({tracker.place}) fails: {why}"
