"""Arms: named configurations side by side, as in the table of a paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import drawn_types, single_type
from ablate.ablation.configuration import Draft, Ground, Path, Values
from ablate.ablation.results import BASELINE
from ablate.errors import did_you_mean
from ablate.ledger.record import ADAPTED, NOT_FINETUNED
from ablate.study.document import show

TYPES = "augment.types"
PLAIN = "plain"
NOT_ADAPTED = (
    f"needs robustness.adapt_batch_norm, got {show(ADAPTED)} without it. Add it, such as "
    "robustness.adapt_batch_norm: 256, or compare with the baseline."
)


def plan(draft: Draft) -> Design:
    """A cell an arm, on top of the reference; with `augment.types: each` one a type.

    Each arm is compared with `compare_to`, which may be the baseline.
    """
    written = draft.settings.arms or {}
    arms: list[Arm] = []
    for name, values in written.items():
        made = []
        for cell, own in _configurations(draft, name, values):
            if not draft.add(cell, own, ("arms", name)):
                break
            made.append(cell)
        arms.append(Arm(name, tuple(made)))
    to = _compared_to(draft, arms)
    draft.stop_if_refused()
    contrasts = tuple(difference(arm, to) for arm in arms if arm is not to)
    notes = _notes(draft.ground)
    return Design("arms", tuple(draft.cells), tuple(arms), contrasts, to.name, notes=notes)


def _configurations(
    draft: Draft, name: str, written: Values
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The cells of an arm, each with its name."""
    path: Path = ("arms", name)
    has_baseline = draft.ground.study.trainable is None
    if name in _fixed_arms(draft.ground):
        rule = "is always an arm, the network before finetuning, got values for it. Remove it."
        draft.refuse(path, rule)
        return
    if not name:
        draft.refuse(path, "needs a name, got ''. Add one.")
        return
    for key in written:
        if key.startswith("finetune.budget.") and has_baseline:
            rule = f"arms are compared at equal compute, got {show(written[key])} for one of them"
            draft.refuse((*path, key), f"{rule}. Remove it; finetune.budget applies to all.")
            return
    is_each = has_baseline and written.get(TYPES) == "each"
    own = {key: value for key, value in written.items() if not (is_each and key == TYPES)}
    values = draft.checked(own, path)
    if values is None:
        return
    values = {**draft.reference, **values}
    if not is_each:
        yield name, values
        return
    drawn = drawn_types(draft.ground, values)
    if not drawn:
        rule = "each means a model for each type that is drawn, got augment.method augmix"
        draft.refuse((*path, TYPES), f"{rule}, which draws none. Choose another method.")
    for kind in drawn:
        yield f"{name}: {kind}", {**values, **single_type(kind)}


def _compared_to(draft: Draft, arms: list[Arm]) -> Arm:
    by_name = {arm.name: arm for arm in arms}
    wanted = draft.settings.compare_to or (PLAIN if PLAIN in by_name else arms[0].name)
    if wanted in _fixed_arms(draft.ground):
        return Arm(wanted, (wanted,))
    if wanted == ADAPTED and draft.ground.study.trainable is None:
        draft.refuse(("compare_to",), NOT_ADAPTED)
    elif wanted not in by_name:
        rule = f"must be one of the arms, got {show(wanted)}. {did_you_mean(wanted, list(by_name))}"
        draft.refuse(("compare_to",), rule)
    return by_name.get(wanted, arms[0])


def _fixed_arms(ground: Ground) -> tuple[str, ...]:
    """The arms that are networks before finetuning."""
    if ground.study.trainable is not None:
        return ()
    return (BASELINE,) if ground.study.robustness.adapt_batch_norm is None else NOT_FINETUNED


def _notes(ground: Ground) -> tuple[str, ...]:
    budget = ground.study.finetune.budget
    amount = ""
    if budget.images is not None:
        amount = f"{budget.images:,} images through the network"
    elif budget.flops is not None:
        amount = f"{budget.flops:.3g} floating point operations"
    elif budget.seconds is not None:
        amount = f"{budget.seconds:g} seconds of training"
    if ground.study.trainable is not None or not amount:
        return ()
    return (f"equal compute: {amount} in each run",)


def budget_rule(ground: Ground) -> str | None:
    """Refuse a budget in epochs: an epoch with copies takes twice the images of one without."""
    budget = ground.study.finetune.budget
    if ground.study.trainable is not None or budget.in_epochs is None:
        return None
    rule = f"arms are compared at equal compute, got a budget of {budget.in_epochs} epochs"
    fix = "Write budget: {images: N}, {flops: N} or {seconds: N}."
    return f"{rule}, in which copies cost extra. {fix}"
