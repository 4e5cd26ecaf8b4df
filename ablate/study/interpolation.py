"""A trial as a curve: what the networks between baseline and finetuned weights scored, and the
rule by which one of them stands for the trial.

The driver applies the rule when a row ends, so it is here, where the ledger can read it.  Source of
the curve: Wortsman et al. 2022, arXiv:2109.01903; the rule is our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ablate.study.json_data import JsonData
from ablate.study.scores import AT_CLEAN_LOSS, Scores, is_mean, violation
from ablate.study.settings import ConstraintSettings

FINETUNED_BITS = "val@1"
"""Name of the finetuned network's validation bits in a row of a search for which another network of
the curve stands.  That network's bits are named "val"."""

LOSS_BITS = "test_at_clean_loss"
"""Name of the test bits of the network at the alpha of the stated clean loss."""

CURVE_METRICS = ("val_clean_accuracy", "val_robust_accuracy")
"""What the rule reads."""

_DIGITS = 9
_ROUNDING = 10.0**-_DIGITS
"""Of differences of accuracies: less than one image of any data set."""


class AlphaScore(NamedTuple):
    """A network of a curve.

    Attributes:
        alpha: weight of the finetuned network: 0 is the baseline, 1 the finetuned network.
        clean, robust: accuracies, as fractions.
        violation: of the study's constraints (`ablate.study.scores.violation`).
    """

    alpha: float
    clean: float
    robust: float
    violation: float = 0.0


class Choice(NamedTuple):
    """The network that stands for a trial.

    Attributes:
        alpha: its weight.
        barrier: how far clean accuracy falls below both ends of the curve, as a fraction; 0 if it
            does not.
        note: why the curve was not chosen from; empty if it was.
    """

    alpha: float
    barrier: float
    note: str = ""


def choose_alpha(curve: Sequence[AlphaScore], clean_margin: float) -> Choice:
    """The most robust network that loses at most `clean_margin` to the baseline in clean accuracy.

    Of equal ones the one with the largest alpha.  If none keeps within the margin, it is the one
    with the smallest loss.  Where the curve has a barrier larger than the margin, nothing on it is
    chosen and alpha is 1: networks between two basins are worse than both ends.  Under constraints
    it is chosen from the networks that keep them, or, if none does, from those with the smallest
    violation.

    Args:
        curve: at alpha 0, the baseline, which is not chosen; at 1; and at any others.
        clean_margin: as a fraction.

    Source: own rule; barriers as in Frankle et al. 2020, arXiv:1912.05671, in accuracy, and with
    a tolerance as there.
    """
    scores = {score.alpha: score for score in curve}
    baseline, finetuned = scores[0.0], scores[1.0]
    least = min(score.violation for score in curve if score.alpha > 0)
    chosen_from = [score for score in curve if score.alpha > 0 and score.violation == least]
    lowest = min(curve, key=lambda score: (score.clean, score.alpha))
    barrier = max(0.0, min(baseline.clean, finetuned.clean) - lowest.clean)
    if barrier > clean_margin + _ROUNDING and finetuned in chosen_from:
        note = (
            f"alpha 1 is used: at alpha {lowest.alpha:g} clean accuracy is {100 * barrier:.1f} "
            "points below both the baseline and the finetuned network"
        )
        return Choice(1.0, barrier, note)
    keeping = [
        score for score in chosen_from if baseline.clean - score.clean <= clean_margin + _ROUNDING
    ]

    def rank(score: AlphaScore) -> tuple[float, float]:
        """By an accuracy, in which sums of equal counts are equal, then by alpha."""
        return round(score.robust if keeping else score.clean, _DIGITS), score.alpha

    return Choice(max(keeping or chosen_from, key=rank).alpha, barrier)


class LossPoint(NamedTuple):
    """Where a curve has lost some clean accuracy: between two of its networks.

    Attributes:
        place: of the one that is nearer to the baseline; share: its weight, 0 to 1. The next one
            has the rest.
    """

    place: int
    share: float

    def mixed(self, values: Sequence[float]) -> float:
        """Of the curve's values, linear between the two."""
        return self.share * values[self.place] + (1 - self.share) * values[self.place + 1]


def loss_point(clean: Sequence[float], loss: float) -> LossPoint:
    """Where a curve crosses its stated clean loss, the last time before its end; its end, the
    finetuned network, where that has not lost as much.

    Args:
        clean: accuracies from the baseline to the finetuned network, two or more.
        loss: to the baseline, as a fraction.
    """
    lower = clean[0] - loss - _ROUNDING
    place = max(at for at, value in enumerate(clean) if value >= lower)
    if place == len(clean) - 1:
        return LossPoint(place - 1, 0.0)
    return LossPoint(place, (lower - clean[place + 1]) / (clean[place] - clean[place + 1]))


@dataclass(frozen=True)
class CurvePoint(JsonData):
    """What one network of a curve scored, as in `Scores`."""

    clean_accuracy: float
    accuracies: Mapping[str, Mapping[str, float]]
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve(JsonData):
    """The curve of a trial.

    Attributes:
        points: by alpha as text, ascending: "0", the baseline that it started from, to "1".
        alpha: of the network whose scores are the row's.
        barrier, note: see `Choice`.
        corrupted: of an ablation: for each image of the validation split whether it is corrupted,
            as bits in base64; empty if all are, or the first ones (`robustness.cells`).
        odd: in studies of earlier versions.
    """

    points: Mapping[str, CurvePoint]
    alpha: float = 1.0
    barrier: float = 0.0
    note: str = ""
    odd: str = field(default="", repr=False)
    corrupted: str = field(default="", repr=False)

    @property
    def alphas(self) -> tuple[float, ...]:
        """Ascending, from 0 to 1."""
        return tuple(map(float, self.points))

    def scores(self, like: Scores, alpha: float) -> Scores:
        """The scores at an alpha of the curve.

        Args:
            like: of another network of the curve.
        """
        return replace(like, **vars(self.points[alpha_text(alpha)]))

    def all_scores(self, like: Scores) -> list[Scores]:
        """As `scores`, of each network by ascending alpha."""
        return [self.scores(like, alpha) for alpha in self.alphas]

    def loss_point(self, loss: float) -> LossPoint:
        """See `loss_point`."""
        return loss_point([point.clean_accuracy for point in self.points.values()], loss)

    def at_clean_loss(self, like: Scores, loss: float) -> Scores:
        """The scores of a network of the curve, with the accuracies at its loss point: of types,
        families and totals, where there are any."""
        metrics, point = [*map(accuracies, self.all_scores(like))], self.loss_point(loss)
        found = {name: point.mixed([of[name] for of in metrics]) for name in metrics[0]}
        return replace(like, at_clean_loss=found)

    def chosen(
        self, like: Scores, clean_margin: float, constraints: Sequence[ConstraintSettings] = ()
    ) -> Curve:
        """The curve with the network that the rule chooses (`choose_alpha`)."""
        baseline = self.scores(like, 0.0).metrics()
        bounds = [bound for limits in constraints for bound in limits.bounds(baseline)]
        curve = []
        for alpha, scores in zip(self.alphas, self.all_scores(like), strict=True):
            violated = violation(bounds, scores.metrics()) if bounds else 0.0
            curve.append(AlphaScore(alpha, scores.clean_accuracy, scores.robust_accuracy, violated))
        alpha, barrier, note = choose_alpha(curve, clean_margin)
        return replace(self, alpha=alpha, barrier=barrier, note=note)


def accuracies(scores: Scores) -> dict[str, float]:
    """The mean accuracies of one network, by name without split, but those of one severity."""
    return {
        name.partition("_")[2]: value
        for name, value in scores.metrics().items()
        if "accuracy" in name and not name.rpartition(".")[2].isdigit()
        if not name.endswith(AT_CLEAN_LOSS) and math.isfinite(value) and is_mean(name)
    }


def alpha_text(alpha: float) -> str:
    """As in the keys of a curve: "0.25"."""
    return f"{alpha:.12g}"


def bits_name(alpha: float) -> str:
    """Under which the validation bits of a network of a curve are stored; alpha 1 is "val"."""
    return "val" if alpha == 1 else f"val@{alpha_text(alpha)}"


def curve_point(scores: Scores) -> CurvePoint:
    """What a curve keeps of the scores of one of its networks."""
    return CurvePoint(scores.clean_accuracy, scores.accuracies, scores.measures)
