"""Rules of a study that read more than one of its keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import Document, Path, Rules, show
from ablate.study.interpolation import CURVE_METRICS
from ablate.study.keys import WrittenParameter, written_domains, written_parameters
from ablate.study.metrics import (
    constraint_limits,
    distinct_objectives,
    evaluated_severities,
    reserved_names,
)
from ablate.study.scores import COSTS
from ablate.study.sections.training import UNITS
from ablate.study.seeds import seed_rules
from ablate.study.settings import AnswerSettings, Study

_BUDGET = {f"finetune.budget.{unit}" for unit in UNITS}
_SEEDS = {"finetune.seed", "baseline.seed"}


def check_study(document: Document, study: Study, refused: set[Path]) -> None:
    """Report inconsistent settings of a study.

    Args:
        document: the study file.
        study: the same, checked key by key, with defaults for refused keys.
        refused: paths that were refused before; rules that read one of them are skipped.
    """
    if "~" in study.name and ("name",) not in refused:
        rule = (
            f"must have no ~, which names the parts of a study (NAME~confirm), got {study.name!r}"
        )
        document.refuse(("name",), f"{rule}. Write another name.")
    if study.trainable is not None:
        check_trainable(document)
    interpolation = study.trainable is None and document.get(("finetune", "interpolation"))
    if isinstance(interpolation, dict) and {"alphas", "alpha"} <= interpolation.keys():
        rule = "takes alphas, the networks of a curve, or alpha, one of them alone, got both"
        document.refuse(("finetune", "interpolation"), f"{rule}. Remove one.")
    for path, text in study_rules(study, refused):
        document.refuse(path, text)


def study_rules(study: Study, refused: Collection[Path] = ()) -> Rules:
    """Inconsistent settings of a study: the path, and `rule, got X. Fix.`

    Args:
        refused: rules that read one of these paths are skipped.
    """
    for keys, rule in _RULES:
        read = [tuple(key.split(".")) for key in keys]
        if any(path[: len(key)] == key[: len(path)] for key in read for path in refused):
            continue
        yield from rule(study)


def rules_of(key: str, study: Study) -> Rules:
    """Rules about this key alone: the path, and `rule, got X. Fix.`"""
    path = tuple(key.split("."))
    for keys, rule in _RULES:
        if len(keys) == 1 and f"{key}.".startswith(f"{keys[0]}."):
            yield from ((at, text) for at, text in rule(study) if at[: len(path)] == path)


def study_notes(study: Study) -> Iterator[str]:
    """What to say of a study that is not wrong, but may not be meant so."""
    points, trials = len(study.search.enqueue), study.search.trials
    if study.ablation is None and points > trials:
        rest = f"the last {points - trials} will not be run"
        yield f"search.enqueue has {points} points and search.trials is {trials}: {rest}"
    pruner, known = study.search.pruner, {*COSTS, *(one.metric for one in study.objectives)}
    compared = () if pruner is None else pruner.compared(study.objectives)
    others = [metric for metric in compared if metric not in known]
    if study.trainable is not None and others:
        which = "which are no objectives" if len(others) > 1 else "which is no objective"
        yield (
            f"search.pruner compares {' and '.join(others)}, {which}: larger is taken for better. "
            "Report the negative of a loss, or make it an objective with direction: minimize"
        )


def _pruner(study: Study) -> Rules:
    pruner, budget = study.search.pruner, study.finetune.budget
    if pruner is None:
        return
    found = written_parameters(study.space) if study.trainable is None else ()
    space = {one.key: one for one in found}
    units = (one for one in UNITS[1:] if getattr(budget, one) or f"finetune.budget.{one}" in space)
    unit = next(units, None)
    if unit is not None:
        rule = f"compares trials after whole epochs, got finetune.budget in {unit}"
        yield ("search", "pruner"), f"{rule}. Remove it, or write budget: {{epochs: 4}}."
    epochs = _most(space.get("finetune.budget.epochs"), budget.in_epochs)
    if unit is None and epochs is not None and pruner.min_epochs >= epochs:
        rule = f"must be below finetune.budget.epochs ({epochs}), got {pruner.min_epochs}"
        fix = "Lower it, or raise" if epochs > 1 else "Raise"
        fix += " the budget: after the last epoch there is nothing left to stop."
        yield ("search", "pruner", "min_epochs"), f"{rule}. {fix}"
    for i, metric in enumerate(pruner.metrics):
        if metric in pruner.metrics[:i]:
            rule = f"given twice, got {show(metric)}. Remove one."
            yield ("search", "pruner", "metrics", i), rule
    if study.trainable is not None and pruner.images is not None:
        rule = f"has no effect with trainable, got {pruner.images}. Remove it"
        yield ("search", "pruner", "images"), f"{rule}: a trainable scores itself."


def _most(searched: WrittenParameter | None, fixed: int | None) -> int | None:
    """The largest whole number that a key may have, None if there is none.

    Args:
        fixed: its value in the study, which a trial has if the key is not searched, or only under a
            condition.
    """
    domain = {} if searched is None or not isinstance(searched.entry, Mapping) else searched.entry
    values = domain.get("int") or domain.get("choice")
    found = [one for one in values if isinstance(one, int)] if isinstance(values, list) else []
    if fixed is not None and (searched is None or searched.when):
        found.append(fixed)
    return max(found, default=None)


def _budget(study: Study) -> Rules:
    if study.finetune.budget.epochs == 0 and study.ablation is None:
        yield ("finetune", "budget", "epochs"), "must be at least 1, got 0. Raise it."


def _tuned(study: Study) -> Rules:
    if study.trainable is None and study.ablation is not None and study.ablation.tune is not None:
        for key in sorted((_BUDGET | _SEEDS) & searched(study.space)):
            why = "arms are compared at equal compute" if key in _BUDGET else "seeds are paired"
            yield ("space", key), f"{why}, got {key} in the space of ablation.tune. Remove it."


def _loop_keys(study: Study) -> Rules:
    read = _BUDGET | {"finetune.seed"}
    for key in sorted(read & searched(study.space)) if study.trainable is not None else ():
        rule = f"is set by the study with trainable, got {key} in the space"
        name = key.rpartition(".")[2]
        yield ("space", key), f"{rule}. Name it otherwise, such as loop.{name}."


def _reference_point(study: Study) -> Rules:
    point, count = study.search.reference_point, len(study.objectives)
    if point is not None and count == 1:
        rule = f"needs two objectives, got one, {study.objectives[0].metric}"
        yield ("search", "reference_point"), f"{rule}. Remove it: one objective has no hypervolume."
    elif point is not None and len(point) != count:
        rule = f"needs one value per objective ({count})"
        fix = "Give each objective its value, in their order."
        yield ("search", "reference_point"), f"{rule}, got {show(list(point))}. {fix}"


def _mix(study: Study) -> Rules:
    augment, space = study.augment, searched(study.space)
    key = "augment.families" if augment.types is None else "augment.types"
    if augment.mix is not None and not space & {"augment.families", "augment.types"}:
        yield from _ratios(("augment", "mix"), augment.mix, key, augment.types or augment.families)


def _gpus(study: Study) -> Rules:
    gpus = study.run.gpus_per_trial
    if study.trainable is None and gpus != "auto" and gpus > 1:
        rule = f"must be at most 1, because a finetuning trains on one GPU, got {gpus:g}"
        yield ("run", "gpus_per_trial"), f"{rule}. Write 1; other trials use the other GPUs."


def _graphs(study: Study) -> Rules:
    if study.run.compile != "reduce-overhead":
        return
    for section in ("baseline", "finetune"):
        key, parts = f"{section}.accumulation_steps", getattr(study, section).accumulation_steps
        if parts > 1 or key in searched(study.space):
            rule = f"must not be reduce-overhead with {key}, got both: the parts of a batch would"
            fix = "Write compile: default, or accumulation_steps: 1."
            yield ("run", "compile"), f"{rule} overwrite each other's gradients. {fix}"


def _copies(study: Study) -> Rules:
    augment = study.augment
    is_searched = {"augment.method", "augment.copies"} & searched(study.space)
    if augment.method == "all" and augment.copies > 1 and not is_searched:
        rule = f"must be 1 with method all, which makes a copy per type, got {augment.copies}"
        yield ("augment", "copies"), f"{rule}. Remove it."


def _warmup(study: Study) -> Rules:
    for section in ("baseline", "finetune"):
        settings = getattr(study, section)
        keys = {f"{section}.schedule", f"{section}.warmup_fraction"} & searched(study.space)
        if settings.schedule == "one_cycle" and settings.warmup_fraction and not keys:
            rule = f"one_cycle has its own warm-up, got {settings.warmup_fraction:g}"
            yield (section, "warmup_fraction"), f"{rule}. Remove it."


def _interpolation(study: Study) -> Rules:
    path = ("finetune", "interpolation")
    metrics = [objective.metric for objective in study.objectives]
    _, robust = CURVE_METRICS
    is_asked = study.finetune.interpolation is not None
    if study.trainable is not None:
        return
    if is_asked and robust not in metrics:
        rule = f"chooses the most robust network, so {robust} must be an objective, got"
        yield path, f"{rule} {show(metrics)}. Add it, or remove this."
    margin, accuracies = study.answer.clean_margin, {*metrics} - {*COSTS}
    has_clean = any(name.endswith("_clean_accuracy") for name in accuracies)
    is_read = is_asked or (study.ablation is None and has_clean and len(accuracies) > 1)
    if not is_read and margin != AnswerSettings().clean_margin:
        rule = "has no effect without finetune.interpolation, or a search for clean and robust"
        yield ("answer", "clean_margin"), f"{rule} accuracy, got {margin:g}. Remove it."


def _crops(study: Study) -> Rules:
    dataset = study.dataset
    if dataset.crop_scale is not None and dataset.loading != "streamed":
        rule = f"needs images that are decoded in each epoch, got {dataset.crop_scale:g}"
        yield ("dataset", "crop_scale"), f"{rule} with resident ones. Write loading: streamed."


def _labels(study: Study) -> Rules:
    labelled = [term for term in study.loss.term_names if term in ("clean", "da")]
    if study.dataset.unlabeled and labelled and "loss.terms" not in searched(study.space):
        rule = "must not contain terms that need labels, because dataset.unlabeled has none, got "
        yield ("loss", "terms"), f"{rule}{show(study.loss.terms)}. Leave out {labelled[0]}."


def _probe(study: Study) -> Rules:
    key, space = "finetune.probe_fraction", searched(study.space)
    fraction = study.finetune.probe_fraction
    if {key, "loss.terms"} <= space or not (fraction or key in space):
        return
    if "fma" in candidates(study.space, "loss.terms", [study.loss.terms]):
        rule = "needs a term that reaches the last layer, and fma alone does not, got"
        path = ("space", key) if key in space else tuple(key.split("."))
        got = show(study.loss.terms) if key in space else f"{fraction:g}"
        yield path, f"{rule} {got}. Remove it, or write loss.terms: clean+fma."


def _adapted(study: Study) -> Rules:
    pseudo_images, ablation = study.robustness.adapt_batch_norm, study.ablation
    if pseudo_images is not None and ablation and ablation.baseline_seeds == "each":
        rule = f"adapts the one baseline of a study, got {pseudo_images}"
        fix = "Remove it, or ablation.baseline_seeds."
        yield ("robustness", "adapt_batch_norm"), f"{rule} with one a seed. {fix}"


def _layer_weights(study: Study) -> Rules:
    weights, layers = study.loss.fma.layer_weights, study.loss.fma.layers
    if isinstance(weights, str) or "loss.fma.layers" in searched(study.space):
        return
    names = tuple(weights) if isinstance(layers, str) else layers
    yield from _ratios(("loss", "fma", "layer_weights"), weights, "loss.fma.layers", names)


def _ratios(path: Path, ratios: Mapping[str, float], key: str, names: tuple[str, ...]) -> Rules:
    for name, ratio in ratios.items():
        if name not in names and ratio > 0:
            rule = f"must be one of {key} {show(list(names))}, got {show(name)}"
            yield (*path, name), f"{rule}. {did_you_mean(name, names)}"


_DISTINCT = (
    *("robustness.severities", "robustness.suite", "augment.families", "loss.fma.layers"),
    *("augment.types", "finetune.frozen"),
)
"""Lists that name each thing once; where there is one word or nothing in its place, none."""


def _distinct(key: str, study: Study) -> Rules:
    items = attrgetter(key)(study)
    for i, item in enumerate(items if isinstance(items, tuple) else ()):
        if item in items[:i]:
            yield (*key.split("."), i), f"given twice, got {show(item)}. Remove one."


def no_batch_norm(model: str, pseudo_images: int) -> str:
    """What is wrong with `robustness.adapt_batch_norm`, as `rule, got X. Fix.`"""
    rule = f"needs a network with batch norm, got {pseudo_images} for {model}"
    return f"{rule}, which has none with statistics. Remove it."


def searched(space: Any) -> set[str]:
    """The keys in a space as written, including those in blocks."""
    return {one.key for one in written_parameters(space)}


def candidates(space: Any, key: str, fixed: Sequence[str]) -> list[str]:
    """The possible names of a key: of its choice or subset in a space, else its value.

    Args:
        space: as written, inline.
        key: whose values are names, or lists of names.
        fixed: its value in the study.
    """
    domain = written_domains(space).get(key, {})
    return list(_names_in(domain.get("subset", domain.get("choice", list(fixed)))))


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _names_in(item)


_RULES: tuple[tuple[tuple[str, ...], Callable[[Study], Rules]], ...] = (
    (("objectives",), distinct_objectives),
    (("constraints",), constraint_limits),
    (
        ("objectives", "constraints", "robustness.severities", "search.pruner"),
        evaluated_severities,
    ),
    (("objectives", "constraints", "search.pruner"), reserved_names),
    (("search.pruner", "finetune.budget"), _pruner),
    (("finetune.budget",), _budget),
    (("space", "ablation", "trainable"), _tuned),
    (("space", "trainable"), _loop_keys),
    (("finetune.seed", "baseline.seed", "ablation"), seed_rules),
    (("objectives", "search.reference_point"), _reference_point),
    *(((key,), partial(_distinct, key)) for key in _DISTINCT),
    (("augment.mix", "augment.families", "augment.types"), _mix),
    (("augment.copies", "augment.method"), _copies),
    (("run.gpus_per_trial", "trainable"), _gpus),
    (("run.compile", "baseline", "finetune", "space"), _graphs),
    (("objectives", "finetune.interpolation", "answer", "ablation"), _interpolation),
    (("dataset.crop_scale", "dataset.loading"), _crops),
    (("baseline", "finetune"), _warmup),
    (("dataset.unlabeled", "loss.terms"), _labels),
    (("finetune.probe_fraction", "loss.terms", "space"), _probe),
    (("robustness.adapt_batch_norm", "ablation"), _adapted),
    (("loss.fma.layer_weights", "loss.fma.layers"), _layer_weights),
)


# -- Rules of a study with a custom training loop -------------------


_OTHERS = ("dataset", "model", "baseline", "loss", "augment", "robustness", "answer")
_FINETUNE = ("budget", "seed")


def check_trainable(document: Document) -> None:
    """Report keys that have no effect with `trainable`, and missing ones.

    Args:
        document: of a study with a trainable.
    """
    for section in _OTHERS:
        _refuse_section(document, section)
    written = document.get(("finetune",))
    for key in written if isinstance(written, dict) else ():
        if key not in _FINETUNE:
            rule = f"has no effect with trainable, got {show(written[key])}. Remove it: a trainable"
            document.refuse(("finetune", key), f"{rule} reads budget.epochs and seed.", key=True)
    for unit in UNITS[1:]:
        amount = document.get(("finetune", "budget", unit))
        if amount is not None:
            rule = f"must be epochs with trainable, got {unit}: {show(amount)}"
            path = ("finetune", "budget", unit)
            document.refuse(path, f"{rule}. Write budget: {{epochs: 4}}.", key=True)
    if document.get(("objectives",)) is None:
        rule = "are required with trainable, got none"
        fix = "List the metrics that its function reports: [{metric: accuracy}, {metric: seconds}]."
        document.refuse(("objectives",), f"{rule}. {fix}")


def _refuse_section(document: Document, section: str) -> None:
    written = document.get((section,))
    if written is not None:
        rule = f"has no effect with trainable, got {show(written)}"
        document.refuse((section,), f"{rule}. Remove it, or trainable.", key=True)
