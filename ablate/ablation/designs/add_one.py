"""Add one: from the plain finetune upward, component by component, to the reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ablate.ablation.cell import Arm, Cell, Design, difference
from ablate.ablation.components import Component, LeftOutError, read_components
from ablate.ablation.configuration import Cells, Ground, Refuse, Values
from ablate.ablation.designs.leave_one_out import unchanged

_ORDER = "Put it after the component that it needs."


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """A cell more than components: without all of them, then with the first, the first two, ...

    Each is compared with the first cell, and with the one before it.
    """
    settings = ground.study.ablation_section
    components = read_components(ground, refuse)
    if len(components) < len(settings.components or ()):
        return _design([])
    for component in components:
        if not _changes(ground, component, reference):
            refuse(component.path, unchanged(ground, component.name, reference))
            return _design([])
    cells = Cells(ground, refuse)
    for count in range(len(components) + 1):
        values = dict(reference)
        for component in components[count:]:
            try:
                values = component.without(ground, values)
            except LeftOutError as error:
                refuse(component.path, f"the first cell is without all components: {error}")
                return _design([])
        path = components[max(count - 1, 0)].path
        cells.add(_name(ground, values, components, count), values, path, _ORDER)
    return _design(cells.made)


def _changes(ground: Ground, component: Component, reference: Values) -> bool:
    """Whether the reference has a component; one that it cannot be without, it has."""
    try:
        return not ground.same(component.without(ground, reference), reference)
    except LeftOutError:
        return True


def _name(ground: Ground, values: Values, components: Sequence[Component], count: int) -> str:
    if count == 0:
        is_plain = ground.study.trainable is None and ground.get(values, "loss.terms") == "clean"
        return "plain" if is_plain else "without all"
    return f"+ {components[count - 1].name}"


def _design(cells: Sequence[Cell]) -> Design:
    arms = tuple(Arm(cell.name, (cell.name,)) for cell in cells)
    contrasts = [difference(arm, arms[0]) for arm in arms[1:]]
    contrasts += [difference(after, before, "step") for before, after in pairwise(arms[1:])]
    first = arms[0].name if arms else ""
    return Design("add_one", tuple(cells), arms, tuple(contrasts), first)
