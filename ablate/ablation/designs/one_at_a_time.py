"""One at a time: each factor over its levels, the rest at the reference."""

from __future__ import annotations

from ablate.ablation.cell import Design
from ablate.ablation.components import Change, read_factors
from ablate.ablation.configuration import Draft, Values
from ablate.study.document import show
from ablate.study.keys import searchable


def plan(draft: Draft) -> Design:
    """A cell a level; each is compared with the reference."""
    draft.add("reference", draft.reference, ("reference",))
    factors, keys = read_factors(draft), searchable()
    # Dotted keys without their section, as `fma.distance`, where one such name is left.
    short = [one.name.partition(".")[2] if one.name in keys else one.name for one in factors]
    for factor, name in zip(factors, short, strict=True):
        shown = name if short.count(name) == 1 else factor.name
        for level in factor.levels:
            values = level.apply(draft.ground, draft.reference)
            if draft.ground.same(values, draft.reference):
                draft.refuse(level.path, _same_rule(draft, level, values))
            else:
                draft.add(f"{shown}: {level.name}", values, level.path)
    return draft.design()


def _same_rule(draft: Draft, level: Change, values: Values) -> str:
    """The rule for a level that equals the reference, or has no effect in it."""
    ground, reference = draft.ground, draft.reference
    terms = ground.get(reference, "loss.terms")
    if terms is None or all(
        ground.get(values, key) == ground.get(reference, key) for key in values
    ):
        rule = f"a level must differ from the reference, got {level.name}, which is the reference"
        return f"{rule}. Remove it; the reference is always a cell."
    rule = f"a level must change the training, got {level.name}, which changes nothing at the"
    return f"{rule} reference, loss.terms {show(terms)}. Remove it, or change the reference."
