"""`{choice: [a, b]}`: one of the values listed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.errors import ParameterError
from ablate.space.condition import same
from ablate.space.domain import CategoricalDimension, Dimension, Domain
from ablate.space.spec import Spec
from ablate.study.document import show

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class ChoiceDomain(Domain):
    """One of `choices`, in any type of JSON.

    Stored as itself by the parameter's key; a list or mapping as its JSON text, since storages
    hold scalars only.
    """

    word: ClassVar[str] = "choice"

    choices: tuple[Any, ...]

    @classmethod
    def parse(cls, spec: Spec) -> ChoiceDomain | None:
        """Read one; None where a problem was noted."""
        spec.refuse_unknown_options(cls.word)
        choices = spec.item_list(cls.word)
        if choices is None:
            return None
        texts = [stored(choice) for choice in choices]
        for i, text in enumerate(texts):
            if text in texts[:i]:
                spec.refuse(
                    f"stored as the same text, got {show(text)} twice. Remove one.", cls.word, i
                )
                return None
        return cls(choices)

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return (CategoricalDimension(key, tuple(map(stored, self.choices))),)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> Any:
        return next(choice for choice in self.choices if stored(choice) == raw[key])

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        for choice in self.choices:
            if same(choice, value):
                return {key: stored(choice)}
        choices = show(list(self.choices))
        raise ParameterError(
            f"{key}: must be one of {choices}, got {show(value)}. Use one of them."
        )

    def examples(self) -> tuple[Any, ...]:
        return self.choices

    def holds(self, value: Any, /) -> bool:
        return any(same(choice, value) for choice in self.choices)

    def items(self) -> tuple[Any, ...]:
        found: dict[Any, None] = {}
        for choice in self.choices:
            if isinstance(choice, str):
                found.update(dict.fromkeys(choice.split("+")))
            elif isinstance(choice, list):
                found.update((item, None) for item in choice if isinstance(item, str | int | float))
        return tuple(found)


def stored(choice: Any) -> Scalar:
    """A choice as a storage holds it."""
    if choice is None or isinstance(choice, str | int | float):
        return choice
    return json.dumps(choice, sort_keys=True, separators=(",", ":"))
