"""Leave a family out: train without one family of distortion, and test on it."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.ablation.cell import Arm, Contrast, Design, difference
from ablate.ablation.components import LeftOutError, drawn_types, named_component
from ablate.ablation.configuration import Cells, Ground, Path, Refuse, Values
from ablate.distortion import FAMILIES
from ablate.robustness.suites import find_suite
from ablate.study.document import show
from ablate.study.seeds import PLAIN

ALL = "all families"


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """The plain finetune, the reference with all families, and without each in turn.

    On the family that was left out, both gains over the plain finetune are compared: for unseen and
    for seen distortions.
    """
    empty = Design("leave_family_out", (), (), ())
    if ground.study.trainable is not None:
        refuse(("design",), "needs families of distortion, got a trainable. Use leave_one_out.")
        return empty
    cells = Cells(ground, refuse)
    cells.add("plain", {**reference, **PLAIN}, ("reference",))
    if not cells.add(ALL, reference, ("reference",), "Add a term that reads augmented copies."):
        return empty
    plain, whole = Arm("plain", ("plain",)), Arm(ALL, (ALL,))
    arms, contrasts = [plain, whole], [difference(plain, whole)]
    for family, path in _families(ground, reference, refuse):
        (component,) = named_component(ground, family, path, refuse)
        try:
            values = component.without(ground, reference)
        except LeftOutError as error:
            refuse(path, str(error))
            continue
        name = f"without {family}"
        if not cells.add(name, values, path):
            continue
        arms.append(Arm(name, (name,)))
        metric = f"val_accuracy.{family}"
        contrasts.append(difference(arms[-1], whole))
        contrasts.append(_about(difference(arms[-1], plain), f"unseen {family}", metric))
        contrasts.append(_about(difference(whole, plain), f"seen {family}", metric))
    return Design("leave_family_out", tuple(cells.made), tuple(arms), tuple(contrasts), ALL)


def _families(ground: Ground, reference: Values, refuse: Refuse) -> Iterator[tuple[str, Path]]:
    """The families to leave out in turn, and their paths in the file."""
    settings = ground.study.ablation_section
    drawn = drawn_types(ground, reference)
    used = [family for family, kinds in FAMILIES.items() if any(kind in drawn for kind in kinds)]
    scored = find_suite(ground.study.robustness.suite).families
    asked = settings.families or tuple(used)
    both = [family for family in used if family in scored]
    if not used:
        rule = "must draw from families of distortion, got augment.method augmix"
        refuse(("reference",), f"{rule}, whose operators belong to none. Choose another method.")
    for place, family in enumerate(asked):
        path: Path = ("families", place) if settings.families else ("families",)
        if family in asked[:place]:
            refuse(path, f"given twice, got {show(family)}. Remove one.")
        elif family not in used:
            rule = f"must be a family that the reference trains on {show(used)}, got {show(family)}"
            refuse(path, f"{rule}. Remove it.")
        elif family not in scored:
            rule = f"must be scored by robustness.suite {show(list(scored))}, got {show(family)}"
            left = f"Write families: {show(both)}" if both else "Remove it"
            refuse(path, f"{rule}. {left}, or use a suite that contains it.")
        else:
            yield family, path


def _about(contrast: Contrast, name: str, metric: str) -> Contrast:
    return Contrast(f"{name}: {contrast.name}", contrast.weights, contrast.kind, (metric,))
