"""Which loss terms the runs of a study use, and what their copies are of, from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.ablation.cell import Design
from ablate.ledger.record import NOT_FINETUNED, StudyRecord
from ablate.report.numbers import param_text
from ablate.study.checks import candidates


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
