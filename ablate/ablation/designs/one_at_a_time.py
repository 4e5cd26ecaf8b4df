"""One at a time: each factor over its levels, the rest at the reference."""

from __future__ import annotations

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import Level, read_factors
from ablate.ablation.configuration import Cells, Ground, Refuse, Values
from ablate.study.document import show
from ablate.study.keys import searchable

REFERENCE = "reference"


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """A cell a level; each is compared with the reference."""
    cells = Cells(ground, refuse)
    cells.add(REFERENCE, reference, ("reference",))
    factors = read_factors(ground, refuse)
    short = _short_names([factor.name for factor in factors])
    for factor in factors:
        for level in factor.levels:
            values = level.apply(ground, reference)
            if ground.same(values, reference):
                refuse(level.path, _same_rule(ground, level, values, reference))
            else:
                cells.add(f"{short[factor.name]}: {level.name}", values, level.path)
    whole, *others = (Arm(cell.name, (cell.name,)) for cell in cells.made)
    contrasts = tuple(difference(arm, whole) for arm in others)
    return Design("one_at_a_time", tuple(cells.made), (whole, *others), contrasts, REFERENCE)


def _same_rule(ground: Ground, level: Level, values: Values, reference: Values) -> str:
    """The rule for a level that equals the reference, or has no effect in it."""
    terms = ground.get(reference, "loss.terms")
    if terms is None or all(
        ground.get(values, key) == ground.get(reference, key) for key in values
    ):
        rule = f"a level must differ from the reference, got {level.name}, which is the reference"
        return f"{rule}. Remove it; the reference is always a cell."
    rule = f"a level must change the training, got {level.name}, which changes nothing at the"
    return f"{rule} reference, loss.terms {show(terms)}. Remove it, or change the reference."


def _short_names(names: list[str]) -> dict[str, str]:
    """Dotted keys without their section, as `fma.distance`, where one such name is left."""
    keys = searchable()
    short = {name: name.partition(".")[2] if name in keys else name for name in names}
    once = list(short.values()).count
    return {name: text if once(text) == 1 else name for name, text in short.items()}
