"""A domain as written, while it is read."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import show, unstorable
from ablate.study.names import OpenNames

LARGEST = 2**53
"""Floats, in which samplers compute, are exact to here."""

MOST_CHOICES = 1_000
"""Largest number of choices; each row stores all of them."""

MOST_ITEMS = 256
"""Largest number of items of a subset or simplex; each is a separate parameter in every row."""

_LONGEST_NAME = 200
"""Characters of an item: a database keeps 512 of `key[item]`."""


class DomainError(Exception):
    """What is wrong with a domain.

    Attributes:
        rule: `rule, got X. Fix.`; empty if it is reported elsewhere.
        at: path below the domain; at_key: whether the key there is wrong.
    """

    def __init__(self, rule: str, *at: str | int, at_key: bool = False) -> None:
        super().__init__(rule)
        self.rule, self.at, self.at_key = rule, at, at_key


@dataclass(frozen=True)
class Spec:
    """A domain as written; what it reads is refused by a `DomainError`.

    Attributes:
        data: the mapping, such as `{"float": [0, 1], "log": True}`.
        fixed: the study's values by dotted key, for references.
        subsets: items of each subset of the space by its key, for references.
        taps: of the study's network.
    """

    data: Mapping[str, Any]
    fixed: Mapping[str, Any]
    subsets: Mapping[str, tuple[str, ...]]
    taps: Sequence[str]

    def check_options(self, word: str, *options: str) -> None:
        known = (*options, "when")
        for name in self.data:
            if name not in (word, *known):
                rule = f"unknown option of {word}, got {show(name)}. {did_you_mean(name, known)}"
                raise DomainError(rule, name, at_key=True)

    def number(self, value: Any, name: str, *at: str | int, whole: bool) -> Any:
        """The value, if it is a finite number (a whole one); `name` is its own in the message."""
        if isinstance(value, int) and not isinstance(value, bool):
            if not whole:
                return self.number(float(value), name, *at, whole=False)
            if abs(value) >= LARGEST:
                rule = f"{name} must be within 2**53, got {show(value)}. Take a smaller one."
                raise DomainError(rule, *at)
            return value
        if whole or not isinstance(value, float) or not math.isfinite(value):
            kind = "a whole number" if whole else "a number"
            raise DomainError(f"{name} must be {kind}, got {show(value)}. Write {kind}.", *at)
        if 0 < abs(value) < sys.float_info.min:
            fix = f"Write 0, or at least {sys.float_info.min:.3g}."
            raise DomainError(f"{name} must keep its digits, got {show(value)}. {fix}", *at)
        return value

    def flag(self, name: str) -> bool:
        """The option's value; False if it is not given."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            rule = f"{name} must be true or false, got {show(value)}. Write true or false."
            raise DomainError(rule, name)
        return value

    def items(self, word: str, most: int = MOST_CHOICES) -> tuple[Any, ...]:
        """The list after the domain's word: not empty, nothing twice, all of it to be stored."""
        items = self.data[word]
        if not isinstance(items, list):
            raise DomainError(
                f"{word} needs a list, got {show(items)}. Write {word}: [a, b].", word
            )
        if not items:
            raise DomainError(f"{word} of nothing, got []. Name at least one.", word)
        if len(items) > most:
            rule = f"{word} must have at most {most} items, got {len(items)}"
            raise DomainError(f"{rule}. Name fewer, or search an int or float.", word)
        for i, item in enumerate(items):
            if rule := next(filter(None, map(_storage_rule, _leaves(item))), ""):
                raise DomainError(rule, word, i)
            if item in items[:i]:
                raise DomainError(f"given twice, got {show(item)}. Remove one.", word, i)
        return tuple(items)

    def names(self, word: str) -> tuple[str, ...]:
        """As `items`, of text; `taps`: every tap of the study's network."""
        if self.data[word] == "taps":
            if not self.taps:
                rule = f"taps needs a model whose taps are known, got {show('taps')}."
                is_reported = isinstance(self.taps, OpenNames) and self.taps.failure
                raise DomainError("" if is_reported else f"{rule} List the layers.", word)
            return tuple(self.taps)
        items = self.items(word, MOST_ITEMS)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                rule = f"items must be text, got {show(item)}. Put it in quotes."
                raise DomainError(rule, word, i)
            if len(item) > _LONGEST_NAME:
                rule = f"items must have at most {_LONGEST_NAME} characters, got {len(item)}"
                raise DomainError(f"{rule}. Shorten it.", word, i)
        return items


def _leaves(value: Any) -> Iterator[Any]:
    """The text and numbers in a choice, keys of mappings too."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, list):
        yield value
        return
    for inner in value:
        yield from _leaves(inner)


def _storage_rule(value: Any) -> str | None:
    """Why a value cannot be kept in a database and read back, as `rule, got X. Fix.`"""
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be finite, got {show(value)}. Write a number, or text in quotes."
    return unstorable(value) if isinstance(value, str) else None
