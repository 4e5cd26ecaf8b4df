"""Rules of a study that read more than one of its keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from ablate.errors import UsageError, did_you_mean
from ablate.study.document import Finding, Path, dotted, get, show, starts_with
from ablate.study.interpolation import CURVE_METRICS
from ablate.study.keys import candidates, searched, searched_paths, written_parameters
from ablate.study.metrics import metric_paths, reserved_name, unreachable
from ablate.study.scores import COSTS, LOSS_OBJECTIVE, less_is_better
from ablate.study.settings import (
    REPLICATE,
    REPLICATE_SEEDS,
    SEEDS,
    UNITS,
    UNITS_BUT_EPOCHS,
    AnswerSettings,
    Study,
)

Findings = Iterator[Finding]
Rule = Callable[[Study], Findings]

_BUDGET = {f"finetune.budget.{unit}" for unit in UNITS}
_SEEDS = {"finetune.seed", "baseline.seed"}


def study_rules(study: Study, refused: Collection[Path] = ()) -> Findings:
    """Inconsistent settings of a study.

    Args:
        refused: rules that read one of these paths are skipped.
    """
    for read, rule in _RULES:
        pairs = product(read, refused)
        if not any(starts_with(key, path) or starts_with(path, key) for key, path in pairs):
            yield from rule(study)


def rules_of(key: str, study: Study) -> Findings:
    """What of `study_rules` is about this key."""
    path = tuple(key.split("."))
    yield from (finding for finding in study_rules(study) if starts_with(finding.path, path))


def study_notes(study: Study) -> Iterator[str]:
    """What to say of a study that is not wrong, but may not be meant so."""
    points, trials = len(study.search.enqueue), study.search.trials
    if study.ablation is None and points > trials:
        rest = f"the last {points - trials} will not be run"
        yield f"search.enqueue has {points} points and search.trials is {trials}: {rest}"
    pruner = study.search.pruner
    known = {objective.metric for objective in study.objectives}
    compared = () if pruner is None else pruner.compared(study.objectives)
    others = [one for one in compared if one not in known and not less_is_better(one)]
    if study.trainable is not None and others:
        which = "which are no objectives" if len(others) > 1 else "which is no objective"
        yield (
            f"search.pruner compares {' and '.join(others)}, {which}: larger is taken for better. "
            "Report the negative of a loss, or make it an objective with direction: minimize"
        )


_RULES: list[tuple[list[Path], Rule]] = []


def _reads(*keys: str) -> Callable[[Rule], Rule]:
    """Adds a rule to `study_rules`, with all keys of the study that it reads."""

    def add(rule: Rule) -> Rule:
        _RULES.append(([tuple(key.split(".")) for key in keys], rule))
        return rule

    return add


# -- Objectives and constraints ------------------------------------------------------------


@_reads("objectives")
def _objectives(study: Study) -> Findings:
    metrics = [objective.metric for objective in study.objectives]
    for i, metric in enumerate(metrics):
        if metric in metrics[:i]:
            yield Finding(("objectives", i), f"given twice, got {show(metric)}. Remove one.")


@_reads("objectives", "constraints", "robustness.severities", "search.pruner", "trainable")
def _metrics(study: Study) -> Findings:
    severities = study.robustness.severities
    for path, metric in metric_paths(study).items():
        severity = metric.rpartition(".")[2]
        if study.trainable is not None:
            if rule := reserved_name(metric):
                yield Finding(path, rule)
        elif severity.isdigit() and int(severity) not in severities:
            rule = f"its severity must be in robustness.severities {show(list(severities))}"
            fix = f"Add {severity} there or choose another metric."
            yield Finding(path, f"{rule}, got {show(metric)}. {fix}")


@_reads("constraints", "trainable")
def _constraints(study: Study) -> Findings:
    metrics = [constraint.metric for constraint in study.constraints]
    for i, constraint in enumerate(study.constraints):
        path, metric = ("constraints", i), constraint.metric
        if metric in metrics[:i]:
            rule = f"given twice, got {show(metric)}. Write min and max in one of them"
            yield Finding(path, f"{rule}, and remove the other.")
        relative = [side for side in constraint.sides if side.is_relative]
        far = [str(side.written) for side in relative if abs(side.number) >= 1]
        rule = f"must be a number, got {' and '.join(str(side.written) for side in relative)}"
        if relative and study.trainable is not None:
            why = "with trainable, which has no baseline. Write it, such as 0.9."
            yield Finding(path, f"{rule} {why}")
        elif relative and metric in COSTS:
            yield Finding(path, f"{rule}: a baseline has no {metric}. Write it, such as max: 300.")
        elif far and not less_is_better(metric):
            rule = "must be baseline plus or less a fraction below 1, because accuracies are"
            fix = "Write baseline - 0.01 for one point."
            yield Finding(path, f"{rule} fractions, got {' and '.join(far)}. {fix}")
        if study.trainable is not None:
            continue
        for bound in constraint.bounds(None):
            if limit := unreachable(bound):
                side, fix = "min" if bound.is_least else "max", "No trial would keep it: change it."
                yield Finding((*path, side), f"{limit}, got {show(bound.limit)}. {fix}")


@_reads("objectives", "search.reference_point")
def _reference_point(study: Study) -> Findings:
    path, count = ("search", "reference_point"), len(study.objectives)
    point = study.search.reference_point
    if point is not None and count == 1:
        rule = f"needs two objectives, got one, {study.objectives[0].metric}"
        yield Finding(path, f"{rule}. Remove it: one objective has no hypervolume.")
    elif point is not None and len(point) != count:
        rule = f"needs one value per objective ({count}), got {show(list(point))}"
        yield Finding(path, f"{rule}. Give each objective its value, in their order.")


@_reads("search.pruner", "finetune.budget", "trainable", "space")
def _pruner(study: Study) -> Findings:
    pruner, budget = study.search.pruner, study.finetune.budget
    if pruner is None:
        return
    path = ("search", "pruner")
    space = written_parameters(study.space if study.trainable is None else {})
    parameters = {parameter.key: parameter for parameter in space}
    units = [
        u for u in UNITS_BUT_EPOCHS if getattr(budget, u) or f"finetune.budget.{u}" in parameters
    ]
    possible: list[int] = []
    if epochs := parameters.get("finetune.budget.epochs"):
        domain = epochs.entry if isinstance(epochs.entry, Mapping) else {}
        values = domain.get("int") or domain.get("choice")
        possible = [v for v in values if isinstance(v, int)] if isinstance(values, list) else []
    if budget.in_epochs is not None and (epochs is None or epochs.when):
        possible.append(budget.in_epochs)
    if units:
        rule = f"compares trials after whole epochs, got finetune.budget in {units[0]}"
        yield Finding(path, f"{rule}. Remove it, or write budget: {{epochs: 4}}.")
    elif possible and pruner.min_epochs >= max(possible):
        most = max(possible)
        rule = f"must be below finetune.budget.epochs ({most}), got {pruner.min_epochs}"
        fix = "Lower it, or raise" if most > 1 else "Raise"
        fix += " the budget: after the last epoch there is nothing left to stop."
        yield Finding((*path, "min_epochs"), f"{rule}. {fix}")
    if study.trainable is not None and pruner.images is not None:
        rule = f"has no effect with trainable, got {pruner.images}"
        yield Finding((*path, "images"), f"{rule}. Remove it: a trainable scores itself.")


# -- Training and augmentation -------------------------------------------------------------


@_reads("finetune.budget", "ablation")
def _budget(study: Study) -> Findings:
    if study.finetune.budget.epochs == 0 and study.ablation is None:
        path = ("finetune", "budget", "epochs")
        yield Finding(path, "must be at least 1, got 0. Raise it.")


@_reads("space", "ablation", "trainable")
def _set_by_the_study(study: Study) -> Findings:
    """Budgets and seeds in the space of a loop, or of arms that are tuned."""
    paths = searched_paths(study.space)
    is_tuned = study.ablation is not None and study.ablation.tune is not None
    for key in sorted((_BUDGET | _SEEDS) & paths.keys()):
        if study.trainable is not None and key != "baseline.seed":
            rule = f"is set by the study with trainable, got {key} in the space"
            fix = f"Name it otherwise, such as loop.{key.rpartition('.')[2]}."
            yield Finding(paths[key], f"{rule}. {fix}")
        elif study.trainable is None and is_tuned:
            why = "arms are compared at equal compute" if key in _BUDGET else "seeds are paired"
            rule = f"{why}, got {key} in the space of ablation.tune. Remove it."
            yield Finding(paths[key], rule)


@_reads("finetune.seed", "baseline.seed", "ablation")
def _seeds(study: Study) -> Findings:
    """The last seeds that an ablation counts up to, or that were added to it."""
    if (ablation := study.ablation) is None:
        return
    count, last = ablation.seed_count, {"finetune.seed": study.finetune.seed + ablation.seed_count}
    if not isinstance(ablation.seeds, int):
        last = {"ablation.seeds": max(ablation.seeds)}
    if ablation.baseline_seeds == "each":
        last["baseline.seed"] = study.baseline.seed + count - 1
    if ablation.replicates is not None:
        last["finetune.seed"] += REPLICATE_SEEDS * (ablation.replicates - 1)
        last["baseline.seed"] = study.baseline.seed + ablation.replicates - 1
    for key, seed in last.items():
        if seed >= SEEDS:
            rule = f"the last of {count} seeds must be below {SEEDS}, got {seed}"
            yield Finding(tuple(key.split(".")), f"{rule}. Begin lower, or use fewer.")


@_reads("ablation", "baseline.checkpoint", "trainable")
def _replicates(study: Study) -> Findings:
    """A baseline for each replicate."""
    checkpoint = study.baseline.checkpoint or ""
    path, named = ("ablation", "replicates"), ("baseline", "checkpoint")
    if (ablation := study.ablation) is None or ablation.replicates is None:
        if REPLICATE in checkpoint:
            rule = f"{REPLICATE} needs ablation.replicates, got {checkpoint} without"
            yield Finding(named, f"{rule}. Name one file.")
        return
    if study.trainable is not None:
        rule = f"have a baseline each, got {ablation.replicates} with trainable {study.trainable}"
        yield Finding(path, f"{rule}. Raise seeds instead.")
    if ablation.baseline_seeds == "each":
        rule = f"have a baseline each, got {ablation.replicates} with baseline_seeds: each"
        yield Finding(path, f"{rule}. Remove one of both.")
    if "study" in ablation.reference:
        rule = f"have a baseline each, got {ablation.replicates} with a reference from a search"
        yield Finding(path, f"{rule} from one. Write its values, or tune: {{trials: N}}.")
    if checkpoint and REPLICATE not in checkpoint:
        rule = f"must be a file for each of {ablation.replicates} replicates, got {checkpoint}"
        yield Finding(named, f"{rule}. Write {REPLICATE} where the names have the number, from 0.")


def check_seeds(study: Study) -> None:
    """Refuse an ablation whose seeds were counted up too far.

    Raises:
        UsageError: naming the key.
    """
    for path, rule in _seeds(study):
        raise UsageError(f"study {study.name}: {dotted(path)}: {rule}")


@_reads("run.gpus_per_trial", "trainable")
def _gpus(study: Study) -> Findings:
    gpus = study.run.gpus_per_trial
    if study.trainable is None and gpus != "auto" and gpus > 1:
        rule = f"must be at most 1, because a finetuning trains on one GPU, got {gpus:g}"
        path = ("run", "gpus_per_trial")
        yield Finding(path, f"{rule}. Write 1; other trials use the other GPUs.")


@_reads("run.compile", "baseline", "finetune", "space")
def _graphs(study: Study) -> Findings:
    for section in ("baseline", "finetune"):
        key, parts = f"{section}.accumulation_steps", getattr(study, section).accumulation_steps
        is_split = parts > 1 or key in searched(study.space)
        if is_split and study.run.compile == "reduce-overhead":
            rule = f"must not be reduce-overhead with {key}, got both: the parts of a batch would"
            fix = "Write compile: default, or accumulation_steps: 1."
            yield Finding(("run", "compile"), f"{rule} overwrite each other's gradients. {fix}")


@_reads("baseline", "finetune", "space")
def _warmup(study: Study) -> Findings:
    for section in ("baseline", "finetune"):
        settings = getattr(study, section)
        keys = {f"{section}.schedule", f"{section}.warmup_fraction"} & searched(study.space)
        if settings.schedule == "one_cycle" and settings.warmup_fraction and not keys:
            rule = f"one_cycle has its own warm-up, got {settings.warmup_fraction:g}. Remove it."
            yield Finding((section, "warmup_fraction"), rule)


@_reads("augment.copies", "augment.method", "space")
def _copies(study: Study) -> Findings:
    augment = study.augment
    is_searched = {"augment.method", "augment.copies"} & searched(study.space)
    if augment.method == "all" and augment.copies > 1 and not is_searched:
        rule = f"must be 1 with method all, which makes a copy per type, got {augment.copies}"
        yield Finding(("augment", "copies"), f"{rule}. Remove it.")


@_reads("dataset.crop_scale", "dataset.loading")
def _crops(study: Study) -> Findings:
    scale = study.dataset.crop_scale
    if scale is not None and study.dataset.loading != "streamed":
        rule = f"needs images that are decoded in each epoch, got {scale:g} with resident ones"
        yield Finding(("dataset", "crop_scale"), f"{rule}. Write loading: streamed.")


@_reads("dataset")
def _image_files(study: Study) -> Findings:
    dataset, path = study.dataset, study.dataset.validation.path
    if path is not None and dataset.name != "image_folder":
        rule = "only image_folder has a folder of validation images, got"
        fix = "Use dataset.validation.fraction."
        yield Finding(
            ("dataset", "validation", "path"), f"{rule} {path!r} with {dataset.name}. {fix}"
        )
    if dataset.name == "image_folder" or dataset.unlabeled is not None:
        return
    for key, usual in {"skip_unreadable": False, "loading": "resident"}.items():
        if getattr(dataset, key) != usual:
            rule = f"requires image files, got {dataset.name}"
            fix = "Remove it, or set dataset.name to image_folder."
            yield Finding(("dataset", key), f"{rule}. {fix}")


@_reads("dataset.unlabeled", "loss.terms", "space")
def _labels(study: Study) -> Findings:
    labelled = [term for term in study.loss.term_names if term in ("clean", "da")]
    if study.dataset.unlabeled and labelled and "loss.terms" not in searched(study.space):
        rule = "must not contain terms that need labels, because dataset.unlabeled has none, got"
        fix = f"Leave out {labelled[0]}."
        yield Finding(("loss", "terms"), f"{rule} {show(study.loss.terms)}. {fix}")


@_reads("finetune.probe_fraction", "loss.terms", "space")
def _probe(study: Study) -> Findings:
    key, fraction = "finetune.probe_fraction", study.finetune.probe_fraction
    paths, terms = searched_paths(study.space), study.loss.terms
    is_probed = fraction or key in paths
    if not is_probed or {key, "loss.terms"} <= paths.keys():
        return
    if "fma" in candidates(study.space, "loss.terms", [terms]):
        rule = "needs a term that reaches the last layer, and fma alone does not, got"
        got = show(terms) if key in paths else f"{fraction:g}"
        fix = "Remove it, or write loss.terms: clean+fma."
        yield Finding(paths.get(key, tuple(key.split("."))), f"{rule} {got}. {fix}")


_MOST_MARGIN = 0.2
"""Of `answer.clean_margin`: above it points were meant."""


@_reads("objectives", "finetune.interpolation", "answer", "ablation", "trainable")
def _interpolation(study: Study) -> Findings:
    if study.trainable is not None:
        return
    metrics = [objective.metric for objective in study.objectives]
    _, robust = CURVE_METRICS
    is_asked = study.finetune.interpolation is not None
    if is_asked and not {robust, LOSS_OBJECTIVE} & {*metrics}:
        rule = f"chooses the most robust network, so {robust} must be an objective, got"
        fix = "Add it, or remove this."
        yield Finding(("finetune", "interpolation"), f"{rule} {show(metrics)}. {fix}")
    margin = study.answer.clean_margin
    accuracies = {metric for metric in metrics if not less_is_better(metric)}
    kinds = tuple(f"_{kind}_accuracy" for kind in ("clean", "balanced", "worst_class"))
    has_clean = any(name.endswith(kinds) for name in accuracies)
    is_read = is_asked or study.asks_at_clean_loss  # which says itself what it needs
    is_read |= study.ablation is None and has_clean and len(accuracies) > 1
    if not is_read and margin != AnswerSettings().clean_margin:
        rule = "has no effect without finetune.interpolation, or a search for clean and robust"
        yield Finding(("answer", "clean_margin"), f"{rule} accuracy, got {margin:g}. Remove it.")
    elif margin > _MOST_MARGIN:
        rule = f"must be at most {_MOST_MARGIN:g}, a fraction of the images"
        fix = f"Write {margin / 100:g} for {margin:g} points."
        yield Finding(("answer", "clean_margin"), f"{rule}, got {margin:g}. {fix}")


@_reads("robustness.adapt_batch_norm", "ablation")
def _adapted(study: Study) -> Findings:
    pseudo_images, ablation = study.robustness.adapt_batch_norm, study.ablation
    if pseudo_images is not None and ablation and ablation.baseline_seeds == "each":
        rule = f"adapts the one baseline of a study, got {pseudo_images} with one a seed"
        path = ("robustness", "adapt_batch_norm")
        yield Finding(path, f"{rule}. Remove it, or ablation.baseline_seeds.")


def no_batch_norm(model: str, pseudo_images: int) -> str:
    """What is wrong with `robustness.adapt_batch_norm`, as `rule, got X. Fix.`"""
    rule = f"needs a network with batch norm, got {pseudo_images} for {model}"
    return f"{rule}, which has none with statistics. Remove it."


@_reads("augment.mix", "augment.families", "augment.types", "space")
def _mix(study: Study) -> Findings:
    augment, space = study.augment, searched(study.space)
    key = "augment.families" if augment.types is None else "augment.types"
    if augment.mix is not None and not space & {key, "augment.types"}:
        yield from _ratios("augment.mix", augment.mix, key, augment.types or augment.families)


@_reads("loss.fma.layer_weights", "loss.fma.layers", "space")
def _layer_weights(study: Study) -> Findings:
    weights, layers = study.loss.fma.layer_weights, study.loss.fma.layers
    is_fixed = not isinstance(layers, str) and "loss.fma.layers" not in searched(study.space)
    if is_fixed and not isinstance(weights, str):
        yield from _ratios("loss.fma.layer_weights", weights, "loss.fma.layers", layers)


def _ratios(key: str, ratios: Mapping[str, float], of: str, names: Sequence[str]) -> Findings:
    for name, ratio in ratios.items():
        if name not in names and ratio > 0:
            rule = f"must be one of {of} {show(list(names))}, got {show(name)}"
            yield Finding((*key.split("."), name), f"{rule}. {did_you_mean(name, names)}")


# -- What is written, although it changes nothing ------------------------------------------


_NOT_OF_A_LOOP = ("dataset", "model", "baseline", "loss", "augment", "robustness", "answer")


def written_rules(data: Mapping[str, Any]) -> Findings:
    """What a study file must not write, or must, whatever it means.

    Args:
        data: as written.
    """
    name = data.get("name")
    if isinstance(name, str) and "~" in name:
        rule = f"must have no ~, which names the parts of a study (NAME~confirm), got {name!r}"
        yield Finding(("name",), f"{rule}. Write another name.")
    if data.get("trainable") is None:
        interpolation = get(data, ("finetune", "interpolation"))
        if isinstance(interpolation, dict) and {"alphas", "alpha"} <= interpolation.keys():
            rule = "takes alphas, the networks of a curve, or alpha, one of them alone, got both"
            yield Finding(("finetune", "interpolation"), f"{rule}. Remove one.")
        return
    for section in _NOT_OF_A_LOOP:
        if (written := data.get(section)) is not None:
            rule = f"has no effect with trainable, got {show(written)}"
            yield Finding((section,), f"{rule}. Remove it, or trainable.")
    finetune = data.get("finetune")
    written_keys = finetune if isinstance(finetune, dict) else {}
    for key, written in written_keys.items():
        if key not in ("budget", "seed"):
            rule = f"has no effect with trainable, got {show(written)}"
            fix = "Remove it: a trainable reads budget.epochs and seed."
            yield Finding(("finetune", key), f"{rule}. {fix}")
    for unit in UNITS_BUT_EPOCHS:
        path = ("finetune", "budget", unit)
        if (amount := get(data, path)) is not None:
            rule = f"must be epochs with trainable, got {unit}: {show(amount)}"
            yield Finding(path, f"{rule}. Write budget: {{epochs: 4}}.")
    if data.get("objectives") is None:
        rule = "are required with trainable, got none"
        fix = "List the metrics that its function reports: [{metric: accuracy}, {metric: seconds}]."
        yield Finding(("objectives",), f"{rule}. {fix}")
