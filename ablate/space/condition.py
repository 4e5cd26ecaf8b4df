"""`when`: under which values of other keys a parameter is searched at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablate.study.document import show
from ablate.study.json_data import JsonData


@dataclass(frozen=True)
class Condition(JsonData):
    """A key's value is `operand`, is one of it (`in`), or `contains` it.

    Attributes:
        key: dotted; of the space, or a fixed one of the study.
        operator: "is", "in" or "contains".
        operand: plain JSON; a list for "in".
    """

    key: str
    operator: str
    operand: Any

    @property
    def wanted(self) -> Sequence[Any]:
        """The values that satisfy it, unless it is `contains`."""
        return self.operand if self.operator == "in" else [self.operand]

    def holds(self, value: Any) -> bool:
        """Whether a value of the key satisfies it.

        A text joined by + contains its parts (`fma` in `clean+fma`), a list its items; other values
        contain nothing.
        """
        if self.operator != "contains":
            return any(same(value, item) for item in self.wanted)
        if isinstance(value, str):
            return self.operand in value.split("+")
        return isinstance(value, list | tuple) and any(same(v, self.operand) for v in value)

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {show(self.operand)}"


def same(a: Any, b: Any) -> bool:
    """Equality of plain JSON values: true is not 1, and a tuple is a list."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, tuple):
        a = list(a)
    return bool(a == b)
