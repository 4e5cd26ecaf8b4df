"""`{choice: [a, b]}`, one of the values; `{subset: [a, b, c]}`, some of the items, at least one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.errors import ParameterError, did_you_mean
from ablate.space.condition import same
from ablate.space.domain import CategoricalDimension, Dimension, Domain
from ablate.space.spec import DomainError, Spec
from ablate.study.document import show

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class ChoiceDomain(Domain):
    """One of `choices`, of any JSON type.

    Stored under the parameter's key; a list or mapping as its JSON text, because storages accept
    only scalars.
    """

    word: ClassVar[str] = "choice"

    choices: tuple[Any, ...]

    @classmethod
    def parse(cls, spec: Spec) -> ChoiceDomain:
        spec.check_options(cls.word)
        choices = spec.items(cls.word)
        texts = [stored(choice) for choice in choices]
        for i, text in enumerate(texts):
            if text in texts[:i]:
                rule = f"stored as the same text, got {show(text)} twice. Remove one."
                raise DomainError(rule, cls.word, i)
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
    """A choice as stored."""
    if choice is None or isinstance(choice, str | int | float):
        return choice
    return json.dumps(choice, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class SubsetDomain(Domain):
    """Some of `names`, in their order, never none.

    Stored as one boolean an item, `key[item]`; the last counts as true where all others are
    false, whatever was drawn for it.
    """

    word: ClassVar[str] = "subset"
    has_equal_draws: ClassVar[bool] = True

    names: tuple[str, ...]

    @classmethod
    def parse(cls, spec: Spec) -> SubsetDomain:
        spec.check_options(cls.word)
        return cls(spec.names(cls.word))

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return tuple(CategoricalDimension(f"{key}[{name}]", (False, True)) for name in self.names)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> list[str]:
        return [name for name in self.names if raw[f"{key}[{name}]"]] or [self.names[-1]]

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if not isinstance(value, list | tuple) or not value:
            names = show(list(self.names))
            raise ParameterError(
                f"{key}: must be a list of at least one of {names}, got {show(value)}. Name one."
            )
        for name in value:
            if name not in self.names:
                fix = did_you_mean(str(name), self.names)
                raise ParameterError(f"{key}: unknown item, got {show(name)}. {fix}")
        return {f"{key}[{name}]": name in value for name in self.names}

    def examples(self) -> tuple[list[str], ...]:
        return (list(self.names),)

    def holds(self, value: Any, /) -> bool:
        if not isinstance(value, list) or not value:
            return False
        return value == [name for name in self.names if name in value]

    def items(self) -> tuple[Any, ...]:
        return self.names
