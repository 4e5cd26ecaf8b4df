"""Stops a study early, resumable, if too many rows fail or too many workers are lost.

`Failing` counts rows that failed; `Losses` counts attempts that the infrastructure lost.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from operator import attrgetter
from typing import Literal

from ablate.errors import StoppedError, cut
from ablate.ledger.record import TERMINAL, Failure, Row, RowRecord

_PLACE = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)


class Failing:
    """Counts rows that failed.

    The first rows of a study show whether its loop works.  If the first row and then as many as run
    in parallel raise the same exception at the same line, the study stops.  A row that ended
    otherwise (complete, NaN, out of memory) shows that the loop works; from then on only the
    allowed fraction counts.  One that was pruned shows nothing: it did not reach the end.

    Args:
        rows: of earlier drives; their failures count, so a resume that fails in the same way stops
            at its first row.
        parallel: number of rows run at once.
        fraction: of the rows, that may fail.
    """

    def __init__(self, rows: Iterable[RowRecord], parallel: int, fraction: float) -> None:
        self._parallel = parallel
        self._fraction = fraction
        self._ended = 0
        self._failed = 0
        self._works = False
        self._same = 0
        self._raised: tuple[str, str] | None = None
        ended = [row for row in rows if row.state in TERMINAL]
        for row in sorted(ended, key=attrgetter("end_order")):
            self._count(row)

    def add(self, row: RowRecord, trials: int) -> StoppedError | None:
        """Count a row that has ended; returns the reason if the study must stop.

        Args:
            trials: number of rows of the finished study.
        """
        self._count(row)
        failure = row.failure
        if failure is None or self._ended >= trials:  # after the last row there is nothing to stop
            return None
        place = _raised(failure)
        last = f"the last, trial {row.number}: {cut(failure.reason.rstrip('.'))}"
        last += f" ({place[1]})" if place else ""
        if self._same > self._parallel:
            error = StoppedError(
                f"{self._same} trials failed with the same error and none succeeded; {last}. Fix "
                "it, then run `ablate resume`; if you change your own training loop, add "
                "`accept_environment=True`."
            )
        elif self._failed > self._fraction * trials:
            error = StoppedError(
                f"{self._failed} of {trials} trials have failed, more than "
                f"run.max_failed_fraction ({self._fraction:g}) allows; {last}. Fix it, or raise "
                "the fraction, then run `ablate resume`."
            )
        else:
            return None
        if failure.traceback:
            error.add_note(failure.traceback.rstrip())
        return error

    def _count(self, row: RowRecord) -> None:
        self._ended += 1
        self._failed += row.state == "FAIL"
        if row.state in ("PRUNED", "OUTSIDE"):
            return
        if row.failure is None or row.failure.kind != "raised":
            self._works = True
            self._same = 0
        elif not self._works:
            raised = _raised(row.failure)
            self._same = self._same + 1 if raised is not None and raised == self._raised else 1
            self._raised = raised


def _raised(failure: Failure) -> tuple[str, str] | None:
    """Exception and line; None if the line is unknown."""
    places = _PLACE.findall(failure.traceback)
    return (failure.reason.partition(":")[0], ":".join(places[-1])) if places else None


# -- Attempts lost by the infrastructure, and the limit -------------


CAP = 5
"""Allowed losses of one row."""

IN_A_ROW = 3
"""Losses in a row over all rows, without any progress between them, that stop a study."""


class Losses:
    """Counts lost attempts.

    A lost node counts as one loss, regardless of the number of its trials; so does a row that dies
    on every node.  Such a row fails if others made progress meanwhile or it had died too often
    before this drive; else the infrastructure is assumed to be at fault, and the study stops.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self._last_time = -math.inf
        """Of the last loss that was counted: attempts that had begun before are of the same."""
        self._last_row: int | None = -1
        self._progressed: set[int | None] = set()
        self._marked: set[int | None] = set()

    def adopt(self, rows: Iterable[Row]) -> None:
        """Add rows that an earlier drive left running."""
        self._marked = {row.number for row in rows if row.lost >= CAP}

    def progress(self, number: int | None, *, trained: bool) -> None:
        """Note progress of a row; `trained`: an epoch has ended, or a state within one was
        saved."""
        self.in_a_row = 0
        if trained:
            self._progressed.add(number)

    def add(self, row: Row, began: float, *, died: bool) -> Literal["retry", "fail", "stop"]:
        """Count a lost attempt; returns what to do.

        Args:
            began: when the attempt was given to a worker, by the monotonic clock.
            died: its process ended; else it reported why it cannot continue (a full disk).
        """
        if began >= self._last_time and not (died and row.number == self._last_row):
            self.in_a_row += 1
            self._last_time = time.monotonic()
        self._last_row = row.number
        too_often = died and row.number is not None and row.lost >= CAP
        if too_often and (self._progressed - {row.number} or row.number in self._marked):
            return "fail"
        return "stop" if row.lost >= CAP or self.in_a_row >= IN_A_ROW else "retry"
