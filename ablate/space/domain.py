"""What a parameter may be: the interface of float, int, choice, subset and simplex."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ablate.space.spec import Spec
from ablate.study.json_data import JsonData


class Domain(JsonData, ABC):
    """The values of one parameter, and the conversion of a sampler's draws to a value.

    A value is plain JSON (a resolved value); draws are raw values by the names of `dimensions`.
    `key` is the parameter's dotted key, and `values` are the resolved values of earlier parameters.
    """

    word: ClassVar[str]
    has_equal_draws: ClassVar[bool] = False
    """Whether several draws mean one value."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Keys of the space whose values this domain reads."""
        return ()

    @classmethod
    @abstractmethod
    def parse(cls, spec: Spec) -> Self:
        """Read one as it is written.

        Raises:
            DomainError: if it is wrong.
        """

    @abstractmethod
    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        """The sampled dimensions, in this order; a fixed storage format."""

    @abstractmethod
    def resolve(self, key: str, raw: Mapping[str, Any], values: Mapping[str, Any], /) -> Any:
        """The value that the draws mean."""

    @abstractmethod
    def encode(self, key: str, value: Any, values: Mapping[str, Any], /) -> dict[str, Any]:
        """Draws that mean this value: `resolve` takes them back to it.

        Raises:
            ParameterError: if the value is not in this domain.
        """

    @abstractmethod
    def examples(self) -> tuple[Any, ...]:
        """Values at the ends of the domain; where these are allowed, all are."""

    @abstractmethod
    def holds(self, value: Any, /) -> bool:
        """Whether the domain contains the value, for conditions on it."""

    def items(self) -> tuple[Any, ...]:
        """What a value can contain, as `fma` in `clean+fma` or a layer in a subset."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Its word and its fields."""
        return {"domain": self.word, **super().to_json()}


# -- What a sampler draws: one number or one of some values, by a name that storages keep --


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
        is_inside = self.low <= value <= self.high
        return is_inside and (self.step is None or is_on_step(value, self.low, self.step))


def is_on_step(value: float, low: float, step: float) -> bool:
    """Whether a float is low + k * step, to a millionth of a step or as floats of its size can
    be."""
    steps = (value - low) / step
    rounding = 4 * math.ulp(max(abs(value), abs(low))) / step
    return abs(steps - round(steps)) <= max(1e-6, rounding)


@dataclass(frozen=True)
class IntegerDimension:
    """An int in [low, high], both included."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1

    def holds(self, value: Any) -> bool:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        is_inside = is_whole and self.low <= value <= self.high
        return is_inside and (value - self.low) % self.step == 0


@dataclass(frozen=True)
class CategoricalDimension:
    """One of some values: text, numbers, booleans or None."""

    name: str
    choices: tuple[str | int | float | bool | None, ...]


Dimension = RealDimension | IntegerDimension | CategoricalDimension
