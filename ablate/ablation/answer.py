"""What a search answers: the best point of each set of loss terms, compared image by image.

A point may lose `answer.clean_margin` of clean accuracy to the baseline.  Every point is one
training, so intervals are over images alone (`over_images`), and say nothing of other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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

MOST_COMPARED = 12
"""Points of a set that are compared with its best, the most robust first: each costs a read."""
COLLAPSE = 0.10
"""Accuracy that a collapsed training lost to the baseline, at the least."""
_DA = ("clean+da", "da")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Part:
    """What a corruption type adds to a gain in robust accuracy: its own gain, times its weight in
    the mean."""

    kind: str
    estimate: Estimate


def sorted_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The largest first, of those that are known."""
    known = (part for part in parts if not math.isnan(part.estimate.mean))
    return tuple(sorted(known, key=lambda part: -part.estimate.mean))


@dataclass(frozen=True)
class Rival:
    """A point that loses more than the margin, but is not shown to.

    Attributes:
        clean: over the baseline; robust: over the best point of its set.
    """

    point: ParetoPoint
    clean: Estimate
    robust: Estimate


@dataclass(frozen=True)
class SetAnswer:
    """The best point of a set of loss terms.

    Attributes:
        terms: as written.
        best: the most robust of those that keep clean accuracy within the margin; if none does,
            the one that loses least.
        trials: complete trials of the set; keeping: of them within the margin.
        clean, robust: over the baseline.
        over: robust accuracy over "plain", the plain finetune, "DA", the best point of data
            augmentation alone, and "best", that of the first set; of those that there are. The
            last two at a level for all pairs of sets.
        tied: points of the set within the margin that are not shown to be less robust.
        rival: the most robust one just outside the margin, if it is more robust.
        parts: of `robust`, the largest first; empty where it is no mean over types.
    """

    terms: str
    best: ParetoPoint
    trials: int
    keeping: int
    clean: Estimate
    robust: Estimate
    over: Mapping[str, Estimate]
    tied: tuple[ParetoPoint, ...]
    rival: Rival | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class SearchAnswer:
    """The result of a search.

    Attributes:
        sets: those with a point within the margin first, the most robust before the others; then
            those that lose least clean accuracy.
        ranked: all points that have scores, those within the margin first, the most robust before
            the others.
        margin: of clean accuracy, as a fraction.
        collapsed: numbers of trials far below the others and the baseline in clean or robust
            accuracy; none of the front or of `sets`.
        compare: the robust accuracy of a point less that of another, with the interval of a
            difference between two sets: 95 % for all pairs together.
    """

    sets: tuple[SetAnswer, ...]
    ranked: tuple[ParetoPoint, ...]
    margin: float
    collapsed: tuple[int, ...]
    compare: Callable[[ParetoPoint, ParetoPoint], Estimate]

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
    """The answer of a search over clean accuracy and another one.

    Args:
        info: of the record.
        read_bits: rows without bits, of earlier versions, are compared without intervals.

    Returns:
        None before the baseline and a trial are scored, and for other objectives.
    """
    found = _sets(record, info)
    if found is None:
        return None
    search, by_terms = found
    order = list(by_terms)
    bests = {terms: search.best(own) for terms, own in by_terms.items()}
    points = sorted(chain(*by_terms.values()), key=search.rank, reverse=True)
    near = {terms: search.near(bests[terms], by_terms[terms]) for terms in order}
    search.read([one for terms in order for one in (bests[terms], *near[terms])], read_bits)
    level = 1 - ALPHA / max(1, math.comb(len(order), 2))
    da = next((terms for terms in order if terms in _DA), None)
    sets = []
    for terms in order:
        own, best = by_terms[terms], bests[terms]
        over = {} if "plain" not in info.references else {"plain": search.less(best, "plain")}
        if da not in (None, terms):
            over["DA"] = search.less(best, bests[da], level=level)
        if terms != order[0]:
            over["best"] = search.less(best, bests[order[0]], level=level)
        sets.append(
            SetAnswer(
                terms=terms,
                best=best,
                trials=len(own),
                keeping=sum(map(search.keeps, own)),
                clean=search.less(best, "baseline", search.clean),
                robust=search.less(best, "baseline"),
                over=over,
                tied=search.tied(best, near[terms]),
                rival=search.rival(best, near[terms]),
                parts=search.parts(best),
            )
        )
    return SearchAnswer(
        sets=tuple(sets),
        ranked=tuple(sorted(points, key=search.keeps, reverse=True)),
        margin=search.margin,
        collapsed=search.collapsed(points, info.references["baseline"], sets),
        compare=lambda one, other: search.less(one, other, level=level),
    )


def best_number(record: StudyRecord, info: ParetoInfo) -> int | None:
    """The number of the trial that `search_answer` names first, for which it needs no bits; None
    where it has no answer."""
    found = _sets(record, info)
    if found is None:
        return None
    search, by_terms = found
    return search.best(next(iter(by_terms.values()))).number


def _sets(
    record: StudyRecord, info: ParetoInfo
) -> tuple[_Search, dict[str, list[ParetoPoint]]] | None:
    """The points of each set of loss terms, the most robust first; the sets in the order of
    `SearchAnswer`. None where there is no answer."""
    metrics = [one.metric for one in info.objectives if is_accuracy(one.metric)]
    clean = next((one for one in metrics if one.endswith("_clean_accuracy")), None)
    robust = next((one for one in metrics if "_robust_accuracy" in one), None)
    points = [
        one
        for one in info.points
        if isinstance(one.scores, Scores)
        and all(map(math.isfinite, one.values))
        and not one.violation
    ]
    if clean is None or robust is None or "baseline" not in info.references or not points:
        return None
    search = _Search(record, info, (clean, robust))
    by_terms: dict[str, list[ParetoPoint]] = {}
    for point in sorted(points, key=search.rank, reverse=True):
        by_terms.setdefault(point.loss_terms, []).append(point)
    bests = {terms: search.best(own) for terms, own in by_terms.items()}
    order = sorted(bests, key=lambda terms: search.standing(bests[terms]), reverse=True)
    return search, {terms: by_terms[terms] for terms in order}


Network = ParetoPoint | str
"""A point of the search, or the name of a reference."""


class _Search:
    """Comparisons of a search's networks.

    Args:
        metrics: of clean and robust accuracy.
    """

    def __init__(self, record: StudyRecord, info: ParetoInfo, metrics: tuple[str, str]) -> None:
        asked = [one.metric for one in info.objectives]
        self.margin = record.study.answer.clean_margin
        self.clean, self._robust = metrics
        self._places = [asked.index(metric) for metric in metrics]
        self._least = info.references["baseline"][self._places[0]] - self.margin - _ROUNDING
        self._references = record.references
        self._kept: KeptBits = ({}, {})
        self._bits: dict[int | str, ImageBits | None] = {}

    def rank(self, point: ParetoPoint) -> tuple[float, float, bool, int]:
        """By robust accuracy, then by clean accuracy, then those on the front, then by number."""
        clean, robust = (point.values[place] for place in self._places)
        return robust, clean, point.on_front, -point.number

    def standing(self, point: ParetoPoint) -> tuple[Any, ...]:
        """Those within the margin by `rank`, before the others by their clean accuracy."""
        kept, rank = self.keeps(point), self.rank(point)
        return kept, rank if kept else (point.values[self._places[0]], *rank)

    def keeps(self, point: ParetoPoint) -> bool:
        return point.values[self._places[0]] >= self._least

    def best(self, own: Sequence[ParetoPoint]) -> ParetoPoint:
        """Args: own: the points of a set, the most robust first."""
        most_clean = max(own, key=lambda one: one.values[self._places[0]])
        return next(filter(self.keeps, own), most_clean)

    def near(self, best: ParetoPoint, own: Sequence[ParetoPoint]) -> list[ParetoPoint]:
        """What is compared with the best of a set: those within the margin, and the more robust
        ones outside."""
        others = [one for one in own if one is not best]
        inside = [one for one in others if self.keeps(one)]
        outside = [
            one for one in others if not self.keeps(one) and self.rank(one) > self.rank(best)
        ]
        return inside[:MOST_COMPARED] + outside[:MOST_COMPARED]

    def read(self, points: Sequence[ParetoPoint], read_bits: ReadBits) -> None:
        self._kept = read_bits(sorted({point.origin for point in points}))

    def less(
        self,
        one: Network,
        other: Network,
        metric: str = "",
        weight: float = 1.0,
        level: float = LEVEL,
    ) -> Estimate:
        """A network less another in a metric, robust accuracy by default, times a weight; without
        an interval where their bits are not known."""
        metric = metric or self._robust
        shares = [self._shares(network, metric) for network in (one, other)]
        if shares[0] is not None and shares[1] is not None:
            return over_images(weight * (shares[0] - shares[1])[0]).estimate(level)
        values = [self._scores(network).metrics().get(metric, math.nan) for network in (one, other)]
        mean = weight * (values[0] - values[1])
        return Estimate(mean, math.nan, math.nan, math.nan, 1, NONE)

    def tied(self, best: ParetoPoint, near: Sequence[ParetoPoint]) -> tuple[ParetoPoint, ...]:
        n = self.n_images(best)
        return tuple(one for one in near if self.keeps(one) and is_tie(self.less(one, best), n))

    def rival(self, best: ParetoPoint, near: Sequence[ParetoPoint]) -> Rival | None:
        for one in near:
            clean, robust = self.less(one, "baseline", self.clean), self.less(one, best)
            is_outside = clean.high < -self.margin or math.isnan(clean.high)
            if not self.keeps(one) and not is_outside and not is_tie(robust, self.n_images(best)):
                return Rival(one, clean, robust)
        return None

    def parts(self, best: ParetoPoint) -> tuple[Part, ...]:
        split, _, name = self._robust.partition("_")
        if name != "robust_accuracy":
            return ()
        return sorted_parts(
            Part(kind, self.less(best, "baseline", f"{split}_accuracy.{kind}", weight))
            for kind, weight in self._scores(best).type_weights.items()
        )

    def collapsed(
        self, points: Sequence[ParetoPoint], baseline: Sequence[float], sets: Sequence[SetAnswer]
    ) -> tuple[int, ...]:
        """Beyond the outer fence of an objective, on the worse side, and more than `COLLAPSE` below
        the baseline's value; but no point on the front, and none that the answer names."""
        named = {one.number for of_set in sets for one in (of_set.best, *of_set.tied)}
        named |= {one.rival.point.number for one in sets if one.rival is not None}
        far: set[int] = set()
        for place in self._places:
            values = [point.values[place] for point in points]
            kept = fenced(values, maximize=True)
            far |= {
                point.number
                for point, value, clipped in zip(points, values, kept, strict=True)
                if value != clipped and not baseline[place] - value <= COLLAPSE
            }
        on_front = {point.number for point in points if point.on_front}
        return tuple(sorted(far - on_front - named))

    def n_images(self, point: ParetoPoint) -> int:
        """That the robust accuracy is of, or what takes its place."""
        scores = self._scores(point)
        is_clean = self._robust.endswith("_clean_accuracy")
        return scores.n_images if is_clean else scores.n_corrupted or scores.n_images

    def _scores(self, network: Network) -> Scores:
        scores = self._references[network] if isinstance(network, str) else network.scores
        assert isinstance(scores, Scores)
        return scores

    def _shares(self, network: Network, metric: str) -> Shares | None:
        key = network if isinstance(network, str) else network.origin
        scores = self._scores(network)
        if key not in self._bits:
            rows, references = self._kept
            kept = references.get(key, {}) if isinstance(key, str) else rows.get(key, {})
            text = kept.get("val")
            self._bits[key] = None if text is None else unpack_bits([text], scores)
        bits = self._bits[key]
        return None if bits is None else image_shares(bits, scores, metric)


# -- The result of a search for one accuracy: its best trial, and those that it may equal


@dataclass(frozen=True)
class BestAnswer:
    """The result of a search for one accuracy.

    Attributes:
        ranked: complete trials with a number, the best first; of equal ones the first.
        over: the best less "baseline" and "plain", of those that there are.
        ties: of the `MOST_COMPARED` after the best, those that the images do not tell from it, and
            each less the best.
        n_images: that each of them was scored on.
    """

    ranked: tuple[ParetoPoint, ...]
    over: Mapping[str, Estimate]
    ties: tuple[tuple[ParetoPoint, Estimate], ...]
    n_images: int

    @property
    def best(self) -> ParetoPoint:
        return self.ranked[0]


def best_answer(record: StudyRecord, info: ParetoInfo, read_bits: ReadBits) -> BestAnswer | None:
    """The answer of a search for one accuracy.

    Args:
        info, read_bits: as for `search_answer`.

    Returns:
        None before the baseline and a trial are scored, for another objective, and for several.
    """
    points = [one for one in info.points if isinstance(one.scores, Scores)]
    points = [one for one in points if math.isfinite(one.values[0]) and not one.violation]
    metric = info.objectives[0].metric
    is_one = len(info.objectives) == 1 and is_accuracy(metric) and "baseline" in info.references
    if not is_one or not points:
        return None
    search = _Search(record, info, (metric, metric))
    best, *others = sorted(points, key=search.rank, reverse=True)
    near = others[:MOST_COMPARED]
    search.read([best, *near], read_bits)
    behind = [(one, search.less(one, best)) for one in near]
    n = search.n_images(best)
    return BestAnswer(
        ranked=(best, *others),
        over={
            name: search.less(best, name)
            for name in ("baseline", "plain")
            if name in info.references
        },
        ties=tuple((one, less) for one, less in behind if is_tie(less, n)),
        n_images=n,
    )
