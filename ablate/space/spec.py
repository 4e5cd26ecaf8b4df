"""One domain as it is written in a file, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import Document, Path, show
from ablate.study.names import KnownNames

_LARGEST = 2**53  # floats, in which samplers compute, are exact to here


@dataclass(frozen=True)
class Spec:
    """A domain that is being read.

    Attributes:
        key: the parameter's dotted key, as messages name it.
        path: of the mapping in the document.
        data: the mapping, as `{"float": [0, 1], "log": True}`.
        document: what it stands in; problems go there.
        fixed: the study's own values by dotted key, for references.
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
        """Note a problem at a place below the domain."""
        self.document.refuse((*self.path, *at), rule, name=self.key, key=key)

    def refuse_unknown_options(self, word: str, *options: str) -> None:
        known = (word, *options, "when")
        for name in self.data:
            if name not in known:
                rule = f"unknown option of {word}, got {show(name)}. "
                self.refuse(rule + did_you_mean(name, known[1:]), name, key=True)

    def number(self, value: Any, rule: str, *at: str | int, whole: bool) -> Any:
        """The value if it is a finite number (a whole one), else None and a problem."""
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return value if whole else float(value)
        if isinstance(value, float) and math.isfinite(value) and not whole:
            return value
        kind = "a whole number" if whole else "a number"
        self.refuse(f"{rule} must be {kind}, got {show(value)}. Write {kind}.", *at)
        return None

    def flag(self, name: str) -> bool:
        """The option's value; false where it is not written."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            rule = f"{name} must be true or false, got {show(value)}. Write true or false."
            self.refuse(rule, name)
            return False
        return value

    def item_list(self, word: str) -> tuple[Any, ...] | None:
        """The list after the domain's word: not empty, nothing twice."""
        items = self.data[word]
        if not isinstance(items, list):
            self.refuse(f"{word} needs a list, got {show(items)}. Write {word}: [a, b].", word)
            return None
        if not items:
            self.refuse(f"{word} of nothing, got []. Name at least one.", word)
            return None
        for i, item in enumerate(items):
            if item in items[:i]:
                self.refuse(f"given twice, got {show(item)}. Remove one.", word, i)
                return None
        return tuple(items)

    def name_list(self, word: str) -> tuple[str, ...] | None:
        """As `item_list`, of text."""
        items = self.item_list(word)
        for i, item in enumerate(items or ()):
            if not isinstance(item, str):
                self.refuse(f"items must be text, got {show(item)}. Put it in quotes.", word, i)
                return None
        return items

    def taps(self, word: str) -> tuple[str, ...] | None:
        """The items of `{subset: taps}`: every tap of the study's model."""
        taps = self.names.get("loss.fma.layers")
        if not taps:
            rule = f"taps needs a model whose taps are known, got {show(self.data[word])}."
            self.refuse(f"{rule} List the layers.", word)
            return None
        return tuple(taps)
