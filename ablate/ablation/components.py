"""What an ablation varies: components, which can be left out, and factors with their levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.ablation.configuration import (
    Ground,
    Path,
    Refuse,
    Values,
    check_values,
    key_rule,
    without_item,
)
from ablate.distortion import FAMILIES
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.augment.ratios import type_ratios
from ablate.finetune.loss import TERMS
from ablate.study.document import show

COMBINED = "combined_augmentations"
LAYER = "layer:"

_TYPES = tuple(kind for kinds in FAMILIES.values() for kind in kinds)

LeaveOut = Callable[[Ground, Values], Mapping[str, Any]]


class LeftOutError(Exception):
    """A component cannot be left out: `rule, got X. Fix.`"""


@dataclass(frozen=True)
class Component:
    """A component.

    Attributes:
        leave_out: the values of a configuration -> the values without the component.
        path: in the file, below `ablation`.
    """

    name: str
    leave_out: LeaveOut
    path: Path

    def without(self, ground: Ground, values: Values) -> dict[str, Any]:
        """A configuration without the component.

        Raises:
            LeftOutError: if nothing would remain, for example no loss term.
        """
        try:
            return {**values, **self.leave_out(ground, values)}
        except ParameterError as error:  # of a mix that does not match the families or types
            raise LeftOutError(str(error)) from error


def read_components(ground: Ground, refuse: Refuse) -> list[Component]:
    """Read the components of a file, in its order; problems are reported."""
    settings = ground.study.ablation_section
    written = settings.components or ()
    found: list[Component] = []
    for place, name in enumerate(written):
        own = written[name] if isinstance(written, Mapping) else None
        path: Path = ("components", name if isinstance(written, Mapping) else place)
        if any(one.name == name for one in found):
            refuse(path, f"given twice, got {show(name)}. Remove one.")
        elif own is None:
            found += named_component(ground, name, path, refuse)
        elif (values := check_values(ground, own, path, refuse)) is not None:
            found.append(Component(name, _given(values), path))
    return found


def named_component(ground: Ground, name: str, path: Path, refuse: Refuse) -> list[Component]:
    """The built-in component of this name; an unknown name is reported."""
    known = None if ground.study.trainable is not None else _known(ground, name)
    if known is None:
        refuse(path, _unknown(ground, name))
        return []
    return [Component(name, known, path)]


def _given(values: Values) -> LeaveOut:
    return lambda _ground, _values: values


def _unknown(ground: Ground, name: str) -> str:
    if ground.study.trainable is not None:
        rule = (
            "a component of a custom training loop needs the values without it, got only "
            f"{show(name)}"
        )
        return f"{rule}. Write components: {{{name}: {{KEY: VALUE}}}}."
    layers = tuple(LAYER + tap for tap in ground.taps)
    known = (COMBINED, *TERMS, *layers, *FAMILIES, *_TYPES)
    fix = did_you_mean(name, known)
    return f"unknown component, got {show(name)}. {fix} Or write {{{name}: {{KEY: VALUE}}}}."


def _known(ground: Ground, name: str) -> LeaveOut | None:
    if name == COMBINED:
        return _single
    if name in TERMS:
        return lambda ground, values: _without_term(ground, values, name)
    layer = name.removeprefix(LAYER)
    if layer != name and layer in ground.names.get("loss.fma.layers", ()):
        return lambda ground, values: _without_layer(ground, values, layer)
    if name in FAMILIES or name in _TYPES:
        return lambda ground, values: _without_distortion(ground, values, name)
    return None


def _without_term(ground: Ground, values: Values, term: str) -> dict[str, Any]:
    terms = str(ground.get(values, "loss.terms")).split("+")
    left = without_item(terms, term)
    if not left:
        raise LeftOutError(
            f"an objective needs a term, got {show('+'.join(terms))} without {term}. "
            "Add a term to the reference."
        )
    return {"loss.terms": "+".join(left)}


def _without_layer(ground: Ground, values: Values, layer: str) -> dict[str, Any]:
    layers = ground.get(values, "loss.fma.layers")
    if layer not in layers:
        return {}
    changed: dict[str, Any] = {"loss.fma.layers": without_item(layers, layer)}
    weights = ground.get(values, "loss.fma.layer_weights")
    if isinstance(weights, Mapping):
        kept = {name: weight for name, weight in weights.items() if name != layer}
        changed["loss.fma.layer_weights"] = kept
        layers = [name for name, weight in weights.items() if weight]
    if not without_item(layers, layer):
        raise LeftOutError(
            f"the feature-map term needs a layer, got {show(layers)} without {layer}. Leave out "
            "fma instead."
        )
    return changed


def drawn_types(ground: Ground, values: Values) -> dict[str, float]:
    """Distortion type -> its probability in a configuration; none for `augmix`.

    Raises:
        ParameterError: if the mix does not match the families or types.
    """
    if ground.get(values, "augment.method") == "augmix":
        return {}
    types = ground.get(values, "augment.types")
    mix = ground.get(values, "augment.mix")
    if mix is not None:
        mix = {name: float(ratio) for name, ratio in mix.items()}  # as written, 1 is an int
    return type_ratios(ground.get(values, "augment.families"), mix, types)


def single_type(kind: str) -> dict[str, Any]:
    """Values of an augmentation with one type alone."""
    return {"augment.types": [kind], "augment.mix": None}


def _single(ground: Ground, values: Values) -> dict[str, Any]:
    """One type instead of several: the first type of the configuration."""
    drawn = drawn_types(ground, values)
    return single_type(next(iter(drawn))) if len(drawn) > 1 else {}


def _without_distortion(ground: Ground, values: Values, name: str) -> dict[str, Any]:
    """Without a family, or a type; the ratios of the others are kept."""
    gone = FAMILIES.get(name, (name,))
    ratios = drawn_types(ground, values)
    left = {kind: ratio for kind, ratio in ratios.items() if kind not in gone}
    if len(left) == len(ratios):
        return {}
    if not left:
        raise LeftOutError(
            f"an augmentation needs a distortion, got {name} alone. Add another to the reference."
        )
    families, types = (ground.get(values, f"augment.{key}") for key in ("families", "types"))
    mix = ground.get(values, "augment.mix")
    if types is None and name in families:
        chosen = without_item(families, name)
        changed: dict[str, Any] = {"augment.families": chosen}
    else:
        chosen = list(left)
        changed = {"augment.types": chosen}
        if types is None:
            mix = left  # which has been over families
    if mix is not None:
        changed["augment.mix"] = {key: mix[key] for key in chosen if key in mix}
    return changed


# -- Factors and their levels --------------------


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
    """A factor of a design.

    Attributes:
        name: a dotted key, a name chosen by the user, or a component.
        levels: the lowest first; of a component: without it, with it.
        path: in the file, below `ablation`.
    """

    name: str
    levels: tuple[Level, ...]
    path: Path


def read_factors(ground: Ground, refuse: Refuse) -> list[Factor]:
    """Read the factors of a file, and its components as factors with two levels.

    Invalid ones are reported and left out.
    """
    settings = ground.study.ablation_section
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
    """The name of a level for a value: text unchanged, a list joined by +."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "+".join(level_name(item) for item in value)
    return show(value)
