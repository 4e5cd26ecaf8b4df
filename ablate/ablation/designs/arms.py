"""Arms: named configurations side by side, as in the table of a paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ablate.ablation.cell import Arm, Design, difference
from ablate.ablation.components import drawn_types, single_type
from ablate.ablation.configuration import Cells, Ground, Path, Refuse, Values, check_values
from ablate.ablation.results import BASELINE
from ablate.errors import did_you_mean
from ablate.ledger.record import ADAPTED, NOT_FINETUNED
from ablate.study.document import show

EACH = "each"
TYPES = "augment.types"
PLAIN = "plain"
BUDGET = "finetune.budget."
NOT_ADAPTED = (
    f"needs robustness.adapt_batch_norm, got {show(ADAPTED)} without it. Add it, such as "
    "robustness.adapt_batch_norm: 256, or compare with the baseline."
)


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """A cell an arm, on top of the reference; with `augment.types: each` one a type.

    Each arm is compared with `compare_to`, which may be the baseline.
    """
    settings = ground.study.ablation_section
    assert settings.arms is not None
    cells = Cells(ground, refuse, may_repeat=settings.tune is not None)
    arms: list[Arm] = []
    for name, written in settings.arms.items():
        made = []
        for cell, values in _configurations(ground, reference, name, written, refuse):
            if not cells.add(cell, values, ("arms", name)):
                break
            made.append(cell)
        arms.append(Arm(name, tuple(made)))
    to = _compared_to(ground, settings.compare_to, arms, refuse)
    if not all(arm.cells for arm in arms):
        return Design("arms", (), (), ())
    contrasts = tuple(difference(arm, to) for arm in arms if arm is not to)
    notes = _notes(ground)
    return Design("arms", tuple(cells.made), tuple(arms), contrasts, to.name, notes=notes)


def _configurations(
    ground: Ground, reference: Values, name: str, written: Values, refuse: Refuse
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The cells of an arm, each with its name."""
    path: Path = ("arms", name)
    has_baseline = ground.study.trainable is None
    if name in _fixed_arms(ground):
        rule = "is always an arm, the network before finetuning, got values for it"
        refuse(path, f"{rule}. Remove it.")
        return
    if not name:
        refuse(path, "needs a name, got ''. Add one.")
        return
    for key in written:
        if key.startswith(BUDGET) and has_baseline:
            rule = f"arms are compared at equal compute, got {show(written[key])} for one of them"
            refuse((*path, key), f"{rule}. Remove it; finetune.budget applies to all.")
            return
    is_each = has_baseline and written.get(TYPES) == EACH
    own = {key: value for key, value in written.items() if not (is_each and key == TYPES)}
    values = check_values(ground, own, path, refuse)
    if values is None:
        return
    values = {**reference, **values}
    if not is_each:
        yield name, values
        return
    drawn = drawn_types(ground, values)
    if not drawn:
        rule = "each means a model for each type that is drawn, got augment.method augmix"
        refuse((*path, TYPES), f"{rule}, which draws none. Choose another method.")
    for kind in drawn:
        yield f"{name}: {kind}", {**values, **single_type(kind)}


def _compared_to(ground: Ground, asked: str | None, arms: list[Arm], refuse: Refuse) -> Arm:
    names = [arm.name for arm in arms]
    wanted = asked or (PLAIN if PLAIN in names else names[0])
    if wanted in _fixed_arms(ground):
        return Arm(wanted, (wanted,))
    if wanted == ADAPTED and ground.study.trainable is None:
        refuse(("compare_to",), NOT_ADAPTED)
        wanted = names[0]
    elif wanted not in names:
        rule = f"must be one of the arms, got {show(wanted)}"
        refuse(("compare_to",), f"{rule}. {did_you_mean(wanted, names)}")
        wanted = names[0]
    return arms[names.index(wanted)]


def _fixed_arms(ground: Ground) -> tuple[str, ...]:
    """The arms that are networks before finetuning."""
    if ground.study.trainable is not None:
        return ()
    return (BASELINE,) if ground.study.robustness.adapt_batch_norm is None else NOT_FINETUNED


def _notes(ground: Ground) -> tuple[str, ...]:
    if ground.study.trainable is not None:
        return ()
    budget = ground.study.finetune.budget
    if budget.images is not None:
        return (f"equal compute: {budget.images:,} images through the network in each run",)
    if budget.flops is not None:
        return (f"equal compute: {budget.flops:.3g} floating point operations in each run",)
    if budget.seconds is not None:
        return (f"equal compute: {budget.seconds:g} seconds of training in each run",)
    return ()


def budget_rule(ground: Ground) -> str | None:
    """Refuse a budget in epochs: an epoch with copies takes twice the images of one without."""
    budget = ground.study.finetune.budget
    if ground.study.trainable is not None or budget.in_epochs is None:
        return None
    rule = f"arms are compared at equal compute, got a budget of {budget.in_epochs} epochs"
    fix = "Write budget: {images: N}, {flops: N} or {seconds: N}."
    return f"{rule}, in which copies cost extra. {fix}"
