"""`{float: [low, high]}` and `{int: [low, high]}`: numbers, with `log` or a `step`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.errors import ParameterError
from ablate.space.domain import Dimension, Domain, IntegerDimension, RealDimension, is_on_step
from ablate.space.spec import LARGEST, DomainError, Spec
from ablate.study.document import show

_LEAST_WIDTH = 1e-12
"""Of a range of floats, as a share of its ends: some 4,000 floats lie in it then."""


class _IntervalDomain(Domain):
    """Numbers in [low, high], both included, stored as they are by the parameter's key."""

    def dimension(self, key: str) -> RealDimension | IntegerDimension:
        """The one that is drawn."""
        raise NotImplementedError

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return (self.dimension(key),)

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if self.holds(value):
            return {key: self.resolve(key, {key: value}, {})}
        raise ParameterError(f"{key}: must be {self}, got {show(value)}. Use one in this range.")

    def examples(self) -> tuple[Any, ...]:
        dimension = self.dimension("")
        return (dimension.low, dimension.high)

    def holds(self, value: Any, /) -> bool:
        return self.dimension("").holds(value)


@dataclass(frozen=True)
class FloatDomain(_IntervalDomain):
    """Floats, uniform or (`log`) uniform in their logarithm; with a step, only low + k * step."""

    word: ClassVar[str] = "float"

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @classmethod
    def parse(cls, spec: Spec) -> FloatDomain:
        return cls(*_interval(spec, cls.word, whole=False))

    def dimension(self, key: str) -> RealDimension:
        return RealDimension(key, self.low, self.high, self.log, self.step)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> float:
        return float(raw[key])

    def __str__(self) -> str:
        step = "" if self.step is None else f" in steps of {self.step:g}"
        return f"a number in [{self.low:g}, {self.high:g}]{step}"


@dataclass(frozen=True)
class IntDomain(_IntervalDomain):
    """Ints, as `FloatDomain`."""

    word: ClassVar[str] = "int"

    low: int
    high: int
    log: bool = False
    step: int = 1

    @classmethod
    def parse(cls, spec: Spec) -> IntDomain:
        low, high, log, step = _interval(spec, cls.word, whole=True)
        return cls(low, high, log, 1 if step is None else step)

    def dimension(self, key: str) -> IntegerDimension:
        return IntegerDimension(key, self.low, self.high, self.log, self.step)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> int:
        return int(raw[key])

    def __str__(self) -> str:
        step = "" if self.step == 1 else f" in steps of {self.step}"
        return f"a whole number in [{self.low}, {self.high}]{step}"


def _interval(spec: Spec, word: str, *, whole: bool) -> tuple[Any, Any, bool, Any]:
    """Low, high, whether it is logarithmic, and the step, or None."""
    spec.check_options(word, "log", "step")
    log, step, ends = spec.flag("log"), spec.data.get("step"), spec.data[word]
    if step is not None:
        step = spec.number(step, "step", "step", whole=whole)
    if not isinstance(ends, list) or len(ends) != 2:
        raise DomainError(f"{word} needs [low, high], got {show(ends)}. Write two numbers.", word)
    low = spec.number(ends[0], "low", word, 0, whole=whole)
    high = spec.number(ends[1], "high", word, 1, whole=whole)
    if rule := _range_rule(low, high, show(ends), log=log, whole=whole):
        raise DomainError(rule, word)
    if step is not None and (rule := _step_rule(low, high, step, log=log, whole=whole)):
        raise DomainError(rule, "step")
    return low, high, log, step


def _range_rule(low: float, high: float, ends: str, *, log: bool, whole: bool) -> str | None:
    widen = "Widen it, or fix the value in the study."
    if low >= high:
        return f"low must be below high, got {ends}. {'Swap them.' if low > high else widen}"
    if log and low <= 0:
        return f"log needs a low above 0, got {ends}. Raise low or drop log."
    # Samplers compute in floats.
    if whole and high - low >= LARGEST:
        return f"high - low must be below 2**53, got {ends}. Narrow it, or search a float."
    if not whole and not math.isfinite(high - low):
        return f"high - low must be finite, got {ends}. Narrow it."
    if not whole and high - low < _LEAST_WIDTH * max(abs(low), abs(high)):
        rule = f"low and high must differ by a fraction of more than {_LEAST_WIDTH:g}"
        return f"{rule}, got {ends}. {widen}"
    return None


def _step_rule(low: Any, high: Any, step: Any, *, log: bool, whole: bool) -> str | None:
    got, largest = f"got {show(step)}", max(high - low, abs(low), abs(high))
    if log:
        return f"step and log exclude each other, got step {show(step)}. Drop one."
    if step <= 0:
        return f"step must be above 0, {got}. Raise it."
    if step > high - low:
        return f"step must fit into [{low:.12g}, {high:.12g}], {got}. Lower it."
    if largest / step >= LARGEST / 2:
        return f"step must be larger than {largest:g} / 2**52, {got}. Raise it."
    if not ((high - low) % step == 0 if whole else _ends_on_step(low, high, step)):
        last = low + step * math.floor((high - low) / step)
        rule = f"step must lead from {low:.12g} to {high:.12g}, {got}"
        return f"{rule}. End the range at {last:.12g} or change the step."
    return None


def _ends_on_step(low: float, high: float, step: float) -> bool:
    """Whether steps lead to the end, as far as steps with nine digits do."""
    off = abs(low + step * round((high - low) / step) - high)
    return off <= min(1e-9 * max(abs(high), step), 0.01 * step) or is_on_step(high, low, step)
