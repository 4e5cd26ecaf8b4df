"""Add one: from the plain finetune upward, component by component, to the reference."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import add_changed, read_components
from ablate.ablation.draft import Draft


def plan(draft: Draft) -> Design:
    """A cell more than components: without all of them, then with the first, the first two, ...

    Each is compared with the first cell, and with the one before it.
    """
    components = read_components(draft)
    draft.stop_if_refused()
    first, fix = "without all", "Put it after the component that it needs, or remove it."
    for count in range(len(components) + 1):
        name = f"+ {components[count - 1].name}" if count else first
        path = components[max(count - 1, 0)].path
        add_changed(draft, name, components[count:], path, fix=fix)
        draft.stop_if_refused()
    if draft.has_baseline and draft.get(draft.cells[0].values, "loss.terms") == "clean":
        draft.cells[0] = replace(draft.cells[0], name="plain")
    plain, *others = (Arm(cell.name, (cell.name,)) for cell in draft.cells)
    contrasts = [difference(arm, plain) for arm in others]
    contrasts += [difference(after, before, "step") for before, after in pairwise(others)]
    return draft.design(contrasts, plain.name)
