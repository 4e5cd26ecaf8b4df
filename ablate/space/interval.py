"""What float and int share: `[low, high]`, `log` and `step`, as they are written."""

from __future__ import annotations

from typing import Any, NamedTuple

from ablate.space.spec import Spec
from ablate.study.document import show


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
    rule = _range_rule(low, high, ends, log=log) or _step_rule(low, high, step, log=log)
    if rule:
        spec.refuse(rule, *(("step",) if rule.startswith("step") else (word,)))
        return None
    return Interval(low, high, log, step)


def _range_rule(low: float, high: float, ends: list[Any], *, log: bool) -> str | None:
    if low > high:
        return f"low must be below high, got {show(ends)}. Swap them."
    if low == high:
        return f"low must be below high, got {show(ends)}. Widen it, or fix the value in the study."
    if log and low <= 0:
        return f"log needs a low above 0, got {show(ends)}. Raise low or drop log."
    return None


def _step_rule(low: Any, high: Any, step: Any, *, log: bool) -> str | None:
    if step is None:
        return None
    if log:
        return f"step and log exclude each other, got step {show(step)}. Drop one."
    if step <= 0:
        return f"step must be above 0, got {show(step)}. Raise it."
    if step > high - low:
        return f"step must fit into [{low:g}, {high:g}], got {show(step)}. Lower it."
    last = low + step * int((high - low) / step + 1e-9)
    if abs(last - high) > 1e-9 * max(abs(high), step):
        rule = f"step must lead from {low:g} to {high:g}, got {show(step)}"
        return f"{rule}. End the range at {last:g} or change the step."
    return None
