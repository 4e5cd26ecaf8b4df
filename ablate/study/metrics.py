"""The metrics that a study compares its trials by: where it names them, how they are judged."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.study.document import Path, show
from ablate.study.scores import RESERVED, RESERVED_PREFIXES, Bound, less_is_better
from ablate.study.settings import ObjectiveSettings, Study

METRIC_KEYS = (
    "objectives.metric",
    "constraints.metric",
    "search.pruner.metric",
    "search.pruner.metrics",
)
"""Keys whose values are metrics: those of the suite, or those that a trainable reports."""


def metric_paths(study: Study) -> dict[Path, str]:
    """Every metric that a study names to compare its trials, by its path."""
    paths: dict[Path, str] = {}
    for section in ("objectives", "constraints"):
        for i, settings in enumerate(getattr(study, section)):
            paths[section, i, "metric"] = settings.metric
    if (pruner := study.search.pruner) is not None:
        for i, metric in enumerate(pruner.metrics):
            paths["search", "pruner", "metrics", i] = metric
        if pruner.metric is not None:
            paths["search", "pruner", "metric"] = pruner.metric
    return paths


def is_by_image(study: Study) -> bool:
    """Whether a study compares by no metric in which each class counts, however few images it
    has."""
    claims = () if study.ablation is None else study.ablation.primary
    named = [*metric_paths(study).values(), *(claim.metric for claim in claims)]
    return not any(name.endswith(("balanced_accuracy", "worst_class_accuracy")) for name in named)


def larger_is_better(metric: str, objectives: Sequence[ObjectiveSettings]) -> bool:
    """The direction in which a pruner compares a metric: an objective has its own; of the others,
    less is better only of costs and losses."""
    ways = {objective.metric: objective.direction == "maximize" for objective in objectives}
    return ways.get(metric, not less_is_better(metric))


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


def unreachable(bound: Bound) -> str | None:
    """The rule for a limit that no accuracy, loss or cost of a finetuning can keep; None if some
    can."""
    is_accuracy = not less_is_better(bound.metric)
    if bound.is_least and is_accuracy and bound.limit > 1:
        return "must be at most 1, because accuracies are fractions"
    if not bound.is_least and (bound.limit < 0 or (not is_accuracy and bound.limit == 0)):
        return f"must be {'at least 0' if is_accuracy else 'above 0'}, because {bound.metric} is"
    return None
