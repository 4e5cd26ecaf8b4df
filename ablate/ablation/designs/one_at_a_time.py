"""One at a time: each factor over its levels, the rest at the reference."""

from __future__ import annotations

from ablate.ablation.cell import Design
from ablate.ablation.components import read_factors
from ablate.ablation.draft import Draft
from ablate.study.document import show
from ablate.study.keys import searchable


def plan(draft: Draft) -> Design:
    """A cell a level; each is compared with the reference."""
    reference = draft.reference
    draft.add("reference", reference, ("reference",))
    factors, keys = read_factors(draft), searchable()
    # Dotted keys without their section, as `fma.distance`, where one such name is left.
    short = [one.name.partition(".")[2] if one.name in keys else one.name for one in factors]
    terms = draft.get(reference, "loss.terms")
    for factor, name in zip(factors, short, strict=True):
        shown = name if short.count(name) == 1 else factor.name
        for level in factor.levels:
            values = level.apply(draft, reference)
            if not draft.same(values, reference):
                draft.add(f"{shown}: {level.name}", values, level.path)
            elif terms is None or all(
                draft.get(values, key) == draft.get(reference, key) for key in values
            ):
                rule = f"a level must differ from the reference, got {level.name}, which is the"
                fix = "Remove it; the reference is always a cell."
                draft.refuse(level.path, f"{rule} reference. {fix}")
            else:
                rule = f"a level must change the training, got {level.name}, which changes nothing"
                rule += f" at the reference, loss.terms {show(terms)}"
                draft.refuse(level.path, f"{rule}. Remove it, or change the reference.")
    return draft.design()
