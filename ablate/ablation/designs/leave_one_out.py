"""Leave one out: the reference, and the reference without each component in turn."""

from __future__ import annotations

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import LeftOutError, read_components
from ablate.ablation.configuration import Cells, Ground, Refuse, Values
from ablate.study.document import show

REFERENCE = "reference"


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """A cell a component; each is compared with the reference."""
    cells = Cells(ground, refuse)
    cells.add(REFERENCE, reference, ("reference",))
    for component in read_components(ground, refuse):
        try:
            values = component.without(ground, reference)
        except LeftOutError as error:
            refuse(component.path, str(error))
            continue
        if ground.same(values, reference):
            refuse(component.path, unchanged(ground, component.name, reference))
            continue
        cells.add(f"without {component.name}", values, component.path)
    whole, *others = (Arm(cell.name, (cell.name,)) for cell in cells.made)
    contrasts = tuple(difference(arm, whole) for arm in others)
    return Design("leave_one_out", tuple(cells.made), (whole, *others), contrasts, REFERENCE)


def unchanged(ground: Ground, component: str, reference: Values) -> str:
    """The rule for a component that the reference does not have."""
    terms = ground.get(reference, "loss.terms")
    held = "" if terms is None else f", got loss.terms {show(terms)}"
    return (
        f"leaving out {component} must change the reference, but changes nothing{held}. Remove it, "
        "or add it to the reference."
    )
