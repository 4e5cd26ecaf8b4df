"""The values that a trial which was stopped, or is not finished, would have after its whole budget.

Samplers learn from these.  At each rung the median change up to the next one is added, of trials
that reached both; up to a later one if too few reached the next.  So trials of one rung keep their
order, and those of several can be compared.  How much these changes differ says how far an expected
value may be off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nsmallest
from operator import add
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

Values = tuple[float, ...]

_FEWEST = 3
"""Trials that reached both rungs; with fewer no change is added."""
_MOST = 100
"""Of these trials, the first that are used, so that what is expected settles."""
_MIDDLE_HALF = 2 * NormalDist().inv_cdf(0.75)
"""Width of the middle half of a standard normal distribution."""
_LEAST = 1e-300
"""Variance of an expected value: only what is known has none."""


class Change(NamedTuple):
    """What trials gain from a rung to their end, per objective.

    Attributes:
        expected: the median, which is added to the scores at the rung.
        deviations: standard deviation of what it was.
    """

    expected: Values
    deviations: Values


class Extrapolation:
    """The scores of a study's trials at rungs and at their ends."""

    def __init__(self) -> None:
        self._rungs: dict[int, dict[int, Values]] = {}
        self._last: dict[int, int] = {}
        self._ends: dict[int, Values] = {}
        self._remaining: dict[int, Change] | None = None

    def reach(self, number: int, epoch: int, values: Sequence[float]) -> None:
        """Note the scores of a trial at a rung, all finite."""
        self._rungs.setdefault(epoch, {})[number] = tuple(values)
        self._last[number] = max(epoch, self._last.get(number, 0))
        self._remaining = None

    def end(self, number: int, values: Sequence[float]) -> None:
        """Note the scores of a trial after its whole budget."""
        self._ends[number] = tuple(values)
        if number in self._last:
            self._remaining = None

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
        return tuple(map(add, self._rungs[epoch][number], self.remaining[epoch].expected))

    def deviations(self, number: int) -> Values | None:
        """How far each expected value of a trial may be off, as a standard deviation; None if its
        values are known, or it has reached no rung."""
        if number in self._ends or number not in self._last:
            return None
        return self.remaining[self._last[number]].deviations

    @property
    def remaining(self) -> dict[int, Change]:
        """By epoch of the rung, the change from there to the end."""
        if self._remaining is None:
            self._remaining = {}
            scores = (values for rung in self._rungs.values() for values in rung.values())
            none = np.zeros(len(next(scores, ())))
            # From there to the end: values, expected change and variance; the next level first.
            later = [(self._ends, none, none)]
            for epoch in sorted(self._rungs, reverse=True):
                here = self._rungs[epoch]
                expected, variance = self._change(here, later)
                deviations = np.sqrt(np.maximum(variance, _LEAST))
                self._remaining[epoch] = Change(_floats(expected), _floats(deviations))
                later.insert(0, (here, expected, variance))
        return self._remaining

    @staticmethod
    def _change(
        here: Mapping[int, Values],
        later: Sequence[tuple[Mapping[int, Values], np.ndarray, np.ndarray]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """From a rung to the end, by way of the first later level that enough of its trials
        reached; after a change of `min_epochs` that is not always the next one."""
        for there, expected, variance in later:
            both = nsmallest(_MOST, here.keys() & there.keys())
            if len(both) >= _FEWEST:
                steps = [np.subtract(there[number], here[number]) for number in both]
                return expected + np.median(steps, axis=0), variance + _variance(steps)
        # Nothing is known of the change: the scores may end anywhere among those of the rung.
        _, expected, variance = later[0]
        return expected, variance + _variance([here[number] for number in sorted(here)])


def _variance(values: Sequence[Values | np.ndarray]) -> np.ndarray:
    """Of normal values with the same middle half: one that collapsed changes nothing."""
    low, high = np.quantile(np.array(values), [0.25, 0.75], axis=0)
    return np.asarray(((high - low) / _MIDDLE_HALF) ** 2)


def _floats(values: np.ndarray) -> Values:
    return tuple(map(float, values))
