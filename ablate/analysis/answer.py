"""The answer of a search in numbers: its gain, its loss, and how much of the gap is closed.

The gap is the baseline's: clean less robust accuracy. Closing all of it would make the network as
right on distorted images as the baseline is on clean ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint

LEAST_GAP = 0.01
"""Smallest gap of accuracies for which a fraction is computed."""


@dataclass(frozen=True)
class Gain:
    """One trial compared with the baseline, in fractions.

    Attributes:
        clean, robust: gains; negative for losses.
        robust_over_plain: over the plain finetune; NaN if that is not scored.
        closed_fraction: `robust` as a fraction of the gap; NaN if there is (almost) no gap.
    """

    point: ParetoPoint
    clean: float
    robust: float
    robust_over_plain: float
    closed_fraction: float


@dataclass(frozen=True)
class SearchAnswer:
    """The result of a search.

    Attributes:
        kept: the most robust of the trials that lose no clean accuracy; None if none of them gains.
        most_robust: of all trials.
        chosen_from: number of finite complete trials from which both were selected.
    """

    kept: Gain | None
    most_robust: Gain
    chosen_from: int


def search_answer(info: ParetoInfo) -> SearchAnswer | None:
    """The answer of a search over clean and robust accuracy.

    Returns:
        None before the baseline and a trial are scored, and where clean and robust accuracy are
        not both among the objectives.
    """
    clean, robust = _place(info, "clean_accuracy"), _place(info, "robust_accuracy")
    baseline = info.references.get("baseline")
    if clean is None or robust is None or baseline is None:
        return None
    plain = info.references.get("plain")
    gap = baseline[clean] - baseline[robust]
    gains = [
        Gain(
            point=point,
            clean=point.values[clean] - baseline[clean],
            robust=point.values[robust] - baseline[robust],
            robust_over_plain=math.nan if plain is None else point.values[robust] - plain[robust],
            closed_fraction=closed_fraction(point.values[robust] - baseline[robust], gap),
        )
        for point in info.points
        if all(map(math.isfinite, point.values))
    ]
    if not gains:
        return None
    keeping = [gain for gain in gains if gain.clean >= 0 and gain.robust > 0]
    return SearchAnswer(
        kept=max(keeping, key=_rank, default=None),
        most_robust=max(gains, key=_rank),
        chosen_from=len(gains),
    )


def closed_fraction(gain: float, gap: float) -> float:
    """The fraction of a gap that a gain closes; NaN for a gap below one point."""
    return gain / gap if gap >= LEAST_GAP else math.nan


def _rank(gain: Gain) -> tuple[float, float, int]:
    """Rank by robust accuracy, then by clean accuracy, then by number."""
    return gain.robust, gain.clean, -gain.point.number


def _place(info: ParetoInfo, ending: str) -> int | None:
    """Index of the objective with this accuracy, on any split."""
    return next(
        (
            place
            for place, objective in enumerate(info.objectives)
            if is_accuracy(objective.metric) and objective.metric.partition("_")[2] == ending
        ),
        None,
    )
