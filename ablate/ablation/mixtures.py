"""Which mixtures of a search's trials are scored, and which averages are kept.

Once all rows have ended, so that it is a function of them: nothing depends on the order in which
they ended, or on how many workers there were.  Source: Wortsman et al. 2022, arXiv:2203.05482, the
uniform and the greedy soup.  Differs: an ingredient must gain more than the noise of the images,
in hypervolume where there are several objectives; averages with a barrier are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from ablate.ablation.answer import COLLAPSE
from ablate.ablation.intervals import over_images
from ablate.analysis.hypervolume import maximised, nondominated
from ablate.analysis.objectives import is_accuracy
from ablate.robustness.bits import Scored, image_shares, unpack_bits
from ablate.study.mixture import Mixture, Mixtures, ScoredMixture
from ablate.study.scores import Bound, Scores, is_mean, violation
from ablate.study.settings import ObjectiveSettings

ALPHAS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Weights of an average, or a trial, against the baseline."""
MOST_INGREDIENTS = 16
"""Trials that the greedy average chooses from, the best first: each costs a scoring."""
Found = dict[Mixture, Scored]
_CLEAN, _ROBUST = "val_clean_accuracy", "val_robust_accuracy"
_ROUNDING = 1e-9


class Scorer(Protocol):
    """Scores networks on the validation images (`ablate.trial.mixing.Mixer`)."""

    def clean_accuracy(self, mixture: Mixture) -> float:
        """On the clean images alone."""

    def score(self, mixture: Mixture) -> Scored | None:
        """All scores; None if an output is not finite."""


@dataclass(frozen=True)
class Ingredients:
    """A search whose rows have ended.

    Attributes:
        rows: how many.
        trials: scores of the complete ones, by number, ascending, with weights and without copies.
        alphas: of their networks that these scores are of.
        baseline: scores of what they were finetuned from.
        objectives, reference_point, bounds: of the search.
        margin: that a barrier is deeper than, as a fraction (`answer.clean_margin`).
    """

    rows: int
    trials: Mapping[int, Scores]
    alphas: Mapping[int, float]
    baseline: Scores
    objectives: tuple[ObjectiveSettings, ...]
    reference_point: tuple[float, ...] | None
    bounds: tuple[Bound, ...]
    margin: float

    def values(self, scores: Scores) -> tuple[float, ...]:
        """One per objective."""
        metrics = scores.metrics()
        return tuple(metrics[objective.metric] for objective in self.objectives)

    @property
    def accuracies(self) -> tuple[str, ...]:
        """Clean accuracy, and the objectives that are accuracies; of what is no mean, and varies
        more, robust accuracy."""
        asked = [objective.metric for objective in self.objectives]
        searched = [one if is_mean(one) else _ROBUST for one in asked]
        return tuple(dict.fromkeys([_CLEAN, *filter(is_accuracy, searched)]))

    @property
    def intact(self) -> list[int]:
        """The trials that did not collapse: no accuracy is more than `COLLAPSE` below the
        baseline's."""
        before = self.baseline.metrics()
        metrics = {number: scores.metrics() for number, scores in self.trials.items()}
        return [
            number
            for number, own in metrics.items()
            if all(before[name] - own[name] <= COLLAPSE for name in self.accuracies)
        ]

    def front(self, networks: Sequence[Scores], *, constrained: bool) -> list[int]:
        """The places of those on the front of these, with the constraints or without."""
        bounds = self.bounds if constrained else ()
        values = [
            [math.nan] * len(own) if violation(bounds, scores.metrics()) else own
            for scores, own in zip(networks, map(self.values, networks), strict=True)
        ]
        return np.flatnonzero(nondominated(values, self.objectives)).tolist()


def find_mixtures(
    given: Ingredients,
    scorer: Scorer,
    on_scored: Callable[[int], None] = lambda _: None,
    *,
    threads: int = 1,
) -> Mixtures:
    """Score averages of the trials that did not collapse, and what lies between the baseline and
    each average that is kept, and each trial on the front.

    1. The average of all trials that did not collapse, nothing picked.
    2. The greedy average: the trials by the volume that each has alone, the largest first; one
       stays if the average with it has a volume that is larger by more than a standard error.
    3. An average is refused if it has a barrier: an accuracy is further than `margin` below the
       mean of its trials.
    4. From each that is left, and from each trial on the front, alpha goes down and up through
       `ALPHAS`, until a network is dominated by a trial, or by one before it.

    Args:
        on_scored: is told how many networks have been scored.
        threads: networks that are scored at once.
    """
    search = _Search(given, scorer, on_scored)
    return search.found(threads) if given.trials else Mixtures(given.rows)


class _Search:
    def __init__(
        self, given: Ingredients, scorer: Scorer, on_scored: Callable[[int], None]
    ) -> None:
        self._given, self._scorer, self._on_scored = given, scorer, on_scored
        self._scored = dict[Mixture, Scored | None]()
        self._notes = list[str]()

    def found(self, threads: int) -> Mixtures:
        given, trials = self._given, [*self._given.trials.values()]
        places = {*given.front(trials, constrained=False), *given.front(trials, constrained=True)}
        numbers = [[*given.trials][place] for place in sorted(places)]
        parts: list[Callable[[], Found]] = [self._averages]
        parts += [partial(self._walk, Mixture((one,), given.alphas[one])) for one in numbers]
        found = Found()
        pool = ThreadPoolExecutor(threads)
        try:
            for part in (pool.map if threads > 1 else map)(lambda score: score(), parts):
                found |= part
        finally:
            pool.shutdown(cancel_futures=True)  # a stop does not wait for all that is left
        networks = [*trials, *(one.scores for one in found.values())]
        on_front = given.front(networks, constrained=True)
        mixtures = [
            ScoredMixture(
                mixture.trials,
                mixture.alpha,
                scored.scores,
                scored.bits if place in on_front else "",
            )
            for place, (mixture, scored) in enumerate(found.items(), len(trials))
        ]
        return Mixtures(given.rows, tuple(mixtures), tuple(self._notes))

    def _averages(self) -> Found:
        """The averages that are kept, each with those at other alphas."""
        intact, found = tuple(self._given.intact), Found()
        if len(intact) < 2:
            return {}
        average, why = self._average(intact)
        if average is None:
            self._notes.append(f"{Mixture(intact).name}: refused, {why}")
        for trials, scored in ((intact, average), self._greedy(intact)):
            if scored is not None and len(trials) > 1:
                found |= {Mixture(trials): scored, **self._walk(Mixture(trials))}
        return found

    def _walk(self, start: Mixture) -> Found:
        """The networks at other alphas than the start's, in both directions, each until one is
        dominated; that one too."""
        found = Found()
        lower = [alpha for alpha in reversed(ALPHAS) if alpha < start.alpha]
        for alphas in (lower, [alpha for alpha in ALPHAS if alpha > start.alpha]):
            before = [*self._given.trials.values()]
            for alpha in alphas:
                mixture = start._replace(alpha=alpha)
                if (scored := self._score(mixture)) is None:
                    break
                found[mixture] = scored
                before.append(scored.scores)
                if len(before) - 1 not in self._given.front(before, constrained=False):
                    break
        return found

    def _greedy(self, intact: Sequence[int]) -> tuple[tuple[int, ...], Scored | None]:
        """The greedy average, or its first trial alone; None if that has no score."""
        alone = {number: self._volume(self._given.trials[number])[0] for number in intact}
        first, *others = sorted(intact, key=lambda number: (-alone[number], number))
        trials: tuple[int, ...] = (first,)
        best = self._score(Mixture(trials))
        for number in others[: MOST_INGREDIENTS - 1]:
            more = tuple(sorted((*trials, number)))
            scored, _ = self._average(more)
            if scored is not None and best is not None and self._gains(scored, best):
                trials, best = more, scored
        return trials, best

    def _average(self, trials: tuple[int, ...]) -> tuple[Scored | None, str]:
        """An average's scores; None, and why, if it is refused. Its clean accuracy is looked at
        first, which costs little."""
        mixture = Mixture(trials)
        if why := self._barrier(trials, {_CLEAN: self._scorer.clean_accuracy(mixture)}):
            return None, why
        scored = self._score(mixture)
        if scored is None:
            return None, "an output is not finite"
        why = self._barrier(trials, scored.scores.metrics())
        return (None, why) if why else (scored, "")

    def _barrier(self, trials: Sequence[int], metrics: Mapping[str, float]) -> str:
        """How far an accuracy of an average is below the mean of its trials; empty within the
        margin.  Source: Frankle et al. 2020, arXiv:1912.05671, in accuracy, and with a tolerance
        as there."""
        own = [self._given.trials[number].metrics() for number in trials]
        for name in self._given.accuracies:
            below = sum(each[name] for each in own) / len(own) - metrics.get(name, math.inf)
            if below > self._given.margin + _ROUNDING:
                what = name.partition("_")[2].replace("_", " ")
                return (
                    f"{what} is {100 * below:.1f} points below the mean of its trials (a barrier)"
                )
        return ""

    def _score(self, mixture: Mixture) -> Scored | None:
        if mixture not in self._scored:
            self._scored[mixture] = self._scorer.score(mixture)
            self._on_scored(len(self._scored))
        return self._scored[mixture]

    def _volume(self, scores: Scores) -> tuple[float, list[float]]:
        """What a network alone dominates, and its derivatives by the objectives: the product of
        what it is better than the reference point by; of one objective its value, more is
        better."""
        given = self._given
        signs = np.where(maximised(given.objectives), 1.0, -1.0)
        values = np.asarray(given.values(scores)) * signs
        if len(signs) == 1 or given.reference_point is None:
            return float(values[0]), [float(signs[0]), *[0.0] * (len(signs) - 1)]
        gains = np.maximum(values - np.asarray(given.reference_point) * signs, 0.0)
        slopes = [float(np.delete(gains, place).prod()) for place in range(len(gains))]
        return float(gains.prod()), (signs * slopes).tolist()

    def _gains(self, new: Scored, old: Scored) -> bool:
        """Whether a volume is larger than another by more than its standard error over images, to
        first order (the delta method), both networks taken as given."""
        gain, by_size = 0.0, dict[int, Any]()
        for sign, scored in ((1, new), (-1, old)):
            volume, slopes = self._volume(scored.scores)
            gain += sign * volume
            bits = unpack_bits([scored.bits], scored.scores)
            for objective, slope in zip(self._given.objectives, slopes, strict=True):
                shares = image_shares(bits, scored.scores, objective.metric)
                if shares is not None:
                    size = shares.shape[1]
                    by_size[size] = by_size.get(size, 0.0) + sign * slope * shares[0]
        # Clean and corrupted images may be others: then they are independent.
        variance = sum(over_images(differences).total for differences in by_size.values())
        return gain > math.sqrt(variance)
