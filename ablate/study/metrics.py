"""The metrics that a study compares its trials by: their names, and the limits of constraints."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.study.document import Path, Rules, show
from ablate.study.scores import COSTS, RESERVED, RESERVED_PREFIXES, Bound
from ablate.study.settings import ConstraintSettings, ObjectiveSettings, Study

METRIC_KEYS = (
    *("objectives.metric", "constraints.metric"),
    *("search.pruner.metric", "search.pruner.metrics"),
)
"""Keys whose values are metrics: those of the suite, or those that a trainable reports."""


def metric_paths(study: Study) -> dict[Path, str]:
    """Every metric that a study names to compare its trials, by its path."""
    pruner = study.search.pruner
    paths: dict[Path, str] = {}
    for section in ("objectives", "constraints"):
        for i, one in enumerate(getattr(study, section)):
            paths[section, i, "metric"] = one.metric
    for i, metric in enumerate(pruner.metrics if pruner is not None else ()):
        paths["search", "pruner", "metrics", i] = metric
    if pruner is not None and pruner.metric is not None:
        paths["search", "pruner", "metric"] = pruner.metric
    return paths


def larger_is_better(metric: str, objectives: Sequence[ObjectiveSettings]) -> bool:
    """The direction in which a pruner compares a metric: an objective has its own; of the others,
    less is better only of costs."""
    ways = {objective.metric: objective.direction == "maximize" for objective in objectives}
    return ways.get(metric, metric not in COSTS)


def reserved_name(metric: str) -> str | None:
    """What is wrong with the name of a training loop's metric, as `rule, got X. Fix.`; else None.

    Figures and tables find a metric by its name among the columns of the trials.
    """
    if not metric.strip():
        return f"must have a name, got {show(metric)}. Write one, such as accuracy."
    if metric in RESERVED or metric.startswith(RESERVED_PREFIXES):
        rule = f"must not be the name of a column of the trials, got {show(metric)}"
        return f"{rule}. Rename the metric, such as loop_{metric.replace('.', '_')}."
    return None


def reserved_names(study: Study) -> Rules:
    """Metrics of a training loop that are named like columns of the trials."""
    for path, metric in metric_paths(study).items() if study.trainable is not None else ():
        problem = reserved_name(metric)
        if problem is not None:
            yield path, problem


def evaluated_severities(study: Study) -> Rules:
    """Accuracies at a severity that the study does not score."""
    have = study.robustness.severities
    for path, metric in metric_paths(study).items() if study.trainable is None else ():
        severity = metric.rpartition(".")[2]
        if severity.isdigit() and int(severity) not in have:
            rule = f"its severity must be in robustness.severities {show(list(have))}"
            fix = f"Add {severity} there or choose another metric."
            yield path, f"{rule}, got {show(metric)}. {fix}"


def distinct_objectives(study: Study) -> Rules:
    """Objectives given twice."""
    seen: set[str] = set()
    for i, objective in enumerate(study.objectives):
        if objective.metric in seen:
            yield ("objectives", i), f"given twice, got {show(objective.metric)}. Remove one."
        seen.add(objective.metric)


def constraint_limits(study: Study) -> Rules:
    """Constraints given twice, without a baseline to compare with, or that no trial can keep."""
    seen: set[str] = set()
    for i, constraint in enumerate(study.constraints):
        path, metric = ("constraints", i), constraint.metric
        if metric in seen:
            rule = f"given twice, got {show(metric)}. Write min and max in one of them"
            yield path, f"{rule}, and remove the other."
        seen.add(metric)
        if constraint.reads_baseline and study.trainable is not None:
            got = f"got {_sides(constraint)} with trainable, which has no baseline"
            yield path, f"must be a number, {got}. Write it, such as 0.9."
        elif constraint.reads_baseline and metric in COSTS:
            got = f"got {_sides(constraint)}: a baseline has no {metric}"
            yield path, f"must be a number, {got}. Write it, such as max: 300."
        elif constraint.reads_baseline and (written := _whole_points(constraint)):
            rule = "must be baseline plus or less a fraction below 1, because accuracies are"
            yield path, f"{rule} fractions, got {written}. Write baseline - 0.01 for one point."
        for bound in constraint.bounds(None) if study.trainable is None else ():
            side = "min" if bound.is_least else "max"
            limit = unreachable(bound)
            if limit is not None:
                got = show(getattr(constraint, side))
                yield (*path, side), f"{limit}, got {got}. No trial would keep it: change it."


def _whole_points(constraint: ConstraintSettings) -> str:
    """Sides that are 1 or more away from the baseline; empty without."""
    far = {
        bound.is_least
        for bound in constraint.bounds({constraint.metric: 0.0})
        if abs(bound.limit) >= 1
    }
    sides = (constraint.min if True in far else None, constraint.max if False in far else None)
    return " and ".join(side for side in sides if isinstance(side, str))


def _sides(constraint: ConstraintSettings) -> str:
    sides = (constraint.min, constraint.max)
    return " and ".join(side for side in sides if isinstance(side, str))


def unreachable(bound: Bound) -> str | None:
    """The rule for a limit that no accuracy or cost of a finetuning can keep; None if some can."""
    is_cost = bound.metric in COSTS
    if bound.is_least and not is_cost and bound.limit > 1:
        return "must be at most 1, because accuracies are fractions"
    if not bound.is_least and (bound.limit < 0 or (is_cost and bound.limit == 0)):
        least = "above 0" if is_cost else "at least 0"
        return f"must be {least}, because {bound.metric} is"
    return None
