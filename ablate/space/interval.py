"""Reads `[low, high]`, `log` and `step` of float and int domains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ablate.errors import ParameterError
from ablate.space.domain import Dimension, Domain, IntegerDimension, RealDimension, is_on_step
from ablate.space.spec import LARGEST, Spec
from ablate.study.document import show

_LEAST_WIDTH = 1e-12
"""Of a range of floats, as a share of its ends: some 4,000 floats lie in it then."""


class Interval(NamedTuple):
    low: Any
    high: Any
    log: bool
    step: Any


def parse_interval(spec: Spec, word: str, *, whole: bool) -> Interval | None:
    """Read an interval; None where a problem was noted."""
    spec.refuse_unknown_options(word, "log", "step")
    log = spec.flag("log")
    step = spec.data.get("step")
    if step is not None:
        step = spec.number(step, "step", "step", whole=whole)
    ends = spec.data[word]
    if not isinstance(ends, list) or len(ends) != 2:
        spec.refuse(f"{word} needs [low, high], got {show(ends)}. Write two numbers.", word)
        return None
    low, high = (
        spec.number(end, name, word, i, whole=whole)
        for i, (name, end) in enumerate(zip(("low", "high"), ends, strict=True))
    )
    if low is None or high is None or (step is None and spec.data.get("step") is not None):
        return None
    rule = _range_rule(low, high, ends, log=log, whole=whole)
    rule = rule or _step_rule(low, high, step, log=log, whole=whole)
    if rule:
        spec.refuse(rule, *(("step",) if rule.startswith("step") else (word,)))
        return None
    return Interval(low, high, log, step)


def _range_rule(low: float, high: float, ends: list[Any], *, log: bool, whole: bool) -> str | None:
    if low > high:
        return f"low must be below high, got {show(ends)}. Swap them."
    if low == high:
        return f"low must be below high, got {show(ends)}. Widen it, or fix the value in the study."
    if log and low <= 0:
        return f"log needs a low above 0, got {show(ends)}. Raise low or drop log."
    return _width_rule(low, high, ends, whole=whole)


def _width_rule(low: float, high: float, ends: list[Any], *, whole: bool) -> str | None:
    """Why no sampler can draw from a range: they compute in floats."""
    if whole and high - low >= LARGEST:
        return f"high - low must be below 2**53, got {show(ends)}. Narrow it, or search a float."
    if not whole and not math.isfinite(high - low):
        return f"high - low must be finite, got {show(ends)}. Narrow it."
    if not whole and high - low < _LEAST_WIDTH * max(abs(low), abs(high)):
        rule = (
            f"low and high must differ by a fraction of more than {_LEAST_WIDTH:g}, got "
            f"{show(ends)}"
        )
        return f"{rule}. Widen it, or fix the value in the study."
    return None


def _step_rule(low: Any, high: Any, step: Any, *, log: bool, whole: bool) -> str | None:
    if step is None:
        return None
    if log:
        return f"step and log exclude each other, got step {show(step)}. Drop one."
    if step <= 0:
        return f"step must be above 0, got {show(step)}. Raise it."
    if step > high - low:
        return f"step must fit into [{low:.12g}, {high:.12g}], got {show(step)}. Lower it."
    return _steps_rule(low, high, step, whole=whole)


def _steps_rule(low: Any, high: Any, step: Any, *, whole: bool) -> str | None:
    largest = max(high - low, abs(low), abs(high))
    if largest / step >= LARGEST / 2:
        return f"step must be larger than {largest:g} / 2**52, got {show(step)}. Raise it."
    ends = (high - low) % step == 0 if whole else _ends_on_step(low, high, step)
    if not ends:
        last = low + step * math.floor((high - low) / step)
        rule = f"step must lead from {low:.12g} to {high:.12g}, got {show(step)}"
        return f"{rule}. End the range at {last:.12g} or change the step."
    return None


def _ends_on_step(low: float, high: float, step: float) -> bool:
    """Whether steps lead to the end, as far as steps with nine digits do."""
    off = abs(low + step * round((high - low) / step) - high)
    return off <= min(1e-9 * max(abs(high), step), 0.01 * step) or is_on_step(high, low, step)


# -- `{float: [low, high]}`: a number, uniform or (`log: true`) uniform in its logarithm ---


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
                f"{show(value)}. Use one in this range."
            )
        return {key: float(value)}

    def examples(self) -> tuple[float, ...]:
        return (self.low, self.high)

    def holds(self, value: Any, /) -> bool:
        return self._dimension("").holds(value)

    def _dimension(self, key: str) -> RealDimension:
        return RealDimension(key, self.low, self.high, self.log, self.step)


# -- `{int: [low, high]}`: a whole number, uniform or (`log: true`) uniform in its logarithm


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
                f"{show(value)}. Use one in this range."
            )
        return {key: int(value)}

    def examples(self) -> tuple[int, ...]:
        return (self.low, self.high)

    def holds(self, value: Any, /) -> bool:
        return self._dimension("").holds(value)

    def _dimension(self, key: str) -> IntegerDimension:
        return IntegerDimension(key, self.low, self.high, self.log, self.step)
