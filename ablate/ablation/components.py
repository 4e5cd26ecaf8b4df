"""What an ablation varies: components, which can be left out, and factors with their levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablate.ablation.draft import Draft, Values
from ablate.distortion import FAMILIES, with_own
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.augment.ratios import type_ratios
from ablate.finetune.loss import TERMS
from ablate.study.callables import own_types
from ablate.study.document import Path, show

COMBINED = "combined_augmentations"
LAYER = "layer:"


class LeftOutError(Exception):
    """A component cannot be left out: `rule, got X. Fix.`"""


@dataclass(frozen=True)
class Change:
    """A change of a configuration: a component that it loses, or a level of a factor.

    Attributes:
        name: of the component or the level; path: in the file, below `ablation`.
        values: that it gets; None: the built-in component `part` is left out.
    """

    name: str
    path: Path
    values: Values | None = None
    part: str = ""

    def apply(self, draft: Draft, values: Values) -> dict[str, Any]:
        """A configuration after the change.

        Raises:
            LeftOutError: if nothing would remain, for example no loss term.
        """
        if self.values is not None:
            return {**values, **self.values}
        try:
            return {**values, **_left_out(draft, values, self.part)}
        except ParameterError as error:  # of a mix that does not match the families or types
            raise LeftOutError(str(error)) from error


def read_components(draft: Draft) -> list[Change]:
    """Read the components of a file, in its order; problems are noted."""
    written = draft.settings.components or ()
    own = written if isinstance(written, Mapping) else dict.fromkeys(written)
    layers = tuple(LAYER + tap for tap in draft.taps)
    named = [name for _, _, name in own_types(draft.study.model_dump(mode="json"))]
    families = with_own(FAMILIES, named)
    types = [kind for kinds in families.values() for kind in kinds]
    known = (COMBINED, *TERMS, *layers, *families, *types)
    found: list[Change] = []
    for place, name in enumerate(written):
        path: Path = ("components", name if isinstance(written, Mapping) else place)
        values = own[name]
        if any(one.name == name for one in found):
            draft.refuse(path, f"given twice, got {show(name)}. Remove one.")
        elif values is not None:
            if draft.checked(values, path):
                found.append(Change(name, path, values))
        elif not draft.has_baseline:
            rule = "a component of a custom training loop needs the values without it, got only"
            fix = f"Write components: {{{name}: {{KEY: VALUE}}}}."
            draft.refuse(path, f"{rule} {show(name)}. {fix}")
        elif name not in known:
            rule = f"unknown component, got {show(name)}. {did_you_mean(name, known)}"
            draft.refuse(path, f"{rule} Or write {{{name}: {{KEY: VALUE}}}}.")
        else:
            found.append(Change(name, path, part=name))
    return found


def add_changed(
    draft: Draft, name: str, changes: Sequence[Change], path: Path = (), *, fix: str
) -> None:
    """Add the cell that is the reference after these changes, or note why it cannot be one.

    Args:
        path: position in the file; empty: the message names the cell.
        fix: suggested for a cell with the same training as another.
    """
    values = dict(draft.reference)
    try:
        for change in changes:
            values = change.apply(draft, values)
    except LeftOutError as error:
        draft.refuse(path, str(error) if path else f"cell {name}: {error}")
    else:
        draft.add(name, values, path, fix)


def _left_out(draft: Draft, values: Values, name: str) -> dict[str, Any]:
    """What a built-in component changes."""
    if name == COMBINED:  # the first type of the configuration in place of several
        drawn = drawn_types(draft, values)
        return single_type(next(iter(drawn))) if len(drawn) > 1 else {}
    if name in TERMS:
        terms = str(draft.get(values, "loss.terms")).split("+")
        left = _without(terms, name)
        if not left:
            rule = f"an objective needs a term, got {show('+'.join(terms))} without {name}"
            raise LeftOutError(f"{rule}. Add a term to the reference.")
        return {"loss.terms": "+".join(left)}
    if name.startswith(LAYER):
        return _without_layer(draft, values, name.removeprefix(LAYER))
    return _without_distortion(draft, values, name)


def _without_layer(draft: Draft, values: Values, layer: str) -> dict[str, Any]:
    layers = draft.get(values, "loss.fma.layers")
    if layer not in layers:
        return {}
    changed: dict[str, Any] = {"loss.fma.layers": _without(layers, layer)}
    weights = draft.get(values, "loss.fma.layer_weights")
    if isinstance(weights, Mapping):
        kept = {name: weight for name, weight in weights.items() if name != layer}
        changed["loss.fma.layer_weights"] = kept
        layers = [name for name, weight in weights.items() if weight]
    if not _without(layers, layer):
        raise LeftOutError(
            f"the feature-map term needs a layer, got {show(layers)} without {layer}. Leave out "
            "fma instead."
        )
    return changed


def _without(items: Sequence[str], item: str) -> list[str]:
    return [one for one in items if one != item]


def drawn_types(draft: Draft, values: Values) -> dict[str, float]:
    """Distortion type -> its probability in a configuration; none for `augmix`.

    Raises:
        ParameterError: if the mix does not match the families or types.
    """
    if draft.get(values, "augment.method") == "augmix":
        return {}
    mix = draft.get(values, "augment.mix")
    if mix is not None:
        mix = {name: float(ratio) for name, ratio in mix.items()}  # as written, 1 is an int
    families, types = (draft.get(values, f"augment.{key}") for key in ("families", "types"))
    return type_ratios(families, mix, types)


def single_type(kind: str) -> dict[str, Any]:
    """Values of an augmentation with one type alone."""
    return {"augment.types": [kind], "augment.mix": None}


def _without_distortion(draft: Draft, values: Values, name: str) -> dict[str, Any]:
    """Without a family, or a type; the ratios of the others are kept."""
    ratios = drawn_types(draft, values)
    gone = with_own(FAMILIES, ratios).get(name, (name,))
    left = {kind: ratio for kind, ratio in ratios.items() if kind not in gone}
    if len(left) == len(ratios):
        return {}
    if not left:
        raise LeftOutError(
            f"an augmentation needs a distortion, got {name} alone. Add another to the reference."
        )
    families, types, mix = (
        draft.get(values, f"augment.{key}") for key in ("families", "types", "mix")
    )
    key, chosen = "augment.types", list(left)
    if types is None and name in families:
        key, chosen = "augment.families", _without(families, name)
    elif types is None:
        mix = left  # which has been over families
    if mix is None:
        return {key: chosen}
    return {key: chosen, "augment.mix": {one: mix[one] for one in chosen if one in mix}}


# -- Factors and their levels


WITH, WITHOUT = "with", "without"


@dataclass(frozen=True)
class Factor:
    """A factor of a design.

    Attributes:
        name: a dotted key, a name chosen by the user, or a component.
        levels: the lowest first; of a component: without it, with it.
        path: in the file, below `ablation`.
    """

    name: str
    levels: tuple[Change, ...]
    path: Path


def read_factors(draft: Draft) -> list[Factor]:
    """Read the factors of a file, and its components as factors with two levels.

    Invalid ones are noted and left out.
    """
    written = draft.settings.factors or {}
    found = []
    for name, values in written.items():
        path: Path = ("factors", name)
        if not values:
            draft.refuse(path, "needs a level, got none. Write [A, B].")
            continue
        levels = list(_levels(draft, name, values))
        names = [level.name for level in levels]
        twice = next((level for level in names if names.count(level) > 1), None)
        if twice is not None:
            rule = f"a level may be given once, got {twice} twice"
            draft.refuse(path, f"{rule}. Remove one, or name them: {{NAME: {{KEY: VALUE}}}}.")
        elif len(levels) == len(values):
            found.append(Factor(name, tuple(levels), path))
    for component in read_components(draft):
        name, path = component.name, component.path
        if name in written:
            rule = f"given twice, got {name} as a factor and as a component"
            draft.refuse(path, f"{rule}. Rename the factor.")
        else:
            both = replace(component, name=WITHOUT), Change(WITH, path, {})
            found.append(Factor(name, both, path))
    return found


def _levels(
    draft: Draft, name: str, written: Sequence[Any] | Mapping[str, Values]
) -> Iterator[Change]:
    path: Path = ("factors", name)
    if isinstance(written, Mapping):
        for level, values in written.items():
            if draft.checked(values, (*path, level)):
                yield Change(level, (*path, level), values)
        return
    rule = draft.key_rule(name, written)
    if rule is not None:
        own = " Levels of your own factor: {LEVEL: {KEY: VALUE}}."
        draft.refuse(path, rule + (own if rule.startswith("unknown key") else ""))
        return
    for place, value in enumerate(written):
        at = (*path, place)
        if draft.checked({name: value}, path, at=at):
            yield Change(_level_name(value), at, {name: value})


def _level_name(value: Any) -> str:
    """Text unchanged, a list joined by +."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "+".join(map(_level_name, value))
    return show(value)
