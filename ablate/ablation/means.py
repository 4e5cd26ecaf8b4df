"""Arms of an ablation and confirmed trials of a search by their objectives: means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import objectives_on
from ablate.study.mixture import Mixture
from ablate.study.scores import Bound, violation
from ablate.study.settings import ObjectiveSettings

Objectives = Sequence[ObjectiveSettings]


class Mean(NamedTuple):
    """A network over several seeds.

    Attributes:
        number: of the trial, if the arm is one; is_point: whether it is one, or a mixture.
        values: means, one an objective, all finite; low, high: of their intervals, NaN without one.
        seeds: the smallest number of seeds of these means; of costs 0.
        violates: whether the means violate a constraint.
    """

    name: str
    number: int | None
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int
    violates: bool = False
    is_point: bool = False


def confirmed_means(
    source: StudySource, split: Literal["validation", "test"] = "test"
) -> tuple[Mean, ...]:
    """The confirmed trials of a search and the arms beside them; empty while no run of a trial has
    ended well, and where a confirmation does not compare one of the objectives (a single
    severity).

    Args:
        split: the images; constraints are judged on those of validation.
    """
    if source.confirmation is None:
        return ()
    names = [point.name for point in source.confirmation.points]
    objectives, bounds = source.record.study.objectives, source.record.bounds
    means = arm_means(source.confirmation.validation, objectives, names, bounds)
    if split == "test":
        means = arm_means(source.confirmation.test, objectives_on(objectives, "test"), names)
    return means if any(mean.is_point for mean in means) else ()


def arm_means(
    ablation: AblationInfo,
    objectives: Objectives,
    trials: Sequence[str] = (),
    bounds: Sequence[Bound] = (),
) -> tuple[Mean, ...]:
    """The arms that have a mean of each objective, but the baseline.

    Args:
        trials: names of the arms that are trials and mixtures of a search; bounds: its constraints.
    """
    means = []
    for arm in ablation.arms:
        found = {metric: (cost, math.nan, math.nan, 0) for metric, cost in arm.costs.items()}
        found |= {name: (one.mean, one.low, one.high, one.n) for name, one in arm.estimates.items()}
        there = [found[objective.metric] for objective in objectives if objective.metric in found]
        if len(there) == len(objectives) and not arm.is_one_network:
            values, low, high, counts = zip(*there, strict=True)
            is_point = arm.name in trials
            of = Mixture.of_name(arm.name).trials if is_point else ()
            number = of[0] if len(of) == 1 else None
            seeds = min(filter(None, counts), default=0)
            violates = violation(bounds, {metric: one[0] for metric, one in found.items()}) > 0
            means.append(Mean(arm.name, number, values, low, high, seeds, violates, is_point))
    return tuple(mean for mean in means if all(map(math.isfinite, mean.values)))
