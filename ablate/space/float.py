"""`{float: [low, high]}`: a number, uniform or (`log: true`) uniform in its logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from ablate.errors import ParameterError
from ablate.space.dimension import Dimension, RealDimension
from ablate.space.domain import Domain
from ablate.space.interval import parse_interval
from ablate.space.spec import Spec
from ablate.study.document import show


@dataclass(frozen=True)
class FloatDomain(Domain):
    """Floats in [low, high], both included; with a step, only low + k * step.

    Stored as itself, by the parameter's key.
    """

    word: ClassVar[str] = "float"

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @classmethod
    def parse(cls, spec: Spec) -> FloatDomain | None:
        """Read one; None where a problem was noted."""
        interval = parse_interval(spec, cls.word, whole=False)
        return None if interval is None else cls(*interval)

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return (self._dimension(key),)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> float:
        return float(raw[key])

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if not self.holds(value):
            step = "" if self.step is None else f" in steps of {self.step:g}"
            raise ParameterError(
                f"{key}: must be a number in [{self.low:g}, {self.high:g}]{step}, got "
                f"{show(value)}. Take one inside."
            )
        return {key: float(value)}

    def examples(self) -> tuple[float, ...]:
        return (self.low, self.high)

    def holds(self, value: Any, /) -> bool:
        return self._dimension("").holds(value)

    def to_json(self) -> dict[str, Any]:
        return {"domain": self.word, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["low"], data["high"], data["log"], data["step"])

    def _dimension(self, key: str) -> RealDimension:
        return RealDimension(key, self.low, self.high, self.log, self.step)
