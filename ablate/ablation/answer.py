"""What a search answers: the best point of each set of loss terms, compared image by image.

A point may lose `answer.clean_margin` of clean accuracy to the baseline, unless one accuracy alone
is searched for.  Every point is one training, so intervals are over images alone, and say nothing
of other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

import numpy as np

from ablate.ablation.effects import ALPHA
from ablate.ablation.intervals import NONE, Estimate, over_images
from ablate.analysis.drawn import fenced
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.ledger.record import StudyRecord
from ablate.robustness.bits import Shares, image_shares, unpack_bits
from ablate.robustness.measures import LEVEL
from ablate.study.mixture import Mixture
from ablate.study.scores import Scores, clean_metric

KeptBits = tuple[Mapping[int, Mapping[str, str]], Mapping[str, Mapping[str, str]]]
"""Bits of rows by number, and of references by name, each by split."""
ReadBits = Callable[[Collection[int]], KeptBits]
"""Reads the bits of these rows, and of all references."""

COLLAPSE = 0.10
"""Accuracy that a collapsed training lost to the baseline, at the least."""
_CLEAN = "val_clean_accuracy"
_MOST_COMPARED = 12
"""Trials that are compared with the best, the most robust first: each costs a read."""
_ROUNDING = 1e-9


def is_tie(estimate: Estimate, n_images: int) -> bool:
    """Whether a difference is not shown: its interval holds 0 or is not known, or it is of one
    image at most. An interval that ends at 0 does so by Holm's test, which excludes 0
    (`ablate.ablation.effects.simultaneous`)."""
    is_shown = estimate.low >= 0 or estimate.high <= 0
    return not is_shown or abs(estimate.mean) * n_images <= 1 + _ROUNDING


def search_answer(
    record: StudyRecord, info: ParetoInfo, read_bits: ReadBits | None = None
) -> SearchAnswer | None:
    """The answer of a search for an accuracy of clean images and one of distorted copies, or for
    one accuracy.

    Args:
        info: of the record.
        read_bits: without it, and for rows of earlier versions, there are no intervals.

    Returns:
        None before the baseline and a trial are scored, and for other objectives.
    """
    metrics = [objective.metric for objective in info.objectives if is_accuracy(objective.metric)]
    robust = next((metric for metric in metrics if "_robust_" in metric), None)
    alike = _CLEAN if robust is None else clean_metric(robust)
    clean = next((one for one in metrics if one in (_CLEAN, alike)), None)
    if len(info.objectives) == 1 and metrics:
        clean, (robust,) = _CLEAN, metrics
    points = [
        point
        for point in (*info.points, *info.mixtures)
        if isinstance(point.scores, Scores) and all(map(math.isfinite, point.values))
        if not point.violation
    ]
    if clean is None or robust is None or "baseline" not in info.references or not points:
        return None
    answer = SearchAnswer(record, info, points, clean, robust)
    if read_bits is not None:
        answer.read(answer.bests, read_bits)
    return answer


def best_point(record: StudyRecord, info: ParetoInfo) -> ParetoPoint | None:
    """What `search_answer` names first; None where it has no answer."""
    answer = search_answer(record, info)
    return None if answer is None else answer.bests[0]


def best_networks(record: StudyRecord, info: ParetoInfo, read_bits: ReadBits) -> list[Mixture]:
    """Of a search for one accuracy the best network, and those of the next that the images do not
    tell from it, of mixtures those on the front alone; none where it has no answer."""
    answer = search_answer(record, info)
    if answer is None:
        return []
    ranked = [one for one in answer.ranked if one.on_front or not one.is_mixture]
    best, *near = ranked[: 1 + _MOST_COMPARED]
    answer.read([best, *near], read_bits)
    scores = best.scores
    assert isinstance(scores, Scores)
    n = scores.n_images if answer.robust == _CLEAN else scores.n_scored
    ties = [one for one in near if is_tie(answer.less(one, best, answer.robust), n)]
    return [one.point for one in (best, *ties)]


class SearchAnswer:
    """The result of a search.

    Attributes:
        bests: of each set of loss terms the most robust point within the margin; if none is, the
            one that loses least clean accuracy.  The sets with a point within the margin come
            first, the most robust before the others.
        ranked: all trials and mixtures that have scores: those within the margin first, the most
            robust first.
        clean, robust: the metrics; of a search for one accuracy that is the second.
        margin: of clean accuracy, as a fraction.
    """

    def __init__(
        self,
        record: StudyRecord,
        info: ParetoInfo,
        points: Sequence[ParetoPoint],
        clean: str,
        robust: str,
    ) -> None:
        asked = [objective.metric for objective in info.objectives]
        self.margin = math.inf if len(asked) == 1 else record.study.answer.clean_margin
        self.clean, self.robust = clean, robust
        self._places = [asked.index(clean) if clean in asked else 0, asked.index(robust)]
        self._baseline = [info.references["baseline"][place] for place in self._places]
        self._references = record.references
        self._kept: KeptBits = ({}, {})
        points = sorted(points, key=self._rank, reverse=True)
        self.ranked = tuple(sorted(points, key=self.keeps, reverse=True))
        by_terms: dict[str, list[ParetoPoint]] = {}
        for point in self.ranked:
            by_terms.setdefault(point.loss_terms, []).append(point)
        bests = [
            own[0] if self.keeps(own[0]) else max(own, key=self._clean) for own in by_terms.values()
        ]
        bests.sort(key=lambda one: (self._clean(one), *self._rank(one)), reverse=True)
        bests.sort(key=lambda one: self._rank(one) if self.keeps(one) else (), reverse=True)
        self.bests = tuple(bests)

    def _clean(self, point: ParetoPoint) -> float:
        return point.values[self._places[0]]

    def _rank(self, point: ParetoPoint) -> tuple[float, float, bool, bool, int]:
        """By robust accuracy, then by clean accuracy, then those on the front, then trials, by
        number."""
        robust = point.values[self._places[1]]
        first = point.on_front, not point.is_mixture, -point.number
        return robust, self._clean(point), *first

    def keeps(self, point: ParetoPoint) -> bool:
        """Whether it is within the margin."""
        return self._clean(point) >= self._baseline[0] - self.margin - _ROUNDING

    def read(self, points: Collection[ParetoPoint], read_bits: ReadBits) -> None:
        """The bits of these points, which `less` compares."""
        self._kept = read_bits(sorted({each.origin for each in points if not each.is_mixture}))

    def less(self, one: ParetoPoint, other: ParetoPoint | str, metric: str) -> Estimate:
        """A point less another, or a reference; without an interval where their bits are not known.
        That of two points is of two sets: 95 % for all pairs together."""
        pairs = 1 if isinstance(other, str) else max(1, math.comb(len(self.bests), 2))
        shares = [self._shares(network, metric) for network in (one, other)]
        if shares[0] is not None and shares[1] is not None:
            level = LEVEL if pairs == 1 else 1 - ALPHA / pairs
            return over_images((shares[0] - shares[1])[0]).estimate(level)
        values = [self._scores(network).metrics().get(metric, math.nan) for network in (one, other)]
        return Estimate(values[0] - values[1], math.nan, math.nan, math.nan, 1, NONE)

    @cached_property
    def collapsed(self) -> tuple[int, ...]:
        """Numbers of trials beyond the outer fence of an objective, on the worse side, and more
        than `COLLAPSE` below the baseline's value; none of the front or of `bests`."""
        far: set[int] = set()
        trials = [point for point in self.ranked if not point.is_mixture]
        for place, baseline in zip(self._places, self._baseline, strict=True):
            values = np.array([point.values[place] for point in trials])
            is_far = (values != fenced(values, maximize=True)) & ~(baseline - values <= COLLAPSE)
            far |= {trials[at].number for at in np.flatnonzero(is_far).tolist()}
        named = {one.number for one in trials if one.on_front or one in self.bests}
        return tuple(sorted(far - named))

    def _scores(self, network: ParetoPoint | str) -> Scores:
        scores = self._references[network] if isinstance(network, str) else network.scores
        assert isinstance(scores, Scores)
        return scores

    def _shares(self, network: ParetoPoint | str, metric: str) -> Shares | None:
        rows, references = self._kept
        if isinstance(network, str) or network.is_mixture:
            kept = references.get(network if isinstance(network, str) else network.name)
        else:
            kept = rows.get(network.origin)
        if kept is None or "val" not in kept:
            return None
        scores = self._scores(network)
        return image_shares(unpack_bits([kept["val"]], scores), scores, metric)
