"""A methods paragraph for a paper, generated from the study's settings, with its references."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from ablate.ablation.cell import Arm, Design
from ablate.ablation.confirm import ConfirmInfo
from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import StudyFacts
from ablate.ledger.record import NOT_FINETUNED, StudyRecord
from ablate.report.numbers import (
    metric_words,
    param_text,
    reference_text,
)
from ablate.report.page.settings_words import (
    drawn_from,
    training_words,
    used_terms,
    varied_keys,
    varied_words,
)
from ablate.search.asha import judged_at_rungs
from ablate.space.space import AUTO_ROWS, FITTED, STARTUP, sampler_of
from ablate.study.metrics import larger_is_better
from ablate.study.settings import Study

_BENCHMARK = ("cifar10c", "cifar10c_extra", "imagenetc", "all")


@dataclass(frozen=True)
class Methods:
    """The methods, in the style of a paper.

    Attributes:
        paragraphs: with citations as [1], in the order of `references`.
        references: one line each.
    """

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]


class _Citations:
    """Numbers references in the order in which they are first cited.

    Attributes:
        texts: `methods.yaml`: references, and how terms, samplers and augmentations are named.
    """

    def __init__(self) -> None:
        self.texts = yaml.safe_load((files(__package__) / "methods.yaml").read_text("utf-8"))
        self._keys: list[str] = []

    def __call__(self, key: str) -> str:
        if key not in self._keys:
            self._keys.append(key)
        return f" [{self._keys.index(key) + 1}]"

    def methods(self, *paragraphs: str) -> Methods:
        return Methods(paragraphs, tuple(self.texts["references"][key] for key in self._keys))


def methods(source: StudySource, info: StudyFacts) -> Methods:
    """The paragraphs of a study, from its settings only."""
    record, cite = source.record, _Citations()
    study = record.study
    if record.foreign:
        return cite.methods(_foreign(record, cite))
    paragraphs = []
    if study.trainable is None:
        paragraphs += [_finetuning(record, cite), _scoring(study, info, cite)]
    else:
        paragraphs.append(f"Each run called the function {study.trainable}.")
    if source.ablation is None:
        paragraphs.append(_search(record, cite))
    else:
        paragraphs += [_ablation(source.ablation, cite), *_arms(record)]
    if source.confirmation is not None:
        paragraphs.append(_confirmation(source.confirmation, cite))
    return cite.methods(*paragraphs)


def _finetuning(record: StudyRecord, cite: _Citations) -> str:
    study = record.study
    data, model = study.dataset, study.model
    if study.baseline.checkpoint:
        begun = f"A pretrained {model.name} was finetuned on {data.name}"
    else:
        epochs = f" for {study.baseline.epochs} epochs"
        epochs = "" if "baseline.epochs" in varied_keys(record) else epochs
        begun = (
            f"A {model.name} was trained on {data.name}{epochs} (the baseline) and finetuned from "
            "there"
        )
    return f"{begun} for {training_words(record)}. {_objective(record, cite)}"


def _objective(record: StudyRecord, cite: _Citations) -> str:
    """The terms that runs use, and how copies are made where there are any."""
    study, written = record.study, used_terms(record)
    used = {term for terms in written for term in terms.split("+")}
    said = [
        f"{words}{''.join(map(cite, keys))}"
        for term, (words, *keys) in cite.texts["terms"].items()
        if term in used
    ]
    if len(said) == 1:
        text = f"The objective is {said[0]}"
    else:
        text = f"The objective is a sum of terms: {', '.join(said[:-1])} and {said[-1]}"
    text += "; each run uses the terms given for it." if len(written) > 1 else "."
    if "fma" in used:
        text += (
            " Distance, anchor and layers of the FMA loss are our interpretation, because only "
            "the abstract of the method was available."
        )
    if used == {"clean"}:
        return text
    method = study.augment.method
    made = cite.texts["augment_methods"][method]
    cited = cite("augmix") if method == "augmix" else ""
    varied = varied_words(study, "augment")
    return f"{text} Augmented copies: {made}{cited}{drawn_from(record)}{varied}."


def _scoring(study: Study, info: StudyFacts, cite: _Citations) -> str:
    suite = study.robustness.suite
    named = suite if isinstance(suite, str) else ", ".join(suite)
    severities = ", ".join(map(str, study.robustness.severities))
    images = "" if info.n_images is None else f" of {info.n_images} images"
    corrupted = ""
    if info.n_corrupted is not None and info.n_corrupted != info.n_images:
        corrupted = f" (robust accuracy on {info.n_corrupted} of them)"
    benchmark = cite("hendrycks") if named in _BENCHMARK or not isinstance(suite, str) else ""
    over = info.mean_over or "families"
    return (
        f"Robust accuracy is the mean over {over} of the accuracy under the distortions of the "
        f"suite {named}{benchmark} at severities {severities}, on a {info.split} split{images}"
        f"{corrupted}.{_curve(study, cite)}"
    )


def _foreign(record: StudyRecord, cite: _Citations) -> str:
    return (
        f"Another tool searched with Optuna{cite('optuna')} in {_so_far(record)} for "
        f"{_wanted(record.study)}; its sampler, its seeds and how it ran its trials are "
        "unknown."
    )


def _wanted(study: Study) -> str:
    wanted = " and ".join(
        f"{metric_words(one.metric)}{' (less is better)' if one.direction == 'minimize' else ''}"
        for one in study.objectives
    )
    jointly = " jointly" * (len(study.objectives) > 1)
    return f"{wanted}{jointly}{_constrained(study)}"


def _constrained(study: Study) -> str:
    """ ", of trials with clean accuracy of at least baseline - 0.01"; empty without constraints."""
    sides = [
        f"{metric_words(one.metric)} of {word} {limit if isinstance(limit, str) else f'{limit:g}'}"
        for one in study.constraints
        for word, limit in (("at least", one.min), ("at most", one.max))
        if limit is not None
    ]
    return f", of trials with {' and '.join(sides)}" if sides else ""


def _pruned(record: StudyRecord, cite: _Citations) -> str:
    """How trials were stopped early; empty if none could be."""
    study, pruner = record.study, record.study.search.pruner
    rungs = sorted({rung.epoch for row in record.rows for rung in row.rungs})
    if pruner is None and not rungs:
        return ""
    stopped = f"were stopped early by asynchronous successive halving{cite('asha')}"
    if pruner is None:
        epochs = " or ".join(map(str, rungs))
        return f" Trials {stopped} at epoch {epochs}, by a pruner that was removed later."
    metrics = pruner.compared(study.objectives)
    objectives = {one.metric for one in study.objectives}
    ways = {
        metric: "larger" if larger_is_better(metric, study.objectives) else "less"
        for metric in metrics
    }
    compared = [
        metric_words(metric) + ("" if metric in objectives else f" ({way} is better)")
        for metric, way in ways.items()
    ]
    behind = f"fell behind in {' and '.join(compared)}"
    judged = dict.fromkeys(one.metric for one in judged_at_rungs(record.bounds, metrics))
    if judged:
        constraints = " and ".join(map(metric_words, judged))
        behind = f"violated the constraints on {constraints} more than others, or that {behind},"
    rank = f" by Pareto rank{cite('moasha')}" if len(metrics) > 1 else ""
    images = f", scored on {pruner.images} validation images" if pruner.images else ""
    others = " and ".join(str(epoch) for epoch in rungs if not pruner.is_rung(epoch))
    earlier = f"; with earlier settings also at epoch {others}" if others else ""
    return (
        f" Trials that {behind} {stopped}{rank} (first rung at epoch {pruner.min_epochs}, "
        f"reduction factor {pruner.reduction_factor}{images}{earlier}); only trials at the full "
        "budget are results."
    )


def _search(record: StudyRecord, cite: _Citations) -> str:
    study, search = record.study, record.study.search
    fitted = sampler_of(search.sampler, 0, record.dimensions) in FITTED
    start = f"; random points until {STARTUP} trials had ended" if fitted else ""
    text = (
        f"Hyperparameters were searched with Optuna{cite('optuna')} by {_samplers(record, cite)} "
        f"(seed {search.seed}{start}) in {_so_far(record)} for "
        f"{_wanted(study)}{_run_by(record, cite)}."
    )
    if "finetune.seed" not in varied_keys(record):
        text += f" All trials share the training seed {study.finetune.seed}."
    text += _pruned(record, cite)
    if record.reference_point is not None:
        point = reference_text([one.metric for one in study.objectives], record.reference_point)
        text += f" Hypervolumes{cite('hypervolume')} refer to the point {point}."
    return text


def _samplers(record: StudyRecord, cite: _Citations) -> str:
    sampler, named = record.study.search.sampler, []
    ends = (0, record.rows_at_end - 1)
    used = [sampler_of(sampler, number, record.dimensions) for number in ends]
    for name in dict.fromkeys(used):
        words, *keys = cite.texts["samplers"].get(name, (name,))
        named.append(f"{words}{''.join(map(cite, keys))}")
    return f" for the first {AUTO_ROWS} trials and then ".join(named)


def _so_far(record: StudyRecord) -> str:
    if record.is_over and record.spent is not None:
        return f"{record.ended} of {record.trials} trials ({record.spent})"
    return f"{record.trials} trials{'' if record.is_over else f' ({record.ended} ended so far)'}"


def _run_by(record: StudyRecord, cite: _Citations) -> str:
    """How trials were run; a trial that ran in its driver's process was run by no cluster."""
    drivers = {drive.pid for drive in record.drives}
    workers = {attempt.pid for row in record.rows for attempt in row.attempts if attempt.pid}
    if not workers or workers <= drivers:
        return ""
    return f"; trials ran on Ray Tune{cite('ray')}"


def _confirmation(info: ConfirmInfo, cite: _Citations) -> str:
    soup = ""
    if any(arm.members for arm in info.test.arms):
        soup = f" The soup has the mean of their weights at each seed{cite('soup')}."
    if not info.points:
        return (
            f"All configurations were retrained with {info.test.seeds} new seeds and scored on the "
            "test images, which had not been used for any selection; the contrasts are the same."
            + _cautions(info.test)
        )
    which = "The trials of the front" if len(info.objectives) > 1 else "The best trials"
    return (
        f"{which} were retrained with {info.test.seeds} new seeds, paired with a "
        "plain finetune and combined data augmentation at the same budget, and scored on the "
        "test images, which had not been used for any selection. Intervals of differences between "
        "networks, and between the splits, are 95 % t intervals over seeds and images, crossed"
        f"{_together(info, cite)}; those of selection luck are over seeds, on these images."
        f"{soup}{_cautions(info.test)}{_conditional(info.test)}"
    )


def _cautions(info: AblationInfo) -> str:
    """What limits the claims, after a space."""
    text = f" All effects are {info.tuned}." * bool(info.tuned)
    if info.looks:
        text += (
            f" Seeds were added {info.looks} time{'s' * (info.looks > 1)} after results were "
            "there, which intervals and p values do not allow for."
        )
    return text


def _together(info: ConfirmInfo, cite: _Citations) -> str:
    """How several confirmed points are compared with a reference."""
    count = len(info.test.primary)
    if count < 2:
        return ""
    return (
        f", those of the points over a reference simultaneous for {count} comparisons "
        f"(Bonferroni; p values to the plain finetune by Holm{cite('holm')})"
    )


def _ablation(info: AblationInfo, cite: _Citations) -> str:
    arms = [arm for arm in info.arms if not arm.is_one_network]
    configurations = sum(len(arm.cells) for arm in arms)
    several = any(len(arm.cells) > 1 for arm in arms)
    text = (
        f"The ablation (design: {info.design.replace('_', ' ')}) ran {configurations} "
        f"configurations in {len(arms)} arms over {info.seeds} seeds"
        f"{'; an arm with several is their mean' if several else ''}. Runs with one seed are "
        "paired: they share data order, distortion draws and fresh parameters, and differences "
        f"are taken within pairs. {_model(info)}"
    )
    count = len(info.primary)
    if count:
        declared = "1 contrast was" if count == 1 else f"{count} contrasts were"
        text += f" {declared} declared before the runs; all others are exploratory."
    text += _cautions(info)
    if count > 1:
        text += (
            f" Their p values are adjusted by Holm{cite('holm')}, and their intervals are "
            "simultaneous (Bonferroni)."
        )
    return text + _conditional(info)


def _arms(record: StudyRecord) -> list[str]:
    """Each arm by what its cells override, the one baseline, and the fixed split."""
    study = record.study
    if record.design is None or study.ablation is None:
        return []
    design = Design.from_json(record.design)
    if study.trainable is not None:
        own = (f"{arm.name} ({_own(design, arm) or 'as the study'})" for arm in design.arms)
        return [f"Arms: {'; '.join(own)}."]
    rate = f"learning rate {study.finetune.learning_rate:g}"
    arms = []
    for arm in design.arms:
        if arm.name in NOT_FINETUNED:
            continue
        values = dict(design.cell(arm.cells[0]).values)
        terms = str(values.pop("loss.terms", study.loss.terms)).split("+")
        said = ["+".join(terms)]
        said += [f"{one} weight {_weight(study, values, one)}" for one in terms if one != "clean"]
        if terms != ["clean"]:
            said.append(_augmented(study, values, len(arm.cells)))
        said += [f"{key} {param_text(value)}" for key, value in values.items()]
        arms.append(f"{arm.name} ({', '.join(said)})")
    if study.ablation.baseline_seeds == "each":
        begun = "each seed has its own baseline"
    else:
        begun = "all runs start from one baseline" + (
            f", the checkpoint {study.baseline.checkpoint}"
            if study.baseline.checkpoint
            else f" (seed {study.baseline.seed})"
        )
    split = study.dataset.validation
    share = f"{split.fraction:.3g} of the training images"
    size = f"the folder {split.path}" if split.path else share
    return [
        f"Arms, at {rate} unless another is given: {'; '.join(arms)}. "
        f"{begun[:1].upper()}{begun[1:]}, and are scored on one validation split, {size} "
        f"(seed {split.seed})."
    ]


def _own(design: Design, arm: Arm) -> str:
    return ", ".join(
        f"{key} {param_text(value)}" for key, value in design.cell(arm.cells[0]).values.items()
    )


def _weight(study: Study, values: dict[str, Any], term: str) -> str:
    default = getattr(getattr(study.loss, term, None), "weight", 1)
    return f"{values.pop(f'loss.{term}.weight', default):g}"


def _augmented(study: Study, values: dict[str, Any], models: int) -> str:
    """Which distortion types its copies are of."""
    types = values.pop("augment.types", study.augment.types)
    families = values.pop("augment.families", study.augment.families)
    if models > 1:
        return f"{models} models of one type each"
    if types:
        return f"types {param_text(types)}"
    return f"types of {param_text(families)}"


def _model(info: AblationInfo) -> str:
    """What intervals and p values come from."""
    if info.n_images is None:
        return (
            "Intervals are 95 % t intervals over seeds; p values are two-sided, of the same test."
        )
    return (
        "Intervals are 95 % t intervals over seeds and images, fully crossed (mean squares of a "
        "two-way layout, Satterthwaite's degrees of freedom); p values are two-sided, from the "
        "same model."
    )


def _conditional(info: AblationInfo) -> str:
    """What all intervals take as given."""
    given = next((mark for mark in info.marks if mark.startswith("conditional ")), "")
    return f" All of it is {given.partition(';')[0]}." if given else ""


def _curve(study: Study, cite: _Citations) -> str:
    """How networks between baseline and finetuned weights were scored and chosen, after a space;
    empty where they were not."""
    if not study.finetune.curve_alphas:
        return ""
    alphas = ", ".join(f"{alpha:g}" for alpha in study.finetune.curve_alphas)
    points = 100 * study.answer.clean_margin
    margin = f"{points:g} point{'s' * (points != 1)} of clean accuracy to the baseline"
    otherwise = (
        " Where none of them does, the one that loses least is taken; where clean accuracy between "
        "the two falls below both by more than that, the finetuned network."
    )
    text = (
        " Networks between the baseline and the finetuned weights, batch-norm statistics included, "
        f"were scored at the weights {alphas} of the latter{cite('wortsman')}. "
    )
    keeping = ", among those that keep the constraints (or violate them least)"
    keeping = keeping if study.constraints else ""
    if study.ablation is None:
        return text + (
            f"A trial is represented by the most robust of them{keeping} that loses at most "
            f"{margin}, chosen on the same images that it is scored on.{otherwise}"
        )
    return text + (
        "Results are of weight 1; those called interpolated are at a weight chosen, by a loss of "
        f"at most {margin}, on the other seeds and the other half of the images.{otherwise}"
    )
