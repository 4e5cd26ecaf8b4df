"""What the runs of a study use, in words, from its settings: loss terms, copies, training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.ablation.cell import Design
from ablate.analysis.features import written_domains
from ablate.ledger.record import NOT_FINETUNED, StudyRecord
from ablate.report.numbers import param_text
from ablate.study.checks import candidates
from ablate.study.sections.training import UNITS
from ablate.study.settings import BudgetSettings, Study


def used_terms(record: StudyRecord) -> list[str]:
    """The sets of loss terms that runs may use, as written."""
    own = record.study.loss.terms
    written = [values.get("loss.terms", own) for values in _arm_values(record)]
    return [*dict.fromkeys(written or candidates(record.study.space, "loss.terms", [own]))]


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


def training_words(study: Study) -> str:
    """Budget and settings of a finetuning; what is searched has no value."""
    tune = study.finetune
    settings = {
        "optimizer": tune.optimizer.upper(),
        "batch_size": f"batches of {tune.batch_size}",
        "learning_rate": f"rate {tune.learning_rate:g}",
        "schedule": f"{tune.schedule} schedule",
    }
    fixed = [text for key, text in settings.items() if not is_searched(study, f"finetune.{key}")]
    if any(is_searched(study, f"finetune.budget.{unit}") for unit in UNITS):
        budget = "a searched budget"
    else:
        budget = _budget(tune.budget)
    how = f" ({', '.join(fixed)})" if fixed else ""
    return f"{budget}{how}"


def is_searched(study: Study, key: str) -> bool:
    """Whether the search varies a key."""
    return key in dict(written_domains(study.space))


def varied_words(study: Study, section: str) -> str:
    """Which keys of a section the search varies."""
    keys = [key for key, _ in written_domains(study.space) if key.startswith(f"{section}.")]
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
