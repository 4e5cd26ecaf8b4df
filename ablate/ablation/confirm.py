"""A study that was run again with new seeds and scored on the test images: of a front its
selection bias, and which points are still on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Arm, Design
from ablate.ablation.design import COMBINED_DA
from ablate.ablation.effects import arm_difference
from ablate.ablation.info import AblationInfo, ablation_info, info_of_results
from ablate.ablation.intervals import Estimate, over_seeds_and_two_sets, t_interval
from ablate.ablation.results import BASELINE, Outcomes, References, Results, SplitName
from ablate.ablation.significance import RESAMPLES, resampled_means
from ablate.analysis.hypervolume import nondominated
from ablate.analysis.objectives import on_split
from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.displayed import Displayed
from ablate.study.scores import Scores
from ablate.study.settings import ConstraintSettings, ObjectiveSettings


@dataclass(frozen=True)
class Part:
    """What a corruption type adds to a gain in robust accuracy: its own gain, times its weight in
    the mean."""

    kind: str
    estimate: Estimate


@dataclass(frozen=True)
class ConfirmedPoint:
    """A confirmed trial of the front.

    Attributes:
        name: of its arm; metrics: that are compared, by their names on validation.
        selected: what the search chose it by, one seed.
        luck: that, less the fresh seeds on the same validation images: what selection has added.
            The search's score is of one seed and taken as it is, so the interval is over the
            fresh seeds, on these images.
        gaps: validation less test, over the fresh seeds, and the images of both sets.
        gains: on the test images, over the baseline: over the fresh seeds and images; over_da: the
            same over combined data augmentation at the same budget; at the level of the primary
            contrasts of `ConfirmInfo.test`, so that the intervals of all confirmed points over one
            reference hold together in 95 % of confirmations.
        parts: of the gain in robust accuracy over the baseline, by type, the largest first, at the
            same level.
        baseline_gaps: the same of the baseline, which nothing has selected; NaN where not known.
        front_probability: share of the resamples of seeds and test images in which its means are
            on the front of the confirmed points; of one objective, in which its mean is the best.
            Means that violate a constraint of the search are on no front.
        feasible_probability: share of them in which its means keep all constraints; NaN without.
    """

    name: str
    metrics: tuple[str, ...]
    selected: Mapping[str, float]
    luck: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]
    baseline_gaps: Mapping[str, float]
    gains: Mapping[str, Estimate]
    over_da: Mapping[str, Estimate]
    parts: tuple[Part, ...]
    front_probability: float
    feasible_probability: float = math.nan


@dataclass(frozen=True)
class ConfirmInfo(Displayed):
    """A confirmation.

    Attributes:
        test: all arms on the test images; validation: on the validation images.
        points: of the front, in order; none of a confirmed ablation.
        objectives: test metrics for the front probability.
        constraints: test metrics of the search's constraints, which the probabilities count;
            unknown: of constraints that they do not, as the test images were not scored for them.
    """

    test: AblationInfo
    validation: AblationInfo
    points: tuple[ConfirmedPoint, ...]
    objectives: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def is_confirmation(record: StudyRecord) -> bool:
    """Whether a study confirms a front or an ablation: its test images are open."""
    return record.design is not None and record.test is not None


def study_ablation(record: StudyRecord, outcomes: Outcomes, references: References) -> AblationInfo:
    """Results of an ablation on the validation images, or of a confirmation on the test images.

    Args and raises: as `ablation_info`.
    """
    split: SplitName = "test" if is_confirmation(record) else "val"
    return ablation_info(record, outcomes, references, split=split)


def confirm_info(record: StudyRecord, outcomes: Outcomes, references: References) -> ConfirmInfo:
    """Results of a confirmation, from the runs that have ended so far.

    Args:
        record: of the confirmation; outcomes, references: as for `ablation_info`.

    Raises:
        ParameterError: if the study is not a confirmation.
    """
    if not is_confirmation(record) or record.design is None:
        raise ParameterError(
            f"study {record.name}: must be a confirmation, got another study. Run ablate confirm."
        )
    design = Design.from_json(record.design)
    on_test = Results(record, outcomes, references, "test")
    on_validation = Results(record, outcomes, references, "val")
    test = info_of_results(record, design, on_test, "test")
    front = _Front(record, on_test, list(design.selected))
    asked = dict.fromkeys(["val_clean_accuracy", "val_robust_accuracy", *front.asked])
    metrics = tuple(one for one in asked if any(one in of for of in design.selected.values()))
    same_suite = _same_suite(on_test.first, on_validation.first)
    weights = on_test.first.type_weights if isinstance(on_test.first, Scores) else {}
    points = []
    for name, (on_front, feasible) in zip(front.names, front.probabilities(), strict=True):
        luck, gaps, baseline_gaps = {}, {}, {}
        for metric in metrics:
            values, tested = on_validation.values(name, metric), _on_test(metric)
            if metric in design.selected[name]:
                luck[metric] = _estimate(design.selected[name][metric] - values)
            # A cost is that of the run, whatever it is scored on.
            if tested != metric and (same_suite or metric == "val_clean_accuracy"):
                gaps[metric] = _gap_estimate(on_validation, on_test, name, metric, tested)
                baseline_gaps[metric] = _baseline_gap(record, metric, tested)
        over = partial(_over, on_test, name, level=test.level)
        by_type = over(BASELINE, [f"test_accuracy.{kind}" for kind in weights])
        tested_metrics = list(map(_on_test, metrics))
        points.append(
            ConfirmedPoint(
                *(name, metrics, design.selected[name], luck, gaps, baseline_gaps),
                gains=over(BASELINE, tested_metrics),
                over_da=over(COMBINED_DA, tested_metrics),
                parts=_parts(weights, by_type),
                front_probability=on_front,
                feasible_probability=feasible,
            )
        )
    return ConfirmInfo(
        test=test,
        validation=info_of_results(record, design, on_validation, "val"),
        points=tuple(points),
        objectives=tuple(one.metric for one in front.objectives),
        constraints=tuple(_on_test(one.metric) for one in front.judged),
        unknown=front.unknown,
    )


def _over(
    results: Results, name: str, other: str, metrics: Sequence[str], *, level: float
) -> dict[str, Estimate]:
    """An arm less another on these metrics; empty where the other has none of them."""
    arms = Arm(name, (name,)), Arm(other, (other,))
    return {
        metric: arm_difference(results, *arms, metric, level)
        for metric in metrics
        if _is_known(results, [other], metric)
    }


def _is_known(results: Results, names: Sequence[str], metric: str) -> bool:
    return any(np.isfinite(results.values(name, metric)).any() for name in names)


def _parts(weights: Mapping[str, float], by_type: Mapping[str, Estimate]) -> tuple[Part, ...]:
    """The largest first, of those that are known."""
    gains = {kind: by_type.get(f"test_accuracy.{kind}") for kind in weights}
    parts = [Part(kind, gain.times(weights[kind])) for kind, gain in gains.items() if gain]
    known = (part for part in parts if not math.isnan(part.estimate.mean))
    return tuple(sorted(known, key=lambda part: -part.estimate.mean))


def _gap_estimate(
    on_validation: Results, on_test: Results, name: str, metric: str, tested: str
) -> Estimate:
    """Validation less test, over the images of both sets where the ledger has them."""
    first, second = on_validation.values(name, metric), on_test.values(name, tested)
    places = np.flatnonzero(np.isfinite(first - second)).tolist()
    shares = on_validation.shares(name, metric, places), on_test.shares(name, tested, places)
    if shares[0] is None or shares[1] is None:
        return _estimate(first - second)
    return over_seeds_and_two_sets(shares[0], shares[1]).estimate()


def _estimate(differences: NDArray[np.float64]) -> Estimate:
    return t_interval(differences[np.isfinite(differences)])


def _baseline_gap(record: StudyRecord, metric: str, tested: str) -> float:
    if BASELINE not in record.references or BASELINE not in record.test_references:
        return math.nan
    before = record.references[BASELINE].metrics().get(metric, math.nan)
    return before - record.test_references[BASELINE].metrics().get(tested, math.nan)


_on_test = partial(on_split, split="test")


def _same_suite(one: object, other: object) -> bool:
    """Whether two scores are of the same copies but for the images."""
    if not isinstance(one, Scores) or not isinstance(other, Scores):
        return False
    cells = [{kind: [*row] for kind, row in of.accuracies.items()} for of in (one, other)]
    return cells[0] == cells[1] and one.mean_over == other.mean_over


# -- How sure a front is: the points' means over resampled seeds and images, sorted again


_ROUNDED = 9
"""Decimals of an excess: far less than one image, so that rounding violates nothing."""


class _Front:
    """The confirmed points of a search on the test images.

    Attributes:
        names: of the points.
        asked: metrics of the search's objectives; objectives: those known on the test images.
        judged: constraints that are known there; unknown: metrics of the others.
    """

    def __init__(self, record: StudyRecord, results: Results, names: Sequence[str]) -> None:
        self.names = names
        self.asked = [one.metric for one in record.study.objectives]
        self._results = results
        on_test = [
            one.model_copy(update={"metric": _on_test(one.metric)})
            for one in record.study.objectives
        ]
        self.objectives = [one for one in on_test if _is_known(results, names, one.metric)]
        judged: list[ConstraintSettings] = []
        unknown = dict[str, None]()
        for one in record.study.constraints if names else ():
            metric = _on_test(one.metric)
            has_baseline = not one.reads_baseline or _is_known(results, [BASELINE], metric)
            if has_baseline and _is_known(results, names, metric):
                judged.append(one)
            else:
                unknown[metric] = None
        self.judged, self.unknown = judged, tuple(unknown)

    def probabilities(self) -> list[tuple[float, float]]:
        """Of each point the probability of being on the front, and of keeping the constraints; NaN
        for fewer than two seeds, and where only one of several objectives is known on the test
        images."""
        metrics = [one.metric for one in self.objectives]
        values = {
            name: [self._results.values(name, metric) for metric in metrics] for name in self.names
        }
        # A point of which no run has ended well is none that the others could be beaten by.
        there = [name for name, of in values.items() if of and np.isfinite(of).all(axis=0).any()]
        if not there or len(metrics) < min(2, len(self.asked)):
            return [(math.nan, math.nan)] * len(self.names)
        is_whole = np.isfinite([values[name] for name in there]).all(axis=(0, 1))
        places = np.flatnonzero(is_whole).tolist()
        tables = [[self._table(name, metric, places) for metric in metrics] for name in there]
        excesses = [self._excesses(name, places) for name in there]
        on_front = front_probability(tables, self.objectives, excesses=excesses)
        kept = np.full(len(there), math.nan)
        if self.judged and len(places) > 1:
            kept = keeps_constraints(excesses).mean(axis=0)
        both = zip(on_front.tolist(), kept.tolist(), strict=True)
        by_name = dict(zip(there, both, strict=True))
        return [by_name.get(name, (math.nan, math.nan)) for name in self.names]

    def _table(self, name: str, metric: str, places: Sequence[int]) -> NDArray[np.float64]:
        """A metric by seed and image, `[places, n]`; by seed alone where it is no mean."""
        shares = self._results.shares(name, metric, places)
        return self._results.values(name, metric)[places, None] if shares is None else shares

    def _excesses(self, name: str, places: Sequence[int]) -> list[NDArray[np.float64]]:
        """By how much a cell is beyond each bound, by seed and image: `_table` for each."""
        excesses = []
        for constraint in self.judged:
            metric = _on_test(constraint.metric)
            values = self._table(name, metric, places)
            for bound in constraint.bounds({constraint.metric: 0.0}):
                limit: Any = bound.limit
                if isinstance(constraint.min if bound.is_least else constraint.max, str):
                    limit = bound.limit + self._table(BASELINE, metric, places)
                excesses.append(limit - values if bound.is_least else values - limit)
        return excesses


def front_probability(
    tables: Sequence[Sequence[np.ndarray]],
    objectives: Sequence[ObjectiveSettings],
    *,
    excesses: Sequence[Sequence[np.ndarray]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The share of resamples of seeds and images in which a point's means are on the front.

    Both are drawn with replacement, the same draw for all points, and for all objectives of as
    many images (Owen 2007,
    arXiv:0712.1111, the pigeonhole bootstrap).

    Args:
        tables: of each point for each objective `[K, n_images]`, finite; `[K, 1]` of an objective
            that is no mean over images.
        excesses: as for `keeps_constraints`; none: no constraints.
        seed: of the draws.

    Returns:
        `[points]`, 0 to 1; equal points share their fate. NaN of fewer than two seeds: one seed
        does not say how seeds vary.
    """
    if not tables or len(tables[0][0]) < 2:
        return np.full(len(tables), math.nan)
    by_objective = [
        resampled_means(list(of_points), resamples=resamples, seed=seed)
        for of_points in zip(*tables, strict=True)
    ]
    means = np.stack(by_objective, axis=2)
    if any(excesses):
        means[~keeps_constraints(excesses, resamples=resamples, seed=seed)] = math.nan
    on_front = [nondominated(sample, objectives) for sample in means]
    shares: NDArray[np.float64] = np.mean(on_front, axis=0)
    return shares


def keeps_constraints(
    excesses: Sequence[Sequence[np.ndarray]], *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.bool_]:
    """Whether a point's means keep all constraints, in each resample of `front_probability`.

    Args:
        excesses: of each point for each bound `[K, n_images]`, finite: how far beyond the bound it
            is; at most 0 where it is kept. A bound that is relative to the baseline has the
            baseline's share of the same image in it, so both are resampled together.

    Returns:
        `[resamples, points]`.
    """
    beyond = [
        [resampled_means([table], resamples=resamples, seed=seed)[:, 0] for table in of_point]
        for of_point in excesses
    ]
    kept: NDArray[np.bool_] = np.all(np.round(np.array(beyond), _ROUNDED) <= 0, axis=1).T
    return kept
