"""The objectives that several studies share, without which their values are no one plane."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from ablate.errors import ParameterError, did_you_mean
from ablate.ledger.record import StudyRecord
from ablate.study.scores import TOTALS, less_is_better
from ablate.study.settings import ObjectiveSettings


def shared_objectives(records: Sequence[StudyRecord]) -> tuple[ObjectiveSettings, ...]:
    """The objectives of all these studies, at least one.

    Raises:
        ParameterError: if two differ in a metric, a direction or their order.
    """
    found = {record.study.objectives: record.name for record in records}
    if len(found) > 1:
        got = []
        for objectives, name in found.items():
            written = [f"{objective.direction} {objective.metric}" for objective in objectives]
            got.append(f"{', '.join(written)} (study {name})")
        raise ParameterError(
            f"studies in one figure must have the same objectives, got {' and '.join(got)}. "
            "Draw them one at a time."
        )
    return records[0].study.objectives


def front_words(objectives: Sequence[ObjectiveSettings]) -> str:
    """What the trials of a front are called: of one objective it is the best trial."""
    return "on the front" if len(objectives) > 1 else "the best"


# -- What a metric's name means: those of `ablate.study.scores.Scores`; a custom training loop may
# give its numbers any other, and then nothing is read into them.


SPLITS = {"val": "validation", "test": "test"}
_SCORE = re.compile(rf"(?:val|test)_(?:(?P<total>{'|'.join(TOTALS)})|accuracy\.(?P<kind>.+))")


@cache
def is_score(metric: str) -> bool:
    """Whether the metric is of a network on images, and no cost of its finetuning."""
    return _SCORE.fullmatch(metric) is not None


@cache
def is_accuracy(metric: str) -> bool:
    """Whether the metric is a fraction from 0 to 1 that a person reads in percent: a score that is
    no loss."""
    return is_score(metric) and not less_is_better(metric)


def amount_text(metric: str, amount: float) -> str:
    """ "1 point", "0.5 points" of an accuracy; of another metric the number."""
    if not is_accuracy(metric):
        return f"{amount:g}"
    return f"{100 * amount:g} {'point' if amount == 0.01 else 'points'}"


def on_split(metric: str, split: str) -> str:
    """The same score on the images of another split ("val", "test"); other metrics are kept."""
    head, _, rest = metric.partition("_")
    return f"{split}_{rest}" if head in SPLITS else metric


def objectives_on(
    objectives: Sequence[ObjectiveSettings], split: str
) -> tuple[ObjectiveSettings, ...]:
    """The same objectives on the images of another split."""
    return tuple(
        objective.model_copy(update={"metric": on_split(objective.metric, split)})
        for objective in objectives
    )


def metric_split(metric: str) -> str | None:
    """ "validation" or "test"; None for a metric of the finetuning, such as `train_seconds`."""
    return SPLITS.get(metric.split("_", 1)[0]) if is_score(metric) else None


def short_metric(metric: str) -> str:
    """ "robust" for `val_robust_accuracy`, "noise.3" for `val_accuracy.noise.3`; others
    unchanged."""
    found = _SCORE.fullmatch(metric)
    if found is None:
        return metric
    return found["kind"] or TOTALS[found["total"]].short


def objective_place(name: str, objectives: Sequence[ObjectiveSettings]) -> int:
    """The index of an objective.

    Args:
        name: a metric, complete or short ("robust"); empty: the second objective, which is usually
            robust accuracy, or the only one.

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
        f"`objective`: must be an objective of the study, got {name}. {did_you_mean(name, metrics)}"
    )
