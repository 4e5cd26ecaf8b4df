"""One at a time: each factor over its levels, the rest at the reference."""

from __future__ import annotations

from ablate.ablation.cell import Design
from ablate.ablation.components import add_changed, read_factors
from ablate.ablation.draft import Draft
from ablate.study.keys import searchable


def plan(draft: Draft) -> Design:
    """A cell a level; each is compared with the reference."""
    draft.add("reference", draft.reference, ("reference",))
    factors, keys = read_factors(draft), searchable()
    # Dotted keys without their section, as `fma.distance`, where one such name is left.
    short = [
        factor.name.partition(".")[2] if factor.name in keys else factor.name for factor in factors
    ]
    for factor, name in zip(factors, short, strict=True):
        shown = name if short.count(name) == 1 else factor.name
        for level in factor.levels:
            fix = "Remove it, or change the reference."
            add_changed(draft, f"{shown}: {level.name}", [level], level.path, fix=fix)
    return draft.design()
