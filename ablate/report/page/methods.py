"""A methods section for a paper, from a study's settings: `methods.txt.j2` has the words,
`methods.yaml` the references and how terms, samplers and augmentations are named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from typing import Any

import yaml

from ablate.ablation.cell import Design
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import StudyFacts
from ablate.files.shown import shown_if
from ablate.finetune.loss import in_order
from ablate.ledger.record import NOT_FINETUNED, StudyRecord
from ablate.report.numbers import metric_words, param_text, reference_text
from ablate.search.asha import judged_at_rungs
from ablate.space.space import AUTO_ROWS, FITTED, STARTUP, sampler_of
from ablate.study.keys import candidates, written_domains

_BENCHMARK = ("cifar10c", "cifar10c_extra", "imagenetc", "all")
_BUDGETS = {
    "epochs": "{} epochs",
    "images": "{:,} images through the network",
    "flops": "{:.3g} floating point operations",
    "seconds": "{:g} seconds",
}
_TOLD_APART = ("budget", "seed", "interpolation")
"""Keys of `finetune` that other sentences tell."""
_FOLDER = files(__package__)
_SPACED = re.compile(r" ([,.;)\]])")
_END = "\f"
"""Of a paragraph."""


@dataclass(frozen=True)
class Methods:
    """The methods, in the style of a paper.

    Attributes:
        paragraphs: with citations as [1], in the order of `references`.
        references: one line each.
    """

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]


def methods(source: StudySource, info: StudyFacts) -> Methods:
    """The paragraphs of a study, from its settings only."""
    from jinja2 import Environment

    record, confirmation, cited = source.record, source.confirmation, dict[str, int]()
    texts = yaml.safe_load((_FOLDER / "methods.yaml").read_text("utf-8"))
    arms = source.ablation.arms if source.ablation is not None else ()
    template = Environment().from_string((_FOLDER / "methods.txt.j2").read_text("utf-8"))
    text = template.render(
        **_settings(record, texts),
        record=record,
        study=record.study,
        info=info,
        texts=texts,
        ablation=source.ablation,
        trained=[len(arm.cells) for arm in arms if not arm.is_one_network],
        arms=_arms(record),
        test=None if confirmation is None else confirmation.test,
        points=confirmation is not None and confirmation.points,
        several_objectives=confirmation is not None and len(confirmation.objectives) > 1,
        soups=confirmation is not None and any(arm.members for arm in confirmation.test.arms),
        end=_END,
        words=metric_words,
        cite=lambda key: f" [{cited.setdefault(key, len(cited) + 1)}]",
    )
    paragraphs = (_SPACED.sub(r"\1", " ".join(block.split())) for block in text.split(_END))
    return Methods(
        tuple(filter(None, paragraphs)), tuple(texts["references"][key] for key in cited)
    )


def _settings(record: StudyRecord, texts: Mapping[str, Any]) -> dict[str, Any]:
    """What the template says of a study's settings."""
    study, suite = record.study, record.study.robustness.suite
    points = 100 * study.answer.clean_margin
    named = suite if isinstance(suite, str) else ", ".join(suite)
    sets = _used_terms(record)
    used = [term for term in texts["terms"] if any(term in one.split("+") for one in sets)]
    metrics = [one.metric for one in study.objectives]
    sampler, pruner, reference = study.search.sampler, study.search.pruner, record.reference_point
    compared = pruner.compared(study.objectives) if pruner is not None else ()
    ends = [sampler_of(sampler, at, record.dimensions) for at in (0, record.rows_at_end - 1)]
    rungs = sorted({rung.epoch for row in record.rows for rung in row.rungs})
    drivers = {drive.pid for drive in record.drives}
    workers = {attempt.pid for row in record.rows for attempt in row.attempts if attempt.pid}
    keys = [key for key in written_domains(study.space) if key.startswith("augment.")]
    return {
        "training": _training(record),
        "varied": varied_keys(record),
        "terms": [texts["terms"][one] for one in used],
        "used": used,
        "sets": len(sets),
        "copies_of": _copies_of(record),
        "searched": ", ".join(keys),
        "suite": named,
        "is_benchmark": not isinstance(suite, str) or named in _BENCHMARK,
        "alphas": ", ".join(f"{alpha:g}" for alpha in study.finetune.curve_alphas),
        "margin": f"{points:g} {'point' if points == 1 else 'points'} of clean accuracy to the "
        "baseline",
        "samplers": [texts["samplers"].get(one, (one,)) for one in dict.fromkeys(ends)],
        "auto_rows": AUTO_ROWS,
        "is_fitted": ends[0] in FITTED,
        "startup": STARTUP,
        # A trial that ran in its driver's process was run by no cluster.
        "is_on_ray": bool(workers - drivers),
        "compared": compared,
        "judged": dict.fromkeys(one.metric for one in judged_at_rungs(record.bounds, compared)),
        "rungs": rungs,
        "reference_point": reference and reference_text(metrics, reference),
    }


def _arms(record: StudyRecord) -> str:
    """Each arm by what its cells override, the one baseline, and the fixed split."""
    study = record.study
    if record.design is None or study.ablation is None:
        return ""
    design, arms = Design.from_json(record.design), []
    for arm in design.arms:
        if arm.name in NOT_FINETUNED and study.trainable is None:
            continue
        values = next((cell.values for cell in design.cells if cell.name == arm.cells[0]), {})
        said = [f"{key} {param_text(value)}" for key, value in values.items()]
        if study.trainable is None:
            terms = values.get("loss.terms", study.loss.terms)
            said = [str(terms), *(one for one in said if not one.startswith("loss.terms "))]
        said += [f"mean of {len(arm.cells)} models"] if len(arm.cells) > 1 else []
        arms.append(f"{arm.name} ({', '.join(said) or 'as the study'})")
    if study.trainable is not None:
        return f"Arms: {'; '.join(arms)}."
    which = f"seed {study.baseline.seed}"
    if study.baseline.checkpoint:
        which = f"the checkpoint {study.baseline.checkpoint}"
    begun = f"All runs start from one baseline ({which})"
    if study.ablation.baseline_seeds == "each":
        begun = "Each seed has its own baseline"
    split = study.dataset.validation
    size = f"{split.fraction:.3g} of the training images"
    return (
        f"Arms, at learning rate {study.finetune.learning_rate:g} unless another is given: "
        f"{'; '.join(arms)}. {begun}, and are scored on one validation split, "
        f"{f'the folder {split.path}' if split.path else size} (seed {split.seed})."
    )


# -- What runs use


def varied_keys(record: StudyRecord) -> set[str]:
    """The keys that the search or an arm varies."""
    return {*written_domains(record.study.space), *chain(*_arm_values(record))}


def _arm_values(record: StudyRecord) -> list[Mapping[str, Any]]:
    """What each finetuned cell of an ablation overrides; empty for a search."""
    if record.design is None:
        return []
    design = Design.from_json(record.design)
    arms = [arm for arm in design.arms if arm.name not in NOT_FINETUNED]
    return [design.cell(name).values for arm in arms for name in arm.cells]


def _used_terms(record: StudyRecord) -> list[str]:
    """The sets of loss terms that runs may use."""
    own = record.study.loss.terms
    written = [values.get("loss.terms", own) for values in _arm_values(record)]
    written = written or candidates(record.study.space, "loss.terms", [own])
    return [*dict.fromkeys(map(in_order, written))]


def _copies_of(record: StudyRecord) -> str:
    """Which distortions copies are of, unless an arm names others; empty for AugMix."""
    augment, space = record.study.augment, record.study.space
    if augment.method == "augmix":
        return ""
    keys = {"augment.types", "augment.families"}
    own = shown_if(
        any(keys & {*values} for values in _arm_values(record)), " unless its arm has others"
    )
    if types := [*dict.fromkeys(candidates(space, "augment.types", augment.types or ()))]:
        return f", of the types {param_text(types)}{own}"
    families = dict.fromkeys(candidates(space, "augment.families", augment.families))
    return f", from the families {param_text([*families])}{own}"


def _training(record: StudyRecord) -> str:
    """Budget and settings of a finetuning; what the search or an arm varies has no value."""
    tune, varied = record.study.finetune, varied_keys(record)
    settings = {
        "optimizer": tune.optimizer.upper(),
        "batch_size": f"batches of {tune.batch_size}",
        "learning_rate": f"rate {tune.learning_rate:g}",
        "schedule": f"{tune.schedule} schedule",
    }
    for key, value in tune.model_dump(mode="json", exclude_defaults=True).items():
        if key not in _TOLD_APART:
            settings.setdefault(key, f"{key.replace('_', ' ')} {param_text(value)}")
    fixed = [text for key, text in settings.items() if f"finetune.{key}" not in varied]
    (said,) = (
        text.format(value)
        for unit, text in _BUDGETS.items()
        for value in [getattr(tune.budget, "in_epochs" if unit == "epochs" else unit)]
        if value is not None
    )
    if any(f"finetune.budget.{unit}" in varied for unit in _BUDGETS):
        said = "a searched budget" if record.design is None else "the budget of its arm"
    return said + shown_if(fixed, f" ({', '.join(fixed)})")


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
