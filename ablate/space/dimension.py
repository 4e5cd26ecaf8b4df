"""What a sampler draws: one number or one of some values, by a name that storages keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RealDimension:
    """A float in [low, high], both included."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-6)


@dataclass(frozen=True)
class IntegerDimension:
    """An int in [low, high], both included."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True)
class CategoricalDimension:
    """One of some values: text, numbers, booleans or None."""

    name: str
    choices: tuple[str | int | float | bool | None, ...]

    def holds(self, value: Any) -> bool:
        return any(value == choice for choice in self.choices)


Dimension = RealDimension | IntegerDimension | CategoricalDimension
