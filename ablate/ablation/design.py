"""From the section `ablation` of a study to a design, with every problem at once; the design of a
confirmation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from ablate.ablation.cell import FACTOR_EFFECTS, Arm, Cell, Claim, Contrast, Design, difference
from ablate.ablation.designs.arms import NOT_ADAPTED, budget_rule
from ablate.ablation.designs.factorial import factors_of
from ablate.ablation.draft import Draft, NotPlannedError, Problems, Refuse, Values
from ablate.ablation.interpolated import ON_CURVE
from ablate.ablation.results import BASELINE
from ablate.ablation.searches import check_tuning, pick_rule
from ablate.analysis.pareto import ParetoPoint
from ablate.errors import UsageError, did_you_mean
from ablate.files.shown import shown_if
from ablate.ledger.record import ADAPTED, NOT_FINETUNED, Planned
from ablate.robustness.suites import find_suite, needs_curves, sparse_rule
from ablate.study.document import Finding, Path, show
from ablate.study.keys import searched
from ablate.study.mixture import Mixture
from ablate.study.names import KnownNames
from ablate.study.scores import EXPOSURES, TOTALS, base_name, metric_names
from ablate.study.seeds import PLAIN, UNTRAINED, Seeds
from ablate.study.settings import (
    REPLICATE,
    REPLICATE_SEEDS,
    AblationSettings,
    AnswerSettings,
    ContrastSettings,
    Study,
)


def is_from_study(settings: AblationSettings) -> bool:
    """Whether the reference is a trial of another study."""
    return "study" in settings.reference


def make_design(study: Study, names: KnownNames, reference: Values) -> tuple[Design, Problems]:
    """Make the design of a study's ablation.

    Args:
        study: with an ablation.
        names: known names by dotted key.
        reference: values by dotted key: of the file, or of the selected trial.

    Returns:
        The design, and problems: path in the study, and `rule, got X. Fix.`
    """
    settings = study.ablation_section
    design = Design(settings.design, (), (), ())
    draft = Draft(study, names)
    if not draft.checked(reference, ("reference",)):
        return design, draft.problems
    draft.base_on(dict(reference))
    others: Problems = []
    if settings.design == "arms" and (rule := budget_rule(draft.study)) is not None:
        others.append((("finetune", "budget"), rule))
    if settings.baseline_seeds == "each" and (rule := _each_rule(draft.study)) is not None:
        others.append((("ablation", "baseline_seeds"), rule))
    try:
        design = import_module(f"ablate.ablation.designs.{settings.design}").plan(draft)
        if draft.has_baseline:
            design = _with_baseline(design, study)
    except NotPlannedError:
        pass
    draft.check_runs(len(design.cells))
    if settings.tune is not None:
        check_tuning(draft, design)
    if not others and not draft.problems:
        design = with_claims(study, design, draft.refuse)
    return design, [*others, *draft.problems]


def ablation_rules(study: Study, names: KnownNames, written: Collection[str]) -> Iterator[Finding]:
    """Problems of a study's ablation; a reference from another study is checked when the study is
    started.

    Args:
        written: the keys that the study file writes with a value.
    """
    settings = study.ablation
    if settings is None:
        return
    # Not a rule of the section: of one replicate of several there may be one seed.
    is_tested = settings.primary or settings.noninferior
    if settings.seed_count == 1 and not settings.replicates and is_tested:
        rule = "a test needs at least two seeds, got seeds: 1 with primary or noninferior"
        fix = "Raise seeds; with 8 the smallest two-sided p is .0078."
        yield Finding(("ablation",), f"{rule}. {fix}")
    if "search" in written:
        rule = "a study has a search or an ablation, got both. Remove one."
        yield Finding(("search",), rule)
    if "space" in written and settings.tune is None:
        rule = "is searched only with ablation.tune, got a space without it"
        rule += ". Remove it, or add tune: {trials: N}."
        yield Finding(("space",), rule)
    if study.constraints and settings.tune is None:
        rule = "apply to a search, got an ablation without tune. Remove them, or add tune."
        yield Finding(("constraints",), rule)
    path = ("ablation", "reference")
    if settings.tune is not None and not study.space:
        rule = "needs a space to search, got none. Add space."
        yield Finding(("ablation", "tune"), rule)
    elif is_from_study(settings):
        yield from _reference_rules(settings.reference)
    elif "pick" in settings.reference:
        rule = "applies only to a trial of a study, got it without one. Add study: STUDY."
        yield Finding((*path, "pick"), rule)
    else:
        _, problems = make_design(study, names, settings.reference)
        yield from (Finding(*problem) for problem in problems)


def planned_rows(study: Study, design: Design) -> list[Planned]:
    """The rows of a design, seed by seed, so that finished rows are paired."""
    settings = study.ablation_section
    rows = list[Planned]()
    for place, seed in enumerate(train_seeds(study)):
        split, evaluation = study.dataset.validation.seed, study.robustness.seed
        seeds, own = Seeds(split=split, train=seed, evaluation=evaluation), {}
        if settings.baseline_seeds == "each" and study.trainable is None:
            own = {"baseline.seed": study.baseline.seed + place}
        numbers = {cell.name: len(rows) + nth for nth, cell in enumerate(design.cells)}
        for cell in design.cells:
            row = Planned(cell.name, place, {**cell.values, **own}, seeds)
            if cell.mixture is not None:
                of_rows = tuple(numbers[name] for name in cell.trained)
                row = replace(row, mixture=Mixture(of_rows, cell.mixture.alpha))
            rows.append(row)
    return rows


def train_seeds(study: Study) -> tuple[int, ...]:
    """The training seed of each pair: those that are named, else the ones after the study's own,
    on which a search has chosen."""
    settings = study.ablation_section
    if isinstance(settings.seeds, int):
        return tuple(study.finetune.seed + 1 + place for place in range(settings.seeds))
    return settings.seeds


def replicate_study(study: Study, number: int, name: str) -> Study:
    """One replicate of an ablation, an ablation of its own: another baseline, other tuning and
    other training seeds than any other replicate has.

    Args:
        study: with `ablation.replicates`; number: from 0; name: of the replicate.
    """
    settings, start, finetune = study.ablation_section, study.baseline, study.finetune
    tune = settings.tune and settings.tune.model_copy(update={"seed": settings.tune.seed + number})
    checkpoint = start.checkpoint and start.checkpoint.replace(REPLICATE, str(number))
    baseline = {"seed": start.seed + number, "checkpoint": checkpoint}
    seed = finetune.seed + REPLICATE_SEEDS * number
    own = {"replicates": None, "tune": tune, "stop": None}
    update = {
        "name": name,
        "ablation": settings.model_copy(update=own),
        "baseline": start.model_copy(update=baseline),
        "finetune": finetune.model_copy(update={"seed": seed}),
    }
    return study.model_copy(update=update)


def replicate_studies(study: Study) -> list[Study]:
    """Each replicate of a study, under its name; the study alone where it has none."""
    count = None if study.ablation is None else study.ablation.replicates
    if count is None:
        return [study]
    return [replicate_study(study, number, study.name) for number in range(count)]


def more_seeds(study: Study, count: int) -> tuple[int, ...]:
    """So many seeds: those that a study names, then the ones after the largest."""
    there = train_seeds(study)
    return (*there, *(max(there) + 1 + place for place in range(count - len(there))))


def _reference_rules(reference: Values) -> Iterator[Finding]:
    path = ("ablation", "reference")
    for key in reference:
        if key not in ("study", "pick"):
            rule = f"a reference from a study has only study and pick, got also {show(key)}"
            yield Finding((*path, key), f"{rule}. Remove it.")
    if (wrong := pick_rule(reference.get("pick", "knee"))) is not None:
        yield Finding((*path, "pick"), wrong)
    if not isinstance(reference["study"], str):
        rule = f"must name a study, got {show(reference['study'])}"
        fix = "Write its file, its run folder or URL#NAME."
        yield Finding((*path, "study"), f"{rule}. {fix}")


def _each_rule(study: Study) -> str | None:
    """Why there is no baseline a seed, as `rule, got X. Fix.`; none where there is."""
    if study.trainable is not None:
        return "each needs a baseline, got a trainable. Remove it."
    if study.baseline.checkpoint is not None:
        rule = "each needs a baseline trained by the study, got baseline.checkpoint"
        return f"{rule} {study.baseline.checkpoint}. Remove one."
    return None


def _with_baseline(design: Design, study: Study) -> Design:
    """With the baseline as the first arm, and the same with batch norm adapted at test time as the
    second; a baseline for each seed is a cell without training."""
    cells = design.cells
    if study.ablation_section.baseline_seeds == "each":
        cells = (Cell(BASELINE, UNTRAINED), *cells)
    names = (BASELINE,) if study.robustness.adapt_batch_norm is None else NOT_FINETUNED
    fixed = [Arm(name, (name,)) for name in names]
    contrasts = design.contrasts
    if design.reference not in ("", *NOT_FINETUNED):
        reference = design.arm(design.reference)
        contrasts = (*(difference(one, reference) for one in fixed), *contrasts)
    return replace(design, cells=cells, arms=(*fixed, *design.arms), contrasts=contrasts)


# -- Claims: the contrasts that a file declares as primary, and what counts as kept --------


def with_claims(study: Study, design: Design, refuse: Refuse) -> Design:
    """The design with the contrasts that the file declares as primary, and those it adds."""
    settings = study.ablation_section
    if settings.noninferior is not None:
        _check_metric(study, settings.noninferior.metric, ("noninferior", "metric"), refuse)
        _check_margin(study, settings.noninferior.margin, ("noninferior", "margin"), refuse)
    contrasts = {contrast.name: contrast for contrast in design.contrasts}
    claims: list[Claim] = []
    kinds = set[tuple[str, str, bool]]()
    for place, declared in enumerate(settings.primary):
        path: Path = ("primary", place)
        _check_metric(study, declared.metric, (*path, "metric"), refuse)
        _check_margin(study, declared.equivalent_within, (*path, "equivalent_within"), refuse)
        if (contrast := _declared(design, declared, path, refuse)) is not None:
            claim = Claim(contrast.name, declared.metric, declared.equivalent_within)
            kind = (claim.contrast, claim.metric, claim.equivalent_within is None)
            if kind in kinds:
                refuse(path, f"given twice, got {claim.text}. Remove one.")
            kinds.add(kind)
            contrasts.setdefault(contrast.name, contrast)
            claims.append(claim)
    if settings.stop is not None and (confirm := settings.stop.confirm) is not None:
        test = tested_as(study, confirm.suite, confirm.severities)
        scored = [*_scored_metrics(study.robustness.suite, study.robustness.severities), *ON_CURVE]
        known = [claim for claim in claims if claim.metric in scored]  # another is refused above
        for rule in _unscored(study, known, test).values():
            refuse(("stop", "confirm"), f"{rule}. Give another suite, or severities.")
    drawn = sorted({"augment.types", "augment.families"} & searched(study.space))
    exposures = [f"val_robust_accuracy_{exposed}" for exposed in EXPOSURES]
    for place, declared in enumerate(settings.primary):
        if settings.stop and drawn and base_name(declared.metric) in exposures:
            rule = "needs the same types to be trained on in all replicates"
            rule += f", got {drawn[0]} in the space"
            refuse(("primary", place), f"{rule}. Take it out, or claim another metric.")
    for place, added in enumerate(settings.contrasts):
        if (contrast := _declared(design, added, ("contrasts", place), refuse)) is not None:
            contrasts.setdefault(contrast.name, contrast)
    return replace(design, contrasts=tuple(contrasts.values()), claims=tuple(claims))


def _declared(
    design: Design, declared: ContrastSettings, path: Path, refuse: Refuse
) -> Contrast | None:
    """The contrast that the file asks for; None where it is wrong, which is noted."""
    effects = [contrast for contrast in design.contrasts if contrast.kind in FACTOR_EFFECTS]
    asked = set(factors_of(declared.compare))
    same = [effect for effect in effects if set(factors_of(effect.name)) == asked]
    if declared.to is None and same:
        return same[0]
    names = [arm.name for arm in design.arms]
    to = declared.to or design.reference
    known = {"compare": [*(effect.name for effect in effects), *names], "to": names}
    for key, name in (("compare", declared.compare), ("to", to)):
        if key == "to" and not name:
            rule = f"a {design.kind} design has no reference, got only {show(declared.compare)}"
            fix = f"Add to: CELL, or compare an effect, such as {effects[0].name}."
            refuse(path, f"{rule}. {fix}")
            return None
        if name not in names:
            rule = f"must be part of the design, got {show(name)}. {did_you_mean(name, known[key])}"
            refuse((*path, key), NOT_ADAPTED if name == ADAPTED else rule)
            return None
    if to == declared.compare:
        refuse(path, f"must be two arms, got {show(to)} twice. Change one.")
        return None
    return difference(design.arm(declared.compare), design.arm(to))


def _check_margin(study: Study, margin: float | None, path: Path, refuse: Refuse) -> None:
    if study.trainable is None and margin is not None and margin >= 1:
        rule = f"must be below 1, because accuracies are fractions, got {margin:g}"
        refuse(path, f"{rule}. Write 0.01 for one point.")


def _check_metric(study: Study, metric: str, path: Path, refuse: Refuse) -> None:
    """Refuse a metric that no run has."""
    if study.trainable is not None:
        known, what = [objective.metric for objective in study.objectives], "one of the objectives"
    else:
        suite, is_curved = study.robustness.suite, bool(study.finetune.curve_alphas)
        known = _scored_metrics(suite, study.robustness.severities)
        known += ON_CURVE if is_curved else ()
        what = f"scored by robustness.suite {find_suite(suite).name}"
        if metric in ON_CURVE and not is_curved:
            refuse(path, needs_curves(metric))
            return
    if (wrong := sparse_rule(study, metric)) is not None and study.trainable is None:
        refuse(path, wrong)
    elif metric not in known:
        refuse(path, f"must be {what}, got {show(metric)}. {did_you_mean(metric, known)}")


def _scored_metrics(suite: str | Sequence[str], severities: Sequence[int]) -> list[str]:
    totals = [f"val_{name}" for name, total in TOTALS.items() if total.value is not None]
    return list(dict.fromkeys([*metric_names(find_suite(suite).families, severities), *totals]))


# -- The design of a confirmation -----------------------------------


COMBINED_DA = "DA combined"
TRAINED_ON = "trained on the training images only; the validation images are held out"


def front_design(
    points: Sequence[ParetoPoint],
    trials: Mapping[int, Mapping[str, Any]],
    *,
    adapted: bool = False,
) -> Design:
    """What a confirmation runs: plain finetune, combined data augmentation, and the front.

    A trial of a mixture is trained once a seed, whatever is made of it: itself, if it is on the
    front, and all mixtures, and networks between it and the baseline, that are.

    Args:
        trials: parameters of those in mixtures, by number.
        adapted: also the baseline with batch norm adapted at test time.
    """
    made = [
        point
        for point in points
        if len(point.point.trials) > 1 or (point.point.alpha != 1 and point.number in trials)
    ]
    cells = [Cell("plain", dict(PLAIN)), Cell(COMBINED_DA, {"loss.terms": "clean+da"})]
    cells += [Cell(point.name, point.retrained) for point in points if point not in made]
    own = {point.name for point in points}
    names = {number: Mixture((number,)).name for number in trials}
    cells += [Cell(name, trials[one]) for one, name in names.items() if name not in own]
    cells += [Cell(point.name, mixture=point.point) for point in made]
    fixed = NOT_FINETUNED if adapted else (BASELINE,)
    compared = (*fixed, *(cell.name for cell in cells[:2]), *(point.name for point in points))
    arms = [Arm(name, (name,)) for name in compared]
    plain = arms[len(fixed)]
    selected = {}
    for point in points:
        metrics = point.scores.metrics() if point.scores else {}
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        selected[point.name] = finite
    return Design(
        kind="arms",
        cells=tuple(cells),
        arms=tuple(arms),
        contrasts=tuple(difference(arm, plain) for arm in arms if arm is not plain),
        reference=plain.name,
        notes=(TRAINED_ON,),
        selected=selected,
    )


def repeating_study(ablation: Study, name: str, seeds: int) -> Study:
    """What the confirmation of an ablation runs: the ablation with seeds of its own, after all that
    its runs, or its tuning, had."""
    settings, finetune = ablation.ablation_section, ablation.finetune
    used = train_seeds(ablation)
    first = max(*used, finetune.seed) + 1
    own: dict[str, Any] = {"seeds": tuple(range(first, first + seeds)), "tune": None, "plan": None}
    if settings.replicates is not None:  # each has seeds of its own
        own["seeds"] = seeds
    if (stop := settings.stop) is not None:
        own["stop"] = stop.confirm and stop.model_copy(update={"confirm": None})
    if is_from_study(settings):  # its values are in the cells
        own["reference"] = {}
    update: dict[str, Any] = {
        "name": name,
        "ablation": settings.model_copy(update=own),
        "answer": AnswerSettings(),
        "space": {},
    }
    if settings.baseline_seeds == "each":
        seed = ablation.baseline.seed + len(used)
        update["baseline"] = ablation.baseline.model_copy(update={"seed": seed})
    if finetune.curve_alphas:  # the finetuned network, unless a cell has an alpha
        update |= without_curves(ablation)
    return ablation.model_copy(update=update)


def without_curves(study: Study) -> dict[str, Any]:
    """What changes of a study where it scores one network a trial: metrics at the stated clean loss
    are then those of that network."""

    def of_one(settings: Sequence[Any]) -> tuple[Any, ...]:
        named = (one.model_copy(update={"metric": base_name(one.metric)}) for one in settings)
        return tuple(dict.fromkeys(named))

    return {
        "objectives": of_one(study.objectives),
        "constraints": of_one(study.constraints),
        "finetune": study.finetune.model_copy(update={"interpolation": None}),
    }


def going_design(design: Design, going: Sequence[str]) -> Design:
    """A design with the cells that go on after a look, and the arms, contrasts and claims that are
    about these alone."""
    cells = tuple(cell for cell in design.cells if cell.name in going)
    stopped = {cell.name for cell in design.cells} - {*going}
    arms = tuple(arm for arm in design.arms if not stopped & {*arm.cells})
    contrasts = tuple(
        contrast
        for contrast in design.contrasts
        if not any(contrast.weights.get(cell) for cell in stopped)
    )
    left = {contrast.name for contrast in contrasts}
    return replace(
        design,
        cells=cells,
        arms=arms,
        contrasts=contrasts,
        claims=tuple(claim for claim in design.claims if claim.contrast in left),
        reference=design.reference if design.reference in {arm.name for arm in arms} else "",
    )


def tested_as(
    study: Study, suite: str | Sequence[str] | None, severities: Sequence[int] | None
) -> dict[str, Any]:
    """What a confirmation scores the test images under: None is as the study."""
    robustness = study.robustness
    named = robustness.suite if suite is None else suite
    find_suite(named)
    levels = robustness.severities if severities is None else severities
    return {"suite": named if isinstance(named, str) else list(named), "severities": list(levels)}


def repeated_design(study: Study, design: Design, test: Mapping[str, Any]) -> Design:
    """What the confirmation of an ablation runs: its cells with the values that they were run
    with, its contrasts and its claims.

    Args:
        study: the ablation.
        test: suite and severities that the test images are scored under.

    Raises:
        UsageError: if a claim is on a metric that these do not give.
    """
    for what, rule in _unscored(study, design.claims, test).items():
        fix = "Give another `suite`, or `severities`."
        raise UsageError(f"study {study.name}: {what}: {rule}. {fix}")
    notes = [TRAINED_ON]
    if design.tuning:
        notes.append("each arm has the values that its search picked")
    return replace(design, notes=(*notes, *_alphas(study, design), *design.notes), tuning={})


def _unscored(study: Study, claims: Sequence[Claim], test: Mapping[str, Any]) -> dict[str, str]:
    """What is declared on a metric that the test images do not have, and the rule."""
    known = {*_scored_metrics(test["suite"], test["severities"]), *ON_CURVE}
    asked = {f"primary contrast {claim.contrast}": claim.metric for claim in claims}
    if study.ablation_section.noninferior is not None:
        asked["noninferior"] = study.ablation_section.noninferior.metric
    rule = "its metric must be scored on the test images, got {} with suite "
    rule += f"{show(test['suite'])} at severities {show(test['severities'])}"
    return {what: rule.format(metric) for what, metric in asked.items() if metric not in known}


def _alphas(study: Study, design: Design) -> Iterator[str]:
    """At which alpha a confirmation scores each cell, where it is not known from the study."""
    own = study.finetune.result_alpha
    alphas = {
        cell.name: (cell.values.get("finetune.interpolation") or {"alpha": own})["alpha"]
        for cell in design.cells
    }
    if not study.finetune.curve_alphas and set(alphas.values()) == {1.0}:
        return
    between = [f"{one:g} ({name})" for name, one in alphas.items() if one < 1]
    if not between:
        also = shown_if(study.asks_at_clean_loss, ", and at its clean loss")
        yield f"each network is scored at alpha 1, the finetuned network{also}"
    else:
        others = "; the others at 1, finetuned" if len(between) < len(alphas) else ""
        yield f"scored at alpha {', '.join(between)}{others}"
