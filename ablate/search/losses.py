"""What the infrastructure has taken from a study, and when that is too much."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Literal

from ablate.ledger.record import Row

CAP = 5
"""Losses of one row that are borne."""

IN_A_ROW = 3
"""Losses over all rows, without any word of progress between them, that stop a study."""


class Losses:
    """Counts lost attempts.

    What a node takes with it is one loss, however many trials ran there, and so is a row that
    dies wherever it runs.  Such a row is itself to blame, and fails, where others have gone on
    meanwhile or it had died too often before this drive; else the infrastructure is, and the
    study stops.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self._last_time = -math.inf
        self._last_row: int | None = -1
        self._progressed: set[int | None] = set()
        self._marked: set[int | None] = set()

    def adopt(self, rows: Iterable[Row]) -> None:
        """Rows that an earlier drive left."""
        self._marked = {row.number for row in rows if row.lost >= CAP}

    def progress(self, number: int | None, *, trained: bool) -> None:
        """A row has said something; `trained`: an epoch has ended, or a state amid one is kept."""
        self.in_a_row = 0
        if trained:
            self._progressed.add(number)

    def add(self, row: Row, began: float, *, died: bool) -> Literal["retry", "fail", "stop"]:
        """An attempt is lost; what is to be done.

        Args:
            began: when the attempt was handed out, by the monotonic clock.
            died: its process ended; else it said itself why it cannot go on (a full disk).
        """
        if began >= self._last_time and not (died and row.number == self._last_row):
            self.in_a_row += 1
        self._last_time, self._last_row = time.monotonic(), row.number
        too_often = died and row.number is not None and row.lost >= CAP
        if too_often and (self._progressed - {row.number} or row.number in self._marked):
            return "fail"
        return "stop" if row.lost >= CAP or self.in_a_row >= IN_A_ROW else "retry"
