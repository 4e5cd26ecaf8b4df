"""`when`: under which values of other keys a parameter is searched at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import Document, Path, show
from ablate.study.json_data import JsonData

OPERATORS = ("in", "contains")


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

    def holds(self, value: Any) -> bool:
        """Whether a value of the key satisfies it.

        A text joined by + contains its parts (`fma` in `clean+fma`), a list its items; other values
        contain nothing.
        """
        if self.operator == "is":
            return same(value, self.operand)
        if self.operator == "in":
            return any(same(value, item) for item in self.operand)
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


def parse_when(document: Document, path: Path, owner: str) -> tuple[Condition, ...]:
    """Read the mapping after `when`; problems are added to the document.

    Args:
        path: of the mapping.
        owner: the parameter's or the block's name, for messages.
    """
    written = document.get(path)
    if not isinstance(written, dict) or not written:
        rule = f"when must be a mapping of keys to values, got {show(written)}."
        document.refuse(path, f"{rule} Write when: {{loss.terms: {{contains: fma}}}}.", name=owner)
        return ()
    return tuple(_conditions(document, path, owner, written))


def _conditions(
    document: Document, path: Path, owner: str, written: Mapping[str, Any]
) -> Iterator[Condition]:
    for key, value in written.items():
        at = (*path, key)
        if not isinstance(value, dict):
            yield Condition(key, "is", value)
            continue
        for operator in value:
            if operator not in OPERATORS:
                rule = f"unknown condition, got {show(operator)}. "
                fix = did_you_mean(operator, OPERATORS)
                document.refuse((*at, operator), rule + fix, name=owner, key=True)
                break
        else:
            if len(value) != 1:
                rule = f"when needs one condition per key, got {show(value)}. Write in or contains."
                document.refuse(at, rule, name=owner)
                continue
            (operator, operand), *_ = value.items()
            if operator == "in" and (not isinstance(operand, list) or not operand):
                rule = f"in needs a list of values, got {show(operand)}. Write in: [a, b]."
                document.refuse((*at, operator), rule, name=owner)
                continue
            yield Condition(key, operator, operand)
