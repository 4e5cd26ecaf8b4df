"""Leave one out: the reference, and the reference without each component in turn."""

from __future__ import annotations

from ablate.ablation.cell import Design
from ablate.ablation.components import add_changed, read_components
from ablate.ablation.draft import Draft


def plan(draft: Draft) -> Design:
    """A cell a component; each is compared with the reference."""
    draft.add("reference", draft.reference, ("reference",))
    for component in read_components(draft):
        name, fix = f"without {component.name}", "Remove it, or add it to the reference."
        add_changed(draft, name, [component], component.path, fix=fix)
    return draft.design()
