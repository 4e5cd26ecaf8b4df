"""What a search answers: the best point of each set of loss terms, compared image by image.

A point may lose `answer.clean_margin` of clean accuracy to the baseline, unless one accuracy alone
is searched for.  Every point is one training, so intervals are over images alone, and say nothing
of other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ablate.ablation.effects import ALPHA
from ablate.ablation.intervals import NONE, Estimate, over_images
from ablate.analysis.drawn import fenced
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.ledger.record import StudyRecord
from ablate.robustness.bits import ImageBits, Shares, image_shares, unpack_bits
from ablate.robustness.measures import LEVEL
from ablate.study.scores import Scores

KeptBits = tuple[Mapping[int, Mapping[str, str]], Mapping[str, Mapping[str, str]]]
"""Bits of rows by number, and of references by name, each by split."""
ReadBits = Callable[[Collection[int]], KeptBits]
"""Reads the bits of these rows, and of all references."""

COLLAPSE = 0.10
"""Accuracy that a collapsed training lost to the baseline, at the least."""
_CLEAN = "val_clean_accuracy"
_DA = ("clean+da", "da")
_MOST_COMPARED = 12
"""Trials that are compared with the best, the most robust first: each costs a read."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class SetAnswer:
    """The best point of a set of loss terms.

    Attributes:
        best: the most robust of those that keep clean accuracy within the margin; if none does,
            the one that loses least.
        keeps: whether it is within the margin.
        clean, robust: over the baseline.
    """

    terms: str
    best: ParetoPoint
    keeps: bool
    clean: Estimate
    robust: Estimate


@dataclass(frozen=True)
class SearchAnswer:
    """The result of a search.

    Attributes:
        sets: those with a point within the margin first, the most robust before the others; then
            those that lose least clean accuracy.
        ranked: all points that have scores, in the same order.
        clean, robust: the metrics; of a search for one accuracy that is the second.
        margin: of clean accuracy, as a fraction.
        collapsed: numbers of trials far below the others and the baseline; none of the front or of
            `sets`.
        compare: a point less another, or a reference, in a metric.  The interval of two points is
            that of two sets: 95 % for all pairs together.
    """

    sets: tuple[SetAnswer, ...]
    ranked: tuple[ParetoPoint, ...]
    clean: str
    robust: str
    margin: float
    collapsed: tuple[int, ...]
    compare: Callable[[ParetoPoint, ParetoPoint | str, str], Estimate]

    @property
    def da(self) -> SetAnswer | None:
        """The set of data augmentation alone, if there is one."""
        return next((one for one in self.sets if one.terms in _DA), None)


def is_tie(estimate: Estimate, n_images: int) -> bool:
    """Whether a difference is not shown: its interval holds 0 or is not known, or it is of one
    image at most. An interval that ends at 0 does so by Holm's test, which excludes 0
    (`ablate.ablation.effects.simultaneous`)."""
    is_shown = estimate.low >= 0 or estimate.high <= 0
    return not is_shown or abs(estimate.mean) * n_images <= 1 + _ROUNDING


def search_answer(
    record: StudyRecord, info: ParetoInfo, read_bits: ReadBits
) -> SearchAnswer | None:
    """The answer of a search for clean and another accuracy, or for one accuracy.

    Args:
        info: of the record.
        read_bits: rows without bits, of earlier versions, are compared without intervals.

    Returns:
        None before the baseline and a trial are scored, and for other objectives.
    """
    search = _Search.of(record, info)
    if search is None:
        return None
    bests = {terms: search.best(own) for terms, own in search.by_terms.items()}
    search.read(bests.values(), read_bits)
    level = 1 - ALPHA / max(1, math.comb(len(bests), 2))
    points = sorted(chain(*search.by_terms.values()), key=search.rank, reverse=True)
    return SearchAnswer(
        sets=tuple(
            SetAnswer(
                *(terms, best, search.keeps(best)),
                clean=search.less(best, "baseline", search.clean),
                robust=search.less(best, "baseline", search.robust),
            )
            for terms, best in bests.items()
        ),
        ranked=tuple(sorted(points, key=search.keeps, reverse=True)),
        clean=search.clean,
        robust=search.robust,
        margin=search.margin,
        collapsed=search.collapsed(points, [*bests.values()]),
        compare=lambda one, other, metric: search.less(
            one, other, metric, LEVEL if isinstance(other, str) else level
        ),
    )


def best_number(record: StudyRecord, info: ParetoInfo) -> int | None:
    """The number of the trial that `search_answer` names first, for which it needs no bits; None
    where it has no answer."""
    search = _Search.of(record, info)
    return None if search is None else search.best(next(iter(search.by_terms.values()))).number


def best_numbers(record: StudyRecord, info: ParetoInfo, read_bits: ReadBits) -> list[int]:
    """Of a search for one accuracy the best trial, and those of the next that the images do not
    tell from it; none where it has no answer."""
    search = _Search.of(record, info)
    if search is None:
        return []
    points = sorted(chain(*search.by_terms.values()), key=search.rank, reverse=True)
    best, *near = points[: 1 + _MOST_COMPARED]
    search.read([best, *near], read_bits)
    n = search.n_images(best)
    ties = [one for one in near if is_tie(search.less(one, best, search.robust), n)]
    return [one.number for one in (best, *ties)]


class _Search:
    """Comparisons of a search's networks: a point, or the name of a reference.

    Attributes:
        by_terms: the points of each set of loss terms, the most robust first; the sets in the order
            of `SearchAnswer`.
    """

    @classmethod
    def of(cls, record: StudyRecord, info: ParetoInfo) -> _Search | None:
        metrics = [one.metric for one in info.objectives if is_accuracy(one.metric)]
        clean = next((one for one in metrics if one.endswith("_clean_accuracy")), None)
        robust = next((one for one in metrics if "_robust_accuracy" in one), None)
        if len(info.objectives) == 1 and metrics:
            clean, (robust,) = _CLEAN, metrics
        points = [
            one
            for one in info.points
            if isinstance(one.scores, Scores)
            and all(map(math.isfinite, one.values))
            and not one.violation
        ]
        if clean is None or robust is None or "baseline" not in info.references or not points:
            return None
        return cls(record, info, points, clean, robust)

    def __init__(
        self,
        record: StudyRecord,
        info: ParetoInfo,
        points: Sequence[ParetoPoint],
        clean: str,
        robust: str,
    ) -> None:
        asked = [one.metric for one in info.objectives]
        self.margin = math.inf if len(asked) == 1 else record.study.answer.clean_margin
        self.clean, self.robust = clean, robust
        self._places = [asked.index(clean) if clean in asked else 0, asked.index(robust)]
        self._baseline = [info.references["baseline"][place] for place in self._places]
        self._references = record.references
        self._kept: KeptBits = ({}, {})
        self._bits: dict[int | str, ImageBits | None] = {}
        by_terms: dict[str, list[ParetoPoint]] = {}
        for point in sorted(points, key=self.rank, reverse=True):
            by_terms.setdefault(point.loss_terms, []).append(point)
        order = sorted(by_terms, key=lambda one: self._standing(by_terms[one]), reverse=True)
        self.by_terms = {terms: by_terms[terms] for terms in order}

    def rank(self, point: ParetoPoint) -> tuple[float, float, bool, int]:
        """By robust accuracy, then by clean accuracy, then those on the front, then by number."""
        clean, robust = (point.values[place] for place in self._places)
        return robust, clean, point.on_front, -point.number

    def keeps(self, point: ParetoPoint) -> bool:
        return point.values[self._places[0]] >= self._baseline[0] - self.margin - _ROUNDING

    def best(self, own: Sequence[ParetoPoint]) -> ParetoPoint:
        """Args: own: the points of a set, the most robust first."""
        most_clean = max(own, key=lambda one: one.values[self._places[0]])
        return next(filter(self.keeps, own), most_clean)

    def _standing(self, own: Sequence[ParetoPoint]) -> tuple[Any, ...]:
        """Those within the margin by `rank`, before the others by their clean accuracy."""
        best = self.best(own)
        kept, rank = self.keeps(best), self.rank(best)
        return kept, rank if kept else (best.values[self._places[0]], *rank)

    def read(self, points: Collection[ParetoPoint], read_bits: ReadBits) -> None:
        self._kept = read_bits(sorted({point.origin for point in points}))

    def less(
        self, one: ParetoPoint | str, other: ParetoPoint | str, metric: str, level: float = LEVEL
    ) -> Estimate:
        """A network less another; without an interval where their bits are not known."""
        shares = [self._shares(network, metric) for network in (one, other)]
        if shares[0] is not None and shares[1] is not None:
            return over_images((shares[0] - shares[1])[0]).estimate(level)
        values = [self._scores(network).metrics().get(metric, math.nan) for network in (one, other)]
        return Estimate(values[0] - values[1], math.nan, math.nan, math.nan, 1, NONE)

    def collapsed(
        self, points: Sequence[ParetoPoint], named: Sequence[ParetoPoint]
    ) -> tuple[int, ...]:
        """Beyond the outer fence of an objective, on the worse side, and more than `COLLAPSE` below
        the baseline's value."""
        far: set[int] = set()
        for place, baseline in zip(self._places, self._baseline, strict=True):
            values = [point.values[place] for point in points]
            kept = fenced(values, maximize=True)
            far |= {
                point.number
                for point, value, clipped in zip(points, values, kept, strict=True)
                if value != clipped and not baseline - value <= COLLAPSE
            }
        return tuple(sorted(far - {one.number for one in points if one.on_front or one in named}))

    def n_images(self, point: ParetoPoint) -> int:
        """That the robust accuracy is of, or what takes its place."""
        scores = self._scores(point)
        return scores.n_images if self.robust == _CLEAN else scores.n_corrupted or scores.n_images

    def _scores(self, network: ParetoPoint | str) -> Scores:
        scores = self._references[network] if isinstance(network, str) else network.scores
        assert isinstance(scores, Scores)
        return scores

    def _shares(self, network: ParetoPoint | str, metric: str) -> Shares | None:
        key = network if isinstance(network, str) else network.origin
        scores = self._scores(network)
        if key not in self._bits:
            rows, references = self._kept
            kept = references.get(key, {}) if isinstance(key, str) else rows.get(key, {})
            text = kept.get("val")
            self._bits[key] = None if text is None else unpack_bits([text], scores)
        bits = self._bits[key]
        return None if bits is None else image_shares(bits, scores, metric)
