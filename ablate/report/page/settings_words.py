"""What the runs of a study use, in words, from its settings: loss terms, copies, training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from ablate.ablation.cell import Design
from ablate.finetune.loss import in_order
from ablate.ledger.record import NOT_FINETUNED, StudyRecord
from ablate.report.numbers import param_text
from ablate.study.checks import candidates
from ablate.study.keys import written_domains
from ablate.study.sections.training import UNITS
from ablate.study.settings import BudgetSettings, Study

_SAID_ELSEWHERE = ("budget", "seed", "interpolation")
"""Keys of `finetune` that other sentences tell."""


def used_terms(record: StudyRecord) -> list[str]:
    """The sets of loss terms that runs may use."""
    own = record.study.loss.terms
    written = [values.get("loss.terms", own) for values in _arm_values(record)]
    written = written or candidates(record.study.space, "loss.terms", [own])
    return [*dict.fromkeys(map(in_order, written))]


def drawn_from(record: StudyRecord) -> str:
    """Which distortions copies are of; empty for AugMix, and where arms, which name theirs, differ
    in them."""
    study = record.study
    keys = ("augment.types", "augment.families")
    if study.augment.method == "augmix" or any(
        key in values for values in _arm_values(record) for key in keys
    ):
        return ""
    types, families = (
        [*dict.fromkeys(candidates(study.space, key, own))]
        for key, own in zip(keys, (study.augment.types or (), study.augment.families), strict=True)
    )
    if types:
        return f", of the types {param_text(types)}"
    return f", from the families {param_text(families)}"


def _arm_values(record: StudyRecord) -> list[Mapping[str, Any]]:
    """What each finetuned cell of an ablation overrides; empty for a search."""
    if record.design is None:
        return []
    design = Design.from_json(record.design)
    arms = [arm for arm in design.arms if arm.name not in NOT_FINETUNED]
    return [design.cell(name).values for arm in arms for name in arm.cells]


def training_words(record: StudyRecord) -> str:
    """Budget and settings of a finetuning; what the search or an arm varies has no value."""
    tune, varied = record.study.finetune, varied_keys(record)
    settings = {
        "optimizer": tune.optimizer.upper(),
        "batch_size": f"batches of {tune.batch_size}",
        "learning_rate": f"rate {tune.learning_rate:g}",
        "schedule": f"{tune.schedule} schedule",
    }
    for key, value in tune.model_dump(mode="json", exclude_defaults=True).items():
        if key not in _SAID_ELSEWHERE:
            settings.setdefault(key, f"{key.replace('_', ' ')} {param_text(value)}")
    fixed = [text for key, text in settings.items() if f"finetune.{key}" not in varied]
    budget = _budget(tune.budget)
    if any(f"finetune.budget.{unit}" in varied for unit in UNITS):
        budget = "a searched budget" if record.design is None else "the budget of its arm"
    how = f" ({', '.join(fixed)})" if fixed else ""
    return f"{budget}{how}"


def training_images(record: StudyRecord) -> str:
    """The images that runs are finetuned on."""
    dataset = record.study.dataset
    said = "the training images without the validation split"
    if "dataset.train_fraction" in varied_keys(record):
        said = f"a share of each class of {said}, which varies"
    elif dataset.train_fraction < 1:
        said = f"{100 * dataset.train_fraction:g} % of each class of {said}"
    if dataset.unlabeled is not None:
        said += f"; where no term needs a label, on images of {dataset.unlabeled} instead"
    return said


def varied_keys(record: StudyRecord) -> set[str]:
    """The keys that the search or an arm varies."""
    return {*written_domains(record.study.space), *chain(*_arm_values(record))}


def varied_words(study: Study, section: str) -> str:
    """Which keys of a section the search varies."""
    keys = [key for key in written_domains(study.space) if key.startswith(f"{section}.")]
    return f" ({', '.join(keys)} searched)" if keys else ""


def _budget(budget: BudgetSettings) -> str:
    """ "24,000 images through the network", "4 epochs"."""
    if budget.images is not None:
        return f"{budget.images:,} images through the network"
    if budget.flops is not None:
        return f"{budget.flops:.3g} floating point operations"
    if budget.seconds is not None:
        return f"{budget.seconds:g} seconds"
    return f"{budget.in_epochs} epochs"
