"""Factors and their levels: what is varied, and how a level is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.ablation.components import Component, read_components
from ablate.ablation.configuration import Ground, Path, Refuse, Values, check_values, key_rule
from ablate.study.document import show

WITH, WITHOUT = "with", "without"


@dataclass(frozen=True)
class Level:
    """A level of a factor.

    Attributes:
        changes: values by dotted key, or a component to leave out.
        path: in the file, below `ablation`.
    """

    name: str
    changes: Values | Component
    path: Path

    def apply(self, ground: Ground, values: Values) -> dict[str, Any]:
        """A configuration at this level.

        Raises:
            LeftOutError: if a component cannot be left out.
        """
        if isinstance(self.changes, Component):
            return self.changes.without(ground, values)
        return {**values, **self.changes}


@dataclass(frozen=True)
class Factor:
    """What is varied.

    Attributes:
        name: a dotted key, a name of the user's own, or a component's.
        levels: the lowest first; of a component: without it, with it.
        path: in the file, below `ablation`.
    """

    name: str
    levels: tuple[Level, ...]
    path: Path


def read_factors(ground: Ground, refuse: Refuse) -> list[Factor]:
    """The factors of a file, and its components as factors of two levels.

    One with something wrong is left out, and what it is is noted.
    """
    settings = ground.study.ablation
    assert settings is not None
    found = []
    for name, written in (settings.factors or {}).items():
        path: Path = ("factors", name)
        if not written:
            refuse(path, "needs a level, got none. Write [A, B].")
            continue
        levels = list(_levels(ground, name, written, path, refuse))
        names = [level.name for level in levels]
        twice = next((level for level in names if names.count(level) > 1), None)
        if twice is not None:
            rule = f"a level may be given once, got {twice} twice"
            refuse(path, f"{rule}. Remove one, or name them: {{NAME: {{KEY: VALUE}}}}.")
        elif len(levels) == len(written):
            found.append(Factor(name, tuple(levels), path))
    for component in read_components(ground, refuse):
        if component.name in (settings.factors or {}):
            rule = f"given twice, got {component.name} as a factor and as a component"
            refuse(component.path, f"{rule}. Rename the factor.")
            continue
        without = Level(WITHOUT, component, component.path)
        levels = [without, Level(WITH, {}, component.path)]
        found.append(Factor(component.name, tuple(levels), component.path))
    return found


def _levels(
    ground: Ground,
    name: str,
    written: Sequence[Any] | Mapping[str, Values],
    path: Path,
    refuse: Refuse,
) -> Iterator[Level]:
    if isinstance(written, Mapping):
        for level, values in written.items():
            if check_values(ground, values, (*path, level), refuse) is not None:
                yield Level(level, values, (*path, level))
        return
    rule = key_rule(ground, name, written)
    if rule is not None:
        own = " Levels of your own factor: {LEVEL: {KEY: VALUE}}."
        refuse(path, rule + (own if rule.startswith("unknown key") else ""))
        return
    for place, value in enumerate(written):
        at = (*path, place)
        if check_values(ground, {name: value}, path, refuse, at=at) is not None:
            yield Level(level_name(value), {name: value}, at)


def level_name(value: Any) -> str:
    """A value as the name of a level: text as it is, a list joined by +."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "+".join(level_name(item) for item in value)
    return show(value)
