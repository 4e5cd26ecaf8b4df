"""The values that a trial which was stopped, or is not finished, would have after its whole budget.

Samplers learn from these.  At each rung the median change up to the next one is added, of trials
that reached both; so trials of one rung keep their order, and those of several can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import pairwise
from operator import add

import numpy as np

Values = tuple[float, ...]

_FEWEST = 3
"""Trials that reached both rungs; with fewer no change is added."""
_MOST = 100
"""Of these trials, the first that are used, so that what is expected settles."""


class Extrapolation:
    """The scores of a study's trials at rungs and at their ends."""

    def __init__(self) -> None:
        self._rungs: dict[int, dict[int, Values]] = {}
        self._last: dict[int, int] = {}
        self._ends: dict[int, Values] = {}
        self._changes: dict[int, Values] | None = None

    def reach(self, number: int, epoch: int, values: Sequence[float]) -> None:
        """Note the scores of a trial at a rung, all finite."""
        self._rungs.setdefault(epoch, {})[number] = tuple(values)
        self._last[number] = max(epoch, self._last.get(number, 0))
        self._changes = None

    def end(self, number: int, values: Sequence[float]) -> None:
        """Note the scores of a trial after its whole budget."""
        self._ends[number] = tuple(values)
        if number in self._last:
            self._changes = None

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the trials that reached a rung and have no end."""
        return [number for number in self._last if number not in self._ends]

    def expected(self, number: int) -> Values | None:
        """The values of a trial after its whole budget, known or expected, one per objective; None
        if it has reached no rung."""
        if number in self._ends:
            return self._ends[number]
        epoch = self._last.get(number)
        if epoch is None:
            return None
        return tuple(map(add, self._rungs[epoch][number], self.changes[epoch]))

    @property
    def changes(self) -> dict[int, Values]:
        """By epoch of the rung, the expected change from there to the end, per objective."""
        if self._changes is None:
            self._changes = {}
            levels = [*(self._rungs[epoch] for epoch in sorted(self._rungs)), self._ends]
            later = np.zeros(len(next(iter(levels[0].values()), ())))
            for epoch, (here, there) in reversed(
                list(zip(sorted(self._rungs), pairwise(levels), strict=True))
            ):
                both = nsmallest(_MOST, here.keys() & there.keys())
                if len(both) >= _FEWEST:
                    steps = [np.subtract(there[number], here[number]) for number in both]
                    later = later + np.median(steps, axis=0)
                self._changes[epoch] = tuple(map(float, later))
        return self._changes
