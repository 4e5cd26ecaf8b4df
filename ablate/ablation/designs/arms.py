"""Arms: named configurations side by side, as in the table of a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import drawn_types, single_type
from ablate.ablation.draft import Draft, Values
from ablate.ablation.results import BASELINE
from ablate.errors import did_you_mean
from ablate.ledger.record import ADAPTED, NOT_FINETUNED
from ablate.study.document import Path, show
from ablate.study.settings import Study

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
    arms: list[Arm] = []
    for name, written in (draft.settings.arms or {}).items():
        made = []
        for cell, values in _configurations(draft, name, written).items():
            if not draft.add(cell, values, ("arms", name)):
                break
            made.append(cell)
        arms.append(Arm(name, tuple(made)))
    to = _compared_to(draft, arms)
    draft.stop_if_refused()
    contrasts = tuple(difference(arm, to) for arm in arms if arm is not to)
    notes = _notes(draft.study)
    return Design("arms", tuple(draft.cells), tuple(arms), contrasts, to.name, notes=notes)


def _configurations(draft: Draft, name: str, written: Values) -> dict[str, Values]:
    """The cells of an arm, by name; none where something is wrong with it, which is noted."""
    path: Path = ("arms", name)
    if name in _fixed_arms(draft.study):
        rule = "is always an arm, the network before finetuning, got values for it. Remove it."
        draft.refuse(path, rule)
        return {}
    if not name:
        draft.refuse(path, "needs a name, got ''. Add one.")
        return {}
    for key in written:
        if key.startswith("finetune.budget.") and draft.has_baseline:
            rule = f"arms are compared at equal compute, got {show(written[key])} for one of them"
            draft.refuse((*path, key), f"{rule}. Remove it; finetune.budget applies to all.")
            return {}
    own = dict(written)
    is_each = draft.has_baseline and own.get(TYPES) == "each"
    if is_each:
        del own[TYPES]
    if not draft.checked(own, path):
        return {}
    values: dict[str, Any] = {**draft.reference, **own}
    if not is_each:
        return {name: values}
    drawn = drawn_types(draft, values)
    if not drawn:
        rule = "each means a model for each type that is drawn, got augment.method augmix"
        draft.refuse((*path, TYPES), f"{rule}, which draws none. Choose another method.")
    return {f"{name}: {kind}": {**values, **single_type(kind)} for kind in drawn}


def _compared_to(draft: Draft, arms: Sequence[Arm]) -> Arm:
    by_name = {arm.name: arm for arm in arms}
    wanted = draft.settings.compare_to or (PLAIN if PLAIN in by_name else arms[0].name)
    if wanted in _fixed_arms(draft.study):
        return Arm(wanted, (wanted,))
    if wanted == ADAPTED and draft.has_baseline:
        draft.refuse(("compare_to",), NOT_ADAPTED)
    elif wanted not in by_name:
        rule = f"must be one of the arms, got {show(wanted)}. {did_you_mean(wanted, list(by_name))}"
        draft.refuse(("compare_to",), rule)
    return by_name.get(wanted, arms[0])


def _fixed_arms(study: Study) -> tuple[str, ...]:
    """The arms that are networks before finetuning."""
    if study.trainable is not None:
        return ()
    return (BASELINE,) if study.robustness.adapt_batch_norm is None else NOT_FINETUNED


def _notes(study: Study) -> tuple[str, ...]:
    budget = study.finetune.budget
    if study.trainable is not None:
        return ()
    if budget.images is not None:
        return (f"equal compute: {budget.images:,} images through the network in each run",)
    if budget.flops is not None:
        return (f"equal compute: {budget.flops:.3g} floating point operations in each run",)
    if budget.seconds is not None:
        return (f"equal compute: {budget.seconds:g} seconds of training in each run",)
    return ()


def budget_rule(study: Study) -> str | None:
    """Refuse a budget in epochs: an epoch with copies takes twice the images of one without."""
    epochs = study.finetune.budget.in_epochs
    if study.trainable is not None or epochs is None:
        return None
    rule = f"arms are compared at equal compute, got a budget of {epochs} epochs"
    fix = "Write budget: {images: N}, {flops: N} or {seconds: N}."
    return f"{rule}, in which copies cost extra. {fix}"
