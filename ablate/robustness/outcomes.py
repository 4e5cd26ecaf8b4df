"""What a network said of each image of a set, and the numbers that follow from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Cell = tuple[str, int]
"""A corruption and its severity."""


@dataclass(frozen=True)
class Outcomes:
    """What a network said of n images.

    Attributes:
        correct: bool `[n]`, whether the most likely class is the label.
        correct_top5: bool `[n]`, whether the label is one of the five most likely; None where
            there are five classes or fewer.
        confidence: float32 `[n]`, the probability of the most likely class.
    """

    correct: np.ndarray
    correct_top5: np.ndarray | None
    confidence: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


@dataclass(frozen=True)
class SetOutcomes:
    """Of a split as it is and of its corrupted copies.

    Attributes:
        clean: None where the images as they are were not scored.
        cells: in the order of the set: type by type, severity by severity.
    """

    clean: Outcomes | None
    cells: Mapping[Cell, Outcomes]
