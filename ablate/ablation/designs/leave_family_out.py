"""Leave a family out: train without one family of distortion, and test on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import Change, LeftOutError, drawn_types
from ablate.ablation.draft import Draft
from ablate.distortion import FAMILIES, with_own
from ablate.robustness.suites import find_suite
from ablate.study.document import Path, show
from ablate.study.seeds import PLAIN

ALL = "all families"


def plan(draft: Draft) -> Design:
    """The plain finetune, the reference with all families, and without each in turn.

    On the family that was left out, both gains over the plain finetune are compared: for unseen and
    for seen distortions.
    """
    if not draft.has_baseline:
        rule = "needs families of distortion, got a trainable. Use leave_one_out."
        draft.stop(("design",), rule)
    draft.add("plain", {**draft.reference, **PLAIN}, ("reference",))
    draft.add(ALL, draft.reference, ("reference",), "Add a term that reads augmented copies.")
    draft.stop_if_refused()
    plain, whole = Arm("plain", ("plain",)), Arm(ALL, (ALL,))
    contrasts = [difference(plain, whole)]
    for family, path in _families(draft):
        try:
            values = Change(family, path, part=family).apply(draft, draft.reference)
        except LeftOutError as error:
            draft.refuse(path, str(error))
            continue
        name = f"without {family}"
        if draft.add(name, values, path):
            arm = Arm(name, (name,))
            contrasts.append(difference(arm, whole))
            for trained, word in ((arm, "unseen"), (whole, "seen")):
                gain = difference(trained, plain)
                metrics = (f"val_accuracy.{family}",)
                contrasts.append(
                    replace(gain, name=f"{word} {family}: {gain.name}", metrics=metrics)
                )
    return draft.design(contrasts, ALL)


def _families(draft: Draft) -> Iterator[tuple[str, Path]]:
    """The families to leave out in turn, and their paths in the file."""
    drawn = drawn_types(draft, draft.reference)
    families = with_own(FAMILIES, drawn)
    used = [family for family, kinds in families.items() if any(kind in drawn for kind in kinds)]
    scored = find_suite(draft.study.robustness.suite).families
    asked = draft.settings.families or tuple(used)
    if not used:
        rule = "must draw from families of distortion, got augment.method augmix"
        fix = "Choose another method."
        draft.refuse(("reference",), f"{rule}, whose operators belong to none. {fix}")
    for place, family in enumerate(asked):
        path: Path = ("families", place) if draft.settings.families else ("families",)
        if family in asked[:place]:
            draft.refuse(path, f"given twice, got {show(family)}. Remove one.")
        elif family not in used:
            rule = f"must be a family that the reference trains on {show(used)}, got {show(family)}"
            draft.refuse(path, f"{rule}. Remove it.")
        elif family not in scored:
            both = [one for one in used if one in scored]
            rule = f"must be scored by robustness.suite {show(list(scored))}, got {show(family)}"
            fix = f"Write families: {show(both)}" if both else "Remove it"
            draft.refuse(path, f"{rule}. {fix}, or use a suite that contains it.")
        else:
            yield family, path
