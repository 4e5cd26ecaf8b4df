"""A domain as written in a file, with its position."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import Document, Path, show, unstorable
from ablate.study.names import KnownNames, OpenNames

LARGEST = 2**53
"""Floats, in which samplers compute, are exact to here."""

MOST_CHOICES = 1_000
"""Largest number of choices; each row stores all of them."""

MOST_ITEMS = 256
"""Largest number of items of a subset or simplex; each is a separate parameter in every row."""

_LONGEST_NAME = 200
"""Characters of an item: a database keeps 512 of `key[item]`."""


@dataclass(frozen=True)
class Spec:
    """A domain while it is read.

    Attributes:
        key: the parameter's dotted key, for messages.
        path: of the mapping in the document.
        data: the mapping, such as `{"float": [0, 1], "log": True}`.
        document: contains it; problems are added to it.
        fixed: the study's values by dotted key, for references.
        subsets: items of each subset of the space by its key, for references.
        names: the names that exist, by dotted key.
    """

    key: str
    path: Path
    data: Mapping[str, Any]
    document: Document
    fixed: Mapping[str, Any]
    subsets: Mapping[str, tuple[str, ...]]
    names: KnownNames

    def refuse(self, rule: str, *at: str | int, key: bool = False) -> None:
        """Report a problem at a position below the domain; of a refused value no other one."""
        path = (*self.path, *at)
        if path not in self.document.refused:
            self.document.refuse(path, rule, name=self.key, key=key)

    def refuse_unknown_options(self, word: str, *options: str) -> None:
        known = (word, *options, "when")
        for name in self.data:
            if name not in known:
                rule = f"unknown option of {word}, got {show(name)}. "
                self.refuse(rule + did_you_mean(name, known[1:]), name, key=True)

    def number(self, value: Any, rule: str, *at: str | int, whole: bool) -> Any:
        """The value if it is a finite number (a whole one), else None and a problem."""
        if isinstance(value, int) and not isinstance(value, bool):
            if not whole:
                return self.number(float(value), rule, *at, whole=False)
            if abs(value) < LARGEST:
                return value
            self.refuse(f"{rule} must be within 2**53, got {show(value)}. Take a smaller one.", *at)
            return None
        if isinstance(value, float) and math.isfinite(value) and not whole:
            if 0 < abs(value) < sys.float_info.min:
                fix = f"Write 0, or at least {sys.float_info.min:.3g}."
                self.refuse(f"{rule} must keep its digits, got {show(value)}. {fix}", *at)
                return None
            return value
        kind = "a whole number" if whole else "a number"
        self.refuse(f"{rule} must be {kind}, got {show(value)}. Write {kind}.", *at)
        return None

    def flag(self, name: str) -> bool:
        """The option's value; False if it is not given."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            rule = f"{name} must be true or false, got {show(value)}. Write true or false."
            self.refuse(rule, name)
            return False
        return value

    def item_list(self, word: str, most: int = MOST_CHOICES) -> tuple[Any, ...] | None:
        """The list after the domain's word: not empty, nothing twice, all of it to be stored."""
        items = self.data[word]
        if not isinstance(items, list):
            self.refuse(f"{word} needs a list, got {show(items)}. Write {word}: [a, b].", word)
            return None
        if not items:
            self.refuse(f"{word} of nothing, got []. Name at least one.", word)
            return None
        if len(items) > most:
            rule = f"{word} must have at most {most} items, got {len(items)}"
            fix = "Name fewer, or search an int or float."
            self.refuse(f"{rule}. {fix}", word)
            return None
        for i, item in enumerate(items):
            wrong = next(filter(None, map(_storage_rule, _leaves(item))), None)
            if wrong is not None:
                self.refuse(wrong, word, i)
                return None
            if item in items[:i]:
                self.refuse(f"given twice, got {show(item)}. Remove one.", word, i)
                return None
        return tuple(items)

    def name_list(self, word: str) -> tuple[str, ...] | None:
        """As `item_list`, of text."""
        items = self.item_list(word, MOST_ITEMS)
        for i, item in enumerate(items or ()):
            if isinstance(item, str) and len(item) > _LONGEST_NAME:
                rule = f"items must have at most {_LONGEST_NAME} characters, got {len(item)}"
                self.refuse(f"{rule}. Shorten it.", word, i)
                return None
            if not isinstance(item, str):
                self.refuse(f"items must be text, got {show(item)}. Put it in quotes.", word, i)
                return None
        return items

    def taps(self, word: str) -> tuple[str, ...] | None:
        """The items of `{subset: taps}`: every tap of the study's model."""
        taps = self.names.get("loss.fma.layers")
        if isinstance(taps, OpenNames) and not taps and taps.failure:
            return None
        if not taps:
            rule = f"taps needs a model whose taps are known, got {show(self.data[word])}."
            self.refuse(f"{rule} List the layers.", word)
            return None
        return tuple(taps)


def _leaves(value: Any) -> Iterator[Any]:
    """The text and numbers in a choice, keys of mappings too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _storage_rule(value: Any) -> str | None:
    """Why a value cannot be kept in a database and read back, as `rule, got X. Fix.`"""
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be finite, got {show(value)}. Write a number, or text in quotes."
    return unstorable(value) if isinstance(value, str) else None
