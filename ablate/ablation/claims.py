"""Claims: the contrasts that a file declares as primary, and what counts as kept."""

from __future__ import annotations

from dataclasses import replace

from ablate.ablation.cell import Claim, Contrast, Design, difference
from ablate.ablation.configuration import Path, Refuse
from ablate.ablation.designs.factorial import factors_of
from ablate.errors import did_you_mean
from ablate.robustness.suites import find_suite
from ablate.study.document import show
from ablate.study.scores import EXPOSURES, metric_names
from ablate.study.settings import ContrastSettings, Study


def with_claims(study: Study, design: Design, refuse: Refuse) -> Design:
    """The design with the contrasts that the file declares as primary, and those it adds."""
    settings = study.ablation
    assert settings is not None
    if settings.noninferior is not None:
        _check_metric(study, settings.noninferior.metric, ("noninferior", "metric"), refuse)
        margin = settings.noninferior.margin
        if study.trainable is None and margin >= 1:
            rule = f"must be below 1, as accuracies are fractions, got {margin:g}"
            refuse(("noninferior", "margin"), f"{rule}. Write 0.01 for one point.")
    contrasts = {contrast.name: contrast for contrast in design.contrasts}
    claims: list[Claim] = []
    for place, declared in enumerate(settings.primary):
        path: Path = ("primary", place)
        _check_metric(study, declared.metric, (*path, "metric"), refuse)
        found = _claimed(design, declared)
        if not isinstance(found, Contrast):
            below, rule = found
            refuse((*path, *below), rule)
            continue
        claim = Claim(found.name, declared.metric)
        if claim in claims:
            got = f"{claim.contrast} on {claim.metric}"
            refuse(path, f"given twice, got {got}. Remove one.")
        contrasts.setdefault(found.name, found)
        claims.append(claim)
    for place, added in enumerate(settings.contrasts):
        found = _claimed(design, added)
        if isinstance(found, Contrast):
            contrasts.setdefault(found.name, found)
        else:
            below, rule = found
            refuse(("contrasts", place, *below), rule)
    return replace(design, contrasts=tuple(contrasts.values()), claims=tuple(claims))


def _claimed(design: Design, declared: ContrastSettings) -> Contrast | tuple[Path, str]:
    """The contrast that a claim is about; or what is wrong with it, and where."""
    effects = [one for one in design.contrasts if one.kind in ("main effect", "interaction")]
    if declared.to is None:
        asked = set(factors_of(declared.compare))
        for effect in effects:
            if set(factors_of(effect.name)) == asked:
                return effect
    names = [arm.name for arm in design.arms]
    known = [*(effect.name for effect in effects), *names]
    if declared.compare not in names:
        rule = f"must be of the design, got {show(declared.compare)}"
        return ("compare",), f"{rule}. {did_you_mean(declared.compare, known)}"
    to = declared.to or design.reference
    if not to:
        rule = f"a {design.kind} design has no reference, got {show(declared.compare)} alone"
        return (), f"{rule}. Add to: CELL, or compare an effect, as {effects[0].name}."
    if to not in names:
        return ("to",), f"must be of the design, got {show(to)}. {did_you_mean(to, names)}"
    if to == declared.compare:
        return (), f"must be two arms, got {show(to)} twice. Change one."
    return difference(design.arm(declared.compare), design.arm(to))


def _check_metric(study: Study, metric: str, path: Path, refuse: Refuse) -> None:
    """Refuse a metric that no run has."""
    if study.trainable is not None:
        known = [objective.metric for objective in study.objectives]
        what = "one of the objectives"
    else:
        suite = find_suite(study.robustness.suite)
        known = metric_names(suite.families, study.robustness.severities)
        known += [f"val_robust_accuracy_{exposure}" for exposure in EXPOSURES]
        what = f"scored by robustness.suite {suite.name}"
    if metric not in known:
        refuse(path, f"must be {what}, got {show(metric)}. {did_you_mean(metric, known)}")
