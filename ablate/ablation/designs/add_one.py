"""Add one: from the plain finetune upward, component by component, to the reference."""

from __future__ import annotations

from itertools import pairwise

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import LeftOutError, is_part, read_components
from ablate.ablation.draft import Draft


def plan(draft: Draft) -> Design:
    """A cell more than components: without all of them, then with the first, the first two, ...

    Each is compared with the first cell, and with the one before it.
    """
    components = read_components(draft)
    draft.stop_if_refused()
    for component in components:
        try:
            is_part(draft, component, component.apply(draft, draft.reference))
        except LeftOutError:
            continue  # what it cannot be without, it has
        draft.stop_if_refused()
    for count in range(len(components) + 1):
        values = dict(draft.reference)
        for component in components[count:]:
            try:
                values = component.apply(draft, values)
            except LeftOutError as error:
                draft.stop(component.path, f"the first cell is without all components: {error}")
        is_plain = draft.has_baseline and draft.get(values, "loss.terms") == "clean"
        name = "plain" if is_plain else "without all"
        if count:
            name = f"+ {components[count - 1].name}"
        path = components[max(count - 1, 0)].path
        draft.add(name, values, path, "Put it after the component that it needs.")
    first, *others = (Arm(cell.name, (cell.name,)) for cell in draft.cells)
    contrasts = [difference(arm, first) for arm in others]
    contrasts += [difference(after, before, "step") for before, after in pairwise(others)]
    return draft.design(contrasts, first.name)
