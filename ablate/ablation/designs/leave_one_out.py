"""Leave one out: the reference, and the reference without each component in turn."""

from __future__ import annotations

from ablate.ablation.cell import Design
from ablate.ablation.components import left_out, read_components
from ablate.ablation.draft import Draft


def plan(draft: Draft) -> Design:
    """A cell a component; each is compared with the reference."""
    draft.add("reference", draft.reference, ("reference",))
    for component in read_components(draft):
        if (values := left_out(draft, component)) is not None:
            draft.add(f"without {component.name}", values, component.path)
    return draft.design()
