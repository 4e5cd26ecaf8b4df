"""`{int: [low, high]}`: a whole number, uniform or (`log: true`) uniform in its logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from ablate.errors import ParameterError
from ablate.space.dimension import Dimension, IntegerDimension
from ablate.space.domain import Domain
from ablate.space.interval import parse_interval
from ablate.space.spec import Spec
from ablate.study.document import show


@dataclass(frozen=True)
class IntDomain(Domain):
    """Ints in [low, high], both included; with a step, only low + k * step.

    Stored as itself, by the parameter's key.
    """

    word: ClassVar[str] = "int"

    low: int
    high: int
    log: bool = False
    step: int = 1

    @classmethod
    def parse(cls, spec: Spec) -> IntDomain | None:
        """Read one; None where a problem was noted."""
        interval = parse_interval(spec, cls.word, whole=True)
        if interval is None:
            return None
        step = 1 if interval.step is None else interval.step
        return cls(interval.low, interval.high, interval.log, step)

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return (self._dimension(key),)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> int:
        return int(raw[key])

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if not self.holds(value):
            step = "" if self.step == 1 else f" in steps of {self.step}"
            raise ParameterError(
                f"{key}: must be a whole number in [{self.low}, {self.high}]{step}, got "
                f"{show(value)}. Take one inside."
            )
        return {key: int(value)}

    def examples(self) -> tuple[int, ...]:
        return (self.low, self.high)

    def holds(self, value: Any, /) -> bool:
        return self._dimension("").holds(value)

    def to_json(self) -> dict[str, Any]:
        return {"domain": self.word, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["low"], data["high"], data["log"], data["step"])

    def _dimension(self, key: str) -> IntegerDimension:
        return IntegerDimension(key, self.low, self.high, self.log, self.step)
