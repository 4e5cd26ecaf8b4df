"""The objective that a person asks for, among those of a study."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.analysis.metrics import short_metric
from ablate.errors import ParameterError, did_you_mean
from ablate.study.settings import ObjectiveSettings


def objective_place(name: str, objectives: Sequence[ObjectiveSettings]) -> int:
    """The place of an objective.

    Args:
        name: a metric, whole or short ("robust"); empty: the second objective, which is the robust
            one as studies are usually written, or the only one.

    Raises:
        ParameterError: if no objective has that name.
    """
    metrics = [objective.metric for objective in objectives]
    if not name:
        return min(1, len(metrics) - 1)
    if name in metrics:
        return metrics.index(name)
    short = [place for place, metric in enumerate(metrics) if short_metric(metric) == name]
    if len(short) == 1:
        return short[0]
    raise ParameterError(
        f"--objective: must be an objective of the study, got {name}. {did_you_mean(name, metrics)}"
    )
